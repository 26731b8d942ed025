"""A back-fill reads history once, back to where it was told, however often it is stopped on its way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import structlog

from collector.collect.collector import Collector, Options
from collector.collect.streams import STREAM_NAMES
from collector.demo import World, make_world, simulated_dify, truth
from collector.errors import StoreError
from collector.pull.console import Access, Console
from collector.records import CONSOLE, Message, ModelCall, NodeExecution, Run, Watermark
from tests.collect.shelf import Shelf
from tests.pull.small_dify import AnApp, ARun, SmallDify

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=400)
RECENT = Options(since=NOW - timedelta(days=1), node_budget=None, read_completions=True)
WHOLE = replace(RECENT, since=LONG_AGO, back_to=LONG_AGO, batch=50, budget=timedelta(days=365))


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with structlog.testing.capture_logs():
        yield


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(days=3, runs_per_day=60, now=NOW, seed=3)


class Stopped(Exception):
    """Somebody pulled the plug."""


class Site:
    """A simulated Dify that can be made to end a pass after so many requests."""

    def __init__(self, world: World, store: Shelf) -> None:
        self.world, self.store, self.asked = world, store, Counter[str]()
        self.left: int | None = None
        self._dify = simulated_dify(world, clock=lambda: NOW, admin_key="key")

    async def _counted(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked[scope["path"].rpartition("/")[2]] += 1
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Stopped
        await self._dify(scope, receive, send)

    async def pull(self, options: Options, stop_after: int | None = None, **how: Any) -> Counter[str]:
        self.left = stop_after
        self.asked.clear()
        access = Access(url="http://dify.test", admin_key="key", workspace_id=self.world.workspace_id)
        async with Console(access, transport=httpx.ASGITransport(self._counted), retries=0) as console:
            store = self.store
            collector = Collector(
                console, store.put, store.rows, store.watermark, options=options, clock=lambda: NOW, **how
            )
            with suppress(Stopped):
                await collector.collect()
            await collector.aclose()
        return self.asked


def tokens(store: Shelf) -> int:
    ((found,),) = store.rows("SELECT sum(tokens) FROM model_call WHERE is_debug IS NOT TRUE")
    return int(found)


def spent(world: World) -> int:
    return sum(truth.tokens(world, "app").values())


async def test_history_comes_in_behind_what_is_known(world: World):
    site = Site(world, Shelf())
    await site.pull(RECENT)
    recent = tokens(site.store)

    await site.pull(WHOLE)

    assert recent < tokens(site.store) == spent(world)


async def test_a_short_back_fill_before_the_first_pull_hides_nothing_from_it(world: World):
    site = Site(world, Shelf())
    await site.pull(replace(WHOLE, back_to=NOW - timedelta(hours=6)))
    assert tokens(site.store) < spent(world)
    assert not [stream for _, stream, _ in site.store.marks if stream in ("runs", "app-logs", "conversations")]

    await site.pull(replace(WHOLE, back_to=None))

    assert tokens(site.store) == spent(world)


async def test_a_short_back_fill_after_a_long_outage_leaves_no_gap(world: World):
    site = Site(world, Shelf())
    early = NOW - timedelta(days=2)
    for app in world.apps:
        marks = [Watermark(source=CONSOLE, stream=s, app_id=app, complete_until=early) for s in ("runs", "app-logs")]
        site.store.put([], marks)

    recently = NOW - timedelta(hours=6)
    await site.pull(replace(WHOLE, since=recently, back_to=recently))

    assert set(site.store.of(Run)) >= {
        run.id for run in world.runs.values() if run.created_at >= early and run.triggered_from != "debugging"
    }


async def test_what_is_back_filled_once_is_not_listed_again():
    dify, store = a_long_history(), Shelf()

    assert await runs_of(dify, store) == 9
    assert await runs_of(dify, store) == 1  # news


@pytest.mark.parametrize("every", [40, 150])
async def test_stopped_again_and_again_it_ends_with_the_same_facts(world: World, every: int):
    whole, pieces = Site(world, Shelf()), Site(world, Shelf())
    await whole.pull(WHOLE)

    stops = 0
    while tokens_or_none(pieces.store) != spent(world) or pieces.left is None or pieces.left < 0:
        await pieces.pull(WHOLE, stop_after=every + 37 * stops)
        stops += 1
        assert stops < 60

    assert stops > 2
    for kind in (Run, NodeExecution, ModelCall, Message):
        assert set(pieces.store.of(kind)) == set(whole.store.of(kind))


def tokens_or_none(store: Shelf) -> int | None:
    ((found,),) = store.rows("SELECT sum(tokens) FROM model_call WHERE is_debug IS NOT TRUE")
    return None if found is None else int(found)


async def test_it_goes_on_where_it_stopped():
    dify, store = a_long_history(), Shelf()
    whole = await runs_of(dify, Shelf())

    first = await runs_of(dify, store, pages=4)
    second = await runs_of(dify, store)

    assert (whole, first) == (9, 4)
    assert second <= 9 - 4 + 3  # news, and what was read and not stored when it stopped, are asked for again
    assert len(store.of(Run)) == 800


async def test_progress_counts_what_is_there_already():
    dify, store, told = a_long_history(), Shelf(), list[tuple[str, int, int | None]]()
    await runs_of(dify, store, pages=5)

    await runs_of(dify, store, on_progress=lambda *step: told.append(step))

    done = [(done, total) for stream, done, total in told if stream == "runs"]
    assert done[0][0] > 300
    assert done[-1] == (800, 800)


def a_long_history() -> SmallDify:
    runs = [ARun(f"r{n:04}", NOW - timedelta(minutes=5 + n)) for n in range(800)]
    return SmallDify(AnApp("shop", runs=runs[::-1]))


async def runs_of(dify: SmallDify, store: Shelf, pages: int | None = None, **how: Any) -> int:
    """Back-fill runs until so many pages were asked for; how many were."""
    dify.asked.clear()

    def plug(path: str) -> None:
        if pages is not None and dify.times("workflow-runs$") > pages:
            raise Stopped

    dify.before = plug
    options = replace(WHOLE, only=frozenset({"runs"}))
    async with dify.console() as console:
        collector = Collector(
            console, store.put, store.rows, store.watermark, options=options, clock=lambda: NOW, **how
        )
        with suppress(Stopped):
            await collector.collect()
        await collector.aclose()
    return dify.times("workflow-runs$") - (pages is not None)


async def test_a_store_that_fails_leaves_no_gap(world: World):
    site = Site(world, Shelf())
    site.store.fail_after = 2
    with pytest.raises(StoreError):
        await site.pull(WHOLE)
    site.store.fail_after = None

    await site.pull(WHOLE)

    assert tokens(site.store) == spent(world)


async def test_only_some_streams(world: World):
    site = Site(world, Shelf())

    asked = await site.pull(replace(WHOLE, only=frozenset({"runs"})))

    assert asked["workflow-runs"]
    assert not asked["chat-conversations"]
    assert not asked["queries"]
    assert not site.store.of(Message)


def test_every_stream_has_its_name():
    assert {"runs", "app-logs", "conversations", "messages", "node-executions", "statistics"} <= set(STREAM_NAMES)
    assert {"datasets", "retrievals", "models", "members", "api-keys", "documents", "feedback"} <= set(STREAM_NAMES)
