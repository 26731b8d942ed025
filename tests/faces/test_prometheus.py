"""/metrics: every family holds the numbers of the facts, and keeps the promises that counters make."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector.errors import StoreError
from collector.faces.admission import Admission
from collector.faces.families import ACTIVE_USERS, COST, COST_LABELS, FAMILIES, INFO, INFO_LABELS
from collector.faces.guard import guard
from collector.faces.prometheus import Tally, router
from collector.faces.readings import Readings
from collector.measures.query import Rows
from collector.records import (
    BROKER,
    CONSOLE,
    PORTAL,
    TAP,
    DatasetDay,
    PortalEvent,
    Pull,
    QueueSample,
    Retrieval,
    Watermark,
)
from collector.store import Parameters, open_store
from tests.builders import NOON, a_call, a_conversation, a_feedback, a_message, a_node, a_run, an_app
from tests.conftest import ROOT
from tests.faces.exposed import OPENMETRICS, SINCE, Exposed, Scraped, exposed

SHOP = an_app(workspace_id="w", missing_runs=2)
HELPDESK = an_app(id="helpdesk", name="Help desk", mode="chat", workspace_id="w")
OF_SHOP = {"workspace_id": "w", "app_id": "shop"}
OF_HELPDESK = {"workspace_id": "w", "app_id": "helpdesk"}
OPENAI = "langgenius/openai/openai"
GPT, QWEN, FREE = ({"model_provider": OPENAI, "model_name": name} for name in ("gpt-4o-mini", "qwen", "free"))
PRIVATE = {"run_id", "message_id", "conversation_id", "user_id", "session_id", "node_id", "key_fingerprint", "id"}

_PULL = {"source": CONSOLE, "seen_at": NOON, "stream": "runs", "app_id": "shop", "created_at": NOON, "pages": 1}
_PULL_AT = {"source": CONSOLE, "seen_at": NOON, "created_at": NOON}
_TOLD = {"source": PORTAL, "seen_at": NOON, "created_at": NOON}
_SAMPLED = {"source": BROKER, "seen_at": NOON, "ready": 5, "oldest_seen_at": NOON}
_PULLED = {"seconds": 0.7, "requests": 2, "records": 9, "parse_failures": 0, "is_complete": True}
_NO_USAGE = {"tokens": None, "input_tokens": None, "output_tokens": None, "cost": None, "currency": None}
_UNTIMED = {"latency_seconds": None, "time_to_first_token_seconds": None}
_UNFINISHED = {"is_final": False, "finished_at": None, "elapsed_seconds": None}

A_DAY = (
    SHOP,
    HELPDESK,
    a_run(),
    a_run(id="r2", status="failed", triggered_from="webhook", elapsed_seconds=40.0, user_id="u2"),
    a_run(id="r3", status="running", **_UNFINISHED),
    a_run(id="r4", status="stale", **_UNFINISHED),
    a_run(id="r5", triggered_from="debugging", is_debug=True),
    a_node(),
    a_node(id="n2", run_id="r2", status="failed", elapsed_seconds=3.0),
    a_node(id="n3", node_type="code", elapsed_seconds=0.1),
    a_call(is_vision=False),
    a_call(id="n2", status="failed", error_class="rate_limited", is_vision=False, **_NO_USAGE, **_UNTIMED),
    a_call(
        id="n4",
        model_name="qwen",
        is_vision=True,
        input_tokens=7,
        output_tokens=20,
        tokens=27,
        cached_input_tokens=4,
        reasoning_output_tokens=5,
        cost=Decimal("0.5"),
        currency="CNY",
        latency_seconds=10.24,
        time_to_first_token_seconds=0.24,
    ),
    a_call(id="n5", model_name="free", tokens=9, input_tokens=4, output_tokens=5, cost=Decimal(0)),
    a_call(id="n6", is_debug=True),
    a_message(time_to_first_token_seconds=0.02),
    a_message(id="m2", status="failed", invoke_from="web-app", user_id="u3", error_class="timeout"),
    a_conversation(),
    a_feedback(),
    Pull(id="p1", **_PULL, **_PULLED),
    Pull(
        id="p2",
        error_class="unavailable",
        **_PULL,
        **_PULLED | {"seconds": 0.1, "parse_failures": 3, "is_complete": False},
    ),
    DatasetDay(id="d1/1", dataset_id="d1", workspace_id="w", documents=3, segments=12, **_PULL_AT),
    Retrieval(id="q1", dataset_id="d1", workspace_id="w", origin="app", **_PULL_AT),
    QueueSample(
        id="b/dataset/1",
        broker="b",
        queue="dataset",
        kind="served",
        **_SAMPLED,
        created_at=NOON + timedelta(minutes=50),
    ),
    PortalEvent(id="e1", event_id="1", event_source="/chat", event_type="answer.copied", **OF_HELPDESK, **_TOLD),
)
"""Two workflow runs with four model calls, two chat answers, a rating, two pulls: small enough to add up by hand."""


@pytest.fixture
def scraped() -> Iterator[Scraped]:
    found = Scraped()
    yield found
    found.store.close()


@pytest.fixture(scope="module")
def day() -> Exposed:
    scraped = Scraped()
    with closing(scraped.store):
        mark = Watermark(source=CONSOLE, stream="runs", app_id="shop", complete_until=NOON)
        scraped.store.put(A_DAY, [mark])
        return scraped.scrape()


_LLM = {"node_type": "llm"}
_RUN, _CHAT = OF_SHOP | {"app_mode": "workflow"}, OF_HELPDESK | {"app_mode": "chat"}
_GPT, _QWEN, _FREE = OF_SHOP | GPT, OF_SHOP | QWEN, OF_SHOP | FREE
_TEXT, _VISION = {"modality": "text"}, {"modality": "vision"}

BY_HAND: tuple[tuple[str, dict[str, str], float | None], ...] = (
    ("dify_portal_events_total", OF_HELPDESK | {"event_type": "answer.copied"}, 1),
    ("dify_llm_input_tokens_total", _GPT | _LLM, 70),
    ("dify_llm_input_tokens_total", _QWEN | _LLM, 7),
    ("dify_llm_output_tokens_total", _GPT | _LLM, 30),
    ("dify_llm_output_tokens_total", _FREE | _LLM, 5),
    ("dify_llm_cached_input_tokens_total", _QWEN, 4),
    ("dify_llm_cached_input_tokens_total", _GPT, None),  # not told is not zero
    ("dify_llm_reasoning_output_tokens_total", _QWEN, 5),
    ("dify_llm_calls_total", _GPT | _LLM | _TEXT, 2),
    ("dify_llm_calls_total", _QWEN | _LLM | _VISION, 1),
    ("dify_llm_calls_total", _FREE | _LLM | {"modality": ""}, 1),
    ("dify_llm_call_failures_total", _GPT | _LLM | _TEXT | {"error_class": "rate_limited"}, 1),
    ("dify_llm_call_failures_total", _GPT | _LLM | _TEXT | {"error_class": "_OTHER"}, 0),
    ("dify_llm_call_failures_total", _QWEN | _LLM | _VISION | {"error_class": "_OTHER"}, 0),
    ("dify_llm_unpriced_tokens_total", FREE, 9),
    ("dify_llm_unpriced_tokens_total", GPT, 0),
    ("dify_llm_generation_seconds_total", _GPT, 0.75),
    ("dify_llm_generation_seconds_total", _QWEN, 10),
    ("dify_llm_generated_tokens_total", _QWEN, 20),
    ("dify_llm_cost_usd_total", _GPT | _LLM, 0.0001),
    ("dify_llm_cost_usd_total", _FREE | _LLM, 0),
    ("dify_llm_cost_cny_total", _QWEN | _LLM, 0.5),
    ("dify_llm_call_duration_seconds_bucket", GPT | {"le": "0.64"}, 0),
    ("dify_llm_call_duration_seconds_bucket", GPT | {"le": "1.28"}, 1),
    ("dify_llm_call_duration_seconds_bucket", QWEN | {"le": "5.12"}, 0),
    ("dify_llm_call_duration_seconds_bucket", QWEN | {"le": "10.24"}, 1),  # a bound belongs to its bucket
    ("dify_llm_call_duration_seconds_count", GPT, 1),  # the failed call told no time
    ("dify_llm_call_duration_seconds_sum", QWEN, 10.24),
    ("dify_llm_time_per_output_token_seconds_bucket", GPT | {"le": "0.01"}, 0),
    ("dify_llm_time_per_output_token_seconds_bucket", GPT | {"le": "0.025"}, 1),
    ("dify_llm_time_per_output_token_seconds_bucket", QWEN | {"le": "0.5"}, 1),
    ("dify_run_finished_total", _RUN | {"triggered_from": "app-run", "status": "succeeded"}, 1),
    ("dify_run_finished_total", _RUN | {"triggered_from": "webhook", "status": "failed"}, 1),
    ("dify_run_finished_total", _RUN | {"triggered_from": "app-run", "status": "failed"}, 0),
    ("dify_run_finished_total", _RUN | {"triggered_from": "app-run", "status": "running"}, None),
    ("dify_run_duration_seconds_bucket", _RUN | {"le": "1"}, 0),
    ("dify_run_duration_seconds_bucket", _RUN | {"le": "5"}, 1),
    ("dify_run_duration_seconds_bucket", _RUN | {"le": "30"}, 1),
    ("dify_run_duration_seconds_bucket", _RUN | {"le": "60"}, 2),
    ("dify_run_duration_seconds_bucket", _RUN | {"le": "+Inf"}, 2),
    ("dify_run_duration_seconds_sum", _RUN, 42),
    ("dify_run_in_progress", OF_SHOP, 1),
    ("dify_run_in_progress", OF_HELPDESK, None),  # a chat app has no runs
    ("dify_run_stale", OF_SHOP, 1),
    ("dify_run_oldest_unfinished_timestamp_seconds", OF_SHOP, NOON.timestamp()),
    ("dify_node_executions_total", {"workspace_id": "w", "node_type": "llm"}, 2),
    ("dify_node_executions_total", {"workspace_id": "w", "node_type": "code"}, 1),
    ("dify_node_execution_failures_total", {"workspace_id": "w", "node_type": "llm"}, 1),
    ("dify_node_execution_failures_total", {"workspace_id": "w", "node_type": "code"}, 0),
    ("dify_node_execution_duration_seconds_bucket", {"workspace_id": "w", "node_type": "code", "le": "0.1"}, 1),
    ("dify_node_execution_duration_seconds_sum", {"workspace_id": "w", "node_type": "llm"}, 4),
    ("dify_chat_messages_total", _CHAT | {"invoke_from": "service-api"}, 1),
    ("dify_chat_messages_total", _CHAT | {"invoke_from": "web-app"}, 1),
    ("dify_chat_conversations_started_total", _CHAT, 1),
    ("dify_chat_response_duration_seconds_bucket", OF_HELPDESK | {"le": "0.64"}, 0),
    ("dify_chat_response_duration_seconds_bucket", OF_HELPDESK | {"le": "1.28"}, 1),
    ("dify_chat_response_duration_seconds_count", OF_HELPDESK, 1),  # answered ones
    ("dify_chat_time_to_first_token_seconds_bucket", OF_HELPDESK | {"le": "0.01"}, 0),
    ("dify_chat_time_to_first_token_seconds_bucket", OF_HELPDESK | {"le": "0.02"}, 1),
    ("dify_chat_feedback_total", OF_HELPDESK | {"rating": "like"}, 1),
    ("dify_chat_feedback_total", OF_HELPDESK | {"rating": "dislike"}, 0),
    ("dify_app_active_users", OF_SHOP | {"window": "1d"}, 2),
    ("dify_app_active_users", OF_HELPDESK | {"window": "30d"}, 2),
    ("dify_app_active_users", OF_SHOP | {"window": "5m"}, None),  # an hour ago
    ("dify_workspace_active_users", {"workspace_id": "w", "window": "1d"}, 3),
    ("dify_app_info", _RUN | {"app_name": "Shop"}, 1),
    ("dify_app_info", _CHAT | {"app_name": "Help desk"}, 1),
    ("dify_knowledge_documents", {"workspace_id": "w", "dataset_id": "d1"}, 3),
    ("dify_knowledge_segments", {"workspace_id": "w", "dataset_id": "d1"}, 12),
    ("dify_knowledge_retrievals_total", {"workspace_id": "w", "dataset_id": "d1"}, 1),
    ("dify_queue_messages", {"broker": "b", "queue": "dataset"}, 5),
    ("dify_queue_oldest_message_timestamp_seconds", {"broker": "b", "queue": "dataset"}, NOON.timestamp()),
    (
        "dify_metric_collect_duration_seconds_bucket",
        {"origin": "", "source": "console", "stream": "runs", "le": "0.1"},
        1,
    ),
    (
        "dify_metric_collect_duration_seconds_bucket",
        {"origin": "", "source": "console", "stream": "runs", "le": "1"},
        2,
    ),
    (
        "dify_metric_collect_errors_total",
        {"origin": "", "source": "console", "stream": "runs", "error_class": "unavailable"},
        1,
    ),
    (
        "dify_metric_collect_errors_total",
        {"origin": "", "source": "console", "stream": "runs", "error_class": "_OTHER"},
        0,
    ),
    ("dify_metric_parse_failures_total", {"origin": "", "source": "console", "stream": "runs"}, 3),
    ("dify_metric_missing_runs", {"workspace_id": "w", "app_id": "shop"}, 2),
    (
        "dify_metric_last_success_timestamp_seconds",
        {"origin": "", "source": "console", "stream": "runs"},
        NOON.timestamp(),
    ),
    (
        "dify_metric_watermark_timestamp_seconds",
        {"origin": "", "source": "console", "stream": "runs"},
        NOON.timestamp(),
    ),
)


@pytest.mark.parametrize(("sample", "labels", "value"), BY_HAND)
def test_the_numbers_are_those_of_the_facts(day: Exposed, sample: str, labels: dict[str, str], value: float | None):
    assert day.value(sample, **labels) == (value if value is None else pytest.approx(value))


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_family_is_there_with_type_labels_and_help(day: Exposed, family):
    assert any(sample.startswith(family.name) for sample, _, value in BY_HAND if value)
    metric = day.metrics[family.name.removesuffix("_total")]
    assert metric.type == family.kind
    assert {frozenset(sample.labels) - {"le"} for sample in metric.samples} == {frozenset(family.labels)}
    assert len(metric.documentation) > 20


def test_costs_users_and_names_have_the_labels_they_say(day: Exposed):
    wanted = {COST.format(currency="usd"): COST_LABELS, COST.format(currency="cny"): COST_LABELS, INFO: INFO_LABELS}
    wanted |= {name: (*labels, "window") for name, labels in ACTIVE_USERS.items()}
    for name, labels in wanted.items():
        assert {frozenset(series) for series in day.series(name)} == {frozenset(labels)}


def test_no_label_tells_of_one_person_run_or_message(day: Exposed):
    assert {label for _, labels in day.told for label, _ in labels}.isdisjoint(PRIVATE)


def test_help_says_what_is_left_out(day: Exposed):
    assert "console test runs and estimates left out" in day.metrics["dify_llm_calls"].documentation
    assert "console test runs left out" in day.metrics["dify_run_finished"].documentation
    assert "left out" not in day.metrics["dify_metric_collect_errors"].documentation


@pytest.mark.parametrize("family", [each for each in FAMILIES if each.kind == "histogram"], ids=lambda each: each.name)
def test_buckets_hold_all_that_is_below_their_bound(day: Exposed, family):
    for labels in day.series(f"{family.name}_count"):
        bounds = [f"{bound:g}" for bound in family.buckets]
        counts = [day.value(f"{family.name}_bucket", **labels, le=bound) for bound in (*bounds, "+Inf")]
        assert counts == sorted(counts)
        assert counts[-1] == day.value(f"{family.name}_count", **labels)


class TestFormats:
    def test_openmetrics_and_text_say_the_same(self, scraped: Scraped):
        scraped.store.put(A_DAY)
        assert scraped.scrape(OPENMETRICS).told == scraped.scrape("text/plain").told

    async def test_the_accept_header_decides(self, scraped: Scraped):
        app = FastAPI()
        guard(app, Admission(clock=lambda: NOON))
        app.include_router(router(scraped.exposition))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://collector") as client:
            asked = f"{OPENMETRICS},text/plain;version=0.0.4;q=0.3"
            modern = await client.get("/metrics", headers={"Accept": asked})
            simple = await client.get("/metrics")
        assert modern.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
        assert simple.headers["content-type"].startswith("text/plain; version=")
        assert modern.text.endswith("# EOF\n")

    def test_names_may_hold_anything(self):
        name = 'say "hi"\\ \n 客服助手'
        found = exposed([an_app(name=name), a_call(model_name=name)])
        assert [series["app_name"] for series in found.series("dify_app_info")] == [name]
        assert found.total("dify_llm_calls_total", model_name=name) == 1

    @pytest.mark.parametrize(
        ("currency", "family"),
        [
            ("CNY", "dify_llm_cost_cny_total"),
            ("¥", "dify_llm_cost_ua5_total"),
            ("US $", "dify_llm_cost_usu20u24_total"),
            ("", "dify_llm_cost_unknown_total"),
        ],
    )
    def test_a_currency_is_a_name_of_its_own(self, currency: str, family: str):
        found = exposed([a_call(currency=currency)])
        assert found.total(family) == pytest.approx(0.0001)

    def test_spellings_of_one_currency_add_up(self):
        found = exposed([a_call(currency="USD"), a_call(id="n2", currency="usd")])
        assert found.total("dify_llm_cost_usd_total") == pytest.approx(0.0002)

    def test_an_empty_store_is_fine(self, scraped: Scraped):
        assert {value for _, value in scraped.scrape().told.items()} <= {0.0}

    def test_promtool_has_nothing_to_say(self, server: Callable[[str], str], scraped: Scraped):
        scraped.store.put(A_DAY)
        text, _ = scraped.exposition.text("")
        checked = subprocess.run([server("promtool"), "check", "metrics"], input=text, capture_output=True)
        assert (checked.returncode, (checked.stdout + checked.stderr).decode()) == (0, "")


def test_facts_that_come_in_while_others_are_counted_wait_for_the_next_scrape():
    store, numbers = open_store(":memory:", now=SINCE), count()

    @contextmanager
    def busy() -> Iterator[Rows]:
        with store.snapshot() as rows:

            def read(sql: str, parameters: Parameters = ()) -> list[tuple[object, ...]]:
                number = next(numbers)
                store.put([a_run(id=f"r{number}", app_id=f"a{number}"), an_app(id=f"a{number}")])
                return rows(sql, parameters)

            yield read

    with closing(store):
        found = Scraped(store, snapshot=busy).scrape()
        assert next(numbers) > 10
        assert len(found.series("dify_run_duration_seconds_count")) <= 1
        assert len(Scraped(store).scrape().series("dify_run_duration_seconds_count")) > 10


def test_numbers_of_the_process_stand_beside_those_of_the_facts():
    seen = {("console", "200"): 3.0}
    gauge = Tally("dify_metric_source_up", "Whether.", (), lambda: {(): 1.0}, is_counter=False)
    found = exposed(tallies=[Tally("dify_metric_requests_total", "Requests.", ("source", "code"), lambda: seen), gauge])
    assert found.value("dify_metric_requests_total", source="console", code="200") == 3
    assert found.metrics["dify_metric_source_up"].type == "gauge"


class TestCountersClimb:
    def test_a_late_fact_is_counted_when_it_comes(self, scraped: Scraped):
        scraped.store.put([SHOP, a_run()])
        assert scraped.scrape().total("dify_run_finished_total") == 1
        scraped.store.put([a_run(id="late", created_at=SINCE, finished_at=SINCE + timedelta(seconds=1))])
        assert scraped.scrape().total("dify_run_finished_total") == 2

    def test_history_is_no_burst(self):
        old = SINCE - timedelta(days=3)
        found = exposed([SHOP, a_run(created_at=old, finished_at=old), a_call(created_at=old, finished_at=old)])
        assert found.total("dify_run_finished_total") == 0
        assert found.total("dify_llm_calls_total") == 0

    def test_a_run_that_began_before_counting_and_ended_after_it_counts(self):
        found = exposed([SHOP, a_run(created_at=SINCE - timedelta(hours=5), finished_at=NOON)])
        assert found.total("dify_run_finished_total", status="succeeded") == 1

    def test_an_estimate_waits_for_the_calls_it_stands_for(self, scraped: Scraped):
        estimate = a_call(id="r1", is_estimate=True, source=TAP, tokens=500)
        scraped.store.put([SHOP, estimate])
        assert scraped.scrape().total("dify_llm_calls_total") == 0
        scraped.store.put([a_call(), a_call(id="n2")])
        assert scraped.scrape().total("dify_llm_calls_total") == 2

    def test_an_app_whose_mode_is_told_later_is_not_counted_twice(self, scraped: Scraped):
        scraped.store.put([a_run()])
        assert scraped.scrape().total("dify_run_finished_total") == 1
        scraped.store.put([SHOP])
        assert scraped.scrape().total("dify_run_finished_total") == 1

    def test_telling_it_all_again_changes_nothing(self, scraped: Scraped):
        scraped.store.put(A_DAY)
        before = scraped.scrape().told
        scraped.store.put(A_DAY)
        assert scraped.scrape().told == before

    @pytest.mark.parametrize("is_new_process", [False, True], ids=["same process", "after a restart"])
    def test_a_rating_that_is_withdrawn_takes_nothing_back(self, scraped: Scraped, is_new_process: bool):
        scraped.store.put([HELPDESK, a_feedback(), a_feedback(id="m2/user", message_id="m2")])
        assert scraped.scrape().total("dify_chat_feedback_total", rating="like") == 2
        later = NOON + timedelta(minutes=9)
        scraped.store.put([a_feedback(rating="withdrawn", seen_at=later, updated_at=later)])
        if is_new_process:
            scraped.restart()
        assert scraped.scrape().total("dify_chat_feedback_total", rating="like") == 2
        scraped.store.put([a_feedback(id="m3/user", message_id="m3"), a_feedback(id="m4/user", message_id="m4")])
        assert scraped.scrape().total("dify_chat_feedback_total", rating="like") == 3

    def test_a_restart_says_the_same(self, scraped: Scraped):
        scraped.store.put(A_DAY)
        before = scraped.scrape().told
        scraped.restart()
        assert scraped.scrape().told == before

    def test_a_store_that_cannot_keep_readings_is_no_reason_to_say_nothing(self):
        tries = []

        def full(readings: object) -> None:
            tries.append(dict(readings))
            if len(tries) == 1:
                raise StoreError("the disk is full")

        readings = Readings(keep=full)
        assert readings.raised("a", {("x",): 1.0}) == {("x",): 1.0}
        readings.save()
        readings.save()
        assert tries == [{("a", '["x"]'): 1.0}] * 2  # tried again

    @settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        batches=st.lists(
            st.lists(
                st.builds(
                    a_call,
                    id=st.sampled_from("abcd"),
                    model_name=st.sampled_from(["m", None]),
                    status=st.sampled_from(["succeeded", "failed"]),
                    tokens=st.sampled_from([None, 1, 7]),
                    latency_seconds=st.sampled_from([None, 0.1, 0.7]),
                    source=st.sampled_from([TAP, CONSOLE]),
                    is_estimate=st.booleans(),
                ),
                max_size=4,
            ),
            max_size=5,
        ),
        restarts=st.sets(st.integers(0, 4)),
    )
    def test_whatever_is_told_no_counter_steps_back(self, batches: list, restarts: set[int]):
        scraped, before = Scraped(), {}
        gauges = {family.name for family in FAMILIES if family.kind == "gauge"}
        with closing(scraped.store):
            for number, batch in enumerate(batches):
                scraped.store.put(batch)
                if number in restarts:
                    scraped.restart()
                after = {key: value for key, value in scraped.scrape().told.items() if key[0] not in gauges}
                assert {key: value for key, value in after.items() if value < before.get(key, 0)} == {}
                before |= after


KILLED = """
import os, signal, sys
from tests.faces.exposed import Scraped, SINCE
from tests.faces.test_prometheus import A_DAY
from collector.store import open_store

scraped = Scraped(open_store(sys.argv[1], now=SINCE))
scraped.store.put(A_DAY)
print(sorted(scraped.scrape().told.items()), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_kill_says_the_same(tmp_path: Path):
    path = tmp_path / "t.duckdb"
    killed = subprocess.run([sys.executable, "-c", KILLED, path], cwd=ROOT, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    after = Scraped(open_store(path, now=NOON))
    with closing(after.store):
        assert str(sorted(after.scrape().told.items())) == killed.stdout.strip()
