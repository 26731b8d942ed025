"""Rows of node executions: the quick reading says what the ledger says, whatever stands in Dify's JSON."""

from __future__ import annotations

import json
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
from tests.pull.database.world import AFTERWARDS, PROCESS, USAGE, World, key

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

    assert (leaves.records, [unread[3] for unread, _ in leaves.unread]) == the_ledger(row)


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
