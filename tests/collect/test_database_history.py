"""The past of Dify's database, part by part: broken off anywhere it goes on there, and ends the same."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector.collect.database import Database, database_reach
from collector.demo import World
from collector.pull.database import Limits, Reading
from collector.records import Feedback, Message, Pull, Run
from tests.collect.shelf import Shelf
from tests.demo.conftest import NOW
from tests.road.way import a_past
from tests.servers.dify_rows import fill
from tests.servers.postgres import Postgres, dify_template, postgres_server

__all__ = ["dify_template", "postgres_server"]

ALL = NOW - timedelta(days=30)
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with structlog.testing.capture_logs():
        yield


@pytest.fixture(scope="module")
def world() -> World:
    return a_past(days=3, runs_per_day=16)


@pytest.fixture(scope="module")
def dsn(world: World, postgres_server: Postgres, dify_template: str) -> str:
    database = postgres_server.database(dify_template)
    fill(postgres_server, database, world)
    return postgres_server.dsn(database)


class Reader:
    """A collector of that database; parts of seven runs and messages, batches of five."""

    def __init__(self, dsn: str, *, now: datetime = NOW, store: Shelf | None = None, **reading: Any) -> None:
        self.now, self.store = now, store or Shelf()
        limits = reading.pop("limits", Limits(fetch_rows=5))
        self.told: list[tuple[str, int, int | None]] = []
        self.database = Database(
            dsn,
            self.store.put,
            self.store.rows,
            self.store.watermark,
            reading=Reading(**{"since": NOW - DAY, "runs_by_index": 7, "put_records": 5, "limits": limits, **reading}),
            clock=lambda: self.now,
        )

    async def back_fill(self, since: datetime = ALL, only: frozenset[str] | None = None) -> list[Pull]:
        return await self.database.back_fill(since, only, lambda *step: self.told.append(step))

    def reach(self, stream: str = "runs") -> tuple[datetime, datetime] | None:
        found = database_reach(self.store.rows, "dify").get(stream)
        return (found.complete_from, found.complete_until) if found else None


@pytest.fixture(scope="module")
def whole(dsn: str) -> dict[tuple[str, str], Any]:
    """What one pass over everything brings."""
    reader = Reader(dsn, since=ALL)
    asyncio.run(reader.database.pull())
    return lasting(reader)


def lasting(reader: Reader) -> dict[tuple[str, str], Any]:
    kinds = ("run", "node_execution", "model_call", "message", "conversation", "feedback", "end_user", "retrieval")
    return {key: fact for key, fact in reader.store.told().items() if key[0] in kinds}


async def test_part_by_part_it_brings_what_one_pass_brings(dsn: str, world: World, whole: dict[tuple[str, str], Any]):
    reader = Reader(dsn)

    pulls = await reader.back_fill()

    assert all(pull.is_complete for pull in pulls)
    assert {pull.origin for pull in pulls} == {"dify"}
    assert sum(pull.stream == "runs" for pull in pulls) > 5
    assert lasting(reader) == whole
    assert reader.reach() == reader.reach("messages") == (ALL, NOW)
    assert reader.store.of(Feedback)
    for stream, facts in (("runs", world.runs), ("messages", world.messages)):
        steps = [(done, total) for name, done, total in reader.told if name == stream]
        assert steps[-1] == (len(facts), len(facts))
        assert steps == sorted(steps)


async def test_the_newest_comes_first_and_what_is_known_is_not_read_again(dsn: str):
    reader = Reader(dsn)
    await reader.back_fill(NOW - DAY)
    first = reader.reach()
    known = len(reader.store.of(Run))
    reader.told.clear()

    await reader.back_fill()
    again = await reader.back_fill()

    assert first == (NOW - DAY, NOW)
    assert max(done for stream, done, _ in reader.told if stream == "runs") == len(reader.store.of(Run)) - known
    assert {pull.stream for pull in again} == {"apps", "feedback", "datasets", "documents"}


async def test_what_came_since_is_read_too_so_that_no_gap_stays(dsn: str, world: World):
    reader = Reader(dsn, now=NOW - DAY)
    await reader.back_fill()
    assert reader.reach() == (ALL, NOW - DAY)
    reader.now = NOW

    await reader.back_fill()

    assert reader.reach() == (ALL, NOW)
    assert set(reader.store.of(Run)) == set(world.runs)


async def test_a_first_pass_goes_on_from_a_back_fill(dsn: str, world: World):
    reader = Reader(dsn, now=NOW - DAY)
    await reader.back_fill()
    reader.now = NOW + 5 * DAY

    await reader.database.pull()  # on its own it would go back a day

    assert set(reader.store.of(Run)) == set(world.runs)


async def test_only_some_streams(dsn: str, world: World):
    reader = Reader(dsn)

    pulls = await reader.back_fill(only=frozenset({"messages"}))

    assert {pull.stream for pull in pulls} == {"messages"}
    assert set(reader.store.of(Message)) == set(world.messages)
    assert not reader.store.of(Run)


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(breaks=st.lists(st.integers(1, 40), max_size=3), size=st.integers(8, 40), put=st.integers(5, 60))
def test_broken_off_anywhere_it_goes_on_and_ends_the_same(
    dsn: str, whole: dict[tuple[str, str], Any], breaks: list[int], size: int, put: int
):
    reader = Reader(dsn, runs_by_index=size, put_records=put)
    store = reader.store
    for after in breaks:
        store.fail_after = store.puts + after
        asyncio.run(_may_fail(reader))
        reach = reader.reach()
        if reach:  # everything between is there
            runs = {run for run in store.of(Run).values() if run.created_at and run.created_at >= reach[0]}
            assert {run.id for run in runs} >= _begun_since(dsn, reach[0])
    store.fail_after = None

    asyncio.run(reader.back_fill())

    assert lasting(reader) == whole
    assert reader.reach() == (ALL, NOW)


async def _may_fail(reader: Reader) -> None:
    pulls = await reader.back_fill()
    assert pulls[-1].error_class in (None, "store")


def _begun_since(dsn: str, since: datetime) -> set[str]:
    with psycopg.connect(dsn) as connection:
        sql = "SELECT id::text FROM workflow_runs WHERE created_at >= %s"
        return {row[0] for row in connection.execute(sql, [since.replace(tzinfo=None)])}


class TestBrokenOff:
    """Cancelled, a look ends at once, whatever the server is at, and notes no failure."""

    async def test_between_two_batches(self, dsn: str):
        before = set(threading.enumerate())
        reader = Reader(dsn, limits=Limits(fetch_rows=5, rows_per_second=0.001))  # it would sleep for hours

        doing = asyncio.ensure_future(reader.back_fill(only=frozenset({"runs", "messages"})))
        while not reader.told:  # noqa: ASYNC110  # a thread that sleeps tells nobody
            await asyncio.sleep(0)
        doing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await doing

        assert not [pull for pull in reader.store.of(Pull).values() if pull.error_class]
        await reader.database.aclose()
        ours = set(threading.enumerate()) - before
        assert not [thread for thread in ours if thread.name.startswith(("database", "fetch"))]

    async def test_in_the_middle_of_a_statement(self, postgres_server: Postgres, dify_template: str):
        database = postgres_server.database(dify_template)
        postgres_server.execute(
            database,
            "CREATE FUNCTION slow() RETURNS boolean LANGUAGE sql VOLATILE AS 'SELECT pg_sleep(600) IS NULL'",
            "ALTER TABLE tenants RENAME TO slow_tenants",
            "ALTER TABLE apps RENAME TO slow_apps",
            "CREATE VIEW apps AS SELECT * FROM slow_apps WHERE slow()",
            "CREATE VIEW tenants AS SELECT * FROM slow_tenants",
            "INSERT INTO slow_apps (tenant_id, name, mode, enable_site, enable_api)"
            " VALUES (gen_random_uuid(), 'a', 'chat', true, true)",
        )
        reader = Reader(postgres_server.dsn(database), limits=Limits(statement_seconds=600))

        doing = asyncio.ensure_future(reader.database.pull())
        while not _is_sleeping(postgres_server, database):  # noqa: ASYNC110  # nor does a server
            await asyncio.sleep(0.05)
        doing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await doing

        assert not reader.store.of(Pull)
        await reader.database.aclose()
        postgres_server.drop(database)


def _is_sleeping(server: Postgres, database: str) -> bool:
    with psycopg.connect(server.dsn("postgres")) as connection:
        sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event = 'PgSleep'"
        found = connection.execute(sql, [database]).fetchone()
    return bool(found and found[0])


class TestRefused:
    async def test_who_is_refused_asks_no_more(self, postgres_server: Postgres, dify_template: str):
        dsn = postgres_server.dsn_over_tcp(dify_template, password="wrong")
        reader = Reader(dsn)

        pulls = await reader.database.pull()
        again = await reader.database.pull()

        assert {pull.error_class for pull in pulls} == {"unauthorized"}
        assert "refused postgres at 127.0.0.1" in (reader.database.refused or "")
        assert again == []
        assert len(reader.store.of(Pull)) == len(pulls)

    async def test_an_unknown_schema_is_told_and_tried_again(self, postgres_server: Postgres, dify_template: str):
        database = postgres_server.database(dify_template)
        postgres_server.execute(database, "ALTER TABLE messages RENAME COLUMN answer TO reply")
        reader = Reader(postgres_server.dsn(database))

        with structlog.testing.capture_logs() as lines:
            pulls = [*await reader.database.pull(), *await reader.database.pull()]
        postgres_server.execute(database, "ALTER TABLE messages RENAME COLUMN reply TO answer")
        well = await reader.database.pull()

        assert {pull.error_class for pull in pulls} == {"settings"}
        assert [line["log_level"] for line in lines if line["event"] == "database not read"] == ["error", "debug"]
        assert "no column messages.answer" in lines[0]["problem"]
        assert all(pull.is_complete for pull in well)
        assert reader.database.is_up
        postgres_server.drop(database)


async def test_what_knowledge_bases_hold_is_read_once_an_hour(dsn: str):
    reader = Reader(dsn)
    for minutes in (0, 1, 59, 60):
        reader.now = NOW + timedelta(minutes=minutes)
        await reader.database.pull()

    read = [pull.created_at - NOW for pull in reader.store.of(Pull).values() if pull.stream == "documents"]
    assert sorted(read) == [timedelta(0), timedelta(hours=1)]
