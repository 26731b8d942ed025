"""The traps of the console API, each as Dify sets it."""

from __future__ import annotations

from datetime import timedelta

import httpx

from collector.demo import World
from collector.demo.cast import KNOWLEDGE
from tests.demo.conftest import NOW, Clock, a_client, a_request, sign_in

EARLIER = NOW - timedelta(hours=3)


def path(world: World, app: str, rest: str = "") -> str:
    return f"/console/api/apps/{world.app_named(app).id}{rest}"


async def listed(client: httpx.AsyncClient, at: str, **query: object) -> list[str]:
    """The ids of a list's first page."""
    answer = await client.get(at, params=query)  # type: ignore[arg-type]
    assert answer.status_code == 200, answer.text
    return [row["id"] for row in answer.json()["data"]]


async def test_the_run_list_shows_debugging_unless_asked(console: httpx.AsyncClient, world: World) -> None:
    debug, real = a_request(world, "合同审查", invoke_from="debugger"), a_request(world, "合同审查")
    assert debug.run is not None
    assert real.run is not None

    at = path(world, "合同审查", "/workflow-runs")

    assert await listed(console, at) == [debug.run.id]
    assert await listed(console, at, triggered_from="app-run") == [real.run.id]


async def test_before_1_10_only_debugging_can_be_listed(world: World, clock: Clock) -> None:
    a_request(world, "合同审查")
    async with a_client(world, clock, version="1.9.2") as client:
        login = {"email": "owner@example.com", "password": "owner-Passw0rd"}
        await client.post("/console/api/login", json=login)
        client.headers["X-CSRF-Token"] = client.cookies["csrf_token"]
        at = path(world, "合同审查", "/workflow-runs")

        assert await listed(client, at, triggered_from="app-run") == []
        assert (await client.get(at + "/count")).status_code == 404


async def test_runs_of_triggers_are_in_the_log_alone(console: httpx.AsyncClient, world: World) -> None:
    plan = a_request(world, "发票识别", invoke_from="trigger", triggered_from="webhook", user="DEFAULT-USER")
    assert plan.run is not None

    at = path(world, "发票识别")
    (log,) = (await console.get(f"{at}/workflow-app-logs")).json()["data"]
    nodes = await console.get(f"{at}/workflow-runs/{plan.run.id}/node-executions")

    assert await listed(console, f"{at}/workflow-runs", triggered_from="app-run") == []
    assert (await console.get(f"{at}/workflow-runs/count")).json()["total"] == 0
    assert log["workflow_run"]["triggered_from"] == "webhook"
    assert (log["created_from"], log["created_by_end_user"]["type"]) == ("service-api", "trigger")
    assert len(nodes.json()["data"]) == 4


async def test_the_cursor_loses_ties(console: httpx.AsyncClient, world: World) -> None:
    """Ten runs, seven of them in one instant, pages of three: six are listed."""
    for minute in (1, 2):
        a_request(world, "合同审查", at=EARLIER - timedelta(minutes=minute))
    for _ in range(7):
        a_request(world, "合同审查", at=EARLIER)
    a_request(world, "合同审查", at=EARLIER + timedelta(minutes=1))
    at, seen, query = path(world, "合同审查", "/workflow-runs"), [], {"triggered_from": "app-run", "limit": "3"}

    while True:
        page = (await console.get(at, params=query)).json()
        seen += [row["id"] for row in page["data"]]
        if not page["has_more"]:
            break
        query["last_id"] = seen[-1]

    assert len(seen) == len(set(seen)) == 5
    assert (await console.get(f"{at}/count", params={"triggered_from": "app-run"})).json()["total"] == 10


async def test_a_cursor_that_left_is_refused(console: httpx.AsyncClient, world: World) -> None:
    plan = a_request(world, "合同审查")
    assert plan.run is not None
    at, query = path(world, "合同审查", "/workflow-runs"), {"triggered_from": "app-run", "last_id": plan.run.id}
    before = await console.get(at, params=query)
    filtered = await console.get(at, params={**query, "status": "failed"})

    world.delete_run(plan.run.id)
    after = await console.get(at, params=query)

    assert [before.status_code, filtered.status_code, after.status_code] == [200, 400, 400]
    assert after.json()["message"] == "Last workflow run not exists"


async def test_a_run_of_another_app_is_unknown(console: httpx.AsyncClient, world: World) -> None:
    plan = a_request(world, "合同审查")
    run_id = plan.run.id if plan.run else ""

    detail = await console.get(path(world, "Lead scoring", f"/workflow-runs/{run_id}"))
    nodes = await console.get(path(world, "Lead scoring", f"/workflow-runs/{run_id}/node-executions"))

    assert (detail.status_code, detail.json()["id"]) == (200, None)
    assert nodes.json() == {"data": []}


async def test_the_log_is_cut_by_time_with_both_ends(console: httpx.AsyncClient, world: World) -> None:
    for minute in range(4):
        a_request(world, "合同审查", at=EARLIER + timedelta(minutes=minute))
    at = path(world, "合同审查", "/workflow-app-logs")
    between = {"created_at__after": "2026-11-20T05:01:00", "created_at__before": "2026-11-20T13:02:00+08:00"}

    found = (await console.get(at, params=between)).json()
    second = (await console.get(at, params={**between, "page": 2, "limit": 1})).json()
    refused = await console.get(at, params={"created_at__after": "1795216511"})

    assert (found["total"], len(found["data"])) == (2, 2)
    assert second["data"] == found["data"][1:]
    assert refused.status_code == 400


async def test_reading_a_conversation_moves_it_to_the_top_once(
    console: httpx.AsyncClient, world: World, clock: Clock
) -> None:
    old, new = (a_request(world, "HR helpdesk", at=at, user=str(at)) for at in (EARLIER, NOW - timedelta(hours=1)))
    assert old.conversation is not None
    assert new.conversation is not None
    at = path(world, "HR helpdesk", "/chat-conversations")

    before = await listed(console, at)
    await console.get(f"{at}/{old.conversation.id}")
    after = await listed(console, at)
    clock.forward(minutes=30)
    moved_at = old.conversation.updated_at
    await console.get(f"{at}/{old.conversation.id}")

    assert before == [new.conversation.id, old.conversation.id] == after[::-1]
    assert old.conversation.updated_at == moved_at == NOW
    assert await listed(console, at, sort_by="-created_at") == before


async def test_conversations_are_cut_in_the_accounts_time_zone(console: httpx.AsyncClient, world: World) -> None:
    plan = a_request(world, "HR helpdesk", at=EARLIER)  # 13:00 in Shanghai
    assert plan.conversation is not None
    at = path(world, "HR helpdesk", "/chat-conversations")

    assert await listed(console, at, start="2026-11-20 13:00", end="2026-11-20 13:00") == [plan.conversation.id]
    assert await listed(console, at, start="2026-11-20 13:01") == []
    assert await listed(console, at, end="2026-11-20 12:59") == []


async def test_debugging_is_left_out_of_chatflow_conversations_only(console: httpx.AsyncClient, world: World) -> None:
    a_request(world, "客服助手", invoke_from="debugger")
    a_request(world, "HR helpdesk", invoke_from="debugger")

    assert await listed(console, path(world, "客服助手", "/chat-conversations")) == []
    assert len(await listed(console, path(world, "HR helpdesk", "/chat-conversations"))) == 1


async def test_messages_go_back_in_time_oldest_first(console: httpx.AsyncClient, world: World) -> None:
    first = a_request(world, "HR helpdesk", at=EARLIER)
    ids = [first.message.id if first.message else ""]
    for minute in (1, 1, 2):
        plan = a_request(world, "HR helpdesk", at=EARLIER + timedelta(minutes=minute), after=first)
        ids.append(plan.message.id if plan.message else "")
    at = path(world, "HR helpdesk", "/chat-messages")
    query = {"conversation_id": first.conversation.id if first.conversation else "", "limit": 2}

    newest = await listed(console, at, **query)
    older = await listed(console, at, **query, first_id=newest[0])

    assert newest == ids[2:]
    assert older == ids[:1]  # the one that shares its second is lost


async def test_a_disconnected_chatflow_leaves_its_message_empty_and_its_run_whole(
    console: httpx.AsyncClient, world: World
) -> None:
    plan = a_request(world, "客服助手", fate="disconnected")
    assert plan.message is not None
    assert plan.run_end is not None

    message = (await console.get(path(world, "客服助手", f"/messages/{plan.message.id}"))).json()
    (run,) = (
        await console.get(path(world, "客服助手", "/advanced-chat/workflow-runs"), params={"triggered_from": "app-run"})
    ).json()["data"]

    assert (message["answer"], message["message_tokens"], message["status"]) == ("", 0, "normal")
    assert (run["status"], run["total_tokens"]) == ("succeeded", plan.run_end.total_tokens)
    assert run["message_id"] == plan.message.id


async def test_a_normal_member_may_not_read_what_people_wrote(world: World, clock: Clock) -> None:
    async with a_client(world, clock) as client:
        await sign_in(client, "normal")
        codes = {
            rest: (await client.get(path(world, app, rest))).status_code
            for app, rest in (
                ("HR helpdesk", "/chat-conversations"),
                ("Translate", "/completion-conversations"),
                ("HR helpdesk", "/chat-messages"),
                ("HR helpdesk", "/statistics/daily-messages"),
                ("合同审查", "/workflow-app-logs"),
                ("合同审查", "/api-keys"),
            )
        }

    assert list(codes.values()) == [403, 403, 403, 200, 200, 200]


async def test_containers_and_tools_repeat_what_others_spent(console: httpx.AsyncClient, world: World) -> None:
    plan, tool = a_request(world, "Weekly report writer"), a_request(world, "翻译流水线")
    assert plan.run is not None
    assert tool.run is not None

    nodes = (
        await console.get(path(world, "Weekly report writer", f"/workflow-runs/{plan.run.id}/node-executions"))
    ).json()
    calls = (await console.get(path(world, "翻译流水线", f"/workflow-runs/{tool.run.id}/node-executions"))).json()

    told = [node["execution_metadata"].get("total_tokens", 0) for node in nodes["data"]]
    (inside,) = (n["execution_metadata"]["total_tokens"] for n in nodes["data"] if n["node_type"] == "iteration")
    assert sum(told) == plan.run.total_tokens + inside
    (called,) = (node for node in calls["data"] if node["node_type"] == "tool")
    child = next(run for run in world.runs.values() if run.app_id == world.app_named("术语校对").id)
    assert called["execution_metadata"]["total_tokens"] == child.total_tokens > 0
    assert "usage" not in called["outputs"]


async def test_failed_nodes_do_not_name_their_model_the_graph_does(console: httpx.AsyncClient, world: World) -> None:
    plan = a_request(world, "合同审查", "FAIL_RATE")
    assert plan.run is not None
    at = path(world, "合同审查", f"/workflow-runs/{plan.run.id}")

    detail, nodes = (await console.get(at)).json(), (await console.get(f"{at}/node-executions")).json()["data"]

    (failed,) = (node for node in nodes if node["status"] == "failed")
    (drawn,) = (node for node in detail["graph"]["nodes"] if node["id"] == failed["node_id"])
    assert failed["process_data"] == {}
    assert drawn["data"]["model"]["name"] == "qwen-max"
    assert (detail["status"], detail["error"]) == ("failed", failed["error"])


async def test_apps_come_in_pages(console: httpx.AsyncClient, world: World) -> None:
    pages = [await listed(console, "/console/api/apps", page=page, limit=4) for page in range(1, 6)]

    assert [len(page) for page in pages] == [4, 4, 4, 3, 0]
    assert {app_id for page in pages for app_id in page} == world.apps.keys()
    assert await listed(console, "/console/api/apps", mode="agent-chat", name="travel") == [
        world.app_named("Travel planner").id
    ]


async def test_knowledge_pages_are_capped_in_silence(console: httpx.AsyncClient, world: World) -> None:
    for _ in range(130):
        a_request(world, "合同审查")
    at = f"/console/api/datasets/{world.dataset_named(KNOWLEDGE).id}/queries"

    capped = (await console.get(at, params={"limit": 200})).json()
    page = (await console.get(at, params={"limit": 100})).json()

    assert (len(capped["data"]), capped["has_more"], capped["total"]) == (100, False, 130)
    assert (len(page["data"]), page["has_more"]) == (100, True)


async def test_feedback_changes_in_place_and_goes_without_a_trace(
    console: httpx.AsyncClient, world: World, clock: Clock
) -> None:
    plan = a_request(world, "HR helpdesk")
    assert plan.message is not None
    at, message = path(world, "HR helpdesk"), {"message_id": plan.message.id}
    exported = []
    for rating in ("like", "dislike", None):
        await console.post(f"{at}/feedbacks", json={**message, "rating": rating})
        clock.forward(minutes=1)
        answer = await console.get(f"{at}/feedbacks/export", params={"format": "json"})
        exported.append([(row["feedback_rating_raw"], row["feedback_id"]) for row in answer.json()["feedback_data"]])

    (liked,), (disliked,), gone = exported
    assert (liked[0], disliked[0], gone) == ("like", "dislike", [])
    assert liked[1] == disliked[1]
