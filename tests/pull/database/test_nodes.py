"""Node executions out of the database: where usage is found, and what the server hands over of long texts."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from collector.pull.database import Reading
from collector.records import ModelCall, Run
from tests.pull.database.world import AFTERWARDS, PROCESS, TENANT, USAGE, USER, WORKFLOW, World, key

FULL: dict[str, Any] = json.loads(USAGE) | {"cached_tokens": 7}


def blank(*names: str) -> dict[str, Any]:
    """The usage as Dify repeats it where it leaves some fields out."""
    return FULL | dict.fromkeys(names)


@pytest.mark.parametrize("length", [0, 20_000])
@pytest.mark.parametrize(
    ("missing", "outputs", "metadata"),
    [
        (["time_to_first_token"], {"usage": FULL}, {}),
        (["latency"], {"usage": FULL}, {}),
        (["cached_tokens"], {"usage": FULL}, {}),
        (["time_to_first_token", "latency"], {"usage": blank("latency"), "__usage": FULL}, {}),
        (["time_to_first_token", "cached_tokens"], {"__usage": FULL}, {}),
        (["time_to_first_token", "cached_tokens"], {"usage": blank("cached_tokens"), "__usage": FULL}, {}),
        (["total_price", "currency"], {}, {"total_tokens": 100, "total_price": "0.0001", "currency": "USD"}),
        (["total_price", "currency"], {"usage": FULL}, {}),
        (["cached_tokens"], {}, {"agent_log": {"agent_backend": {"usage": FULL}}}),
        (["cached_tokens"], {}, {"total_tokens": 100, "cached_tokens": 7}),
        (["latency"], {}, {"total_tokens": 100, "latency": 1.5}),
        (["time_to_first_token"], {}, {"total_tokens": 100, "time_to_first_token": 0.25}),
    ],
)
def test_what_process_data_leaves_out_is_taken_from_where_it_stands(
    world: World, length: int, missing: list[str], outputs: dict[str, Any], metadata: dict[str, Any]
):
    process = json.loads(PROCESS) | {"usage": blank(*missing)}
    texts = {"outputs": json.dumps({"text": "x" * length, **outputs}), "execution_metadata": json.dumps(metadata)}
    world.has_a_run()
    world.has_a_node(process_data=long(json.dumps(process), length), **texts)

    world.pull()

    call = world.get(ModelCall, "node")
    assert (call.latency_seconds, call.time_to_first_token_seconds, call.cached_input_tokens) == (1.5, 0.25, 7)
    assert (call.cost, call.currency) == (Decimal("0.0001"), "USD")


@pytest.mark.parametrize("missing", ["time_to_first_token", "latency", "total_price"])
def test_the_server_leaves_no_outputs_out_that_could_tell_more(world: World, missing: str):
    usage = json.loads(USAGE)
    process = json.loads(PROCESS) | {"usage": usage | {missing: None}}
    world.has_a_run()
    world.has_a_node(process_data=json.dumps(process), outputs=json.dumps({"usage": usage}), execution_metadata="{}")

    world.pull()

    call = world.get(ModelCall, "node")
    assert (call.latency_seconds, call.time_to_first_token_seconds, call.cost) == (1.5, 0.25, Decimal("0.0001"))


def long(process: str, by: int = 20_000) -> str:
    """The same with a long prompt before everything else of it."""
    return process.replace("hello", "é" * by)


@pytest.mark.parametrize("length", [10, 20_000])
@pytest.mark.parametrize(
    ("process", "wanted"),
    [
        (PROCESS, (100, "gpt-4o-mini", False)),
        (PROCESS.replace('"files": []', '"files": [{"type": "image"}]'), (100, "gpt-4o-mini", True)),
        (PROCESS.replace('"files": []', '"files": [{"type": "video", "of": "image"}]'), (100, "gpt-4o-mini", False)),
        (PROCESS.replace("hello", 'hello {\\"usage\\": {\\"prompt_tokens\\": 9}}'), (100, "gpt-4o-mini", False)),
        (
            PROCESS.replace('"finish_reason"', '"inner": {"usage": {"prompt_tokens": 9}}, "x"'),
            (100, "gpt-4o-mini", False),
        ),
        ('{"usage": ' + USAGE + ', "model_name": "m", "text": "hello"}', (100, "m", None)),
        ('{"prompts": [], "text": "hello", "usage": ' + USAGE + ', "model_name": "m"}', (100, "m", None)),
        ('{"inner": {"prompts": [{"text": "hello"}], "usage": ' + USAGE + "}}", (None, None, None)),
        ('{"prompts": [{"text": "hello"}], "x": [{"usage": ' + USAGE + "}]}", (None, None, False)),
        (PROCESS[:-1], (None, None, None)),  # broken off
    ],
)
def test_a_long_text_says_what_a_short_one_says(
    world: World, length: int, process: str, wanted: tuple[int | None, str | None, bool | None]
):
    world.has_a_run()
    world.has_a_node(process_data=long(process, length), execution_metadata="{}")

    world.pull()

    (call,) = world.all(ModelCall)
    assert (call.tokens, call.model_name, call.is_vision) == wanted


def test_of_a_long_text_only_the_ends_are_fetched(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("collector.pull.database.reader.node_queries.WHOLE", "not asked")
    world.has_a_run()
    world.has_a_node(process_data=long(PROCESS), outputs=json.dumps({"text": "x" * 20_000}))

    world.pull()

    assert world.get(ModelCall, "node").tokens == 100


OLD = json.dumps({"text": "well " * 4000, "usage": json.loads(USAGE)})


@pytest.mark.parametrize(
    "process", [None, "", "{}", '{"prompts": ', '{"usage": {"prompt_tokens": 0, "completion_tokens": 0}}']
)
def test_usage_is_found_in_the_outputs_where_process_data_tells_none(world: World, process: str | None):
    world.has_a_run()
    world.has_a_node(process_data=process, outputs=OLD)

    world.pull()

    call = world.get(ModelCall, "node")
    assert (call.input_tokens, call.output_tokens, call.currency) == (70, 30, "USD")


def test_totals_are_found_in_the_metadata_when_all_else_is_broken(world: World):
    world.has_a_run()
    world.has_a_node(
        process_data=PROCESS[:50], outputs="{", execution_metadata='{"total_tokens": 100, "total_price": 1}'
    )

    world.pull()

    call = world.get(ModelCall, "node")
    assert (call.input_tokens, call.tokens, call.cost) == (None, 100, 1)


@pytest.mark.parametrize(("usage", "calls"), [(USAGE, 1), ('{"total_tokens": 0}', 0), ("null", 0)])
def test_a_retrieval_is_a_call_when_it_tells_tokens(world: World, usage: str, calls: int):
    world.has_a_run()
    outputs = f'{{"result": [], "usage": {usage}}}'
    world.has_a_node(node_type="knowledge-retrieval", process_data=None, outputs=outputs, execution_metadata="{}")

    world.pull()

    assert len(world.all(ModelCall)) == calls


def graph(model: str) -> str:
    return json.dumps({"nodes": [{"id": "llm", "data": {"model": {"provider": "openai", "name": model}}}]})


def test_a_failed_call_takes_its_model_from_the_graph_its_run_ran(world: World):
    failed = {"status": "failed", "process_data": "{}", "error": "429 Too Many Requests", "execution_metadata": "{}"}
    for name, version, model in [
        ("r1", "1", "old"),
        ("r2", "1", "old"),
        ("r3", "2", "new"),
        ("r4", "draft", "a"),
        ("r5", "draft", "b"),
    ]:
        world.has_a_run(name, version=version, graph=graph(model), status="failed")
        world.has_a_node(f"of {name}", run=name, **failed)
    world.has_a_run("r6", version="3", graph="{broken")
    world.has_a_node("of r6", run="r6", **failed)

    world.pull()

    models = {name: world.get(ModelCall, f"of {name}").model_name for name in ("r1", "r2", "r3", "r4", "r5", "r6")}
    assert models == {"r1": "old", "r2": "old", "r3": "new", "r4": "a", "r5": "b", "r6": None}
    call = world.get(ModelCall, "of r1")
    assert (call.model_provider, call.status, call.error_class) == (
        "langgenius/openai/openai",
        "failed",
        "rate_limited",
    )
    assert call.tokens is None


@pytest.mark.parametrize("runs_by_index", [0, 100])
@pytest.mark.parametrize(
    ("trigger", "is_debug"),
    [("app-run", False), ("debugging", True), ("rag-pipeline-debugging", True), ("webhook", False)],
)
def test_a_node_is_a_test_when_its_run_is(world: World, runs_by_index: int, trigger: str, is_debug: bool):

    world.has_a_run(triggered_from=trigger)
    world.has_a_node()

    world.pull(Reading(runs_by_index=runs_by_index))

    assert world.get(Run, "run").is_debug is world.get(ModelCall, "node").is_debug is is_debug


def test_a_node_of_a_run_that_is_gone_belongs_to_it_still(world: World):

    world.has_a_run("other")
    world.has_a_node(run="gone")

    world.pull(Reading(runs_by_index=0))

    assert world.get(ModelCall, "node").is_debug is None


@pytest.mark.parametrize("runs_by_index", [0, 100])
def test_a_single_step_is_found_and_is_a_test(world: World, runs_by_index: int):

    world.insert("workflows", _a_workflow())
    world.has_a_run()
    world.has_a_node("step", run=None)

    world.pull(Reading(runs_by_index=runs_by_index))

    assert (world.get(ModelCall, "step").run_id, world.get(ModelCall, "step").is_debug) == (None, True)


def _a_workflow() -> dict[str, object]:

    ids: dict[str, object] = {"id": WORKFLOW, "tenant_id": TENANT, "app_id": key("app"), "created_by": USER}
    return ids | {
        "type": "workflow",
        "version": "draft",
        "graph": "{}",
        "features": "{}",
        "updated_at": datetime(2026, 1, 1),
    }


def test_microseconds_are_kept_and_the_zone_is_utc(world: World):
    at = AFTERWARDS.replace(microsecond=123456)
    world.has_a_run(at=at)
    world.has_a_node(at=at)

    world.pull()

    assert world.get(Run, "run").created_at == world.get(ModelCall, "node").created_at == at
