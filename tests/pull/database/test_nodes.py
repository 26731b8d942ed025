"""Rows of node executions: the quick reading says what the ledger says, whatever stands in Dify's JSON."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from msgspec.structs import fields

from collector.errors import ShapeError
from collector.ledger import Telling, container_key, node_facts
from collector.pull.database import Reading
from collector.pull.database.nodes import read_nodes
from collector.pull.database.values import loose_json
from collector.records import ModelCall, NodeExecution, Run
from tests.pull.database.world import AFTERWARDS, PROCESS, TENANT, USAGE, USER, WORKFLOW, World, key

numbers = st.sampled_from([0, 1, 57, 346, -1, 2.5, "12", "", None, True, 10**12])
prices = st.sampled_from(["0.0000194", "0", "0.0", "0E-7", "", "NaN", "free", None, 0.25, "123456789012345", "-0.5"])
lengths = st.sampled_from([0, 0.25, 3, "1.5", None, -0.5, -7])
words = st.sampled_from(["USD", "RMB", "", None, 5, "langgenius/openai/openai", "openai"])
details = st.none() | st.fixed_dictionaries({}, optional={"cached_tokens": numbers, "reasoning_tokens": numbers})
usages = st.fixed_dictionaries(
    {},
    optional={
        "prompt_tokens": numbers,
        "completion_tokens": numbers,
        "total_tokens": numbers,
        "total_price": prices,
        "currency": words,
        "latency": lengths,
        "time_to_first_token": lengths,
        "cached_tokens": numbers,
        "prompt_tokens_details": details,
        "completion_tokens_details": details,
    },
)
files = st.sampled_from([None, [], [{"type": "image"}], [{"type": "document"}], ["image"], "image"])
prompts = st.lists(st.fixed_dictionaries({"role": st.just("user")}, optional={"files": files}), max_size=2)
places = st.fixed_dictionaries(
    {},
    optional={
        "usage": usages | st.sampled_from([None, [], "none"]),
        "__usage": usages,
        "prompts": prompts | st.sampled_from([None, "hello", {}]),
        "model_provider": words,
        "model_name": words,
    },
)
metadata = st.fixed_dictionaries(
    {},
    optional={
        "total_tokens": numbers,
        "total_price": prices,
        "currency": words,
        "iteration_id": st.sampled_from([None, "", "outer"]),
        "loop_id": st.sampled_from([None, "around"]),
        "agent_log": st.sampled_from([[], [{"id": 1}], {"agent_backend": {"usage": {"total_tokens": 5}}}]),
    },
)


@st.composite
def texts(draw: st.DrawFn) -> tuple[str | None, str | None, str | None]:
    """process_data, outputs and execution_metadata; often they repeat one usage, each with blanks of its own."""
    if draw(st.booleans()):
        return tuple(draw(columns | some.map(json.dumps)) for some in (places, places, metadata))  # type: ignore[return-value]
    usage = json.loads(USAGE) | draw(st.sampled_from([{}, {"cached_tokens": 7}, {"total_price": None}]))
    names = st.sets(st.sampled_from(["total_price", "currency", "latency", "time_to_first_token", "cached_tokens"]))
    whole = draw(places) | {"usage": _without(usage, draw(names))}
    again = {draw(st.sampled_from(["usage", "__usage"])): _without(usage, draw(names))}
    total = _without({name: usage[name] for name in ("total_tokens", "total_price", "currency")}, draw(names))
    log = draw(st.sampled_from([None, [], {"agent_backend": {"usage": usage}}]))
    return json.dumps(whole), json.dumps(again), json.dumps(total | {"agent_log": log})


def _without(usage: dict[str, Any], names: set[str]) -> dict[str, Any]:
    """The usage with blanks: null, as Dify writes most of them."""
    return usage | dict.fromkeys(names & set(usage))


statuses = st.sampled_from(["succeeded", "failed", "exception", "stopped", "running", "retry", "paused", "new word"])
kinds = st.sampled_from(
    ["llm", "agent", "question-classifier", "knowledge-retrieval", "code", "tool", "iteration", "loop", "new-kind"]
)
columns = st.none() | st.sampled_from(["", "{}", "null", "[]", '{"usage": {"prompt_tok', "NaN", "\x00"])


def rows(
    kind: str = "llm",
    status: str = "succeeded",
    process: str | None = None,
    outputs: str | None = None,
    written: str | None = None,
    elapsed: float = 1.5,
    error: str | None = None,
) -> list[tuple[Any, ...]]:
    """One row as the server gives it, its JSON uncut."""
    names, at = ("n", "tenant", "app", "run", "m", "c", False), AFTERWARDS
    texts = (text.encode() if text is not None else None for text in (process, outputs))
    return [(*names, "node", kind, "Node", status, error, elapsed, written, at, at, *texts)]


def the_ledger(row: tuple[Any, ...]) -> tuple[list[NodeExecution | ModelCall], list[str]]:
    """What the ledger makes of the same row."""
    raw = {
        **dict(zip(["node_id", "node_type", "title", "status", "error", "elapsed_time"], row[7:13], strict=True)),
        "id": "n",
        "execution_metadata": loose_json(row[13]),
        "process_data": loose_json(row[16]),
        "outputs": loose_json(row[17]),
        "created_at": row[14].isoformat(),
        "finished_at": row[15].isoformat(),
    }
    telling = Telling(
        source="database",
        seen_at=AFTERWARDS,
        workspace_id="tenant",
        app_id="app",
        run_id="run",
        message_id="m",
        conversation_id="c",
        is_debug=False,
    )
    try:
        return [record for record in node_facts(raw, telling) if record is not None], []
    except ShapeError:
        return [], ["run"]


any_row = {
    "kind": kinds,
    "status": statuses,
    "texts": texts(),
    "elapsed": st.sampled_from([0.0, 1.5, -0.25, -9.0, float("nan"), float("inf")]),
    "error": st.sampled_from([None, "", "429 Too Many Requests", "out of luck"]),
}


@given(**any_row)
@example("llm", "succeeded", (PROCESS, "{}", '{"total_tokens": 100}'), 1.0, None)
@example("llm", "succeeded", ("{}", json.dumps({"usage": json.loads(USAGE)}), ""), 1.0, None)
def test_a_row_says_what_the_ledger_says(
    kind: str, status: str, texts: tuple[str | None, str | None, str | None], elapsed: float, error: str | None
):
    (row,) = rows(kind, status, *texts, elapsed, error)

    leaves = read_nodes([row], "database", AFTERWARDS, lambda ids: {})

    assert (leaves.records, leaves.unread) == the_ledger(row)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(**any_row, length=st.sampled_from([0, 5000]))
@example("new-kind", "succeeded", (PROCESS, None, None), 1.0, None, 0)
@example("code", "succeeded", ("{}", json.dumps({"usage": json.loads(USAGE)}), "{}"), 1.0, None, 0)
def test_a_stored_row_says_what_the_ledger_says(
    world: World,
    kind: str,
    status: str,
    texts: tuple[str | None, str | None, str | None],
    elapsed: float,
    error: str | None,
    length: int,
):
    (row,) = rows(kind, status, *(_storable(text, length) for text in texts), elapsed, error)
    world.execute("DELETE FROM workflow_node_executions", "DELETE FROM workflow_runs")
    columns = ["node_type", "title", "status", "error", "elapsed_time", "execution_metadata"]
    stored = dict(zip(columns, row[8:14], strict=True)) | {"process_data": _text(row[16]), "outputs": _text(row[17])}
    world.has_a_run(created_by=key("nobody"))
    world.has_a_node("n", node_id="node", **stored)

    world.facts.clear()
    world.pull(Reading(runs_by_index=0))

    records, unread = the_ledger(row)
    for record in records:
        read = world.get(type(record), "n" if record.id == "n" else container_key(key("run"), "node"))
        assert [_alike(read, name) for name in SAID] == [_alike(record, name) for name in SAID]
    assert len(world.all(NodeExecution)) + len(world.all(ModelCall)) == len(records)
    assert (world.get(Run, "run").leaves_known is True) == (not unread)


SAID = {field.name for field in (*fields(NodeExecution), *fields(ModelCall))} - {
    *("id", "source", "seen_at", "created_at", "finished_at"),
    *("run_id", "app_id", "workspace_id", "message_id", "conversation_id"),
}


def _alike(record: NodeExecution | ModelCall, name: str) -> object:
    return getattr(record, name, None)


def _text(written: bytes | None) -> str | None:
    return written.decode() if written is not None else None


def _storable(text: str | None, length: int) -> str | None:
    """PostgreSQL stores no NUL. A long text has its length in front, where prompts stand."""
    if text is None or "\x00" in text:
        return None
    return text.replace("{", '{"long": "%s", ' % ("x" * length), 1) if length and text.startswith('{"') else text


def test_the_usual_shapes_are_read_without_the_ledger(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("collector.pull.database.nodes.node_facts", None)

    records, unread = read_nodes(
        rows(process=PROCESS) + rows(kind="code") + rows(status="running"), "database", AFTERWARDS, lambda ids: {}
    )

    assert [type(record) for record in records] == [NodeExecution, ModelCall, NodeExecution, NodeExecution]
    assert unread == []


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
