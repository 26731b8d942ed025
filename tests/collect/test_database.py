"""Dify's database, pulled into the real store: every fact once, and what is open found again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from collector.collect.database import database_backlog
from collector.health import listed
from collector.pull.database import Reading, pull_database
from collector.store import Store, open_store
from tests.servers.postgres import Postgres, dify_template, postgres_server, sample_template

__all__ = ["dify_template", "postgres_server", "sample_template"]

AFTERWARDS = datetime(2026, 11, 21, 1, 0, tzinfo=UTC)


@pytest.fixture
def store() -> Iterator[Store]:
    opened = open_store(":memory:")
    yield opened
    opened.close()


def pull(store: Store, dsn: str, now: datetime, reading: Reading | None = None) -> None:
    """One pass, as a service does it."""
    pulls = pull_database(
        dsn, store.put, store.watermark, lambda: now, reading, backlog=lambda: database_backlog(store.rows, "dify", now)
    )
    assert all(one.is_complete for one in pulls)


def counts(store: Store) -> dict[str, object]:
    """How many facts of each kind there are, and what the calls spent."""
    tables = ("app", "run", "node_execution", "model_call", "message", "conversation", "feedback", "end_user")
    found = {table: store.rows(f"SELECT count(*) FROM {table}")[0][0] for table in tables}
    return found | {"tokens": store.rows("SELECT sum(tokens) FROM model_call")[0][0]}


@pytest.mark.parametrize("runs_by_index", [0, 1000])
def test_a_database_pulled_twice_is_stored_once(
    store: Store, postgres_server: Postgres, sample_template: str, runs_by_index: int
):
    dsn, reading = postgres_server.dsn(sample_template), Reading(runs_by_index=runs_by_index)
    pull(store, dsn, AFTERWARDS, reading)
    first = counts(store)
    pull(store, dsn, AFTERWARDS + timedelta(minutes=5), reading)

    assert first == counts(store)
    assert first == {
        "app": 8,
        "run": 38,
        "node_execution": 152,
        "model_call": 56,
        "message": 32,
        "conversation": 27,
        "feedback": 9,
        "end_user": 28,
        "tokens": 4612,
    }
    assert store.watermark("database", "runs", "", "dify") == AFTERWARDS + timedelta(minutes=5)


def test_what_is_open_is_found_again_until_it_is_stale(store: Store, postgres_server: Postgres, sample_template: str):
    dsn = postgres_server.dsn(sample_template)
    pull(store, dsn, AFTERWARDS)
    waiting = database_backlog(store.rows, "dify", AFTERWARDS)
    assert (len(waiting.open_runs), len(waiting.apps), len(waiting.ratings)) == (10, 8, 9)

    pull(store, dsn, AFTERWARDS + timedelta(days=2))

    assert not database_backlog(store.rows, "dify", AFTERWARDS).open_runs
    assert store.rows("SELECT count(*) FROM run WHERE status = 'stale' AND leaves_known") == [(10,)]


def test_a_rating_and_an_app_that_are_gone_are_told_as_gone(
    store: Store, postgres_server: Postgres, sample_template: str
):
    database = postgres_server.database(sample_template)
    pull(store, postgres_server.dsn(database), AFTERWARDS)
    postgres_server.execute(
        database, "DELETE FROM message_feedbacks WHERE rating = 'dislike'", "DELETE FROM apps WHERE mode = 'completion'"
    )

    pull(store, postgres_server.dsn(database), AFTERWARDS + timedelta(hours=1))
    postgres_server.drop(database)

    assert store.rows("SELECT rating, count(*) FROM feedback GROUP BY ALL ORDER BY 1") == [
        ("like", 6),
        ("withdrawn", 3),
    ]
    assert store.rows("SELECT mode, name FROM app WHERE deleted_at IS NOT NULL") == [("completion", "completion-app")]


def test_a_row_that_cannot_be_read_is_listed_until_it_is(store: Store, postgres_server: Postgres, sample_template: str):
    database = postgres_server.database(sample_template)
    dsn = postgres_server.dsn(database)
    postgres_server.execute(
        database,
        "UPDATE workflow_runs SET total_steps = -7 WHERE id = (SELECT min(id::text)::uuid FROM workflow_runs)",
    )
    pull(store, dsn, AFTERWARDS)
    (told,) = listed(store.rows)
    assert (told["origin"], told["stream"]) == ("dify", "runs")
    assert str(told["problem"]).startswith("workflow_runs.total_steps: wanted a whole number, 0 or more; ")
    assert "-7" not in str(told["problem"])
    assert store.rows("SELECT count(*) FROM run") == [(37,)]

    postgres_server.execute(database, "UPDATE workflow_runs SET total_steps = 7 WHERE total_steps = -7")
    later = AFTERWARDS + timedelta(days=3)
    pull(store, dsn, later)
    assert listed(store.rows) == [told]
    backlog = database_backlog(store.rows, "dify", later, tries_again=True)
    pull_database(dsn, store.put, store.watermark, lambda: later, backlog=lambda: backlog)
    assert listed(store.rows) == []
    assert store.rows("SELECT count(*), count(*) FILTER (WHERE id = ?) FROM run", [told["key"]]) == [(38, 1)]
    postgres_server.drop(database)
