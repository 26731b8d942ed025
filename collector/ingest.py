"""Files -> records: captured streams, answers of blocking mode, and lists saved from Dify's console or service API.

What comes in is a path or the bytes themselves, and what the caller knows that the file does not say; what goes out
are records and, by field, how many of its parts could not be read. The kind of file is seen from its content. Nothing
here stores anything or asks Dify.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO, TypeAlias

from msgspec.structs import replace

from collector.errors import SettingsError, ShapeError
from collector.failures import error_class
from collector.fields import Json, decode, instant, integer, items, maybe_mapping, required_text, seconds, text
from collector.ledger import Telling, Usage, message_call, node_facts, run_fact
from collector.records import FILE, Message, Record, User
from collector.tap.usage import Stream, blocking, is_error

Reading: TypeAlias = tuple[list[Record], Counter[str]]
"""The records of a file, and how many parts of it could not be read, by field."""

CHUNK_BYTES = 64 * 1024
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_STREAM_STARTS = (b"data:", b"event:", b"id:", b"retry:", b":")


def read_file(
    source: Path | str | bytes,
    *,
    now: datetime,
    app_id: str | None = None,
    run_id: str | None = None,
    workspace_id: str | None = None,
    is_debug: bool | None = None,
    mode: str | None = None,
    chunk_bytes: int = CHUNK_BYTES,
) -> Reading:
    """Read one file. `mode` is the app's, for answers that do not say it.

    Raises SettingsError for a file of no known kind, or when a list needs an option that was not given; ShapeError
    when the file as a whole cannot be read.
    """
    telling = Telling(
        source=FILE, seen_at=now, workspace_id=workspace_id, app_id=app_id, run_id=run_id, is_debug=is_debug
    )
    with _opened(source) as file:
        if _is_stream(file):
            return _read_stream(file, replace(telling, run_id=None), mode, chunk_bytes)
        body = _unwrapped(decode(file.read()))
    kind = next((kind for kind in KINDS if kind.matches(body)), None)
    if kind is None:
        known = ", ".join(["a captured stream", *(kind.title for kind in KINDS)])
        raise SettingsError(f"this file is of no known kind; those known are: {known}")
    for option in kind.needs:
        if getattr(telling, option) is None:
            raise SettingsError(f"{kind.title} does not say its {option}: give --{option.replace('_', '-')}")
    return kind.read(body, telling, mode)


def _opened(source: Path | str | bytes) -> AbstractContextManager[BinaryIO]:
    if isinstance(source, bytes):
        return nullcontext(io.BytesIO(source))
    try:
        return Path(source).open("rb")
    except OSError as error:
        raise SettingsError(f"cannot be read: {error.strerror}") from None


def _is_stream(file: BinaryIO) -> bool:
    start = file.read(4096).removeprefix(_BYTE_ORDER_MARK).lstrip()
    file.seek(0)
    return start.startswith(_STREAM_STARTS)


def _read_stream(file: BinaryIO, telling: Telling, mode: str | None, chunk_bytes: int) -> Reading:
    stream = Stream(telling, mode=mode)
    while chunk := file.read(chunk_bytes):
        stream.feed(chunk)
    return stream.close(), stream.failures


def _unwrapped(body: object) -> Json:
    """The body itself; a recording keeps it beside `status` and `headers`, and a bare list counts as its `data`."""
    if isinstance(body, dict) and {"status", "headers", "body"} <= body.keys():
        body = body["body"]
    if isinstance(body, list):
        body = {"data": body}
    if not isinstance(body, Mapping):
        raise ShapeError("body", "an object or a list", body)
    return body


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of JSON file: how it is known, which options it needs, how it is read."""

    title: str
    matches: Callable[[Json], bool]
    read: Callable[[Json, Telling, str | None], Reading]
    needs: tuple[str, ...] = ()


def _first(body: Json) -> Json:
    """The first of a list's parts: it tells what the list is made of."""
    found = body.get("data")
    return found[0] if isinstance(found, list) and found and isinstance(found[0], Mapping) else {}


def _each(body: Json, read: Callable[[Json], Iterable[Record]]) -> Reading:
    """Every part of a list, those that cannot be read set aside; a body without list is its only part."""
    records: list[Record] = []
    failures: Counter[str] = Counter()
    for part in items(body, "data") if isinstance(body.get("data"), list) else [body]:
        try:
            records.extend(read(part))
        except ShapeError as error:
            failures[error.field] += 1
    return records, failures


def _read_answer(body: Json, telling: Telling, mode: str | None) -> Reading:
    return blocking(body, telling, mode=mode), Counter()


def _read_nodes(body: Json, telling: Telling, _: str | None) -> Reading:
    return _each(body, lambda raw: (fact for fact in node_facts(raw, telling) if fact is not None))


def _read_runs(body: Json, telling: Telling, _: str | None) -> Reading:
    return _each(body, lambda raw: _run(raw, raw, telling))


def _read_app_logs(body: Json, telling: Telling, _: str | None) -> Reading:
    return _each(body, lambda raw: _run(maybe_mapping(raw, "workflow_run"), raw, telling))


def _read_messages(body: Json, telling: Telling, _: str | None) -> Reading:
    return _each(body, lambda raw: _message(raw, telling))


def _run(raw: Json, beside: Json, telling: Telling) -> Iterator[Record]:
    """One run; who asked for it may stand `beside` it."""
    if raw is not beside and not raw:
        return  # an app log whose run was cleaned away
    user = _user(beside, telling) or _user(raw, telling)
    yield run_fact(
        raw,
        telling,
        user_id=user.id if user else None,
        user_kind=user.kind if user else None,
        session_id=user.session_id if user else None,
    )
    if user:
        yield user


def _user(raw: Json, telling: Telling) -> User | None:
    for kind in ("end_user", "account"):
        person = maybe_mapping(raw, f"created_by_{kind}")
        if person:
            return User(
                source=telling.source,
                seen_at=telling.seen_at,
                id=required_text(person, "id"),
                kind=kind,
                workspace_id=telling.workspace_id,
                session_id=text(person, "session_id"),
                name=text(person, "name") if kind == "account" else None,
            )
    return None


def _message(raw: Json, telling: Telling) -> Iterator[Record]:
    """One message of the console; of an app without nodes it is also the call."""
    run_id, created_at, failure = text(raw, "workflow_run_id"), instant(raw, "created_at"), text(raw, "error")
    took, usage = seconds(raw, "provider_response_latency"), _message_usage(raw)
    has_failed = raw.get("status") == "error"
    is_open = not (has_failed or took or usage.tokens or raw.get("answer"))
    end_user, account = text(raw, "from_end_user_id"), text(raw, "from_account_id")
    message = Message(
        source=telling.source,
        seen_at=telling.seen_at,
        id=required_text(raw, "id"),
        app_id=telling.app_id,
        workspace_id=telling.workspace_id,
        conversation_id=text(raw, "conversation_id"),
        run_id=run_id,
        status="failed" if has_failed else "open" if is_open else "succeeded",
        is_final=not is_open,
        is_debug=telling.is_debug,
        user_id=end_user or account,
        user_kind="end_user" if end_user else "account" if account else None,
        created_at=created_at,
        finished_at=created_at + timedelta(seconds=took) if created_at and took else None,
        latency_seconds=took or None,
        reported_input_tokens=None if is_open else usage.input_tokens,
        reported_output_tokens=None if is_open else usage.output_tokens,
        error_class=error_class(failure),
    )
    yield message
    if run_id is None and not is_open and not raw.get("annotation_hit_history"):
        yield message_call(
            replace(usage, latency_seconds=message.latency_seconds),
            replace(telling, conversation_id=message.conversation_id),
            message_id=message.id,
            status=message.status,
            created_at=created_at,
            error=failure,
        )


def _message_usage(raw: Json) -> Usage:
    asked, answered = integer(raw, "message_tokens"), integer(raw, "answer_tokens")
    both = None if asked is None or answered is None else asked + answered
    return Usage(input_tokens=asked, output_tokens=answered, tokens=both)


def _is_run(raw: Json) -> bool:
    return "elapsed_time" in raw and "total_tokens" in raw and "status" in raw


def _is_message(raw: Json) -> bool:
    return "provider_response_latency" in raw and "message_tokens" in raw


KINDS = (
    Kind(
        title="a list of node executions",
        matches=lambda body: "node_type" in _first(body),
        read=_read_nodes,
        needs=("run_id", "app_id"),
    ),
    Kind(title="a list of app logs", matches=lambda body: "workflow_run" in _first(body), read=_read_app_logs),
    Kind(title="a list of runs", matches=lambda body: _is_run(_first(body)), read=_read_runs),
    Kind(title="a list of messages", matches=lambda body: _is_message(_first(body)), read=_read_messages),
    Kind(title="an empty list", matches=lambda body: body.get("data") == [], read=lambda *_: ([], Counter())),
    Kind(title="the detail of a run", matches=_is_run, read=_read_runs),
    Kind(title="a message", matches=_is_message, read=_read_messages),
    Kind(
        title="an answer of blocking mode",
        matches=lambda body: (
            is_error(body)
            or ("workflow_run_id" in body and isinstance(body.get("data"), Mapping))
            or ("message_id" in body and "metadata" in body)
        ),
        read=_read_answer,
    ),
)
