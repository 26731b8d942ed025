"""The tap as a command runs it: settings in, workers with their spools and the door for operators out.

Light on purpose: it starts while callers wait, so nothing that only the collector needs is imported here.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import structlog

import collector
from collector.errors import DifyMetricError, SettingsError, Unavailable
from collector.settings import Settings
from collector.settings.written import Address
from collector.tap.admin import Admin
from collector.tap.figures import OVERHEAD, OVERHEAD_BOUNDS, OVERHEAD_BUCKETS, Board, Line
from collector.tap.limits import Limits
from collector.tap.outlet import Destination, Outlet
from collector.tap.parent import end_with
from collector.tap.pulse import Pulse
from collector.tap.relay import Relay
from collector.tap.spool_folder import Folder
from collector.tap.tls import client_context
from collector.tap.watch import Sink
from collector.tap.workers import Plan, listeners, run
from collector.tap.workers import check as check_plan

SHOW_SECONDS = 1.0
"""How often workers bring their numbers up to date."""

SWITCH_SECONDS = 0.0005
"""How long another thread may hold up the loop; Python's own 5 ms would be felt."""

TOLD_EVERY_SECONDS = 60.0
"""How often the collector is told where our numbers are; it lists us for Prometheus."""

_CONNECT_SECONDS = 5.0

log = structlog.get_logger()


class Whereabouts(msgspec.Struct):
    """Where a tap that was started listens: what it tells the service beside it."""

    listen: str
    admin: str


@dataclass(frozen=True)
class Check:
    """One thing that has to be right, and what was found."""

    name: str
    is_well: bool
    result: str


def plan_of(settings: Settings) -> Plan:
    """What the settings say about the relay. Raises SettingsError."""
    if not settings.upstreams:
        raise SettingsError("tap_upstream: no upstream for the tap; set it, or dify_url, to the address of Dify")
    return Plan(
        listen=settings.tap_listen,
        upstreams=settings.upstreams,
        workers=settings.tap_workers,
        limits=Limits(stop_seconds=settings.tap_stop_seconds),
        keeps_host=settings.tap_keeps_host,
        certificate=_path(settings.tap_tls_cert),
        key=_path(settings.tap_tls_key),
        authorities=_path(settings.tap_upstream_ca),
    )


def destination_of(settings: Settings) -> Destination:
    """What the settings say about where records go."""
    return Destination(
        url=settings.tap_collector,
        folder=Path(settings.tap_spool),
        most_bytes=max(1 << 20, settings.tap_spool_bytes // settings.tap_workers),
        token=settings.ingest_token.get_secret_value() if settings.ingest_token else None,
        authorities=_path(settings.tap_collector_ca),
    )


def tap(settings: Settings, *, parent: int | None = None, tell: Callable[[str], None] | None = None) -> None:
    """Run a tap until it is told to stop. Raises SettingsError for what cannot work.

    `parent` is a process to end with; `tell` gets one line of JSON, a Whereabouts, when callers are taken.
    """
    if parent is not None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        end_with(parent)
    plan, destination = plan_of(settings), destination_of(settings)
    check_plan(plan)
    destination.post().close()
    Folder(destination.folder)
    (door,) = _named("tap_admin", settings.tap_admin)
    # What a service started beside itself is scraped with the service.
    told = None if parent is not None else str(settings.tap_advertise or Address(*door.getsockname()[:2]))
    process = _Process(plan, destination, door, told)

    def ready(listen: Address) -> None:
        host, port = door.getsockname()[:2]
        log.info("tap begins", listen=str(listen), admin=f"http://{Address(host, port)}/metrics", pid=os.getpid())
        if tell is not None:
            tell(msgspec.json.encode(Whereabouts(str(listen), str(Address(host, port)))).decode())

    run(plan, process.open_sink, ready, process.accompany)


def _named(field: str, address: Address) -> list[socket.socket]:
    try:
        return listeners(address, 1)
    except SettingsError as error:
        raise SettingsError(f"{field}: {error}") from None


class _Process:
    """What the workers of a tap share, and what each has of its own."""

    def __init__(self, plan: Plan, destination: Destination, door: socket.socket, told: str | None) -> None:
        """`told` is what the collector is told of where the door is; None: nothing."""
        self._plan, self._told = plan, told
        self._destination = destination
        self._door = door
        self._board = Board(plan.workers)
        self._outlets: dict[int, Outlet] = {}

    @asynccontextmanager
    async def open_sink(self, number: int) -> AsyncIterator[Sink]:
        """A spool and its delivery, for as long as the worker lives."""
        sys.setswitchinterval(SWITCH_SECONDS)
        outlet = self._outlets[number] = Outlet(self._destination)
        outlet.start()
        try:
            yield outlet.put
        finally:
            await asyncio.to_thread(outlet.close)

    @asynccontextmanager
    async def accompany(self, number: int, relay: Relay) -> AsyncIterator[None]:
        """The door for operators, and the numbers behind it."""
        loop, pulse = asyncio.get_running_loop(), Pulse(OVERHEAD_BUCKETS)
        admin = await loop.create_server(
            lambda: Admin(self._board.text, lambda: not relay.is_stopping), sock=self._door
        )
        pulse.start()
        beside = [asyncio.create_task(self._show(self._board.line(number), relay, pulse, self._outlets[number]))]
        if number == 0 and self._told:
            beside.append(asyncio.create_task(self._tell(self._told)))
        try:
            yield
        finally:
            for task in beside:
                task.cancel()
            pulse.stop()
            admin.close()

    async def _show(self, line: Line, relay: Relay, pulse: Pulse, outlet: Outlet) -> None:
        while True:
            line.show(dict(_figures(relay, pulse)))
            line.show(await asyncio.to_thread(outlet.figures))
            await asyncio.sleep(SHOW_SECONDS)

    async def _tell(self, admin: str) -> None:
        """Say where our numbers are, again and again: a collector that was started anew knows nothing of us."""
        desk = self._destination.desk()
        body = msgspec.json.encode({"admin": admin, "name": socket.gethostname(), "version": collector.__version__})
        while True:
            with suppress(Unavailable):  # delivery says so already
                await asyncio.to_thread(desk.send, body)
            await asyncio.sleep(TOLD_EVERY_SECONDS)


def _figures(relay: Relay, pulse: Pulse) -> Iterator[tuple[tuple[str, str], float]]:
    counts, upstreams = relay.watch.counts, relay.directory.upstreams
    for name, number in (
        ("connections", len(relay.callers)),
        ("streams_open", counts.open_streams),
        ("requests_total", counts.requests),
        ("refused_requests_total", counts.refused),
        ("streams_total", counts.streams),
        ("events_total", counts.events),
        ("unread_answers_total", counts.unread),
        ("parse_failures_total", sum(counts.failures.values())),
        ("request_bytes_total", counts.request_bytes),
        ("response_bytes_total", counts.answer_bytes),
        ("records_total", counts.records),
    ):
        yield (f"dify_metric_tap_{name}", ""), number
    yield ("dify_metric_tap_upstream_connects_total", "connected"), sum(each.connects for each in upstreams)
    yield ("dify_metric_tap_upstream_connects_total", "failed"), sum(each.connect_failures for each in upstreams)
    for bound, number in zip(OVERHEAD_BOUNDS, pulse.counts, strict=True):
        yield (OVERHEAD, bound), number
    yield (OVERHEAD, "sum"), pulse.sum_seconds


def check(settings: Settings) -> list[Check]:
    """Whether a tap with these settings would work: files, ports, upstreams, the collector and its token."""
    found = [_looked("settings", lambda: _settings_fit(settings))]
    if not found[0].is_well:
        return found
    found.append(_looked("tap_listen", lambda: _can_listen(settings.tap_listen)))
    found.append(_looked("tap_admin", lambda: _can_listen(settings.tap_admin)))
    found.append(_looked("tap_spool", lambda: _spool(settings)))
    found.extend(_looked(f"upstream {each}", partial(_connected, each.url, settings)) for each in settings.upstreams)
    found.append(_looked("collector", lambda: _collector(settings)))
    return found


def _looked(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name, True, look())
    except (DifyMetricError, OSError) as error:
        return Check(name, False, str(error))


def _settings_fit(settings: Settings) -> str:
    check_plan(plan_of(settings))
    destination_of(settings).post().close()
    return "they fit together"


def _can_listen(address: Address) -> str:
    for bound in listeners(address, 1):
        bound.close()
    return f"{address} is free"


def _spool(settings: Settings) -> str:
    folder = Folder(Path(settings.tap_spool))
    return f"{folder.path.resolve()} can be written to"


def _connected(url: str, settings: Settings) -> str:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    host = parts.hostname or ""
    with socket.create_connection((host, port), _CONNECT_SECONDS) as link:
        if parts.scheme == "https":
            context: ssl.SSLContext = client_context(_path(settings.tap_upstream_ca))
            with context.wrap_socket(link, server_hostname=host):
                return "connected by TLS"
    return "connected"


def _collector(settings: Settings) -> str:
    destination = destination_of(settings)
    post = destination.post()
    try:
        answer = post.send(b"{}")
    finally:
        post.close()
    if not answer.is_stored:
        raise DifyMetricError(f"{destination.url}: {answer.detail or f'HTTP {answer.status}, not from a collector'}")
    return f"{destination.url} takes records"


def _path(given: str | None) -> Path | None:
    return Path(given) if given else None
