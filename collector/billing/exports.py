"""Lines as files: CSV, Parquet and XLSX as they are, CSV and Parquet as FOCUS wants them, events as JSON lines.

What comes in are lines and their period; what goes out are bytes. Decimals keep every digit, in CSV as plain numbers
without an exponent. Nothing here names a file.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from collector.billing.cloud_events import cloud_events, lago_events
from collector.billing.focus import pieces
from collector.errors import QueryError
from collector.period import Period

BATCH = 10_000
"""Rows of a CSV file that are written at once."""

_MEDIA = {
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
    "ndjson": "application/x-ndjson",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
"""The ending of a file -> as Content-Type names it."""


class Form(StrEnum):
    """How lines are written."""

    CSV = "csv"
    PARQUET = "parquet"
    XLSX = "xlsx"
    FOCUS_CSV = "focus-csv"
    FOCUS_PARQUET = "focus-parquet"
    CLOUDEVENTS = "cloudevents"
    LAGO = "lago"

    @classmethod
    def named(cls, name: str) -> Form:
        """The form of that name. Raises QueryError listing the names there are."""
        try:
            return cls(name)
        except ValueError:
            there = ", ".join(cls)
            raise QueryError(f"format: no {name[:80]!r}; there are {there}", field="format", choices=cls) from None

    @property
    def media_type(self) -> str:
        """As Content-Type names it."""
        return _MEDIA[self.ending]

    @property
    def ending(self) -> str:
        """How a file of this form ends."""
        return "ndjson" if self.is_events else self.rpartition("-")[2]

    @property
    def is_events(self) -> bool:
        """Whether it is one event for each line: then only lines that do not change any more can be told."""
        return self in (Form.CLOUDEVENTS, Form.LAGO)


@dataclass(frozen=True)
class Billed:
    """The lines of one period, to be written."""

    lines: pa.Table
    period: Period
    account: str
    is_closed: bool


def written(billed: Billed, form: Form) -> bytes:
    """The whole file. Raises QueryError for events of a period that is not closed."""
    if form.is_events:
        return _events(billed, form)
    if form is Form.XLSX:
        from collector.billing.sheets import workbook  # a library that nothing else needs

        return workbook(billed.lines, f"{billed.period.local(billed.period.start):%Y-%m}")
    if form in (Form.FOCUS_CSV, Form.FOCUS_PARQUET):
        return _WRITERS[form.ending](pieces(billed.lines, billed.period, account=billed.account))
    return _WRITERS[form.ending](iter([billed.lines]))


def _events(billed: Billed, form: Form) -> bytes:
    if not billed.is_closed:
        raise QueryError(
            "the period is not closed: its lines still change, and an event cannot be taken back; close it first",
            field="format",
            remedy="close the period first",
        )
    told: Iterable[object] = (
        lago_events(billed.lines, billed.period)
        if form is Form.LAGO
        else cloud_events(billed.lines, billed.period, billed.account)
    )
    return b"".join(msgspec.json.encode(event) + b"\n" for event in told)


def _csv(tables: Iterator[pa.Table]) -> bytes:
    sink = io.BytesIO()
    with io.TextIOWrapper(sink, encoding="utf-8", newline="", write_through=True) as text:
        lines = csv.writer(text, lineterminator="\n")
        for place, table in enumerate(tables):
            if not place:
                lines.writerow(table.column_names)
            for batch in table.to_batches(BATCH):
                columns = [[_cell(value) for value in column.to_pylist()] for column in batch.columns]
                lines.writerows(zip(*columns, strict=True))
        return sink.getvalue()


_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def _cell(value: object) -> object:
    """Numbers without exponent, instants in UTC; a name that a spreadsheet would run gets the apostrophe against it."""
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA_STARTS) else value


def _parquet(tables: Iterator[pa.Table]) -> bytes:
    sink, first = pa.BufferOutputStream(), next(tables)
    with pq.ParquetWriter(sink, first.schema, compression="zstd") as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(table)
    found: bytes = sink.getvalue().to_pybytes()
    return found


_WRITERS: dict[str, Callable[[Iterator[pa.Table]], bytes]] = {"csv": _csv, "parquet": _parquet}
