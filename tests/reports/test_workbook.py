"""The workbook: typed cells, number formats, charts of its own numbers."""

from __future__ import annotations

import io
from datetime import datetime
from typing import Any

import openpyxl
import pytest

from collector.reports.forms import Form, written
from collector.reports.report import Report
from tests.reports.reading import listed, sheets


@pytest.fixture(scope="module")
def content(week: Report) -> bytes:
    return written(week, Form.XLSX, "en")


def test_charts_are_drawn_from_the_sheet_of_trends(week: Report, content: bytes):
    book = openpyxl.load_workbook(io.BytesIO(content))
    charts: list[Any] = book["Overview"]._charts
    assert len(charts) == len([chart for chart in week.charts() if not chart.is_empty]) > 6
    trends = book["Trends"]
    for chart in charts:
        for series in chart.series:
            sheet, _, cells = series.val.numRef.f.partition("!")
            assert sheet.strip("'") == "Trends"
            values = [cell.value for (cell,) in trends[cells.replace("$", "")]]
            assert len(values) == 7
            assert all(isinstance(value, int | float) for value in values)


def test_the_chart_of_calls_shows_the_period_before(week: Report, content: bytes):
    rows = [[cell.value for cell in row] for row in sheets(content)["Trends"]]
    assert rows[0][:3] == ["Time", "Calls", "Calls (Period before)"]
    (line,) = next(chart for chart in week.charts() if chart.name == "invocations").lines
    assert [row[1] for row in rows[1:]] == list(line.values)
    assert [row[2] for row in rows[1:]] == list(line.before)
    assert rows[1][0] == datetime(2026, 11, 9)


def test_cells_have_types_and_formats(content: bytes):
    book = sheets(content)
    models = listed(book["Models"], "Models by tokens")
    assert {type(row["Tokens"]) for row in models} == {int}
    cells = {cell.value: cell for row in book["Overview"] for cell in row if cell.value is not None}
    by_name = {row[0].value: row[1] for row in book["Overview"] if row[0].value}
    assert by_name["Cost, USD"].number_format == '"$"#,##0.00'
    assert by_name["Failure ratio"].number_format == "0.0%"
    assert by_name["Response time p95"].number_format == "0.00"
    assert by_name["Calls"].number_format == "#,##0"
    assert cells["Weekly report · week 46 of 2026"].data_type == "s"
    made = listed(book["New and idle apps"], "New apps")
    assert made == [
        {"App": "Weekly digest", "Kind": "Chat", "Made on": datetime(2026, 11, 11, 11), "App id": "app-0010"}
    ]


def test_the_same_report_gives_the_same_bytes(week: Report, content: bytes):
    assert written(week, Form.XLSX, "en") == content
    assert written(week, Form.CSV, "en") == written(week, Form.CSV, "en")
