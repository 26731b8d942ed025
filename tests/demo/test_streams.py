"""The streams of the simulated Dify against the recorded ones, and what callers do to them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.demo import World, truth
from collector.demo.plan import Plan
from collector.demo.streams import beats
from tests.demo.conftest import Clock, a_client, a_request, a_server, at_once, events_of, quiet_world
from tests.demo.shape import differences

RECORDED = Path(__file__).parents[1] / "recorded" / "sse"

NOT_SIMULATED = {
    "chat_with_knowledge_streaming": "what was retrieved is content; its events are those of chat_streaming",
    "console_advanced_chat_draft_run": "the console runs no drafts here",
    "console_chat_debug": "the console runs no drafts here",
    "console_workflow_draft_run": "the console runs no drafts here",
    "console_workflow_draft_run_nomodel": "the console runs no drafts here",
}
"""Recorded streams without a simulated one, and why."""

STREAMS = {
    "agent_streaming": ("Travel planner", "FINE"),
    "chat_failed_streaming": ("HR helpdesk", "FAIL_RATE"),
    "chat_stopped_streaming": ("HR helpdesk", "FINE stop"),
    "chat_streaming": ("HR helpdesk", "FINE"),
    "chatflow_failed_streaming": ("客服助手", "FAIL_AUTH"),
    "chatflow_slow_with_ping_streaming": ("客服助手", "FINE SLOW"),
    "chatflow_stopped_streaming": ("客服助手", "FINE stop"),
    "chatflow_streaming": ("客服助手", "FINE"),
    "completion_streaming": ("Translate", "FINE"),
    "workflow_iteration_llm_ok_streaming": ("Weekly report writer", "FINE"),
    "workflow_iteration_llm_retry_streaming": ("Weekly report writer", "FAIL_CLAUDE"),
    "workflow_llm_failed_streaming": ("合同审查", "FAIL_RATE"),
    "workflow_llm_stopped_streaming": ("合同审查", "FINE stop"),
    "workflow_llm_streaming": ("Weekly report writer", "FINE"),
    "workflow_missing_input_streaming": ("合同审查", ""),
    "workflow_nomodel_streaming": ("Release notes", "FINE"),
    "workflow_partial_succeeded_streaming": ("Weekly report writer", "FAIL_CLAUDE"),
}

BLOCKING = {
    "agent_blocking_rejected": ("Travel planner", "FINE"),
    "chat_blocking": ("HR helpdesk", "FINE"),
    "chat_failed_blocking": ("HR helpdesk", "FAIL_RATE"),
    "chatflow_blocking": ("客服助手", "FINE"),
    "completion_blocking": ("Translate", "FINE"),
    "workflow_llm_blocking": ("合同审查", "FINE"),
    "workflow_llm_failed_blocking": ("合同审查", "FAIL_RATE"),
    "workflow_nomodel_blocking": ("Release notes", "FINE"),
}

_NEVER_TOGETHER = {"text_chunk", "node_retry", "iteration_started", "iteration_next", "iteration_completed"}
"""Events that depend on the graph and on how far a stream came."""


def by_kind(events: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        found.setdefault(event["event"], []).append(event)
    return found


def recorded_text(name: str) -> str:
    return (RECORDED / f"{name}.sse").read_text("utf-8")


def path_of(world: World, app: str) -> str:
    return {"workflow": "/v1/workflows/run", "completion": "/v1/completion-messages"}.get(
        world.app_named(app).mode, "/v1/chat-messages"
    )


def body_of(query: str, mode: str = "streaming") -> dict[str, object]:
    return {"inputs": {"q": query}, "query": query, "user": "u-1", "response_mode": mode}


def key_of(world: World, app: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {world.app_named(app).key}"}


STOPPED_AFTER = {"HR helpdesk": 1, "客服助手": 4, "合同审查": 2}
"""How many waits pass before a caller who stops has heard enough: the next one lasts until he did."""


async def listen(world: World, clock: Clock, app: str, query: str) -> tuple[int, str]:
    """A stream, stopped after its first words where the query says so."""
    lines: list[str] = []
    has_stopped, waits = asyncio.Event(), iter(range(STOPPED_AFTER.get(app, 0)))
    words = {"workflow": "node_started"}.get(world.app_named(app).mode, "message")

    async def pace(seconds: float) -> None:
        if "stop" in query and next(waits, None) is None:
            await has_stopped.wait()
        await at_once(seconds)

    async with a_server(world, clock, pace=pace) as client:
        path, headers = path_of(world, app), key_of(world, app)
        async with client.stream("POST", path, json=body_of(query), headers=headers) as response:
            async for line in response.aiter_lines():
                lines.append(line)
                if not has_stopped.is_set() and f'"event":"{words}"' in line:
                    task_id = json.loads(line[5:])["task_id"]
                    stop = path.replace("/run", "/tasks") + f"/{task_id}/stop"
                    if "stop" in query:
                        await client.post(stop, json={"user": "u-1"}, headers=headers)
                    has_stopped.set()
    return response.status_code, "\n".join(lines)


def events_in(text: str) -> list[dict[str, Any]]:
    return [json.loads(line[5:]) for line in text.split("\n") if line.startswith("data:")]


def test_every_recorded_stream_is_simulated_or_said_not_to_be() -> None:
    streams = {path.stem for path in RECORDED.glob("*.sse")}
    answers = {path.stem for path in RECORDED.glob("*.json") if not path.stem.endswith(".headers")}
    assert streams == STREAMS.keys() | NOT_SIMULATED.keys()
    assert answers == BLOCKING.keys()


@pytest.mark.parametrize("name", STREAMS)
async def test_streams_have_the_recorded_events(clock: Clock, world: World, name: str) -> None:
    status, text = await listen(world, clock, *STREAMS[name])

    simulated, recorded = by_kind(events_in(text)), by_kind(events_in(recorded_text(name)))
    assert simulated.keys() - _NEVER_TOGETHER == recorded.keys() - _NEVER_TOGETHER
    assert "event: ping\n\n" in text or "event: ping\n\n" not in recorded_text(name)
    for kind in simulated.keys() & recorded.keys():
        for event in simulated[kind]:
            assert not min((list(differences(like, event)) for like in recorded[kind]), key=len)
    if not recorded:
        assert status == 400
        assert json.loads(text) == json.loads(recorded_text(name))


@pytest.mark.parametrize("name", BLOCKING)
async def test_blocking_answers_have_the_recorded_shape(clock: Clock, world: World, name: str) -> None:
    app, query = BLOCKING[name]
    recorded = json.loads((RECORDED / f"{name}.json").read_text("utf-8"))

    async with a_client(world, clock) as client:
        response = await client.post(path_of(world, app), json=body_of(query, "blocking"), headers=key_of(world, app))

    assert response.status_code == recorded["status"]
    assert not list(differences(recorded["body"], response.json()))


async def test_a_stopped_run_says_so_in_its_stream_and_runs_for_ever(clock: Clock, world: World) -> None:
    _, text = await listen(world, clock, "合同审查", "FINE stop")

    finished = by_kind(events_in(text))["workflow_finished"][0]["data"]
    assert finished["status"] == "stopped"
    (run,) = world.runs.values()
    assert (run.status, run.finished_at, run.total_tokens) == ("running", None, 0)


async def test_a_stopped_answer_keeps_what_was_said_and_loses_its_tokens(clock: Clock, world: World) -> None:
    await listen(world, clock, "HR helpdesk", "FINE stop")

    (message,) = world.messages.values()
    assert message.answer.startswith("You ")
    assert (message.message_tokens, message.answer_tokens) == (0, 0)
    assert [call.is_told for call in world.calls] == [False]


async def test_a_caller_who_goes_away_leaves_an_empty_message_and_a_finished_run(clock: Clock, world: World) -> None:
    async with a_server(world, clock) as client:
        stream = client.stream("POST", "/v1/chat-messages", json=body_of("FINE"), headers=key_of(world, "客服助手"))
        async with stream as response:
            async for line in response.aiter_lines():
                if '"event":"message"' in line:
                    break

    (run,), (message,) = world.runs.values(), world.messages.values()
    assert run.status == "succeeded"
    assert run.total_tokens == sum(truth.tokens(world).values())
    assert (message.answer, message.message_tokens, message.status) == ("", 0, "normal")


async def test_the_stream_and_the_rows_say_the_same(clock: Clock, world: World) -> None:
    async with a_server(world, clock) as client:
        path, headers = "/v1/workflows/run", key_of(world, "翻译流水线")
        async with client.stream("POST", path, json=body_of("FINE"), headers=headers) as response:
            found = by_kind(await events_of(response))

    finished = found["workflow_finished"][0]["data"]
    run = world.runs[finished["id"]]
    assert finished["total_tokens"] == run.total_tokens
    assert {event["data"]["id"] for event in found["node_finished"]} == {node.id for node in world.nodes[run.id]}
    child = next(other for other in world.runs.values() if other is not run)
    assert run.total_tokens == sum(truth.tokens(world).values())
    assert child.total_tokens < run.total_tokens


async def test_old_versions_write_blanks_and_escapes(clock: Clock, world: World) -> None:
    async with a_client(world, clock, version="1.8.0") as client:
        answer = await client.post("/v1/chat-messages", json=body_of("FINE"), headers=key_of(world, "客服助手"))

    assert answer.text.startswith('data: {"event": "workflow_started", "conversation_id": ')
    assert answer.text.isascii()


async def test_time_passes_between_events_as_the_plan_has_it(clock: Clock, world: World) -> None:
    waited: list[float] = []

    async def pace(seconds: float) -> None:
        waited.append(seconds)
        await at_once(seconds)

    async with a_client(world, clock, pace=pace) as client:
        await client.post("/v1/workflows/run", json=body_of("FINE"), headers=key_of(world, "合同审查"))

    (run,) = world.runs.values()
    assert sum(waited) == pytest.approx(run.elapsed_time)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), app=st.sampled_from([app.name for app in quiet_world().apps.values()]))
def test_beats_never_go_back_in_time(seed: int, app: str) -> None:
    world = quiet_world()
    world.rng.seed(seed)
    plan: Plan = a_request(world, app, "anything", settle=False)
    moments = [beat.seconds for beat in beats(world, plan)]
    assert moments == sorted(moments)
