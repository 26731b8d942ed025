"""Each way in which Dify's totals differ from the calls gets its own cause, to the token."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.quirks import Version, number
from collector.reconcile import Difference, Kind, State, reconcile
from collector.reconcile.causes import CAUSES
from collector.records import CONSOLE, DATABASE, TAP, Conversation, Release, Request, Statistic, Watermark
from tests.builders import NOON, a_call, a_message, a_node, a_run, an_app
from tests.measures.facts import Facts, period

DAY = date(2026, 11, 20)
NEXT_DAY = datetime(2026, 11, 21, tzinfo=UTC)
STREAMS = ("runs", "node-executions", "conversations", "messages", "statistics")
READ = {"leaves_known": True}


def a_flow(**fields: Any) -> Any:
    return an_app(mode="advanced-chat", **fields)


def a_chat(**fields: Any) -> Any:
    return an_app(id="helpdesk", mode="chat", **fields)


def a_statistic(name: str, told: int, app: str = "shop", day: date = DAY, **fields: Any) -> Statistic:
    default: dict[str, Any] = {
        "source": CONSOLE,
        "seen_at": NEXT_DAY + timedelta(hours=1),
        "id": f"{app}/{name}/{day}/UTC",
        "app_id": app,
        "name": name,
        "day": day.isoformat(),
        "timezone": "UTC",
        "created_at": datetime(day.year, day.month, day.day, tzinfo=UTC),
        "number": told,
    }
    return Statistic(**(default | fields))


def read_until(at: datetime, *streams: str, app: str = "shop", source: str = CONSOLE) -> list[Watermark]:
    return [Watermark(source=source, stream=stream, app_id=app, complete_until=at) for stream in streams or STREAMS]


def all_read(app: str = "shop") -> list[Watermark]:
    return read_until(NEXT_DAY + timedelta(hours=2), app=app)


def served_by(version: Version) -> Release:
    return Release(
        source=CONSOLE, seen_at=NOON, id="v", version="x", number=number(version), created_at=NOON - timedelta(days=9)
    )


def found(facts: Facts, kind: Kind, *, days: int = 1) -> list[Difference]:
    start = datetime(2026, 11, 20, tzinfo=UTC)
    return reconcile(facts.rows, period(start, start + timedelta(days=days)), kinds=[kind])


def the(facts: Facts, kind: Kind) -> Difference:
    (one,) = found(facts, kind)
    assert one.difference == sum(reason.amount for reason in one.reasons)
    return one


def why(facts: Facts, kind: Kind) -> dict[str, int]:
    return {reason.cause: reason.amount for reason in the(facts, kind).reasons}


# Runs


def test_a_total_that_says_what_the_calls_say_is_equal(facts: Facts) -> None:
    facts.put(an_app(), a_run(**READ), a_call())

    one = the(facts, Kind.RUN_TOKENS)

    assert (one.ours, one.theirs, one.difference, one.share, one.state) == (100, 100, 0, 0.0, State.EQUAL)
    assert (one.app_id, one.app_name, one.day, one.timezone) == ("shop", "Shop", DAY, "UTC")


def test_an_iteration_repeats_its_nodes(facts: Facts) -> None:
    facts.put(an_app(), a_run(**READ), a_call(), a_node(container_id="each", reported_tokens=100))
    facts.put(a_node(id="c1", node_id="each", node_type="iteration", reported_tokens=100))

    assert why(facts, Kind.NODE_TOKENS) == {"container_repeated": 100}
    assert the(facts, Kind.RUN_TOKENS).state is State.EQUAL


def test_a_workflow_as_a_tool_is_counted_again_by_its_caller(facts: Facts) -> None:
    facts.put(an_app(), a_run(reported_tokens=130, **READ), a_call(), a_node(reported_tokens=100))
    facts.put(a_node(id="t1", node_id="tool", node_type="tool", reported_tokens=30))

    assert why(facts, Kind.RUN_TOKENS) == why(facts, Kind.NODE_TOKENS) == {"tool_repeated": 30}
    assert the(facts, Kind.RUN_TOKENS).state is State.EXPLAINED


def test_a_tool_that_the_total_left_out_explains_nothing(facts: Facts) -> None:
    facts.put(an_app(), a_run(**READ), a_call(), a_node(id="t1", node_type="tool", reported_tokens=30))

    assert the(facts, Kind.RUN_TOKENS).state is State.EQUAL


@pytest.mark.parametrize("status", ["stopped", "stale"])
def test_a_stopped_run_keeps_no_tokens(facts: Facts, status: str) -> None:
    facts.put(an_app(), a_run(status=status, is_final=status == "stopped", reported_tokens=None), a_call())

    assert why(facts, Kind.RUN_TOKENS) == {"stopped_run": -100}


def test_a_run_that_goes_on_has_no_total_yet(facts: Facts) -> None:
    facts.put(an_app(), a_run(status="running", is_final=False, reported_tokens=None), a_call())

    assert why(facts, Kind.RUN_TOKENS) == {"open": -100}
    assert not the(facts, Kind.RUN_TOKENS).is_complete


def test_calls_that_were_not_read_are_missing_on_our_side(facts: Facts) -> None:
    facts.put(an_app(), a_run())

    assert why(facts, Kind.RUN_TOKENS) == {"calls_unread": 100}


def test_a_node_may_tell_no_total_and_an_estimate_has_no_node(facts: Facts) -> None:
    facts.put(an_app(), a_run(**READ), a_call(), a_node())
    facts.put(a_run(id="r2"), a_call(id="r2", run_id="r2", is_estimate=True))

    assert why(facts, Kind.NODE_TOKENS) == {"node_total_untold": -100, "estimated": -100}


def test_a_difference_nobody_knows_of_is_open(facts: Facts) -> None:
    facts.put(an_app(), a_run(reported_tokens=107, **READ), a_call())

    one = the(facts, Kind.RUN_TOKENS)

    assert (one.unexplained, one.state) == (7, State.OPEN)


def test_two_unexplained_differences_do_not_make_up_for_each_other(facts: Facts) -> None:
    facts.put(an_app(), a_run(reported_tokens=107, **READ), a_call())
    facts.put(a_run(id="r2", reported_tokens=93, **READ), a_call(id="n2", run_id="r2"))

    one = the(facts, Kind.RUN_TOKENS)

    assert (one.difference, one.unexplained, one.state) == (0, 0, State.OPEN)
    assert one.reasons[0].facts == 2


IN_LOOP = {"container_id": "each", "reported_tokens": 100}


@pytest.mark.parametrize(
    ("version", "container", "reported", "cause"),
    [
        ((0, 12, 1), "iteration", 0, "iterations_missing"),
        ((0, 15, 2), "iteration", 640_000, "iterations_exploded"),
        ((1, 9, 2), "iteration", 200, "containers_twice"),
        ((1, 9, 2), "loop", 200, "containers_twice"),
        ((1, 8, 0), "loop", 200, "unexplained"),
        ((1, 9, 2), "loop", 201, "unexplained"),
    ],
)
def test_a_defect_of_the_version_is_known(
    facts: Facts, version: Version, container: str, reported: int, cause: str
) -> None:
    facts.put(an_app(), served_by(version), a_run(reported_tokens=reported, **READ), a_call(), a_node(**IN_LOOP))
    facts.put(a_node(id="c1", node_id="each", node_type=container, reported_tokens=100))

    assert why(facts, Kind.RUN_TOKENS) == {cause: reported - 100}


def test_a_chatflow_of_1_9_1_has_zeros_and_a_workflow_has_not(facts: Facts) -> None:
    facts.put(a_flow(), an_app(id="other"), served_by((1, 9, 1)), a_run(reported_tokens=0, **READ), a_call())
    facts.put(a_run(id="r2", app_id="other", reported_tokens=0, **READ), a_call(id="n2", run_id="r2"))

    assert {one.app_id: one.reasons[0].cause for one in found(facts, Kind.RUN_TOKENS)} == {
        "shop": "chatflow_zero",
        "other": "unexplained",
    }


def test_a_run_that_broke_off_is_written_as_failed_without_tokens(facts: Facts) -> None:
    facts.put(an_app(), served_by((1, 14, 1)), a_run(status="failed", reported_tokens=0, **READ), a_call())

    assert why(facts, Kind.RUN_TOKENS) == {"fallback_finish": -100}


# Messages


def a_flow_message(**fields: Any) -> Any:
    told = {"app_id": "shop", "run_id": "r1", "reported_input_tokens": 70, "reported_output_tokens": 30}
    return a_message(**(told | fields))


NO_TOKENS = {"reported_input_tokens": 0, "reported_output_tokens": 0}


@pytest.mark.parametrize(
    ("message", "run", "cause"),
    [
        ({"status": "stale", "is_final": False}, {}, "empty_message"),
        ({"status": "failed"}, {"status": "failed"}, "failed_message"),
        ({}, {"status": "stale", "is_final": False, "reported_tokens": None}, "stopped_run"),
        ({}, {"status": "running", "is_final": False, "reported_tokens": None}, "open"),
        ({"status": "open", "is_final": False}, {}, "open"),
        ({}, {}, "unexplained"),
    ],
)
def test_an_empty_message_says_why(facts: Facts, message: Any, run: Any, cause: str) -> None:
    facts.put(a_flow(), a_run(**READ, **run), a_call(), a_flow_message(**NO_TOKENS, **message))

    assert why(facts, Kind.MESSAGE_TOKENS) == {cause: -100}


def test_a_message_repeats_its_run_with_all_it_adds(facts: Facts) -> None:
    facts.put(a_flow(), a_run(reported_tokens=130, **READ), a_call(), a_node(reported_tokens=100))
    facts.put(a_node(id="t1", node_type="tool", reported_tokens=30), a_flow_message(reported_output_tokens=60))

    assert why(facts, Kind.MESSAGE_TOKENS) == {"tool_repeated": 30}


def test_a_message_of_0_7_shows_the_last_call_only(facts: Facts) -> None:
    facts.put(a_flow(), served_by((0, 7, 3)), a_run(**READ), a_call(), a_flow_message(reported_output_tokens=0))

    assert why(facts, Kind.MESSAGE_TOKENS) == {"last_call_only": -30}


def test_a_run_whose_message_is_gone_stays(facts: Facts) -> None:
    facts.put(a_flow(), a_run(**READ), a_call())

    assert why(facts, Kind.MESSAGE_TOKENS) == {"message_missing": -100}


def test_a_message_counts_on_its_own_day_with_the_calls_of_its_run(facts: Facts) -> None:
    late = NEXT_DAY - timedelta(milliseconds=200)  # Dify rounds the message's time: it is of the next day
    facts.put(a_flow(), a_run(created_at=late, **READ), a_call(created_at=late), a_flow_message(created_at=NEXT_DAY))

    (one,) = found(facts, Kind.MESSAGE_TOKENS, days=2)

    assert (one.day, one.state, one.ours) == (DAY + timedelta(days=1), State.EQUAL, 100)


# Dify's statistics


def test_runs_of_triggers_are_in_no_statistic(facts: Facts) -> None:
    facts.put(an_app(), a_run(**READ), a_call(), a_run(id="r2", triggered_from="webhook", **READ))
    facts.put(a_call(id="n2", run_id="r2"), a_statistic("run_tokens", 100), a_statistic("runs", 1), *all_read())

    assert why(facts, Kind.RUN_STATISTIC) == {"trigger_left_out": -100}
    assert why(facts, Kind.RUNS) == {"trigger_left_out": -1}
    assert the(facts, Kind.RUNS).is_complete


def test_a_run_we_do_not_have_is_unexplained_once_the_day_is_complete(facts: Facts) -> None:
    facts.put(an_app(), a_run(**READ), a_call(), a_statistic("run_tokens", 142), a_statistic("runs", 2))
    facts.put(*read_until(NEXT_DAY - timedelta(hours=1)))
    assert why(facts, Kind.RUN_STATISTIC) == {"late": 42}

    facts.rows("TRUNCATE watermark")
    facts.put(*all_read())

    assert why(facts, Kind.RUN_STATISTIC) == {"unexplained": 42}
    assert why(facts, Kind.RUNS) == {"unexplained": 1}


@pytest.mark.parametrize("behind", STREAMS[:2] + STREAMS[4:])
def test_both_sides_must_have_been_read(facts: Facts, behind: str) -> None:
    facts.put(an_app(), a_statistic("run_tokens", 42))
    facts.put(*(mark for mark in all_read() if mark.stream != behind), *read_until(NOON, behind))

    assert why(facts, Kind.RUN_STATISTIC) == {"late": 42}


def test_a_run_that_ended_after_the_statistics_were_read_is_late(facts: Facts) -> None:
    ended = NEXT_DAY + timedelta(hours=3)
    facts.put(an_app(), a_run(finished_at=ended, **READ), a_call(), a_statistic("run_tokens", 0), *all_read())

    assert why(facts, Kind.RUN_STATISTIC) == {"late": -100}


def test_the_databases_watermarks_do_as_well(facts: Facts) -> None:
    facts.put(an_app(), a_statistic("run_tokens", 42), *read_until(NEXT_DAY, "statistics"))
    facts.put(*read_until(NEXT_DAY, *STREAMS[:4], app="", source=DATABASE))

    assert why(facts, Kind.RUN_STATISTIC) == {"unexplained": 42}


def test_where_dify_says_nothing_nothing_is_compared(facts: Facts) -> None:
    facts.put(an_app(), a_run(**READ), a_call())

    assert not found(facts, Kind.RUN_STATISTIC)


HISTORY = NEXT_DAY + timedelta(days=40)


def test_what_dify_had_cleaned_away_before_we_asked_is_known(facts: Facts) -> None:
    told = {"seen_at": HISTORY}
    facts.put(an_app(), a_run(**READ), a_call(), *read_until(HISTORY))
    facts.put(a_statistic("run_tokens", 0, **told), a_statistic("run_tokens", 9, day=DAY + timedelta(days=1), **told))

    first, second = found(facts, Kind.RUN_STATISTIC, days=2)

    assert [reason.cause for reason in first.reasons] == ["cleaned_history"]
    assert [reason.cause for reason in second.reasons] == ["unexplained"]


def test_the_day_of_the_clean_up_is_half_there(facts: Facts) -> None:
    day = DAY + timedelta(days=1)
    facts.put(an_app(), a_run(**READ), a_call(), *read_until(HISTORY))
    facts.put(a_run(id="r2", created_at=NEXT_DAY, **READ), a_call(id="n2", run_id="r2"))
    facts.put(*(a_statistic("run_tokens", told, day=at, seen_at=HISTORY) for at, told in ((DAY, 0), (day, 60))))

    assert [[reason.cause for reason in one.reasons] for one in found(facts, Kind.RUN_STATISTIC, days=2)] == [
        ["cleaned_history"],
        ["cleaned_history"],
    ]


def test_a_number_that_was_read_in_time_was_not_cleaned_away(facts: Facts) -> None:
    facts.put(an_app(), a_run(**READ), a_call(), a_statistic("run_tokens", 0), *all_read())

    assert why(facts, Kind.RUN_STATISTIC) == {"unexplained": -100}


def test_messages_of_old_versions_have_no_origin_and_do_not_count(facts: Facts) -> None:
    facts.put(
        a_chat(), a_chat_message("m1", source=DATABASE, invoke_from=None), a_chat_call("m1"), *all_read("helpdesk")
    )
    facts.put(a_statistic("message_tokens", 0, "helpdesk"), a_statistic("messages", 0, "helpdesk"))

    assert why(facts, Kind.MESSAGE_STATISTIC) == {"origin_unknown": -30}
    assert why(facts, Kind.MESSAGES) == {"origin_unknown": -1}


def test_completions_are_not_read_unless_wanted(facts: Facts) -> None:
    facts.put(an_app(mode="completion"), a_statistic("message_tokens", 42), a_statistic("messages", 2))
    facts.put(*read_until(NEXT_DAY + timedelta(hours=2), "conversations", "statistics"))

    assert why(facts, Kind.MESSAGE_STATISTIC) == {"completions_unread": 42}


# Chats of the console


def a_chat_message(key: str, **fields: Any) -> Any:
    told = {"reported_input_tokens": 20, "reported_output_tokens": 10}
    return a_message(**({"id": key} | told | fields))


def a_chat_call(key: str, **fields: Any) -> Any:
    told = {"run_id": None, "message_id": key, "app_id": "helpdesk", "node_type": "message", "tokens": 30}
    return a_call(**({"id": key} | told | fields))


def console_chats(facts: Facts, counted: int) -> None:
    """One message of the API, two of the console, of which Dify counts so many."""
    unsure = {"invoke_from": None, "is_debug": None}
    facts.put(a_chat(), a_chat_message("m1"), *(a_chat_message(key, **unsure) for key in ("m2", "m3")))
    facts.put(*(a_chat_call(key) for key in ("m1", "m2", "m3")), *all_read("helpdesk"))
    facts.put(a_statistic("messages", counted, "helpdesk"), a_statistic("message_tokens", 30 * counted, "helpdesk"))


def test_chats_that_dify_does_not_count_were_tests(facts: Facts) -> None:
    console_chats(facts, 1)

    assert why(facts, Kind.MESSAGE_STATISTIC) == {"console_test": -60}
    assert why(facts, Kind.MESSAGES) == {"console_test": -2}
    assert the(facts, Kind.MESSAGES).state is State.EXPLAINED


def test_chats_that_dify_counts_were_real(facts: Facts) -> None:
    console_chats(facts, 3)

    assert the(facts, Kind.MESSAGE_STATISTIC).state is State.EQUAL
    assert the(facts, Kind.MESSAGES).state is State.EQUAL


def test_chats_of_which_dify_counts_some_stay_unknown(facts: Facts) -> None:
    console_chats(facts, 2)

    assert why(facts, Kind.MESSAGE_STATISTIC) == {"debug_unknown": -30}
    assert why(facts, Kind.MESSAGES) == {"debug_unknown": -1}
    assert the(facts, Kind.MESSAGES).state is State.OPEN


# The tap


def a_request(key: str, **fields: Any) -> Request:
    told = {"source": TAP, "seen_at": NOON, "id": key, "method": "POST", "route": "/v1/workflows/run"}
    return Request(**(told | {"created_at": NOON, "app_id": "shop", "status_code": 200} | fields))  # type: ignore[arg-type]


def test_what_the_tap_saw_must_be_known_to_dify(facts: Facts) -> None:
    facts.put(an_app(), a_request("q1", run_id="r1"), a_request("q2", run_id="r2"), a_request("q3"))
    facts.put(a_run(), a_run(id="r2", source=TAP))
    assert why(facts, Kind.REQUESTS) == {"late": 1}

    facts.put(*all_read())

    one = the(facts, Kind.REQUESTS)
    assert (one.ours, one.theirs, one.state) == (1, 2, State.OPEN)


def test_a_run_that_only_the_tap_saw_stopped_is_known_to_dify(facts: Facts) -> None:
    facts.put(an_app(), a_request("q1", run_id="r1"), a_run(source=TAP, status="stopped", version="2026-01-01"))
    told = {"source": TAP, "seen_at": NOON}
    facts.put(a_chat(), a_request("q2", app_id="helpdesk", message_id="m1"), a_message(source=TAP))
    facts.put(Conversation(id="c1", messages=1, **told))  # type: ignore[arg-type]

    assert {one.state for one in found(facts, Kind.REQUESTS)} == {State.EQUAL}


def test_requests_of_a_deleted_app_went_with_it(facts: Facts) -> None:
    facts.put(an_app(deleted_at=NOON), a_request("q1", run_id="r1"))

    assert why(facts, Kind.REQUESTS) == {"app_deleted": 1}


# All of it


def test_test_runs_are_left_out(facts: Facts) -> None:
    facts.put(an_app(), a_run(is_debug=True, triggered_from="debugging"), a_call(is_debug=True))

    assert not reconcile(facts.rows, period(NOON, NEXT_DAY))


def test_days_are_those_of_the_account_that_reads_the_statistics(facts: Facts) -> None:
    night = datetime(2026, 11, 20, 17, tzinfo=UTC)  # 01:00 of the 21st in Shanghai
    facts.put(an_app(), a_run(created_at=night, **READ), a_call())
    facts.put(a_statistic("run_tokens", 100, day=date(2026, 11, 21), timezone="Asia/Shanghai"))

    (one,) = found(facts, Kind.RUN_STATISTIC, days=2)

    assert (one.day, one.timezone, one.state) == (date(2026, 11, 21), "Asia/Shanghai", State.EQUAL)


def test_some_apps_only(facts: Facts) -> None:
    facts.put(an_app(), an_app(id="other"), a_run(**READ), a_call(), a_run(id="r2", app_id="other"))

    assert {one.app_id for one in reconcile(facts.rows, period(NOON, NEXT_DAY), apps=["shop"])} == {"shop"}


@pytest.mark.parametrize("cause", CAUSES.values(), ids=lambda cause: cause.name)
def test_every_cause_says_why_in_two_languages(cause: Any) -> None:
    assert cause.title
    assert cause.help.endswith(".")
    assert cause.help_zh.endswith("。")


_STATUSES = st.sampled_from(["succeeded", "failed", "stopped", "stale", "running"])
_TOKENS = st.integers(0, 3).map(lambda n: n * 50)


@given(
    runs=st.lists(
        st.tuples(_STATUSES, _TOKENS, _TOKENS, _TOKENS, st.booleans(), st.sampled_from(["app-run", "webhook"])),
        min_size=1,
        max_size=5,
    ),
    told=st.integers(0, 400),
    version=st.sampled_from([(0, 12, 0), (0, 15, 1), (1, 9, 1), (1, 9, 2), (1, 14, 0)]),
    is_read=st.booleans(),
)
def test_reasons_always_add_up_to_the_difference(
    database: Facts, runs: Any, told: int, version: Any, is_read: bool
) -> None:
    database.clear()
    database.put(a_flow(), served_by(version), a_statistic("run_tokens", told), a_statistic("message_tokens", told))
    database.put(*(all_read() if is_read else []))
    for place, (status, spent, reported, tool, is_known, trigger) in enumerate(runs):
        final = status not in ("stale", "running")
        key = f"r{place}"
        database.put(
            a_run(
                id=key,
                status=status,
                is_final=final,
                reported_tokens=reported if final else None,
                leaves_known=is_known,
                triggered_from=trigger,
            ),
            a_call(id=f"n{place}", run_id=key, tokens=spent),
            a_node(id=f"n{place}", run_id=key, reported_tokens=spent or None),
            a_node(id=f"t{place}", run_id=key, node_type="tool", reported_tokens=tool),
            a_flow_message(id=f"m{place}", run_id=key, reported_input_tokens=reported, reported_output_tokens=0),
        )

    differences = reconcile(database.rows, period(NOON, NEXT_DAY))

    for one in differences:
        assert one.difference == sum(reason.amount for reason in one.reasons)
        assert (one.state is State.EQUAL) == (not one.reasons)
        assert one.state is not State.EQUAL or not one.difference
    ours = {one.kind: one.ours for one in differences}
    assert len({ours[kind] for kind in ours if kind.unit == "tokens"}) <= 1
