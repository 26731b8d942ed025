"""Messages, conversations and ratings: SQL for the rows, and row -> records.

What comes in are rows of messages, conversations and message_feedbacks; what goes out are Message (with its ModelCall
in apps without nodes), Conversation and Feedback. Never fetches a question or an answer: the server is asked whether
the answer is empty, and hands over the prompts only where one holds an image, to be looked at and dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any

import msgspec

from collector.fields import money, seconds
from collector.ledger import CHAT_MODES, Telling, Usage, error_class, has_image, message_call, provider_name
from collector.pull.database.connection import Row
from collector.pull.database.schema import Schema
from collector.pull.database.values import cut_sql, ends, in_workspace, is_cut, last_members, loose_json, strict_json
from collector.records import STALE, Conversation, Feedback, Message, ModelCall

IN_PERIOD = "m.created_at >= %(since)s AND m.created_at < %(until)s"
BY_ID = "m.id = ANY(%(ids)s::uuid[])"

_ENDS = {"error": "failed", "stopped": "stopped"}
"""Statuses that say how it ended; Dify's `normal` means anything else."""


def messages_sql(schema: Schema, where: str) -> str:
    """Messages with their app, their end user and what tells whether an image was asked about."""
    mode = f"coalesce({schema.optional('messages', 'm', 'app_mode')}, a.mode)"
    end = "substring(convert_to(m.message_metadata, 'UTF8') from octet_length(m.message_metadata) - 1023)"
    metadata = cut_sql("m.message_metadata", whole=2048, head="''::bytea", tail=end)
    return f"""
    SELECT m.id::text, a.tenant_id::text, m.app_id::text, m.conversation_id::text, m.workflow_run_id::text, {mode},
      m.status, m.error, {schema.optional("messages", "m", "invoke_from")}, m.from_source, m.from_end_user_id::text,
      m.from_account_id::text, u.session_id, m.answer = '', m.message_tokens, m.answer_tokens,
      m.provider_response_latency, m.total_price, m.currency, m.model_provider, m.model_id, {_PROMPTS}, {metadata},
      m.created_at AT TIME ZONE 'UTC', t.tokens_in, t.tokens_out, t.price, t.currency
    FROM messages m
    LEFT JOIN apps a ON a.id = m.app_id
    LEFT JOIN end_users u ON u.id = m.from_end_user_id
    {_THOUGHTS}
    WHERE {where} AND {in_workspace("a.tenant_id")}
    """


_THOUGHTS = """LEFT JOIN LATERAL (
      SELECT sum(g.message_token)::bigint AS tokens_in, sum(g.answer_token)::bigint AS tokens_out,
        CASE WHEN count(DISTINCT g.currency) <= 1 THEN sum(g.total_price) END AS price, min(g.currency) AS currency
      FROM message_agent_thoughts g WHERE g.message_id = m.id
    ) t ON m.workflow_run_id IS NULL AND m.message_tokens = 0 AND m.answer_tokens = 0"""
"""The rounds of an agent, of answers that tell no tokens: an agent that was cut off or failed wrote down every round
that it had paid for. Of all others the message holds the sum of its rounds."""


_PROMPTS = """CASE WHEN m.workflow_run_id IS NOT NULL OR left(m.message::text, 2) <> '[{' THEN NULL
    WHEN strpos(m.message::text, '"image"') = 0 THEN '[{}]' ELSE m.message::text END"""
"""The prompts, or the shortest list that says as much about images; a quote inside a prompt's text is escaped."""


def message(row: Row, telling: Telling, stale_before: datetime) -> list[Message | ModelCall]:
    """A row of `messages_sql` -> the message, and the call it is in apps without nodes."""
    (key, workspace, app, conversation, run, mode, told, error, invoked, source, end_user, account, session, is_empty,
     tokens_in, tokens_out, latency, price, currency, provider, model, prompts, metadata, created,
     *rounds) = row  # fmt: skip
    took = seconds({"provider_response_latency": latency}, "provider_response_latency")
    is_empty = is_empty and not (tokens_in or tokens_out or took)
    status = _status(told, is_empty=is_empty, is_old=created < stale_before)
    is_final = status not in ("open", STALE)
    found = Message(
        source=telling.source,
        seen_at=telling.seen_at,
        id=key,
        app_id=app,
        workspace_id=workspace,
        conversation_id=conversation,
        run_id=run,
        status=status,
        is_final=is_final,
        invoke_from=invoked,
        is_debug=_is_debug(invoked, source),
        user_id=end_user or account,
        user_kind=_kind(end_user, account),
        session_id=session,
        created_at=created,
        error_class=error_class(error) if status == "failed" else None,
    )
    is_call = mode in CHAT_MODES if mode else run is None
    if not is_final:
        spent = _of_rounds(Usage(), rounds) if is_call and status == STALE else None
        return [found] if spent is None else [found, _call(found, telling, spent, None, provider, model, prompts)]
    # Dify writes zeros where it failed: how long that took is not known.
    took = took if took or status != "failed" else None
    usage = Usage(
        input_tokens=tokens_in,
        output_tokens=tokens_out,
        tokens=tokens_in + tokens_out,
        cost=money({"total_price": str(price)}, "total_price") if price is not None else None,
        currency=(currency or None) if price is not None else None,
        latency_seconds=took,
        time_to_first_token_seconds=_first_token(metadata),
    )
    found = _with_usage(found, usage)
    if not is_call:
        return [found]
    return [found, _call(found, telling, _of_rounds(usage, rounds) or usage, error, provider, model, prompts)]


def _of_rounds(usage: Usage, rounds: Sequence[Any]) -> Usage | None:
    """The usage an agent's rounds add up to, where they tell one and its message does not."""
    tokens_in, tokens_out, price, currency = rounds
    if usage.tokens or not (tokens_in or tokens_out):
        return None
    return msgspec.structs.replace(
        usage,
        input_tokens=tokens_in,
        output_tokens=tokens_out,
        tokens=tokens_in + tokens_out,
        cost=money({"total_price": str(price)}, "total_price") if price is not None else None,
        currency=(currency or None) if price is not None else None,
    )


def _status(told: str, *, is_empty: bool, is_old: bool) -> str:
    """Dify makes a message empty, fills it at the end and marks no end: what is empty is open, and in time stale."""
    if told in _ENDS:
        return _ENDS[told]
    if told != "paused" and not is_empty:
        return "succeeded"
    return STALE if is_old else "open"


def _with_usage(found: Message, usage: Usage) -> Message:
    took = usage.latency_seconds
    return msgspec.structs.replace(
        found,
        finished_at=found.created_at + timedelta(seconds=took) if found.created_at and took is not None else None,
        latency_seconds=took,
        time_to_first_token_seconds=usage.time_to_first_token_seconds,
        reported_input_tokens=usage.input_tokens,
        reported_output_tokens=usage.output_tokens,
        reported_cost=usage.cost,
        currency=usage.currency,
    )


def _call(
    found: Message,
    telling: Telling,
    spent: Usage,
    error: str | None,
    provider: str | None,
    model: str | None,
    prompts: str | None,
) -> ModelCall:
    about = msgspec.structs.replace(
        telling,
        app_id=found.app_id,
        workspace_id=found.workspace_id,
        conversation_id=found.conversation_id,
        is_debug=found.is_debug,
    )
    status = "stopped" if found.status == STALE else found.status  # nobody waited for its end
    call = message_call(spent, about, message_id=found.id, status=status, created_at=found.created_at, error=error)
    image = has_image(loose_json(f'{{"prompts": {prompts}}}').get("prompts")) if prompts else None
    return msgspec.structs.replace(
        call, model_provider=provider_name(provider), model_name=model or None, is_vision=image
    )


def conversations_sql(schema: Schema) -> str:
    """Conversations that had a message in the period: messages are indexed by time, conversations are not."""
    invoked = schema.optional("conversations", "c", "invoke_from")
    return f"""
    SELECT c.id::text, a.tenant_id::text, c.app_id::text, c.from_end_user_id::text, c.from_account_id::text,
      u.session_id, {invoked}, c.from_source, c.created_at AT TIME ZONE 'UTC', c.updated_at AT TIME ZONE 'UTC',
      (SELECT count(*) FROM messages n WHERE n.conversation_id = c.id)
    FROM (SELECT DISTINCT m.conversation_id AS id FROM messages m WHERE {IN_PERIOD}) t
    JOIN conversations c ON c.id = t.id
    LEFT JOIN apps a ON a.id = c.app_id
    LEFT JOIN end_users u ON u.id = c.from_end_user_id
    WHERE {in_workspace("a.tenant_id")}
    """


def conversation(row: Row, telling: Telling) -> Conversation:
    """A row of `conversations_sql` -> Conversation."""
    key, workspace, app, end_user, account, session, invoked, source, created, updated, messages = row
    return Conversation(
        source=telling.source,
        seen_at=telling.seen_at,
        id=key,
        app_id=app,
        workspace_id=workspace,
        user_id=end_user or account,
        user_kind=_kind(end_user, account),
        session_id=session,
        is_debug=_is_debug(invoked, source),
        created_at=created,
        updated_at=updated,
        messages=messages,
    )


def feedback_sql() -> str:
    """Every rating there is: they change in place and vanish without a trace, so they are compared whole."""
    return f"""
    SELECT f.message_id::text, f.from_source, f.app_id::text, a.tenant_id::text, f.conversation_id::text,
      f.from_end_user_id::text, f.from_account_id::text, f.rating, f.created_at AT TIME ZONE 'UTC',
      f.updated_at AT TIME ZONE 'UTC'
    FROM message_feedbacks f LEFT JOIN apps a ON a.id = f.app_id
    WHERE {in_workspace("a.tenant_id")}
    """


def feedback(row: Row, telling: Telling) -> Feedback:
    """A row of `feedback_sql` -> Feedback."""
    message_id, source, app, workspace, conversation_id, end_user, account, rating, created, updated = row
    return Feedback(
        source=telling.source,
        seen_at=telling.seen_at,
        id=f"{message_id}/{source}",
        message_id=message_id,
        from_source=source,
        app_id=app,
        workspace_id=workspace,
        conversation_id=conversation_id,
        user_id=end_user or account,
        rating=rating,
        created_at=created,
        updated_at=updated,
    )


class _Usage(msgspec.Struct):
    time_to_first_token: Annotated[float, msgspec.Meta(ge=0)] | None = None


class _Metadata(msgspec.Struct):
    usage: _Usage | None = None


_metadata = msgspec.json.Decoder(_Metadata)


def _first_token(written: bytes | None) -> float | None:
    """When the first token came, which chatflows tell in the message's metadata."""
    if written is not None and is_cut(written):
        found: _Metadata | None = last_members(ends(written)[1], "usage", _metadata)
    else:
        found = strict_json(_metadata, written)
    return found.usage.time_to_first_token if found and found.usage else None


def _is_debug(invoke_from: str | None, from_source: str) -> bool | None:
    """Versions before 0.3 tell no `invoke_from`: what came over the API was no test, the rest is not known."""
    if invoke_from is not None:
        return invoke_from == "debugger"
    return False if from_source == "api" else None


def _kind(end_user: str | None, account: str | None) -> str | None:
    return "end_user" if end_user else ("account" if account else None)
