"""An answer as JSON, CSV, Parquet or Arrow: the same rows, and the same words about them, whichever is asked for.

JSON says period, zone, watermark, flags and units beside the rows, Parquet and Arrow in their schema's metadata; of
CSV they stand in the HTTP headers, as for all (`collector.faces.answers`). Where an answer has the rest of a top or
totals, a first column `part` tells those rows (`other`, `total`) from the others (`row`).
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from collector.measures.answer import Answer, Row
from collector.measures.ask import BEFORE, CHANGE, TIME
from collector.measures.cells import cell

PART, ROW, OTHER, TOTAL = "part", "row", "other", "total"

_MONEY = pa.decimal128(38, 9)


class Format(StrEnum):
    """How an answer is written."""

    JSON = "json"
    CSV = "csv"
    PARQUET = "parquet"
    ARROW = "arrow"  # the stream form of Arrow IPC

    @property
    def media_type(self) -> str:
        """As Accept and Content-Type name it."""
        return MEDIA_TYPES[self]


MEDIA_TYPES = {
    Format.JSON: "application/json",
    Format.CSV: "text/csv",
    Format.PARQUET: "application/vnd.apache.parquet",
    Format.ARROW: "application/vnd.apache.arrow.stream",
}


def written(answer: Answer, form: Format) -> bytes:
    """The whole answer."""
    return _WRITERS[form](answer)


def as_table(answer: Answer) -> pa.Table:
    """Typed columns: instants in the period's zone, money as decimals, the unit of each in its metadata."""
    rows = [row for _, row in _parts(answer)]
    columns = [_column(answer, name, [row[name] for row in rows]) for name in answer.columns]
    fields = [
        pa.field(name, column.type, metadata={"unit": answer.units[name]} if name in answer.units else None)
        for name, column in zip(answer.columns, columns, strict=True)
    ]
    if has_parts(answer):
        fields.insert(0, pa.field(PART, pa.string()))
        columns.insert(0, pa.array([part for part, _ in _parts(answer)], pa.string()))
    return pa.Table.from_arrays(columns, schema=pa.schema(fields, metadata=_metadata(answer)))


def has_parts(answer: Answer) -> bool:
    """Whether rows have to say what they are."""
    return answer.other is not None or answer.totals is not None


def _parts(answer: Answer) -> Iterator[tuple[str, Row]]:
    for part, rows in ((ROW, answer.rows), (OTHER, answer.other), (TOTAL, answer.totals)):
        yield from ((part, row) for row in rows or ())


def _column(answer: Answer, name: str, values: list[object]) -> pa.Array:
    kind = _kind(answer, name)
    if kind is datetime:
        return pa.array(values, pa.timestamp("us", tz=answer.timezone))
    if kind is Decimal:
        return pa.array(values, _MONEY)
    if kind is int and any(isinstance(value, float) for value in values):
        kind = float
    return pa.array(values, {int: pa.int64(), float: pa.float64(), bool: pa.bool_()}.get(kind, pa.string()))


def _kind(answer: Answer, name: str) -> type:
    kinds: dict[str, type] = {TIME: datetime} | {dimension.name: dimension.kind for dimension in answer.by}
    for measure in answer.measures:
        kinds |= {measure.name: measure.holds, measure.name + BEFORE: measure.holds, measure.name + CHANGE: float}
    return kinds.get(name, int)  # the rank of a row


def _metadata(answer: Answer) -> dict[str, str]:
    told = {name: value for name, value in answer.plain().items() if name not in ("rows", "other", "totals")}
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in told.items()}


def _as_json(answer: Answer) -> bytes:
    return msgspec.json.encode(answer.plain())


def _as_csv(answer: Answer) -> bytes:
    text = io.StringIO(newline="")
    lines = csv.writer(text)
    is_told = has_parts(answer)
    lines.writerow([PART, *answer.columns] if is_told else answer.columns)
    for part, row in _parts(answer):
        cells = [cell(row[name]) for name in answer.columns]
        lines.writerow([part, *cells] if is_told else cells)
    return text.getvalue().encode()


def _as_parquet(answer: Answer) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(as_table(answer), sink, compression="zstd")
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def _as_arrow(answer: Answer) -> bytes:
    table, sink = as_table(answer), pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


_WRITERS: dict[Format, Callable[[Answer], bytes]] = {
    Format.JSON: _as_json,
    Format.CSV: _as_csv,
    Format.PARQUET: _as_parquet,
    Format.ARROW: _as_arrow,
}
