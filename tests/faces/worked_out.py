"""Each statistic against numbers worked out by hand, in two time zones, over the night New York set its clocks back.

Six instants, each with twice the weight of the one before, so that no other set of them has the same sum:

                    A     B     C     D     E     F
    weight          1     2     4     8    16    32
    Shanghai     31.10 | 1.11   1.11  1.11 | 2.11  2.11
    New York     31.10  31.10 | 1.11  1.11  1.11 | 2.11     C and D both at 01:30 on the clock; that day has 25 hours

At each instant: one run of `shop` with one model call, one message of `chat`, one sample of a queue.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from collector.records import Dataset, DatasetDay, QueueSample, Record, Retrieval
from tests.builders import a_call, a_conversation, a_feedback, a_message, a_run, a_user, an_app

AT = {
    "A": datetime(2026, 10, 31, 15, 30, tzinfo=UTC),
    "B": datetime(2026, 10, 31, 16, 30, tzinfo=UTC),
    "C": datetime(2026, 11, 1, 5, 30, tzinfo=UTC),
    "D": datetime(2026, 11, 1, 6, 30, tzinfo=UTC),
    "E": datetime(2026, 11, 2, 4, 30, tzinfo=UTC),
    "F": datetime(2026, 11, 2, 5, 30, tzinfo=UTC),
}
WEIGHTS = {"A": 1, "B": 2, "C": 4, "D": 8, "E": 16, "F": 32}
USERS = {"A": "u1", "B": "u1", "C": "u1", "D": "u2", "E": "u3", "F": "u2"}
MODELS = {"A": "gpt", "B": "qwen", "C": "gpt", "D": "qwen", "E": "gpt", "F": "qwen"}
RATINGS = {"A": "like", "B": "like", "C": "dislike", "D": "like", "F": "like"}
LATE = "CD"
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
TOLD: dict[str, Any] = {"source": "console", "seen_at": AT["F"]}


def happened(name: str) -> list[Record]:
    """The facts of one instant."""
    at, weight = AT[name], WEIGHTS[name]
    user = {"user_id": USERS[name], "user_kind": "end_user", "created_at": at}
    facts: list[Record] = [
        a_run(id=f"r{name}", status="failed" if name == "C" else "succeeded", elapsed_seconds=float(weight), **user),
        a_call(
            id=f"n{name}",
            run_id=f"r{name}",
            created_at=at,
            status="failed" if name == "C" else "succeeded",
            model_name=MODELS[name],
            is_vision=name in "BC",
            input_tokens=weight,
            output_tokens=10 * weight,
            tokens=11 * weight,
            cost=Decimal(weight) / 1000,
            currency="CNY" if name == "D" else "USD",
            latency_seconds=3.0,
            time_to_first_token_seconds=2.0,
        ),
        a_message(
            id=f"m{name}",
            app_id="chat",
            conversation_id={"D": "c3", "E": "c2", "F": "c2"}.get(name, "c1"),
            status="failed" if name == "D" else "succeeded",
            latency_seconds=float(weight),
            **user,
        ),
        QueueSample(id=name, broker="dify", queue="dataset", kind="served", created_at=at, ready=weight, **TOLD),
    ]
    if name in RATINGS:
        facts.append(a_feedback(id=name, message_id=f"m{name}", app_id="chat", rating=RATINGS[name], created_at=at))
    if name in "ABC":
        facts.append(Retrieval(id=name, dataset_id="d1", app_id="chat", created_at=at, **TOLD))
    return facts


def put_early(facts: Any) -> None:
    facts.put(an_app(id="chat", name="Chat", mode="chat", created_at=LONG_AGO), an_app(id="lab", created_at=LONG_AGO))
    facts.put(
        a_user(id="u1", session_id="alice"), a_user(id="u2", session_id="bob"), a_user(id="u3", session_id="carol")
    )
    facts.put(a_conversation(id="c1", app_id="chat", created_at=AT["A"]))
    facts.put(a_conversation(id="c2", app_id="chat", created_at=AT["E"]))
    facts.put(Dataset(id="d1", name="Handbook", **TOLD))
    for day, documents in ((1, 10), (2, 20)):
        midnight = datetime(2026, 11, day, tzinfo=UTC)
        facts.put(DatasetDay(id=f"d1/{day}", dataset_id="d1", created_at=midnight, documents=documents, apps=2, **TOLD))
    facts.put(*(fact for name in AT if name not in LATE for fact in happened(name)))


def put_late(facts: Any) -> None:
    facts.put(an_app(is_published=True, created_at=AT["B"]))
    facts.put(an_app(id="gone", name="Gone", created_at=LONG_AGO, deleted_at=AT["E"]))
    facts.put(a_conversation(id="c3", app_id="chat", created_at=AT["D"]))
    facts.put(*(fact for name in LATE for fact in happened(name)))


def money(thousandths: int) -> str:
    return f"{Decimal(thousandths) / 1000:.9f}"


DAYS = {"since": "2026-10-31", "until": "2026-11-02", "grain": "day"}
ONE_DAY = {"since": "2026-11-01", "until": "2026-11-01"}
SHANGHAI, NEW_YORK = "Asia/Shanghai", "America/New_York"

SERIES: dict[str, dict[str, dict[str, list[Any]]]] = {
    "apps/shop/tokens": {
        SHANGHAI: {
            "tokens": [11, 154, 528],
            "input_tokens": [1, 14, 48],
            "model_calls": [1, 3, 2],
            "cost_usd": [money(1), money(6), money(48)],
            "cost_cny": [money(0), money(8), money(0)],
        },
        NEW_YORK: {
            "tokens": [33, 308, 352],
            "input_tokens": [3, 28, 32],
            "model_calls": [2, 3, 1],
            "cost_usd": [money(3), money(20), money(32)],
            "cost_cny": [money(0), money(8), money(0)],
        },
    },
    "apps/chat/messages": {
        SHANGHAI: {"messages": [1, 3, 2], "failed_messages": [0, 1, 0], "dify_messages": [1, 3, 2]},
        NEW_YORK: {"messages": [2, 3, 1], "failed_messages": [0, 1, 0], "dify_messages": [2, 3, 1]},
    },
    "apps/chat/ratings": {
        SHANGHAI: {
            "likes": [1, 2, 1],
            "dislikes": [0, 1, 0],
            "satisfaction": [1.0, 2 / 3, 1.0],
            "dify_satisfaction": [1000.0, 666.67, 500.0],
        },
        NEW_YORK: {
            "likes": [2, 1, 1],
            "dislikes": [0, 1, 0],
            "satisfaction": [1.0, 0.5, 1.0],
            "dify_satisfaction": [1000.0, 333.33, 1000.0],
        },
    },
    "apps/shop/token-speed": {
        SHANGHAI: {"output_speed": [10.0, 140 / 3, 240.0], "output_speed_dify": [10 / 3, 140 / 9, 80.0]},
        NEW_YORK: {"output_speed": [15.0, 280 / 3, 320.0], "output_speed_dify": [5.0, 280 / 9, 320 / 3]},
    },
    "apps/chat/session-interactions": {
        SHANGHAI: {"messages_per_conversation": [1.0, 1.5, 2.0]},
        NEW_YORK: {"messages_per_conversation": [2.0, 1.0, 1.0]},
    },
    "apps/chat/conversations": {
        SHANGHAI: {"conversations": [1, 2, 1], "conversations_started": [1, 1, 1]},
        NEW_YORK: {"conversations": [1, 3, 1], "conversations_started": [1, 2, 0]},
    },
    "apps/chat/active-users": {
        SHANGHAI: {"active_users": [1, 2, 2], "dify_end_users": [1, 2, 2]},
        NEW_YORK: {"active_users": [1, 3, 1], "dify_end_users": [1, 3, 1]},
    },
    "apps/shop/calls": {
        SHANGHAI: {
            "invocations": [1, 3, 2],
            "succeeded_invocations": [1, 2, 2],
            "failed_invocations": [0, 1, 0],
            "stopped_invocations": [0, 0, 0],
            "run_elapsed_mean": [1.0, 14 / 3, 24.0],
        },
        NEW_YORK: {
            "invocations": [2, 3, 1],
            "succeeded_invocations": [2, 2, 1],
            "failed_invocations": [0, 1, 0],
            "stopped_invocations": [0, 0, 0],
            "run_elapsed_mean": [1.5, 28 / 3, 32.0],
        },
    },
    "resources/model-calls": {
        SHANGHAI: {"model_calls": [1, 3, 2], "failed_model_calls": [0, 1, 0]},
        NEW_YORK: {"model_calls": [2, 3, 1], "failed_model_calls": [0, 1, 0]},
    },
    "resources/tokens": {
        SHANGHAI: {"tokens": [11, 154, 528], "output_tokens": [10, 140, 480]},
        NEW_YORK: {"tokens": [33, 308, 352], "output_tokens": [30, 280, 320]},
    },
    "resources/conversations": {
        SHANGHAI: {"app_name": ["Chat"] * 3, "conversations": [1, 2, 1], "messages": [1, 3, 2]},
        NEW_YORK: {"app_name": ["Chat"] * 3, "conversations": [1, 3, 1], "messages": [2, 3, 1]},
    },
    "tasks/queue-backlog": {
        SHANGHAI: {"queue": ["dataset"] * 3, "queue_messages": [1, 8, 32]},
        NEW_YORK: {"queue": ["dataset"] * 3, "queue_messages": [2, 16, 32]},
    },
    "tasks/response-time": {
        SHANGHAI: {"response_time_mean": [1.0, 3.0, 24.0], "run_elapsed_mean": [1.0, 14 / 3, 24.0]},
        NEW_YORK: {"response_time_mean": [1.5, 10.0, 32.0], "run_elapsed_mean": [1.5, 28 / 3, 32.0]},
    },
    "tasks/request-rate": {
        SHANGHAI: {
            "requests": [2, 6, 4],
            "request_rate": [2 / 86400, 6 / 86400, 4 / 86400],
            "request_rate_peak": [2, 2, 2],
        },
        NEW_YORK: {
            "requests": [4, 6, 2],
            "request_rate": [4 / 86400, 6 / 90000, 2 / 86400],
            "request_rate_peak": [2, 2, 2],
        },
    },
}
"""Statistic -> zone -> column -> its values on 31 October, 1 and 2 November."""

LISTS: dict[str, dict[str, list[dict[str, Any]]]] = {
    "business/users": {
        SHANGHAI: [
            {
                "rank": 1,
                "user_name": "alice",
                "invocations": 4,
                "messages": 2,
                "runs": 2,
                "tokens": 66,
                "cost_usd": money(6),
                "cost_cny": money(0),
                "active_apps": 2,
                "active_days": 1,
                "first_seen": "2026-11-01T00:30:00+08:00",
                "last_seen": "2026-11-01T13:30:00+08:00",
            },
            {
                "rank": 2,
                "user_name": "bob",
                "invocations": 2,
                "tokens": 88,
                "cost_cny": money(8),
                "first_seen": "2026-11-01T14:30:00+08:00",
            },
        ],
        NEW_YORK: [
            {
                "rank": 1,
                "user_name": "alice",
                "invocations": 2,
                "tokens": 44,
                "first_seen": "2026-11-01T01:30:00-04:00",
            },
            {"rank": 2, "user_name": "bob", "invocations": 2, "tokens": 88, "first_seen": "2026-11-01T01:30:00-05:00"},
            {"rank": 3, "user_name": "carol", "invocations": 2, "tokens": 176, "cost_usd": money(16)},
        ],
    },
    "business": {
        SHANGHAI: [
            {
                "invocations": 6,
                "invocations_before": 2,
                "invocations_change": 2.0,
                "active_users": 2,
                "tokens": 154,
                "tokens_before": 11,
                "tokens_change": 13.0,
                "conversations": 2,
                "active_apps": 2,
                "cost_usd": money(6),
                "cost_usd_before": money(1),
                "cost_usd_change": 5.0,
                "cost_cny": money(8),
                "cost_cny_before": money(0),
                "cost_cny_change": None,
            }
        ],
        NEW_YORK: [
            {
                "invocations": 6,
                "invocations_before": 4,
                "invocations_change": 0.5,
                "active_users": 3,
                "tokens": 308,
                "tokens_before": 33,
                "conversations": 3,
                "satisfaction": 0.5,
            }
        ],
    },
    "metering/apps": {
        SHANGHAI: [
            {"app_id": "shop", "app_name": "Shop", "runs": 3, "messages": 0, "tokens": 154, "cost_usd": money(6)},
            {"app_id": "chat", "app_mode": "chat", "runs": 0, "messages": 3, "tokens": 0, "cost_usd": "0"},
        ],
        NEW_YORK: [
            {
                "app_id": "shop",
                "runs": 3,
                "active_users": 3,
                "tokens": 308,
                "cost_usd": money(20),
                "cost_cny": money(8),
            },
            {"app_id": "chat", "runs": 0, "messages": 3, "active_users": 3},
        ],
    },
    "metering/models": {
        SHANGHAI: [
            {
                "model_name": "qwen",
                "model_calls": 2,
                "failed_model_calls": 0,
                "tokens": 110,
                "cost_usd": money(2),
                "cost_cny": money(8),
                "model_call_latency_mean": 3.0,
                "output_speed": 50.0,
            },
            {"model_name": "gpt", "model_calls": 1, "failed_model_calls": 1, "tokens": 44, "cost_usd": money(4)},
        ],
        NEW_YORK: [
            {"model_name": "gpt", "model_calls": 2, "failed_model_calls": 1, "tokens": 220, "cost_usd": money(20)},
            {"model_name": "qwen", "model_calls": 1, "failed_model_calls": 0, "tokens": 88, "cost_cny": money(8)},
        ],
    },
    "metering/vision-models": {
        SHANGHAI: [
            {"model_name": "gpt", "model_calls": 1, "tokens": 44},
            {"model_name": "qwen", "model_calls": 1, "tokens": 22},
        ],
        NEW_YORK: [{"model_name": "gpt", "model_calls": 1, "tokens": 44, "cost_usd": money(4)}],
    },
    "metering/datasets": {
        SHANGHAI: [{"dataset_name": "Handbook", "knowledge_documents": 10, "knowledge_apps": 2, "retrievals": 2}],
        NEW_YORK: [{"dataset_name": "Handbook", "knowledge_documents": 20, "knowledge_apps": 2, "retrievals": 1}],
    },
    "operations/app-status": {
        SHANGHAI: [
            {"app_mode": "chat", "apps": 1, "active_apps": 1, "idle_apps": 0, "new_apps": 0, "deleted_apps": 0},
            {
                "app_mode": "workflow",
                "apps": 2,
                "published_apps": 1,
                "active_apps": 1,
                "idle_apps": 1,
                "new_apps": 1,
                "deleted_apps": 0,
            },
        ],
        NEW_YORK: [
            {"app_mode": "chat", "apps": 1, "active_apps": 1, "idle_apps": 0, "new_apps": 0, "deleted_apps": 0},
            {
                "app_mode": "workflow",
                "apps": 2,
                "published_apps": 1,
                "active_apps": 1,
                "idle_apps": 1,
                "new_apps": 0,
                "deleted_apps": 1,
            },
        ],
    },
    "apps": {
        SHANGHAI: [
            {
                "app_id": "chat",
                "app_name": "Chat",
                "apps": 1,
                "invocations": 3,
                "active_users": 2,
                "satisfaction": 2 / 3,
            },
            {
                "app_id": "shop",
                "app_name": "Shop",
                "published_apps": 1,
                "invocations": 3,
                "tokens": 154,
                "app_created": "2026-11-01T00:30:00+08:00",
                "cost_usd": money(6),
            },
            {"app_id": "lab", "apps": 1, "invocations": 0, "tokens": 0, "last_seen": None},
        ],
        NEW_YORK: [
            {"app_id": "chat", "invocations": 3, "active_users": 3, "satisfaction": 0.5},
            {"app_id": "shop", "invocations": 3, "tokens": 308, "last_seen": "2026-11-01T23:30:00-05:00"},
            {"app_id": "lab", "invocations": 0},
        ],
    },
}
"""Statistic -> zone -> its rows on 1 November, as far as they were worked out."""
