"""A simulated Dify, a store and one collector between them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from collector.collect.collector import Collector, Options
from collector.demo import Faults, World, simulated_dify
from collector.demo.plan import Habits
from collector.pull.console import Access, Console
from collector.records import Pull, Statistic
from tests.collect.shelf import Shelf
from tests.demo.conftest import Clock, quiet_world

NOW = datetime(2026, 11, 20, 8, tzinfo=UTC)


def an_old_world() -> World:
    """Nothing happened in it, for forty days."""
    world = quiet_world()
    for app in world.apps.values():
        app.created_at = NOW - timedelta(days=40)
    return world


class Site:
    """A simulated Dify, a store, and one collector between them."""

    def __init__(self, world: World, *, store: Shelf | None = None, version: str = "1.11.1") -> None:
        self.world, self.store, self.clock, self.faults = world, store or Shelf(), Clock(NOW), Faults()
        self._app: Any = None
        self.version = version
        self.collector: Collector

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        dify = simulated_dify(
            self.world, clock=self.clock, admin_key="key", version=self.version, faults=self.faults, habits=Habits()
        )
        await dify(scope, receive, send)

    async def pull(self, **later: float) -> list[Pull]:
        self.clock.forward(**later)
        return await self.collector.collect()

    def told(self) -> dict[tuple[str, str, str], object]:
        """(app, name, day) -> number or amount, zeros left out."""
        found = self.store.of(Statistic).values()
        return {
            (self.world_name(each.app_id), each.name, each.day): value
            for each in found
            if (value := each.number if each.amount is None else each.amount)
        }

    def world_name(self, app_id: str) -> str:
        return self.world.apps[app_id].name if app_id in self.world.apps else app_id


@asynccontextmanager
async def a_site(world: World, **options: Any) -> AsyncIterator[Site]:
    how = {name: options.pop(name) for name in ("store", "version") if name in options}
    site = Site(world, **how)
    access = Access(url="http://dify.test", admin_key="key", workspace_id=world.workspace_id)
    async with Console(access, transport=httpx.ASGITransport(site), retries=0) as console:
        site.collector = Collector(
            console, site.store.put, site.store.rows, site.store.watermark, options=Options(**options), clock=site.clock
        )
        yield site
        await site.collector.aclose()
