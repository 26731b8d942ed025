"""How fast a back-fill reads a Dify, into a store, beside a bare loop of the very same requests.

A simulated Dify serves in a process of its own and takes a while for each answer, somewhat less than Dify 1.11 was
measured to take at four connections (47 lists of nodes a second). Both sides have four connections; the bare loop
decodes each answer and does nothing else.
Run: python -m tests.benchmarks.pull_api
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import structlog
import uvicorn

from collector.collect.collector import Collector, Options
from collector.demo import make_world, simulated_dify
from collector.pull.console import Access, Console
from collector.store import open_store
from tests.benchmarks.figure import Figure

CONCURRENCY, ROUNDS, ANSWERS_IN_SECONDS = 4, 5, 0.05
PEER = "a bare httpx loop of the same requests"
KEY = "benchmark"
BEGAN = datetime(2026, 11, 20, 12, tzinfo=UTC)
LONG_AGO = BEGAN - timedelta(days=400)
WHOLE = Options(since=LONG_AGO, back_to=LONG_AGO, budget=timedelta(days=1), node_budget=None)


def world() -> Any:
    return make_world(days=3, runs_per_day=300, now=BEGAN, seed=7)


def serve() -> None:
    """The simulated Dify, until its stdin ends; its port is the first line it prints."""
    app = simulated_dify(world(), clock=lambda: BEGAN, admin_key=KEY)

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await asyncio.sleep(ANSWERS_IN_SECONDS)
        await app(scope, receive, send)

    async def serving() -> None:
        server = uvicorn.Server(uvicorn.Config(slow, log_level="error", lifespan="off", ws="none"))
        listening = socket.create_server(("127.0.0.1", 0))
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else half a round trip waits for an ACK
        print(listening.getsockname()[1], flush=True)
        going = asyncio.create_task(server.serve([listening]))
        await asyncio.to_thread(sys.stdin.read)
        server.should_exit = True
        await going

    asyncio.run(serving())


@contextmanager
def a_dify() -> Iterator[str]:
    """The address of a simulated Dify in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.pull_api", "serve"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        process.stdin.close()


class Noting(httpx.AsyncHTTPTransport):
    """Remembers what was asked."""

    def __init__(self) -> None:
        super().__init__(limits=httpx.Limits(max_connections=CONCURRENCY))
        self.asked: list[tuple[str, str]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append((request.method, str(request.url)))
        return await super().handle_async_request(request)


async def pulled(url: str, workspace_id: str) -> tuple[float, list[tuple[str, str]]]:
    """Seconds of a whole back-fill into a new store, and what it asked."""
    noting = Noting()
    access = Access(url=url, admin_key=KEY, workspace_id=workspace_id)
    with closing(open_store(":memory:")) as store:
        async with Console(access, concurrency=CONCURRENCY, transport=noting) as console:
            await console.get("/apps")
            noting.asked.clear()
            collector = Collector(console, store.put, store.rows, store.watermark, options=WHOLE, clock=lambda: BEGAN)
            began = time.perf_counter()
            await collector.collect()
            took = time.perf_counter() - began
            await collector.aclose()
    return took, noting.asked


async def bare(url: str, workspace_id: str, asked: list[tuple[str, str]]) -> float:
    """Seconds in which a loop without any of our work asked the same."""
    left = iter(asked)
    headers = {"Authorization": f"Bearer {KEY}", "X-WORKSPACE-ID": workspace_id}

    async def ask(client: httpx.AsyncClient) -> None:
        for method, address in left:
            json.loads((await client.request(method, address)).content)

    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=CONCURRENCY), headers=headers) as client:
        await client.get(f"{url}/console/api/apps")
        began = time.perf_counter()
        await asyncio.gather(*(ask(client) for _ in range(CONCURRENCY)))
        return time.perf_counter() - began


async def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    workspace_id = world().workspace_id
    with a_dify() as url:
        sides: list[tuple[float, float]] = []
        for _ in range(ROUNDS):
            ours, asked = await pulled(url, workspace_id)
            sides.append((len(asked) / await bare(url, workspace_id, asked), len(asked) / ours))
    theirs, own = (statistics.median(side) for side in zip(*sides, strict=True))
    print(Figure("pull.api_rps", own, "requests/s", PEER))
    print(Figure("pull.api_ratio", own / theirs, "x", PEER))


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        serve()
    else:
        asyncio.run(main())
