"""The rest of a top, the whole of a table, and pages of it."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.errors import QueryError
from collector.measures.paging import read_cursor
from collector.period import Grain, Period, zone
from tests.builders import NOON, a_call, a_message, a_run
from tests.measures.facts import Facts, period
from tests.measures.test_sums import OCTOBER, ZONES, happenings, put, quickly, summed


def test_what_top_leaves_out_is_summed_where_it_adds_up(facts):
    facts.put(*(a_run(id=f"a{n}", app_id="a") for n in range(3)), a_run(id="b1", app_id="b", status="failed"))
    facts.put(a_run(id="c1", app_id="c", elapsed_seconds=9.0))

    answer = facts.ask("runs,failed_runs,run_failure_ratio,run_elapsed_p95,active_users", by="app", top=1, other=True)

    assert [row["app_id"] for row in answer.rows] == ["a"]
    assert answer.other == [
        {
            "app_id": None,
            "runs": 2,
            "failed_runs": 1,
            "run_failure_ratio": 0.5,
            "run_elapsed_p95": None,
            "active_users": None,
        }
    ]
    assert answer.flags == {"groups_left_out": 2}


def test_the_rest_is_summed_for_each_step_and_currency(facts):
    later = NOON + timedelta(hours=1)
    facts.put(a_call(id="1", app_id="a", cost=Decimal(9)), a_call(id="2", app_id="b", cost=Decimal(1)))
    facts.put(
        a_call(id="3", app_id="c", cost=Decimal(2), created_at=later), a_call(id="4", app_id="c", cost=Decimal(3))
    )
    facts.put(a_call(id="5", app_id="b", cost=Decimal(4), currency="CNY"), a_call(id="6", app_id="a", currency="CNY"))

    other = facts.ask("cost", by="app", grain="hour", top=1, other=True).other

    assert [(row["time"].hour, row["app_id"], row["currency"], row["cost"]) for row in other or []] == [
        (12, None, "CNY", Decimal("0.0001")),
        (12, None, "USD", Decimal(4)),
        (13, None, "USD", Decimal(2)),
    ]


def test_the_rest_of_nothing_is_nothing(facts):
    facts.put(a_run())

    assert facts.ask("runs", by="app", top=5, other=True).other == []


def test_totals_are_of_the_whole_period_and_everybody(facts):
    facts.put(a_run(), a_run(id="r2", app_id="b", created_at=NOON - timedelta(hours=3)), a_message())

    answer = facts.ask("runs,active_users", by="app", grain="hour", top=1, limit=1, totals=True)

    assert answer.totals == [{"time": None, "app_id": None, "runs": 2, "active_users": 1}]


def test_totals_stand_in_json(facts):
    facts.put(a_call())

    told = facts.ask("cost", totals=True).plain()

    assert told["totals"] == [{"currency": "USD", "cost": "0.000100000"}]
    assert "other" not in told
    assert "next_cursor" not in told


def test_filled_steps_may_stay_empty(facts):
    facts.put(a_run())
    two_hours = period(NOON, NOON + timedelta(hours=2))

    rows = facts.ask("runs,run_failure_ratio,request_rate", grain="hour", fill="null", period=two_hours).rows

    assert [row["runs"] for row in rows] == [1, None]
    assert rows[1] == {"time": NOON + timedelta(hours=1), "runs": None, "run_failure_ratio": None, "request_rate": None}


# -- pages


def pages(facts: Facts, measures: str, **asked) -> list[list[dict[str, object]]]:
    """All pages of an answer, each asked for with the cursor of the one before."""
    found, after = [], None
    while True:
        answer = facts.ask(measures, after=after, **asked)
        found.append(answer.rows)
        if answer.next_cursor is None:
            return found
        after = read_cursor(answer.next_cursor).after


@quickly
@given(
    happened=happenings,
    tz=st.sampled_from(ZONES),
    grain=st.sampled_from([Grain.NONE, Grain.HOUR, Grain.DAY]),
    order=st.sampled_from(["", "-tokens", "runs,-app", "-time,runs", "run_failure_ratio", "-run_elapsed_mean"]),
    limit=st.integers(1, 7),
    compare=st.sampled_from(["", "last_week"]),
)
def test_pages_put_together_are_the_answer(facts, happened, tz, grain, order, limit, compare):
    put(facts, happened)
    order = order.replace("-time,", "") if grain is Grain.NONE else order
    asked = {"by": "app", "grain": grain, "order": order, "compare": compare, "period": Period(*OCTOBER, zone(tz))}
    measures = "runs,tokens,run_failure_ratio,run_elapsed_mean"

    found = pages(facts, measures, limit=limit, **asked)

    assert [row for page in found for row in page] == facts.ask(measures, **asked).rows
    assert all(len(page) == limit for page in found[:-1])


def test_pages_of_money_and_instants(facts):
    facts.put(*(a_call(id=f"n{n}", app_id=f"a{n}", cost=Decimal(n)) for n in range(3)))
    facts.put(*(a_run(id=f"r{n}", app_id=f"a{n}", status="running", is_final=False) for n in range(3)))

    assert [len(page) for page in pages(facts, "cost", by="app", order="-cost", limit=2)] == [2, 1]
    oldest = pages(facts, "oldest_running_run", by="app", order="oldest_running_run", limit=1)
    assert [len(page) for page in oldest] == [1, 1, 1]


def test_what_comes_in_between_moves_no_row_over_the_edge(facts):
    facts.put(*(a_run(id=f"r{n}", app_id=f"app{n}") for n in (1, 3, 5)))
    first = facts.ask("runs", by="app", limit=2)
    facts.put(a_run(id="r0", app_id="app0"), a_run(id="r4", app_id="app4"))

    after = read_cursor(str(first.next_cursor)).after
    assert [row["app_id"] for row in facts.ask("runs", by="app", limit=9, after=after).rows] == ["app4", "app5"]


def test_a_row_that_has_grown_is_not_shown_again(facts):
    facts.put(a_run(app_id="a"), a_run(id="r2", app_id="a"), a_run(id="r3", app_id="b"))
    first = facts.ask("runs", by="app", order="runs", limit=1)
    facts.put(*(a_run(id=f"b{n}", app_id="b") for n in range(5)))

    after = read_cursor(str(first.next_cursor)).after
    assert [row["app_id"] for row in facts.ask("runs", by="app", order="runs", limit=1, after=after).rows] == ["a"]


def test_a_cursor_is_of_its_question(facts):
    facts.put(a_run(), a_run(id="r2", app_id="b"))
    after = read_cursor(str(facts.ask("runs", by="app", limit=1).next_cursor)).after

    with pytest.raises(QueryError, match="another question") as caught:
        facts.ask("runs", by="status", after=after)

    assert (caught.value.field, bool(caught.value.remedy)) == ("cursor", True)


def test_a_cursor_holds_the_period_and_the_instant(facts):
    facts.put(a_run(), a_run(id="r2", app_id="b"))

    cursor = read_cursor(str(facts.ask("runs", by="app", limit=1, now=NOON).next_cursor))

    assert (cursor.now, cursor.until.tzinfo) == (NOON, UTC)


@given(written=st.text(max_size=40) | st.binary(max_size=60).map(lambda raw: raw.decode("latin-1")))
def test_anything_else_is_no_cursor(written):
    with pytest.raises(QueryError) as caught:
        read_cursor(written)

    assert caught.value.field == "cursor"


# -- what sums promise


@quickly
@given(
    happened=happenings,
    grain=st.sampled_from(Grain),
    top=st.integers(1, 3),
    measures=st.sampled_from(["runs,messages,tokens", "cost"]),
)
def test_the_top_and_the_rest_are_the_whole(facts, happened, grain, top, measures):
    put(facts, happened)
    month = Period(*OCTOBER, zone("Asia/Kathmandu"))

    whole = facts.ask(measures, period=month)
    answer = facts.ask(measures, by="app", grain=grain, top=top, other=True, period=month)

    answer.rows.extend(answer.other or [])
    assert summed(answer) == pytest.approx(summed(whole))


@quickly
@given(happened=happenings, grain=st.sampled_from(Grain), by=st.sampled_from(["app", "app,source", "is_debug"]))
def test_totals_are_the_question_without_by(facts, happened, grain, by):
    put(facts, happened)
    month = Period(*OCTOBER, zone("America/Havana"))
    measures = "runs,tokens,active_users,run_failure_ratio,run_elapsed_p95,request_rate"
    measures = measures.replace("active_users,", "").replace(",request_rate", "") if by == "is_debug" else measures

    totals = facts.ask(measures, by=by, grain=grain, totals=True, top=1, period=month).totals
    whole = facts.ask(measures, period=month, include_debug=by == "is_debug").rows

    assert [{name: row[name] for name in whole[0]} for row in totals or []] == whole


@quickly
@given(
    happened=happenings,
    tz=st.sampled_from(ZONES),
    finer=st.sampled_from([Grain.MINUTE, Grain.QUARTER_HOUR, Grain.HOUR, Grain.DAY]),
    coarser=st.sampled_from([Grain.DAY, Grain.MONTH, Grain.YEAR]),
)
def test_a_finer_grain_put_together_is_the_coarser_one(facts, happened, tz, finer, coarser):
    put(facts, happened)
    month = Period(*OCTOBER, zone(tz))

    coarse = {row["time"]: row["tokens"] for row in facts.ask("tokens", grain=coarser, period=month).rows}

    starts = [month.local(step) for step in month.steps(coarser)]
    together: Counter[object] = Counter()
    for row in facts.ask("tokens", grain=finer, period=month).rows:
        together[max(start for start in starts if start <= row["time"])] += row["tokens"] or 0
    assert {step: tokens for step, tokens in together.items() if tokens} == {s: t for s, t in coarse.items() if t}
