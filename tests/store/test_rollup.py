"""Rollups follow the facts: what a batch touches is marked with it, and made anew when nobody touches it any more."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from collector.errors import StoreError
from collector.rollups import ROLLUPS, Level
from collector.store import Store, open_store
from collector.store.tables import table_of
from tests.builders import NOON, a_call, a_message, a_run

QUARTER = timedelta(minutes=15)


def runs_by(store: Store, level: Level) -> list[tuple[object, ...]]:
    return store.rows(f"SELECT created_at, status, facts FROM run_by_{level} ORDER BY ALL")


def marked(store: Store, facts: str = "run") -> dict[str, set[datetime]]:
    found: dict[str, set[datetime]] = {}
    for level, step in store.rows("SELECT level, starts_at FROM rollup_mark WHERE facts = ?", [facts]):
        found.setdefault(str(level), set()).add(step)  # type: ignore[arg-type]
    return found


def test_a_batch_marks_every_step_it_touches(store):
    store.put([a_run(), a_run(id="r2", created_at=NOON + timedelta(minutes=20))])

    midnight = NOON.replace(hour=0)
    longer = {"hour": {NOON}, "shift": {NOON.replace(hour=8)}, "day": {midnight}}
    assert marked(store) == {"quarter": {NOON, NOON + QUARTER}, **longer}
    assert runs_by(store, Level.QUARTER) == []


def test_what_was_touched_is_made_anew(store):
    store.put([a_run(), a_run(id="r2"), a_run(id="r3", status="failed")])

    assert store.settle_rollups(everything=True) == len(Level)

    assert marked(store) == {}
    assert runs_by(store, Level.QUARTER) == [(NOON, "failed", 1), (NOON, "succeeded", 2)]
    assert runs_by(store, Level.DAY) == [(NOON.replace(hour=0), "failed", 1), (NOON.replace(hour=0), "succeeded", 2)]
    assert store.settle_rollups(everything=True) == 0


def test_a_fact_that_changes_moves_in_its_rollup(store):
    store.put([a_run(status="running", is_final=False, finished_at=None, elapsed_seconds=None)])
    store.settle_rollups(everything=True)

    store.put([a_run()])
    store.settle_rollups(everything=True)

    assert runs_by(store, Level.HOUR) == [(NOON, "succeeded", 1)]


def test_a_fact_that_was_dated_differently_leaves_no_shadow(store):
    store.put([a_run(source="tap", created_at=NOON + timedelta(minutes=14, seconds=59))])
    store.settle_rollups(everything=True)

    store.put([a_run(created_at=NOON + timedelta(minutes=15))])
    store.settle_rollups(everything=True)

    assert runs_by(store, Level.QUARTER) == [(NOON + QUARTER, "succeeded", 1)]
    assert store.check_rollups() == []


def test_an_estimate_that_goes_leaves_its_rollup(store):
    store.put([a_call(id="r1", is_estimate=True, created_at=NOON - timedelta(hours=2))])
    store.settle_rollups(everything=True)

    store.put([a_call()])
    store.settle_rollups(everything=True)

    assert store.rows("SELECT created_at, is_estimate, facts FROM model_call_by_quarter") == [(NOON, False, 1)]


def test_a_batch_that_tells_nothing_new_touches_nothing(store):
    store.put([a_run(), a_call(), a_message()])
    store.settle_rollups(everything=True)

    store.put([a_run(), a_call(), a_message()])

    assert store.rows("SELECT count(*) FROM rollup_mark") == [(0,)]


def test_a_batch_that_fails_touches_nothing(store, monkeypatch):
    store.put([a_run()])
    store.settle_rollups(everything=True)

    with pytest.raises(StoreError):
        store.put([a_run(id="r2"), a_run(id="r3", steps=2**80)])
    store.put([a_run(id="r4", created_at=NOON + QUARTER)])

    assert marked(store)["quarter"] == {NOON + QUARTER}


def test_steps_that_are_told_of_right_now_wait(store):
    store.put([a_run(created_at=NOON - timedelta(days=1)), a_run(id="r2")])

    assert store.settle_rollups() == 0
    store.put([a_run(id="r3")])
    store.settle_rollups()

    assert [at for at, *_ in runs_by(store, Level.QUARTER)] == [NOON - timedelta(days=1)]
    store.settle_rollups()
    assert [at for at, *_ in runs_by(store, Level.QUARTER)] == [NOON - timedelta(days=1), NOON]
    # the newest hour, shift and day are not over
    assert marked(store) == {"hour": {NOON}, "shift": {NOON.replace(hour=8)}, "day": {NOON.replace(hour=0)}}


def test_marks_outlive_the_process(tmp_path: Path):
    with closing(open_store(tmp_path / "t.duckdb", now=NOON)) as store:
        store.put([a_run()])
    with closing(open_store(tmp_path / "t.duckdb")) as store:
        store.settle_rollups(everything=True)
        assert runs_by(store, Level.QUARTER) == [(NOON, "succeeded", 1)]


def test_facts_of_a_store_without_rollups_are_rolled_up(tmp_path: Path):
    with closing(open_store(tmp_path / "t.duckdb", now=NOON)) as store:
        store.put([a_run()])
        store.settle_rollups(everything=True)
        store.rows("UPDATE rollup_kept SET digest = 'of another version'")
        store.rows("ALTER TABLE run_by_day DROP COLUMN elapsed_0")
        store.rows("DROP TABLE run_by_hour")
    with pytest.raises(StoreError, match="of another version; open it once for writing"):
        open_store(tmp_path / "t.duckdb", read_only=True)
    with closing(open_store(tmp_path / "t.duckdb")) as store:
        assert store.settle_rollups(everything=True) == len(Level)
        assert runs_by(store, Level.HOUR) == [(NOON, "succeeded", 1)]
        assert store.rows("SELECT elapsed_0, elapsed_3 FROM run_by_day") == [(0, 1)]
        assert store.check_rollups() == []


def test_rollups_are_proven_against_the_facts(store):
    store.put([a_run(), a_run(id="r2", user_id="u2", created_at=NOON + timedelta(hours=1)), a_call(), a_message()])
    store.settle_rollups(everything=True)
    assert store.check_rollups() == []

    store.rows("UPDATE run_by_quarter SET facts = 5 WHERE created_at = ?", [NOON])
    store.rows("DELETE FROM run_user_by_day WHERE user_id = 'u2'")
    store.rows("UPDATE model_call_by_hour SET generation = generation * (1 + 1e-15)")  # another order of adding
    store.rows("DELETE FROM message_by_day")
    found = store.check_rollups()

    midnight = NOON.replace(hour=0)
    assert [(each.table, each.at, each.rows, each.kept, each.there) for each in found] == [
        ("run_by_quarter", NOON, 1, 5, 1),
        ("run_user_by_day", midnight, 1, 0, 1),
        ("message_by_day", midnight, 1, 0, 1),
    ]


def test_what_is_wrong_is_repaired(store):
    store.put([a_run(), a_call()])
    store.settle_rollups(everything=True)
    store.rows("UPDATE run_by_quarter SET facts = 5")
    store.rows("DELETE FROM model_call_by_day")

    assert len(store.check_rollups(repair=True)) == 2

    assert store.check_rollups() == []
    assert store.rows("SELECT facts FROM run_by_quarter") == [(1,)]


@pytest.mark.parametrize("rollup", ROLLUPS, ids=lambda rollup: rollup.facts)
def test_a_rollup_has_only_columns_its_facts_have(rollup):
    assert set(rollup.keys) <= set(table_of(rollup.record).columns)
    with closing(open_store(":memory:")) as store:
        for level in Level:
            for told in (None, *rollup.told):
                assert store.rows(f"SELECT count(*) FROM {rollup.table(level, told)}") == [(0,)]
