"""Both languages say everything that a report may want to say."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator

import pytest

from collector.failures import ERROR_CLASSES
from collector.measures.catalogue import CATALOGUE
from collector.reconcile import Kind
from collector.reconcile.causes import CAUSES
from collector.records import BROKER, CONSOLE, DATABASE, FILE, PORTAL, TAP
from collector.reports import plan
from collector.reports.quality import compared_tables, flags_table
from collector.reports.report import Report
from collector.reports.spelling import Spelling
from collector.reports.words import LANGUAGES, WORDS
from tests.conftest import ROOT

ROOM = ROOT / "collector" / "reports"
CHINESE = re.compile("[\u4e00-\u9fff]")
SAME_IN_BOTH = frozenset({"value.app_mode.agent-chat", "name.theirs"})


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("key", WORDS)
def test_a_key_says_the_same_in_both(key: str):
    english, chinese = WORDS[key]
    assert english.strip()
    assert chinese.strip()
    assert fields(english) == fields(chinese)
    assert not CHINESE.search(english)
    assert CHINESE.search(chinese) or key in SAME_IN_BOTH or english == chinese == "–" or "Token" in chinese


def wanted() -> Iterator[str]:
    """Every key that code, templates and the plan ask for."""
    for file in [*ROOM.rglob("*.py"), *ROOM.rglob("*.html"), *(ROOT / "collector" / "report_post").glob("*.py")]:
        yield from re.findall(r"""\b(?:t|word)\(\s*["']([a-z_.]+)["']\s*[,)]""", file.read_text())
        yield from (f"foot.{name}" for name in re.findall(r"""dash\(.*, "(\w+)"\)""", file.read_text()))
    yield from (f"section.{name}" for name in plan.SECTIONS)
    yield from (f"chart.{drawn.name}" for charts in plan.CHARTS.values() for drawn in charts)
    yield from (f"table.{each.name}" for listings in plan.LISTINGS.values() for each in listings)
    yield "table.costs"
    yield from (f"table.{table.name}" for table in (*compared_tables([]), flags_table([])))
    yield from (f"note.{name}" for name in re.findall(r'Note\("(\w+)"', (ROOM / "making.py").read_text()))
    yield from (f"title.{kind}" for kind in ("day", "week", "month", "span"))
    yield from (f"value.kind.{kind}" for kind in Kind)
    yield from (f"value.error_class.{name}" for name in ERROR_CLASSES)
    yield from (f"value.source.{name}" for name in (CONSOLE, DATABASE, TAP, FILE, BROKER, PORTAL))


def test_every_key_that_is_wanted_is_there():
    keys = set(wanted())
    assert len(keys) > 80
    assert keys <= set(WORDS)


def test_no_key_is_there_for_nothing():
    dynamic = ("name.", "value.", "title.", "foot.", "note.")
    unwanted = {key for key in WORDS if not key.startswith(dynamic)} - set(wanted())
    assert not unwanted


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_name_of_a_report_is_called_something(week: Report, language: str):
    spelling = Spelling(language)
    names = {column.name for table in week.tables() for column in table.columns}
    names |= {figure.name for section in week.sections for figure in section.figures}
    names |= {line.name for chart in week.charts() for line in chart.lines}
    assert len(names) > 50
    for name in names:
        called = spelling.name(name)
        assert called
        if language == "zh" and name not in ("origin",):
            assert CHINESE.search(called) or "Token" in called or called == "Dify", name


@pytest.mark.parametrize("language", LANGUAGES)
def test_causes_and_flags_have_their_own_words(language: str):
    spelling = Spelling(language)
    flags = {flag.name for measure in CATALOGUE for flag in measure.flags}
    for unit, names in (("cause", CAUSES), ("believe", CAUSES), ("flag", flags)):
        for name in names:
            assert bool(CHINESE.search(spelling.value(name, unit))) == (language == "zh"), (unit, name)
