"""Rows of Dify's tables -> the facts its database tells: of a real one kept as CSV, and of simulated worlds."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from collector.demo import World
from collector.demo.rows import EndUser
from collector.records import DATABASE, App, Conversation, Feedback, Message, Record, Run

RECORDED = Path(__file__).parents[1] / "recorded" / "database" / "sample"
SEEN_AT = datetime(2027, 6, 1, tzinfo=UTC)


def an_app(key: str, mode: str) -> App:
    return App(source=DATABASE, seen_at=SEEN_AT, id=key, mode=mode)


def real_facts() -> Iterator[Record]:
    """The rows of the recorded database, as far as statistics are made of them."""
    for row in _rows("messages"):
        yield Message(
            source=DATABASE,
            seen_at=SEEN_AT,
            id=row["id"],
            app_id=row["app_id"],
            conversation_id=row["conversation_id"],
            status="succeeded",
            is_final=True,
            invoke_from=row["invoke_from"] or None,
            is_debug=row["invoke_from"] == "debugger",
            user_id=row["from_end_user_id"] or "an-account",
            user_kind="end_user" if row["from_end_user_id"] else "account",
            created_at=_at(row["created_at"]),
            latency_seconds=float(row["provider_response_latency"]),
            reported_input_tokens=int(row["message_tokens"]),
            reported_output_tokens=int(row["answer_tokens"]),
            reported_cost=Decimal(row["total_price"]) if row["total_price"] else None,
        )
    for row in _rows("workflow_runs"):
        yield Run(
            source=DATABASE,
            seen_at=SEEN_AT,
            id=row["id"],
            app_id=row["app_id"],
            status="succeeded",
            is_final=True,
            triggered_from=row["triggered_from"],
            is_debug=row["triggered_from"] == "debugging",
            user_id=row["created_by"],
            created_at=_at(row["created_at"]),
            reported_tokens=int(row["total_tokens"]),
        )
    for row in _rows("conversations"):
        yield Conversation(
            source=DATABASE, seen_at=SEEN_AT, id=row["id"], app_id=row["app_id"], created_at=_at(row["created_at"])
        )
    for place, row in enumerate(_rows("message_feedbacks")):
        yield Feedback(
            source=DATABASE,
            seen_at=SEEN_AT,
            id=f"{row['message_id']}/{place}",
            message_id=row["message_id"],
            from_source="user",
            app_id=row["app_id"],
            rating=row["rating"],
        )


def world_facts(world: World) -> Iterator[Record]:
    """The rows of a simulated world, as far as statistics are made of them."""
    yield from (an_app(app.id, app.mode) for app in world.apps.values())
    for message in world.messages.values():
        yield Message(
            source=DATABASE,
            seen_at=SEEN_AT,
            id=message.id,
            app_id=message.app_id,
            conversation_id=message.conversation_id,
            status="succeeded",
            is_final=message.is_filled,
            invoke_from=message.invoke_from,
            is_debug=message.invoke_from == "debugger",
            user_id=message.from_end_user_id or message.from_account_id,
            user_kind="end_user" if message.from_end_user_id else "account",
            created_at=message.created_at,
            latency_seconds=message.provider_response_latency or None,
            reported_input_tokens=message.message_tokens if message.is_filled else None,
            reported_output_tokens=message.answer_tokens if message.is_filled else None,
            reported_cost=message.total_price,
        )
    for run in world.runs.values():
        yield Run(
            source=DATABASE,
            seen_at=SEEN_AT,
            id=run.id,
            app_id=run.app_id,
            status=run.status,
            is_final=run.finished_at is not None,
            triggered_from=run.triggered_from,
            is_debug=run.triggered_from == "debugging",
            user_id=run.created_by_id,
            user_kind="end_user" if isinstance(run.created_by, EndUser) else "account",
            created_at=run.created_at,
            reported_tokens=run.total_tokens if run.finished_at else None,
        )
    for talk in world.conversations.values():
        yield Conversation(source=DATABASE, seen_at=SEEN_AT, id=talk.id, app_id=talk.app_id, created_at=talk.created_at)
    for ratings in world.feedback_of.values():
        for (message_id, side), rating in ratings.items():
            yield Feedback(
                source=DATABASE,
                seen_at=SEEN_AT,
                id=f"{message_id}/{side}",
                message_id=message_id,
                from_source=side,
                app_id=rating.app_id,
                rating=rating.rating,
            )


def _rows(name: str) -> list[dict[str, str]]:
    with (RECORDED / f"{name}.csv").open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def _at(written: str) -> datetime:
    return datetime.fromisoformat(written).replace(tzinfo=UTC)
