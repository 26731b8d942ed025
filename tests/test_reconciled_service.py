"""A service offers its reconciliation: over REST, to Prometheus, and to the command that asks it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import httpx
import pytest

from collector.app import Service
from collector.settings import Settings
from tests.builders import a_call, a_run, an_app
from tests.reconcile.test_reasons import READ, all_read

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    service = Service(Settings(store=":memory:"), clock=lambda: NOW)
    service.put([an_app(workspace_id="w1"), a_run(reported_tokens=107, **READ), a_call()], all_read())
    transport = httpx.ASGITransport(service.web())
    async with httpx.AsyncClient(transport=transport, base_url="http://collector") as client:
        yield client
    await service.close()


async def test_it_is_served(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/v1/reconciliation?only=open&since=2d")

    assert [(row["kind"], row["unexplained"]) for row in answer.json()["rows"]] == [("run_tokens", 7)]


async def test_prometheus_gets_what_is_unexplained(client: httpx.AsyncClient) -> None:
    lines = (await client.get("/metrics")).text.splitlines()

    name = "dify_metric_reconciliation_difference_tokens"
    assert f"# TYPE {name} gauge" in lines
    assert f'{name}{{cause="unexplained",kind="run_tokens",workspace_id="w1"}} 7.0' in lines
