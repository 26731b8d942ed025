"""The demo: a simulated Dify with a past, live traffic, and a collector over it, in one process on loopback.

The simulated Dify and its callers run in a thread with an event loop of their own; the collector serves in the main
thread as it would anywhere. Nothing here is needed to run dify-metric on a real Dify.
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
from datetime import timedelta
from functools import partial
from itertools import chain, repeat
from pathlib import Path

import httpx
import uvicorn

from collector.app import Service, listening, utc_now, web_server
from collector.commands import summary
from collector.demo.making import Life, make_living_world
from collector.demo.simulated import simulated_dify
from collector.demo.traffic import targets, traffic
from collector.demo.world import World
from collector.errors import SettingsError
from collector.measures.query import Rows
from collector.settings import Settings
from collector.settings.configuration import load_settings
from collector.settings.written import Address

RUNS_PER_DAY = 200
CALLS_PER_SECOND = 2.0
PULL_EVERY = "5s"

PAUSES = (5, 5, 10, 20, 40, 60)
"""Seconds between two lines that say what was counted; the last one again and again."""

WORDS = """\
simulated Dify   http://{dify}   {past} of past, and traffic that goes on
collector        http://{collector}/docs      what can be asked
                 http://{collector}/metrics   for Prometheus
ask it           {program} query tokens,cost --by model_name --since 1d --at {collector}
Ctrl-C ends it"""


def show(
    *,
    listen: str,
    dify_listen: str,
    store: str | None,
    days: int,
    length: timedelta | None,
    program: str,
    say: Callable[[str], None],
) -> None:
    """Run the demo until Ctrl-C, SIGTERM or the end of `length`."""
    with tempfile.TemporaryDirectory(prefix="dify-metric-demo-") as folder:
        path = store or str(Path(folder) / "demo.duckdb")
        with _dify(dify_listen, days) as (url, key, workspace_id):
            settings = _settings(path, listen, days, url, key, workspace_id)
            past = "1 day" if days == 1 else f"{days} days"
            words = WORDS.format(dify=dify_listen, collector=settings.listen, past=past, program=program)
            say(words + (f"; facts are kept in {store}" if store else ""))
            asyncio.run(_collect(settings, length, say))


def _settings(store: str, listen: str, days: int, url: str, key: str, workspace_id: str) -> Settings:
    overrides = {"store": store, "listen": listen, "access": "open", "dify_url": url, "dify_admin_key": key}
    more = {"dify_workspace_id": workspace_id, "pull_interval": PULL_EVERY, "history_days": days + 1}
    return load_settings({**overrides, **more, "read_completions": True, "pull_budget_seconds": 60}, {})


async def _collect(settings: Settings, length: timedelta | None, say: Callable[[str], None]) -> None:
    with listening(settings.listen, "--listen") as door:
        service = Service(settings)
        try:
            server = web_server(service.web())
            beside = [asyncio.create_task(_tell_along(service.store.rows, say))]
            if length:
                beside.append(asyncio.create_task(_end_after(length, server)))
            await server.serve(sockets=[door])
            for task in beside:
                task.cancel()
            say(f"in the end  {summary(service.store.rows)}")
        finally:
            await service.close()


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


async def _end_after(length: timedelta, server: uvicorn.Server) -> None:
    await asyncio.sleep(length.total_seconds())
    server.should_exit = True


@contextmanager
def _dify(listen: str, days: int) -> Iterator[tuple[str, str, str]]:
    """A simulated Dify that serves and is used while the context lasts: its address, admin key and workspace."""
    key, address = secrets.token_hex(16), _address(listen)
    with listening(address, "--dify-listen") as door:
        world, life = make_living_world(days=days, runs_per_day=RUNS_PER_DAY, now=utc_now())
        started: Future[Callable[[], object]] = Future()
        thread = threading.Thread(
            target=asyncio.run, args=(_live(world, life, key, door, f"http://{address}", started),)
        )
        thread.start()
        stop = started.result()
        try:
            yield f"http://{address}", key, world.workspace_id
        finally:
            stop()
            thread.join()


async def _live(
    world: World, life: Life, key: str, door: socket.socket, url: str, started: Future[Callable[[], object]]
) -> None:
    """Serve the world, and call it as users would, until the callable in `started` is called."""
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()

    async def pace(seconds: float) -> None:
        with suppress(TimeoutError):  # answers under way end soon when the demo does
            await asyncio.wait_for(stopping.wait(), seconds)
        await asyncio.sleep(0)  # even then others get their turn: so an answer sees that its caller left

    server = web_server(simulated_dify(world, clock=utc_now, admin_key=key, life=life, pace=pace))
    serving = asyncio.create_task(server.serve(sockets=[door]))
    started.set_result(partial(loop.call_soon_threadsafe, stopping.set))
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        calling = asyncio.create_task(traffic(client, targets(world), per_second=CALLS_PER_SECOND))
        await stopping.wait()
        calling.cancel()
        with suppress(asyncio.CancelledError):
            await calling
    server.should_exit = True
    await serving


def _address(listen: str) -> Address:
    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit():
        raise SettingsError(f"--dify-listen: wanted host:port, such as 127.0.0.1:9182, got {listen!r}")
    return Address(host.strip("[]"), int(port))
