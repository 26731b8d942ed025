"""A Dify small enough to write by hand: what a test adds is what the console API answers, by the recorded rules.

Runs are listed by cursor ("created strictly before that run", in microseconds, told in seconds), test runs unless
asked otherwise, trigger runs only in the app log; messages appear page by page from the newest; ratings leave no
trace. Shapes are those of tests/recorded. `faults` answers instead, by the first pattern found in the path.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from collector.pull.console import Access, Console
from tests.pull.doors import answer

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def seconds(at: datetime | None) -> int | None:
    return int(at.timestamp()) if at else None


@dataclass
class ARun:
    id: str
    at: datetime = NOON
    status: str = "succeeded"
    triggered_from: str = "app-run"
    tokens: int = 100
    nodes: list[dict[str, Any]] | None = None  # None: one LLM node that spent `tokens`
    conversation_id: str | None = None
    message_id: str | None = None
    error: str | None = None
    is_logged: bool = True

    def told(self) -> dict[str, Any]:
        over = self.status != "running"
        return {
            "id": self.id,
            "version": "draft" if self.triggered_from == "debugging" else "2026-11-01 00:00:00",
            "status": self.status,
            "elapsed_time": 2.0 if over else 0.0,
            "total_tokens": self.tokens if over else 0,
            "total_steps": 3 if over else 0,
            "created_at": seconds(self.at),
            "finished_at": seconds(self.at + timedelta(seconds=2)) if over else None,
            "exceptions_count": 0,
            "created_by_account": None,
        }

    def node_list(self) -> list[dict[str, Any]]:
        return [a_node(f"{self.id}-llm", self.at, self.tokens)] if self.nodes is None else self.nodes


def a_node(key: str, at: datetime = NOON, tokens: int = 100, **fields: Any) -> dict[str, Any]:
    usage = {
        "prompt_tokens": tokens - tokens // 3,
        "completion_tokens": tokens // 3,
        "total_tokens": tokens,
        "total_price": "0.0001",
        "currency": "USD",
        "latency": 0.5,
    }
    default = {
        "id": key,
        "node_id": "llm",
        "node_type": "llm",
        "title": "LLM",
        "status": "succeeded",
        "process_data": {"usage": usage, "model_provider": "langgenius/openai/openai", "model_name": "gpt-4o-mini"},
        "outputs": {"text": "secret answer", "usage": usage},
        "execution_metadata": {"total_tokens": tokens, "total_price": "0.0001", "currency": "USD"},
        "created_at": seconds(at),
        "finished_at": seconds(at),
        "elapsed_time": 0.5,
        "error": None,
    }
    return default | fields


@dataclass
class AMessage:
    id: str
    at: datetime = NOON
    tokens: int = 30
    run_id: str | None = None
    is_open: bool = False
    ratings: dict[str, str] = field(default_factory=dict)  # by side: user, admin

    def told(self, talk: ATalk) -> dict[str, Any]:
        return {
            "id": self.id,
            "conversation_id": talk.id,
            "query": "secret question",
            "message": [{"role": "user", "text": "secret question", "files": []}],
            "answer": "" if self.is_open else "secret answer",
            "message_tokens": 0 if self.is_open else self.tokens - 10,
            "answer_tokens": 0 if self.is_open else 10,
            "provider_response_latency": 0 if self.is_open else 1.5,
            "from_source": talk.source,
            "from_end_user_id": talk.user,
            "from_account_id": None,
            "workflow_run_id": self.run_id,
            "created_at": seconds(self.at),
            "status": "normal",
            "error": None,
            "metadata": {},
            "feedbacks": [{"from_source": side, "rating": rating} for side, rating in self.ratings.items()],
        }


@dataclass
class ATalk:
    """A conversation."""

    id: str
    messages: list[AMessage]
    at: datetime = NOON
    source: str = "api"
    user: str = "u1"
    is_read: bool = False

    @property
    def updated_at(self) -> datetime:
        return max([self.at, *(message.at for message in self.messages)])

    def told(self, mode: str) -> dict[str, Any]:
        found: dict[str, Any] = {
            "id": self.id,
            "from_source": self.source,
            "from_end_user_id": self.user,
            "from_end_user_session_id": f"session-{self.user}",
            "from_account_id": None,
            "name": "secret title",
            "created_at": seconds(self.at),
            "updated_at": seconds(self.updated_at),
        }
        if mode == "completion":
            return found | {"message": {"query": "", "answer": "secret answer"}}
        return found | {"message_count": len(self.messages)}


@dataclass
class AnApp:
    id: str
    mode: str = "workflow"
    runs: list[ARun] = field(default_factory=list)
    talks: list[ATalk] = field(default_factory=list)
    at: datetime = NOON - timedelta(days=30)
    key: str | None = None  # of its service API

    def told(self) -> dict[str, Any]:
        model = {"model": {"provider": "openai", "name": "gpt-4o"}, "created_at": seconds(self.at)}
        return {
            "id": self.id,
            "name": self.id.title(),
            "mode": self.mode,
            "created_at": seconds(self.at),
            "updated_at": seconds(self.at),
            "workflow": None,
            "model_config": None if self.mode in ("workflow", "advanced-chat") else model,
            "tags": [{"name": "b"}, {"name": "a"}],
        }


class SmallDify:
    """The console API over `apps`."""

    def __init__(self, *apps: AnApp) -> None:
        self.apps = {app.id: app for app in apps}
        self.faults: dict[str, Callable[[], httpx.Response]] = {}
        self.asked: list[str] = []
        self.before: Callable[[str], None] = lambda path: None
        self.graph: dict[str, Any] = {"nodes": []}
        self.timezone = "America/New_York"

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.partition("/console/api")[2] or request.url.path
        self.before(path)
        self.asked.append(path)
        is_served = path.startswith("/v1/")
        assert is_served or request.headers["Authorization"] == "Bearer key"
        fault = next((self.faults[pattern] for pattern in self.faults if re.search(pattern, path)), None)
        if is_served and not fault:
            return self._served(request)
        return fault() if fault else self._route(path, dict(request.url.params))

    def _served(self, request: httpx.Request) -> httpx.Response:
        """The service API, of the app whose key is shown."""
        assert request.url.path == "/v1/app/feedbacks"
        app = next((a for a in self.apps.values() if request.headers["Authorization"] == f"Bearer {a.key}"), None)
        if app is None or app.key is None:
            return answer({"code": "unauthorized", "message": "Access token is invalid"}, 401)
        page, limit = (int(request.url.params[name]) for name in ("page", "limit"))
        return answer({"data": _service_ratings(app)[(page - 1) * limit : page * limit]})

    def times(self, pattern: str) -> int:
        """How often a path was asked for."""
        return sum(re.search(pattern, path) is not None for path in self.asked)

    def console(self, **options: Any) -> Console:
        access = Access(url="http://dify.test", admin_key="key", workspace_id="w1")
        quick = {"retries": 0, "transport": httpx.MockTransport(self)}
        return Console(access, **(quick | options))

    def _route(self, path: str, params: dict[str, str]) -> httpx.Response:
        if path == "/account/profile":
            return answer({"timezone": self.timezone})
        if path == "/apps":
            return _numbered([app.told() for app in self.apps.values()], params)
        if path == "/datasets":
            return _numbered([], params)
        if path.startswith("/workspaces/current/"):
            return answer({"data": [], "accounts": []})
        _, _, app_id, *rest = path.split("/")
        app = self.apps.get(app_id)
        if app is None:
            return answer({"code": "app_not_found", "message": "App not found.", "status": 404}, 404)
        match rest:
            case []:
                return answer(app.told())
            case ["workflow-runs"] | ["advanced-chat", "workflow-runs"]:
                return self._runs(app, params, is_chatflow=len(rest) == 2)
            case ["workflow-runs", "count"]:
                return answer(
                    {"total": len(_listed(app, params))} if "time_range" not in params else self._lately(app, params)
                )
            case ["workflow-runs", run_id]:
                return self._detail(app, run_id)
            case ["workflow-runs", run_id, "node-executions"]:
                run = next((run for run in app.runs if run.id == run_id), None)
                return answer({"data": run.node_list() if run else []})
            case ["workflow-app-logs"]:
                return _numbered(_logs(app, params), params)
            case ["chat-conversations"]:
                talks = sorted(app.talks, key=lambda talk: talk.updated_at, reverse=True)
                return _numbered([talk.told(app.mode) for talk in talks], params)
            case ["completion-conversations"]:
                talks = sorted(app.talks, key=lambda talk: talk.at, reverse=True)
                return _numbered([talk.told(app.mode) for talk in talks], params)
            case ["completion-conversations", talk_id]:
                (talk,) = [talk for talk in app.talks if talk.id == talk_id]
                talk.is_read = True
                return answer({"id": talk.id, "message": talk.messages[0].told(talk)})
            case ["chat-messages"]:
                return _messages(app, params)
            case ["messages", message_id]:
                found = [m.told(talk) for talk in app.talks for m in talk.messages if m.id == message_id]
                return answer(found[0]) if found else answer({"code": "not_found"}, 404)
            case ["statistics", _] | ["workflow", "statistics", _]:
                return answer({"data": []})
            case ["api-keys"]:
                return answer({"data": [{"id": f"key of {app.id}", "token": app.key}] if app.key else []})
            case ["feedbacks", "export"]:
                return answer({"feedback_data": _ratings(app)})
        raise AssertionError(f"nobody should ask for {path}")

    def _runs(self, app: AnApp, params: dict[str, str], *, is_chatflow: bool) -> httpx.Response:
        runs = _listed(app, params)
        if "last_id" in params:
            cursor = next((run for run in runs if run.id == params["last_id"]), None)
            if cursor is None:
                return answer({"code": "invalid_param", "message": "Last workflow run not exists", "status": 400}, 400)
            runs = [run for run in runs if run.at < cursor.at]
        limit = int(params["limit"])
        shown = [run.told() | _chat_ids(run, is_chatflow) for run in runs[:limit]]
        return answer({"data": shown, "limit": limit, "has_more": len(runs) > limit})

    def _lately(self, app: AnApp, params: dict[str, str]) -> dict[str, int]:
        """The count of the last days: as of the hour after everything happened."""
        since = NOON + timedelta(hours=1) - _SPANS[params["time_range"][-1]] * int(params["time_range"][:-1])
        return {"total": sum(run.at >= since for run in _listed(app, params))}

    def _detail(self, app: AnApp, run_id: str) -> httpx.Response:
        run = next((run for run in app.runs if run.id == run_id), None)
        if run is None:
            return answer(dict.fromkeys(ARun("x").told()) | {"graph": None})
        user = {"id": "u1", "type": "service-api", "is_anonymous": False, "session_id": "session-u1"}
        return answer(
            run.told() | {"graph": self.graph, "error": run.error, "outputs": "secret", "created_by_end_user": user}
        )


_SPANS = {"d": timedelta(days=1), "h": timedelta(hours=1), "m": timedelta(minutes=1), "s": timedelta(seconds=1)}


def _listed(app: AnApp, params: dict[str, str]) -> list[ARun]:
    wanted = params.get("triggered_from", "debugging")
    return sorted((run for run in app.runs if run.triggered_from == wanted), key=lambda run: run.at, reverse=True)


def _chat_ids(run: ARun, is_chatflow: bool) -> dict[str, Any]:
    return {"conversation_id": run.conversation_id, "message_id": run.message_id} if is_chatflow else {}


def _logs(app: AnApp, params: dict[str, str]) -> list[dict[str, Any]]:
    after = datetime.fromisoformat(params.get("created_at__after", "2000-01-01T00:00:00Z"))
    user = {"id": "u1", "type": "service-api", "is_anonymous": False, "session_id": "session-u1"}
    return [
        {
            "id": f"log-{run.id}",
            "workflow_run": run.told() | {"triggered_from": run.triggered_from, "error": run.error},
            "created_by_end_user": user,
            "created_at": seconds(run.at),
        }
        for run in sorted(app.runs, key=lambda run: run.at, reverse=True)
        if run.is_logged and run.triggered_from != "debugging" and run.at >= after
    ]


def _messages(app: AnApp, params: dict[str, str]) -> httpx.Response:
    talk = next((talk for talk in app.talks if talk.id == params["conversation_id"]), None)
    if talk is None:
        return answer({"code": "not_found", "message": "Conversation Not Exists.", "status": 404}, 404)
    found = sorted(talk.messages, key=lambda message: message.at, reverse=True)
    if "first_id" in params:
        (cursor,) = [message for message in found if message.id == params["first_id"]]
        found = [message for message in found if message.at < cursor.at]
    limit = int(params["limit"])
    shown = [message.told(talk) for message in found[:limit]][::-1]
    return answer({"data": shown, "limit": limit, "has_more": len(found) > limit})


def _service_ratings(app: AnApp) -> list[dict[str, Any]]:
    return [
        {
            "id": f"{row['message_id']} {row['feedback_source']}",
            "app_id": app.id,
            "conversation_id": row["conversation_id"],
            "message_id": row["message_id"],
            "rating": row["feedback_rating_raw"],
            "content": "secret comment",
            "from_source": row["feedback_source"],
            "from_end_user_id": row["from_end_user_id"],
            "from_account_id": None,
            "created_at": row["feedback_date"].replace(" ", "T"),
            "updated_at": "2026-11-20T11:59:00",
        }
        for row in _ratings(app)
    ]


def _ratings(app: AnApp) -> list[dict[str, Any]]:
    return [
        {
            "message_id": message.id,
            "conversation_id": talk.id,
            "feedback_source": side,
            "feedback_rating_raw": rating,
            "feedback_date": f"{message.at:%Y-%m-%d %H:%M:%S}",
            "from_end_user_id": talk.user,
            "feedback_comment": "secret comment",
        }
        for talk in app.talks
        for message in talk.messages
        for side, rating in message.ratings.items()
    ]


def _numbered(found: Iterable[dict[str, Any]], params: dict[str, str]) -> httpx.Response:
    every, number, limit = list(found), int(params["page"]), int(params["limit"])
    return answer(
        {
            "page": number,
            "limit": limit,
            "total": len(every),
            "has_more": number * limit < len(every),
            "data": every[(number - 1) * limit : number * limit],
        }
    )
