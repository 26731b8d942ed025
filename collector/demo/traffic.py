"""Callers of the simulated Dify: they ask its apps over the service API, like users do.

What comes in is an HTTP client (with the base address, of Dify or of a tap before it), whom to ask, a seed and a rate;
what goes out are requests, and at the end a tally of how they went. A caller who fails is counted and stops no other.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from random import Random

import httpx
import msgspec

from collector.demo.cast import PEOPLE
from collector.demo.rows import App
from collector.demo.world import World

_PATHS = {"workflow": "/v1/workflows/run", "completion": "/v1/completion-messages"}
_STOPS = {"workflow": "/v1/workflows/tasks/{}/stop", "completion": "/v1/completion-messages/{}/stop"}


class Target(msgspec.Struct, frozen=True):
    """An app that can be asked."""

    mode: str
    key: str
    prompts: tuple[str, ...]
    inputs: tuple[str, ...]
    weight: float


class _Call(msgspec.Struct, frozen=True):
    """What one caller is going to do."""

    target: Target
    user: str
    prompt: str
    manner: str  # stream, block, stop, leave
    rating: str | None


def targets(world: World) -> list[Target]:
    """The apps of a world, as callers know them."""
    return [_target(app) for app in world.apps.values() if app.enable_api]


async def traffic(
    client: httpx.AsyncClient,
    asked: Sequence[Target],
    *,
    seed: int = 7,
    per_second: float = 1.0,
    requests: int | None = None,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> Counter[str]:
    """Ask these apps until `requests` were made, or for ever; how they ended, counted by manner and status.

    Who asks what when depends on the seed alone.
    """
    rng, tally = Random(f"{seed}/traffic"), Counter[str]()
    made = 0
    async with asyncio.TaskGroup() as callers:
        while requests is None or made < requests:
            await sleep(rng.expovariate(per_second))
            callers.create_task(_make(client, _draw(rng, asked), tally))
            made += 1
    return tally


def _target(app: App) -> Target:
    return Target(app.mode, app.key, app.prompts, app.inputs, app.weight)


def _draw(rng: Random, asked: Sequence[Target]) -> _Call:
    target = rng.choices(asked, [one.weight for one in asked])[0]
    manner = rng.choices(("stream", "block", "stop", "leave"), (80, 15, 3, 2))[0]
    if manner == "block" and target.mode == "agent-chat":
        manner = "stream"
    rating = rng.choices((None, "like", "dislike"), (85, 11, 4))[0]
    return _Call(target, rng.choice(PEOPLE), rng.choice(target.prompts), manner, rating)


async def _make(client: httpx.AsyncClient, call: _Call, tally: Counter[str]) -> None:
    try:
        if call.manner == "block":
            response = await client.post(_path(call), json=_body(call), headers=_headers(call))
            tally[f"block {response.status_code}"] += 1
        else:
            tally[await _listen(client, call)] += 1
    except (httpx.HTTPError, ValueError) as error:
        tally[f"{call.manner} {type(error).__name__}"] += 1


async def _listen(client: httpx.AsyncClient, call: _Call) -> str:
    """Read a stream; some callers stop it or leave after its first words. Says how it went."""
    message_id, has_stopped = None, False
    async with client.stream("POST", _path(call), json=_body(call), headers=_headers(call)) as response:
        async for line in response.aiter_lines():
            if not line.startswith("data:"):
                continue
            event = json.loads(line[5:])
            message_id = event.get("message_id", message_id)
            if call.manner == "leave":
                break
            if call.manner == "stop" and not has_stopped and event.get("task_id"):
                has_stopped = True
                stop = _STOPS.get(call.target.mode, "/v1/chat-messages/{}/stop").format(event["task_id"])
                await client.post(stop, json={"user": call.user}, headers=_headers(call))
        status = response.status_code
    if call.rating and message_id and call.manner == "stream":
        rating = {"rating": call.rating, "user": call.user, "content": None}
        await client.post(f"/v1/messages/{message_id}/feedbacks", json=rating, headers=_headers(call))
    return f"{call.manner} {status}"


def _path(call: _Call) -> str:
    return _PATHS.get(call.target.mode, "/v1/chat-messages")


def _headers(call: _Call) -> dict[str, str]:
    return {"Authorization": f"Bearer {call.target.key}"}


def _body(call: _Call) -> dict[str, object]:
    return {
        "inputs": dict.fromkeys(call.target.inputs, call.prompt),
        "query": call.prompt,
        "user": call.user,
        "response_mode": "blocking" if call.manner == "block" else "streaming",
    }
