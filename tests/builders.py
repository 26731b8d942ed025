"""Builders of facts for tests: each has a whole default, and a test names only what it is about."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from collector.records import (
    CONSOLE,
    TAP,
    App,
    Conversation,
    Feedback,
    Message,
    ModelCall,
    NodeExecution,
    Request,
    Run,
    User,
)

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
"""When everything happens unless a test says otherwise."""

_TOLD: dict[str, Any] = {"source": CONSOLE, "seen_at": NOON + timedelta(minutes=5)}


def an_app(**fields: Any) -> App:
    """A workflow app called shop."""
    return App(**({**_TOLD, "id": "shop", "name": "Shop", "mode": "workflow", "created_at": NOON} | fields))


def a_run(**fields: Any) -> Run:
    """A run of shop that succeeded in two seconds."""
    default = {
        **_TOLD,
        "id": "r1",
        "app_id": "shop",
        "status": "succeeded",
        "is_final": True,
        "triggered_from": "app-run",
        "is_debug": False,
        "user_id": "u1",
        "user_kind": "end_user",
        "created_at": NOON,
        "finished_at": NOON + timedelta(seconds=2),
        "elapsed_seconds": 2.0,
        "reported_tokens": 100,
        "steps": 3,
    }
    return Run(**(default | fields))


def a_node(**fields: Any) -> NodeExecution:
    """An LLM node of r1 that succeeded."""
    default = {
        **_TOLD,
        "id": "n1",
        "run_id": "r1",
        "app_id": "shop",
        "node_id": "llm",
        "node_type": "llm",
        "status": "succeeded",
        "is_final": True,
        "is_debug": False,
        "created_at": NOON,
        "finished_at": NOON + timedelta(seconds=1),
        "elapsed_seconds": 1.0,
    }
    return NodeExecution(**(default | fields))


def a_call(**fields: Any) -> ModelCall:
    """A model call of r1: 70 tokens in, 30 out."""
    default = {
        **_TOLD,
        "id": "n1",
        "run_id": "r1",
        "app_id": "shop",
        "node_id": "llm",
        "node_type": "llm",
        "model_provider": "langgenius/openai/openai",
        "model_name": "gpt-4o-mini",
        "status": "succeeded",
        "is_final": True,
        "is_debug": False,
        "created_at": NOON,
        "finished_at": NOON + timedelta(seconds=1),
        "input_tokens": 70,
        "output_tokens": 30,
        "tokens": 100,
        "cost": Decimal("0.000100000"),
        "currency": "USD",
        "latency_seconds": 1.0,
        "time_to_first_token_seconds": 0.25,
    }
    return ModelCall(**(default | fields))


def a_message(**fields: Any) -> Message:
    """A message of a chat app, answered in one second."""
    default = {
        **_TOLD,
        "id": "m1",
        "app_id": "helpdesk",
        "conversation_id": "c1",
        "status": "succeeded",
        "is_final": True,
        "invoke_from": "service-api",
        "is_debug": False,
        "user_id": "u1",
        "user_kind": "end_user",
        "created_at": NOON,
        "finished_at": NOON + timedelta(seconds=1),
        "latency_seconds": 1.0,
    }
    return Message(**(default | fields))


def a_conversation(**fields: Any) -> Conversation:
    """A conversation of helpdesk."""
    return Conversation(**({**_TOLD, "id": "c1", "app_id": "helpdesk", "is_debug": False, "created_at": NOON} | fields))


def a_feedback(**fields: Any) -> Feedback:
    """A like from the user who asked."""
    default = {
        **_TOLD,
        "id": "m1/user",
        "message_id": "m1",
        "from_source": "user",
        "app_id": "helpdesk",
        "rating": "like",
        "created_at": NOON,
    }
    return Feedback(**(default | fields))


def a_request(**fields: Any) -> Request:
    """A request to shop that the tap saw answered."""
    default = {**_TOLD, "source": TAP, "id": "q1", "app_id": "shop", "method": "POST", "route": "/v1/workflows/run"}
    return Request(**(default | {"status_code": 200, "created_at": NOON} | fields))


def a_user(**fields: Any) -> User:
    """The end user who asks."""
    return User(**({**_TOLD, "id": "u1", "kind": "end_user", "session_id": "alice"} | fields))
