"""One answer of Dify -> its facts: the events of a stream, or the JSON of blocking mode.

What comes in are bytes in any chunking, or one decoded JSON body; what goes out are records. A bad event costs its
own copy and is counted in `failures`; the rest of its stream still comes. Nothing here waits, reads a clock or keeps
a prompt or an answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from msgspec.structs import replace

from collector.errors import ShapeError
from collector.failures import ERROR_CLASSES, error_class
from collector.fields import Json, decode, instant, mapping, maybe_mapping, required_text, text
from collector.ledger import TOOL, Telling, Usage, node_facts, read_usage, run_fact
from collector.records import Record
from collector.tap.outcome import Outcome
from collector.tap.sse import MAX_EVENT_BYTES, PIECES, Events

DEBUGGING, APP_RUN = "debugging", "app-run"


class Stream:
    """Folds one stream into records.

    `telling` says who hears it and what is known of it beforehand; ids in the stream complete it. `mode` is the app's,
    `invoke_from` the way it was asked, where the caller knows them. `failures` counts, by event and field, what
    could not be read; `first_piece_seconds` is when the answer began.
    """

    __slots__ = ("_decoded", "_events", "_has_begun", "_told", "failures", "passes", "task_id")

    def __init__(
        self,
        telling: Telling,
        *,
        mode: str | None = None,
        invoke_from: str | None = None,
        max_event_bytes: int = MAX_EVENT_BYTES,
    ) -> None:
        self.failures: Counter[str] = Counter()
        self.task_id: str | None = None
        self._events = Events(max_event_bytes)
        self.passes = self._events.passes  # pieces of the answer behind the first one need not be fed
        self._told = Outcome(telling=telling, mode=mode, invoke_from=invoke_from, is_streamed=True)
        self._has_begun = False
        self._decoded = 0

    @property
    def events(self) -> int:
        """How many events went by that told something: pieces of the answer, and all that were decoded."""
        return self._events.pieces + self._decoded

    @property
    def first_piece_seconds(self) -> float | None:
        """When the first piece of the answer went by, on the clock `feed` was given; None before it."""
        return self._told.first_piece_seconds

    @property
    def error_class(self) -> str | None:
        """Why the request failed, where the stream said so."""
        return self._told.error_class

    def feed(self, chunk: bytes, at: float | None = None) -> None:
        """Take bytes as they came, `at` seconds after the request began (None: no clock, as in a file)."""
        pieces = self._events.pieces
        if found := self._events.feed(chunk):
            self._take(found)
        if self._told.first_piece_seconds is None and self._events.pieces != pieces:
            self._told.first_piece_seconds = at

    def close(self, *, is_stopped: bool = False) -> list[Record]:
        """The stream has ended, well or not: everything it told. `is_stopped`: the caller saw a stop request."""
        self._take(self._events.close())
        if self._events.oversized:
            self.failures["event.size"] = self._events.oversized
        self._told.is_stopped = is_stopped
        self._told.is_whole = self._told.is_from_start and not self.failures
        return self._told.records()

    def _take(self, found: list[bytes]) -> None:
        self._decoded += len(found)
        for body in found:
            name = "event"
            try:
                event = decode(body)
                if not isinstance(event, dict):
                    raise ShapeError("body", "an object", event)
                name = text(event, "event") or name
                if name in PIECES:
                    self._take_piece(name, event)
                elif name in _READERS:
                    self._take_fact(name, event)
            except ShapeError as error:
                self.failures[f"{name if name in _READERS else 'event'}.{error.field}"] += 1

    def _take_piece(self, name: str, event: Json) -> None:
        """A piece whose event name was not the first key."""
        place = maybe_mapping(event, "data") if name == "text_chunk" else event
        if place.get(PIECES[name].decode()):
            self._events.count_piece(name)

    def _take_fact(self, name: str, event: Json) -> None:
        self.task_id = text(event, "task_id") or self.task_id
        self._take_ids(name, event)
        if not self._has_begun:
            self._has_begun = True
            self._told.is_from_start = name == "workflow_started" and _is_first_start(event)
        _READERS[name](self._told, event, name)

    def _take_ids(self, name: str, event: Json) -> None:
        told = self._told
        # agents of 1.16 have no run, and write the message's id where a run's would stand
        run_id = None if name in ("message_end", "error") else text(event, "workflow_run_id")
        told.telling = replace(
            told.telling,
            run_id=run_id or told.telling.run_id,
            message_id=text(event, "message_id") or told.telling.message_id,
            conversation_id=text(event, "conversation_id") or told.telling.conversation_id,
        )
        if told.telling.message_id:
            told.message_at = told.message_at or instant(event, "created_at")


def blocking(body: Json, telling: Telling, *, mode: str | None = None, invoke_from: str | None = None) -> list[Record]:
    """The JSON answer of blocking mode -> its facts; none for an error that names neither run nor message.

    Raises ShapeError when it is no answer of an app.
    """
    told = Outcome(telling=telling, mode=text(body, "mode") or mode, invoke_from=invoke_from)
    if isinstance(body.get("data"), dict) and text(body, "workflow_run_id"):
        _read_run_answer(told, body)
    elif text(body, "message_id") and "metadata" in body:
        _read_message_answer(told, body)
    elif not is_error(body):
        raise ShapeError("body", "an answer of an app", dict(body))
    return told.records()


def is_error(body: Json) -> bool:
    """Whether a JSON body is Dify's way to say no: `{"code", "message", "status"}`."""
    return {"code", "message"} <= body.keys() and "data" not in body


def answer_error(body: Json) -> str | None:
    """Why a request failed: `code` and `message` of an error event or body -> error class."""
    said = error_class(text(body, "message"))
    return error_class(text(body, "code")) or said if said in (None, ERROR_CLASSES[-1]) else said


def _read_run_answer(told: Outcome, body: Json) -> None:
    run_id = required_text(body, "workflow_run_id")
    told.telling = replace(told.telling, run_id=run_id)
    run = run_fact({**mapping(body, "data"), "id": run_id}, told.telling)
    told.add_run(replace(run, triggered_from=_triggered_from(told.telling)))
    told.error_class = run.error_class


def _read_message_answer(told: Outcome, body: Json) -> None:
    told.telling = replace(
        told.telling,
        message_id=required_text(body, "message_id"),
        conversation_id=text(body, "conversation_id") or told.telling.conversation_id,
    )
    told.message_at = instant(body, "created_at")
    _read_message_end(told, body)


def _read_run(told: Outcome, event: Json, name: str) -> None:
    raw = mapping(event, "data")
    if name == "workflow_paused":
        raw = {**raw, "status": raw.get("status") or "paused"}
    run_id = told.telling.run_id or required_text(raw, "id")
    inputs, created_by = maybe_mapping(raw, "inputs"), maybe_mapping(raw, "created_by")
    told.telling = replace(told.telling, run_id=run_id, app_id=text(inputs, "sys.app_id") or told.telling.app_id)
    run = run_fact({**raw, "id": run_id}, told.telling)
    told.add_run(replace(run, triggered_from=_triggered_from(told.telling)))
    told.error_class = told.error_class or run.error_class
    _read_user(told, inputs, created_by)


def _read_user(told: Outcome, inputs: Json, created_by: Json) -> None:
    """`sys.user_id` is what an end user's caller sent as `user`; an account has its own id there."""
    if created_by.get("id"):
        told.user_id = text(created_by, "id")
        told.user_kind = "end_user" if "user" in created_by else "account"
        told.session_id = text(created_by, "user")
    elif told.user_id is None and told.telling.is_debug is not True:
        told.session_id = text(inputs, "sys.user_id") or told.session_id


def _read_node(told: Outcome, event: Json, name: str) -> None:
    raw = mapping(event, "data")
    if not name.startswith("node_"):
        raw = {**raw, "node_type": raw.get("node_type") or name.partition("_")[0]}
    node, call = node_facts(raw, told.telling)
    told.add_node(node, call)
    if node.node_type == TOOL and node.reported_tokens:
        told.told_by_tools[node.id] = node.reported_tokens


def _read_message_end(told: Outcome, event: Json, _: str = "") -> None:
    metadata = maybe_mapping(event, "metadata")
    told.message_usage = Usage()  # it has ended, even if what it spent cannot be read
    told.message_usage = read_usage(maybe_mapping(metadata, "usage"))
    told.is_annotation = bool(metadata.get("annotation_reply"))


def _read_error(told: Outcome, event: Json, _: str) -> None:
    told.has_failed = True
    told.error_class = told.error_class or answer_error(event)


def _is_first_start(event: Json) -> bool:
    """Newer versions start a resumed run again, and say why."""
    return text(maybe_mapping(event, "data"), "reason") in (None, "initial")


def _triggered_from(telling: Telling) -> str | None:
    """Runs that have a stream were asked for by a request; triggers run without one."""
    return {True: DEBUGGING, False: APP_RUN, None: None}[telling.is_debug]


_READERS: dict[str, Callable[[Outcome, Json, str], None]] = {
    "workflow_started": _read_run,
    "workflow_finished": _read_run,
    "workflow_paused": _read_run,
    "node_started": _read_node,
    "node_finished": _read_node,
    "node_retry": _read_node,
    "iteration_started": _read_node,
    "iteration_completed": _read_node,
    "loop_started": _read_node,
    "loop_completed": _read_node,
    "message_end": _read_message_end,
    "error": _read_error,
}
