"""Values of Dify's columns -> values of ours. What comes in and goes out is one value; nothing here knows a table."""

from __future__ import annotations

from typing import Any

import msgspec

from collector.errors import ShapeError
from collector.fields import NOTHING, Json, decode


def loose_json(written: str | bytes | None) -> Json:
    """A column of JSON text. What is cut short, broken or no object says nothing: the rest of its row still counts."""
    if not written or written in ("{}", b"{}"):
        return NOTHING
    try:
        value = decode(written)
    except ShapeError:
        return NOTHING
    return value if isinstance(value, dict) else NOTHING


def in_workspace(column: str) -> str:
    """SQL that holds for rows of the workspace asked for; of all, where `workspace` is NULL."""
    return f"(%(workspace)s::uuid IS NULL OR {column} = %(workspace)s::uuid)"


CUT = b"\x01"
"""What the server puts before and between the two ends of a text it cut: JSON never holds it."""

CUT_SQL = r"'\x01'::bytea"


def cut_sql(column: str, *, whole: int, head: str, tail: str) -> str:
    """SQL for the bytes of a text: of at most `whole` bytes as it is, of a longer one only `head` and `tail` (SQL)."""
    cut = f"{CUT_SQL} || {head} || {CUT_SQL} || {tail}"
    return f"CASE WHEN octet_length({column}) <= {whole} THEN convert_to({column}, 'UTF8') ELSE {cut} END"


def ends(written: bytes) -> tuple[bytes, bytes]:
    """The two ends of a text that was cut."""
    _, head, tail = written.split(CUT, 2)
    return head, tail


def is_cut(written: bytes | None) -> bool:
    """Whether that is not all of it."""
    return written is not None and written.startswith(CUT)


def last_members(tail: bytes, field: str, decoder: msgspec.json.Decoder[Any]) -> Any:
    """What stands at the end of a long JSON object, from the field on; None when that is not among it.

    An end of the text that reads as JSON once an opening brace is put before it holds whole members of the outermost
    object: had it begun deeper, its braces would not match; and inside a text, quotes are escaped.
    """
    key = b'"%s"' % field.encode()
    at = tail.find(key)
    while at >= 0:
        found = strict_json(decoder, b"{" + tail[at:])
        if found is not None:
            return found
        at = tail.find(key, at + 1)
    return None


def strict_json(decoder: msgspec.json.Decoder[Any], written: str | bytes | None) -> Any:
    """JSON of just the shape the decoder knows; None for every other, which the ledger then reads its own way."""
    if not written:
        return None
    try:
        return decoder.decode(written)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
