"""A Report as CSV files in one zip: what spreadsheets and programs read, each number with all its digits.

What comes in is a Report; what goes out are bytes. Heads are the names that REST uses, with words beside them in
`figures.csv`. UTF-8 with a byte order mark, so that a spreadsheet shows Chinese; a name that it would run as a formula
gets the apostrophe that stops it. Nothing here names a file.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from collector.measures.cells import cell
from collector.reports.paper import Helping
from collector.reports.report import Report, Table
from collector.reports.spelling import Spelling

MARK = "\ufeff"


def bundle(report: Report, spelling: Spelling) -> bytes:
    """The whole zip: about.csv, figures.csv, trends.csv, and one file for each table."""
    sink = io.BytesIO()
    at = report.period.local(report.made_at)
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as files:
        for name, rows in _files(report, spelling):
            told = zipfile.ZipInfo(f"{name}.csv", (max(at.year, 1980), at.month, at.day, at.hour, at.minute, at.second))
            told.compress_type, told.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            files.writestr(told, _written(rows))
    return sink.getvalue()


def _files(report: Report, spelling: Spelling) -> Iterator[tuple[str, Iterable[Sequence[Any]]]]:
    yield "about", _about(report, spelling)
    yield "figures", _figures(report, spelling)
    yield "trends", _trends(report)
    for section in report.sections:
        for table in section.tables:
            yield f"{section.name}-{table.name}", _table(table, report, spelling)


def _about(report: Report, spelling: Spelling) -> Iterator[Sequence[Any]]:
    helping, local = Helping(report, spelling), report.period.local
    yield ("name", "value", spelling.word("value"))
    yield ("report", report.span.name, spelling.title(report))
    yield ("since", local(report.period.start), spelling.period(report.period))
    yield ("until", local(report.period.end), None)
    yield ("compared_since", local(report.compared.start), spelling.period(report.compared))
    yield ("compared_until", local(report.compared.end), None)
    yield ("timezone", report.period.zone.key, None)
    until = report.complete_until
    yield ("complete_until", local(until) if until else None, None)
    yield ("made_at", local(report.made_at), None)
    for note in report.notes:
        yield ("note", note.name, helping.note(note))
    for section in report.sections:
        for note in section.notes:
            yield (f"note_{section.name}", note.name, helping.note(note))


def _figures(report: Report, spelling: Spelling) -> Iterator[Sequence[Any]]:
    helping = Helping(report, spelling)
    yield ("section", "name", "title", "unit", "value", "before", "change")
    for section in report.sections:
        for figure in section.figures:
            told = (figure.name, helping.figure_title(figure), figure.unit)
            yield (section.name, *told, figure.value, figure.before, figure.change)


def _trends(report: Report) -> Iterator[Sequence[Any]]:
    yield ("time", "chart", "name", "unit", "value", "before")
    for chart in report.charts():
        for line in chart.lines:
            before = line.before or (None,) * len(line.values)
            for at, value, earlier in zip(chart.times, line.values, before, strict=True):
                yield (at, chart.name, line.name, line.unit, value, earlier)


def _table(table: Table, report: Report, spelling: Spelling) -> Iterator[Sequence[Any]]:
    words = [column for column in table.columns if _is_said(column.name)]
    yield [*(column.name for column in table.columns), *(f"{column.name}_title" for column in words)]
    for row in table.rows:
        said = [spelling.value(row[column.name], column.unit, row) for column in words]
        values = (row[column.name] for column in table.columns)
        yield [*(report.period.local(each) if isinstance(each, datetime) else each for each in values), *said]


def _is_said(name: str) -> bool:
    """Whether it holds a word that people read in their language."""
    return name in ("cause", "flag", "kind", "error_class", "app_mode", "user_kind", "source")


def _written(rows: Iterable[Sequence[Any]]) -> bytes:
    text = io.StringIO(newline="")
    text.write(MARK)
    csv.writer(text, lineterminator="\r\n").writerows([cell(value) for value in row] for row in rows)
    return text.getvalue().encode()
