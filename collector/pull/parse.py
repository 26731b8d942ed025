"""Dify's console JSON -> records, one function per kind.

What comes in is one decoded item of a listing or a detail, and a Telling (who says so, when, about which app); what
goes out are records. Raises ShapeError naming the field. Nothing here asks, stores or remembers; prompts, answers,
titles of conversations and e-mail addresses are left behind here.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from collector.errors import NotFound
from collector.fields import (
    Json,
    instant,
    integer,
    items,
    mapping,
    maybe_mapping,
    required_text,
    seconds,
    text,
)
from collector.ledger import (
    Models,
    Telling,
    Usage,
    error_class,
    has_image,
    message_call,
    node_facts,
    provider_name,
    read_usage,
    run_fact,
)
from collector.records import STALE, App, Conversation, Feedback, Message, ModelCall, Record, Run, User

CHATFLOW = "advanced-chat"
DRAFT = "draft"
"""The version of a workflow that only test runs execute."""

END_USER, ACCOUNT = "end_user", "account"


class AppModel(NamedTuple):
    """The model an app without a workflow is set up with, and since when."""

    provider: str | None
    name: str | None
    since: datetime | None


def app_fact(raw: Json, telling: Telling) -> App:
    """One item of the app list -> App."""
    model = app_model(raw)
    is_flow = raw.get("workflow") is not None
    return App(
        source=telling.source,
        seen_at=telling.seen_at,
        id=required_text(raw, "id"),
        workspace_id=telling.workspace_id,
        name=text(raw, "name"),
        mode=text(raw, "mode"),
        tags=",".join(sorted(name for tag in items(raw, "tags") if (name := text(tag, "name")))),
        is_published=is_flow or model.name is not None,
        model_provider=model.provider,
        model_name=model.name,
        created_at=instant(raw, "created_at"),
        updated_at=instant(raw, "updated_at"),
    )


def app_model(raw: Json) -> AppModel:
    """One item of the app list -> the model of its configuration; all None for workflow apps."""
    config = maybe_mapping(raw, "model_config")
    model = maybe_mapping(config, "model")
    times = [at for name in ("created_at", "updated_at") if (at := instant(config, name))]
    return AppModel(provider_name(text(model, "provider")), text(model, "name"), max(times, default=None))


def run_facts(raw: Json, telling: Telling, triggered_from: str) -> list[Record]:
    """One item of a run list (asked for with `triggered_from`), or a run's detail -> the run and its user.

    Versions before 1.10 list test runs whatever they are asked for; those run the draft.
    """
    is_debug = raw.get("version") == DRAFT or triggered_from == "debugging"
    known = {"triggered_from": "debugging" if is_debug else triggered_from, "is_debug": is_debug}
    return list(_run_and_user(raw, raw, telling, known))


def detail_facts(raw: Json, telling: Telling) -> tuple[Run, *tuple[User, ...]]:
    """A run's detail -> the run and its user. Raises NotFound for the all-null answer about a run that is gone."""
    if raw.get("id") is None:
        raise NotFound(f"run {telling.run_id}: Dify knows it no more")
    known: dict[str, object] = {"is_debug": True} if raw.get("version") == DRAFT else {}
    return _run_and_user(raw, raw, telling, known)


def log_facts(raw: Json, telling: Telling) -> list[Record]:
    """One item of the app log -> the run and its user; nothing where the run was cleaned away."""
    run = mapping(raw, "workflow_run")
    if not run:
        return []
    # Test runs are never logged.
    return list(_run_and_user(run, raw, telling, {"is_debug": False}))


def leaf_facts(raws: list[Json], telling: Telling, models: Models) -> list[Record]:
    """The node executions of one run -> nodes and the model calls they made."""
    told = [node_facts(raw, telling, models) for raw in raws]
    return [record for pair in told for record in pair if record is not None]


def conversation_facts(raw: Json, telling: Telling, mode: str) -> list[Record]:
    """One item of a conversation list -> the conversation and its user.

    The list of a chatflow leaves test chats out; in the others what came from the console may be one or not.
    """
    user = _talker(raw, telling)
    is_debug = False if mode == CHATFLOW or raw.get("from_source") == "api" else None
    conversation = Conversation(
        source=telling.source,
        seen_at=telling.seen_at,
        id=required_text(raw, "id"),
        app_id=telling.app_id,
        workspace_id=telling.workspace_id,
        user_id=user.id if user else None,
        user_kind=user.kind if user else None,
        session_id=user.session_id if user else None,
        is_debug=is_debug,
        created_at=instant(raw, "created_at"),
        updated_at=instant(raw, "updated_at"),
        # A completion's list tells its one message instead of a count.
        messages=integer(raw, "message_count") if "message_count" in raw else (1 if raw.get("message") else None),
    )
    return [conversation, *([user] if user else [])]


def message_facts(
    raw: Json,
    telling: Telling,
    mode: str,
    *,
    conversation: Conversation | None,
    model: AppModel | None,
    open_for: timedelta,
) -> list[Record]:
    """One chat message -> the message, its ratings and, in apps without nodes, the model call it is."""
    message = _message(raw, telling, conversation, open_for)
    facts: list[Record] = [message, *_ratings(raw, message)]
    if mode != CHATFLOW and message.is_final:
        facts.append(_call(raw, message, telling, _model_of(conversation, model)))
    return facts


def rating_fact(raw: Json, telling: Telling) -> Feedback:
    """One row of the feedback export -> Feedback. What was written beside the rating is left behind."""
    side, rating = required_text(raw, "feedback_source"), required_text(raw, "feedback_rating_raw")
    return _rating(raw, telling, side, rating, created_at=instant(raw, "feedback_date"))


def service_rating_fact(raw: Json, telling: Telling) -> Feedback:
    """One row of the service API's feedback -> Feedback. What was written beside the rating is left behind."""
    side, rating = required_text(raw, "from_source"), required_text(raw, "rating")
    created_at, updated_at = instant(raw, "created_at"), instant(raw, "updated_at")
    return _rating(raw, telling, side, rating, created_at=created_at, updated_at=updated_at)


def _rating(
    raw: Json,
    telling: Telling,
    side: str,
    rating: str,
    *,
    created_at: datetime | None,
    updated_at: datetime | None = None,
) -> Feedback:
    message_id = required_text(raw, "message_id")
    return Feedback(
        source=telling.source,
        seen_at=telling.seen_at,
        id=f"{message_id}/{side}",
        message_id=message_id,
        from_source=side,
        app_id=telling.app_id,
        workspace_id=telling.workspace_id,
        conversation_id=text(raw, "conversation_id"),
        user_id=text(raw, "from_end_user_id"),
        rating=rating,
        created_at=created_at,
        updated_at=updated_at,
    )


def _run_and_user(
    raw: Json, creation: Json, telling: Telling, known: dict[str, object]
) -> tuple[Run, *tuple[User, ...]]:
    user = _creator(creation, telling)
    run = run_fact(
        raw,
        telling,
        user_id=user.id if user else None,
        user_kind=user.kind if user else None,
        session_id=user.session_id if user else None,
        **known,
    )
    return (run, user) if user else (run,)


def _creator(raw: Json, telling: Telling) -> User | None:
    """Who started a run: an end user, or an account of the console."""
    end_user, account = mapping(raw, "created_by_end_user"), mapping(raw, "created_by_account")
    if end_user:
        return _user(telling, required_text(end_user, "id"), END_USER, session_id=text(end_user, "session_id"))
    if account:
        return _user(telling, required_text(account, "id"), ACCOUNT, name=text(account, "name"))
    return None


def _talker(raw: Json, telling: Telling) -> User | None:
    """Whose conversation or message it is."""
    end_user, account = text(raw, "from_end_user_id"), text(raw, "from_account_id")
    if end_user:
        return _user(telling, end_user, END_USER, session_id=text(raw, "from_end_user_session_id"))
    if account:
        return _user(telling, account, ACCOUNT, name=text(raw, "from_account_name"))
    return None


def _user(telling: Telling, key: str, kind: str, *, session_id: str | None = None, name: str | None = None) -> User:
    return User(
        source=telling.source,
        seen_at=telling.seen_at,
        id=key,
        kind=kind,
        workspace_id=telling.workspace_id,
        session_id=session_id,
        name=name,
    )


def _message(raw: Json, telling: Telling, conversation: Conversation | None, open_for: timedelta) -> Message:
    status = _status(raw, telling.seen_at - open_for)
    is_final = status not in ("open", STALE)
    created_at, took = instant(raw, "created_at"), seconds(raw, "provider_response_latency")
    took = took if is_final and (took or status != "failed") else None
    user, usage = _talker(raw, telling), read_usage(maybe_mapping(maybe_mapping(raw, "metadata"), "usage"))
    return Message(
        source=telling.source,
        seen_at=telling.seen_at,
        id=required_text(raw, "id"),
        app_id=telling.app_id,
        workspace_id=telling.workspace_id,
        conversation_id=text(raw, "conversation_id"),
        run_id=text(raw, "workflow_run_id"),
        status=status,
        is_final=is_final,
        is_debug=conversation.is_debug if conversation else (False if raw.get("from_source") == "api" else None),
        user_id=user.id if user else None,
        user_kind=user.kind if user else None,
        session_id=conversation.session_id if conversation else None,
        created_at=created_at,
        finished_at=created_at + timedelta(seconds=took) if created_at and took is not None else None,
        latency_seconds=took,
        time_to_first_token_seconds=usage.time_to_first_token_seconds if is_final else None,
        reported_input_tokens=integer(raw, "message_tokens") if is_final else None,
        reported_output_tokens=integer(raw, "answer_tokens") if is_final else None,
        reported_cost=usage.cost if is_final else None,
        currency=usage.currency if is_final else None,
        error_class=error_class(text(raw, "error")) if status == "failed" else None,
    )


def _status(raw: Json, open_since: datetime) -> str:
    """Dify's `normal` means anything but an error: a message without answer, tokens and time is not answered yet."""
    told = text(raw, "status") or "normal"
    if told == "error":
        return "failed"
    if told == "stopped":
        return told
    told_much = raw.get("answer"), integer(raw, "message_tokens"), integer(raw, "answer_tokens")
    if told != "paused" and (any(told_much) or seconds(raw, "provider_response_latency")):
        return "succeeded"
    created_at = instant(raw, "created_at")
    return "open" if created_at is None or created_at > open_since else STALE


def _call(raw: Json, message: Message, telling: Telling, model: AppModel | None) -> ModelCall:
    given_in, given_out = message.reported_input_tokens, message.reported_output_tokens
    # Dify writes zeros for a failed call; what it spent is not known.
    is_told = message.status != "failed" or given_in or given_out
    usage = Usage(
        input_tokens=given_in if is_told else None,
        output_tokens=given_out if is_told else None,
        tokens=given_in + given_out if is_told and given_in is not None and given_out is not None else None,
        cost=message.reported_cost,
        currency=message.currency,
        latency_seconds=message.latency_seconds,
        time_to_first_token_seconds=message.time_to_first_token_seconds,
    )
    call = message_call(
        usage,
        msgspec.structs.replace(telling, conversation_id=message.conversation_id, is_debug=message.is_debug),
        message_id=message.id,
        status=message.status,
        created_at=message.created_at,
        error=text(raw, "error"),
    )
    return msgspec.structs.replace(
        call,
        model_provider=model.provider if model else None,
        model_name=model.name if model else None,
        is_vision=has_image(raw.get("message")),
    )


def _model_of(conversation: Conversation | None, model: AppModel | None) -> AppModel | None:
    """The app's model, where it is the conversation's: a conversation keeps the configuration it began with."""
    if conversation is None or conversation.created_at is None or model is None or model.since is None:
        return None
    # Test chats may carry a configuration of their own.
    return model if conversation.is_debug is False and conversation.created_at >= model.since else None


def _ratings(raw: Json, message: Message) -> list[Feedback]:
    return [
        Feedback(
            source=message.source,
            seen_at=message.seen_at,
            id=f"{message.id}/{side}",
            message_id=message.id,
            from_source=side,
            app_id=message.app_id,
            workspace_id=message.workspace_id,
            conversation_id=message.conversation_id,
            user_id=text(given, "from_end_user_id"),
            rating=rating,
        )
        for given in items(raw, "feedbacks")
        if (rating := text(given, "rating")) and (side := text(given, "from_source"))
    ]


def is_run_gone(raws: list[Json], run: Run) -> bool:
    """Whether an empty node list means that Dify has cleaned the run away: one that spent tokens had nodes."""
    return not raws and bool(run.reported_tokens)
