"""One Dify as a service reads it: its console, its collector, its broker, and the schedules of both.

What comes in are settings and the store's callables; what goes out are Pulls. Each Dify has its own credentials, time
budget, schedule and failures: one that is down, slow or locked out delays no other. Nothing here opens a store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import httpx
from pydantic import SecretStr

from collector.collect.collector import Collector, Options
from collector.collect.passes import Progress, Put
from collector.collect.queues import Queues
from collector.errors import SettingsError
from collector.pull.broker import Broker, open_broker
from collector.pull.console import Access, Console
from collector.records import Pull
from collector.schedule import Schedule
from collector.settings import DifySource, Settings
from collector.store import Store

Clock = Callable[[], datetime]


WITHOUT_END = timedelta(days=3650)
"""The time a back-fill may take."""


class Source:
    """One Dify, or one workspace of it. Close it when done."""

    def __init__(
        self,
        settings: Settings,
        given: DifySource,
        put: Put,
        store: Store,
        *,
        clock: Clock,
        transport: httpx.AsyncBaseTransport | None = None,
        on_progress: Progress | None = None,
    ) -> None:
        """Raises SettingsError where the broker cannot be read here."""
        self.name = given.name
        self.is_up = False
        self._given, self._settings, self._clock = given, settings, clock
        self._put, self._store = put, store
        self._passing = asyncio.Lock()
        self.queues = Queues(broker(given), put, origin=given.name, clock=clock) if given.broker_url else None
        self.console: Console | None = None
        self._collector: Collector | None = None
        if given.url:
            dify, how = console(settings, given, transport), options(settings, given, clock())
            self.console = dify
            self._collector = Collector(
                dify, put, store.rows, store.watermark, options=how, clock=clock, on_progress=on_progress
            )

    async def pull(self) -> list[Pull]:
        """One pass over this Dify; passes take turns. Raises StoreError."""
        if self._collector is None:
            return []
        async with self._passing:
            pulls: list[Pull] = await self._collector.collect()
        self.is_up = any(pull.stream == "apps" and pull.is_complete for pull in pulls)
        return pulls

    async def back_fill(self, since: datetime, only: frozenset[str] | None, on_progress: Progress) -> list[Pull]:
        """Read history back to `since`, beside the passes: both share this Dify's turns. Raises StoreError.

        Broken off anywhere, the next one goes on from what is stored.
        """
        if self.console is None:
            return []
        how = replace(
            options(self._settings, self._given, self._clock()),
            since=since,
            back_to=since,
            only=only,
            budget=WITHOUT_END,
            node_budget=None,
        )
        store = self._store
        collector = Collector(
            self.console,
            self._put,
            store.rows,
            store.watermark,
            options=how,
            clock=self._clock,
            on_progress=on_progress,
        )
        try:
            found: list[Pull] = await collector.collect()
            return found
        finally:
            await collector.aclose()

    async def sample(self) -> Pull | None:
        """One look at the queues."""
        if self.queues is None:
            return None
        if self.console and self.console.version:
            self.queues.broker.expect(".".join(map(str, self.console.version)))
        return await self.queues.sample()

    def schedules(self) -> list[Schedule]:
        """When what happens, not yet started."""
        found = []
        dify = self.console
        if dify is not None:
            every = self._given.pull_interval or self._settings.pull_interval
            found.append(Schedule(self.pull, every, stopped=lambda: dify.refused, clock=self._clock))
        if self.queues is not None:
            found.append(Schedule(self.sample, self._given.broker_interval, clock=self._clock))
        return found

    async def close(self) -> None:
        """Let go of Dify and of its broker."""
        if self._collector is not None:
            await self._collector.aclose()
        if self.console is not None:
            await self.console.aclose()
        if self.queues is not None:
            await self.queues.aclose()


def console(settings: Settings, given: DifySource, transport: httpx.AsyncBaseTransport | None = None) -> Console:
    """A Dify's console as the settings name it. Raises SettingsError."""
    access = Access(
        url=given.url or "",
        path_prefix=given.path_prefix,
        admin_key=_secret(given.admin_key),
        workspace_id=given.workspace_id,
        email=given.email,
        password=_secret(given.password),
        token=_secret(given.token),
        version=given.version,
    )
    return Console(
        access,
        concurrency=given.pull_concurrency or settings.pull_concurrency,
        timeout_seconds=settings.request_timeout_seconds,
        retries=settings.retries,
        transport=transport,
    )


def broker(given: DifySource) -> Broker:
    """A Dify's broker as the settings name it. Raises SettingsError."""
    cache = _secret(given.broker_cache_url)
    try:
        return open_broker(_secret(given.broker_url) or "", cache_url=cache, name=given.name)
    except SettingsError as error:
        raise SettingsError(f"broker_url of {given.name}: {error}") from None


def options(settings: Settings, given: DifySource, now: datetime) -> Options:
    """What the settings say about pulling from a Dify."""
    return Options(
        origin=given.name,
        since=now - timedelta(days=settings.history_days),
        overlap=settings.pull_overlap,
        budget=timedelta(seconds=given.pull_budget_seconds or settings.pull_budget_seconds),
        node_budget=settings.node_budget,
        statistics_every=settings.reconcile_interval,
        open_run_max_age=settings.open_run_max_age,
        message_open_for=timedelta(seconds=settings.message_open_seconds),
        debug_runs=settings.pull_debug_runs,
        read_completions=settings.read_completions,
    )


def _secret(value: SecretStr | None) -> str | None:
    return value.get_secret_value() if value else None
