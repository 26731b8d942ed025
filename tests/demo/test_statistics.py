"""Dify's statistics: against a real database, against worlds counted by hand, against the truth."""

from __future__ import annotations

import csv
import json
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.demo import World, statistics, truth
from collector.demo.statistics import Subject, Window, local_instant
from tests.demo.conftest import Clock, a_client, a_request, fill_world, sign_in

DATABASE = Path(__file__).parents[1] / "recorded" / "database" / "sample"
NEW_YORK = ZoneInfo("America/New_York")


class Row(msgspec.Struct, kw_only=True):
    """A message, run or conversation as far as it is counted."""

    id: str = "r"
    app_id: str = "app"
    conversation_id: str = "c"
    invoke_from: str | None = "service-api"
    from_end_user_id: str | None = "u"
    created_by_id: str = "u"
    triggered_from: str = "app-run"
    message_tokens: int = 10
    answer_tokens: int = 5
    total_tokens: int = 15
    total_price: Decimal | None = Decimal("0.0000001")
    provider_response_latency: float = 1.0
    created_at: datetime = datetime(2026, 3, 1, 12, tzinfo=UTC)


def subject(*rows: Row, likes: dict[str, int] | None = None, conversations: list[Row] | None = None) -> Subject:
    return Subject(list(rows), conversations or [], likes or {})


def everything(zone: str = "UTC") -> Window:
    return Window(None, None, ZoneInfo(zone))


# A real database


def real_rows(name: str) -> list[dict[str, str]]:
    with (DATABASE / f"{name}.csv").open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def a_real_row(raw: dict[str, str]) -> Row:
    kinds: dict[str, Any] = {
        "message_tokens": int,
        "answer_tokens": int,
        "total_tokens": int,
        "provider_response_latency": float,
        "total_price": Decimal,
        "created_at": lambda at: datetime.fromisoformat(at).replace(tzinfo=UTC),
    }
    names = {"created_by": "created_by_id"}
    named = {names.get(key, key): (kinds.get(key, str), value) for key, value in raw.items()}
    counted = {key: named[key] for key in Row.__struct_fields__ if key in named}
    return Row(**{key: kind(value) if value else None for key, (kind, value) in counted.items()})


REAL = json.loads((DATABASE / "statistics.json").read_text("utf-8"))


@pytest.mark.parametrize("app_id", REAL["apps"])
def test_the_answers_of_a_real_dify_come_out_of_its_rows(app_id: str) -> None:
    messages, runs, conversations = (
        [a_real_row(raw) for raw in real_rows(name) if raw["app_id"] == app_id]
        for name in ("messages", "workflow_runs", "conversations")
    )
    likes = Counter(raw["message_id"] for raw in real_rows("message_feedbacks") if raw["rating"] == "like")
    window, answers = everything(REAL["timezone"]), REAL["apps"][app_id]

    for name, (value, modes) in statistics.MESSAGE_STATISTICS.items():
        is_there = answers["mode"] in modes
        found = value(Subject(messages, conversations, likes), window) if is_there else 404
        assert found == answers[f"statistics/{name}"], name
    for name, (count, modes) in statistics.RUN_STATISTICS.items():
        mine = [run for run in runs if run.triggered_from == "app-run"]
        found = count(mine, window) if answers["mode"] in modes else 404
        if f"workflow/statistics/{name}" in answers and answers["mode"] in ("workflow", "advanced-chat"):
            assert found == answers[f"workflow/statistics/{name}"], name


# By hand


def test_debugging_and_rows_of_old_versions_do_not_count() -> None:
    rows = Row(), Row(invoke_from="debugger"), Row(invoke_from=None), Row(invoke_from="explore", from_end_user_id=None)

    assert statistics.daily_messages(subject(*rows), everything()) == [{"date": "2026-03-01", "message_count": 2}]
    assert statistics.daily_end_users(subject(*rows), everything()) == [{"date": "2026-03-01", "terminal_count": 1}]


def test_days_are_those_of_the_account_through_a_clock_change() -> None:
    # New York leaves daylight saving on 2026-11-01 at 06:00 UTC and enters it on 2026-03-08 at 07:00 UTC
    instants = ["2026-11-01T03:59", "2026-11-01T04:00", "2026-11-02T04:59", "2026-11-02T05:00", "2026-03-09T03:59"]
    rows = [Row(created_at=datetime.fromisoformat(f"{at}+00:00")) for at in instants]

    found = statistics.daily_messages(subject(*rows), everything("America/New_York"))

    assert {day["date"]: day["message_count"] for day in found} == {
        "2026-03-08": 1,
        "2026-10-31": 1,
        "2026-11-01": 2,
        "2026-11-02": 1,
    }


def test_a_wall_clock_time_that_was_twice_means_standard_time_and_one_that_never_was_is_an_hour_later() -> None:
    twice, never = datetime(2026, 11, 1, 1, 30), datetime(2026, 3, 8, 2, 30)

    assert local_instant(twice, NEW_YORK).astimezone(UTC) == datetime(2026, 11, 1, 6, 30, tzinfo=UTC)
    assert local_instant(never, NEW_YORK).astimezone(UTC) == datetime(2026, 3, 8, 7, 30, tzinfo=UTC)


def test_the_end_of_a_window_is_outside() -> None:
    last = Row(created_at=datetime(2026, 3, 2, 4, 59, 30, tzinfo=UTC))  # 23:59:30 in New York

    short = Window.asked("2026-03-01 00:00", "2026-03-01 23:59", NEW_YORK)
    whole = Window.asked("2026-03-01 00:00", "2026-03-02 00:00", NEW_YORK)

    assert statistics.daily_messages(subject(last), short) == []
    assert statistics.daily_messages(subject(last), whole) == [{"date": "2026-03-01", "message_count": 1}]


def test_averages_are_rounded_half_to_even() -> None:
    # 1.125 and 1.375 messages per conversation: half to even gives 1.12 and 1.38
    for extra, rounded in ((1, 1.12), (3, 1.38)):
        born = [Row(id=f"c{n}") for n in range(8)]
        rows = [Row(conversation_id=f"c{n}") for n in range(8)] + [Row(conversation_id="c0")] * extra
        assert statistics.average_session_interactions(subject(*rows, conversations=born), everything()) == [
            {"date": "2026-03-01", "interactions": rounded}
        ]


def test_a_session_counts_all_its_messages_on_the_day_it_began() -> None:
    later = datetime(2026, 3, 9, tzinfo=UTC)
    rows = Row(), Row(created_at=later), Row(created_at=later, invoke_from="debugger")
    window = Window.asked("2026-03-01 00:00", "2026-03-02 00:00", ZoneInfo("UTC"))

    found = statistics.average_session_interactions(subject(*rows, conversations=[Row(id="c")]), window)

    assert found == [{"date": "2026-03-01", "interactions": 2.0}]


def test_a_message_liked_by_both_sides_makes_two_rows() -> None:
    rows = [Row(id=f"m{n}") for n in range(3)]

    found = statistics.user_satisfaction_rate(subject(*rows, likes={"m0": 2, "m1": 1}), everything())

    assert found == [{"date": "2026-03-01", "rate": 750.0}]  # 3 likes of 4 joined rows, per mille


def test_money_is_text_and_called_dollars() -> None:
    found = statistics.token_costs(subject(Row(), Row(total_price=None)), everything())

    assert found == [{"date": "2026-03-01", "token_count": 30, "total_price": "0.0000001", "currency": "USD"}]
    assert statistics.token_costs(subject(Row(total_price=None)), everything())[0]["total_price"] is None


def test_speed_and_response_time_include_errors() -> None:
    rows = Row(provider_response_latency=0.0, answer_tokens=0), Row(provider_response_latency=3.0)

    assert statistics.average_response_time(subject(*rows), everything())[0]["latency"] == 1500.0
    assert statistics.tokens_per_second(subject(*rows), everything())[0]["tps"] == 1.6667
    assert statistics.tokens_per_second(subject(rows[0]), everything())[0]["tps"] == 0.0


def test_run_statistics() -> None:
    rows = [Row(created_by_id=by) for by in ("a", "a", "b")]

    assert statistics.daily_runs(rows, everything()) == [{"date": "2026-03-01", "runs": 3}]
    assert statistics.daily_terminals(rows, everything()) == [{"date": "2026-03-01", "terminal_count": 2}]
    assert statistics.run_tokens(rows, everything()) == [{"date": "2026-03-01", "token_count": "45"}]
    assert statistics.average_app_interactions(rows, everything()) == [{"date": "2026-03-01", "interactions": 1.5}]


@given(
    st.lists(st.datetimes(datetime(2026, 2, 1), datetime(2026, 12, 1)), max_size=40),
    st.sampled_from(["UTC", "Asia/Shanghai", "America/New_York", "Asia/Kathmandu"]),
)
def test_days_add_up_to_the_whole(instants: list[datetime], zone: str) -> None:
    rows = [Row(created_at=at.replace(tzinfo=UTC)) for at in instants]

    found = statistics.daily_messages(subject(*rows), everything(zone))

    assert sum(day["message_count"] for day in found) == len(rows)  # type: ignore[misc]
    assert [day["date"] for day in found] == sorted({day["date"] for day in found})  # type: ignore[type-var]


# Over the API, against the truth


async def tokens_told(client: httpx.AsyncClient, world: World, mode: str, family: str) -> dict[tuple[str, str], int]:
    found = {}
    for app in world.apps_in_mode(mode):
        answer = await client.get(f"/console/api/apps/{app.id}/{family}/token-costs")
        found |= {(app.id, day["date"]): int(day["token_count"]) for day in answer.json()["data"]}
    return {key: count for key, count in found.items() if count}


@pytest.mark.parametrize("mode", ["chat", "completion", "agent-chat"])
async def test_message_tokens_of_apps_without_a_workflow_are_the_truth(clock: Clock, mode: str) -> None:
    world = fill_world()
    async with a_client(world, clock) as client:
        await sign_in(client)
        told = await tokens_told(client, world, mode, "statistics")

    ids = {app.id for app in world.apps_in_mode(mode)}
    true = truth.tokens(world, "app", "day", timezone="Asia/Shanghai")
    assert told == {key: count for key, count in true.items() if key[0] in ids}
    assert told


async def test_run_tokens_repeat_what_a_tool_spent_and_leave_out_triggers(clock: Clock, world: World) -> None:
    plan = a_request(world, "翻译流水线")
    a_request(world, "发票识别", invoke_from="trigger", triggered_from="webhook")
    stopped = a_request(world, "合同审查", fate="stopped")
    async with a_client(world, clock) as client:
        await sign_in(client)
        told = await tokens_told(client, world, "workflow", "workflow/statistics")

    day = (plan.at + timedelta(hours=8)).date().isoformat()
    (child,) = plan.children.values()
    assert told == {
        (plan.app.id, day): plan.run_end.total_tokens if plan.run_end else 0,
        (child.app.id, day): child.run_end.total_tokens if child.run_end else 0,
    }
    spent = truth.tokens(world, "app")
    assert sum(told.values()) > spent[plan.app.id,] + spent[child.app.id,]
    assert stopped.run is not None
    assert stopped.run.total_tokens == 0
    assert date.fromisoformat(day) == date(2026, 11, 20)


async def test_bad_windows_are_refused(console: httpx.AsyncClient, world: World) -> None:
    at = f"/console/api/apps/{world.app_named('Translate').id}/statistics/daily-messages"

    for query in ({"start": "2026-11-01"}, {"start": "2026-11-02 00:00", "end": "2026-11-01 00:00"}):
        answer = await console.get(at, params=query)
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
