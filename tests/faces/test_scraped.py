"""A real Prometheus scrapes what we expose, and says what REST says."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.types import ASGIApp

from collector.app import utc_now
from collector.collect.collector import collect
from collector.demo import make_world, simulated_dify
from collector.faces import prometheus, rest
from collector.faces.prometheus import Exposition
from collector.pull.console import Access, Console
from collector.records import CONSOLE, Pull, Record
from collector.store import Store, open_store
from collector.tap.figures import Board
from tests.builders import a_call, a_conversation, a_feedback, a_message, a_node, a_run, an_app
from tests.servers.prometheus import Prometheus, running_prometheus


@contextmanager
def listening(app: ASGIApp) -> Iterator[str]:
    """An application behind a real socket: its host:port."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        server = uvicorn.Server(uvicorn.Config(app, lifespan="off", ws="none", log_config=None))
        thread = threading.Thread(target=asyncio.run, args=(server.serve(sockets=[door]),))
        thread.start()
        try:
            yield f"127.0.0.1:{door.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@dataclass
class Scraped:
    """A store, what it exposes, and the Prometheus that looks at it."""

    store: Store
    prometheus: Prometheus
    target: str

    def see(self, expression: str, value: float) -> None:
        """Wait until Prometheus has scraped that value."""
        self.prometheus.wait_for(lambda: self.prometheus.value(expression) == value, f"{expression} == {value}")

    def ask(self, path: str) -> Any:
        return httpx.get(f"http://{self.target}{path}", trust_env=False).json()


@pytest.fixture
def scraped(server: Callable[[str], str], free_port: int, tmp_path: Path) -> Iterator[Scraped]:
    binary = server("prometheus")
    store = open_store(":memory:", now=utc_now() - timedelta(days=1))
    app = rest.application(store.rows, utc_now)
    exposition = Exposition(store.rows, clock=utc_now, counting_since=store.counting_since, others=Board(1).text)
    app.include_router(prometheus.router(exposition))
    with listening(app) as target, running_prometheus(binary, tmp_path, free_port, target) as there:
        yield Scraped(store, there, target)
    store.close()


def some_facts(batch: int) -> list[Record]:
    """A little of everything that a panel shows, finished just now."""
    now = utc_now()
    when = {"created_at": now - timedelta(seconds=3), "finished_at": now - timedelta(seconds=1), "seen_at": now}
    at = {"created_at": now - timedelta(seconds=3), "seen_at": now}
    name = f"b{batch}"
    failed = {"status": "failed", "error_class": "rate_limited"}
    unspent = {"tokens": None, "input_tokens": None, "output_tokens": None}
    pull = {"source": CONSOLE, "stream": "runs", "seconds": 0.5, "requests": 1, "pages": 1, "records": 1, **at}
    return [
        an_app(workspace_id="w1", seen_at=now),
        an_app(id="helpdesk", name="客服", mode="chat", workspace_id="w1", seen_at=now),
        a_run(id=f"{name}-good", **when),
        a_run(id=f"{name}-bad", **failed, **when),
        a_node(id=f"{name}-n1", run_id=f"{name}-good", **when),
        a_run(id=f"{name}-open", status="running", is_final=False, elapsed_seconds=None, **at, finished_at=None),
        a_call(id=f"{name}-n1", run_id=f"{name}-good", cached_input_tokens=30, **when),
        a_call(id=f"{name}-n2", run_id=f"{name}-bad", **unspent, **failed, **when),
        a_call(id=f"{name}-n3", run_id=f"{name}-good", cost=Decimal("0.5"), currency="CNY", **when),
        a_call(id=f"{name}-n4", run_id=f"{name}-good", cost=None, currency=None, **when),
        a_message(id=f"{name}-m", time_to_first_token_seconds=0.2, **when),
        a_conversation(id=f"{name}-c", **at),
        a_feedback(id=f"{name}-m/user", message_id=f"{name}-m", **at),
        a_feedback(id=f"{name}-m/admin", message_id=f"{name}-m", from_source="admin", rating="dislike", **at),
        Pull(id=f"{name}-p1", parse_failures=1, is_complete=True, **pull),
        Pull(id=f"{name}-p2", parse_failures=0, is_complete=False, error_class="unavailable", **pull),
    ]


def test_prometheus_and_rest_say_the_same(scraped: Scraped):
    scraped.store.put(some_facts(1))
    scraped.see("sum(dify_llm_calls_total)", 4)

    (row,) = scraped.ask("/api/v1/query?measure=input_tokens,output_tokens,model_calls,finished_runs,messages")["rows"]
    assert row["input_tokens"] == scraped.prometheus.value("sum(dify_llm_input_tokens_total)")
    assert row["output_tokens"] == scraped.prometheus.value("sum(dify_llm_output_tokens_total)")
    assert row["model_calls"] == scraped.prometheus.value("sum(dify_llm_calls_total)")
    assert row["finished_runs"] == scraped.prometheus.value("sum(dify_run_finished_total)")
    assert row["messages"] == scraped.prometheus.value("sum(dify_chat_messages_total)")
    costs = scraped.ask("/api/v1/query?measure=cost")["rows"]
    assert {cost["currency"]: float(cost["cost"]) for cost in costs if cost["currency"]} == {
        "USD": scraped.prometheus.value("sum(dify_llm_cost_usd_total)"),
        "CNY": scraped.prometheus.value("sum(dify_llm_cost_cny_total)"),
    }


def test_what_the_world_of_the_demo_exposes_is_clean(server: Callable[[str], str]):
    """`promtool check metrics` over a store pulled from the simulated Dify."""
    now = utc_now()
    world = make_world(days=1, runs_per_day=40, now=now)
    dify = httpx.ASGITransport(simulated_dify(world, clock=lambda: now, admin_key="k" * 16))
    access = Access(url="http://dify", admin_key="k" * 16, workspace_id=world.workspace_id)
    store = open_store(":memory:", now=now - timedelta(days=2))

    async def pulled() -> None:
        async with Console(access, transport=dify) as console:
            await collect(console, store.put, store.rows, store.watermark, clock=lambda: now)

    asyncio.run(pulled())
    exposition = Exposition(store.rows, clock=lambda: now, counting_since=store.counting_since, others=Board(2).text)
    text, _ = exposition.text("text/plain")

    checked = subprocess.run([server("promtool"), "check", "metrics"], input=text, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
    assert text.count(b"\ndify_llm_input_tokens_total{") > 3
    assert b"\ndify_metric_tap_streams_total 0\n" in text
    assert exposition.text("application/openmetrics-text")[0].endswith(b"# EOF\n")
