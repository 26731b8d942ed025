"""Conditions that all measures of a statement have are said once; what each asks beside them stays with it."""

from __future__ import annotations

from collector.measures.in_common import in_common
from collector.measures.measure import Measure, count
from collector.records import Run


def counted(where: str) -> Measure:
    return count("some", Run, where=where, unit="runs", title="Some", title_zh="若干", help="Some runs.")


def wheres(*asked: str) -> tuple[tuple[str, ...], list[str]]:
    shared, measures = in_common(tuple(map(counted, asked)))
    return shared, [each.where for each in measures]


def test_what_all_ask_is_said_once():
    shared, own = wheres(
        "is_final AND NOT is_debug AND status = 'failed'", "(is_final) AND NOT is_debug", "NOT is_debug"
    )
    assert shared == ("NOT run.is_debug",)
    assert own == ["(run.is_final) AND (run.status = 'failed')", "(run.is_final)", "TRUE"]


def test_what_is_the_same_or_has_nothing_in_common_stays_as_it_is():
    assert wheres("is_final", "is_final") == ((), ["run.is_final", "run.is_final"])
    assert wheres("is_final", "TRUE") == ((), ["run.is_final", "TRUE"])
    assert wheres("is_final OR is_debug", "is_final") == ((), ["run.is_final OR run.is_debug", "run.is_final"])
    assert wheres("status = 'failed'") == ((), ["run.status = 'failed'"])
