"""The service API: what it refuses, what it leaves in the world, what it lets be read."""

from __future__ import annotations

import httpx
import pytest

from collector.demo import World
from tests.demo.conftest import Clock, a_client, a_request

CHAT, RUN, COMPLETION = "/v1/chat-messages", "/v1/workflows/run", "/v1/completion-messages"


def key(world: World, app: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {world.app_named(app).key}"}


def asking(query: str = "FINE", **more: object) -> dict[str, object]:
    return {"inputs": {"q": query}, "query": query, "user": "u-1", "response_mode": "blocking", **more}


@pytest.mark.parametrize(
    ("app", "path", "body", "status", "code"),
    [
        ("HR helpdesk", RUN, asking(), 400, "not_workflow_app"),
        ("合同审查", CHAT, asking(), 400, "not_chat_app"),
        ("合同审查", COMPLETION, asking(), 400, "app_unavailable"),
        ("合同审查", RUN, {**asking(), "inputs": {}}, 400, "invalid_param"),
        ("合同审查", RUN, {"inputs": {"q": "hi"}}, 400, "invalid_param"),
        ("Travel planner", CHAT, asking(), 400, "invalid_param"),
        ("HR helpdesk", CHAT, asking("FAIL_RATE"), 400, "completion_request_error"),
        ("客服助手", CHAT, asking("FAIL_RATE"), 400, "invalid_param"),
        ("HR helpdesk", CHAT, asking(conversation_id="00000000-0000-0000-0000-000000000000"), 404, "not_found"),
    ],
)
async def test_refusals(
    world: World, clock: Clock, app: str, path: str, body: dict[str, object], status: int, code: str
) -> None:
    async with a_client(world, clock) as client:
        answer = await client.post(path, json=body, headers=key(world, app))

    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_a_refused_request_leaves_nothing_behind(world: World, clock: Clock) -> None:
    async with a_client(world, clock) as client:
        await client.post(RUN, json={"inputs": {}, "user": "u"}, headers=key(world, "合同审查"))

    assert not world.runs


async def test_a_failed_workflow_answers_200(world: World, clock: Clock) -> None:
    async with a_client(world, clock) as client:
        answer = await client.post(RUN, json=asking("FAIL_RATE"), headers=key(world, "合同审查"))

    assert (answer.status_code, answer.json()["data"]["status"]) == (200, "failed")


async def test_a_conversation_goes_on_with_its_id(world: World, clock: Clock) -> None:
    async with a_client(world, clock) as client:
        first = (await client.post(CHAT, json=asking(), headers=key(world, "客服助手"))).json()
        clock.forward(minutes=1)
        more = asking(conversation_id=first["conversation_id"])
        second = (await client.post(CHAT, json=more, headers=key(world, "客服助手"))).json()
        query = {"user": "u-1", "conversation_id": first["conversation_id"]}
        told = (await client.get("/v1/messages", params=query, headers=key(world, "客服助手"))).json()

    assert [row["id"] for row in told["data"]] == [first["message_id"], second["message_id"]]
    (conversation,) = world.conversations.values()
    assert conversation.updated_at == clock.now


async def test_ratings_come_change_and_go(world: World, clock: Clock) -> None:
    plan = a_request(world, "HR helpdesk")
    message_id, told = plan.message.id if plan.message else "", []
    async with a_client(world, clock) as client:
        for rating in ("like", "dislike", None):
            rated = {"rating": rating, "user": "u-1", "content": None}
            path = f"/v1/messages/{message_id}/feedbacks"
            await client.post(path, json=rated, headers=key(world, "HR helpdesk"))
            clock.forward(minutes=1)
            answer = await client.get("/v1/app/feedbacks", headers=key(world, "HR helpdesk"))
            told.append([(row["rating"], row["created_at"], row["updated_at"]) for row in answer.json()["data"]])

    assert told == [
        [("like", "2026-11-20T08:00:00", "2026-11-20T08:00:00")],
        [("dislike", "2026-11-20T08:00:00", "2026-11-20T08:01:00")],
        [],
    ]


async def test_the_use_of_a_key_is_noted(console: httpx.AsyncClient, world: World, clock: Clock) -> None:
    app = world.app_named("HR helpdesk")
    await console.get("/v1/info", headers=key(world, "HR helpdesk"))

    (told,) = (await console.get(f"/console/api/apps/{app.id}/api-keys")).json()["data"]

    assert (told["token"], told["last_used_at"]) == (app.key, int(clock.now.timestamp()))


async def test_a_key_opens_its_own_app_alone(world: World, clock: Clock) -> None:
    plan = a_request(world, "合同审查")
    run_id = plan.run.id if plan.run else ""
    async with a_client(world, clock) as client:
        own = await client.get(f"/v1/workflows/run/{run_id}", headers=key(world, "合同审查"))
        other = await client.get(f"/v1/workflows/run/{run_id}", headers=key(world, "发票识别"))

    assert (own.json()["id"], other.json()["id"]) == (run_id, None)
    assert isinstance(own.json()["inputs"], str)


async def test_somebody_else_cannot_stop_a_request(world: World, clock: Clock) -> None:
    async with a_client(world, clock) as client:
        answer = await client.post("/v1/chat-messages/t/stop", json={"user": "x"}, headers=key(world, "HR helpdesk"))

    assert answer.json() == {"result": "success"}


async def test_what_is_no_json_is_refused(world: World, clock: Clock) -> None:
    async with a_client(world, clock) as client:
        answer = await client.post(RUN, content=b"{", headers=key(world, "合同审查"))

    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
