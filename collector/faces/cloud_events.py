"""CloudEvents 1.0 -> facts: an HTTP message comes in, portal events and what could not be taken of it go out.

Structured, batched and binary mode, told apart as the standard says. Of an event's data only numbers are kept, and the
ids that say whose it is; texts are dropped here, so no prompt and no answer gets any further. A bad event costs itself
alone, and says which field is wrong and what was expected. Nothing here stores or answers.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote

import msgspec

from collector.errors import ShapeError
from collector.records import PORTAL, PortalEvent, PortalValue, Record

SINGLE, BATCH, JSON = "application/cloudevents+json", "application/cloudevents-batch+json", "application/json"

MOST_EVENTS = 10_000
MOST_EVENT_BYTES = 64 * 1024
"""Of one event as JSON: what every CloudEvents program must be able to pass on."""

MOST_VALUES = 50
MOST_CHARACTERS = 256
"""Of an id, a type or a name."""

LARGEST = 1e18
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
AHEAD = timedelta(days=1)

FIELDS = ("body", "id", "source", "type", "specversion", "time", "app", "workspace", "user", "session", "data")
"""What can be wrong with an event."""

_VALUE_NAME = re.compile(r"[^\W\d][\w.-]{0,63}")
_IDS = {
    "app": ("app_id", "appid"),
    "workspace": ("workspace_id", "workspaceid"),
    "user": ("user_id", "userid"),
    "session": ("user", "session_id", "sessionid"),
}
"""Whose an event is: the names it may have in the data, and as an attribute of the event."""

_OF_WHOM = frozenset(name for names in _IDS.values() for name in names)
_raw_list = msgspec.json.Decoder(list[msgspec.Raw])


class Misfit(msgspec.Struct, frozen=True):
    """An event that was set aside."""

    place: int  # in its batch, from 0
    field: str  # one of FIELDS
    detail: str


class Heard(msgspec.Struct, frozen=True):
    """What a message brought."""

    events: int
    facts: list[Record]
    misfits: list[Misfit]


class NoCloudEvent(Exception):
    """A message that is none, or holds too many. `status` is what HTTP calls it."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


def read(headers: Mapping[str, str], body: bytes, now: datetime) -> Heard:
    """An HTTP message -> what it brought. Raises NoCloudEvent; what is wrong with one event is told with the rest."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == BATCH:
        return _heard(_each(body), now)
    if kind == SINGLE:
        return _heard(iter([body]), now)
    if "ce-specversion" in headers or "ce-id" in headers:
        return _heard(iter([_binary(headers, kind, body)]), now)
    if kind == JSON or not kind:
        return _heard(_each(body) if body.lstrip()[:1] == b"[" else iter([body]), now)
    raise NoCloudEvent(415, f"Content-Type: wanted {SINGLE}, {BATCH}, or headers ce-id, ce-source, … with any type")


def key_of(source: str, event_id: str) -> str:
    """The key of an event: the same whenever it is told, and no other event's."""
    return hashlib.sha256(f"{len(source)} {source} {event_id}".encode()).hexdigest()[:32]


def _each(body: bytes) -> Iterator[bytes]:
    try:
        found = _raw_list.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NoCloudEvent(400, f"body: wanted a JSON list of events ({error})") from None
    if len(found) > MOST_EVENTS:
        raise NoCloudEvent(413, f"a batch may have {MOST_EVENTS:,} events, this has {len(found):,}; send it in parts")
    return (bytes(raw) for raw in found)


def _binary(headers: Mapping[str, str], kind: str, body: bytes) -> dict[str, object]:
    """An event whose attributes are headers."""
    told: dict[str, object] = {
        name.removeprefix("ce-"): unquote(value) for name, value in headers.items() if name.startswith("ce-")
    }
    told["data"] = body if body.strip() and (kind in ("", JSON) or kind.endswith("+json")) else None
    return told


def _heard(events: Iterable[bytes | dict[str, object]], now: datetime) -> Heard:
    facts: list[Record] = []
    misfits: list[Misfit] = []
    number = 0
    for place, told in enumerate(events):
        number += 1
        try:
            facts += list(_facts(told if isinstance(told, dict) else _event(told), now))  # all of it, or nothing
        except ShapeError as error:
            field, _, _ = error.field.partition(".")
            misfits.append(Misfit(place, field, str(error)))
    return Heard(number - len(misfits), facts, misfits)


def _event(raw: bytes) -> dict[str, object]:
    found = _decoded(_sized(raw), "body")
    if not isinstance(found, dict):
        raise ShapeError("body", "a JSON object with id, source, type and specversion", found)
    return found


def _sized(raw: bytes) -> bytes:
    if len(raw) > MOST_EVENT_BYTES:
        raise ShapeError("body", f"an event of at most {MOST_EVENT_BYTES} bytes", len(raw))
    return raw


def _decoded(raw: bytes, field: str) -> object:
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ShapeError(field, "JSON", f"text of {len(raw)} characters") from None


def _facts(told: Mapping[str, object], now: datetime) -> Iterator[Record]:
    """An event and its numbers."""
    if told.get("specversion") != "1.0":
        raise ShapeError("specversion", "1.0", told.get("specversion"))
    event_id, source, kind = (_text(told, name, told.get(name)) for name in ("id", "source", "type"))
    if event_id is None or source is None or kind is None:
        missing = next(name for name in ("id", "source", "type") if told.get(name) is None)
        raise ShapeError(missing, "a text, as every CloudEvent has", None)
    data = told.get("data")
    if isinstance(data, bytes):  # in binary mode the body is the data, and nothing else
        data = _decoded(_sized(data), "data")
    fields: Mapping[str, object] = data if isinstance(data, dict) else {}
    shared = {
        "source": PORTAL,
        "seen_at": now,
        "event_source": source,
        "event_type": kind,
        "created_at": _time(told.get("time"), now),
        **{f"{whose}_id": _whose(whose, names, fields, told) for whose, names in _IDS.items()},
    }
    key = key_of(source, event_id)
    yield PortalEvent(id=key, event_id=event_id, **shared)  # type: ignore[arg-type]
    for name, number in _numbers(fields):
        yield PortalValue(id=f"{key}/{name}", name=name, number=number, **shared)  # type: ignore[arg-type]


def _whose(whose: str, names: Iterable[str], data: Mapping[str, object], told: Mapping[str, object]) -> str | None:
    """An id from the data, or else from the event's attributes."""
    for value in (place[name] for place in (data, told) for name in names if place.get(name) not in (None, "")):
        return _text(told, whose, str(value) if isinstance(value, int) and not isinstance(value, bool) else value)
    return None


def _text(told: Mapping[str, object], field: str, value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip():
        raise ShapeError(field, "a text that is not empty", value)
    if len(value) > MOST_CHARACTERS or not value.isprintable():
        raise ShapeError(field, f"at most {MOST_CHARACTERS} printable characters: an id, not a text", value)
    return value


def _time(value: object, now: datetime) -> datetime:
    """When it happened; now where it does not say."""
    if value is None:
        return now
    wanted = "an instant with its time zone, such as 2026-11-20T12:00:00Z"
    try:
        found = msgspec.convert(value, datetime) if isinstance(value, str) else None
    except msgspec.ValidationError:
        found = None
    if found is None or found.tzinfo is None:
        raise ShapeError("time", wanted, value)
    if not EARLIEST <= found <= now + AHEAD:
        raise ShapeError("time", f"{wanted}, from 2000 on and not to come", value)
    return found.astimezone(UTC)


def _numbers(data: Mapping[str, object]) -> Iterator[tuple[str, float]]:
    """The numbers at the top level; true and false are none."""
    found = [
        (name, value)
        for name, value in data.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and name not in _OF_WHOM
    ]
    if len(found) > MOST_VALUES:
        raise ShapeError("data", f"at most {MOST_VALUES} numbers", len(found))
    for name, value in found:
        if not _VALUE_NAME.fullmatch(name):
            raise ShapeError("data", "names of numbers like lines or files_exported, of at most 64 characters", name)
        if not abs(value) <= LARGEST:
            raise ShapeError(f"data.{name}", "a number of at most 10^18", value)
        yield name, float(value)
