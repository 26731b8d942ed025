"""Where the parts meet: the store, Dify's console, the catalogue's faces and the clock become one service.

What comes in are Settings; what goes out is a Service that commands and the web server use. Parts get each other as
plain callables here and nowhere else.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta

import httpx
import structlog
import uvicorn
from fastapi import FastAPI
from fastapi.responses import RedirectResponse
from pydantic import SecretStr
from starlette.types import ASGIApp

import collector
from collector.collect.collector import Collector, Options
from collector.collect.passes import Progress
from collector.errors import SettingsError
from collector.faces import intake, prometheus, rest
from collector.faces.prometheus import Exposition, Tally
from collector.pull.console import Access, Console
from collector.records import CONSOLE, Pull, Record, Stored, Watermark
from collector.running import whereabouts
from collector.schedule import Schedule
from collector.settings import Settings
from collector.settings.written import Address
from collector.store import Store, open_store

log = structlog.get_logger()

Clock = Callable[[], datetime]

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})

ENDINGS = (signal.SIGINT, signal.SIGTERM)
GRACE_SECONDS = 5
"""How long requests under way may go on after we are told to stop."""


def utc_now() -> datetime:
    """The clock of every process that serves people."""
    return datetime.now(UTC)


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
        self.clock = clock
        self.store: Store = open_store(settings.store, now=clock())
        self.stored: Counter[str] = Counter()
        self.console = console(settings, transport)
        self._is_up = False
        self._passing = asyncio.Lock()
        self._collector = (
            None
            if self.console is None
            else Collector(
                self.console,
                self.put,
                self.store.rows,
                self.store.watermark,
                options=options(settings, clock()),
                clock=clock,
                on_progress=on_progress,
            )
        )

    def put(self, records: Iterable[Record], watermarks: Iterable[Watermark] = ()) -> Stored:
        """Store a batch and count what became of it."""
        stored = self.store.put(records, watermarks)
        self.stored["ingested"] += stored.new + stored.changed
        self.stored["duplicate"] += stored.known
        return stored

    async def pull(self) -> list[Pull]:
        """One pass over Dify; passes take turns. [] where no Dify is set."""
        if self._collector is None:
            return []
        async with self._passing:
            pulls: list[Pull] = await self._collector.collect()
        self._is_up = any(pull.stream == "apps" and pull.is_complete for pull in pulls)
        return pulls

    def web(self) -> FastAPI:
        """The application that `serve` serves: REST, /metrics, and the schedule while it runs."""
        settings = self.settings
        app = rest.application(self.store.rows, self.clock, timezone=settings.report_timezone, lifespan=self._life)
        service = intake.Service(version=collector.__version__, store=whereabouts(settings.store))
        app.include_router(
            intake.router(
                service,
                self.put,
                self.pull if self.console else None,
                token=_secret(settings.ingest_token),
                is_local=settings.listen.host in LOOPBACK,
            )
        )
        app.include_router(prometheus.router(self._exposition()))

        @app.get("/", include_in_schema=False)
        async def start() -> RedirectResponse:
            return RedirectResponse("docs")

        return app

    async def close(self) -> None:
        """Let go of Dify and of the store's file."""
        if self._collector is not None:
            await self._collector.aclose()
        if self.console is not None:
            await self.console.aclose()
        await asyncio.to_thread(self.store.close)

    @asynccontextmanager
    async def _life(self, _: FastAPI) -> AsyncIterator[None]:
        dify = self.console
        if dify is None:
            yield
            return
        schedule = Schedule(self.pull, self.settings.pull_interval, stopped=lambda: dify.refused, clock=self.clock)
        schedule.start()
        try:
            yield
        finally:
            await schedule.stop()

    def _exposition(self) -> Exposition:
        return Exposition(
            self.store.rows, clock=self.clock, counting_since=self.store.counting_since, tallies=self._tallies()
        )

    def _tallies(self) -> Iterable[Tally]:
        version: dict[tuple[str, ...], float] = {(collector.__version__,): 1.0}
        yield Tally("dify_metric_build_info", "Which dify-metric this is; 1.", ("version",), lambda: version, False)
        yield Tally(
            "dify_metric_rows_ingested_total",
            "Facts stored because they were new or told more, since this process began.",
            (),
            lambda: {(): self.stored["ingested"]},
        )
        yield Tally(
            "dify_metric_rows_duplicate_total",
            "Facts told again that were known already, since this process began.",
            (),
            lambda: {(): self.stored["duplicate"]},
        )
        dify = self.console
        if dify is None:
            return
        yield Tally(
            "dify_metric_source_up",
            "Whether the last pass over Dify's apps succeeded.",
            ("source",),
            lambda: {(CONSOLE,): float(self._is_up)},
            False,
        )
        yield Tally(
            "dify_metric_source_requests_total",
            "Requests to Dify, retries included, since this process began; code is the HTTP status or what went wrong.",
            ("source", "endpoint", "code"),
            lambda: {(CONSOLE, *key): float(number) for key, number in dify.requests.items()},
        )


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
                dify=settings.dify_url if service.console else "none: nothing is pulled; set dify_url",
            )
            await web_server(service.web()).serve(sockets=[door])
        finally:
            await service.close()
    log.info("ended")


def listening(address: Address, field: str) -> socket.socket:
    """A socket that takes connections at once; who serves may come later. Raises SettingsError."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        return socket.create_server(address, family=family)
    except OSError as error:
        why = (error.strerror or str(error)).partition(" (")[0]
        raise SettingsError(f"{field}: cannot listen on {address} ({why}); name another") from None


class Server(uvicorn.Server):
    """A web server that ends on SIGINT and SIGTERM and comes back, so that who called it can close what is open."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Listen to signals while serving; uvicorn's own raises them once more when it is done."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        for number in ENDINGS:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in ENDINGS:
                loop.remove_signal_handler(number)


def web_server(app: ASGIApp) -> Server:
    """A server for one application; logs go where ours go."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        server_header=False,
        ws="none",
    )
    return Server(config)


def options(settings: Settings, now: datetime) -> Options:
    """What the settings say about pulling."""
    return Options(
        since=now - timedelta(days=settings.history_days),
        overlap=settings.pull_overlap,
        budget=timedelta(seconds=settings.pull_budget_seconds),
        node_budget=settings.node_budget,
        open_run_max_age=settings.open_run_max_age,
        message_open_for=timedelta(seconds=settings.message_open_seconds),
        debug_runs=settings.pull_debug_runs,
        read_completions=settings.read_completions,
    )


def console(settings: Settings, transport: httpx.AsyncBaseTransport | None = None) -> Console | None:
    """Dify's console as the settings name it; None where they do not."""
    if settings.dify_url is None or settings.sign_in is None:
        return None
    access = Access(
        url=settings.dify_url,
        path_prefix=settings.dify_path_prefix,
        admin_key=_secret(settings.dify_admin_key),
        workspace_id=settings.dify_workspace_id,
        email=settings.dify_email,
        password=_secret(settings.dify_password),
        token=_secret(settings.dify_token),
    )
    return Console(
        access,
        concurrency=settings.pull_concurrency,
        timeout_seconds=settings.request_timeout_seconds,
        retries=settings.retries,
        transport=transport,
    )


def _secret(value: SecretStr | None) -> str | None:
    return value.get_secret_value() if value else None


def told(pulls: Iterable[Pull]) -> list[Mapping[str, object]]:
    """Pulls as the service tells them."""
    names = intake.Passed.model_fields
    return [{name: getattr(pull, name) for name in names} for pull in pulls]
