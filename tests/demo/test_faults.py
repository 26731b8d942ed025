"""What tests can make go wrong."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest

from collector.demo import EVER, Faults, World
from tests.demo.conftest import Clock, a_request, a_server, at_once

APPS = "/console/api/apps"


async def test_a_fault_comes_after_so_many_and_as_often_as_said(console: httpx.AsyncClient, faults: Faults) -> None:
    faults.html_error("GET .*/apps", 502, after=1, times=2)

    codes = [(await console.get(APPS)).status_code for _ in range(4)]

    assert codes == [200, 502, 502, 200]
    assert faults.asked("/apps") == 4


async def test_refusals_look_like_dify(console: httpx.AsyncClient, faults: Faults) -> None:
    faults.refuse("/datasets", 403, "forbidden")
    faults.too_many("/workspaces", "7")
    faults.too_many("/tags", None)
    faults.html_error("/profile", 504)

    forbidden, busy = await console.get("/console/api/datasets"), await console.get("/console/api/workspaces")
    silent, page = await console.get("/console/api/tags"), await console.get("/console/api/account/profile")

    assert (forbidden.status_code, forbidden.json()["code"]) == (403, "forbidden")
    assert (busy.status_code, busy.headers["Retry-After"]) == (429, "7")
    assert (silent.status_code, "Retry-After" in silent.headers) == (429, False)
    assert (page.status_code, page.headers["content-type"]) == (504, "text/html")


async def test_a_truncated_answer_is_no_json(console: httpx.AsyncClient, faults: Faults) -> None:
    faults.truncate("/apps")

    answer = await console.get(APPS)

    assert answer.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        answer.json()


async def test_an_answer_can_be_rewritten(console: httpx.AsyncClient, faults: Faults) -> None:
    faults.rewrite("/apps", lambda body: body.replace(b'"workflow"', b'"swarm"'))

    assert '"swarm"' in (await console.get(APPS)).text


async def test_nobody_may_be_there(console: httpx.AsyncClient, faults: Faults) -> None:
    faults.unreachable(times=EVER)

    with pytest.raises(httpx.ConnectError):
        await console.get(APPS)
    faults.clear()
    assert (await console.get(APPS)).status_code == 200


async def test_a_connection_breaks_in_the_middle(world: World, clock: Clock, faults: Faults) -> None:
    faults.disconnect("/workflows/run", after_bytes=700)
    headers = {"Authorization": f"Bearer {world.app_named('合同审查').key}"}
    body, heard = {"inputs": {"q": "FINE"}, "user": "u", "response_mode": "streaming"}, b""

    async def listen(client: httpx.AsyncClient) -> None:
        nonlocal heard
        async with client.stream("POST", "/v1/workflows/run", json=body, headers=headers) as response:
            async for chunk in response.aiter_raw():
                heard += chunk

    async with a_server(world, clock, faults=faults) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await listen(client)

    assert len(heard) == 700


async def test_a_stalled_answer_comes_when_it_is_released(console: httpx.AsyncClient, faults: Faults) -> None:
    faults.stall("/apps")

    asked = asyncio.create_task(console.get(APPS))
    for _ in range(20):
        await at_once(0)
    assert not asked.done()
    faults.release()

    assert (await asked).status_code == 200


async def test_the_world_changes_between_two_pulls(console: httpx.AsyncClient, world: World, faults: Faults) -> None:
    plan = a_request(world, "合同审查")
    world_app, run = plan.app, plan.run
    assert run is not None
    at = f"{APPS}/{world_app.id}"
    faults.before("/workflow-runs", lambda: world.delete_run(run.id), after=1)
    faults.before(f"/apps/{world_app.id}$", lambda: world.delete_app(world_app.id))

    query = {"triggered_from": "app-run"}
    pulls = [(await console.get(f"{at}/workflow-runs", params=query)).json()["data"] for _ in range(2)]

    assert [len(rows) for rows in pulls] == [1, 0]
    assert (await console.get(at)).status_code == 404
