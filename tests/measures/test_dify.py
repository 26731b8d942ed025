"""The Dify-compatible measures give what Dify answers, digit for digit: of a real database, and of random worlds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.demo import World, make_world, statistics
from collector.demo.statistics import Subject, Window
from collector.faces.rest_models import listing
from collector.measures.catalogue import CATALOGUE
from collector.quirks import number
from collector.records import CONSOLE, Release
from tests.builders import NOON, a_conversation, a_feedback, a_message, a_run
from tests.measures.facts import Facts, period
from tests.measures.told import RECORDED, an_app, real_facts, world_facts

MESSAGE_FIELDS = {
    "daily-messages": {"message_count": "dify_messages"},
    "daily-conversations": {"conversation_count": "dify_conversations"},
    "daily-end-users": {"terminal_count": "dify_end_users"},
    "token-costs": {"token_count": "dify_tokens", "total_price": "dify_cost"},
    "average-session-interactions": {"interactions": "dify_session_interactions"},
    "user-satisfaction-rate": {"rate": "dify_satisfaction"},
    "average-response-time": {"latency": "dify_response_time_ms"},
    "tokens-per-second": {"tps": "dify_tokens_per_second"},
}
RUN_FIELDS = {
    "daily-conversations": {"runs": "dify_runs"},
    "daily-terminals": {"terminal_count": "dify_run_users"},
    "token-costs": {"token_count": "dify_run_tokens"},
    "average-app-interactions": {"interactions": "dify_app_interactions"},
}
MEASURES = [name for fields in (MESSAGE_FIELDS, RUN_FIELDS) for each in fields.values() for name in each.values()]
ZONES = ("UTC", "Asia/Shanghai", "America/New_York", "Australia/Lord_Howe")
CLOCK_CHANGES = (
    datetime(2026, 3, 8, 12, tzinfo=UTC),  # New York goes forward, Lord Howe back (by half an hour) four weeks later
    datetime(2026, 4, 5, 3, tzinfo=UTC),
    datetime(2026, 10, 4, 3, tzinfo=UTC),
    datetime(2026, 11, 1, 12, tzinfo=UTC),
)

Days = dict[tuple[str, str, str], object]
"""(app, measure, day) -> number."""


def ours(facts: Facts, zone: str) -> Days:
    """What the measures say of every app and day."""
    around = period(datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC), zone)
    found: Days = {}
    for measure in MEASURES:
        for row in facts.ask(measure, by="app", grain="day", period=around).rows:
            time: Any = row["time"]
            if (value := row[measure]) is not None:
                found[str(row["app_id"]), measure, time.date().isoformat()] = value
    return found


def told(app_id: str, fields: Mapping[str, Mapping[str, str]], answers: Mapping[str, Any]) -> Days:
    """What Dify says of an app; a statistic that this mode of app does not have says nothing."""
    return {
        (app_id, measure, day["date"]): _number(measure, day[field])
        for name, measures in fields.items()
        if isinstance(answers.get(name), list)
        for day in answers[name]
        for field, measure in measures.items()
        if day[field] is not None
    }


def _number(measure: str, value: Any) -> object:
    """A number as Dify writes it: tokens of runs and money are text."""
    if measure == "dify_run_tokens":
        return int(value)
    return Decimal(value) if measure == "dify_cost" else value


def of_world(world: World, zone: str) -> Days:
    window, found = Window(None, None, ZoneInfo(zone)), {}
    for app in world.apps.values():
        likes: dict[str, int] = {}
        for rating in world.feedback_of[app.id].values():
            likes[rating.message_id] = likes.get(rating.message_id, 0) + (rating.rating == "like")
        subject = Subject(world.messages_of[app.id], world.conversations_of[app.id], likes)
        runs = world.runs_of[app.id, "app-run"]
        messages = statistics.MESSAGE_STATISTICS.items()
        found |= told(
            app.id, MESSAGE_FIELDS, {n: value(subject, window) for n, (value, modes) in messages if app.mode in modes}
        )
        counts = statistics.RUN_STATISTICS.items()
        found |= told(app.id, RUN_FIELDS, {n: value(runs, window) for n, (value, modes) in counts if app.mode in modes})
    return found


def test_a_real_dify_says_the_same_of_its_rows(facts: Facts) -> None:
    real = json.loads((RECORDED / "statistics.json").read_text("utf-8"))
    facts.put(*real_facts(), *(an_app(key, app["mode"]) for key, app in real["apps"].items()))

    theirs: Days = {}
    for key, app in real["apps"].items():
        theirs |= told(key, {f"statistics/{name}": fields for name, fields in MESSAGE_FIELDS.items()}, app)
        theirs |= told(key, {f"workflow/statistics/{name}": fields for name, fields in RUN_FIELDS.items()}, app)
    mine = ours(facts, real["timezone"])

    assert len(theirs) > 40
    assert mine == theirs
    money = [value for (_, measure, _), value in mine.items() if measure == "dify_cost"]
    assert {format(value, "f").partition(".")[2].__len__() for value in money} == {7}


@pytest.mark.parametrize("zone", ZONES)
@settings(max_examples=6)
@given(seed=st.integers(0, 10_000), change=st.sampled_from(CLOCK_CHANGES), hours=st.integers(0, 30))
def test_a_simulated_dify_says_the_same_of_any_world(database, zone, seed, change, hours) -> None:
    world = make_world(days=2, runs_per_day=50, seed=seed, now=change + timedelta(hours=hours))
    database.clear()
    database.put(*world_facts(world))

    assert ours(database, zone) == of_world(world, zone)


def test_every_statistic_is_a_measure() -> None:
    assert set(MESSAGE_FIELDS) == set(statistics.MESSAGE_STATISTICS)
    assert set(RUN_FIELDS) == set(statistics.RUN_STATISTICS)
    assert set(MEASURES) == {measure.name for measure in CATALOGUE if measure.name.startswith("dify_")}


def test_rows_without_an_origin_do_not_count_unless_the_source_cannot_tell_it(facts: Facts) -> None:
    facts.put(
        a_message(id="old", source="database", invoke_from=None),
        a_message(id="console", invoke_from=None),
        a_message(id="perhaps", invoke_from=None, is_debug=None),
        a_message(id="test", invoke_from="debugger", is_debug=True),
        a_message(id="explore", invoke_from="explore", user_kind="account"),
    )

    assert facts.value("dify_messages") == 3
    assert facts.value("dify_messages", include_debug=True) == 3
    assert facts.value("dify_end_users") == 1


def test_runs_of_triggers_do_not_count(facts: Facts) -> None:
    facts.put(a_run(), a_run(id="r2", triggered_from="webhook"), a_run(id="r3", triggered_from=None, user_id="u2"))

    assert (facts.value("dify_runs"), facts.value("dify_run_tokens"), facts.value("dify_run_users")) == (2, 200, 2)


def test_who_started_a_chatflow_is_told_by_its_message(facts: Facts) -> None:
    facts.put(a_run(user_id=None, message_id="m1"), a_message(user_id="u7"), a_run(id="r2", user_id="u7"))

    assert facts.value("dify_run_users") == 1


def test_an_exact_tie_goes_to_the_even_digit(facts: Facts) -> None:
    facts.put(an_app("helpdesk", "chat"))
    for extra, rounded in ((3, 1.02), (1, 1.0)):  # 203 / 200 is 1.015, 201 / 200 is 1.005
        facts.clear()
        facts.put(an_app("helpdesk", "chat"), *(a_conversation(id=f"c{n}") for n in range(200)))
        facts.put(*(a_message(id=f"m{n}", conversation_id=f"c{n % 200}") for n in range(200 + extra)))
        assert facts.value("dify_session_interactions") == rounded


def test_a_session_counts_all_its_messages_on_the_day_it_began(facts: Facts) -> None:
    facts.put(an_app("helpdesk", "chat"), a_conversation(), a_message())
    facts.put(a_message(id="later", created_at=NOON + timedelta(days=30)))

    assert facts.value("dify_session_interactions") == 2.0


def test_a_message_liked_by_both_sides_makes_two_rows(facts: Facts) -> None:
    facts.put(*(a_message(id=f"m{n}") for n in range(3)))
    facts.put(a_feedback(id="1", message_id="m0"), a_feedback(id="2", message_id="m0", from_source="admin"))
    facts.put(a_feedback(id="3", message_id="m1"), a_feedback(id="4", message_id="m2", rating="dislike"))

    assert facts.value("dify_satisfaction") == 750.0


def test_speed_without_time_is_zero_and_without_messages_unknown(facts: Facts) -> None:
    assert facts.value("dify_tokens_per_second") == 0.0

    facts.put(a_message(latency_seconds=None, reported_output_tokens=5))

    assert facts.value("dify_tokens_per_second") == 0.0


def test_response_time_is_of_completions_and_counts_failures_with_zero(facts: Facts) -> None:
    facts.put(an_app("translate", "completion"), an_app("helpdesk", "chat"), a_message(latency_seconds=9.0))
    facts.put(a_message(id="m2", app_id="translate", latency_seconds=3.0))
    facts.put(a_message(id="m3", app_id="translate", latency_seconds=None, status="failed"))

    assert facts.value("dify_response_time_ms") == 1500.0


def test_money_of_all_currencies_is_one_sum_with_seven_digits(facts: Facts) -> None:
    facts.put(a_message(reported_cost=Decimal("0.0000001"), currency="USD"))
    facts.put(a_message(id="m2", reported_cost=Decimal("2"), currency="CNY"), a_message(id="m3"))

    answer = facts.ask("dify_cost")

    assert answer.plain()["rows"] == [{"dify_cost": "2.0000001"}]
    assert answer.units == {"dify_cost": "USD as Dify says"}


def a_release(version: tuple[int, int, int], since: datetime) -> Release:
    written = ".".join(map(str, version))
    at = {"seen_at": since, "created_at": since, "workspace_id": "w1"}
    return Release(source=CONSOLE, id=f"{written}/{since}", version=written, number=number(version), **at)  # type: ignore[arg-type]


def test_a_total_of_a_version_that_counts_wrong_is_flagged(facts: Facts) -> None:
    facts.put(a_release((1, 9, 2), NOON - timedelta(days=9)), a_release((1, 13, 0), NOON))
    hours = {"before the first": -24 * 20, "wrong": -1, "right": 1}
    facts.put(*(a_run(id=key, workspace_id="w1", created_at=NOON + timedelta(hours=at)) for key, at in hours.items()))
    facts.put(a_run(id="of another workspace", workspace_id="w2"))
    around = period(NOON - timedelta(days=40), NOON + timedelta(days=1))

    assert facts.ask("dify_run_tokens", period=around).flags == {"containers_twice": 2}
    assert facts.ask("dify_runs,tokens", period=around).flags == {}


def test_a_defect_of_chatflows_flags_chatflows_only(facts: Facts) -> None:
    facts.put(a_release((1, 9, 1), NOON - timedelta(days=9)), an_app("flow", "advanced-chat"), an_app("chat", "chat"))
    facts.put(*(a_message(id=app, app_id=app, workspace_id="w1", reported_output_tokens=5) for app in ("flow", "chat")))

    answer = facts.ask("dify_tokens,dify_tokens_per_second", by="app")

    assert answer.flags == {"chatflow_zero": 1}
    assert {"title": "Chatflow totals are zero"}.items() <= _listed_flag("chatflow_zero").items()


def _listed_flag(name: str) -> Mapping[str, object]:
    flags: Any = listing(CATALOGUE)["flags"]
    return next(flag for flag in flags if flag["name"] == name)
