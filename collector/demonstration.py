"""The demo: a simulated Dify with a past, live traffic through a tap, and a collector over it, all on loopback.

The simulated Dify and its callers run in a thread with an event loop of their own; the collector serves in the main
thread and starts its tap as it would anywhere. Nothing here is needed to run dify-metric on a real Dify.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import chain, repeat
from pathlib import Path

import httpx

from collector.app import Service, utc_now
from collector.collect.queues import Queues
from collector.commands import summary
from collector.companion import Companion
from collector.demo.broker import SimulatedBroker
from collector.demo.making import Life, make_living_world
from collector.demo.simulated import simulated_dify
from collector.demo.traffic import targets, traffic
from collector.demo.world import World
from collector.errors import SettingsError
from collector.measures.query import Rows
from collector.pull.broker import Broker
from collector.settings import Settings
from collector.settings.configuration import load_settings
from collector.settings.written import Address
from collector.web_server import Server, listening, web_server

RUNS_PER_DAY = 200
CALLS_PER_SECOND = 2.0
PULL_EVERY = "5s"
LOOK_EVERY_SECONDS = 5
"""Between two looks at the queues."""

STOP_SECONDS = 5
"""For answers that are on their way through the tap when the demo ends."""

PAUSES = (5, 5, 10, 20, 40, 60)
"""Seconds between two lines that say what was counted; the last one again and again."""

WORDS = """\
simulated Dify   http://{dify}   {past} of past, and traffic that goes on
collector        http://{collector}/          the numbers, in a browser
                 http://{collector}/docs      what can be asked
                 http://{collector}/metrics   for Prometheus, the tap's numbers among the others
tap              http://{tap}   between callers and Dify: all traffic goes through it
ask it           {program} query tokens,cost --by model_name --since 1d --at {collector}
Ctrl-C ends it"""


def show(
    *,
    listen: str,
    dify_listen: str,
    tap_listen: str,
    store: str | None,
    days: int,
    length: timedelta | None,
    program: str,
    say: Callable[[str], None],
) -> None:
    """Run the demo until Ctrl-C, SIGTERM or the end of `length`."""
    with tempfile.TemporaryDirectory(prefix="dify-metric-demo-") as folder:
        path = store or str(Path(folder) / "demo.duckdb")
        with _dify(dify_listen, days) as dify:
            settings = _settings(path, listen, days, dify, tap_listen, str(Path(folder) / "spool"))
            past = "1 day" if days == 1 else f"{days} days"
            words = WORDS.format(
                dify=dify_listen, collector=settings.listen, tap=settings.tap, past=past, program=program
            )
            say(words + (f"; facts are kept in {store}" if store else ""))
            asyncio.run(_collect(settings, dify, length, say))


def _settings(store: str, listen: str, days: int, dify: _Dify, tap: str, spool: str) -> Settings:
    overrides = {"store": store, "listen": listen, "access": "open", "dify_url": dify.url, "dify_admin_key": dify.key}
    more = {"dify_workspace_id": dify.workspace_id, "pull_interval": PULL_EVERY, "history_days": days + 1}
    passing = {"tap": tap, "tap_spool": spool, "tap_stop_seconds": STOP_SECONDS, "log_level": "warning"}
    return load_settings({**overrides, **more, **passing, "read_completions": True, "pull_budget_seconds": 60}, {})


async def _collect(settings: Settings, dify: _Dify, length: timedelta | None, say: Callable[[str], None]) -> None:
    with listening(settings.listen, "--listen") as door:
        service = Service(settings)
        tap = service.companion
        assert tap is not None  # noqa: S101 - the settings above name one

        async def before_end() -> None:
            dify.hush()
            await tap.stop()

        try:
            server = web_server(service.web())
            server.before_end = before_end
            beside = [asyncio.create_task(_tell_along(service.store.rows, say))]
            beside.append(asyncio.create_task(_call(tap, dify, server)))
            beside.append(asyncio.create_task(_look_at_queues(service)))
            if length:
                beside.append(asyncio.create_task(_end_after(length, server)))
            await server.serve(sockets=[door])
            for task in beside:
                task.cancel()
            for failed in [task.exception() for task in beside if task.done() and not task.cancelled()]:
                if failed is not None:
                    raise failed
            say(f"in the end  {summary(service.store.rows)}")
        finally:
            await service.close()


async def _call(tap: Companion, dify: _Dify, server: Server) -> None:
    """Start the tap, then the traffic that goes through it. Without a tap there is no demo."""
    try:
        await tap.start()
    except SettingsError:
        server.end()
        raise
    dify.call(f"http://{tap.listen}")


async def _look_at_queues(service: Service) -> None:
    """Sample the queues of the simulated Dify as those of a real one are."""
    (source,) = service.sources
    queues = Queues(Broker(SimulatedBroker(utc_now), name=source.name), service.put, origin=source.name, clock=utc_now)
    while True:
        await queues.sample()
        await asyncio.sleep(LOOK_EVERY_SECONDS)


async def _tell_along(rows: Rows, say: Callable[[str], None]) -> None:
    """Say what was counted so far, often at first."""
    passed, said = 0, ""
    for pause in chain(PAUSES, repeat(PAUSES[-1])):
        await asyncio.sleep(pause)
        passed += pause
        counted = await asyncio.to_thread(summary, rows)
        if counted != said:
            say(f"after {passed:>3}s  {counted}")
        said = counted


async def _end_after(length: timedelta, server: Server) -> None:
    await asyncio.sleep(length.total_seconds())
    server.end()


@dataclass(frozen=True)
class _Dify:
    """A simulated Dify that serves: how to sign in, and what can be asked of its thread."""

    url: str
    key: str
    workspace_id: str
    call: Callable[[str], object]  # begin to ask it as users do, at that address
    hush: Callable[[], object]  # ask no more, and let answers on their way end at once
    stop: Callable[[], object]


@contextmanager
def _dify(listen: str, days: int) -> Iterator[_Dify]:
    """A simulated Dify that serves while the context lasts."""
    key, address = secrets.token_hex(16), _address(listen)
    with listening(address, "--dify-listen") as door:
        world, life = make_living_world(days=days, runs_per_day=RUNS_PER_DAY, now=utc_now())
        started: Future[_Dify] = Future()
        thread = threading.Thread(
            target=asyncio.run, args=(_live(world, life, key, door, f"http://{address}", started),)
        )
        thread.start()
        dify = started.result()
        try:
            yield dify
        finally:
            dify.stop()
            thread.join()


async def _live(world: World, life: Life, key: str, door: socket.socket, url: str, started: Future[_Dify]) -> None:
    """Serve the world, and have it called as users would once it is said where, until it is to stop."""
    loop = asyncio.get_running_loop()
    asked_at: asyncio.Queue[str] = asyncio.Queue()
    hushed, stopping = asyncio.Event(), asyncio.Event()

    async def pace(seconds: float) -> None:
        with suppress(TimeoutError):  # answers under way end soon when the demo does
            await asyncio.wait_for(hushed.wait(), seconds)
        await asyncio.sleep(0)  # even then others get their turn: so an answer sees that its caller left

    def stop() -> None:
        hushed.set()
        stopping.set()

    async def callers() -> None:
        async with httpx.AsyncClient(base_url=await asked_at.get(), timeout=60) as client:
            calling = asyncio.create_task(traffic(client, targets(world), per_second=CALLS_PER_SECOND))
            await hushed.wait()
            calling.cancel()
            with suppress(asyncio.CancelledError):
                await calling

    server = web_server(simulated_dify(world, clock=utc_now, admin_key=key, life=life, pace=pace))
    tasks = [asyncio.create_task(server.serve(sockets=[door])), asyncio.create_task(callers())]

    def there(base: str) -> None:
        loop.call_soon_threadsafe(asked_at.put_nowait, base)

    heard = (partial(loop.call_soon_threadsafe, each) for each in (hushed.set, stop))
    started.set_result(_Dify(url, key, world.workspace_id, there, *heard))
    await stopping.wait()
    server.should_exit = True
    tasks[1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _address(listen: str) -> Address:
    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit():
        raise SettingsError(f"--dify-listen: wanted host:port, such as 127.0.0.1:9182, got {listen!r}")
    return Address(host.strip("[]"), int(port))
