"""Lines as files: CSV and Parquet as they are, CSV and Parquet as FOCUS wants them.

What comes in are lines and their period; what goes out are bytes. Decimals keep every digit, in CSV as plain numbers
without an exponent. Nothing here names a file.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum

import pyarrow as pa
import pyarrow.parquet as pq

from collector.billing.focus import focus
from collector.errors import QueryError
from collector.period import Period

_CSV, _PARQUET = "text/csv; charset=utf-8", "application/vnd.apache.parquet"


class Form(StrEnum):
    """How lines are written."""

    CSV = "csv"
    PARQUET = "parquet"
    FOCUS_CSV = "focus-csv"
    FOCUS_PARQUET = "focus-parquet"

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
        return _CSV if self.ending == "csv" else _PARQUET

    @property
    def ending(self) -> str:
        """How a file of this form ends."""
        return "csv" if self in (Form.CSV, Form.FOCUS_CSV) else "parquet"


@dataclass(frozen=True)
class Billed:
    """The lines of one period, to be written."""

    lines: pa.Table
    period: Period
    account: str


def written(billed: Billed, form: Form) -> bytes:
    """The whole file."""
    is_focus = form in (Form.FOCUS_CSV, Form.FOCUS_PARQUET)
    table = focus(billed.lines, billed.period, account=billed.account) if is_focus else billed.lines
    return _WRITERS[form.ending](table)


def _csv(table: pa.Table) -> bytes:
    text = io.StringIO(newline="")
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(table.column_names)
    columns = [[_cell(value) for value in column.to_pylist()] for column in table.columns]
    lines.writerows(zip(*columns, strict=True))
    return text.getvalue().encode()


_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def _cell(value: object) -> object:
    """Numbers without exponent, instants in UTC; a name that a spreadsheet would run gets the apostrophe against it."""
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA_STARTS) else value


def _parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    found: bytes = sink.getvalue().to_pybytes()
    return found


_WRITERS: dict[str, Callable[[pa.Table], bytes]] = {"csv": _csv, "parquet": _parquet}
