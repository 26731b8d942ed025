"""The leaf rule on single nodes, runs and usage objects."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.errors import ShapeError
from collector.ledger import (
    CALLING_NODES,
    Telling,
    Usage,
    container_key,
    estimated_call,
    estimated_usage,
    graph_models,
    has_image,
    message_call,
    node_facts,
    node_usage,
    provider_name,
    read_usage,
    run_fact,
)
from collector.records import CONSOLE
from tests.builders import NOON, a_run

RECORDED = Path(__file__).parent / "recorded"
TELLING = Telling(source=CONSOLE, seen_at=NOON, app_id="shop", run_id="r1", is_debug=False)

SPENT = {
    "prompt_tokens": 33,
    "completion_tokens": 24,
    "total_tokens": 57,
    "total_price": "0.0000194",
    "currency": "USD",
}
TOTALS = {"total_tokens": 57, "total_price": "0.0000194", "currency": "USD"}


def a_raw_node(node_type="llm", **fields):
    return {
        "id": "n1",
        "node_id": "n",
        "node_type": node_type,
        "status": "succeeded",
        "created_at": 1795217517,
    } | fields


def calls_of(name):
    body = json.loads((RECORDED / name).read_text())
    facts = [node_facts(raw, TELLING) for raw in body["data"]]
    return [call for _, call in facts if call]


def test_an_iteration_adds_nothing_to_what_ran_inside():
    calls = calls_of("node_executions_iteration_llm_ok.json")

    assert [call.tokens for call in calls] == [57, 57, 57, 56]
    assert sum(call.cost for call in calls) == Decimal("0.0000774")


@pytest.mark.parametrize(
    ("name", "tokens", "statuses"),
    [
        ("node_executions_succeeded.json", [57, 57], ["succeeded", "succeeded"]),
        ("node_executions_partial_succeeded.json", [59, None], ["succeeded", "failed"]),
        ("node_executions_failed.json", [None, None], ["failed", "failed"]),
        ("node_executions_iteration_llm_retry.json", [57, 57, 57, None], ["succeeded"] * 3 + ["failed"]),
        ("node_executions_running.json", [153], ["succeeded"]),
        ("node_executions_chatflow.json", [214], ["succeeded"]),
        ("node_executions_webhook_trigger.json", [], []),
        ("node_executions_truncated.json", [], []),
        ("captured/node-executions.json", [1696], ["succeeded"]),
    ],
)
def test_recorded_node_lists_count_each_call_once(name, tokens, statuses):
    calls = calls_of(name)

    assert [call.tokens for call in calls] == tokens
    assert [call.status for call in calls] == statuses


@pytest.mark.parametrize(
    "places",
    [
        {"process_data": {"usage": SPENT}},
        {"process_data": None, "outputs": {"usage": SPENT}},
        {"process_data": [], "outputs": {"__usage": SPENT}},
        {"process_data": {"usage": {}}, "outputs": {"usage": None}, "execution_metadata": TOTALS},
        {"execution_metadata": {"agent_log": {"agent_backend": {"usage": SPENT}}}},
        {"process_data": {"usage": SPENT}, "outputs": {"usage": SPENT}, "execution_metadata": TOTALS},
        {"outputs": {"usage": SPENT | {"prompt_tokens": 0, "completion_tokens": 0}}, "execution_metadata": TOTALS},
    ],
)
def test_usage_is_found_wherever_a_version_puts_it(places):
    _, call = node_facts(a_raw_node(**places), TELLING)

    assert (call.tokens, call.cost, call.currency) == (57, Decimal("0.0000194"), "USD")


def test_a_place_that_splits_tokens_is_better_than_one_that_does_not():
    usage = node_usage(
        {"outputs": {"usage": SPENT | {"prompt_tokens": 0, "completion_tokens": 0}}, "process_data": {"usage": SPENT}}
    )

    assert (usage.input_tokens, usage.output_tokens) == (33, 24)


def test_a_place_of_zeros_hides_no_tokens():
    zeros = dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens"), 0)

    assert node_usage({"process_data": {"usage": zeros}, "outputs": {"usage": SPENT}}).tokens == 57


def test_what_the_best_place_leaves_out_is_taken_from_another_with_the_same_total():
    tokens = {"prompt_tokens": 33, "completion_tokens": 24}

    usage = node_usage({"process_data": {"usage": tokens}, "execution_metadata": TOTALS})

    assert (usage.input_tokens, usage.cost, usage.currency) == (33, Decimal("0.0000194"), "USD")


def test_an_amount_keeps_its_own_currency():
    priced = {"prompt_tokens": 33, "completion_tokens": 24, "total_price": "1"}

    usage = node_usage({"process_data": {"usage": priced}, "outputs": {"usage": SPENT | {"currency": "CNY"}}})

    assert (usage.cost, usage.currency) == (1, None)


def test_nothing_told_is_not_zero():
    assert read_usage({}) == Usage()
    assert not read_usage({"prompt_tokens": None, "total_price": None, "currency": "USD"}).is_told
    assert read_usage({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}).tokens == 0


def test_a_total_beside_zeros_has_no_known_split():
    usage = read_usage({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 90})

    assert (usage.input_tokens, usage.output_tokens, usage.tokens) == (None, None, 90)


@pytest.mark.parametrize("kind", ["end", "code", "variable-aggregator", "answer", "tool", "iteration", "loop", "start"])
def test_a_copy_of_usage_makes_no_call(kind):
    raw = a_raw_node(kind, process_data={"usage": SPENT}, outputs={"usage": SPENT}, execution_metadata=TOTALS)

    assert node_facts(raw, TELLING)[1] is None


def test_a_retrieval_calls_a_model_only_when_it_reranks():
    zeros = {"usage": {"total_tokens": 0, "prompt_tokens": 0, "completion_tokens": 0}}

    assert node_facts(a_raw_node("knowledge-retrieval", process_data=zeros), TELLING)[1] is None
    assert node_facts(a_raw_node("knowledge-retrieval", process_data={"usage": SPENT}), TELLING)[1].tokens == 57


def test_a_node_type_to_come_is_a_call_when_it_names_its_model():
    process = {"usage": SPENT, "model_name": "gpt-9", "model_provider": "openai"}

    assert node_facts(a_raw_node("oracle", process_data=process), TELLING)[1].tokens == 57
    assert node_facts(a_raw_node("tool", process_data=process), TELLING)[1] is None


@pytest.mark.parametrize("kind", sorted(CALLING_NODES))
def test_a_calling_node_that_tells_nothing_spent_an_unknown_amount(kind):
    _, call = node_facts(a_raw_node(kind), TELLING)

    assert (call.tokens, call.cost, call.currency, call.is_estimate) == (None, None, None, False)


def test_a_failed_call_takes_its_model_from_the_graph():
    detail = json.loads((RECORDED / "workflow_run_detail_failed.json").read_text())

    models = graph_models(detail["graph"])
    _, call = node_facts(a_raw_node(node_id="llm1", status="failed", error="429"), TELLING, models)

    assert (call.model_provider, call.model_name) == ("langgenius/openai/openai", "gpt-4o-mini")
    assert (call.status, call.error_class) == ("failed", "rate_limited")


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        ("openai", "langgenius/openai/openai"),
        ("langgenius/openai/openai", "langgenius/openai/openai"),
        ("", ""),
        (None, None),
    ],
)
def test_a_provider_has_one_name(told, wanted):
    assert provider_name(told) == wanted


def test_a_container_has_one_key_in_stream_and_list():
    listed, _ = node_facts(a_raw_node("loop", id="5d0e", node_id="loop1"), TELLING)
    streamed, _ = node_facts(a_raw_node("loop", id="loop1", node_id="loop1"), TELLING)

    assert listed.id == streamed.id == container_key("r1", "loop1") != container_key("r2", "loop1")


@pytest.mark.parametrize("field", ["id", "created_at", "elapsed_time", "error"])
def test_a_node_that_cannot_be_read_names_the_field(field):
    with pytest.raises(ShapeError) as raised:
        node_facts(a_raw_node(**({"status": "failed"} | {field: {"not": "this"}})), TELLING)

    assert raised.value.field == field


def test_an_unfinished_run_leaves_out_what_its_end_decides():
    raw = {"id": "r1", "status": "running", "total_tokens": 0, "total_steps": 0, "elapsed_time": 0.0, "created_at": 1}

    run = run_fact(raw, TELLING)

    assert (run.is_final, run.reported_tokens, run.steps, run.elapsed_seconds) == (False, None, None, None)


@pytest.mark.parametrize(
    ("triggered_from", "told", "wanted"),
    [
        ("debugging", None, True),
        ("app-run", None, False),
        ("rag-pipeline-debugging", None, True),
        ("webhook", False, False),
    ],
)
def test_a_run_says_by_its_trigger_whether_it_is_a_test(triggered_from, told, wanted):
    telling = Telling(source=CONSOLE, seen_at=NOON, is_debug=told)

    assert run_fact({"id": "r1", "triggered_from": triggered_from}, telling).is_debug is wanted


def test_a_message_with_zero_tokens_was_not_counted():
    call = message_call(
        Usage(input_tokens=0, output_tokens=0, tokens=0, cost=Decimal(0), currency="USD", latency_seconds=3.2),
        TELLING,
        message_id="m1",
        status="stopped",
        created_at=NOON,
    )

    assert (call.tokens, call.input_tokens, call.cost, call.currency) == (None, None, None, None)
    assert call.latency_seconds == 3.2


@pytest.mark.parametrize(
    ("reported", "message", "elsewhere", "wanted"),
    [
        (57, Usage(), 0, Usage(tokens=57)),
        (
            57,
            Usage(input_tokens=33, output_tokens=24, tokens=57),
            0,
            Usage(input_tokens=33, output_tokens=24, tokens=57),
        ),
        (0, Usage(tokens=57), 0, Usage(tokens=57)),
        (None, Usage(tokens=57), 0, Usage(tokens=57)),
        (100, Usage(input_tokens=33, output_tokens=24, tokens=57), 0, Usage(tokens=100)),
        (100, Usage(), 40, Usage(tokens=60)),
        (100, Usage(input_tokens=90, output_tokens=10, tokens=100), 40, Usage(tokens=60)),
        (40, Usage(), 40, None),
        (0, Usage(tokens=0), 0, None),
        (None, Usage(), 0, None),
    ],
)
def test_an_estimate_takes_the_better_total_less_what_other_runs_account_for(reported, message, elsewhere, wanted):
    assert estimated_usage(reported, message, elsewhere) == wanted


def test_an_estimate_stands_under_the_key_of_its_run():
    call = estimated_call(a_run(status="failed"), TELLING, Usage(tokens=57))

    assert (call.id, call.run_id, call.is_estimate, call.status) == ("r1", "r1", True, "succeeded")
    with pytest.raises(ShapeError):
        estimated_call(a_run(), TELLING, Usage())


def test_an_image_is_seen_in_the_prompt():
    assert has_image([{"role": "user", "files": [{"type": "image"}]}]) is True
    assert has_image([{"role": "user", "files": []}]) is False
    assert has_image(None) is None


@given(st.integers(0, 2**40), st.integers(0, 2**40))
def test_tokens_are_input_and_output(asked, answered):
    usage = read_usage({"prompt_tokens": asked, "completion_tokens": str(answered), "total_tokens": asked + answered})

    assert usage.tokens == asked + answered
    assert (usage.input_tokens, usage.output_tokens) == (asked, answered)
