"""The facts: one frozen struct per kind of thing that happened in Dify.

Pull, tap, database and files all make these; the store keeps them; measures count them. Nothing here reads or writes.

Rules every record follows (they are what lets two sources describe one fact):

* `None` means "not known"; zero means zero. An unfinished fact leaves out what only its end decides.
* Instants are aware, in UTC. Durations are seconds. Money is Decimal beside its currency, as Dify reports it.
* `source` says who told us, `seen_at` when. They decide between two tellings, and are no part of the fact.
* Contents (prompts, answers, credentials) have no field.

Each class names its `table` and, for the store, what settles a conflict between two tellings of one fact:
see `collector.store.tables`.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, ClassVar, TypeAlias

import msgspec

Instant = Annotated[datetime, msgspec.Meta(tz=True)]
"""An aware instant, in UTC. What arrives over the wire without a time zone is refused."""

CONSOLE, DATABASE, TAP, FILE, BROKER, PORTAL = "console", "database", "tap", "file", "broker", "portal"
"""The values of `source`."""

SOURCE_RANK = {DATABASE: 3, CONSOLE: 2, TAP: 1, FILE: 0}
"""Who is believed when two sources tell different values of one field: the higher number. (A broker's and a
portal's facts nobody else tells.)"""

FINAL_RUN_STATUSES = frozenset({"succeeded", "failed", "stopped", "partial-succeeded"})
"""Run statuses after which Dify changes nothing. `paused` and `scheduled` runs go on later."""

FINAL_NODE_STATUSES = frozenset({"succeeded", "failed", "exception", "stopped"})
"""Node statuses after which Dify changes nothing (`retry` is replaced by what the last attempt brings)."""

STALE = "stale"
"""Our own status of a run or message that stayed open longer than `open_run_max_age`; not final: news replaces it."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What all facts share."""

    table: ClassVar[str]
    source: str  # console, database, tap, file, broker, portal
    seen_at: Instant  # UTC; when this was read


class App(Record, frozen=True, kw_only=True):
    """One Dify app. Changes over its life; the newest telling counts. A deleted app stays, with `deleted_at`.

    Source: GET /console/api/apps
    """

    table: ClassVar[str] = "app"
    id: str
    workspace_id: str | None = None
    name: str | None = None
    mode: str | None = None  # workflow, advanced-chat, chat, completion, agent-chat
    tags: str | None = None  # names, sorted, comma between them; "" when there are none
    is_published: bool | None = None
    model_provider: str | None = None  # of the app's own configuration; None for workflow apps
    model_name: str | None = None
    created_at: Instant | None = None  # UTC
    updated_at: Instant | None = None  # UTC
    deleted_at: Instant | None = None  # UTC; when we noticed
    origin: str | None = None  # our name for the Dify it is in; None: read before there was more than one
    missing_runs: int | None = None  # that Dify counts and nothing brought; None: not compared


class Run(Record, frozen=True, kw_only=True):
    """One run of a Dify workflow or chatflow. Final once its status is one of FINAL_RUN_STATUSES.

    `reported_tokens` is Dify's own total: it counts model calls again and is known wrong in some versions, so it is
    compared with the calls and never added to them.

    Source: GET /console/api/apps/{app_id}/workflow-runs, /workflow-app-logs, /workflow-runs/{run_id};
    SSE workflow_started, workflow_finished, workflow_paused
    """

    table: ClassVar[str] = "run"
    id: str  # Dify's uuid; the key
    app_id: str | None = None
    workspace_id: str | None = None
    workflow_id: str | None = None
    version: str | None = None  # of the workflow: its publishing time, or "draft"
    status: str  # running, succeeded, failed, stopped, partial-succeeded, paused, stale
    is_final: bool
    triggered_from: str | None = None  # app-run, debugging, webhook, schedule, plugin
    is_debug: bool | None = None  # a console test run; left out of default answers
    user_id: str | None = None  # end user or account
    user_kind: str | None = None  # end_user, account
    session_id: str | None = None  # what the caller sent as `user`
    conversation_id: str | None = None
    message_id: str | None = None
    created_at: Instant | None = None  # UTC
    finished_at: Instant | None = None  # UTC; None while it runs
    elapsed_seconds: float | None = None  # wall time as Dify reports it; None while it runs
    reported_tokens: int | None = None  # prompt + completion as Dify totals them; None while it runs
    steps: int | None = None  # top-level nodes; None while it runs
    exceptions: int | None = None  # nodes that failed while the run went on
    error_class: str | None = None  # of collector.ledger.ERROR_CLASSES; None when it did not fail
    leaves_known: bool | None = None  # True once every call was read from a telling with usage and model


class NodeExecution(Record, frozen=True, kw_only=True):
    """One node of a run, executed once (a retried node is one execution).

    `reported_tokens` of an iteration, loop or tool node repeats what other facts say: never a sum over nodes.

    Source: GET /console/api/apps/{app_id}/workflow-runs/{run_id}/node-executions; SSE node_started, node_finished,
    iteration_completed, loop_completed
    """

    table: ClassVar[str] = "node_execution"
    id: str  # Dify's uuid; of a container node: see ledger.container_key
    run_id: str | None = None  # None for single-step test runs
    app_id: str | None = None
    workspace_id: str | None = None
    node_id: str | None = None  # of the graph; repeats inside iterations
    node_type: str | None = None  # llm, code, tool, iteration, ...; Dify's own words
    title: str | None = None
    container_id: str | None = None  # node_id of the iteration or loop around it
    status: str  # running, succeeded, failed, exception, stopped, retry, paused
    is_final: bool
    is_debug: bool | None = None
    created_at: Instant | None = None  # UTC, whole seconds
    finished_at: Instant | None = None  # UTC
    elapsed_seconds: float | None = None
    reported_tokens: int | None = None  # execution_metadata.total_tokens
    error_class: str | None = None


class ModelCall(Record, frozen=True, kw_only=True):
    """One leaf call of a model: the only thing whose tokens are added up.

    The key is the node execution's id in workflows and chatflows, the message's id in chat, completion and agent
    apps. An estimate stands for the calls of a run whose nodes told no usage; its key is the run's id (the message's
    where a blocking chatflow names no run), and it goes when calls of that run or message that know their tokens, or
    the knowledge that it made none, arrive.

    Source: node executions (process_data.usage and its copies), message_end, console messages
    """

    table: ClassVar[str] = "model_call"
    id: str
    run_id: str | None = None
    message_id: str | None = None
    conversation_id: str | None = None
    app_id: str | None = None
    workspace_id: str | None = None
    node_id: str | None = None
    node_type: str | None = None  # llm, question-classifier, ...; "message" for apps without nodes
    model_provider: str | None = None  # org/plugin/name (ledger.provider_name); None: not told
    model_name: str | None = None  # None: not told
    status: str  # succeeded, failed, stopped
    is_final: bool
    is_estimate: bool = False
    is_debug: bool | None = None
    is_vision: bool | None = None  # the prompt held an image; None: not told
    created_at: Instant | None = None  # UTC
    finished_at: Instant | None = None  # UTC
    input_tokens: int | None = None  # prompt, cached input as the provider counts it
    output_tokens: int | None = None  # completion, reasoning included
    tokens: int | None = None  # input + output; known alone when only a total was told
    cached_input_tokens: int | None = None
    reasoning_output_tokens: int | None = None
    cost: Decimal | None = None  # as Dify reports it
    currency: str | None = None  # ISO 4217 as Dify says; None only where cost is
    latency_seconds: float | None = None  # of the call as Dify reports it; of a message: the whole answer
    time_to_first_token_seconds: float | None = None  # None when not streamed
    error_class: str | None = None


class Message(Record, frozen=True, kw_only=True):
    """One question with its answer. Dify marks no end: an empty one stays open, then counts as stale.

    `reported_input_tokens` and `reported_output_tokens` are Dify's; of a chatflow they repeat its run.

    Source: GET /console/api/apps/{app_id}/chat-messages, /messages/{id}; SSE message_end, error
    """

    table: ClassVar[str] = "message"
    id: str
    app_id: str | None = None
    workspace_id: str | None = None
    conversation_id: str | None = None
    run_id: str | None = None  # None for apps without a workflow
    status: str  # open, succeeded, failed, stopped, stale
    is_final: bool
    invoke_from: str | None = None  # service-api, web-app, explore, debugger, trigger
    is_debug: bool | None = None
    user_id: str | None = None
    user_kind: str | None = None  # end_user, account
    session_id: str | None = None
    created_at: Instant | None = None  # UTC, whole seconds
    finished_at: Instant | None = None  # UTC; created_at + latency where the source tells no end
    latency_seconds: float | None = None  # the whole request, as the user waits
    time_to_first_token_seconds: float | None = None
    reported_input_tokens: int | None = None
    reported_output_tokens: int | None = None
    reported_cost: Decimal | None = None
    currency: str | None = None
    error_class: str | None = None


class Conversation(Record, frozen=True, kw_only=True):
    """One conversation of an app. Changes as messages come; the newest telling counts.

    Source: GET /console/api/apps/{app_id}/chat-conversations, /completion-conversations
    """

    table: ClassVar[str] = "conversation"
    id: str
    app_id: str | None = None
    workspace_id: str | None = None
    user_id: str | None = None
    user_kind: str | None = None
    session_id: str | None = None
    is_debug: bool | None = None
    created_at: Instant | None = None  # UTC
    updated_at: Instant | None = None  # UTC; bumped when a message starts
    messages: int | None = None  # as Dify counts them


class Feedback(Record, frozen=True, kw_only=True):
    """The rating one side gave one message; it may change or be withdrawn, and the newest telling counts.

    Source: GET /console/api/apps/{app_id}/feedbacks/export, `feedbacks` of a message, GET /v1/app/feedbacks
    """

    table: ClassVar[str] = "feedback"
    id: str  # message id / from_source: one rating each
    message_id: str
    from_source: str  # user, admin
    app_id: str | None = None
    workspace_id: str | None = None
    conversation_id: str | None = None
    user_id: str | None = None
    rating: str  # like, dislike, withdrawn
    created_at: Instant | None = None  # UTC
    updated_at: Instant | None = None  # UTC


class User(Record, frozen=True, kw_only=True):
    """An end user or an account of the console.

    Source: created_by_end_user and created_by_account of runs and app logs, from_end_user_* of conversations
    """

    table: ClassVar[str] = "end_user"
    id: str
    kind: str  # end_user, account
    workspace_id: str | None = None
    session_id: str | None = None  # what callers send as `user`; None for accounts
    name: str | None = None  # of an account


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


class Pull(Record, frozen=True, kw_only=True):
    """One pass of our own over one stream of one app: how freshness and failures come out of the same faces.

    Source: collector.collect
    """

    table: ClassVar[str] = "pull"
    id: str
    stream: str  # runs, app-logs, node-executions, conversations, messages, feedback, apps
    app_id: str | None = None  # None for streams of the whole workspace
    created_at: Instant  # UTC; start of the pass
    seconds: float
    requests: int
    pages: int
    records: int
    parse_failures: int  # records set aside
    error_class: str | None = None  # unauthorized, forbidden, not_found, unavailable, store, _OTHER
    is_complete: bool  # the walk reached the watermark, and nothing is known to be missing
    origin: str | None = None  # our name for the Dify it asked; None: read before there was more than one


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


class Dataset(Record, frozen=True, kw_only=True):
    """One knowledge base. Changes over its life; the newest telling counts. A deleted one stays, with `deleted_at`.

    Source: GET /console/api/datasets
    """

    table: ClassVar[str] = "dataset"
    id: str
    workspace_id: str | None = None
    name: str | None = None
    indexing_technique: str | None = None  # economy, high_quality
    embedding_provider: str | None = None  # org/plugin/name; None where keywords are indexed
    embedding_model: str | None = None
    created_at: Instant | None = None  # UTC
    updated_at: Instant | None = None  # UTC
    deleted_at: Instant | None = None  # UTC; when we noticed
    origin: str | None = None  # our name for the Dify it is in


class DatasetDay(Record, frozen=True, kw_only=True):
    """What one knowledge base held on one UTC day, as of our last look on that day.

    Source: GET /console/api/datasets, /datasets/{id}/documents, /datasets/{id}/indexing-status
    """

    table: ClassVar[str] = "dataset_day"
    id: str  # dataset id/day
    dataset_id: str
    workspace_id: str | None = None
    created_at: Instant  # UTC; midnight at which the day began
    documents: int | None = None
    available_documents: int | None = None  # indexed, enabled, not archived
    waiting_documents: int | None = None  # not yet taken up
    indexing_documents: int | None = None  # parsing, cleaning, splitting, indexing
    failed_documents: int | None = None
    segments: int | None = None
    words: int | None = None  # characters, as Dify counts
    tokens: int | None = None  # indexed, as Dify tells of each document
    hits: int | None = None  # segments found by retrievals since they exist; grows while they live
    apps: int | None = None  # that use it


class Retrieval(Record, frozen=True, kw_only=True):
    """One question put to one knowledge base. Its text is not kept.

    Source: GET /console/api/datasets/{id}/queries; dataset_queries of the database
    """

    table: ClassVar[str] = "retrieval"
    id: str
    dataset_id: str
    workspace_id: str | None = None
    origin: str | None = None  # app, hit_testing
    app_id: str | None = None  # of origin app
    user_id: str | None = None
    user_kind: str | None = None  # end_user, account
    created_at: Instant | None = None  # UTC


class Model(Record, frozen=True, kw_only=True):
    """One model that a workspace has set up.

    Source: GET /console/api/workspaces/current/models/model-types/{kind}
    """

    table: ClassVar[str] = "model"
    id: str  # workspace/provider/name/kind
    workspace_id: str | None = None
    model_provider: str  # org/plugin/name
    model_name: str
    kind: str  # llm, text-embedding, rerank, ...
    features: str | None = None  # sorted, comma between them: agent-thought, vision, ...
    is_vision: bool | None = None
    status: str | None = None  # active, no-configure, ...


class ApiKey(Record, frozen=True, kw_only=True):
    """One key of the service API, known by its fingerprint: the key itself is dropped where it is read.

    Source: GET /console/api/apps/{app_id}/api-keys
    """

    table: ClassVar[str] = "api_key"
    id: str
    app_id: str | None = None
    workspace_id: str | None = None
    fingerprint: str  # SHA-256 of the key, first 16 hex digits, as in Request
    created_at: Instant | None = None  # UTC
    last_used_at: Instant | None = None  # UTC
    deleted_at: Instant | None = None  # UTC; when we noticed


class Statistic(Record, frozen=True, kw_only=True):
    """One number of one day of one app, as Dify's own statistics tell it: what we compare ours with.

    Source: GET /console/api/apps/{app_id}/statistics/{name}, /workflow/statistics/{name}
    """

    table: ClassVar[str] = "dify_statistic"
    id: str  # app/name/day/time zone
    app_id: str
    workspace_id: str | None = None
    name: str  # messages, message_tokens, message_cost, conversations, end_users, runs, run_tokens, run_users
    day: str  # YYYY-MM-DD on the calendar of `timezone`
    timezone: str  # IANA name: the calling account's
    created_at: Instant  # UTC; when that day began there
    number: int | None = None  # of what is counted
    amount: Decimal | None = None  # of cost, in whatever currencies the rows had


class Release(Record, frozen=True, kw_only=True):
    """From when on a workspace was served by a version of Dify, as far as we saw: one row per change.

    Which of Dify's totals are wrong depends on it (`collector.quirks`). What is older than the first row was most
    likely made by that row's version.

    Source: the X-Version header of any answer
    """

    table: ClassVar[str] = "dify_release"
    id: str  # source/workspace/instant
    workspace_id: str | None = None
    version: str  # 1.11.1
    number: int  # the same as a number that compares: 1_011_001
    created_at: Instant  # UTC; when we first saw it


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


class Watermark(msgspec.Struct, frozen=True, kw_only=True):
    """Everything of `stream` in `app_id` created before `complete_until` is stored (promise 7)."""

    table: ClassVar[str] = "watermark"
    source: str
    stream: str
    app_id: str  # "" for streams of the whole workspace
    complete_until: Instant  # UTC
    origin: str = ""  # our name for the Dify, where `app_id` is ""; an app's id is no other Dify's


class Reach(msgspec.Struct, frozen=True, kw_only=True):
    """Everything of `stream` in `app_id` created from `complete_from` until `complete_until` is stored.

    How far a back-fill has come: it goes back in time, and the next one goes on at `complete_from`.
    """

    table: ClassVar[str] = "reach"
    source: str
    stream: str
    app_id: str  # "" for streams of the whole workspace
    complete_from: Instant  # UTC
    complete_until: Instant  # UTC
    origin: str = ""  # our name for the Dify, where `app_id` is ""


class SetAside(msgspec.Struct, frozen=True, kw_only=True):
    """One record of Dify that could not be read: which it is and why, nothing of what it says.

    Kept with its batch, so that no watermark hides it. It goes once the record was read: `problem` None.
    """

    table: ClassVar[str] = "set_aside"
    source: str
    origin: str  # our name for the Dify
    stream: str
    app_id: str  # "" for streams of the whole workspace
    key: str  # Dify's id of it; "" where even that cannot be read
    problem: str | None = None  # the field and what was wanted there
    tried_by: str = ""  # the versions of dify-metric and of Dify that met
    seen_at: Instant  # UTC; when it was last tried


MOST_SET_ASIDE = 1000
"""Records set aside that are remembered; of more, the latest."""

Mark: TypeAlias = Watermark | Reach | SetAside
"""What is stored with a batch about its being complete."""

FACTS: tuple[type[Record], ...] = (
    App,
    Run,
    NodeExecution,
    ModelCall,
    Message,
    Conversation,
    Feedback,
    User,
    Request,
    Pull,
    QueueSample,
    Dataset,
    DatasetDay,
    Retrieval,
    Model,
    ApiKey,
    Statistic,
    Release,
    PortalEvent,
    PortalValue,
)
"""Every kind of record, in the order their tables are made."""


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a batch: how many facts were new, told us more, or were known already."""

    new: int = 0
    changed: int = 0
    known: int = 0
