"""The page: whole whatever it is about, harmless whatever anybody is called, and a site's own where it wants that."""

from __future__ import annotations

import re
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from collector.errors import SettingsError
from collector.reports.charts import top_of
from collector.reports.forms import Form, written
from collector.reports.paper import letter, page
from collector.reports.report import Report
from collector.reports.spelling import Spelling
from collector.reports.words import LANGUAGES
from collector.store import Store, open_store
from tests.builders import a_call, a_message, a_run, an_app
from tests.reports.reading import Page, bundled, sheets
from tests.reports.world import BEGAN, NOW, a_report, a_site

HOSTILE = (
    "<script>alert(1)</script>",
    "=cmd|' /C calc'!A0",
    "+1+1",
    "@SUM(A1)",
    "-2+3",
    "{{ 7*7 }}{% raw %}",
    'a"onmouseover="x',
    "\u202eevil\u202c",
    "مرحبا بالعالم",
    "🚀🔥 emoji 👩‍👩‍👧",
    "x" * 4000,
    "长" * 300,
    "tab\there\nand a line",
    "nul\x01\x0b",
    "&amp; & <b>",
    "]]>",
    "last",
)
FORMULAS = ("=", "+", "-", "@")


def _closing() -> closing[Store]:
    return closing(open_store(":memory:", now=BEGAN))


@pytest.fixture(scope="module")
def hostile() -> Report:
    with a_site(HOSTILE, most=6) as store:
        return a_report(store, top=20)


class TestHostileNames:
    @pytest.mark.parametrize("language", LANGUAGES)
    def test_stand_on_paper_as_text(self, hostile: Report, language: str):
        found = Page(written(hostile, Form.HTML, language).decode())
        assert {tag for tag, _ in found.tags} & {"script", "b", "img", "iframe", "object", "link"} == set()
        assert not [name for _, told in found.tags for name in told if name.startswith("on")]
        rows = found.tables[Spelling(language).word("table.top_apps")][1:]
        names = [row[0] for row in rows]
        assert "<script>alert(1)</script>" in names
        assert "{{ 7*7 }}{% raw %}" in names
        assert "&amp; & <b>" in names
        assert "x" * 59 + "…" in names

    def test_do_not_turn_the_line_they_stand_in(self, hostile: Report):
        html = page(hostile, Spelling("en"))
        assert re.search("<bdi>\u202eevil\u202c</bdi>", html)

    def test_are_no_formulas_in_a_sheet(self, hostile: Report):
        found = [cell for rows in sheets(written(hostile, Form.XLSX, "en")).values() for row in rows for cell in row]
        assert not [cell for cell in found if cell.data_type == "f"]
        texts = {cell.value for cell in found if cell.data_type == "s"}
        assert {"=cmd|' /C calc'!A0", "+1+1", "@SUM(A1)", "-2+3", "长" * 300, "x" * 4000} <= texts

    def test_are_stopped_in_csv(self, hostile: Report):
        files = bundled(written(hostile, Form.CSV, "en"))
        names = [row["app_name"] for row in files["apps-top_apps.csv"]]
        assert "'=cmd|' /C calc'!A0" in names
        assert not [name for name in names if name.startswith(FORMULAS)]

    def test_stand_in_a_mail_as_text(self, hostile: Report):
        found = Page(letter(hostile, Spelling("en")))
        assert {tag for tag, _ in found.tags} & {"script", "b", "img"} <= {"b"}
        assert "<script>alert(1)</script>" in found.text


class TestAnySize:
    @pytest.mark.parametrize("language", LANGUAGES)
    def test_of_a_store_that_knows_nothing(self, language: str):
        with _closing() as store:
            report = a_report(store)
        found = Page(written(report, Form.HTML, language).decode())
        assert [value for _, value, _ in found.figures]
        assert {value for _, value, _ in found.figures} == {"–"}
        assert Spelling(language).word("note.nothing_stored") in found.text
        assert Spelling(language).word("foot.unknown") in found.text
        assert "<svg" not in found.html
        for form in (Form.XLSX, Form.CSV, Form.JSON):
            assert written(report, form, language)

    def test_of_an_empty_week_between_others(self):
        """Nothing happened: that is known, and is zero."""
        with _closing() as store:
            store.put([an_app(), *(a_run(id=f"r{at:%d}", created_at=at) for at in (NOW - timedelta(days=30), NOW))])
            report = a_report(store)
        told = {each.name: each for each in report.section("overview").figures}
        assert (told["invocations"].value, told["invocations"].before, told["invocations"].change) == (0, 0, None)
        assert told["response_time_p95"].value is None
        found = Page(page(report, Spelling("en")))
        shown = {name: (value, than) for name, value, than in found.figures}
        assert shown["Calls"] == ("0", "no change · before: 0")
        assert shown["Response time p95"][0] == "–"

    def test_of_one_app(self):
        with _closing() as store:
            at = datetime(2026, 11, 10, tzinfo=UTC)
            store.put([an_app(), a_run(created_at=at), a_call(created_at=at)])
            report = a_report(store)
        found = Page(page(report, Spelling("zh")))
        assert found.tables["使用最多的应用"][1:] == [["Shop", "1", "0", "1", "100", "0.0%", "US$0.000100"]]
        assert "最早的数据始于" in found.text

    def test_of_two_thousand_apps(self):
        names = [f"应用 {number:04}" for number in range(2000)]
        with a_site(names, most=1, days=2) as store:
            report = a_report(store, "2026-11-02")
        found = Page(page(report, Spelling("en")))
        assert len(found.tables["Most used apps"]) == 11
        assert "and 1,989 more" in found.text
        assert len(found.html) < 400_000
        assert next(each.value for each in report.section("lifecycle").figures if each.name == "apps") == 2000

    @pytest.mark.parametrize("language", LANGUAGES)
    def test_of_huge_numbers(self, language: str):
        at, huge = datetime(2026, 11, 10, tzinfo=UTC), 4_000_000_000_000_000_000
        with _closing() as store:
            store.put(
                [
                    an_app(id="desk", name="Desk", mode="chat"),
                    a_message(app_id="desk", created_at=at, latency_seconds=86_399.5),
                    a_call(
                        app_id="desk",
                        run_id=None,
                        message_id="m1",
                        created_at=at,
                        input_tokens=huge,
                        output_tokens=5,
                        tokens=huge + 5,
                        cost=Decimal("999999999.999999999"),
                    ),
                ]
            )
            report = a_report(store)
        found = Page(written(report, Form.HTML, language).decode())
        values = [value for _, value, _ in found.figures]
        assert "4,000,000,000,000,000,005" in values
        assert any("1,000,000,000.00" in value for value in values)
        assert written(report, Form.XLSX, language)

    def test_every_number_of_a_chart_lies_in_the_chart(self, week: Report):
        for svg in re.findall("<svg.*?</svg>", page(week, Spelling("en")), re.DOTALL):
            places = [float(y) for y in re.findall(r'\by="([-\d.]+)"', svg)]
            points = [pair for line in re.findall(r'points="([^"]+)"', svg) for pair in line.split()]
            places += [float(pair.split(",")[1]) for pair in points]
            assert all(0 <= place <= 190 for place in places)


@pytest.mark.parametrize(
    ("highest", "end", "steps"),
    [(0, 1.0, 2), (1, 1.0, 4), (97, 100.0, 4), (101, 150.0, 3), (0.034, 0.04, 4), (3, 3.0, 3)],
)
def test_an_axis_ends_at_a_round_number(highest: float, end: float, steps: int):
    assert top_of(highest) == (pytest.approx(end), steps)


class TestOnePage:
    def test_loads_nothing_and_runs_nothing(self, week: Report):
        html = page(week, Spelling("en"))
        found = Page(html)
        assert "script" not in {tag for tag, _ in found.tags}
        assert not [told for _, told in found.tags if {"src", "href", "action"} & set(told)]
        assert "url(" not in html
        assert "@import" not in html

    def test_says_what_it_covers_and_how_complete_it_is(self, week: Report):
        text = Page(page(week, Spelling("zh"))).text
        for said in ("运营周报 · 2026 年第 46 周", "2026年11月9日至15日", "2026年11月2日至8日", "Asia/Shanghai"):
            assert said in text
        assert "2026年11月21日 09:00" in text  # complete until

    @pytest.mark.parametrize(
        ("name", "english", "chinese"),
        [
            ("2026-11-14", "Daily report · Nov 14, 2026", "运营日报 · 2026年11月14日"),
            ("2026-W46", "Weekly report · week 46 of 2026", "运营周报 · 2026 年第 46 周"),
            ("2026-11", "Monthly report · Nov 2026", "运营月报 · 2026年11月"),
        ],
    )
    def test_says_what_it_is(self, site: Store, name: str, english: str, chinese: str):
        report = a_report(site, name)
        assert (Spelling("en").title(report), Spelling("zh").title(report)) == (english, chinese)

    def test_compares_with_nothing_where_nothing_is_known(self, site: Store):
        found = Page(page(a_report(site, "2026-W45"), Spelling("en")))
        assert "Compared with" not in found.text
        assert {than for _, _, than in found.figures} == {""}
        assert "there is no whole period before to compare with" in found.text

    def test_warns_of_a_period_that_is_not_over_or_not_read(self, site: Any):
        text = Page(page(a_report(site, "2026-W47"), Spelling("en"))).text
        assert "The period is not over" in text
        assert "complete until Nov 21, 2026 09:00" in text

    def test_numbers_its_footnotes_in_the_order_they_are_met(self):
        with _closing() as store:
            store.put([an_app(), *(a_run(id=f"r{days}", created_at=NOW - timedelta(days=days)) for days in (9, 30))])
            html = page(a_report(store), Spelling("en"))
        numbers = [int(number) for number in re.findall(r"<sup>(\d+)</sup>", html)]
        feet = re.findall(r"<li>(.+?)</li>", html)
        assert sorted(set(numbers)) == list(range(1, len(feet) + 1)) == [1, 2]
        assert numbers[0] == 1


class TestTemplatesOfTheSite:
    def test_take_the_place_of_ours(self, week: Report, tmp_path: Path):
        (tmp_path / "report.html").write_text("<p>{{ spelling.title(report) }}: {{ t('period') }}</p>")
        (tmp_path / "style.css").write_text("")
        assert page(week, Spelling("en"), tmp_path) == "<p>Weekly report · week 46 of 2026: Period</p>"
        assert "headline" not in letter(week, Spelling("en"), tmp_path)

    def test_may_change_a_part_of_ours(self, week: Report, tmp_path: Path):
        own = tmp_path / "templates"
        own.mkdir()
        (own / "style.css").write_text("body { color: rebeccapurple }")
        html = page(week, Spelling("en"), own)
        assert "rebeccapurple" in html
        assert "Most used apps" in html

    @pytest.mark.parametrize(
        ("template", "said"),
        [
            ("{{ nothing }}", "'nothing' is undefined"),
            ("{% for %}", "report.html line 1"),
            ("{{ t('no.such.key') }}", "KeyError"),
            ("{{ report.__class__.__mro__ }}", "unsafe"),
            ("{% include 'missing.html' %}", "missing.html"),
        ],
    )
    def test_that_fail_are_named(self, week: Report, tmp_path: Path, template: str, said: str):
        (tmp_path / "report.html").write_text(template)
        with pytest.raises(SettingsError, match=f"report_templates: .*{re.escape(said)}.*deploy/reports.md"):
            page(week, Spelling("en"), tmp_path)

    def test_escape_names_too(self, hostile: Report, tmp_path: Path):
        loop = "{% for row in report.section('apps').tables[0].rows %}{{ row.app_name }}{% endfor %}"
        (tmp_path / "report.html").write_text(loop)
        assert "<script>" not in page(hostile, Spelling("en"), tmp_path)
