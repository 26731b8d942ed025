"""Records on the wire: a batch of facts <-> one JSON document, for those who send facts to a running collector.

What comes in are records or bytes, what goes out the other. A batch is an object of tables, each a list of rows, so
that a reader of any age can see what it is sent; an unknown table or a malformed row is named, and nothing of the
batch is taken. Nothing here opens a connection.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import msgspec

from collector.errors import ShapeError
from collector.records import FACTS, Record

_BY_TABLE = {record.table: record for record in FACTS}
_raw = msgspec.json.Decoder(dict[str, list[msgspec.Raw]])
_rows = {table: msgspec.json.Decoder(record) for table, record in _BY_TABLE.items()}


Part: TypeAlias = tuple[str, msgspec.Raw]
"""A table and one of its rows, as bytes."""


def encode(records: Iterable[Record]) -> bytes:
    """Records of any kinds -> {"run": [{…}], "model_call": [{…}]}, UTF-8; money as text, instants as ISO 8601."""
    batch: dict[str, list[Record]] = {}
    for record in records:
        batch.setdefault(record.table, []).append(record)
    return msgspec.json.encode(batch)


def parts(body: bytes) -> list[Part]:
    """A batch -> its rows, each with its table, unread. Raises ShapeError."""
    return [(table, row) for table, rows in _tables(body).items() for row in rows]


def join(rows: Iterable[Part]) -> bytes:
    """The inverse: rows of any batches -> one batch."""
    batch: dict[str, list[msgspec.Raw]] = {}
    for table, row in rows:
        batch.setdefault(table, []).append(row)
    return msgspec.json.encode(batch)


def decode(body: bytes) -> list[Record]:
    """The inverse. Raises ShapeError naming the table, row and field."""
    records: list[Record] = []
    for table, rows in _tables(body).items():
        if table not in _rows:
            raise ShapeError(table, f"one of {', '.join(_BY_TABLE)}", table)
        for place, row in enumerate(rows):
            try:
                records.append(_rows[table].decode(row))
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise ShapeError(f"{table}[{place}]", str(error), "a row that does not fit") from None
    return records


def _tables(body: bytes) -> dict[str, list[msgspec.Raw]]:
    try:
        return _raw.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ShapeError("body", f"an object of tables, each a list of rows ({error})", "something else") from None
