"""What the stories about the simulated Dify share: a clock, a small world, ways to ask it."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import httpx
import pytest
import uvicorn

from collector.demo import Faults, Habits, World, make_world, simulated_dify
from collector.demo.drawing import Drawing
from collector.demo.plan import Asked, Plan
from collector.demo.rows import App

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
CALM = Habits(failures=0.0, stops=0.0, disconnects=0.0, feedback=0.0)
ADMIN_KEY = "an-admin-key"


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **span: float) -> None:
        self.now += timedelta(**span)


async def at_once(_: float) -> None:
    """How time passes in tests."""
    await asyncio.sleep(0)


def a_request(
    world: World,
    app: App | str,
    query: str = "FINE",
    *,
    at: datetime = NOW - timedelta(minutes=5),
    fate: str = "ends",
    user: str = "u-1",
    invoke_from: str = "service-api",
    triggered_from: str = "app-run",
    after: Plan | None = None,
    settle: bool = True,
) -> Plan:
    """A request in the past of a world; `after` goes on with that conversation."""
    found = app if isinstance(app, App) else world.app_named(app)
    drawing = Drawing(world.rng, CALM, lambda name: world.app_named(name))
    kind = {"web-app": "browser", "trigger": "trigger"}.get(invoke_from, "service-api")
    is_account = invoke_from in ("debugger", "explore")
    plan = drawing.draw(
        Asked(
            app=found,
            user=world.accounts[0] if is_account else world.end_user(found, kind, user),
            at=at,
            query=query,
            inputs=dict.fromkeys(found.inputs, query),
            invoke_from=invoke_from,
            triggered_from=triggered_from,
            conversation=after.conversation if after else None,
        )
    )
    plan.fate = fate
    if settle:
        world.settle(plan)
    return plan


def quiet_world(**how: object) -> World:
    """A world without a past."""
    return make_world(days=0, runs_per_day=1, seed=3, now=NOW, habits=CALM, **how)  # type: ignore[arg-type]


def fill_world(seed: int = 11, days: int = 4, runs_per_day: int = 60) -> World:
    """A world with a few days behind it."""
    return make_world(days=days, runs_per_day=runs_per_day, seed=seed, now=NOW)


@asynccontextmanager
async def a_client(world: World, clock: Callable[[], datetime], **how: object) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a simulated Dify, not signed in."""
    how = {"pace": at_once, "habits": CALM, "admin_key": ADMIN_KEY, **how}
    app = simulated_dify(world, clock=clock, **how)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://dify") as client:
        yield client


@asynccontextmanager
async def a_server(world: World, clock: Callable[[], datetime], **how: object) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a simulated Dify behind a real socket: streams come as they are sent."""
    how = {"pace": at_once, "habits": CALM, "admin_key": ADMIN_KEY, **how}
    app = simulated_dify(world, clock=clock, **how)  # type: ignore[arg-type]
    config = uvicorn.Config(app, lifespan="off", ws="none", log_level="critical", loop="asyncio")
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        await server.startup(sockets=[listening])
        port = listening.getsockname()[1]
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            yield client
        await server.shutdown(sockets=[listening])


async def events_of(response: httpx.Response) -> list[dict[str, Any]]:
    """The events of a stream, read to its end."""
    return [json.loads(line[5:]) async for line in response.aiter_lines() if line.startswith("data:")]


async def sign_in(client: httpx.AsyncClient, name: str = "owner") -> httpx.Response:
    """Log in with cookies and keep the CSRF header."""
    response = await client.post("/console/api/login", json=credentials(name))
    client.headers["X-CSRF-Token"] = client.cookies["csrf_token"]
    return response


def credentials(name: str = "owner", password: str | None = None, *, is_plain: bool = False) -> dict[str, object]:
    """The body of a login."""
    password = password or f"{name}-Passw0rd"
    return {
        "email": f"{name}@example.com",
        "password": password if is_plain else base64.b64encode(password.encode()).decode(),
        "remember_me": True,
    }


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def world() -> World:
    return quiet_world()


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
async def console(world: World, clock: Clock, faults: Faults) -> AsyncIterator[httpx.AsyncClient]:
    """A console client, signed in as the owner."""
    async with a_client(world, clock, faults=faults) as client:
        await sign_in(client)
        yield client


@pytest.fixture
def rng() -> Random:
    return Random(5)
