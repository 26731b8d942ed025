"""What a collector pulls from a simulated Dify is what really happened there."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog

from collector.collect.collector import Collector, Options, collect
from collector.demo import Faults, World, make_living_world, make_world, simulated_dify, truth
from collector.pull.console import Access, Console
from collector.records import Message, ModelCall, Pull, Run
from collector.store import open_store
from tests.collect.shelf import Shelf
from tests.conftest import ROOT

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
WHOLE = Options(node_budget=None, read_completions=True)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with structlog.testing.capture_logs():
        yield


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(days=4, runs_per_day=80, now=NOW, seed=3)


def a_console(world: World, app: Any, access: Access | None = None) -> Console:
    known = Access(url="http://dify.test", admin_key="key", workspace_id=world.workspace_id)
    return Console(
        access or known, transport=httpx.ASGITransport(app), retries=2, backoff_seconds=0.0, longest_wait_seconds=0.01
    )


async def pulled(world: World, store: Shelf, options: Options = WHOLE, **dify: Any) -> list[Pull]:
    access = dify.pop("access", None)
    app = simulated_dify(world, clock=lambda: NOW, admin_key="key", **dify)
    async with a_console(world, app, access) as console:
        return await collect(console, store.put, store.rows, store.watermark, options=options, clock=lambda: NOW)


def tokens(store: Shelf) -> dict[tuple[str, str], int]:
    """By app and day."""
    rows = store.rows(
        "SELECT app_id, strftime(created_at, '%Y-%m-%d'), sum(tokens) FROM model_call "
        "WHERE is_debug IS NOT TRUE GROUP BY ALL HAVING sum(tokens) > 0"
    )
    return {(app, day): total for app, day, total in rows}


def spent(world: World) -> dict[tuple[str, ...], int]:
    return {place: total for place, total in truth.tokens(world, "app", "day").items() if total}


async def test_every_token_of_every_app_and_day_is_counted_once(world: World):
    store = Shelf()

    pulls = await pulled(world, store)

    assert not [pull for pull in pulls if pull.error_class or pull.parse_failures or not pull.is_complete]
    assert tokens(store) == spent(world)
    listed = {key for key, run in world.runs.items() if run.triggered_from != "debugging"}
    assert set(store.of(Run)) == listed
    assert {run.triggered_from for run in store.of(Run).values()} >= {"app-run", "webhook", "schedule"}


async def test_test_runs_come_on_request_and_stay_apart(world: World):
    store = Shelf()

    await pulled(world, store, Options(node_budget=None, read_completions=True, debug_runs=True))

    assert set(store.of(Run)) == set(world.runs)
    assert tokens(store) == spent(world)


async def test_pulling_again_changes_nothing(world: World):
    store = Shelf()
    await pulled(world, store)
    before = store.told()

    await pulled(world, store)

    assert store.told() == before


@pytest.mark.parametrize("version", ["0.8.3", "1.8.0", "1.11.1"])
@pytest.mark.parametrize("prefix", ["", "/ai-portal/proxy"])
async def test_every_version_is_signed_in_to(version: str, prefix: str):
    world = make_world(days=1, runs_per_day=20, now=NOW)
    owner = world.accounts[0]
    access = Access(url="http://dify.test", path_prefix=prefix, email=owner.email, password=owner.password)
    store = Shelf()

    pulls = await pulled(world, store, access=access, version=version, prefix=prefix)

    assert not [pull for pull in pulls if pull.error_class]
    assert tokens(store) == spent(world)


async def test_a_day_of_small_passes_over_live_traffic_brings_what_one_pass_over_all_brings():
    world, life = make_living_world(days=1, runs_per_day=80, now=NOW, seed=5)
    now = NOW
    app = simulated_dify(world, clock=lambda: now, admin_key="key", life=life)
    options = Options(node_budget=None)  # completions apart: reading them moves their updated_at
    live, whole = Shelf(), Shelf()
    async with a_console(world, app) as console:
        collector = Collector(console, live.put, live.rows, live.watermark, options=options, clock=lambda: now)
        for _ in range(24):
            await collector.collect()
            now += timedelta(minutes=13)
        for _ in range(3):  # until all that is open has become stale, and every rating has come
            now += timedelta(hours=13)
            await collector.collect()
        await collect(console, whole.put, whole.rows, whole.watermark, options=options, clock=lambda: now)

    assert live.told() == whole.told()
    assert len(live.of(Message)) > 50


DIFFICULTIES: dict[str, Callable[[Faults], None]] = {
    "a gateway that fails now and then": lambda faults: faults.html_error("console/api", times=3, after=20),
    "too many requests": lambda faults: faults.too_many("console/api", "0", times=3, after=10),
    "a run page cut off": lambda faults: faults.truncate("workflow-runs", times=1, after=2),
    "messages that fail": lambda faults: faults.refuse("chat-messages", 500, "internal_server_error", times=4),
    "a session that runs out": lambda faults: faults.refuse("console/api", 401, "unauthorized", times=1, after=9),
    "an unreachable moment": lambda faults: faults.unreachable("node-executions", times=2, after=5),
}


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
async def test_after_a_bad_pass_the_next_ones_bring_the_rest(difficulty: str):
    world = make_world(days=2, runs_per_day=40, now=NOW, seed=11)
    faults, store = Faults(), Shelf()
    app = simulated_dify(world, clock=lambda: NOW, admin_key="key", faults=faults)
    DIFFICULTIES[difficulty](faults)

    async with a_console(world, app) as console:
        collector = Collector(console, store.put, store.rows, store.watermark, options=WHOLE, clock=lambda: NOW)
        for _ in range(4):
            await collector.collect()

    assert tokens(store) == spent(world)


PULLER = """
import asyncio, os, signal, sys
from datetime import UTC, datetime
import httpx
from collector.collect.collector import Options, collect
from collector.demo import make_world, simulated_dify
from collector.pull.console import Access, Console
from collector.store import open_store

path, last = sys.argv[1], int(sys.argv[2])
now = datetime(2026, 11, 20, 12, tzinfo=UTC)
world = make_world(days=2, runs_per_day=60, now=now, seed=3)
dify, asked = simulated_dify(world, clock=lambda: now, admin_key="key"), [0]

async def dying(scope, receive, send):
    asked[0] += 1
    if asked[0] == last:
        os.kill(os.getpid(), signal.SIGKILL)
    await dify(scope, receive, send)

async def main():
    access = Access(url="http://dify.test", admin_key="key", workspace_id=world.workspace_id)
    store = open_store(path)
    async with Console(access, transport=httpx.ASGITransport(dying)) as console:
        options = Options(node_budget=None, read_completions=True)
        await collect(console, store.put, store.rows, store.watermark, options=options, clock=lambda: now)
    store.close()

asyncio.run(main())
"""


def test_a_collector_killed_between_pages_and_started_again_has_the_same_rows(tmp_path: Path):
    world = make_world(days=2, runs_per_day=60, now=NOW, seed=3)
    path = tmp_path / "killed.duckdb"

    ends = [
        subprocess.run([sys.executable, "-c", PULLER, str(path), str(last)], cwd=ROOT, capture_output=True).returncode
        for last in (9, 70, 160, 0)
    ]

    assert ends == [-signal.SIGKILL, -signal.SIGKILL, -signal.SIGKILL, 0]
    store = open_store(path)
    rows = store.rows("SELECT count(*), count(DISTINCT id), sum(tokens) FROM model_call WHERE is_debug IS NOT TRUE")
    store.close()
    total = sum(spent(world).values())
    assert rows[0][0] == rows[0][1]
    assert rows[0][2] == total


async def test_calls_name_their_models(world: World):
    store = Shelf()

    await pulled(world, store)

    calls = [call for call in store.of(ModelCall).values() if call.tokens]
    assert {call.node_type for call in calls if not call.model_name} <= {"agent"}
