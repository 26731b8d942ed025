"""Dify's JSON -> Python values: what comes in is `object`, what goes out is typed, what does not fit is named.

Every reader takes the mapping and the field's name, answers None when the field is absent, null or not a number at
all (`NaN`), and raises ShapeError when something else stands there. Dify is read liberally: numbers may be strings,
instants may be epoch seconds, ISO 8601 or RFC 2822. Nothing here knows what the fields mean.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from email.utils import parsedate_to_datetime
from typing import TypeAlias

import msgspec

from collector.errors import ShapeError

Json: TypeAlias = Mapping[str, object]

NOTHING: Json = {}
MONEY_STEP = Decimal("0.000000001")
MOST_MONEY = Decimal(10) ** 9 - 1
"""The store keeps money in DECIMAL(18,9)."""

LARGEST_INTEGER = 2**63 - 1
LONGEST_SECONDS = 10**10
"""What is larger is no count and no duration, and would spoil the batch it is stored with."""

_decoder = msgspec.json.Decoder()


def decode(text: bytes | str) -> object:
    """Decode JSON. Raises ShapeError when it is none. Takes the bare NaN and Infinity that old Dify versions write."""
    try:
        return _decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            raise ShapeError("body", "JSON", f"text of {len(text)} characters") from None
    except RecursionError:
        raise ShapeError("body", "JSON nested less deeply", "…") from None


def mapping(raw: Json, field: str) -> Json:
    """A JSON object; an absent one, null and the `[]` that PHP-minded code writes for "empty" are the empty mapping."""
    value = raw.get(field)
    if isinstance(value, Mapping):
        return value
    if value is None or value == [] or value == "":
        return NOTHING
    raise ShapeError(field, "an object", value)


def maybe_mapping(raw: Json, field: str) -> Json:
    """Like `mapping`, but what is no object is the empty mapping: for fields whose shape differs by version."""
    value = raw.get(field)
    return value if isinstance(value, Mapping) else NOTHING


def sequence(raw: Json, field: str) -> Sequence[object]:
    """A JSON list; absent and null are the empty one."""
    value = raw.get(field)
    if value is None:
        return ()
    if isinstance(value, list):
        return value
    raise ShapeError(field, "a list", value)


def items(raw: Json, field: str) -> list[Json]:
    """A JSON list of objects."""
    found = []
    for place, item in enumerate(sequence(raw, field)):
        if not isinstance(item, Mapping):
            raise ShapeError(f"{field}[{place}]", "an object", item)
        found.append(item)
    return found


def text(raw: Json, field: str) -> str | None:
    """A string; the empty one is not known. A number is taken by its digits."""
    value = raw.get(field)
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode()  # half an emoji is no text
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise ShapeError(field, "text", value)


def required_text(raw: Json, field: str) -> str:
    """A string that must be there: ids and statuses."""
    value = text(raw, field)
    if value is None:
        raise ShapeError(field, "text", raw.get(field, "nothing"))
    return value


def boolean(raw: Json, field: str) -> bool | None:
    """True, false or not known."""
    value = raw.get(field)
    if value is None or isinstance(value, bool):
        return value
    raise ShapeError(field, "true or false", value)


def integer(raw: Json, field: str) -> int | None:
    """A count ≥ 0; digits in a string and whole floats are taken."""
    value = raw.get(field)
    if value is None or value == "":
        return None
    number = _number(field, value, "a whole number, 0 or more")
    if number is None:
        return None
    if not 0 <= number <= LARGEST_INTEGER or number != number.to_integral_value():
        raise ShapeError(field, "a whole number, 0 or more", value)
    return int(number)


def seconds(raw: Json, field: str) -> float | None:
    """A duration in seconds, 0 or more. Clocks that ran backwards give slightly negative ones: they are 0."""
    value = raw.get(field)
    if value is None or value == "":
        return None
    number = _number(field, value, "seconds")
    if number is None:
        return None
    if not -1 <= number <= LONGEST_SECONDS:
        raise ShapeError(field, "seconds, 0 or more", value)
    return max(float(number), 0.0)


def money(raw: Json, field: str) -> Decimal | None:
    """An amount, to nine decimals; strings, JSON numbers and e-notation are taken."""
    value = raw.get(field)
    if value is None or value == "":
        return None
    number = _number(field, value, "an amount")
    if number is None:
        return None
    if not -MOST_MONEY <= number <= MOST_MONEY:  # abs() would overflow on 10E999999
        raise ShapeError(field, "an amount below a billion", value)
    return number.quantize(MONEY_STEP)


def instant(raw: Json, field: str) -> datetime | None:
    """An instant in UTC from epoch seconds, ISO 8601 (without a zone: UTC) or RFC 2822."""
    value = raw.get(field)
    if value is None or value == "" or value == 0:
        return None
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
        if isinstance(value, str):
            if value.isdigit():
                return datetime.fromtimestamp(int(value), UTC)
            return _aware(_parse(value))
    except (ValueError, OverflowError, OSError, IndexError):
        pass
    raise ShapeError(field, "seconds since 1970 or an ISO 8601 time", value)


def _parse(value: str) -> datetime:
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        return parsedate_to_datetime(value)


def _aware(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _number(field: str, value: object, wanted: str) -> Decimal | None:
    if isinstance(value, str):
        value = value.strip()
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ShapeError(field, wanted, value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise ShapeError(field, wanted, value) from None
    return number if number.is_finite() else None
