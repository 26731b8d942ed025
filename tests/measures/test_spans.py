"""Sets of time, and the sources of a query: together they hold every instant exactly once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.measures.ask import Moment, Query
from collector.measures.fragments import columns_of, conjuncts
from collector.measures.sources import State, sources
from collector.measures.spans import Spans, both, fewer, steps, together, whole_steps, without
from collector.period import Period, zone
from collector.records import ModelCall
from collector.rollups import ROLLUPS, Level
from tests.builders import NOON

RUNS = ROLLUPS[0]
DAY = timedelta(days=1)


def at(minute: int) -> datetime:
    return NOON + timedelta(minutes=minute)


def minutes(spans: Spans) -> set[datetime]:
    """The minutes of two days that are in the spans."""
    return {at(minute) for minute in range(-60, 3000) if any(a <= at(minute) < b for a, b in spans)}


some = st.lists(st.tuples(st.integers(0, 2880), st.integers(0, 400)), max_size=6).map(
    lambda pairs: together((at(start), at(start + length)) for start, length in pairs)
)


@given(some, some)
def test_sets_of_time_are_sets(one, other):
    assert minutes(both(one, other)) == minutes(one) & minutes(other)
    assert minutes(without(one, other)) == minutes(one) - minutes(other)
    assert minutes(together((*one, *other))) == minutes(one) | minutes(other)


@given(some, st.sampled_from(Level))
def test_whole_steps_lie_inside(spans, level):
    found = whole_steps(spans, level)

    assert without(found, spans) == ()
    assert all(level.start(edge) == edge for span in found for edge in span)
    assert whole_steps(without(spans, found), level) == ()


@given(some, st.integers(1, 4), some)
def test_fewer_spans_hold_more_and_never_what_they_must_not(spans, most, never):
    never = without(never, spans)
    found = fewer(spans, most, never)

    assert without(spans, found) == ()
    assert both(found, never) == ()
    assert never or len(found) <= most


dirty = st.lists(st.integers(0, 2880 // 15), max_size=8).map(lambda numbers: [at(15 * number) for number in numbers])


@given(
    quarters=dirty,
    others=dirty,
    period=st.tuples(st.integers(0, 2880), st.integers(0, 2880)).map(sorted),
    moment=st.sampled_from(Moment),
    begun=st.integers(0, 2879),
    ended=st.integers(0, 2879),
)
def test_every_fact_is_in_one_source(quarters, others, period, moment, begun, ended):
    marks = {
        (RUNS.facts, Level.QUARTER): steps(quarters, Level.QUARTER),
        (RUNS.facts, Level.HOUR): steps([Level.HOUR.start(each) for each in (*quarters, *others)], Level.HOUR),
        (RUNS.facts, Level.DAY): steps([Level.DAY.start(each) for each in others], Level.DAY),
    }
    query = Query.of("runs", period=Period(at(period[0]), at(period[1]), zone("UTC")), moment=moment)
    counted = at(begun) if moment is Moment.CREATED else at(ended)

    holding = [
        source.level
        for source in sources(query, RUNS, tuple(Level), State(frozenset({RUNS.facts}), marks))
        for began, until in source.pieces
        if began
        and within(began, at(begun), source.level)
        and (until is None or within(until, at(ended), source.level))
    ]

    assert len(holding) == (counted in query.period)


def within(spans: Spans, instant: datetime, level: Level | None) -> bool:
    """Whether a row of that level would be read: it stands at the start of its step."""
    instant = level.start(instant) if level else instant
    return any(start <= instant < end for start, end in spans)


def test_a_query_by_minutes_is_of_facts_alone():
    query = Query.of("runs", period=Period(NOON, NOON + DAY, zone("UTC")), grain="minute")

    (source,) = sources(query, RUNS, tuple(Level), State(frozenset({RUNS.facts})))

    assert source.level is None


@pytest.mark.parametrize(
    ("tz", "grain", "longest"),
    [
        ("UTC", "day", Level.DAY),
        ("UTC", "hour", Level.HOUR),
        ("Asia/Shanghai", "none", Level.DAY),
        ("Asia/Shanghai", "day", Level.SHIFT),
        ("Europe/Berlin", "day", Level.HOUR),
        ("Asia/Kathmandu", "month", Level.QUARTER),
        ("UTC", "15m", Level.QUARTER),
    ],
)
def test_steps_of_a_rollup_fit_into_those_of_the_query(tz, grain, longest):
    period = Period(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 9, tzinfo=UTC), zone(tz))

    found = sources(Query.of("runs", period=period, grain=grain), RUNS, tuple(Level), State(frozenset({RUNS.facts})))

    assert found[0].level is longest


@pytest.mark.parametrize(
    ("fragment", "parts"),
    [
        ("TRUE", set()),
        ("(a.x = 1 AND b.y) AND (c.z)", {"a.x = 1", "b.y", "c.z"}),
        ("(a.x OR a.y) AND NOT a.z", {"a.x OR a.y", "NOT a.z"}),
        ("a.x OR a.y AND a.z", {"a.x OR a.y AND a.z"}),
        ("a.x BETWEEN 1 AND 2 AND a.y", {"a.x BETWEEN 1 AND 2", "a.y"}),
        ("CASE WHEN a.x AND a.y THEN 1 END AND a.z = ' AND '", {"CASE WHEN a.x AND a.y THEN 1 END", "a.z = ' AND '"}),
        ("(a.x) IS NOT NULL", {"(a.x) IS NOT NULL"}),
    ],
)
def test_conditions_are_told_apart(fragment, parts):
    assert conjuncts(fragment) == parts


def test_the_columns_of_a_fragment_are_those_of_its_own_table():
    fragment = "LEFT JOIN app ON app.id = model_call.app_id AND 'model_call.x' = coalesce(model_call.tokens, 0)"

    assert columns_of(fragment, ModelCall) == {"app_id", "tokens"}
