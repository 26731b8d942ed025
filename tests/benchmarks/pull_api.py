"""How fast a back-fill reads node lists, beside a bare loop of the same requests over the same connections.

Both ask one server on the loopback, which answers a real node list after a while, as a Dify at work would.
Run: python -m tests.benchmarks.pull_api
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import statistics
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import httpx
import structlog
import uvicorn

from collector.collect.collector import Collector, Options
from collector.pull.console import Access, Console
from collector.records import Record, Stored, Watermark
from tests.benchmarks.figure import Figure
from tests.pull.recordings import RECORDED

RUNS, CONCURRENCY, ROUNDS, ANSWERS_IN_SECONDS = 400, 4, 5, 0.05
PEER = "a bare httpx loop of the same requests"
NODES = (RECORDED / "node_executions_succeeded.json").read_bytes()
BEGAN = datetime(2026, 11, 20, 12, tzinfo=UTC)


async def dify(scope: Any, receive: Any, send: Any) -> None:
    """The least of a Dify: one workflow app, no new runs, node lists."""
    if scope["type"] != "http":
        return
    path = scope["path"]
    if path.endswith("node-executions"):
        await asyncio.sleep(ANSWERS_IN_SECONDS)
        body = NODES
    elif path.endswith("/apps"):
        body = json.dumps({"data": [{"id": "shop", "mode": "workflow"}], "has_more": False, "total": 1}).encode()
    else:
        body = b'{"data": [], "has_more": false, "total": 0}'
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Unread:
    """A store with so many runs whose nodes are not read yet."""

    def __init__(self) -> None:
        self.left = {f"run{n}" for n in range(RUNS)}

    def put(self, records: Iterable[Record], watermarks: Iterable[Watermark] = ()) -> Stored:
        self.left -= {getattr(record, "id", "") for record in records if getattr(record, "leaves_known", None)}
        return Stored()

    def rows(self, sql: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
        if sql.startswith("SELECT id, app_id") and "leaves_known" in sql:
            ends = "succeeded", True, BEGAN, BEGAN, "1", False, None, None, 100, None
            return [(key, "shop", "w1", *ends) for key in sorted(self.left)]
        return []

    def watermark(self, source: str, stream: str, app_id: str) -> datetime:
        return BEGAN


async def pulled(url: str) -> float:
    """Seconds in which a pass read all node lists."""
    store = Unread()
    async with Console(Access(url=url, token="t"), concurrency=CONCURRENCY) as console:
        await console.get("/apps")
        clock = lambda: datetime.now(UTC)  # noqa: E731
        collector = Collector(
            console, store.put, store.rows, store.watermark, options=Options(node_budget=None), clock=clock
        )
        began = time.perf_counter()
        await collector.collect()
        took = time.perf_counter() - began
    assert not store.left
    return took


async def bare(url: str) -> float:
    """Seconds in which a loop without any of our work asked the same."""
    left = iter(range(RUNS))

    async def ask(client: httpx.AsyncClient) -> None:
        for number in left:
            response = await client.get(f"{url}/console/api/apps/shop/workflow-runs/run{number}/node-executions")
            json.loads(response.content)

    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=CONCURRENCY)) as client:
        await client.get(f"{url}/console/api/apps")
        began = time.perf_counter()
        await asyncio.gather(*(ask(client) for _ in range(CONCURRENCY)))
        return time.perf_counter() - began


async def main() -> None:
    server = uvicorn.Server(uvicorn.Config(dify, log_level="error", lifespan="off"))
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else half a round trip waits for an ACK
    serving = asyncio.create_task(server.serve([listening]))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    rounds = [(await bare(url), await pulled(url)) for _ in range(ROUNDS)]
    server.should_exit = True
    await serving
    theirs, ours = (RUNS / statistics.median(side) for side in zip(*rounds, strict=True))
    print(Figure("pull.api_rps", ours, "requests/s", PEER))
    print(Figure("pull.api_ratio", ours / theirs, "x", PEER))


if __name__ == "__main__":
    asyncio.run(main())
