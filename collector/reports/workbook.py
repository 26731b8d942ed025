"""A Report as an XLSX workbook: a sheet for each subject, numbers as numbers, and charts that the program draws itself.

What comes in is a Report; what goes out are bytes. Names are written as text whatever they begin with, so none of them
is run as a formula; money stands there as a number to add up, its currency in the format. Nothing here names a file.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from babel.numbers import get_currency_precision, get_currency_symbol
from xlsxwriter.format import Format
from xlsxwriter.workbook import Workbook
from xlsxwriter.worksheet import Worksheet

from collector.period import Grain
from collector.reports.charts import BEFORE_COLOUR, COLOURS
from collector.reports.paper import Helping
from collector.reports.report import Chart, Column, Report, Section, Table
from collector.reports.spelling import GROWTH, RATIO, SECONDS, UNKNOWN, Spelling, is_money

LONGEST_CELL = 32_767
"""Characters that a cell holds."""

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_PIXELS_A_CHART, _ROWS_A_CHART = {"width": 560, "height": 280}, 15


def workbook(report: Report, spelling: Spelling) -> bytes:
    """The whole file. The same report gives the same bytes."""
    sink = io.BytesIO()
    options = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
    with Workbook(sink, {**options, "remove_timezone": True}) as book:
        made = report.period.local(report.made_at).replace(tzinfo=None, microsecond=0)
        book.set_properties({"title": spelling.title(report), "created": made})
        _Book(book, report, spelling).write()
    return sink.getvalue()


@dataclass
class _Book:
    book: Workbook
    report: Report
    spelling: Spelling

    def __post_init__(self) -> None:
        self.helping = Helping(self.report, self.spelling)
        self.forms: dict[tuple[tuple[str, Any], ...], Format] = {}
        self.head = self.form(bold=True, bottom=1, text_wrap=True, valign="top", font_color="#475569")
        self.strong = self.form(bold=True, font_size=12)

    def form(self, **told: Any) -> Format:
        """A format, made once."""
        key = tuple(sorted(told.items()))
        if key not in self.forms:
            self.forms[key] = self.book.add_format(told)
        return self.forms[key]

    def write(self) -> None:
        overview = self.sheet(self.spelling.word("file.overview"))
        trends = self.sheet(self.spelling.word("file.trends"))
        places = self._trends(trends)
        self._overview(overview, places, trends.get_name())
        for section in self.report.sections:
            if section.tables:
                self._section(section)
        overview.activate()

    def sheet(self, name: str) -> Worksheet:
        """A new sheet, set up to be printed on A4."""
        found = self.book.add_worksheet(re.sub(r"[\[\]:*?/\\']", " ", name)[:31])
        found.set_landscape()
        found.set_paper(9)
        found.fit_to_pages(1, 0)
        found.hide_gridlines(2)
        return found

    def _overview(self, sheet: Worksheet, places: Mapping[int, int], trends: str) -> None:
        report, spelling = self.report, self.spelling
        sheet.set_column(0, 0, 30)
        sheet.set_column(1, 3, 20)
        sheet.write_string(0, 0, spelling.title(report), self.form(bold=True, font_size=16))
        told = [
            (spelling.word("period"), spelling.period(report.period)),
            (spelling.word("compared"), spelling.period(report.compared)),
            (spelling.word("timezone"), report.period.zone.key),
            (spelling.word("complete_until"), self._instant(report.complete_until)),
            (spelling.word("made_at"), self._instant(report.made_at)),
        ]
        row = 1
        for name, said in told:
            sheet.write_string(row, 0, name)
            sheet.write_string(row, 1, said)
            row += 1
        for note in report.notes:
            sheet.write_string(row, 0, self.helping.note(note), self.form(font_color="#b45309"))
            row += 1
        for section in report.sections:
            if section.figures:
                row = self._figures(sheet, section, row + 1)
        row += 1
        for number, chart in enumerate(each for each in report.charts() if not each.is_empty):
            column, line = (0, 3)[number % 2], row + number // 2 * _ROWS_A_CHART
            sheet.insert_chart(line, column, self._chart(chart, places, trends), {"object_position": 1})

    def _figures(self, sheet: Worksheet, section: Section, row: int) -> int:
        spelling = self.spelling
        sheet.write_string(row, 0, spelling.word(f"section.{section.name}"), self.strong)
        for place, key in enumerate(("figure", "value", "before", "growth")):
            sheet.write_string(row + 1, place, spelling.word(key), self.head)
        row += 2
        for figure in section.figures:
            sheet.write_string(row, 0, self.helping.figure_title(figure))
            self._cell(sheet, row, 1, figure.value, figure.unit)
            if figure.is_compared:
                self._cell(sheet, row, 2, figure.before, figure.unit)
                self._cell(sheet, row, 3, figure.change, GROWTH)
            row += 1
        return row

    def _trends(self, sheet: Worksheet) -> dict[int, int]:
        """Every chart's numbers, side by side; where each chart's begin, by its id."""
        places: dict[int, int] = {}
        column = 1
        sheet.set_column(0, 0, 18)
        sheet.freeze_panes(1, 1)
        sheet.write_string(0, 0, self.spelling.word("time"), self.head)
        for chart in self.report.charts():
            places[id(chart)] = column
            form = self.form(num_format="yyyy-mm-dd hh:mm" if self.report.grain is Grain.HOUR else "yyyy-mm-dd")
            for row, at in enumerate(chart.times, 1):
                sheet.write_datetime(row, 0, at.replace(tzinfo=None), form)
            for name, unit, values in _lines(chart, self.spelling):
                sheet.write_string(0, column, name, self.head)
                for row, value in enumerate(values, 1):
                    if value is not None:
                        self._cell(sheet, row, column, value, unit)
                column += 1
        sheet.set_column(1, max(column - 1, 1), 14)
        return places

    def _chart(self, chart: Chart, places: Mapping[int, int], trends: str) -> Any:
        is_lines = chart.lines[0].unit in (RATIO, SECONDS)
        kind = {"type": "line"} if is_lines else {"type": "column"}
        made = self.book.add_chart({**kind, **({"subtype": "stacked"} if chart.is_stacked else {})})
        behind = self.book.add_chart({"type": "line"})
        last, column, has_behind = len(chart.times), places[id(chart)], False
        for number, line in enumerate(chart.lines):
            series: dict[str, Any] = {
                "name": [trends, 0, column],
                "categories": [trends, 1, 0, last, 0],
                "values": [trends, 1, column, last, column],
            }
            colour = {"color": COLOURS[number]}
            made.add_series({**series, "line": {**colour, "width": 2}} if is_lines else {**series, "fill": colour})
            column += 1
            if line.before:
                dashed = {"color": BEFORE_COLOUR, "dash_type": "dash", "width": 1.5}
                series["name"], series["values"] = [trends, 0, column], [trends, 1, column, last, column]
                behind.add_series({**series, "line": dashed})
                column, has_behind = column + 1, True
        if has_behind:
            made.combine(behind)
        made.set_title({"name": self.helping.chart_title(chart), "name_font": {"size": 11}})
        made.set_legend({"position": "bottom"} if has_behind or len(chart.lines) > 1 else {"none": True})
        made.set_x_axis({"num_format": "hh:mm" if self.report.grain is Grain.HOUR else "mm-dd", "date_axis": False})
        made.set_y_axis({"num_format": self._number_form(chart.lines[0].unit), "major_gridlines": {"visible": True}})
        made.show_blanks_as("gap")
        made.set_size(_PIXELS_A_CHART)
        return made

    def _section(self, section: Section) -> None:
        sheet = self.sheet(self.spelling.word(f"section.{section.name}"))
        row, widest = 0, max(len(table.columns) for table in section.tables)
        sheet.set_column(0, 0, 32)
        sheet.set_column(1, widest, 15)
        for note in section.notes:
            sheet.write_string(row, 0, self.helping.note(note))
            row += 1
        for table in section.tables:
            row = self._table(sheet, table, row)

    def _table(self, sheet: Worksheet, table: Table, row: int) -> int:
        spelling = self.spelling
        sheet.write_string(row, 0, spelling.word(f"table.{table.name}"), self.strong)
        for place, column in enumerate(table.columns):
            sheet.write_string(row + 1, place, spelling.name(column.name), self.head)
        row += 2
        if not table.rows:
            sheet.write_string(row, 0, spelling.word("nothing"))
            return row + 2
        for found in table.rows:
            for place, column in enumerate(table.columns):
                self._cell(sheet, row, place, found[column.name], _unit(column, found))
            row += 1
        if table.left_out:
            sheet.write_string(row, 0, spelling.word("left_out", number=spelling.number(table.left_out)))
            row += 1
        return row + 1

    def _cell(self, sheet: Worksheet, row: int, place: int, value: Any, unit: str) -> None:
        if isinstance(value, datetime):
            at = self.report.period.local(value).replace(tzinfo=None, microsecond=0)
            sheet.write_datetime(row, place, at, self.form(num_format="yyyy-mm-dd hh:mm", align="left"))
        elif isinstance(value, int | float | Decimal):
            sheet.write_number(row, place, value, self.form(num_format=self._number_form(unit)))
        else:
            said = self.spelling.value(value, unit)
            grey = self.form(font_color="#94a3b8", align="right")
            sheet.write_string(row, place, clean(said), grey if said == UNKNOWN else None)

    def _number_form(self, unit: str) -> str:
        if unit == GROWTH:
            return "+0.0%;-0.0%;0.0%"
        if unit == RATIO:
            return "0.0%"
        if unit == SECONDS:
            return "0.00"
        if is_money(unit):
            places = max(get_currency_precision(unit), 2)
            return f'"{get_currency_symbol(unit, locale=self.spelling.locale)}"#,##0.{"0" * places}'
        return "#,##0" if unit not in ("messages/conversation", "tokens/second", "number") else "#,##0.##"

    def _instant(self, at: datetime | None) -> str:
        if at is None:
            return self.spelling.word("complete_unknown")
        return self.spelling.minute(self.report.period.local(at))


def clean(name: str) -> str:
    """A text that a cell can hold."""
    return _CONTROL.sub("\ufffd", name)[:LONGEST_CELL]


def _unit(column: Column, row: Mapping[str, Any]) -> str:
    return str(row["currency"]) if column.unit == "currency" and row.get("currency") else column.unit


def _lines(chart: Chart, spelling: Spelling) -> Iterator[tuple[str, str, Sequence[Any]]]:
    for line in chart.lines:
        yield spelling.name(line.name), line.unit, line.values
        if line.before:
            yield f"{spelling.name(line.name)} ({spelling.word('before')})", line.unit, line.before
