"""What the numbers promise: parts sum to the whole, and a step holds what the calendar says it holds."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector.measures.catalogue import CATALOGUE
from collector.measures.query import Answer
from collector.period import Grain, Period, floor, zone
from tests.builders import a_call, a_conversation, a_feedback, a_message, a_node, a_run
from tests.measures.facts import Facts

ZONES = ("Europe/Berlin", "America/Havana", "Asia/Kathmandu", "Australia/Lord_Howe")
OCTOBER = (datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 10, tzinfo=UTC))  # three of the zones change clocks
ADDING = [m.name for m in CATALOGUE if m.adds_up and m.at is not None and not m.always_by]
ENDS = ("runs", "tokens", "s")
SPLITS = {measure.name: {dimension.name for dimension in measure.by} for measure in CATALOGUE}

instants = st.datetimes(OCTOBER[0].replace(tzinfo=None), OCTOBER[1].replace(tzinfo=None), timezones=st.just(UTC))
apps = st.sampled_from(["shop", "helpdesk", None])
happenings = st.lists(st.tuples(instants, apps, st.integers(0, 5000)), max_size=25)
quickly = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def put(facts: Facts, happened: list[tuple[datetime, str | None, int]]) -> None:
    """A fact of every kind for each thing that happened."""
    facts.clear()
    for n, (at, app, size) in enumerate(happened):
        common = {"app_id": app, "created_at": at, "is_debug": size % 7 == 0}
        ended = {"status": ["succeeded", "failed"][size % 2]}
        spent = {"tokens": size, "cost": Decimal(size) / 1000, "currency": ["USD", "CNY"][size % 2]}
        facts.put(
            a_run(id=f"r{n}", user_id=f"u{size % 3}", elapsed_seconds=size / 10, **ended, **common),
            a_node(id=f"n{n}", **ended, **common),
            a_call(id=f"n{n}", **spent, **ended, **common),
            a_message(id=f"m{n}", user_id=f"u{size % 4}", conversation_id=f"c{size % 5}", **ended, **common),
            a_conversation(id=f"c{n}", **common),
            a_feedback(id=f"m{n}/user", message_id=f"m{n}", app_id=app, created_at=at),
        )


def put_runs(facts: Facts, happened: list[tuple[datetime, str | None, int]]) -> None:
    facts.clear()
    facts.put(*(a_run(id=f"r{n}", created_at=at) for n, (at, _, _) in enumerate(happened)))


def summed(answer: Answer) -> dict[tuple[str, object], object]:
    """(measure, currency) -> the sum of its column, without what is zero or not known."""
    found: dict[tuple[str, object], object] = {}
    for row in answer.rows:
        for measure in answer.units:
            key = (measure, row.get("currency"))
            found[key] = found.get(key, 0) + (row[measure] or 0)
    return {key: value for key, value in found.items() if value}


@quickly
@given(
    happened=happenings,
    tz=st.sampled_from(ZONES),
    grain=st.sampled_from(Grain),
    by=st.sampled_from(["", "app", "status", "app,source"]),
    measures=st.sampled_from([["cost"], *([name for name in ADDING if name.endswith(end)] for end in ENDS)]),
)
def test_parts_add_up_to_the_whole(facts, happened, tz, grain, by, measures):
    put(facts, happened)
    period = Period(*OCTOBER, zone(tz))
    measures = [name for name in measures if all(each in {*SPLITS[name], "app"} for each in by.split(",") if each)]

    whole = facts.ask(measures, period=period)
    parts = facts.ask(measures, period=period, grain=grain, by=by)

    assert summed(parts) == pytest.approx(summed(whole))


@quickly
@given(happened=happenings, tz=st.sampled_from(ZONES), grain=st.sampled_from([*Grain][1:]))
def test_a_step_holds_what_the_calendar_says(facts, happened, tz, grain):
    put_runs(facts, happened)
    period = Period(*OCTOBER, zone(tz))

    rows = facts.ask("runs", period=period, grain=grain).rows

    expected = Counter(floor(at, grain, period.zone) for at, _, _ in happened if at in period)
    assert [(row["time"], row["runs"]) for row in rows] == sorted(expected.items())


@quickly
@given(happened=happenings, tz=st.sampled_from(ZONES))
def test_every_filled_step_is_one_of_the_period(facts, happened, tz):
    put_runs(facts, happened)
    period = Period(*OCTOBER, zone(tz))

    rows = facts.ask("runs", period=period, grain="day", fill="zero").rows

    assert [row["time"] for row in rows] == period.steps(Grain.DAY)


@quickly
@given(happened=happenings)
def test_users_of_the_whole_are_no_more_than_those_of_the_parts(facts, happened):
    put(facts, happened)
    period = Period(*OCTOBER, zone("UTC"))

    whole = facts.value("active_users", period=period)
    by_day = [row["active_users"] for row in facts.ask("active_users", period=period, grain="day").rows]

    assert whole == len(
        {f"u{size % 3}" for at, _, size in happened if at in period and size % 7}
        | {f"u{size % 4}" for at, _, size in happened if at in period and size % 7}
    )
    assert max(by_day, default=0) <= whole <= sum(by_day)


@quickly
@given(happened=happenings, offset=st.integers(0, 40 * 24 * 60))
def test_a_period_cut_in_two_counts_each_fact_once(facts, happened, offset):
    put(facts, happened)
    start, end = OCTOBER
    middle = start + timedelta(minutes=offset)

    halves = [facts.value("runs", period=Period(*each, zone("UTC"))) for each in ((start, middle), (middle, end))]

    assert sum(halves) == facts.value("runs", period=Period(start, end, zone("UTC")))
