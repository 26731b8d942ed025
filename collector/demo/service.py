"""The service API of the simulated Dify: asking an app over `/v1`, as a stream or at once, stopping, rating, reading.

What comes in is an `Ask` that an app's key opened; what goes out becomes JSON, or plays a stream beat by beat. Every
call leaves its rows in the world, so lists, statistics and stream agree. Time between beats passes by a function handed
over: tests let it pass at once.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

import msgspec

from collector.demo import app_shapes, shapes, streams
from collector.demo.asking import Ask, Endpoint, Refusal
from collector.demo.console import logs_page
from collector.demo.conversations import older_messages
from collector.demo.drawing import Drawing
from collector.demo.nodes import run_inputs
from collector.demo.plan import Asked, Plan
from collector.demo.rows import App, Json, Message, epoch
from collector.demo.workspace import ROUTES as WORKSPACE_ROUTES
from collector.demo.world import World

PING_SECONDS = 10.0
_TALKING = ("chat", "agent-chat", "advanced-chat")

Pace = Callable[[float], Awaitable[object]]


class Playing(msgspec.Struct):
    """A request under way."""

    plan: Plan
    user: str
    is_stopped: bool = False


class Service:
    """Requests to apps, from their arrival to their end."""

    def __init__(self, world: World, drawing: Drawing, pace: Pace, *, is_compact: bool) -> None:
        self._world = world
        self._drawing = drawing
        self._pace = pace
        self._is_compact = is_compact
        self._playing: dict[str, Playing] = {}

    def accept(self, ask: Ask, *modes: str, refusal: str) -> Plan:
        """The plan of a request. Raises Refusal for what Dify refuses before anything happens."""
        app, body = ask.app, ask.body
        if app.mode not in modes:
            raise Refusal(400, refusal, "Please check if your app mode matches the right API route.")
        user = body.get("user")
        if not user:
            raise Refusal(400, "invalid_param", "Arg user must be provided.")
        if app.mode == "agent-chat" and body.get("response_mode") != "streaming":
            raise Refusal(400, "invalid_param", "Agent Chat App does not support blocking mode")
        inputs = body.get("inputs")
        given: Json = dict(inputs) if isinstance(inputs, dict) else {}
        for name in app.inputs:
            if not given.get(name):
                raise Refusal(400, "invalid_param", f"{name} is required in input form")
        self._check_room(app)
        return self._drawing.draw(self._asked(ask, app, str(user), given))

    def stop(self, ask: Ask) -> object:
        """POST …/{task_id}/stop: heard by the stream at its next beat."""
        playing = self._playing.get(ask.path_values["task_id"])
        if playing and playing.user == ask.body.get("user"):
            playing.is_stopped = True
        return {"result": "success"}

    async def stream(self, plan: Plan, user: str) -> AsyncIterator[bytes]:
        """The events of a request as they come; a caller who goes away leaves Dify to finish without him."""
        playing = self._playing[plan.task_id] = Playing(plan, user)
        left = deque(streams.beats(self._world, plan))
        elapsed, said, first = 0.0, "", None
        try:
            while left:
                beat = left[0]
                while (next_ping := (elapsed // PING_SECONDS + 1) * PING_SECONDS) < beat.seconds:
                    await self._pace(next_ping - elapsed)
                    elapsed = next_ping
                    yield b"event: ping\n\n"
                if beat.seconds > elapsed:
                    await self._pace(beat.seconds - elapsed)
                    elapsed = beat.seconds
                if playing.is_stopped:
                    left.clear()
                    self._world.stop(plan, said, elapsed)
                    yield self._wire(streams.stopped_events(plan, elapsed, first))
                    return
                if beat.piece:
                    said, first = said + beat.piece, elapsed if first is None else first
                left.popleft()
                if beat.happen:
                    beat.happen()
                for event in beat.events:
                    yield self._wire([event])
        finally:
            self._playing.pop(plan.task_id, None)
            _finish_alone(plan, left)

    async def answer(self, plan: Plan, user: str) -> Json:
        """The whole answer at once. Raises Refusal 400 where a stream would end with an error."""
        async for _ in self.stream(plan, user):
            pass
        if plan.message_end and plan.message_end.error:
            code = "invalid_param" if plan.run else "completion_request_error"
            raise Refusal(400, code, plan.message_end.error)
        return streams.blocking_json(plan)

    def _wire(self, events: list[Json]) -> bytes:
        return b"".join(streams.encoded(event, is_compact=self._is_compact) for event in events)

    def _check_room(self, app: App) -> None:
        most = app.max_active_requests
        if most and sum(playing.plan.app is app for playing in self._playing.values()) >= most:
            said = "Too many requests. Please try again later. The current maximum concurrent requests allowed for"
            raise Refusal(400, "invalid_param", f"{said} {app.id} is {most}.")

    def _asked(self, ask: Ask, app: App, user: str, inputs: Json) -> Asked:
        conversation = None
        if conversation_id := ask.body.get("conversation_id"):
            conversation = self._world.conversations.get(str(conversation_id))
            if conversation is None or conversation.app_id != app.id or conversation.is_deleted:
                raise Refusal(404, "not_found", "Conversation Not Exists.")
        query = ask.body.get("query") or next(iter(inputs.values()), "")
        return Asked(
            app=app,
            user=self._world.end_user(app, "service-api", user),
            at=ask.now,
            query=str(query),
            inputs=inputs,
            conversation=conversation,
            turn=len(self._world.messages_in[conversation.id]) if conversation else 0,
        )


def _finish_alone(plan: Plan, left: Iterable[streams.Beat]) -> None:
    """What Dify still does for a caller who went away: the run ends, the message stays empty."""
    for beat in left:
        if beat.happen:
            plan.fate = "disconnected"
            beat.happen()


def rate(ask: Ask) -> object:
    """POST /messages/{id}/feedbacks: like, dislike, or null to withdraw."""
    user, message = ask.user(str(ask.body.get("user"))), _message_of(ask)
    if user is None:
        raise Refusal(404, "not_found", "Message Not Exists.")
    rating, content = ask.body.get("rating"), ask.body.get("content")
    ask.world.rate(message, user, str(rating) if rating else None, ask.now, str(content) if content else None)
    return {"result": "success"}


def app_feedbacks(ask: Ask) -> object:
    """GET /app/feedbacks: all ratings of the app, newest first."""
    page = ask.whole("page", query="FeedbackListQuery", default=1, most=99999)
    limit = ask.whole("limit", query="FeedbackListQuery", default=20, most=101)
    rows = sorted(ask.world.feedback_of[ask.app.id].values(), key=lambda row: (row.created_at, row.id), reverse=True)
    return {"data": [shapes.feedback_row(row) for row in rows[(page - 1) * limit : page * limit]]}


def workflow_logs(ask: Ask) -> object:
    """GET /workflows/logs: empty for apps of another mode."""
    return logs_page(ask, ask.app)


def workflow_run(ask: Ask) -> object:
    """GET /workflows/run/{id}: inputs and outputs are text here; an unknown run is 200 and nulls."""
    names = ("id", "workflow_id", "status", "inputs", "outputs", "error", "total_steps", "total_tokens")
    times = ("created_at", "finished_at", "elapsed_time")
    run = ask.world.runs.get(ask.path_values["run_id"])
    if run is None or run.app_id != ask.app.id:
        return dict.fromkeys(names + times)
    return {
        "id": run.id,
        "workflow_id": run.workflow_id,
        "status": run.status,
        "inputs": json.dumps(run_inputs(run)),
        "outputs": None if run.status == "failed" else json.dumps(run.outputs),
        "error": run.error,
        "total_steps": run.total_steps,
        "total_tokens": run.total_tokens,
        "created_at": epoch(run.created_at),
        "finished_at": epoch(run.finished_at),
        "elapsed_time": run.elapsed_time,
    }


def messages(ask: Ask) -> object:
    """GET /messages: of one conversation of one user."""
    user, conversation = ask.user(ask.query.get("user")), ask.query.get("conversation_id", "")
    found = ask.world.conversations.get(conversation)
    if user is None or found is None or found.end_user != user:
        raise ask.gone("Conversation Not Exists.")
    limit = ask.whole("limit", query="MessageListQuery", default=20, most=100)
    shown, has_more = older_messages(ask, ask.world.messages_in[found.id], limit)
    return {"limit": limit, "has_more": has_more, "data": [_message_json(ask, message) for message in shown]}


def conversations(ask: Ask) -> object:
    """GET /conversations: of one user."""
    user = ask.user(ask.query.get("user"))
    limit = ask.whole("limit", query="ConversationListQuery", default=20, most=100)
    rows = [row for row in reversed(ask.world.touched_of[ask.app.id].values()) if user and row.end_user == user]
    return {
        "limit": limit,
        "has_more": len(rows) > limit,
        "data": [
            {
                "id": row.id,
                "name": row.name,
                "inputs": row.inputs,
                "status": "normal",
                "introduction": "",
                "created_at": epoch(row.created_at),
                "updated_at": epoch(row.updated_at),
            }
            for row in rows[:limit]
            if not row.is_deleted
        ],
    }


def suggested(ask: Ask) -> object:
    """GET /messages/{id}/suggested: switched off."""
    raise Refusal(400, "bad_request", "Suggested Questions Is Disabled.")


def info(ask: Ask) -> object:
    """GET /info."""
    app = ask.app
    return {"name": app.name, "description": "", "tags": list(app.tags), "mode": app.mode, "author_name": "owner"}


def parameters(ask: Ask) -> object:
    """GET /parameters."""
    sizes = {"image_file_size_limit": 10, "video_file_size_limit": 100, "audio_file_size_limit": 50}
    limits = {**sizes, "file_size_limit": 15, "workflow_file_upload_limit": 10}
    return {**app_shapes.parameters_json(ask.app), "system_parameters": limits}


def meta(_: Ask) -> object:
    """GET /meta."""
    return {"tool_icons": {}}


def site(ask: Ask) -> object:
    """GET /site: the part of an app's site that is for everybody."""
    found = app_shapes.app_detail(ask.app, ask.address)["site"]
    return {name: found[name] for name in _SITE} if isinstance(found, dict) else {}


_SITE = (
    "title",
    "chat_color_theme",
    "chat_color_theme_inverted",
    "icon_type",
    "icon",
    "icon_background",
    "icon_url",
    "description",
    "copyright",
    "privacy_policy",
    "custom_disclaimer",
    "default_language",
    "show_workflow_steps",
    "use_icon_as_answer_icon",
)

ROUTES: tuple[tuple[str, str, Endpoint], ...] = (
    ("POST", "/messages/{message_id:uuid}/feedbacks", rate),
    ("GET", "/messages/{message_id:uuid}/suggested", suggested),
    ("GET", "/messages", messages),
    ("GET", "/conversations", conversations),
    ("GET", "/app/feedbacks", app_feedbacks),
    ("GET", "/workflows/logs", workflow_logs),
    ("GET", "/workflows/run/{run_id:uuid}", workflow_run),
    ("GET", "/info", info),
    ("GET", "/parameters", parameters),
    ("GET", "/meta", meta),
    ("GET", "/site", site),
)

_KNOWLEDGE = ("/datasets", "/datasets/{dataset_id:uuid}/documents", "/workspaces/current/models/model-types/{kind}")

DATASET_ROUTES: tuple[tuple[str, str, Endpoint], ...] = tuple(
    route for route in WORKSPACE_ROUTES if route[1] in _KNOWLEDGE
)
"""What a dataset key opens."""

RUN_PATHS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("/chat-messages", _TALKING, "not_chat_app"),
    ("/completion-messages", ("completion",), "app_unavailable"),
    ("/workflows/run", ("workflow",), "not_workflow_app"),
)
"""The paths an app is asked at: for which modes, and how others are refused."""

STOP_PATHS = (
    "/chat-messages/{task_id}/stop",
    "/completion-messages/{task_id}/stop",
    "/workflows/tasks/{task_id}/stop",
)


def _message_of(ask: Ask) -> Message:
    found = ask.world.messages.get(ask.path_values["message_id"])
    if found is None or found.app_id != ask.app.id:
        raise Refusal(404, "not_found", "Message Not Exists.")
    return found


def _message_json(ask: Ask, message: Message) -> Json:
    rating = next((row.rating for row in ask.world.feedback_on(message.id) if row.from_source == "user"), None)
    return {
        "id": message.id,
        "conversation_id": message.conversation_id,
        "parent_message_id": message.parent_message_id,
        "inputs": message.inputs,
        "query": message.query,
        "answer": message.answer,
        "message_files": [],
        "feedback": {"rating": rating} if rating else None,
        "retriever_resources": [],
        "created_at": epoch(message.created_at),
        "agent_thoughts": [shapes.thought_json(message, thought) for thought in message.thoughts],
        "status": message.status,
        "error": message.error,
    }
