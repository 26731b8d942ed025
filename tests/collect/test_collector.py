"""A pass over a Dify brings every fact once, whatever goes wrong on the way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import msgspec
import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.collect.collector import Collector, Options, collect
from collector.errors import StoreError
from collector.pull.console import Access, Console
from collector.records import App, Conversation, Feedback, Message, ModelCall, NodeExecution, Pull, Run, User
from tests.collect.shelf import Shelf
from tests.pull.doors import answer, page
from tests.pull.small_dify import NOON, AMessage, AnApp, ARun, ATalk, SmallDify, a_node

LATER = NOON + timedelta(hours=1)


class Watch:
    """The collector's clock; it stands unless a test moves it."""

    def __init__(self, now: datetime = LATER) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


def a_collector(dify: SmallDify, store: Shelf, watch: Watch, **options: Any) -> Collector:
    return Collector(dify.console(), store.put, store.rows, store.watermark, options=Options(**options), clock=watch)


async def passed(dify: SmallDify, store: Shelf, watch: Watch | None = None, **options: Any) -> list[Pull]:
    """One pass by a collector that remembers nothing."""
    async with dify.console() as console:
        return await collect(
            console, store.put, store.rows, store.watermark, options=Options(**options), clock=watch or Watch()
        )


def errors(pulls: list[Pull]) -> dict[tuple[str, str | None], str]:
    return {(pull.stream, pull.app_id): pull.error_class for pull in pulls if pull.error_class}


def tokens(store: Shelf) -> int:
    return sum(call.tokens or 0 for call in store.of(ModelCall).values())


def a_busy_dify() -> SmallDify:
    """Five apps of all modes, with ties, trigger runs, test runs and ratings."""
    flow_talk = ATalk("t1", [AMessage("m1", run_id="c1", ratings={"user": "like"}), AMessage("m2", run_id="c2")])
    return SmallDify(
        AnApp(
            "shop",
            runs=[
                *(ARun(f"r{n}", NOON + timedelta(seconds=n // 3)) for n in range(120)),
                ARun("hook", triggered_from="webhook"),
                ARun("test", triggered_from="debugging"),
                ARun(
                    "bad",
                    status="failed",
                    tokens=0,
                    nodes=[
                        a_node(
                            "bad-llm",
                            status="failed",
                            process_data={},
                            outputs={},
                            execution_metadata={},
                            error="429 rate limit",
                        )
                    ],
                ),
            ],
        ),
        AnApp(
            "guide",
            "advanced-chat",
            runs=[
                ARun("c1", conversation_id="t1", message_id="m1"),
                ARun("c2", conversation_id="t1", message_id="m2"),
            ],
            talks=[flow_talk],
        ),
        AnApp("helpdesk", "chat", talks=[ATalk(f"h{n}", [AMessage(f"h{n}a"), AMessage(f"h{n}b")]) for n in range(5)]),
        AnApp("agent", "agent-chat", talks=[ATalk("a1", [AMessage("a1a", ratings={"admin": "dislike"})])]),
        AnApp("translate", "completion", talks=[ATalk("x1", [AMessage("x1a")])]),
    )


async def test_a_pass_brings_every_fact_of_every_app():
    store = Shelf()

    pulls = await passed(a_busy_dify(), store)

    assert not errors(pulls)
    assert all(pull.is_complete for pull in pulls)
    assert len(store.of(App)) == 5
    assert set(store.of(Run)) == {*(f"r{n}" for n in range(120)), "hook", "bad", "c1", "c2"}
    assert len(store.of(NodeExecution)) == 124
    assert all(run.leaves_known for run in store.of(Run).values())
    assert len(store.of(Message)) == 2 + 10 + 1
    # 120 + hook + two chatflow runs at 100, eleven chat messages at 30; the chatflow's messages repeat its runs
    assert tokens(store) == 123 * 100 + 11 * 30
    assert {fact.rating for fact in store.of(Feedback).values()} == {"like", "dislike"}
    assert set(store.of(User)) == {"u1"}


async def test_a_second_pass_changes_nothing():
    dify, store = a_busy_dify(), Shelf()
    await passed(dify, store)
    before = store.told()

    await passed(dify, store, Watch(LATER + timedelta(minutes=1)))

    assert store.told() == before


async def test_a_pass_over_what_is_known_asks_little():
    dify, store, watch = a_busy_dify(), Shelf(), Watch()
    collector = a_collector(dify, store, watch)
    await collector.collect()
    dify.asked.clear()

    watch.now += timedelta(minutes=5)
    await collector.collect()

    assert dify.times("node-executions|chat-messages|messages/|feedbacks|count") == 0
    assert len(dify.asked) <= 10


@given(st.integers(0, 6), st.integers(0, 6))
@settings(max_examples=8, deadline=None)
async def test_a_pass_killed_anywhere_and_begun_again_leaves_the_same_facts(first: int, second: int):
    whole, cut = Shelf(), Shelf()
    await passed(a_busy_dify(), whole)
    for puts in (first, second):
        cut.fail_after = cut.puts + puts
        with suppress(StoreError):
            await passed(a_busy_dify(), cut)
    cut.fail_after = None

    await passed(a_busy_dify(), cut)

    assert cut.told() == whole.told()


async def test_contents_are_nowhere_in_the_store():
    store = Shelf()

    await passed(a_busy_dify(), store, read_completions=True)

    assert "secret" not in msgspec.json.encode(list(store.told().values())).decode()


# -- runs ------------------------------------------------------------------------------------------------------------


async def test_a_running_run_is_read_again_until_it_is_final():
    run = ARun("r", LATER - timedelta(minutes=20), status="running")
    dify, store, watch = SmallDify(AnApp("shop", runs=[run])), Shelf(), Watch()
    collector = a_collector(dify, store, watch)
    await collector.collect()
    assert (store.of(Run)["r"].status, dify.times("node-executions")) == ("running", 0)

    run.status = "succeeded"
    watch.now += timedelta(hours=2)  # far behind the overlap: only its id leads to it
    await collector.collect()

    assert store.of(Run)["r"].is_final
    assert tokens(store) == 100


async def test_a_run_stopped_in_dify_stays_running_there_and_becomes_stale_here():
    llm = a_node("done")
    run = ARun("r", NOON, status="running", nodes=[llm, a_node("cut", status="running", process_data={}, outputs={})])
    dify, store, watch = SmallDify(AnApp("shop", runs=[run])), Shelf(), Watch()
    collector = a_collector(dify, store, watch)
    await collector.collect()

    watch.now = NOON + timedelta(hours=25)
    await collector.collect()
    dify.asked.clear()
    watch.now += timedelta(minutes=1)
    await collector.collect()

    stored = store.of(Run)["r"]
    assert (stored.status, stored.is_final) == ("stale", False)
    assert tokens(store) == 100  # what it spent before it was stopped was spent
    assert dify.times("workflow-runs/r") == 0


async def test_what_a_hanging_run_has_spent_is_counted_before_it_is_stale():
    run = ARun("r", NOON, status="running", nodes=[a_node("done")])
    dify, store, watch = SmallDify(AnApp("shop", runs=[run])), Shelf(), Watch(NOON + timedelta(minutes=29))
    collector = a_collector(dify, store, watch)
    await collector.collect()
    assert tokens(store) == 0

    for _ in range(3):
        watch.now += timedelta(minutes=5)
        await collector.collect()
    assert (store.of(Run)["r"].status, store.of(Run)["r"].leaves_known, tokens(store)) == ("running", None, 100)
    assert dify.times("node-executions") == 1

    run.status, run.nodes = "succeeded", [a_node("done"), a_node("more")]
    await collector.collect()
    assert tokens(store) == 200


async def test_an_open_run_that_dify_forgot_is_stale():
    dify, store, watch = SmallDify(AnApp("shop", runs=[ARun("r", status="running")])), Shelf(), Watch()
    await passed(dify, store, watch)

    dify.apps["shop"].runs.clear()
    await passed(dify, store, watch)

    assert store.of(Run)["r"].status == "stale"


async def test_trigger_runs_come_from_the_app_log():
    store = Shelf()

    await passed(SmallDify(AnApp("shop", runs=[ARun("hook", triggered_from="webhook")])), store)

    run = store.of(Run)["hook"]
    assert (run.triggered_from, run.is_debug, run.session_id, tokens(store)) == ("webhook", False, "session-u1", 100)


@pytest.mark.parametrize("wanted", [False, True])
async def test_test_runs_are_read_on_request_and_marked(wanted: bool):
    store = Shelf()

    await passed(SmallDify(AnApp("shop", runs=[ARun("test", triggered_from="debugging")])), store, debug_runs=wanted)

    assert [run.is_debug for run in store.of(Run).values()] == ([True] if wanted else [])
    assert [call.is_debug for call in store.of(ModelCall).values()] == ([True] if wanted else [])


async def test_a_version_that_lists_no_app_runs_tells_them_by_their_messages():
    # before 1.10 the run list holds test runs only, whatever is asked for
    run = ARun("c1", triggered_from="old", conversation_id="t1", message_id="m1")
    talk = ATalk("t1", [AMessage("m1", run_id="c1")])
    store = Shelf()

    await passed(SmallDify(AnApp("guide", "advanced-chat", runs=[run], talks=[talk])), store)

    stored = store.of(Run)["c1"]
    assert (stored.triggered_from, stored.message_id, stored.conversation_id) == ("app-run", "m1", "t1")
    assert tokens(store) == 100


async def test_a_failed_call_is_named_by_the_graph_asked_once_per_version():
    failed = {"status": "failed", "process_data": {}, "outputs": {}, "execution_metadata": {}, "error": "timed out"}
    runs = [ARun(f"r{n}", status="failed", tokens=0, nodes=[a_node(f"n{n}", **failed)]) for n in range(3)]
    dify, store = SmallDify(AnApp("guide", "advanced-chat", runs=runs)), Shelf()
    dify.graph = {"nodes": [{"id": "llm", "data": {"model": {"provider": "openai", "name": "gpt-4o"}}}]}

    async with dify.console(concurrency=1) as console:
        await collect(console, store.put, store.rows, store.watermark, clock=Watch())

    assert {(c.model_provider, c.model_name) for c in store.of(ModelCall).values()} == {
        ("langgenius/openai/openai", "gpt-4o")
    }
    assert {run.error_class for run in store.of(Run).values()} == {"timeout"}
    assert dify.times(r"workflow-runs/r\d$") == 1


async def test_the_nodes_of_the_newest_runs_come_first_within_the_budget():
    runs = [ARun(f"r{n}", NOON + timedelta(seconds=n)) for n in range(10)]
    dify, store = SmallDify(AnApp("shop", runs=runs)), Shelf()

    await passed(dify, store, node_budget=3)
    assert {run.id for run in store.of(Run).values() if run.leaves_known} == {"r9", "r8", "r7"}
    assert store.watermark("console", "node-executions", "shop") is None

    await passed(dify, store, node_budget=None)
    assert tokens(store) == 1000
    assert store.watermark("console", "node-executions", "shop") is not None


async def test_what_a_pass_left_unread_is_told_and_worked_off():
    runs = [ARun(f"r{n}", NOON + timedelta(seconds=n)) for n in range(10)]
    collector = a_collector(SmallDify(AnApp("shop", runs=runs)), Shelf(), Watch(), node_budget=4)

    told = [(await collector.collect(), collector.backlog["node-executions"])[1] for _ in range(4)]

    assert told == [6, 2, 0, 0]


async def test_a_run_cleaned_away_before_its_nodes_were_read_is_asked_about_once():
    dify, store, watch = SmallDify(AnApp("shop", runs=[ARun("r", nodes=[])])), Shelf(), Watch()
    collector = a_collector(dify, store, watch)

    await collector.collect()
    await collector.collect()

    assert dify.times("node-executions") == 1
    assert not store.of(Run)["r"].leaves_known
    assert store.watermark("console", "node-executions", "shop") is not None


# -- conversations ---------------------------------------------------------------------------------------------------


async def test_a_new_message_in_an_old_conversation_is_found():
    talk = ATalk("t", [AMessage(f"m{n}", NOON + timedelta(minutes=n)) for n in range(3)])
    dify, store, watch = SmallDify(AnApp("helpdesk", "chat", talks=[talk])), Shelf(), Watch()
    collector = a_collector(dify, store, watch)
    await collector.collect()

    watch.now += timedelta(days=2)
    talk.messages.append(AMessage("new", watch.now - timedelta(seconds=5)))
    await collector.collect()

    assert len(store.of(Message)) == 4
    assert tokens(store) == 120
    assert store.of(Message)["new"].session_id == "session-u1"


async def test_a_message_is_open_then_answered_or_stale():
    talk = ATalk("t", [AMessage("slow", LATER, is_open=True), AMessage("lost", LATER, is_open=True)], LATER)
    dify, store, watch = SmallDify(AnApp("helpdesk", "chat", talks=[talk])), Shelf(), Watch(LATER)
    collector = a_collector(dify, store, watch)
    await collector.collect()
    assert {message.status for message in store.of(Message).values()} == {"open"}
    assert not store.of(ModelCall)

    talk.messages[0].is_open = False
    watch.now += timedelta(minutes=11)
    await collector.collect()

    assert {key: message.status for key, message in store.of(Message).items()} == {"slow": "succeeded", "lost": "stale"}
    call = store.of(ModelCall)["slow"]
    assert (call.tokens, call.model_name, call.conversation_id) == (30, "gpt-4o", "t")


async def test_a_chat_detail_is_never_opened_because_reading_it_changes_it():
    dify = a_busy_dify()

    await passed(dify, Shelf(), read_completions=True)

    assert dify.times("chat-conversations/") == 0


@pytest.mark.parametrize("wanted", [False, True])
async def test_completions_are_read_on_request_only(wanted: bool):
    talk = ATalk("x", [AMessage("m")])
    store = Shelf()

    await passed(SmallDify(AnApp("translate", "completion", talks=[talk])), store, read_completions=wanted)

    assert set(store.of(Conversation)) == {"x"}
    assert (talk.is_read, tokens(store)) == ((True, 30) if wanted else (False, 0))


async def test_a_conversation_dify_miscounts_is_not_read_for_ever():
    talk = ATalk("t", [AMessage("m1")])
    dify, store, watch = SmallDify(AnApp("helpdesk", "chat", talks=[talk])), Shelf(), Watch()
    told = talk.told
    talk.told = lambda mode: told(mode) | {"message_count": 7}  # type: ignore[method-assign]
    collector = a_collector(dify, store, watch)

    for _ in range(5):
        await collector.collect()

    assert dify.times("chat-messages") == 2


# -- ratings ---------------------------------------------------------------------------------------------------------


async def test_a_rating_taken_back_is_withdrawn_and_one_cleaned_away_is_not():
    kept, taken, cleaned = (AMessage(name, ratings={"user": "like"}) for name in ("kept", "taken", "cleaned"))
    talk = ATalk("t", [kept, taken, cleaned])
    dify, store, watch = SmallDify(AnApp("helpdesk", "chat", talks=[talk])), Shelf(), Watch()
    collector = a_collector(dify, store, watch)
    await collector.collect()

    taken.ratings.clear()
    talk.messages.remove(cleaned)
    watch.now += timedelta(hours=1)
    await collector.collect()

    assert {key: rating.rating for key, rating in store.of(Feedback).items()} == {
        "kept/user": "like",
        "taken/user": "withdrawn",
        "cleaned/user": "like",
    }


async def test_ratings_of_an_app_whose_key_we_have_come_from_its_service_api_with_the_time_of_their_change():
    rated = [AMessage(f"m{n}", ratings={"user": "like"}) for n in range(130)]
    dify = SmallDify(AnApp("shop", "chat", talks=[ATalk("t", rated)], key="app-1"), AnApp("other", "chat", key="app-2"))
    store, watch = Shelf(), Watch()
    access = Access(url="http://dify.test", admin_key="key", workspace_id="w1", app_keys=("app-of-nobody", "app-1"))
    async with Console(access, retries=0, transport=httpx.MockTransport(dify)) as console:
        collector = Collector(console, store.put, store.rows, store.watermark, options=Options(), clock=watch)
        await collector.collect()
        assert dify.times("feedbacks/export") == 2  # which key is whose is told in this pass
        watch.now += timedelta(minutes=20)
        await collector.collect()
        assert dify.times("/v1/app/feedbacks") == 2  # pages
        assert dify.times("shop/feedbacks/export") == 1
        assert dify.times("other/feedbacks/export") == 2
        found = store.of(Feedback)
        assert len(found) == 130
        assert found["m7/user"].updated_at == datetime(2026, 11, 20, 11, 59, tzinfo=UTC)

        rated[7].ratings.clear()
        watch.now += timedelta(minutes=20)
        await collector.collect()
        assert store.of(Feedback)["m7/user"].rating == "withdrawn"
        await collector.aclose()


async def test_where_a_key_is_refused_the_export_is_read():
    dify = SmallDify(
        AnApp("shop", "chat", talks=[ATalk("t", [AMessage("m", ratings={"admin": "dislike"})])], key="app-1")
    )
    dify.faults["/v1/"] = lambda: httpx.Response(401, json={"code": "unauthorized"})
    store, watch = Shelf(), Watch()
    access = Access(url="http://dify.test", admin_key="key", workspace_id="w1", app_keys=("app-1",))
    async with Console(access, retries=0, transport=httpx.MockTransport(dify)) as console:
        collector = Collector(console, store.put, store.rows, store.watermark, options=Options(), clock=watch)
        for _ in range(2):
            pulls = await collector.collect()
            watch.now += timedelta(minutes=20)
        await collector.aclose()
    assert dify.times("/v1/") == 1
    assert dify.times("feedbacks/export") == 2
    assert not errors(pulls)
    assert store.of(Feedback)["m/admin"].rating == "dislike"


# -- watermarks ------------------------------------------------------------------------------------------------------


async def test_the_watermark_is_the_start_of_the_pass_less_a_margin():
    store, watch = Shelf(), Watch()

    await passed(a_busy_dify(), store, watch)

    streams = {"runs", "app-logs", "node-executions", "statistics"}
    assert {stream for _, stream, app in store.marks if app == "shop"} == streams
    assert set(store.marks.values()) == {watch.now - timedelta(minutes=1)}


async def test_a_walk_that_does_not_reach_its_end_keeps_what_it_read_and_sets_no_watermark():
    dify, store = a_busy_dify(), Shelf()
    pages = iter([None, page(500)])
    runs = dify._runs
    dify._runs = lambda app, params, **kind: next(pages, None) or runs(app, params, **kind)  # type: ignore

    pulls = await passed(dify, store)

    assert errors(pulls) == {("runs", "shop"): "unavailable"}
    assert store.watermark("console", "runs", "shop") is None
    assert store.watermark("console", "node-executions", "shop") is None
    assert len(store.of(Run)) > 100


async def test_a_run_created_during_the_pass_is_not_missed():
    dify, store, watch = SmallDify(AnApp("shop", runs=[ARun("r1")])), Shelf(), Watch()
    late = ARun("late", LATER, is_logged=False)

    def before(path: str) -> None:
        if "workflow-app-logs" in path and late not in dify.apps["shop"].runs:
            dify.apps["shop"].runs.append(late)

    dify.before = before
    collector = a_collector(dify, store, watch)
    await collector.collect()
    assert "late" not in store.of(Run)

    watch.now += timedelta(minutes=5)
    await collector.collect()

    assert "late" in store.of(Run)


async def test_a_first_walk_over_a_huge_app_goes_on_in_the_next_pass_and_news_come_meanwhile():
    runs = [ARun(f"r{n}", NOON - timedelta(minutes=n), is_logged=False) for n in range(1000)]
    dify, store, watch = SmallDify(AnApp("shop", runs=runs)), Shelf(), Watch()
    dify.before = lambda path: setattr(watch, "now", watch.now + timedelta(seconds=20))
    collector = a_collector(dify, store, watch, budget=timedelta(minutes=3), node_budget=0)
    first = await collector.collect()
    assert [pull.is_complete for pull in first if pull.stream == "runs"] == [False]
    assert 100 <= len(store.of(Run)) < 1000

    dify.apps["shop"].runs.append(ARun("new", watch.now, is_logged=False))
    await collector.collect()
    assert "new" in store.of(Run)
    for _ in range(6):
        await collector.collect()

    assert len(store.of(Run)) == 1001
    assert store.watermark("console", "runs", "shop") is not None
    assert dify.times("workflow-runs$") < 25  # no page of the past twice
    await collector.aclose()


async def test_a_first_walk_that_broke_off_goes_on_behind_what_it_read():
    runs = [ARun(f"r{n}", NOON - timedelta(minutes=n), is_logged=False) for n in range(1000)]
    dify, store, watch = SmallDify(AnApp("shop", runs=runs)), Shelf(), Watch()
    pages, listed = iter([None] * 5 + [page(502)]), dify._runs
    dify._runs = lambda app, params, **kind: next(pages, None) or listed(app, params, **kind)  # type: ignore
    collector = a_collector(dify, store, watch)

    await collector.collect()
    assert 400 < len(store.of(Run)) < 600
    await collector.collect()

    assert len(store.of(Run)) == 1000
    assert store.watermark("console", "runs", "shop") is not None
    assert dify.times("workflow-runs$") <= 14


async def test_a_paused_walk_whose_records_were_refused_begins_anew():
    runs = [ARun(f"r{n}", NOON - timedelta(minutes=n), is_logged=False) for n in range(1000)]
    dify, store, watch = SmallDify(AnApp("shop", runs=runs)), Shelf(), Watch()
    dify.before = lambda path: setattr(watch, "now", watch.now + timedelta(minutes=1))
    collector = a_collector(dify, store, watch)
    store.fail_after = 0
    with pytest.raises(StoreError):
        await collector.collect()
    store.fail_after = None

    for _ in range(12):
        await collector.collect()

    assert len(store.of(Run)) == 1000
    await collector.aclose()


async def test_runs_that_no_listing_can_bring_are_warned_of():
    runs = [ARun(f"r{n}", NOON) for n in range(130)]  # more at one instant than a page holds
    dify, store = SmallDify(AnApp("shop", runs=runs)), Shelf()
    async with dify.console() as console:
        collector = Collector(console, store.put, store.rows, store.watermark, clock=Watch())

        await collector.collect()

    (pull,) = (pull for pull in store.of(Pull).values() if pull.stream == "runs")
    assert not pull.is_complete
    assert +collector.warnings == {"ties_lost": 1}
    assert len(store.of(Run)) == 130  # the app log had them


async def test_history_before_the_wanted_instant_is_not_asked_for():
    runs = [ARun(f"r{n}", NOON - timedelta(hours=n)) for n in range(300)]
    dify, store = SmallDify(AnApp("shop", runs=runs)), Shelf()

    await passed(dify, store, since=NOON - timedelta(hours=10))

    assert len(store.of(Run)) == 11


async def test_stored_history_does_not_shrink_when_dify_cleans_up():
    dify, store, watch = a_busy_dify(), Shelf(), Watch()
    await passed(dify, store, watch)
    before = set(store.told())

    for app in dify.apps.values():
        app.runs.clear()
        app.talks.clear()
    await passed(dify, store, watch)

    assert set(store.told()) == before
    assert {rating.rating for rating in store.of(Feedback).values()} == {"like", "dislike"}


# -- bad days --------------------------------------------------------------------------------------------------------

BAD_ANSWERS: dict[str, Any] = {
    "forbidden": lambda: answer({"code": "forbidden"}, 403),
    "not_found": lambda: answer({"code": "app_not_found"}, 404),
    "unavailable": lambda: page(500),
    "_OTHER": lambda: answer({"result": "maintenance"}),
}


@pytest.mark.parametrize("error_class", BAD_ANSWERS)
@pytest.mark.parametrize(
    "path", ["shop/workflow-runs$", "shop/workflow-app-logs", "helpdesk/chat-conversations", "export"]
)
async def test_a_stream_that_fails_costs_no_other_stream(path: str, error_class: str):
    whole, part = Shelf(), Shelf()
    await passed(a_busy_dify(), whole)
    dify = a_busy_dify()
    dify.faults[path] = BAD_ANSWERS[error_class]

    pulls = await passed(dify, part)

    assert set(errors(pulls).values()) == {error_class}
    assert len({(pull.stream, pull.app_id) for pull in pulls if pull.error_class}) == (4 if path == "export" else 1)
    missing = set(whole.told()) - set(part.told())
    lost = {"shop/workflow-runs$": 0, "shop/workflow-app-logs": 3, "helpdesk/chat-conversations": 25, "export": 0}
    # app logs bring what the run list cannot (and the other way round, but for the webhook run and its two facts)
    assert len(missing) == lost[path]


async def test_truncated_json_is_one_streams_trouble():
    dify, store = a_busy_dify(), Shelf()
    dify.faults["guide/advanced-chat"] = lambda: httpx.Response(200, content=b'{"data": [{"id": "c')

    pulls = await passed(dify, store)

    assert errors(pulls) == {("runs", "guide"): "unavailable"}
    assert "c1" in store.of(Run)  # its message named it


async def test_one_record_that_cannot_be_read_is_set_aside_and_counted():
    runs = [ARun("good"), ARun("odd"), ARun("strange")]
    dify, store = SmallDify(AnApp("guide", "advanced-chat", runs=runs)), Shelf()
    odd, strange = runs[1].told, runs[2].told
    runs[1].told = lambda: odd() | {"finished_at": "Thu, 18 Jul"}  # type: ignore[method-assign]
    runs[2].told = lambda: {"id": "strange", "status": "hibernating", "created_at": strange()["created_at"]}  # type: ignore

    pulls = await passed(dify, store)

    (pull,) = [pull for pull in pulls if pull.stream == "runs"]
    assert (pull.parse_failures, pull.error_class, pull.is_complete) == (1, None, True)
    assert set(store.of(Run)) == {"good", "strange"}
    assert store.of(Run)["strange"].status == "hibernating"


async def test_one_run_that_cannot_be_asked_about_is_left_alone_after_three_tries():
    dify, store, watch = SmallDify(AnApp("shop", runs=[ARun("r1"), ARun("r2")])), Shelf(), Watch()
    dify.faults["r1/node-executions"] = lambda: page(500)
    collector = a_collector(dify, store, watch)

    for _ in range(6):
        await collector.collect()

    assert dify.times("r1/node-executions") == 3
    assert store.of(Run)["r2"].leaves_known


async def test_an_app_whose_nodes_are_closed_to_us_is_asked_once_a_pass():
    dify, store = SmallDify(AnApp("shop", runs=[ARun(f"r{n}") for n in range(50)])), Shelf()
    dify.faults["node-executions"] = BAD_ANSWERS["forbidden"]

    pulls = await passed(dify, store)

    assert errors(pulls) == {("node-executions", "shop"): "forbidden"}
    assert dify.times("node-executions") < 10


async def test_a_deleted_app_keeps_its_history_and_says_when_it_went():
    dify, store, watch = a_busy_dify(), Shelf(), Watch()
    await passed(dify, store, watch)

    del dify.apps["shop"]
    watch.now += timedelta(minutes=1)
    pulls = await passed(dify, store, watch)

    assert not errors(pulls)
    assert store.of(App)["shop"].deleted_at == watch.now
    assert "r1" in store.of(Run)


async def test_an_app_we_may_not_see_any_more_is_not_called_deleted():
    dify, store, watch = a_busy_dify(), Shelf(), Watch()
    await passed(dify, store, watch)

    hidden = dify.apps.pop("shop")
    dify.faults["/apps/shop$"] = lambda: answer(hidden.told())
    await passed(dify, store, watch)

    assert store.of(App)["shop"].deleted_at is None


async def test_a_refused_key_ends_the_pass_and_says_so():
    dify, store = a_busy_dify(), Shelf()
    dify.faults["/apps$"] = lambda: answer({"code": "unauthorized"}, 401)

    pulls = await passed(dify, store)

    assert errors(pulls) == {("apps", None): "unauthorized"}
    assert len(dify.asked) == 1
    assert len(store.of(Pull)) == 1


async def test_a_key_refused_in_the_middle_ends_the_pass_too():
    dify, store = a_busy_dify(), Shelf()
    dify.faults["node-executions"] = lambda: answer({"code": "unauthorized"}, 401)

    pulls = await passed(dify, store)

    assert "unauthorized" in errors(pulls).values()
    assert dify.times("node-executions") <= 8


async def test_a_dify_that_is_down_is_not_asked_about_every_app():
    dify, store = a_busy_dify(), Shelf()
    await passed(dify, store)
    dify.asked.clear()
    dify.faults["."] = lambda: page(502)

    pulls = await passed(dify, store)

    assert errors(pulls) == {("apps", None): "unavailable"}
    assert len(dify.asked) == 1


async def test_a_dify_that_goes_down_during_the_pass_is_not_asked_much_more():
    dify, store = SmallDify(*(AnApp(f"a{n}") for n in range(40))), Shelf()
    dify.faults["/apps/"] = lambda: page(502)

    pulls = await passed(dify, store)

    of_apps = [pull for pull in pulls if pull.app_id]
    assert len(of_apps) == 40 * 3  # runs, app-logs, statistics
    assert all(pull.error_class for pull in of_apps)
    assert len(dify.asked) < 50  # there are four questions to each of the 40


async def test_a_store_that_refuses_ends_the_pass_and_keeps_the_watermark():
    store = Shelf()
    store.fail_after = 0

    with pytest.raises(StoreError):
        await passed(a_busy_dify(), store)

    assert not store.marks


async def test_a_stream_that_keeps_failing_is_warned_of_once():
    dify, store = a_busy_dify(), Shelf()
    dify.faults["helpdesk/chat-conversations"] = BAD_ANSWERS["forbidden"]
    collector = a_collector(dify, store, Watch())

    with structlog.testing.capture_logs() as lines:
        await collector.collect()
        pulls = await collector.collect()

    assert errors(pulls) == {("conversations", "helpdesk"): "forbidden"}
    (line,) = [line for line in lines if line["log_level"] == "warning"]
    assert (line["event"], line["stream"], line["app"]) == ("pull failed", "conversations", "Helpdesk")


async def test_a_pass_tells_what_it_read_in_one_line_for_each_stream():
    dify, store = SmallDify(AnApp("shop", runs=[ARun("r1"), ARun("r2")])), Shelf()

    with structlog.testing.capture_logs() as lines:
        await passed(dify, store)
        await passed(dify, store, Watch(LATER + timedelta(minutes=1)))

    told = [line for line in lines if line["log_level"] == "info" and line["stream"] == "runs"]
    assert told == [
        {
            "event": "pull finished",
            "log_level": "info",
            "stream": "runs",
            "app": "Shop",
            "origin": "dify",
            "records": 2,
            "pages": 1,
            "seconds": 0.0,
        }
    ]


async def test_an_app_of_a_mode_we_do_not_know_is_named_once():
    dify, store = SmallDify(AnApp("novel", "agent-swarm")), Shelf()
    collector = a_collector(dify, store, Watch())

    for _ in range(2):
        assert not errors(await collector.collect())

    assert +collector.warnings == {"unknown_mode": 1}
    assert store.of(App)["novel"].mode == "agent-swarm"


async def test_progress_is_told():
    told: list[tuple[str, int, int | None]] = []
    dify, store = SmallDify(AnApp("shop", runs=[ARun(f"r{n}") for n in range(5)])), Shelf()
    async with dify.console() as console:
        await collect(
            console, store.put, store.rows, store.watermark, clock=Watch(), on_progress=lambda *step: told.append(step)
        )

    assert ("runs", 5, 5) in told
    assert told[-1] == ("node-executions", 5, 5)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with structlog.testing.capture_logs():
        yield
