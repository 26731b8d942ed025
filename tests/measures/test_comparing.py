"""One period beside an earlier one: what stands there is what two questions would say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.errors import QueryError
from collector.period import Compare, Grain, Period, zone
from tests.builders import NOON, a_call, a_run, an_app
from tests.measures.facts import Facts, period
from tests.measures.test_sums import ZONES, happenings, put, quickly

NOVEMBER = period(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))


def runs_at(facts: Facts, *instants: datetime, app: str = "shop") -> None:
    facts.put(*(a_run(id=f"{app}{place}", app_id=app, created_at=at) for place, at in enumerate(instants)))


def test_beside_a_number_stand_what_it_was_and_how_it_grew(facts):
    yesterday = NOON - timedelta(days=1)
    runs_at(facts, NOON, NOON, NOON, yesterday, yesterday)

    answer = facts.ask("runs", compare="previous")

    assert answer.rows == [{"runs": 3, "runs_before": 2, "runs_change": 0.5}]
    assert answer.columns == ("runs", "runs_before", "runs_change")
    assert answer.units == {"runs": "runs", "runs_before": "runs", "runs_change": "ratio"}
    assert answer.plain()["compared"] == {
        "compare": "previous",
        "since": "2026-11-19T00:00:00+00:00",
        "until": "2026-11-20T00:00:00+00:00",
        "flags": {},
    }


def test_growth_from_nothing_is_not_known(facts):
    runs_at(facts, NOON)

    assert facts.ask("runs,response_time_p50", compare="previous").rows == [
        {
            "runs": 1,
            "runs_before": 0,
            "runs_change": None,
            "response_time_p50": None,
            "response_time_p50_before": None,
            "response_time_p50_change": None,
        }
    ]


def test_who_was_there_then_and_is_not_now_is_shown(facts):
    runs_at(facts, NOON)
    runs_at(facts, NOON - timedelta(days=7), app="gone")

    rows = facts.ask("runs", by="app", compare="last_week").rows

    assert [(row["app_id"], row["runs"], row["runs_before"]) for row in rows] == [("gone", 0, 1), ("shop", 1, 0)]


def test_money_grows_in_its_currency(facts):
    facts.put(a_call(cost=Decimal("0.3")), a_call(id="n2", cost=Decimal("0.2"), created_at=NOON - timedelta(days=1)))

    (row,) = facts.ask("cost", compare="previous").rows

    assert row == {"currency": "USD", "cost": Decimal("0.3"), "cost_before": Decimal("0.2"), "cost_change": 0.5}


def test_instants_do_not_grow_and_what_is_of_now_was_not_looked_at_then(facts):
    facts.put(an_app(), a_run(status="running", is_final=False))

    assert facts.ask("oldest_running_run", compare="previous").columns == (
        "oldest_running_run",
        "oldest_running_run_before",
    )
    (row,) = facts.ask("apps", compare="previous").rows
    assert row == {"apps": 1, "apps_before": None, "apps_change": None}


def test_the_first_day_lies_beside_the_first_day(facts):
    runs_at(facts, *(datetime(2026, 11, day, 12, tzinfo=UTC) for day in (1, 2, 2, 30)))
    runs_at(facts, *(datetime(2026, 10, day, 12, tzinfo=UTC) for day in (2, 30, 31, 31)), app="october")

    answer = facts.ask("runs", period=NOVEMBER, grain="day", compare="last_month")

    assert [(row["time"].day, row["runs"], row["runs_before"]) for row in answer.rows] == [
        (1, 1, 0),
        (2, 2, 1),
        (30, 1, 1),
    ]
    assert answer.compared is not None
    assert answer.compared.flags == {"steps_left_out": 1}


def test_a_step_that_the_earlier_period_does_not_have_is_not_known_there(facts):
    december = period(datetime(2026, 12, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
    runs_at(facts, datetime(2026, 12, 30, tzinfo=UTC), datetime(2026, 12, 31, tzinfo=UTC))

    rows = facts.ask("runs", period=december, grain="day", compare="previous").rows

    assert [row["runs_before"] for row in rows] == [0, None]


def test_a_period_that_goes_on_is_compared_as_far_as_it_has_come(facts):
    runs_at(facts, *(datetime(2026, 10, day, tzinfo=UTC) for day in (3, 19, 21)))

    answer = facts.ask("runs", period=NOVEMBER, compare="previous", now=NOON)

    assert answer.rows[0]["runs_before"] == 2
    assert answer.compared is not None
    assert answer.compared.period.end == datetime(2026, 10, 20, 12, tzinfo=UTC)


def test_rows_may_be_sorted_by_growth(facts):
    runs_at(facts, NOON, NOON - timedelta(days=1))
    runs_at(facts, NOON, NOON, NOON - timedelta(days=1), app="helpdesk")
    runs_at(facts, NOON, app="new")

    rows = facts.ask("runs", by="app", compare="previous", order="-runs_change").rows

    assert [row["app_id"] for row in rows] == ["helpdesk", "shop", "new"]


def test_the_rest_and_the_whole_are_compared_too(facts):
    for place, app in enumerate(("a", "b", "c")):
        runs_at(facts, *[NOON] * (3 - place), NOON - timedelta(days=1), app=app)

    answer = facts.ask("runs", by="app", top=1, other=True, totals=True, compare="previous")

    assert answer.rows == [{"app_id": "a", "runs": 3, "runs_before": 1, "runs_change": 2.0}]
    assert answer.other == [{"app_id": None, "runs": 3, "runs_before": 2, "runs_change": 0.5}]
    assert answer.totals == [{"app_id": None, "runs": 6, "runs_before": 3, "runs_change": 1.0}]


def test_an_unknown_comparison_is_told_which_there_are(facts):
    with pytest.raises(QueryError, match="last_week") as caught:
        facts.ask("runs", compare="yesterday")

    assert (caught.value.field, "last_year" in caught.value.choices) == ("compare", True)


def test_a_minute_by_minute_century_is_not_compared(facts):
    long = period(datetime(1990, 1, 1, tzinfo=UTC), NOON)
    with pytest.raises(QueryError, match="more than") as caught:
        facts.ask("runs", period=long, grain="minute", compare="previous")

    assert (caught.value.field, caught.value.remedy) == ("compare", "take a coarser grain or a shorter period")


@pytest.mark.parametrize(
    ("compare", "since", "until"),
    [
        ("previous", "2026-02-01", "2026-03-01"),
        ("last_week", "2026-02-22", "2026-03-25"),
        ("last_month", "2026-02-01", "2026-03-01"),
        ("last_year", "2025-03-01", "2025-04-01"),
    ],
)
@pytest.mark.parametrize("tz", ["Asia/Shanghai", "Europe/Berlin"])
def test_earlier_periods_are_whole_days_of_the_zone(compare, since, until, tz):
    def days(since: str, until: str) -> Period:
        first, last = (Period.parse(since=day, tz=tz, now=NOON).start for day in (since, until))
        return Period(first, last, zone(tz))

    assert days("2026-03-01", "2026-04-01").earlier(Compare(compare)) == days(since, until)


def test_a_day_that_a_month_does_not_have_is_its_last(facts):
    march = period(datetime(2026, 3, 31, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC))
    leap = period(datetime(2028, 2, 29, tzinfo=UTC), datetime(2028, 3, 1, tzinfo=UTC))

    assert march.earlier(Compare.LAST_MONTH).start == datetime(2026, 2, 28, tzinfo=UTC)
    assert leap.earlier(Compare.LAST_YEAR).start == datetime(2027, 2, 28, tzinfo=UTC)


@quickly
@given(
    happened=happenings,
    tz=st.sampled_from(ZONES),
    grain=st.sampled_from(Grain),
    compare=st.sampled_from(Compare),
    by=st.sampled_from(["", "app", "status"]),
    days=st.integers(1, 30),
    now=st.none() | st.datetimes(datetime(2026, 10, 20), datetime(2026, 11, 20), timezones=st.just(UTC)),
)
def test_a_comparison_is_two_questions(facts, happened, tz, grain, compare, by, days, now):
    put(facts, happened)
    asked = {"grain": grain, "by": by, "now": now}
    whole = Period.parse(since=f"{days}d", until="2026-11-10", tz=tz, now=NOON)

    answer = facts.ask("runs,tokens,run_elapsed_mean", period=whole, compare=compare, **asked)

    assert answer.compared is not None
    then = facts.ask("runs,tokens,run_elapsed_mean", period=answer.compared.period, **asked)
    if grain is Grain.NONE:
        beside = {None: None}
    else:
        steps = zip(whole.steps(grain), answer.compared.period.steps(grain), strict=False)
        beside = {whole.local(now): then for now, then in steps}
    found = {_key(row, beside): row for row in answer.rows}
    for row in then.rows:
        key = tuple(row[name] for name in then.columns[:-3])
        if grain is not Grain.NONE and key[0] not in beside.values():
            continue
        for measure in ("runs", "tokens", "run_elapsed_mean"):
            assert found[key][f"{measure}_before"] == row[measure]
    alone = facts.ask("runs,tokens,run_elapsed_mean", period=whole, **asked)
    assert [{name: row[name] for name in alone.columns} for row in answer.rows if _is_of_now(row, alone)] == alone.rows


def _key(row, beside):
    names = [name for name in ("time", "app_id", "status") if name in row]
    return tuple(beside.get(row[name]) if name == "time" else row[name] for name in names)


def _is_of_now(row, alone):
    names = [name for name in ("time", "app_id", "status") if name in row]
    return any(all(row[name] == each[name] for name in names) for each in alone.rows)
