from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from collector.errors import QueryError
from collector.measures import groups, reading
from tests.builders import NOON, a_call, a_message, a_run, an_app
from tests.measures.facts import DAY, period

MORNING = NOON.replace(hour=0)


def test_a_period_is_half_open(facts):
    facts.put(a_run(created_at=DAY.start), a_run(id="r2", created_at=DAY.end))

    assert facts.value("runs") == 1


def test_days_are_local(facts):
    facts.put(
        a_run(created_at=MORNING.replace(hour=15, minute=59)), a_run(id="r2", created_at=MORNING.replace(hour=16))
    )
    shanghai = period(DAY.start, DAY.end, "Asia/Shanghai")

    rows = facts.ask("runs", grain="day", period=shanghai).rows

    assert rows == [
        {"time": datetime(2026, 11, 20, tzinfo=ZoneInfo("Asia/Shanghai")), "runs": 1},
        {"time": datetime(2026, 11, 21, tzinfo=ZoneInfo("Asia/Shanghai")), "runs": 1},
    ]


def test_hours_are_cut_in_utc_and_shown_in_the_zone(facts):
    facts.put(a_run(created_at=NOON.replace(minute=20)))

    (row,) = facts.ask("runs", grain="hour", period=period(DAY.start, DAY.end, "Asia/Kathmandu")).rows

    assert row["time"].isoformat() == "2026-11-20T17:45:00+05:45"


def test_weeks_start_on_monday(facts):
    facts.put(a_run())  # a Friday

    (row,) = facts.ask("runs", grain="week").rows

    assert row["time"].isoformat() == "2026-11-16T00:00:00+00:00"


def test_measures_of_several_tables_stand_in_one_row(facts):
    facts.put(a_run(), a_message(), a_call(), a_call(id="m1", app_id="helpdesk", tokens=5))

    assert facts.ask("runs,messages,tokens,active_users", by="app").rows == [
        {"app_id": "helpdesk", "runs": 0, "messages": 1, "tokens": 5, "active_users": 1},
        {"app_id": "shop", "runs": 1, "messages": 0, "tokens": 100, "active_users": 1},
    ]


def test_rows_come_by_time_and_then_by_name(facts):
    facts.put(a_run(app_id="b"), a_run(id="r2", app_id="a"), a_run(id="r3", app_id=None))
    facts.put(a_run(id="r4", app_id="b", created_at=NOON - timedelta(hours=1)))

    rows = facts.ask("runs", by="app", grain="hour").rows

    assert [(row["time"].hour, row["app_id"]) for row in rows] == [(11, "b"), (12, "a"), (12, "b"), (12, None)]


def test_rows_come_as_ordered_and_the_unknown_last(facts):
    facts.put(a_call(model_name="a", tokens=1), a_call(id="n2", model_name="b", tokens=2))
    facts.put(a_call(id="n3", model_name="c", tokens=None))

    assert [row["model_name"] for row in facts.ask("tokens", by="model", order="-tokens").rows] == ["b", "a", "c"]
    assert [row["model_name"] for row in facts.ask("tokens", by="model", order="tokens").rows] == ["a", "b", "c"]
    assert [row["model_name"] for row in facts.ask("tokens", by="model", order="-model").rows] == ["c", "b", "a"]


def test_a_limit_says_what_it_left_out(facts):
    facts.put(*(a_run(id=f"r{n}", app_id=f"app{n}") for n in range(5)))

    answer = facts.ask("runs", by="app", limit=2)

    assert [row["app_id"] for row in answer.rows] == ["app0", "app1"]
    assert answer.flags == {"rows_left_out": 3}


def test_the_top_is_of_the_whole_period(facts):
    early = NOON - timedelta(hours=2)
    facts.put(a_run(app_id="a", created_at=early), a_run(id="r2", app_id="a"), a_run(id="r3", app_id="b"))
    facts.put(*(a_run(id=f"c{n}", app_id="c", created_at=early) for n in range(3)))

    answer = facts.ask("runs", by="app", grain="hour", top=2)

    assert [(row["time"].hour, row["app_id"], row["runs"]) for row in answer.rows] == [
        (10, "a", 1),
        (10, "c", 3),
        (12, "a", 1),
    ]
    assert answer.flags == {"groups_left_out": 1}
    assert [row["app_id"] for row in facts.ask("runs", by="app", top=2).rows] == ["c", "a"]


def test_the_top_of_money_is_of_each_currency(facts):
    facts.put(a_call(app_id="a", cost=Decimal(9)), a_call(id="n2", app_id="b", cost=Decimal(5)))
    facts.put(a_call(id="n3", app_id="a", cost=Decimal(1), currency="CNY"))

    rows = facts.ask("cost", by="app", top=1).rows

    assert [(row["app_id"], row["currency"]) for row in rows] == [("a", "USD"), ("a", "CNY")]


def test_filled_steps_are_zero_where_zero_is_known(facts):
    facts.put(a_run(), a_call())
    two_hours = period(NOON, NOON + timedelta(hours=2))

    rows = facts.ask("runs,run_elapsed_mean,run_failure_ratio,tokens", grain="hour", fill="zero", period=two_hours).rows

    assert [row | {"time": row["time"].hour} for row in rows] == [
        {"time": 12, "runs": 1, "run_elapsed_mean": 2.0, "run_failure_ratio": 0.0, "tokens": 100},
        {"time": 13, "runs": 0, "run_elapsed_mean": None, "run_failure_ratio": None, "tokens": 0},
    ]


def test_no_time_spent_is_zero_seconds(facts):
    facts.put(a_call())
    two_hours = period(NOON, NOON + timedelta(hours=2))

    rows = facts.ask("generation_seconds", grain="hour", fill="zero", period=two_hours).rows

    assert [row["generation_seconds"] for row in rows] == [0.75, 0.0]
    assert isinstance(rows[1]["generation_seconds"], float)


def test_every_group_is_filled_and_money_stays_in_its_currency(facts):
    facts.put(a_call(), a_call(id="n2", created_at=NOON + timedelta(hours=1), cost=None, currency=None))
    two_hours = period(NOON, NOON + timedelta(hours=2))

    rows = facts.ask("cost", grain="hour", fill="zero", period=two_hours).rows

    assert [(row["time"].hour, row["currency"], row["cost"]) for row in rows] == [
        (12, "USD", Decimal("0.0001")),
        (12, None, None),
        (13, "USD", Decimal(0)),
        (13, None, None),
    ]


def test_the_future_is_not_filled(facts):
    rows = facts.ask("runs", grain="hour", fill="zero", now=NOON).rows

    assert [row["time"].hour for row in rows] == [*range(12)]


def test_a_filter_takes_any_of_its_values(facts):
    facts.put(a_run(app_id="a"), a_run(id="r2", app_id="b"), a_run(id="r3", app_id="c"), a_run(id="r4", app_id=None))

    assert facts.value("runs", where=["app:a", "app:b"]) == 2
    assert facts.value("runs", where={"app_id": ("a", "b")}) == 2
    assert facts.value("runs", where=["!app:a", "!app:b"]) == 2
    assert facts.value("runs", where=["app:"]) == 1
    assert facts.value("runs", where={"!app": None}) == 3
    assert facts.value("runs", where={"app": ["a", None]}) == 2


def test_a_filter_takes_values_with_colons_and_quotes(facts):
    facts.put(a_call(model_name="qwen2.5:14b"), a_call(id="n2", model_name="x' OR 'a'='a"))

    assert facts.value("model_calls", where=["model:qwen2.5:14b"]) == 1
    assert facts.value("model_calls", where=["model:x' OR 'a'='a"]) == 1


def test_filters_on_several_dimensions_all_hold(facts):
    facts.put(an_app(mode="workflow"), a_run(), a_run(id="r2", status="failed"), a_run(id="r3", app_id="other"))

    assert facts.value("runs", where=["mode:workflow", "status:succeeded"]) == 1


@pytest.mark.parametrize(
    ("field", "parts"),
    [
        ("measure", {"measures": ""}),
        ("measure", {"measures": "failed_run"}),
        ("by", {"by": "colour"}),
        ("by", {"by": "rating"}),
        ("where", {"where": ["rating:like"]}),
        ("where", {"where": ["shop"]}),
        ("where", {"where": ["is_debug:perhaps"]}),
        ("grain", {"grain": "fortnight"}),
        ("fill", {"fill": "one"}),
        ("order", {"order": "tokens"}),
        ("order", {"order": "time"}),
        ("limit", {"limit": 0}),
        ("top", {"top": -1}),
    ],
)
def test_a_question_without_an_answer_names_the_field(facts, field, parts):
    with pytest.raises(QueryError) as caught:
        facts.ask(parts.pop("measures", "runs"), **parts)

    assert caught.value.field == field


def test_an_answer_nobody_could_read_is_refused(facts, monkeypatch):
    facts.put(*(a_run(id=f"r{n}", app_id=f"app{n}") for n in range(5)))
    monkeypatch.setattr(reading, "MOST_GROUPS", 4)
    monkeypatch.setattr(groups, "MOST_GROUPS", 4)

    with pytest.raises(QueryError, match="more than 4 rows"):
        facts.ask("runs", by="app")
    with pytest.raises(QueryError, match="more than 4 rows"):
        facts.ask("runs", grain="minute", fill="zero")


def test_an_answer_in_plain_values(facts):
    facts.put(a_run())

    assert facts.ask("runs", by="app", grain="day").plain() == {
        "rows": [{"time": "2026-11-20T00:00:00+00:00", "app_id": "shop", "runs": 1}],
        "period": {"since": "2026-11-20T00:00:00+00:00", "until": "2026-11-21T00:00:00+00:00"},
        "timezone": "UTC",
        "grain": "day",
        "watermark": None,
        "flags": {},
        "units": {"runs": "runs"},
        "from": "facts",
    }


@pytest.mark.parametrize("apps", [("b", "a", "c"), ("c", "b", "a"), ("a", "c", "b")])
@pytest.mark.parametrize("grain", ["none", "hour"])
def test_of_groups_that_are_equal_the_first_by_name_are_the_top(facts, apps, grain):
    facts.put(*(a_run(id=app, app_id=app) for app in apps))

    answer = facts.ask("runs", by="app", top=2, grain=grain)

    assert [row["app_id"] for row in answer.rows] == ["a", "b"]
