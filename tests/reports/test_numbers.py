"""A number is the same wherever it is read: on paper, in a sheet, in CSV, in PDF, and from REST's own question."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from collector.measures.answer import plain
from collector.reports import plan
from collector.reports.forms import Form, written
from collector.reports.report import Report, Table
from collector.reports.spelling import Spelling
from collector.reports.words import LANGUAGES
from collector.store import Store
from tests.reports.reading import Page, bundled, listed, sheets
from tests.reports.world import TZ, answered

HEADLINE = [name for name in plan.HEADLINE if name != "cost"]


def table_of(report: Report, name: str) -> Table:
    return next(table for table in report.tables() if table.name == name)


@pytest.fixture(scope="module")
def asked(site: Store, week: Report) -> dict[str, Any]:
    """The headline numbers by REST's own question."""
    (row,) = answered(site, week, ",".join(HEADLINE), compare="previous")
    return row


@pytest.fixture(scope="module")
def apps(site: Store, week: Report) -> list[dict[str, Any]]:
    """The ten most used apps by REST's own question."""
    measures = "invocations,messages,active_users,tokens,invocation_failure_ratio,cost_cny,cost_usd"
    return answered(site, week, measures, by="app_name", top=10, compare="previous")


class TestTheReport:
    def test_headline_numbers(self, week: Report, asked: dict[str, Any]):
        figures = {each.name: each for each in week.section("overview").figures}
        for name in HEADLINE:
            figure = figures[name]
            assert (figure.value, figure.before) == (asked[name], asked[f"{name}_before"]), name
            assert figure.change == asked[f"{name}_change"]
        assert figures["invocations"].value > 1000

    def test_money_by_currency(self, site: Store, week: Report):
        rows = answered(site, week, "cost", compare="previous")
        told = [
            (each.unit, each.value, each.before) for each in week.section("overview").figures if each.name == "cost"
        ]
        assert told == [(row["currency"], row["cost"], row["cost_before"]) for row in rows]
        assert [unit for unit, *_ in told] == ["CNY", "USD"]
        assert all(isinstance(value, Decimal) for _, value, _ in told)

    def test_top_apps(self, week: Report, apps: list[dict[str, Any]]):
        shown = table_of(week, "top_apps")
        names = [column.name for column in shown.columns if column.name != "app_id"]
        assert [{name: row[name] for name in names} for row in shown.rows] == [
            {name: row[name] for name in names} for row in apps
        ]
        assert shown.left_out == 1

    @pytest.mark.parametrize(
        ("table", "by", "order"),
        [
            ("top_models", "model_name,model_provider", "tokens"),
            ("top_users", "user_name,user_kind,user_id", "invocations"),
            ("top_departments", "department", "invocations"),
            ("rated_apps", "app_name,app_id", "ratings"),
            ("failing_apps", "app_name,app_id", "failed_invocations"),
            ("slow_apps", "app_name,app_id", "response_time_p95"),
            ("slow_workflows", "app_name,app_id", "run_elapsed_p95"),
            ("error_classes", "error_class", "failed_invocations"),
            ("datasets", "dataset_name,dataset_id", "retrievals"),
        ],
    )
    def test_other_tables(self, site: Store, week: Report, table: str, by: str, order: str):
        shown = table_of(week, table)
        measures = [column.name for column in shown.columns if column.unit not in ("text", "growth", column.name)]
        rows = answered(site, week, ",".join([order, *measures]), by=by)
        keys = by.split(",")
        wanted = {tuple(row[key] for key in keys): [row[name] for name in measures] for row in rows}
        assert shown.rows
        for row in shown.rows:
            assert [row[name] for name in measures] == wanted[tuple(row[key] for key in keys)]
        sizes = [row[order] or 0 for row in shown.rows]
        assert sizes == sorted((row[order] or 0 for row in rows), reverse=True)[: len(sizes)]

    def test_every_step_of_a_chart(self, site: Store, week: Report):
        for chart in week.charts():
            for line in chart.lines:
                rows = answered(site, week, line.name, grain="day", fill="zero")
                assert dict(zip(chart.times, line.values, strict=True)) == {row["time"]: row[line.name] for row in rows}

    def test_what_is_in_stock(self, site: Store, week: Report):
        (row,) = answered(site, week, ",".join(plan.STOCK))
        told = {each.name: each.value for each in week.section("lifecycle").figures}
        assert told == {name: row[name] for name in plan.STOCK}
        assert (told["new_apps"], told["idle_apps"]) == (1, 1)
        assert [row["app_name"] for row in table_of(week, "idle_apps").rows] == ["简历筛选"]
        assert [row["app_name"] for row in table_of(week, "new_apps").rows] == ["Weekly digest"]


@pytest.mark.parametrize("language", LANGUAGES)
class TestTheFiles:
    def test_html(self, week: Report, asked: dict[str, Any], apps: list[dict[str, Any]], language: str):
        spelling = Spelling(language)
        page = Page(written(week, Form.HTML, language).decode())
        told = {name: value for name, value, _ in page.figures}
        for name in HEADLINE:
            unit = next(each.unit for each in week.section("overview").figures if each.name == name)
            assert told[spelling.name(name)] == spelling.value(asked[name], unit)
        head, *rows = page.tables[spelling.word("table.top_apps")]
        assert head[:3] == [spelling.name("app_name"), spelling.name("invocations"), spelling.word("growth")]
        for row, wanted in zip(rows, apps, strict=True):
            assert row[:6] == [
                wanted["app_name"],
                spelling.number(wanted["invocations"]),
                spelling.growth(wanted["invocations_change"]),
                spelling.number(wanted["messages"]),
                spelling.number(wanted["active_users"]),
                spelling.number(wanted["tokens"]),
            ]
            money = [(wanted[f"cost_{code.lower()}"], code) for code in ("CNY", "USD")]
            assert row[6:] == [
                spelling.share(wanted["invocation_failure_ratio"]),
                *(spelling.value(amount, code) for amount, code in money),
            ]

    def test_xlsx(self, week: Report, asked: dict[str, Any], apps: list[dict[str, Any]], language: str):
        spelling = Spelling(language)
        book = sheets(written(week, Form.XLSX, language))
        overview = listed(book[spelling.word("file.overview")], spelling.word("section.overview"))
        told = {row[spelling.word("figure")]: row[spelling.word("value")] for row in overview}
        for name in HEADLINE:
            assert told[spelling.name(name)] == pytest.approx(asked[name], rel=1e-12)
        rows = listed(book[spelling.word("section.apps")], spelling.word("table.top_apps"))
        for row, wanted in zip(rows, apps, strict=True):
            for name in ("app_name", "invocations", "messages", "active_users", "tokens", "invocation_failure_ratio"):
                told = row[spelling.name(name)]
                assert told == wanted[name] or told == pytest.approx(wanted[name], rel=1e-12)
            assert row[spelling.name("cost_cny")] == pytest.approx(float(wanted["cost_cny"]))

    def test_csv(self, week: Report, asked: dict[str, Any], apps: list[dict[str, Any]], language: str):
        files = bundled(written(week, Form.CSV, language))
        told = {row["name"]: row for row in files["figures.csv"] if row["section"] == "overview"}
        for name in HEADLINE:
            assert told[name]["value"] == str(plain(asked[name]))
            assert told[name]["before"] == str(plain(asked[f"{name}_before"]))
        for row, wanted in zip(files["apps-top_apps.csv"], apps, strict=True):
            for name in ("app_name", "invocations", "tokens", "cost_cny", "cost_usd"):
                assert row[name] == str(plain(wanted[name]))
        days = [row for row in files["trends.csv"] if row["chart"] == "invocations"]
        assert sum(int(row["value"]) for row in days) == asked["invocations"]
        assert days[0]["time"] == "2026-11-09T00:00:00+08:00"

    def test_pdf(
        self,
        week: Report,
        asked: dict[str, Any],
        apps: list[dict[str, Any]],
        language: str,
        server: Callable[[str], str],
        tmp_path: Path,
    ):
        spelling = Spelling(language)
        file = tmp_path / "week.pdf"
        file.write_bytes(written(week, Form.PDF, language))
        text = _text(server("pdftotext"), file)
        for figure in week.section("overview").figures:
            assert spelling.value(figure.value, figure.unit) in text
        for row in apps:
            shown = re.search(rf"{re.escape(row['app_name'])}\s+([\d,]+)", text)
            assert shown, row["app_name"]
            assert shown[1] == spelling.number(row["invocations"])
        assert TZ in text
        fonts = subprocess.run([server("pdffonts"), file], capture_output=True, text=True, check=True).stdout
        rows = [line.split() for line in fonts.splitlines()[2:]]
        assert rows
        chinese = [row for row in rows if re.search("wqy|wenquanyi|cjk|notosanssc|sourcehan", row[0].lower())]
        assert chinese, fonts
        assert all(row[-5] == "yes" for row in rows), fonts  # embedded


def _text(program: str, file: Path) -> str:
    told = subprocess.run([program, "-layout", file, "-"], capture_output=True, check=True).stdout
    return told.decode()


def test_json_has_every_digit(site: Store, week: Report):
    told = week.plain()
    overview: Any = told["sections"][0]  # type: ignore[index]
    money = [each["value"] for each in overview["figures"] if each["name"] == "cost"]
    assert money == [f"{row['cost']:f}" for row in answered(site, week, "cost")]
    assert told["report"] == "week 2026-W46"
    assert told["complete_until"] == "2026-11-21T01:00:00+00:00"
