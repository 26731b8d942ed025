"""Who talked with an app, and what came of it: conversations, messages, ratings, users."""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar

from collector.records.record import Instant, Record


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
