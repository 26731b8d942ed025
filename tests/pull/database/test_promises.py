"""However passes and Dify's own writing fall together, in the end every fact is there, once, and as Dify has it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import msgspec
import psycopg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector.pull.database import Limits, Reading
from collector.pull.database.schema import TABLES
from collector.records import Message, ModelCall, NodeExecution, Record, Run
from tests.pull.database.world import AFTERWARDS, PROCESS, World, key

MINUTE = timedelta(minutes=1)
EMPTY = {"answer": "", "message_tokens": 0, "answer_tokens": 0, "provider_response_latency": 0}


@dataclass(frozen=True)
class Story:
    """A run with its node and its message: when it is written, how late, and when it ends, in passes from the start."""

    written_in: int
    minutes_late: int  # less than the overlap
    ends_in: int


PASSES = 4
stories = st.lists(st.builds(Story, st.integers(0, 2), st.integers(0, 9), st.integers(0, 3)), min_size=1, max_size=3)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    stories=stories,
    minutes=st.lists(st.integers(1, 9), min_size=PASSES, max_size=PASSES),
    runs_by_index=st.integers(0, 3),
    fetch_rows=st.integers(1, 5),
    put_records=st.integers(1, 5),
    broken=st.sets(st.integers(0, PASSES - 1)),
)
def test_many_passes_bring_what_one_pass_brings_in_the_end(
    world: World,
    stories: list[Story],
    minutes: list[int],
    runs_by_index: int,
    fetch_rows: int,
    put_records: int,
    broken: set[int],
):
    reading = Reading(
        runs_by_index=runs_by_index,
        put_records=put_records,
        limits=Limits(fetch_rows=fetch_rows),
        open_message_max_age=timedelta(days=1),
    )
    world.execute(*(f"DELETE FROM {table}" for table in TABLES))
    many = World(world.server, world.database)
    for number in range(PASSES):
        many.now += minutes[number] * MINUTE
        for name, story in enumerate(stories):
            _write(many, str(name), story, number)
        many.refusing = _the_third if number in broken else _none
        marks = dict(many.marks)
        pulls = many.pull(reading)
        assert all(many.marks[stream] >= mark for stream, mark in marks.items())
        if pulls["runs"].is_complete:
            assert _unfinished(many) <= set(many.backlog().open_runs)
    many.refusing = _none
    many.now += MINUTE
    many.pull(reading)
    once = World(world.server, world.database)
    once.now = many.now
    once.pull(reading)

    for kind in (Run, NodeExecution, ModelCall, Message):
        assert _told(many, kind) == _told(once, kind)


def _none(world: World) -> bool:
    return False


def _the_third(world: World) -> bool:
    """A store that is full after two batches of a pass."""
    return sum(1 for records, _ in world.batches if records) % 3 == 2


def _unfinished(world: World) -> set[str]:
    """The runs before the watermark that Dify has not ended."""
    before = world.marks["runs"].replace(tzinfo=None)
    with psycopg.connect(world.dsn) as connection:
        sql = "SELECT id::text FROM workflow_runs WHERE status = 'running' AND created_at < %s"
        return {row[0] for row in connection.execute(sql, [before])}


def _write(world: World, name: str, story: Story, number: int) -> None:
    """What Dify writes of a story before the pass of that number."""
    run, node, message = f"run {name}", f"node {name}", f"message {name}"
    begun = world.now - story.minutes_late * MINUTE
    is_done = story.ends_in <= story.written_in
    if number == story.written_in:
        ended = begun.replace(tzinfo=None) + MINUTE if is_done else None
        status = {"status": "succeeded" if is_done else "running", "finished_at": ended}
        world.has_a_run(run, at=begun, **status)
        world.has_a_node(node, run=run, at=begun, process_data=PROCESS if is_done else None, **status)
        world.has_a_message(message, at=begun, **({} if is_done else EMPTY))
    elif number == story.ends_in and not is_done:
        world.execute(
            f"UPDATE workflow_runs SET status = 'failed', finished_at = created_at WHERE id = '{key(run)}'",
            "UPDATE workflow_node_executions SET status = 'succeeded', finished_at = created_at,"
            f" process_data = '{PROCESS}' WHERE id = '{key(node)}'",
            f"UPDATE messages SET answer = 'there', message_tokens = 5 WHERE id = '{key(message)}'",
        )


def _told(world: World, kind: type[Record]) -> dict[str, object]:
    facts = world.facts[kind]
    return {name: msgspec.structs.replace(fact, seen_at=AFTERWARDS) for name, fact in facts.items()}
