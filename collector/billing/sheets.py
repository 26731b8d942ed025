"""A bill as an XLSX workbook: sums by payer, and every line.

What comes in are lines and what their period is called; what goes out are bytes. A spreadsheet counts in binary numbers
of some sixteen digits, so every amount stands there twice: as a number to add up, and as text with all its digits: that
one counts. The same lines give the same bytes. Nothing here names a file.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
from xlsxwriter.format import Format
from xlsxwriter.workbook import Workbook
from xlsxwriter.worksheet import Worksheet

from collector.bill_lines import LINES
from collector.billing.statement import groups, totals

MOST_LINES = 1_000_000
"""Rows a sheet can hold, less some for heads."""

_MADE = datetime(2000, 1, 1)
_MONEY = ("unit_price", "list_amount", "amount")


def workbook(lines: pa.Table, name: str) -> bytes:
    """The whole file; `name` is what the period is called. Lines beyond MOST_LINES are left out, as the sheet says."""
    sink = io.BytesIO()
    with Workbook(sink, {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False}) as book:
        book.set_properties({"title": f"Bill {name}", "created": _MADE})
        head = book.add_format({"bold": True, "bottom": 1})
        _sums(book, head, lines, name)
        _lines(book, head, lines)
    return sink.getvalue()


def _sums(book: Workbook, head: Format, lines: pa.Table, name: str) -> None:
    sheet: Worksheet = book.add_worksheet("账单 Bill")
    by = ("department", "cost_centre", "person")
    heads = ("period", *by, "currency", "payable", "amount", "amount, every digit")
    rows: list[Sequence[Any]] = [
        (name, *each.by.values(), each.currency, each.payable, each.amount, f"{each.amount:f}")
        for each in groups(lines, by)
    ]
    rows += [
        (name, "total", None, None, each.currency, each.payable, each.amount, f"{each.amount:f}")
        for each in totals(lines)
    ]
    _fill(book, sheet, head, heads, rows, {5: "#,##0.00", 6: "#,##0.00########"}, (10, 18, 18, 18, 10, 14, 18, 30))


def _lines(book: Workbook, head: Format, lines: pa.Table) -> None:
    sheet: Worksheet = book.add_worksheet("明细 Lines")
    columns = {each: lines.slice(0, MOST_LINES)[each].to_pylist() for each in LINES.names}
    heads = [*LINES.names, "amount, every digit"]
    exact = [f"{amount:f}" for amount in columns["amount"]]
    rows: list[Sequence[Any]] = list(zip(*columns.values(), exact, strict=True))
    if (left_out := len(lines) - MOST_LINES) > 0:
        rows.append((f"{left_out:,} lines more: export them as CSV or Parquet",))
    forms = {heads.index(name): "#,##0.00##########" for name in _MONEY}
    _fill(book, sheet, head, heads, rows, forms, [14] * len(heads))


def _fill(
    book: Workbook,
    sheet: Worksheet,
    head: Format,
    heads: Sequence[str],
    rows: Sequence[Sequence[Any]],
    forms: dict[int, str],
    widths: Sequence[int],
) -> None:
    kinds = {place: book.add_format({"num_format": form}) for place, form in forms.items()}
    for place, width in enumerate(widths):
        sheet.set_column(place, place, width, kinds.get(place))
    sheet.write_row(0, 0, heads, head)
    for number, row in enumerate(rows, 1):
        for place, value in enumerate(row):
            if isinstance(value, Decimal | int):
                sheet.write_number(number, place, value)
            elif value is not None:
                sheet.write_string(number, place, str(value))
    sheet.freeze_panes(1, 0)
    if rows:
        sheet.autofilter(0, 0, len(rows), len(heads) - 1)
