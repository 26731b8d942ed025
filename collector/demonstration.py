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
from pathlib import Path

import httpx
import uvicorn

from collector.app import Service, listening, utc_now, web_server
from collector.demo.making import Life, make_living_world
from collector.demo.simulated import simulated_dify
from collector.demo.traffic import targets, traffic
from collector.demo.world import World
from collector.errors import SettingsError
from collector.settings import Settings
from collector.settings.configuration import load_settings
from collector.settings.written import Address

RUNS_PER_DAY = 400
CALLS_PER_SECOND = 2.0
PULL_EVERY = "5s"

WORDS = """\
simulated Dify   http://{dify}
collector        http://{collector}/docs        what can be asked
                 http://{collector}/metrics     for Prometheus
                 http://{collector}/api/v1/query?measure=tokens,cost&by=model_name&since=1d
numbers grow while this runs; Ctrl-C ends it{kept}"""


def show(
    *,
    listen: str,
    dify_listen: str,
    store: str | None,
    days: int,
    length: timedelta | None,
    say: Callable[[str], None],
) -> None:
    """Run the demo until Ctrl-C, SIGTERM or the end of `length`."""
    with tempfile.TemporaryDirectory(prefix="dify-metric-demo-") as folder:
        path = store or str(Path(folder) / "demo.duckdb")
        with _dify(dify_listen, days) as (url, key, workspace_id):
            settings = _settings(path, listen, days, url, key, workspace_id)
            kept = f"; facts are kept in {store}" if store else ""
            say(WORDS.format(dify=dify_listen, collector=settings.listen, kept=kept))
            asyncio.run(_collect(settings, length, say))


def _settings(store: str, listen: str, days: int, url: str, key: str, workspace_id: str) -> Settings:
    overrides = {"store": store, "listen": listen, "dify_url": url, "dify_admin_key": key}
    more = {"dify_workspace_id": workspace_id, "pull_interval": PULL_EVERY, "history_days": days + 1}
    return load_settings({**overrides, **more, "read_completions": True, "pull_budget_seconds": 60}, {})


async def _collect(settings: Settings, length: timedelta | None, say: Callable[[str], None]) -> None:
    service = Service(settings)
    try:
        with listening(settings.listen, "--listen") as door:
            server = web_server(service.web())
            ending = asyncio.create_task(_end_after(length, server)) if length else None
            await server.serve(sockets=[door])
            if ending:
                ending.cancel()
        ((calls, tokens),) = service.store.rows("SELECT count(*), sum(tokens) FROM model_call")
        say(f"counted {calls:,} model calls with {tokens or 0:,} tokens")
    finally:
        await service.close()


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
        with suppress(TimeoutError):  # answers under way end at once when the demo does
            await asyncio.wait_for(stopping.wait(), seconds)

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
