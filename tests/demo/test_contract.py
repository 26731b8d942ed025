"""The simulated Dify against the recorded one: same keys, same types, same status codes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from collector.demo.cast import KNOWLEDGE
from tests.demo.conftest import ADMIN_KEY, NOW, Clock, a_client, a_request, credentials, quiet_world, sign_in
from tests.demo.shape import differences

RECORDED = Path(__file__).parents[1] / "recorded"
INDEX = {entry["name"]: entry for entry in json.loads((RECORDED / "index.json").read_text("utf-8"))}

_NOT_NEEDED = "no collector reads it"
_PLUGINS = "the plugin daemon is not simulated"

NOT_SIMULATED = {
    "agent_logs": "repeats what agent_thoughts say",
    "annotations": _NOT_NEEDED,
    "annotations_count": _NOT_NEEDED,
    "api_based_extension": _NOT_NEEDED,
    "app_trace": _NOT_NEEDED,
    "app_triggers": _NOT_NEEDED,
    "app_triggers_webhook": _NOT_NEEDED,
    "app_workflows": "the graph of a run is in its detail",
    "dataset_api_keys": _NOT_NEEDED,
    "dataset_auto_disable_logs": _NOT_NEEDED,
    "dataset_use_check": _NOT_NEEDED,
    "document_detail": "the list says as much",
    "document_indexing_status": "the status of a dataset's documents comes in one list",
    "document_segments": "contents",
    "features": _NOT_NEEDED,
    "feedbacks_export_csv": "the JSON export is read",
    "installed_apps": _NOT_NEEDED,
    "model_providers": _PLUGINS,
    "node_executions_truncated": "contents beyond a megabyte are not drawn",
    "node_executions_webhook_trigger": "the start node of a trigger holds the caller's HTTP request",
    "plugin_list": _PLUGINS,
    "plugin_tasks": _PLUGINS,
    "provider_models": _PLUGINS,
    "role_metrics_model_providers": _PLUGINS,
    "role_normal_model_providers": _PLUGINS,
    "system_features": _NOT_NEEDED,
    "system_features_no_auth": _NOT_NEEDED,
    "tool_providers": _PLUGINS,
}
"""Recordings the simulated Dify does not answer, and why."""

_SIGNING_IN = {name for name, entry in INDEX.items() if entry["path"].endswith(("/login", "/refresh-token"))} | {
    name for name in INDEX if name.startswith(("error_401", "ok_", "admin_key"))
}
_UNDER_WAY = {name for name in INDEX if name.startswith("inflight")} | {"v1_400_too_many_active"}

LISTS_OF_NODES = sorted(name for name in INDEX if name.startswith("node_executions") and name not in NOT_SIMULATED)

PLAIN = sorted(INDEX.keys() - NOT_SIMULATED.keys() - _SIGNING_IN - _UNDER_WAY)
"""Recordings that are a request of somebody signed in, or of a key."""


class Stage:
    """A world in which everything the recordings are about has happened, and the names of it."""

    def __init__(self) -> None:
        self.world = world = quiet_world()
        flow, at = "Weekly report writer", NOW - timedelta(hours=2)
        self.flow, self.chatflow, self.chat = (world.app_named(name) for name in (flow, "客服助手", "HR helpdesk"))
        self.completion, self.agent = world.app_named("Translate"), world.app_named("Travel planner")
        later = [at + timedelta(minutes=n) for n in range(12)]
        runs = {
            "7ae41236-b67f-4c77-b7ab-5de2b89d60cd": a_request(world, flow, at=later[3], fate="stopped"),
            "1704a654-beee-4c48-9f1e-9a5cc7ba9610": a_request(world, flow, "FAIL_RATE", at=later[1]),
            "e5fadbd4-4e26-45cf-9fbc-4a2401159e6b": a_request(world, flow, "FAIL_CLAUDE", at=later[2]),
            "2a7fb553-94c7-4d1a-8a12-765ce5eab124": a_request(world, flow, at=later[4], invoke_from="web-app"),
            "8ba99354-7e37-4926-8fb3-5114caf1a4c5": a_request(world, flow, at=later[5], invoke_from="debugger"),
        }
        a_request(world, flow, at=later[0])
        a_request(world, flow, "FAIL_RATE", at=later[0])
        a_request(world, "发票识别", at=later[0], invoke_from="trigger", triggered_from="webhook", user="DEFAULT-USER")
        first = a_request(world, self.chatflow, at=later[6], user="u-7")
        second = a_request(world, self.chatflow, at=later[7], user="u-7", after=first)
        third = a_request(world, self.chatflow, at=later[8], user="u-7", after=first)
        runs["2551d5a9-076d-4820-ad51-211a9d3656a4"] = third
        a_request(world, self.chatflow, at=later[8], invoke_from="debugger")
        chat = a_request(world, self.chat, at=later[9])
        a_request(world, self.chat, at=later[9], user="u-2")
        a_request(world, self.chat, at=later[10], invoke_from="debugger")
        agent, completion = a_request(world, self.agent, at=later[9]), a_request(world, self.completion, at=later[10])
        a_request(world, self.completion, at=later[10])
        for plan, rating in ((first, "dislike"), (second, "like"), (chat, "like")):
            assert plan.message is not None
            world.rate(plan.message, plan.user, rating, later[11], None)
            world.rate(plan.message, world.accounts[0], rating, later[11], "admin says")
        self.ids = {recorded: plan.run.id for recorded, plan in runs.items() if plan.run}
        self._name("af39d124-fc8e-4c01-95bc-0e1435a80bf1", first.conversation)
        self._name("40ebc2f2-0391-4a28-a636-87d14a71726d", second.message)
        self._name("c4cbd00d-674f-46e9-982e-27e83bc1c043", chat.conversation)
        self._name("34956863-fe80-4d17-ae55-79af39f55a87", agent.conversation)
        self._name("8f219d5a-06c0-49b8-90a8-a2a632faae1a", completion.conversation)
        self._name("2b3de7da-7f8b-4589-bac8-6e0ce1b8f511", world.dataset_named(KNOWLEDGE))
        self.ids["443247de-457e-4dd2-88ae-a416d26cf16c"] = "7a9f0000-0000-4000-a000-70726f640000"
        self.ids |= {
            "{wf_llm_id}": self.flow.id,
            "{chatflow_id}": self.chatflow.id,
            "{chat_id}": self.chat.id,
            "{completion_id}": self.completion.id,
            "{agent_id}": self.agent.id,
            "{dataset_id}": world.dataset_named(KNOWLEDGE).id,
            "{app_id}": self.flow.id,
            "{run_id}": self.ids["2a7fb553-94c7-4d1a-8a12-765ce5eab124"],
        }

    def _name(self, recorded: str, row: object) -> None:
        self.ids[recorded] = row.id  # type: ignore[attr-defined]

    def here(self, recorded: str) -> str:
        """A recorded path or value with the ids of this world."""
        for old, new in self.ids.items():
            recorded = recorded.replace(old, new)
        return recorded

    def key_for(self, name: str) -> str:
        """The key a recorded request to the service API carried."""
        if name in ("v1_datasets", "v1_dataset_documents", "v1_models_embedding"):
            return self.world.dataset_key
        if name == "v1_bad_key_401":
            return "app-nobody"
        return (self.flow if "workflow" in name and "wrong_app" not in name else self.chatflow).key


@pytest.fixture(scope="module")
def stage() -> Stage:
    return Stage()


@pytest.fixture
async def client(stage: Stage, clock: Clock) -> AsyncIterator[httpx.AsyncClient]:
    async with a_client(stage.world, clock) as client:
        yield client


def recorded(name: str) -> object:
    return json.loads((RECORDED / f"{name}.json").read_text("utf-8"))


def told(response: httpx.Response) -> object:
    is_json = response.headers["content-type"].startswith("application/json")
    return response.json() if is_json else response.text


async def ask_as_recorded(client: httpx.AsyncClient, stage: Stage, name: str) -> httpx.Response:
    entry = INDEX[name]
    path = stage.here(entry["path"])
    query = {key: stage.here(value) if isinstance(value, str) else value for key, value in entry["query"].items()}
    body = json.loads(stage.here(json.dumps(entry.get("request_body")))) if entry.get("request_body") else None
    if path.startswith("/v1"):
        headers = {} if name == "v1_no_key_401" else {"Authorization": f"Bearer {stage.key_for(name)}"}
        body = {"inputs": {"q": "hi"}, "user": "u"} if entry["method"] == "POST" else None
        return await client.request(entry["method"], path, params=query, headers=headers, json=body)
    role = "normal" if name.startswith("role_normal") else "metrics" if name.startswith("role_metrics") else "owner"
    await sign_in(client, role)
    return await client.request(entry["method"], path, params=query, json=body)


def test_every_recording_is_simulated_or_said_not_to_be() -> None:
    assert NOT_SIMULATED.keys() <= INDEX.keys()
    assert len(PLAIN) + len(NOT_SIMULATED) + len(_SIGNING_IN | _UNDER_WAY) == len(INDEX)


@pytest.mark.parametrize("name", PLAIN)
async def test_answers_have_the_recorded_shape(client: httpx.AsyncClient, stage: Stage, name: str) -> None:
    if name == "v1_403_api_disabled":
        stage.chatflow.enable_api = False

    response = await ask_as_recorded(client, stage, name)

    stage.chatflow.enable_api = True
    assert response.status_code == INDEX[name]["status"], response.text
    assert response.headers["x-version"] == "1.11.1"
    assert not list(differences(recorded(name), told(response)))


@pytest.mark.parametrize("name", LISTS_OF_NODES)
async def test_nodes_have_the_recorded_shape_by_type(client: httpx.AsyncClient, stage: Stage, name: str) -> None:
    """Each recorded node against the simulated ones of its type and end, contents of model calls included."""
    simulated = {}
    for run_id in stage.world.runs:
        app_id = stage.world.runs[run_id].app_id
        await sign_in(client)
        answer = await client.get(f"/console/api/apps/{app_id}/workflow-runs/{run_id}/node-executions")
        for node in answer.json()["data"]:
            simulated[_kind(node)] = node

    for node in recorded(name)["data"]:  # type: ignore[index,call-overload]
        if _kind(node) not in _NOT_DRAWN:
            like = simulated[_kind(node)]
            assert not list(differences(node, like)), name
            for field in ("process_data", "outputs") if node["node_type"] == "llm" else ():
                assert not list(differences(node[field], like[field]))
            assert not list(differences(node["execution_metadata"], like["execution_metadata"]))


_NOT_DRAWN = {("template-transform", "succeeded", True), ("llm", "failed", False)}
"""Inner templates; and a node aborted by its neighbour's failure, which needs branches that run side by side."""


def _kind(node: dict[str, object]) -> tuple[object, object, bool]:
    metadata = node["execution_metadata"]
    return node["node_type"], node["status"], isinstance(metadata, dict) and bool(metadata.get("iteration_id"))


# Signing in, as recorded


async def _login(client: httpx.AsyncClient, **how: object) -> httpx.Response:
    return await client.post("/console/api/login", json=credentials(**how))  # type: ignore[arg-type]


async def _wrong_passwords(client: httpx.AsyncClient, times: int) -> httpx.Response:
    for _ in range(times):
        response = await _login(client, name="editor", password="wrong")
    return response


async def _refresh(client: httpx.AsyncClient, *, times: int) -> httpx.Response:
    await sign_in(client)
    old = client.cookies["refresh_token"]
    for _ in range(times):
        client.cookies.clear()
        response = await client.post("/console/api/refresh-token", headers={"Cookie": f"refresh_token={old}"})
    return response


async def _with_token(client: httpx.AsyncClient, clock: Clock, name: str) -> httpx.Response:
    """GET /apps with what the recording says it carried."""
    await sign_in(client)
    access, csrf = client.cookies["access_token"], client.cookies["csrf_token"]
    client.cookies.clear()
    del client.headers["X-CSRF-Token"]
    both = {"X-CSRF-Token": csrf, "Cookie": f"csrf_token={csrf}"}
    headers = {
        "error_401_no_token": {},
        "error_401_garbage_token": {"Authorization": "Bearer garbage"},
        "error_401_expired_access_token": {**both, "Authorization": f"Bearer {access}"},
        "error_401_missing_csrf": {"Cookie": f"access_token={access}"},
        "error_401_bearer_without_csrf": {"Authorization": f"Bearer {access}"},
        "ok_bearer_with_csrf_header_and_cookie": {**both, "Authorization": f"Bearer {access}"},
        "ok_cookies_with_csrf": {**both, "Cookie": f"access_token={access}; csrf_token={csrf}"},
    }[name]
    if "expired" in name:
        clock.forward(seconds=3601)
    return await client.get("/console/api/apps", params={"limit": 1}, headers=headers)


async def _with_admin_key(client: httpx.AsyncClient, stage: Stage, name: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {ADMIN_KEY}", "X-WORKSPACE-ID": stage.world.workspace_id}
    if "without_workspace" in name or "no_ws" in name:
        del headers["X-WORKSPACE-ID"]
    return await client.get(stage.here(INDEX[name]["path"]), headers=headers)


async def _answer(client: httpx.AsyncClient, stage: Stage, clock: Clock, name: str) -> httpx.Response:
    if name.startswith("admin_key"):
        return await _with_admin_key(client, stage, name)
    if name.startswith(("error_401", "ok_")):
        return await _with_token(client, clock, name)
    return await {
        "login": lambda: _login(client),
        "login_plain_password_401": lambda: _login(client, password="pässword", is_plain=True),
        "login_wrong_password_401": lambda: _wrong_passwords(client, 1),
        "login_rate_limited_429": lambda: _wrong_passwords(client, 6),
        "refresh_token": lambda: _refresh(client, times=1),
        "refresh_token_reused_401": lambda: _refresh(client, times=2),
        "refresh_token_missing_401": lambda: client.post("/console/api/refresh-token"),
    }[name]()


@pytest.mark.parametrize("name", sorted(_SIGNING_IN))
async def test_doors_open_and_shut_as_recorded(
    client: httpx.AsyncClient, stage: Stage, clock: Clock, name: str
) -> None:
    response = await _answer(client, stage, clock, name)

    assert response.status_code == INDEX[name]["status"], response.text
    assert not list(differences(recorded(name), told(response)))
    message = recorded(name).get("message")  # type: ignore[attr-defined]
    assert message is None or message == response.json()["message"]


async def test_a_request_under_way_looks_as_recorded(clock: Clock) -> None:
    world = quiet_world()
    app = world.app_named("客服助手")
    plan = a_request(world, app, at=NOW, settle=False)
    world.begin(plan)
    for node in plan.nodes[:2]:
        world.start_node(plan, node)
    world.finish_node(plan, plan.nodes[0])

    async with a_client(world, clock) as client:
        await sign_in(client)
        at = f"/console/api/apps/{app.id}"
        runs = await client.get(f"{at}/advanced-chat/workflow-runs", params={"triggered_from": "app-run"})
        nodes = await client.get(f"{at}/workflow-runs/{plan.run.id if plan.run else ''}/node-executions")
        conversation_id = plan.conversation.id if plan.conversation else ""
        messages = await client.get(f"{at}/chat-messages", params={"conversation_id": conversation_id})

    assert not list(differences(recorded("inflight_chatflow_run"), runs.json()["data"][0]))
    assert not list(differences(recorded("inflight_chatflow_message"), messages.json()["data"][0]))
    assert not list(differences(recorded("inflight_chatflow_node_executions"), nodes.json()["data"]))


async def test_too_many_requests_are_refused_as_recorded(clock: Clock) -> None:
    world = quiet_world()
    app, arrived, go_on = world.app_named("Translate"), asyncio.Event(), asyncio.Event()
    app.max_active_requests = 1

    async def wait(_: float) -> None:
        arrived.set()
        await go_on.wait()

    body = {"inputs": {"q": "FINE"}, "user": "u"}
    async with a_client(world, clock, pace=wait) as client:
        client.headers["Authorization"] = f"Bearer {app.key}"
        first = asyncio.create_task(client.post("/v1/completion-messages", json=body))
        await arrived.wait()
        second = await client.post("/v1/completion-messages", json=body)
        go_on.set()

    assert (await first).status_code == 200
    assert second.status_code == INDEX["v1_400_too_many_active"]["status"]
    assert not list(differences(recorded("v1_400_too_many_active"), second.json()))
