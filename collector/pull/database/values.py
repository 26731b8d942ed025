"""Values of Dify's columns -> values of ours. What comes in and goes out is one value; nothing here knows a table."""

from __future__ import annotations

from typing import Any

import msgspec

from collector.errors import ShapeError
from collector.fields import NOTHING, Json, decode


def loose_json(written: str | None) -> Json:
    """A column of JSON text. What is cut short, broken or no object says nothing: the rest of its row still counts."""
    if not written or written == "{}":
        return NOTHING
    try:
        value = decode(written)
    except ShapeError:
        return NOTHING
    return value if isinstance(value, dict) else NOTHING


CUT = "\x01"
"""What the server puts before and between the two ends of a text it cut: JSON text never holds it."""


def cut_sql(column: str, *, whole: int, head: str, tail: int) -> str:
    """SQL for a text of at most `whole` bytes as it is, of a longer one only `head` (SQL) and its last characters."""
    ends = f"chr(1) || {head} || chr(1) || right({column}, {tail})"
    return f"CASE WHEN octet_length({column}) <= {whole} THEN {column} ELSE {ends} END"


def last_members(tail: str, field: str, decoder: msgspec.json.Decoder[Any]) -> Any:
    """What stands at the end of a long JSON object, from the field on; None when that is not among it.

    An end of the text that reads as JSON once an opening brace is put before it holds whole members of the outermost
    object: had it begun deeper, its braces would not match; and inside a text, quotes are escaped.
    """
    at = tail.find(f'"{field}"')
    while at >= 0:
        found = strict_json(decoder, "{" + tail[at:])
        if found is not None:
            return found
        at = tail.find(f'"{field}"', at + 1)
    return None


def strict_json(decoder: msgspec.json.Decoder[Any], written: str | None) -> Any:
    """JSON of just the shape the decoder knows; None for every other, which the ledger then reads its own way."""
    if not written:
        return None
    try:
        return decoder.decode(written)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
