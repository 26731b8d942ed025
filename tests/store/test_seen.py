"""What a bound key sees of each table: its own rows, and nothing of a table nobody thought of."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from collector.access import Sight
from collector.errors import StoreError
from collector.records import BROKER, CONSOLE, Dataset, DatasetDay, QueueSample, Release, Watermark
from collector.store import Store, open_store
from collector.store.seen import MOST_IDLE, TABLES
from tests.builders import NOON, a_call, a_message, a_run, an_app

TOLD = {"source": CONSOLE, "seen_at": NOON}


@pytest.fixture
def store() -> Iterator[Store]:
    """Two apps in one workspace, one in another Dify."""
    with closing(open_store(":memory:", now=NOON)) as store:
        store.put(
            [
                an_app(id="shop", workspace_id="w1", origin="dify"),
                an_app(id="desk", workspace_id="w1", origin="dify"),
                an_app(id="lab", workspace_id="w2", origin="lab"),
                *(a_run(id=f"{app} run", app_id=app) for app in ("shop", "desk", "lab")),
                a_run(id="no app", app_id=None),
                a_run(id="w2 alone", app_id=None, workspace_id="w2"),
                *(Dataset(**TOLD, id=f"kb {w}", workspace_id=w, origin=o) for w, o in (("w1", "dify"), ("w2", "lab"))),
                DatasetDay(**TOLD, id="d", dataset_id="kb w2", workspace_id="w2", created_at=NOON),
                QueueSample(
                    source=BROKER, seen_at=NOON, id="q", broker="lab", queue="x", kind="served", created_at=NOON
                ),
                *(
                    Release(**TOLD, id=w, workspace_id=w, version="1.0.0", number=1, created_at=NOON)
                    for w in ("w1", "w2")
                ),
            ],
            [
                Watermark(source=CONSOLE, stream="runs", app_id="shop", complete_until=NOON),
                Watermark(source=CONSOLE, stream="runs", app_id="lab", complete_until=NOON),
                *(
                    Watermark(source=CONSOLE, stream="apps", app_id="", complete_until=NOON, origin=o)
                    for o in ("dify", "lab")
                ),
            ],
        )
        yield store


def ids(store: Store, table: str, sight: Sight, column: str = "id") -> set[object]:
    return {key for (key,) in store.rows(f"SELECT {column} FROM {table}", sight=sight)}


@pytest.mark.parametrize(
    ("sight", "runs"),
    [
        (Sight(apps=("shop",)), {"shop run"}),
        (Sight(apps=("shop", "lab")), {"shop run", "lab run"}),
        (Sight(workspaces=("w1",)), {"shop run", "desk run"}),
        (Sight(workspaces=("w2",)), {"lab run", "w2 alone"}),
        (Sight(origins=("lab",)), {"lab run"}),
        (Sight(apps=("shop",), workspaces=("w2",)), set()),
        (Sight(apps=("shop",), workspaces=("w1",), origins=("dify",)), {"shop run"}),
        (Sight(apps=("nobody's",)), set()),
        (Sight(apps=("shop') OR (TRUE",)), set()),
    ],
)
def test_of_runs_its_own(store: Store, sight: Sight, runs: set[str]):
    assert ids(store, "run", sight) == runs


def test_what_belongs_to_no_app_is_seen_by_who_is_not_bound_to_apps(store: Store):
    tables = ("dataset", "dataset_day", "queue_sample")
    of_app, of_workspace, of_dify = Sight(apps=("lab",)), Sight(workspaces=("w2",)), Sight(origins=("lab",))

    assert [ids(store, table, of_app) for table in tables] == [set(), set(), set()]
    assert [ids(store, table, of_workspace) for table in tables] == [{"kb w2"}, {"d"}, set()]
    assert [ids(store, table, of_dify) for table in tables] == [{"kb w2"}, {"d"}, {"q"}]


def test_up_to_when_it_is_complete_and_which_dify_made_it_is_known_to_all(store: Store):
    sight = Sight(apps=("shop",))
    assert ids(store, "watermark", sight, "app_id || origin") == {"shop", "dify"}
    assert ids(store, "dify_release", sight) == {"w1"}


@pytest.mark.parametrize("table", ["access_key", "schema_version", "milestone", "counter", "report_delivery"])
def test_our_own_tables_are_empty_for_the_bound(store: Store, table: str):
    assert store.rows(f"SELECT * FROM {table}", sight=Sight(workspaces=("w1",))) == []


def test_a_table_nobody_thought_of_is_empty(tmp_path: Path):
    with closing(open_store(tmp_path / "t.duckdb")) as store:
        store.rows("CREATE TABLE later AS SELECT 'shop' AS app_id")
        assert store.rows("SELECT * FROM later", sight=Sight(apps=("shop",))) == []
        assert store.rows("SELECT * FROM later") == [("shop",)]


def test_every_table_says_who_sees_it(store: Store):
    made = store.rows("SELECT table_name FROM duckdb_tables() WHERE NOT internal AND NOT temporary")
    assert {name for (name,) in made} == set(TABLES)


def test_joins_see_no_more_than_the_tables_they_join(store: Store):
    store.put([a_call(id="c", run_id="lab run", app_id="shop"), a_message(id="m", app_id="lab", run_id="shop run")])
    sql = "SELECT run.id, message.id FROM model_call LEFT JOIN run ON run.id = run_id LEFT JOIN message USING (run_id)"
    assert store.rows(sql, sight=Sight(apps=("shop",))) == [(None, None)]


def test_what_is_put_later_is_seen_and_arrow_sees_the_same(store: Store):
    sight = Sight(apps=("shop",))
    before = ids(store, "run", sight)
    store.put([a_run(id="late", app_id="shop"), a_run(id="hidden", app_id="lab")])
    assert ids(store, "run", sight) == before | {"late"}
    assert set(store.arrow("SELECT id FROM run", sight=sight)["id"].to_pylist()) == before | {"late"}


def test_a_moment_shows_no_more_and_stays_as_it_was(store: Store):
    sight = Sight(apps=("shop",))
    with store.snapshot(sight) as rows:
        assert rows("SELECT id FROM run", ()) == [("shop run",)]
        store.put([a_run(id="late", app_id="shop")])
        assert rows("SELECT id FROM run", ()) == [("shop run",)]
    with store.snapshot(sight) as rows:
        assert sorted(rows("SELECT id FROM run", ())) == [("late",), ("shop run",)]


def test_a_statement_that_fails_costs_no_later_one(store: Store):
    sight = Sight(apps=("shop",))
    with pytest.raises(StoreError):
        store.rows("SELECT nothing FROM run", sight=sight)
    assert ids(store, "run", sight) == {"shop run"}


def test_many_sights_at_once_stay_apart(store: Store):
    names = [f"app {number}" for number in range(MOST_IDLE + 20)]
    store.put([a_run(id=name, app_id=name) for name in names])
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda name: ids(store, "run", Sight(apps=(name,))), names * 2))
    assert found == [{name} for name in names * 2]


def test_a_file_can_be_closed_after_somebody_bound_has_read(tmp_path: Path):
    path = tmp_path / "t.duckdb"
    with closing(open_store(path)) as store:
        store.put([a_run()])
        store.rows("SELECT * FROM run", sight=Sight(apps=("shop",)))
    with closing(open_store(path, read_only=True)) as store:
        assert ids(store, "run", Sight(apps=("shop",))) == {"r1"}
