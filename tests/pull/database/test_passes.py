"""Passes one after another: what came late, what was open, what is gone, and what fails on the way."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

import psycopg
import pytest

from collector.pull.database import Limits, Reading
from collector.records import App, Conversation, Feedback, Message, ModelCall, NodeExecution, Pull, Record, Run
from tests.pull.database.world import AFTERWARDS, TENANT, World, key, streams

MINUTE = timedelta(minutes=1)
ALL = ["apps", "users", "node-executions", "runs", "messages", "conversations", "feedback"]
ALL += ["datasets", "documents", "retrievals"]


def test_an_empty_dify_gives_nothing_and_is_complete(world: World):
    pulls = world.pull()

    assert streams(pulls) == ALL
    assert world.marks == dict.fromkeys(ALL, AFTERWARDS)
    assert not any(world.facts.values())


def test_the_watermark_comes_with_the_last_batch_and_not_before(world: World):
    for number in range(5):
        world.has_a_message(f"m{number}")

    world.pull(Reading(put_records=1, limits=Limits(fetch_rows=2)))

    marks = [[mark.stream for mark in marks] for records, marks in world.batches if _holds(records, Message)]
    assert marks == [[], [], ["messages"]]
    assert world.marks["messages"] == AFTERWARDS


def test_a_row_written_late_is_found_inside_the_overlap(world: World):
    world.pull()
    world.now += MINUTE
    world.has_a_run("late", at=AFTERWARDS - 5 * MINUTE)
    world.has_a_node("late node", run="late", at=AFTERWARDS - 5 * MINUTE)
    world.has_a_message("late message", at=AFTERWARDS - 5 * MINUTE)

    world.pull()

    assert world.get(Run, "late").leaves_known
    assert world.get(ModelCall, "late node").tokens == 100
    assert world.get(Message, "late message").is_final


def test_what_lies_behind_the_overlap_is_not_read_again(world: World):
    world.has_a_run("old", at=AFTERWARDS - timedelta(hours=3))
    world.has_a_message("old message", at=AFTERWARDS - timedelta(hours=3))
    world.pull()
    world.batches.clear()
    world.now += MINUTE

    world.pull()

    assert not any(_holds(records, Run, Message, Conversation) for records, _ in world.batches)


@pytest.mark.parametrize("runs_by_index", [0, 100])
def test_a_run_that_was_open_is_read_again_with_its_nodes(world: World, runs_by_index: int):
    reading = Reading(runs_by_index=runs_by_index)
    world.has_a_run(at=AFTERWARDS - timedelta(hours=2), status="running", total_tokens=0, finished_at=None)
    world.has_a_node(at=AFTERWARDS - timedelta(hours=2), status="running", process_data=None, finished_at=None)
    world.pull(reading)
    assert (world.get(Run, "run").status, world.get(Run, "run").leaves_known) == ("running", None)
    assert not world.all(ModelCall)

    world.execute(
        "UPDATE workflow_runs SET status = 'succeeded', total_tokens = 100, finished_at = created_at + interval '9 s'",
        "UPDATE workflow_node_executions SET status = 'succeeded', finished_at = created_at + interval '8 s',"
        ' process_data = \'{"usage": {"prompt_tokens": 70, "completion_tokens": 30}}\'',
    )
    world.now += timedelta(hours=1)
    world.has_a_run("other")  # so that there is something new
    world.pull(reading)

    assert (world.get(Run, "run").status, world.get(Run, "run").leaves_known) == ("succeeded", True)
    assert world.get(ModelCall, "node").tokens == 100


def test_a_run_that_never_ends_is_stale_after_a_day_and_left_in_peace(world: World):
    world.has_a_run(at=AFTERWARDS, status="running", finished_at=None)
    world.pull()
    world.now += timedelta(days=2)

    world.pull()

    assert (world.get(Run, "run").status, world.get(Run, "run").is_final) == ("stale", False)
    assert not world.backlog().open_runs


def test_an_open_run_that_dify_cleaned_away_is_stale_in_time(world: World):
    world.has_a_run(at=AFTERWARDS, status="running", finished_at=None)
    world.pull()
    world.execute("DELETE FROM workflow_runs")

    world.now += timedelta(hours=1)
    world.pull()
    assert world.get(Run, "run").status == "running"

    world.now += timedelta(days=1)
    world.pull()
    assert world.get(Run, "run").status == "stale"


def test_an_empty_message_is_open_then_answered(world: World):
    world.has_a_message(answer="", message_tokens=0, answer_tokens=0, provider_response_latency=0, total_price=0)
    world.pull()
    assert world.get(Message, "message").status == "open"
    assert not world.all(ModelCall)

    world.execute("UPDATE messages SET answer = 'late', message_tokens = 7, answer_tokens = 3")
    world.now += timedelta(minutes=30)
    world.pull()

    assert world.get(Message, "message").status == "succeeded"
    assert world.get(ModelCall, "message").tokens == 10


def test_an_empty_message_is_stale_after_ten_minutes_even_if_it_is_gone(world: World):
    world.has_a_message(answer="", message_tokens=0, answer_tokens=0, provider_response_latency=0, total_price=0)
    world.pull()
    world.execute("DELETE FROM messages")
    world.now += timedelta(minutes=11)

    world.pull()

    assert world.get(Message, "message").status == "stale"


def test_history_that_dify_cleans_away_is_not_taken_back(world: World):
    world.has_a_run()
    world.has_a_node()
    world.has_a_message()
    world.has_a_rating()
    world.pull()
    before = {kind: dict(facts) for kind, facts in world.facts.items()}
    world.execute(
        "DELETE FROM message_feedbacks",
        "DELETE FROM messages",
        "DELETE FROM workflow_node_executions",
        "DELETE FROM workflow_runs",
    )
    world.now += timedelta(hours=1)

    world.pull()

    assert {kind: dict(facts) for kind, facts in world.facts.items()} == before


def test_a_rating_that_changes_is_told_again_and_one_that_is_gone_is_withdrawn(world: World):
    world.has_a_message()
    world.has_a_rating("of the user")
    world.has_a_rating("of the admin", from_source="admin")
    world.pull()
    world.now += timedelta(hours=1)
    world.execute(
        f"UPDATE message_feedbacks SET rating = 'dislike', updated_at = '{world.now:%F %T}' WHERE from_source = 'user'",
        "DELETE FROM message_feedbacks WHERE from_source = 'admin'",
    )

    world.pull()

    ratings = {one.from_source: one.rating for one in world.all(Feedback)}
    assert ratings == {"user": "dislike", "admin": "withdrawn"}


def test_an_app_that_is_gone_is_deleted_one_of_another_dify_is_not(world: World):
    world.has_a_workspace()
    world.has_an_app()
    world.pull()
    elsewhere = App(source="console", seen_at=AFTERWARDS, id="elsewhere", workspace_id="another")
    world.put([elsewhere], [])
    world.execute("DELETE FROM apps")
    world.now += MINUTE

    world.pull()

    assert world.get(App, "app").deleted_at == world.now
    assert world.get(App, "elsewhere") == elsewhere


def test_a_hidden_app_is_not_listed(world: World):
    world.has_an_app(is_universal=True)

    world.pull()

    assert not world.all(App)


def test_a_long_history_is_read_in_parts_each_from_where_the_last_ended(world: World):
    for day in range(1, 5):
        at = datetime(2026, 11, day, 12, tzinfo=AFTERWARDS.tzinfo)
        world.has_a_run(f"run {day}", at=at)
        world.has_a_node(f"node {day}", run=f"run {day}", at=at)
        world.has_a_message(f"message {day}", at=at)

    days = [datetime(2026, 11, day, tzinfo=AFTERWARDS.tzinfo) for day in (3, 4)]
    world.pull(Reading(until=days[0]))
    assert len(world.all(Run)) == len(world.all(NodeExecution)) == len(world.all(Message)) == 2
    assert world.marks["runs"] == days[0]
    world.pull(Reading(until=days[1]))
    assert len(world.all(Run)) == 3
    world.pull()

    assert len(world.all(Run)) == len(world.all(NodeExecution)) == len(world.all(Message)) == 4
    assert all(run.leaves_known for run in world.all(Run))
    assert world.marks["runs"] == AFTERWARDS


@pytest.mark.parametrize("runs_by_index", [0, 100])
def test_a_node_that_another_clock_dates_before_its_run_is_found(world: World, runs_by_index: int):
    world.has_a_run(at=AFTERWARDS)
    world.has_a_node(at=AFTERWARDS - 5 * MINUTE)

    world.pull(Reading(since=AFTERWARDS - MINUTE, runs_by_index=runs_by_index))

    assert world.get(Run, "run").leaves_known
    assert world.get(ModelCall, "node").tokens == 100


def test_leaves_are_not_known_of_a_run_that_outlasted_the_part_that_was_read(world: World):
    until = AFTERWARDS - timedelta(days=3)
    world.has_a_run(at=until - MINUTE, finished_at=until.replace(tzinfo=None) + timedelta(days=2))

    world.pull(Reading(until=until, runs_by_index=0))

    assert world.get(Run, "run").leaves_known is None


def test_a_conversation_with_a_new_message_is_told_again(world: World):
    row = {"mode": "chat", "name": "", "status": "normal", "from_source": "api", "inputs": "{}"}
    began = (AFTERWARDS - timedelta(days=2)).replace(tzinfo=None)
    world.insert(
        "conversations",
        {"id": key("conversation"), "app_id": key("app"), "created_at": began, "updated_at": began} | row,
    )
    world.has_a_message("first", at=AFTERWARDS - timedelta(days=2))
    world.pull()
    assert world.get(Conversation, "conversation").messages == 1
    world.now += MINUTE
    world.has_a_message("second")

    world.pull()

    assert world.get(Conversation, "conversation").messages == 2


@pytest.mark.parametrize("runs_by_index", [0, 100])
def test_leaves_are_not_known_where_nodes_are_gone_or_cannot_be_read(world: World, runs_by_index: int):
    for name in ("whole", "cleaned", "broken"):
        world.has_a_run(name)
    world.has_a_run("free", total_tokens=0)
    world.has_a_node("good", run="whole")
    world.has_a_node("good too", run="broken")
    world.has_a_node("bad", run="broken", execution_metadata='{"total_tokens": -1}')

    pulls = world.pull(Reading(runs_by_index=runs_by_index))

    assert {name for name in ("whole", "cleaned", "broken", "free") if world.get(Run, name).leaves_known} == {
        "whole",
        "free",
    }
    assert pulls["node-executions"].parse_failures == 1


@pytest.mark.parametrize("runs_by_index", [0, 100])
def test_a_pass_whose_nodes_failed_is_made_up_for(world: World, runs_by_index: int):
    reading = Reading(runs_by_index=runs_by_index)
    world.pull(reading)
    world.now += timedelta(hours=1)
    world.has_a_run()
    world.has_a_node()
    broken = Reading(runs_by_index=runs_by_index, limits=Limits(lock_seconds=0.1))
    with psycopg.connect(world.dsn) as migration:
        migration.execute("LOCK TABLE workflow_node_executions IN ACCESS EXCLUSIVE MODE")
        assert world.pull(broken)["node-executions"].error_class == "unavailable"
    world.now += timedelta(hours=1)

    world.pull(reading)

    assert world.get(Run, "run").leaves_known
    assert world.get(ModelCall, "node").tokens == 100


def test_how_each_stream_went_is_put_with_its_watermark(world: World):
    world.has_a_message()

    pulls = world.pull()

    assert world.pulls == list(pulls.values())
    for records, marks in world.batches:
        assert [mark.stream for mark in marks] == [one.stream for one in records if isinstance(one, Pull)]
    assert (pulls["messages"].records, pulls["messages"].pages, pulls["messages"].requests) == (2, 1, 1)


def test_a_store_that_refuses_ends_the_pass_and_keeps_the_watermark(world: World):
    world.has_a_run()
    world.refusing = lambda world: _holds(world.putting, Run)

    pulls = world.pull()

    assert {stream: pull.error_class for stream, pull in pulls.items()} == {
        **dict.fromkeys(["apps", "users", "node-executions"]),
        **dict.fromkeys(ALL[3:], "store"),
    }
    assert set(world.marks) == {"apps", "users", "node-executions"}


def test_a_pass_that_broke_off_leaves_nothing_behind_and_nothing_twice(world: World):
    for number in range(10):
        world.has_a_run(f"r{number}")
        world.has_a_node(f"n{number}", run=f"r{number}")
    reading = Reading(put_records=1, limits=Limits(fetch_rows=3), runs_by_index=0)
    world.refusing = lambda world: len(world.facts[NodeExecution]) >= 6
    world.pull(reading)
    assert 0 < len(world.all(ModelCall)) < 10
    assert "node-executions" not in world.marks

    world.refusing = lambda _: False
    world.pull(reading)

    assert len(world.all(ModelCall)) == len(world.all(Run)) == 10
    assert all(run.leaves_known for run in world.all(Run))


def test_a_pass_that_breaks_off_leaves_no_thread_reading(world: World):
    for number in range(30):
        world.has_a_message(f"m{number}")
    reading = Reading(put_records=1, limits=Limits(fetch_rows=1))
    for most in range(30):
        world.refusing = lambda world, most=most: len(world.facts[Message]) >= most
        world.facts.clear()
        world.pull(reading)
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("fetch")]


def test_reading_is_held_back_to_the_rows_a_second_that_are_allowed(world: World):
    for number in range(10):
        world.has_a_message(f"m{number}")
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        world.now += timedelta(seconds=seconds)

    world.pull(Reading(limits=Limits(fetch_rows=5, rows_per_second=2)), sleep=sleep)

    assert slept[:2] == [2.5, 2.5]


def test_progress_is_told_batch_by_batch(world: World):
    for number in range(4):
        world.has_a_message(f"m{number}")
    told: list[tuple[str, int]] = []

    world.pull(
        Reading(put_records=1, limits=Limits(fetch_rows=2)),
        on_progress=lambda stream, records: told.append((stream, records)),
    )

    assert ("messages", 4) in told
    assert ("messages", 8) in told  # each is a call, too


def test_what_a_row_cannot_say_is_set_aside_and_counted(world: World):
    world.has_a_run("good")
    world.has_a_run("bad", total_tokens=-5)

    pulls = world.pull()

    assert [run.id for run in world.all(Run)] == [key("good")]
    assert pulls["node-executions"].parse_failures == 1


def test_runs_of_every_workspace_come_with_it(world: World):
    world.has_a_run()
    world.has_a_run("theirs", tenant_id=key("another tenant"))

    world.pull()

    assert {run.workspace_id for run in world.all(Run)} == {TENANT, key("another tenant")}


def _holds(records: list[Record], *kinds: type[Record]) -> bool:
    return any(isinstance(record, kinds) for record in records)
