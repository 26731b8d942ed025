"""The demo: a simulated Dify with a past, live traffic, and a collector over it, in one process on loopback.

The simulated Dify and its callers run in a thread with an event loop of their own; the collector serves in the main
thread as it would anywhere. Nothing here is needed to run dify-metric on a real Dify.
"""

from __future__ import annotations

import asyncio
import secrets
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import httpx
import uvicorn

from collector.app import Service, utc_now, web_server
from collector.configuration import load_settings
from collector.demo.making import make_living_world
from collector.demo.simulated import simulated_dify
from collector.demo.traffic import targets, traffic
from collector.errors import SettingsError
from collector.settings import Settings
from collector.written import Address

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
    server = web_server(service.web(), settings.listen.host, settings.listen.port)
    ending = asyncio.create_task(_end_after(length, server)) if length else None
    try:
        await server.serve()
        totals = service.store.rows("SELECT count(*), sum(tokens) FROM model_call")[0]
        say(f"{totals[0]:,} model calls with {totals[1] or 0:,} tokens were counted")
    finally:
        if ending:
            ending.cancel()
        await service.close()


async def _end_after(length: timedelta, server: uvicorn.Server) -> None:
    await asyncio.sleep(length.total_seconds())
    server.should_exit = True


@contextmanager
def _dify(listen: str, days: int) -> Iterator[tuple[str, str, str]]:
    """A simulated Dify that serves and is used while the context lasts: its address, admin key and workspace."""
    key, address = secrets.token_hex(16), _address(listen)
    world, life = make_living_world(days=days, runs_per_day=RUNS_PER_DAY, now=utc_now())
    app = simulated_dify(world, clock=utc_now, admin_key=key, life=life)
    server = web_server(app, address.host, address.port)
    url = f"http://{address}"
    problems: list[BaseException] = []

    async def live() -> None:
        serving = asyncio.create_task(server.serve())
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            calling = asyncio.create_task(_call(client, server))
            await serving
            calling.cancel()
            with suppress(asyncio.CancelledError):
                await calling

    async def _call(client: httpx.AsyncClient, server: uvicorn.Server) -> None:
        while not server.started:
            await asyncio.sleep(0.05)
        await traffic(client, targets(world), per_second=CALLS_PER_SECOND)

    def run() -> None:
        try:
            asyncio.run(live())
        except (Exception, SystemExit) as error:  # told to whoever waits for the start
            problems.append(error)

    thread = threading.Thread(target=run, name="simulated-dify")
    thread.start()
    try:
        while not server.started:
            thread.join(0.05)
            if not thread.is_alive():
                raise SettingsError(f"the simulated Dify could not listen on {listen}; free it or give --dify-listen")
        yield url, key, world.workspace.id
    finally:
        server.should_exit = True
        thread.join()


def _address(listen: str) -> Address:
    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit():
        raise SettingsError(f"--dify-listen: wanted host:port, such as 127.0.0.1:9182, got {listen!r}")
    return Address(host.strip("[]"), int(port))
