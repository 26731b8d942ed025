"""kill -9 between any two pages: the next pull makes it whole, and no watermark is ever ahead of the facts."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from collector.app import utc_now
from collector.demo import World
from collector.records import Run
from collector.store import open_store
from tests.collect.shelf import Shelf
from tests.road.way import a_past, lasting, open_before
from tests.road.wire import Site, a_site

KILLED_AFTER = (1, 16, 30, 45, 80, 60)
"""Requests that are answered before each kill: while apps, runs, conversations, messages and nodes are read."""


def test_killed_again_and_again_it_ends_with_the_same_facts(tmp_path: Path):
    world = a_past(now=utc_now() - timedelta(hours=1), days=1, runs_per_day=100, seed=14)
    with a_site(world, tmp_path) as site:
        for answered in KILLED_AFTER:
            _killed(site, answered)
            with _opened(site.folder / "killed.duckdb") as store:
                _check(store, world)
                assert not all(run.leaves_known for run in store.of(Run).values() if run.is_final) or not store.of(Run)
        assert site.faults.asked("last_id="), "no list had a second page"
        assert site.run("pull", "--store", "killed.duckdb")[0] == 0
        assert site.run("pull", "--store", "whole.duckdb")[0] == 0

    with _opened(tmp_path / "killed.duckdb") as killed, _opened(tmp_path / "whole.duckdb") as whole:
        _check(killed, world)
        assert lasting(killed) == lasting(whole)
        assert set(killed.of(Run)) >= {run.id for run in world.runs.values() if run.triggered_from != "debugging"}
        assert killed.marks


def _killed(site: Site, answered: int) -> None:
    """One pull, killed while a request waits for its answer."""
    site.gate.shut_after(answered)
    with site.begin("pull", "--store", "killed.duckdb") as command:
        assert site.gate.reached.wait(60)
        command.send_signal(signal.SIGKILL)
        command.communicate()
    site.gate.open()
    assert command.returncode == -signal.SIGKILL


def _check(store: Shelf, world: World) -> None:
    """Every watermark of a run list: what was created before it is there, and what had not ended is open."""
    stored = store.of(Run)
    for (_, stream, app_id), until in store.marks.items():
        if stream not in ("runs", "app-logs"):
            continue
        listed: dict[str, Any] = {
            run.id: run
            for run in world.runs.values()
            if run.app_id == app_id and run.created_at < until and run.triggered_from != "debugging"
        }
        due = {key for key, run in listed.items() if run.triggered_from == "app-run" or stream == "app-logs"}
        assert due <= set(stored)
        assert not any(stored[key].is_final for key in due & open_before(world, until))


@contextmanager
def _opened(path: Path) -> Iterator[Shelf]:
    with closing(open_store(path)) as store:
        yield Shelf(store)
