"""What Dify tells of nowhere: requests as the tap saw them, queues of the broker, events in front of Dify."""

from __future__ import annotations

from typing import ClassVar

from collector.records.record import Instant, Record


class Request(Record, frozen=True, kw_only=True):
    """One HTTP call to Dify as its caller saw it, whether or not it became a run.

    Source: the tap
    """

    table: ClassVar[str] = "request"
    id: str
    app_id: str | None = None
    workspace_id: str | None = None
    key_fingerprint: str | None = None  # SHA-256 of the app key, first 16 hex digits
    method: str
    route: str  # template: /v1/chat-messages, /v1/workflows/run, ...
    status_code: int | None = None  # None: the upstream never answered
    is_stream: bool | None = None
    created_at: Instant  # UTC; request head complete
    duration_seconds: float | None = None  # request to last byte
    time_to_first_byte_seconds: float | None = None
    time_to_first_token_seconds: float | None = None
    request_bytes: int | None = None
    response_bytes: int | None = None
    interrupted_by: str | None = None  # client, upstream; None: it ended well
    error_class: str | None = None
    run_id: str | None = None
    message_id: str | None = None


class QueueSample(Record, frozen=True, kw_only=True):
    """How long one queue was at one instant. Final as it is made; a missing queue is an empty one.

    A Celery message carries no time of its own, so the age of what waits is known from below only: from the first of
    our samples that found the same message first in line. Backlog = `ready` + `unacked`.

    Source: the broker's Redis: LLEN and LINDEX of the queue, `unacked`, `unacked_index`; Dify's waiting lists of
    workspaces in its cache
    """

    table: ClassVar[str] = "queue_sample"
    id: str  # broker/queue/instant
    broker: str  # our name for it; tells several Dify installations apart
    queue: str  # as Celery names it, all priorities together; a waiting list without its workspace, all together
    kind: str  # served, unserved (no default worker takes from it), workspace, other: not a name we know, so no label
    created_at: Instant  # UTC; when it was looked at
    ready: int | None = None  # messages waiting; None: could not be told
    unacked: int | None = None  # taken by a worker and not acknowledged; None: could not be told
    oldest_seen_at: Instant | None = None  # UTC; first in line at least since then; None: nothing waits
    oldest_taken_at: Instant | None = None  # UTC; when the longest unacknowledged one was taken; None: none is
    workspaces: int | None = None  # that wait in this list; None for queues


class PortalEvent(Record, frozen=True, kw_only=True):
    """Something that happened in front of Dify, where Dify cannot see it: an answer copied, a file downloaded, lines
    of code accepted. An event told again is the same event: the first telling stays.

    Source: POST /api/v1/events (CloudEvents 1.0)
    """

    table: ClassVar[str] = "portal_event"
    id: str  # of source and id of the CloudEvent: cloud_events.key_of
    event_id: str  # the CloudEvent's own
    event_source: str  # the CloudEvent's `source`: which program told it
    event_type: str  # the CloudEvent's `type`: com.example.portal.answer.copied
    app_id: str | None = None
    workspace_id: str | None = None
    user_id: str | None = None  # Dify's id, where the portal knows it
    session_id: str | None = None  # the portal's own name for the user: what it sends Dify as `user`
    created_at: Instant  # UTC; when it happened; where it does not say: when it was told first


class PortalValue(Record, frozen=True, kw_only=True):
    """One number of one portal event: 12 lines, 3 files. Its text fields are dropped where it is read.

    Source: the numbers at the top level of a CloudEvent's data
    """

    table: ClassVar[str] = "portal_value"
    id: str  # the event's id/name
    name: str  # of the field: lines, files, bytes
    number: float  # in whatever unit the portal counts
    event_type: str
    event_source: str
    app_id: str | None = None
    workspace_id: str | None = None
    user_id: str | None = None
    session_id: str | None = None
    created_at: Instant  # UTC; the event's
