"""What a workspace holds, and what Dify says of it: apps, knowledge bases, models, keys, statistics, versions."""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar

from collector.records.record import Instant, Record


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
