"""Where the parts meet: the store, Dify's console, the catalogue's faces and the clock become one service.

What comes in are Settings; what goes out is a Service that commands and the web server use. Parts get each other as
plain callables here and nowhere else.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import structlog
from fastapi import FastAPI

import collector
from collector import checks, health, itself, reporting, standing
from collector.backfill import BackFill
from collector.clock import utc_now as utc_now
from collector.collect.passes import Progress
from collector.collect.releases import declared
from collector.companion import Companion
from collector.errors import StoreError
from collector.faces import (
    aside,
    backfill,
    billing,
    cardinality,
    checking,
    copies,
    events,
    history,
    intake,
    keys,
    page,
    payers,
    prometheus,
    reconciliation,
    reports,
    rest,
    rollups,
    sources,
    targets,
)
from collector.faces.admission import Admission
from collector.faces.guard import seal, seen
from collector.faces.prometheus import Exposition
from collector.faces.readings import AT_ZERO, Readings
from collector.faces.shape import shape_of
from collector.keyring import USED_EVERY, Keyring
from collector.money import Money
from collector.pull.console import Console
from collector.pull.signin import read_version
from collector.records import Mark, Pull, Record, Stored
from collector.retention import ages, is_kept_for_a_while
from collector.running import whereabouts
from collector.schedule import Schedule
from collector.settings import Settings
from collector.settings.source import UNNAMED
from collector.sources import ALL_STREAMS, Source, joined
from collector.store import Store, open_store
from collector.web_server import listening, web_server

log = structlog.get_logger()

Clock = Callable[[], datetime]

SETTLING = timedelta(seconds=30)
"""How often rollups are made anew where facts came in; meanwhile those are read themselves."""

RETIRING = timedelta(hours=1)
"""How often facts that are old enough go."""


class Service:
    """One store with everything around it. Close it when done; it holds the store's file."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock = utc_now,
        transport: httpx.AsyncBaseTransport | None = None,
        on_progress: Progress | None = None,
    ) -> None:
        self.settings = settings
        self.shape = shape_of(settings)
        self.clock = clock
        self.store: Store = open_store(settings.store, now=clock())
        self.stored: Counter[str] = Counter()
        self.misfits: Counter[str] = Counter()
        self.filling = BackFill()
        self.taps = targets.Taps(clock)
        self._transport = transport
        self.keyring = Keyring(self.store.rows, self.store.set_keys)
        self._inner_token = secrets.token_urlsafe(32)
        self.admission = Admission(
            self.keyring, is_open=settings.is_open, tokens=settings.tokens, inner=self._inner_token, clock=clock
        )
        self.companion = Companion(settings, self._inner_token) if settings.tap else None
        try:
            self.money = Money(settings, self.store, clock)
            self.reporting = reporting.Reporting(
                settings, self.money.rated.rows.still, self.store.rows, self.store.keep_delivery, clock
            )
            self.sources = [
                Source(settings, given, self.put, self.store, clock=clock, transport=transport, on_progress=on_progress)
                for given in settings.sources
            ]
        except BaseException:
            self.store.close()
            raise

    def put(self, records: Iterable[Record], watermarks: Iterable[Mark] = ()) -> Stored:
        """Store a batch and count what became of it."""
        stored = self.store.put(records, watermarks)
        self.stored["ingested"] += stored.new + stored.changed
        self.stored["duplicate"] += stored.known
        return stored

    async def pull(self, way: str | None = None) -> list[Pull]:
        """One pass over every Dify, all at once; passes over one take turns. [] where no Dify is set.

        `way` is CONSOLE or DATABASE, for that alone. Raises StoreError once all have ended.
        """
        ends = await asyncio.gather(*(source.pull(way) for source in self.sources), return_exceptions=True)
        await self.money.resolve_payers()
        await self.note_versions()
        return joined(ends)

    async def note_versions(self) -> None:
        """Note the versions that the settings name, for workspaces of which something is stored."""
        versions = {name: read_version(told) for name, told in self.settings.versions.items()}
        known = {name: version for name, version in versions.items() if version}
        if found := await asyncio.to_thread(declared, self.store.rows, known, UNNAMED, self.clock()):
            await asyncio.to_thread(self.put, found)

    async def back_fill(
        self, since: datetime, only: frozenset[str] | None, on_progress: Progress, way: str | None = None
    ) -> list[Pull]:
        """Read the history of every Dify back to `since`, all at once. Raises StoreError once all have ended."""
        asked = [source for source in self.sources if (way in source.ways if way else source.ways)]

        def told(source: Source) -> Progress:
            if len(asked) == 1:
                return on_progress
            return lambda stream, done, total: on_progress(f"{source.name} {stream}", done, total)

        ends = await asyncio.gather(
            *(source.back_fill(since, only, told(source), way) for source in asked), return_exceptions=True
        )
        await self.money.resolve_payers()
        return joined(ends)

    @property
    def ways(self) -> frozenset[str]:
        """The ways in there are to any Dify."""
        return frozenset(way for source in self.sources for way in source.ways)

    def _begin_back_fill(self, since: datetime, only: frozenset[str] | None, way: str | None) -> bool:
        return self.filling.begin(lambda tell: self.back_fill(since, only, tell, way))

    def _back_fill(self) -> Mapping[str, Any]:
        return {**self.filling.told(), "pulls": told(self.filling.pulls)}

    def back_up(self, to: str) -> int:
        """Write a copy of the store; its bytes."""
        self.store.backup(to)
        return Path(to).stat().st_size

    async def settle_rollups(self) -> None:
        """Make rollups anew where no batch has come for a while."""
        await asyncio.to_thread(self.store.settle_rollups)

    async def retire_facts(self) -> None:
        """Let facts go that are older than the settings keep them."""
        now = self.clock()
        gone = await asyncio.to_thread(
            lambda: self.store.retire(ages(self.settings, self.money.bills.closed_until, now), now)
        )
        if gone:
            log.info("facts retired", **gone)

    async def check(self, wish: Mapping[str, object] | None = None) -> list[Mapping[str, Any]]:
        """Whether the sources answer; with a `wish`, whether a Dify would. Who refused us is not asked again."""
        if wish is not None:
            return await checks.of_wish(self.settings, wish, self._transport)
        refused = checks.refusals(self.sources)
        return await checks.of_sources(self.settings, refused=refused, transport=self._transport)

    def web(self) -> FastAPI:
        """The application that `serve` serves: REST, /metrics, and the schedule while it runs."""
        settings = self.settings
        rows = seen(self.money.rated.rows)
        app = rest.application(
            rows,
            self.clock,
            timezone=settings.report_timezone,
            lifespan=self._life,
            admission=self.admission,
        )
        service = intake.Service(version=collector.__version__, store=whereabouts(settings.store))
        app.include_router(intake.router(service, self.put, self.pull if self.ways else None, ways=self.ways))
        app.include_router(events.router(self.put, self.clock, self.misfits))
        app.include_router(keys.router(self.keyring, self.clock))
        app.include_router(reconciliation.router(rows, self.clock, timezone=settings.report_timezone))
        app.include_router(
            backfill.router(
                self._begin_back_fill if self.ways else None,
                self._back_fill,
                self.filling.stop,
                streams=ALL_STREAMS,
                ways=self.ways,
            )
        )
        app.include_router(aside.router(lambda: health.listed(rows)))
        app.include_router(rollups.router(lambda repair: self.store.check_rollups(repair=repair)))
        app.include_router(copies.router(self.back_up, self.store.export_parquet))
        app.include_router(payers.router(self.money.payer_report if self.money.paying else None))
        app.include_router(billing.router(self.money.bills, settings.billing_account))
        app.include_router(
            reports.router(
                lambda span, now, *, top: reporting.report_of(span, rows.still, now, top=top),
                rows,
                self.clock,
                timezone=settings.report_timezone,
                language=settings.report_language,
                templates=lambda: reporting.templates_of(settings),
            )
        )
        app.include_router(targets.router(self.taps))
        app.include_router(cardinality.router(rows, self.clock, self.shape))
        app.include_router(
            history.router(rows, self.clock, self.store.counting_since, timezone=settings.report_timezone)
        )
        app.include_router(prometheus.router(self._exposition()))

        app.include_router(sources.router(lambda: standing.standing(self.sources, self.companion, rows, self.clock())))
        app.include_router(checking.router(self.check, is_set=bool(self.ways)))
        app.include_router(page.router(settings.report_timezone))
        seal(app)
        return app

    async def close(self) -> None:
        """Let go of Dify and of the store's file; a tap beside us ends with us."""
        if self.companion is not None:
            await self.companion.kill()
        await self.filling.stop()
        await self.reporting.end()
        for source in self.sources:
            await source.close()
        with suppress(StoreError):  # when a key was last used is not worth an unclean end
            await self._flush_keys()
        await asyncio.to_thread(self.store.close)

    async def _flush_keys(self) -> None:
        await asyncio.to_thread(self.keyring.flush)

    @asynccontextmanager
    async def _life(self, _: FastAPI) -> AsyncIterator[None]:
        schedules = [schedule for source in self.sources for schedule in source.schedules()]
        schedules += self.money.schedules()
        schedules.append(Schedule(self._flush_keys, USED_EVERY, clock=self.clock))
        if self.settings.versions:
            schedules.append(Schedule(self.note_versions, self.settings.reconcile_interval, clock=self.clock))
        if self.settings.report_schedule:
            schedules.append(Schedule(self.reporting.turn, reporting.LOOK_EVERY, clock=self.clock))
        schedules.append(Schedule(self.settle_rollups, SETTLING, clock=self.clock))
        if is_kept_for_a_while(self.settings):
            schedules.append(Schedule(self.retire_facts, RETIRING, clock=self.clock))
        for schedule in schedules:
            schedule.start()
        try:
            yield
        finally:
            await asyncio.gather(*(schedule.stop() for schedule in schedules))

    def _exposition(self) -> Exposition:
        return Exposition(
            self.store.rows,
            clock=self.clock,
            counting_since=self.store.counting_since,
            readings=Readings(self.store.readings, self.store.keep_readings, at_zero=AT_ZERO, clock=self.clock),
            tallies=itself.tallies(
                self.settings,
                self.store,
                self.clock,
                stored=self.stored,
                refused=self.admission.refused,
                misfits=self.misfits,
                sources=self.sources,
                money=self.money,
                companion=self.companion,
            ),
            others=self.companion.metrics if self.companion else lambda: None,
            shape=self.shape,
            top_users=self.settings.top_users,
            snapshot=self.store.snapshot,
        )

    @property
    def consoles(self) -> Mapping[str, Console]:
        """The consoles that are read, by our names for their Difys."""
        return {source.name: source.console for source in self.sources if source.console}


def serve(settings: Settings) -> None:
    """Serve until told to stop (SIGINT, SIGTERM)."""
    asyncio.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    with listening(settings.listen, "listen") as door:
        service = Service(settings)
        try:
            log.info(
                "serving",
                url=f"http://{settings.listen}",
                store=whereabouts(settings.store),
                dify=_asked(service) or "none: nothing is pulled; set dify_url or database_url",
                access="open" if settings.is_open else "keys",
            )
            if not settings.is_open and not settings.tokens and not len(service.keyring):
                log.warning(
                    "nobody can ask: there is no key",
                    next="stop it, make one (dify-metric key create --name me --scope admin), or set admin_token",
                )
            server = web_server(service.web())
            if service.companion is not None:
                server.before_end = service.companion.stop
                await service.companion.start()
            await server.serve(sockets=[door])
        finally:
            await service.close()
    log.info("ended")


def _asked(service: Service) -> str:
    """What is read: one address, or every Dify with its name."""
    named = {
        source.name: " and ".join(
            [*([source.console.access.url] if source.console else []), *(["its database"] if source.database else [])]
        )
        for source in service.sources
        if source.ways
    }
    if len(named) == 1:
        return next(iter(named.values()))
    return ", ".join(f"{name} {where}" for name, where in named.items())


def told(pulls: Iterable[Pull]) -> list[Mapping[str, object]]:
    """Pulls as the service tells them."""
    names = intake.Passed.model_fields
    return [{name: getattr(pull, name) for name in names} for pull in pulls]
