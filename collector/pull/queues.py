"""Dify's Celery queues: which there are, and how they look inside Redis.

What comes in are keys, set members and values as Redis holds them; what goes out are queue names. Nothing here opens
a connection, and of a message only its routing key is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

import msgspec

from collector.errors import ShapeError

SERVED, UNSERVED, WORKSPACE, OTHER = "served", "unserved", "workspace", "other"
"""The values of `QueueSample.kind`."""

UNACKED, UNACKED_INDEX = "unacked", "unacked_index"
"""kombu's HASH delivery tag -> [message, exchange, routing key], and its ZSET delivery tag -> epoch seconds."""

BINDINGS = "_kombu.binding."
"""kombu's SETs, one per exchange; each member is a binding. `_kombu.binding_deadlines` is something else."""

WORKSPACE_QUEUES = ("tenant_self_document_indexing_task_queue", "tenant_self_pipeline_task_queue")
"""Dify's LISTs in its cache, one per workspace: what waits behind the task that this workspace runs now."""

Version: TypeAlias = tuple[int, ...]
Routes: TypeAlias = dict[tuple[str, str], str]

_SEPARATOR = "\x06\x16"
_PRIORITIES = range(1, 10)
_CELERY_TALK = re.compile(r"celeryev|.*celery\.pidbox")  # workers among themselves: one queue per process, not backlog
_DIGITS = re.compile(r"\d+")
_unacked = msgspec.json.Decoder(tuple[msgspec.Raw, str | None, str | None])


@dataclass(frozen=True)
class Queue:
    """One queue of Dify and the versions that publish to it (bounds to one minor version).

    `is_served`: a worker started with Dify's defaults takes from it; from the others messages pile up unseen.
    `is_default`: every installation of these versions has it; the others are of the cloud edition.
    """

    name: str
    since: Version = (0,)
    until: Version | None = None
    is_served: bool = True
    is_default: bool = True


# api/docker/entrypoint.sh and the `queue=` of api/tasks and api/schedule, by version
QUEUES = (
    Queue("dataset"),
    Queue("generation", until=(1, 1)),
    Queue("mail"),
    Queue("ops_trace", since=(0, 6)),
    Queue("app_deletion", since=(0, 6)),
    Queue("plugin", since=(1, 1)),
    Queue("workflow_storage", since=(1, 7)),
    Queue("conversation", since=(1, 7)),
    Queue("workflow_draft_var", since=(1, 7), is_served=False),
    Queue("pipeline", since=(1, 9)),
    Queue("priority_pipeline", since=(1, 9)),
    Queue("priority_dataset", since=(1, 9)),
    Queue("monitor", since=(1, 9), is_served=False),
    Queue("workflow", since=(1, 10)),
    Queue("schedule_poller", since=(1, 10)),
    Queue("schedule_executor", since=(1, 10)),
    Queue("triggered_workflow_dispatcher", since=(1, 10)),
    Queue("trigger_refresh_publisher", since=(1, 10), is_served=False),
    Queue("trigger_refresh_executor", since=(1, 10)),
    Queue("retention", since=(1, 11)),
    Queue("dataset_summary", since=(1, 13)),
    Queue("api_token", since=(1, 13)),
    Queue("workflow_based_app_execution", since=(1, 13)),  # streamed workflow and chatflow runs: users wait for it
    Queue("workflow_professional", since=(1, 10), is_default=False),
    Queue("workflow_team", since=(1, 10), is_default=False),
    Queue("workflow_sandbox", since=(1, 10), is_default=False),
)
_BY_NAME = {queue.name: queue for queue in QUEUES}


def expected_queues(version: str | None = None) -> tuple[str, ...]:
    """The queues an installation has, whether or not their keys exist now; without a version those of the newest."""
    at = tuple(int(digits) for digits in _DIGITS.findall(version or "")[:2])
    return tuple(queue.name for queue in QUEUES if queue.is_default and _is_of(queue, at))


def _is_of(queue: Queue, at: Version) -> bool:
    if not at:
        return queue.until is None
    return queue.since <= at and (queue.until is None or at < queue.until)


def kind_of(queue: str) -> str:
    """The kind of a queue. Whatever is not in our tables is `other`: its name must not become a label."""
    if queue in WORKSPACE_QUEUES:
        return WORKSPACE
    known = _BY_NAME.get(queue)
    if known is None:
        return OTHER
    return SERVED if known.is_served else UNSERVED


def lists_of(queue: str) -> tuple[str, ...]:
    """The keys of a queue's LISTs: one for ordinary messages, one for each priority from 1 to 9."""
    return (queue, *(f"{queue}{_SEPARATOR}{priority}" for priority in _PRIORITIES))


def routes_of(exchange: str, members: Iterable[str]) -> Routes:
    """The bindings of one exchange -> {(exchange, routing key): queue}; none for what workers tell each other."""
    if _CELERY_TALK.fullmatch(exchange):
        return {}
    found: Routes = {}
    for member in members:
        parts = member.split(_SEPARATOR)  # routing key, pattern, queue
        if len(parts) == 3 and parts[2]:
            found[exchange, parts[0]] = parts[2]
    return found


def queue_taken_from(unacked: bytes, routes: Routes) -> str:
    """The queue an unacknowledged message came from. Raises ShapeError; the message itself is not decoded."""
    try:
        _, exchange, routing_key = _unacked.decode(unacked)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ShapeError(UNACKED, "[message, exchange, routing key]", "something else") from None
    if not routing_key:
        raise ShapeError(UNACKED, "a routing key", "nothing")
    return routes.get((exchange or "", routing_key), routing_key)
