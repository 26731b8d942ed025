"""Apps that exist, come, go and are used; calls of them; and the people who call."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from collector.errors import QueryError
from tests.builders import NOON, a_call, a_message, a_request, a_run, an_app
from tests.measures.facts import DAY, period

YESTERDAY = NOON - timedelta(days=1)


def test_apps_that_exist_are_in_use_or_idle(facts):
    facts.put(
        an_app(is_published=True), an_app(id="chat", mode="chat"), an_app(id="lab"), an_app(id="old", mode="chat")
    )
    facts.put(an_app(id="gone", deleted_at=NOON), an_app(id="later", created_at=DAY.end))
    facts.put(
        a_run(), a_message(app_id="chat"), a_run(id="r2", app_id="gone"), a_run(id="r3", app_id="lab", is_debug=True)
    )
    facts.put(a_message(id="m2", app_id="old", created_at=YESTERDAY))

    (row,) = facts.ask("apps,published_apps,active_apps,idle_apps,new_apps,deleted_apps,apps_seen").rows

    assert row == {
        "apps": 5,
        "published_apps": 1,
        "active_apps": 3,  # the one that is gone was in use
        "idle_apps": 2,  # of the test run nobody had a use; of the one made later nobody could have
        "new_apps": 5,
        "deleted_apps": 1,
        "apps_seen": 6,
    }
    assert facts.by("app_mode", "idle_apps") == {"workflow": 1, "chat": 1}


def test_apps_come_and_go_over_time(facts):
    facts.put(an_app(created_at=YESTERDAY, deleted_at=NOON), an_app(id="b"))
    two_days = period(DAY.start - timedelta(days=1), DAY.end)

    rows = facts.ask("new_apps,deleted_apps", grain="day", period=two_days).rows

    assert [(row["time"].day, row["new_apps"], row["deleted_apps"]) for row in rows] == [(19, 1, 0), (20, 1, 1)]


def test_when_apps_were_made_and_changed(facts):
    facts.put(an_app(updated_at=NOON), an_app(id="b", created_at=YESTERDAY, updated_at=YESTERDAY))

    assert facts.ask("app_created,app_updated").rows == [{"app_created": YESTERDAY, "app_updated": NOON}]


def test_a_call_counts_once_whatever_app_answers(facts):
    facts.put(an_app(), an_app(id="flow", mode="advanced-chat"), an_app(id="chat", mode="chat"))
    facts.put(a_run(), a_run(id="r2", status="partial-succeeded"), a_run(id="r3", status="stopped"))
    facts.put(a_run(id="r4", app_id="flow", status="failed"), a_message(id="m4", app_id="flow", run_id="r4"))
    facts.put(a_message(id="lost", app_id="flow", run_id=None))  # of a chatflow: its run is counted
    facts.put(a_message(app_id="chat"), a_message(id="m2", app_id="chat", status="failed"))
    facts.put(a_message(id="m3", app_id="chat", status="open", is_final=False))
    facts.put(a_run(id="r5", status="running", is_final=False))

    names = ("invocations", *(f"{end}_invocations" for end in ("succeeded", "failed", "stopped", "open")))
    rows = {row["app_id"]: [row[name] for name in names] for row in facts.ask(names, by="app").rows}

    assert rows == {"shop": [4, 2, 0, 1, 1], "flow": [1, 0, 1, 0, 0], "chat": [3, 1, 1, 0, 1]}
    assert facts.value("invocation_failure_ratio") == 2 / 8


def test_a_user_has_days_apps_and_a_first_and_a_last_time(facts):
    late = datetime(2026, 11, 19, 23, tzinfo=UTC)
    facts.put(a_run(), a_run(id="r2", created_at=late, app_id="b"), a_message(created_at=NOON + timedelta(hours=1)))
    facts.put(a_message(id="m2", user_id="u2"))
    week = period(NOON - timedelta(days=7), DAY.end)

    def seen(tz: str) -> dict[object, list[object]]:
        asked = facts.ask(
            "active_days,active_apps,first_seen,last_seen", by="user", period=period(week.start, week.end, tz)
        )
        return {row["user_id"]: [value for name, value in row.items() if name != "user_id"] for row in asked.rows}

    assert seen("UTC") == {"u1": [2, 3, late, NOON + timedelta(hours=1)], "u2": [1, 1, NOON, NOON]}
    assert seen("Asia/Shanghai")["u1"][0] == 1


def test_active_days_over_a_clock_change(facts):
    night = datetime(2026, 10, 25, tzinfo=UTC)  # Berlin: 25 hours, from 22:00 to 23:00
    hours = (-3, -2, 0, 22, 23)
    facts.put(*(a_run(id=f"r{n}", created_at=night + timedelta(hours=n)) for n in hours))

    week = period(night - timedelta(days=3), night + timedelta(days=3), "Europe/Berlin")
    assert facts.value("active_days", period=week) == 3


def test_the_busiest_second(facts):
    facts.put(an_app(id="chat", mode="chat"), *(a_run(id=f"r{n}", created_at=NOON) for n in range(3)))
    facts.put(a_message(app_id="chat", created_at=NOON + timedelta(milliseconds=900)))
    facts.put(a_request(run_id="r0", created_at=NOON), a_request(id="q2", created_at=NOON + timedelta(seconds=1)))

    assert facts.value("request_rate_peak") == 4
    assert facts.by("app", "request_rate_peak") == {"shop": 3, "chat": 1}
    hours = facts.ask("request_rate_peak", grain="hour", fill="zero", now=NOON + timedelta(minutes=1)).rows
    assert [row["request_rate_peak"] for row in hours][-2:] == [0, 4]
    assert facts.value("request_rate_peak", period=period(YESTERDAY, YESTERDAY)) == 0


def test_money_in_one_currency_stands_beside_anything(facts):
    facts.put(a_run(), a_call(), a_call(id="n2", cost=2, currency="CNY"), a_call(id="n3", cost=None, currency=None))

    assert facts.ask("runs,cost_usd,cost_cny,cost_eur", by="app").plain()["rows"] == [
        {"app_id": "shop", "runs": 1, "cost_usd": "0.000100000", "cost_cny": "2.000000000", "cost_eur": "0.000000000"}
    ]
    assert facts.ask("cost_usd").units == {"cost_usd": "USD"}
    assert facts.ask("cost_usd,cost_usd").columns == ("cost_usd",)


@pytest.mark.parametrize("name", ["cost_", "cost_us", "cost_usdx", "cost_us'", "tokens_usd", "cost_USD"])
def test_only_currencies_stand_behind_money(facts, name):
    with pytest.raises(QueryError, match="no measure"):
        facts.ask(name)
