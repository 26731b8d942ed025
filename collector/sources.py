"""One Dify as a service reads it: its console, its database, its broker, and the schedule of each.

What comes in are settings and the store's callables; what goes out are Pulls. Each Dify has its own credentials, time
budget, schedule and failures: one that is down, slow or locked out delays no other. Nothing here opens a store.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import httpx
from pydantic import SecretStr

from collector.collect.collector import Collector, Options
from collector.collect.database import STREAMS as DATABASE_STREAMS
from collector.collect.database import Database
from collector.collect.passes import Progress, Put
from collector.collect.queues import Queues
from collector.collect.streams import BESIDE_A_DATABASE, STREAM_NAMES
from collector.errors import DifyMetricError, SettingsError
from collector.pull.broker import Broker, open_broker
from collector.pull.console import Access, Console
from collector.pull.database import Found, Limits, Reading, examine_database
from collector.records import BROKER, CONSOLE, DATABASE, Pull
from collector.schedule import OUTCOMES, Schedule
from collector.settings import DifySource, Settings
from collector.settings.source import several
from collector.store import Store

Clock = Callable[[], datetime]


ALL_STREAMS = tuple(dict.fromkeys((*STREAM_NAMES, *DATABASE_STREAMS)))
"""What a back-fill can be told to read only."""

WITHOUT_END = timedelta(days=3650)
"""The time a back-fill may take."""


class Source:
    """One Dify, or one workspace of it. Close it when done.

    `way` in its methods is CONSOLE or DATABASE, for one way in alone; None: every one there is. Where there is a
    database, the console is asked only for what stands in no table.
    """

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
        """Raises SettingsError where the broker or the database cannot be read here."""
        self.name = given.name
        self.is_up = False
        self._given, self._settings, self._clock = given, settings, clock
        self._put, self._store = put, store
        self._passing = asyncio.Lock()
        self.queues = Queues(broker(given), put, origin=given.name, clock=clock) if given.broker_url else None
        self.console: Console | None = None
        self.database = database(settings, given, put, store, clock, on_progress) if given.database_url else None
        self._collector: Collector | None = None
        if given.url:
            dify, how = console(settings, given, transport), options(settings, given, clock())
            how = replace(how, only=BESIDE_A_DATABASE) if self.database else how
            self.console = dify
            self._collector = Collector(
                dify, put, store.rows, store.watermark, options=how, clock=clock, on_progress=on_progress
            )
        scheduled = (*self.ways, BROKER) if self.queues else self.ways
        self.turns = {source: Counter(dict.fromkeys(OUTCOMES, 0)) for source in scheduled}  # how passes went
        self.latest: dict[str, list[Pull]] = {}  # what the last pass by each source noted; nothing before the first

    @property
    def warnings(self) -> Mapping[str, int]:
        """What was warned of, by collect's WARNINGS; nothing where there is no console."""
        return self._collector.warnings if self._collector else {}

    @property
    def backlog(self) -> Mapping[str, int]:
        """Runs and conversations that the last pass left unread, by stream; nothing before the first pass."""
        return self._collector.backlog if self._collector else {}

    @property
    def given(self) -> DifySource:
        """The settings it was made of."""
        return self._given

    @property
    def pull_interval(self) -> timedelta:
        """Between two passes over the API."""
        return self._given.pull_interval or self._settings.pull_interval

    @property
    def ways(self) -> tuple[str, ...]:
        """The ways in there are."""
        found = {CONSOLE: self.console, DATABASE: self.database}
        return tuple(way for way, there in found.items() if there is not None)

    async def pull(self, way: str | None = None) -> list[Pull]:
        """One pass over this Dify, by all its ways at once; passes of one way take turns. Raises StoreError."""
        ends = await asyncio.gather(
            *(self._pass(each) for each in self.ways if way in (None, each)), return_exceptions=True
        )
        return joined(ends)

    async def _pass(self, way: str) -> list[Pull]:
        return await (self._pull_database() if way == DATABASE else self._pull_console())

    async def _pull_database(self) -> list[Pull]:
        if self.database is None:
            return []
        pulls = await self.database.pull()
        self.latest[DATABASE] = pulls or self.latest.get(DATABASE, [])
        return pulls

    async def _pull_console(self) -> list[Pull]:
        if self._collector is None:
            return []
        async with self._passing:
            pulls: list[Pull] = await self._collector.collect()
        self.latest[CONSOLE] = pulls
        self.is_up = any(pull.stream == "apps" and pull.is_complete for pull in pulls)
        return pulls

    async def back_fill(
        self, since: datetime, only: frozenset[str] | None, on_progress: Progress, way: str | None = None
    ) -> list[Pull]:
        """Read history back to `since`, beside the passes: from the database where there is one. Raises StoreError.

        Broken off anywhere, the next one goes on from what is stored.
        """
        if self.database is not None and way != CONSOLE:
            return await self.database.back_fill(since, only, on_progress)
        if self.console is None or way == DATABASE:
            return []
        usual = options(self._settings, self._given, self._clock())
        how = replace(
            usual,
            since=min(usual.since or since, since),
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
        pull = await self.queues.sample()
        self.latest[BROKER] = [pull]
        return pull

    def schedules(self) -> list[Schedule]:
        """When what happens, not yet started."""
        found = []
        dify = self.console
        if dify is not None:
            found.append(
                Schedule(
                    self._pull_console,
                    self.pull_interval,
                    stopped=lambda: dify.refused,
                    clock=self._clock,
                    counts=self.turns[CONSOLE],
                )
            )
        read = self.database
        if read is not None:
            every = self._given.database_interval
            found.append(
                Schedule(
                    self._pull_database,
                    every,
                    stopped=lambda: read.refused,
                    clock=self._clock,
                    counts=self.turns[DATABASE],
                )
            )
        if self.queues is not None:
            found.append(
                Schedule(self.sample, self._given.broker_interval, clock=self._clock, counts=self.turns[BROKER])
            )
        return found

    async def close(self) -> None:
        """Let go of Dify, of its database and of its broker."""
        if self._collector is not None:
            await self._collector.aclose()
        if self.console is not None:
            await self.console.aclose()
        if self.queues is not None:
            await self.queues.aclose()
        if self.database is not None:
            await self.database.aclose()


def console(settings: Settings, given: DifySource, transport: httpx.AsyncBaseTransport | None = None) -> Console:
    """A Dify's console as the settings name it. Raises SettingsError."""
    access = Access(
        url=given.url or "",
        path_prefix=given.path_prefix,
        admin_key=_secret(given.admin_key),
        workspace_id=given.workspace_id if given.admin_key else None,
        email=given.email,
        password=_secret(given.password),
        token=_secret(given.token),
        version=given.version,
        app_keys=several(given.app_keys),
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


def database(
    settings: Settings, given: DifySource, put: Put, store: Store, clock: Clock, on_progress: Progress | None = None
) -> Database:
    """A Dify's database as the settings name it. Raises SettingsError."""

    def tell(stream: str, done: int, total: int | None) -> None:
        if on_progress is not None:
            on_progress(f"database {stream}" if given.url else stream, done, total)

    try:
        return Database(
            _secret(given.database_url) or "",
            put,
            store.rows,
            store.watermark,
            reading=reading(settings, given, clock()),
            clock=clock,
            on_progress=tell,
        )
    except DifyMetricError as error:
        raise SettingsError(f"database_url of {given.name}: {error}") from None


def examined(given: DifySource, clock: Clock) -> Found:
    """What a Dify's database answers, and what its role may do; blocks. Raises SettingsError, Unauthorized,
    Unavailable."""
    return examine_database(_secret(given.database_url) or "", given.workspace_id, clock)


def reading(settings: Settings, given: DifySource, now: datetime) -> Reading:
    """What the settings say about reading a Dify's database."""
    return Reading(
        origin=given.name,
        workspace_id=given.workspace_id,
        since=now - timedelta(days=settings.history_days),
        overlap=settings.pull_overlap,
        open_run_max_age=settings.open_run_max_age,
        open_message_max_age=timedelta(seconds=settings.message_open_seconds),
        limits=Limits(
            statement_seconds=given.database_statement_seconds, rows_per_second=given.database_rows_per_second
        ),
    )


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


def joined(ends: Sequence[list[Pull] | BaseException]) -> list[Pull]:
    """The pulls of all; raises the first failure once all have ended."""
    if failures := [end for end in ends if isinstance(end, BaseException)]:
        raise failures[0]
    return [pull for end in ends if not isinstance(end, BaseException) for pull in end]
