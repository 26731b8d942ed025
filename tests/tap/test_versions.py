"""Streams as other versions of Dify write them; made up here from what is known of each."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

from tests.tap.streams import (
    AT,
    HEARD,
    RECORDED_STREAMS,
    container,
    event,
    finished,
    heard,
    llm,
    message_end,
    node,
    node_started,
    piece,
    started,
    usage,
    wire,
)


def respelled(body: bytes) -> bytes:
    """A stream of today as up to 1.8 it was written: blanks, escapes, and the name of the event not first."""
    lines = []
    for line in body.split(b"\n"):
        if line.startswith(b"data: "):
            told = json.loads(line[6:])
            line = b"data: " + json.dumps(dict(reversed(told.items()))).encode()
        lines.append(line)
    return b"\n".join(lines)


@pytest.mark.parametrize("path", RECORDED_STREAMS, ids=lambda path: path.stem)
def test_up_to_1_8_blanks_escapes_and_another_order_tell_the_same(path):
    assert heard(respelled(path.read_bytes())).records == heard(path.read_bytes()).records


def test_up_to_1_8_escaped_titles_and_bare_nan_are_read():
    body = wire(
        [started(), llm("n1", 3, 4, title="开始 😀", outputs={"score": float("nan")}), finished(7)], spaced=True
    )

    told = heard(body)

    assert (told.nodes[0].title, told.spent) == ("开始 😀", {"n1": 7})
    assert b"NaN" in body
    assert b"\\ud83d" in body


def test_0_6_usage_stands_in_outputs_and_no_model_is_named():
    told = heard([started(), node("n1", outputs={"text": "…", "usage": usage(3, 4)}), finished(7)])

    assert (told.spent, told.call.model_name, told.call.model_provider) == ({"n1": 7}, None, None)


def test_before_0_6_was_out_nodes_had_no_type_and_the_run_is_estimated():
    told = heard([started(), node("n1", None, outputs={"usage": usage(3, 4)}), finished(7)])

    assert (told.spent, told.call.is_estimate) == ({"r1": 7}, True)
    assert told.run.leaves_known is None


def test_0_6_message_end_tells_the_last_call_only_and_comes_after_the_run():
    last = message_end(usage(1, 1))

    told = heard([started(message="m1"), llm("n1", 3, 4), llm("n2", 1, 1), finished(9, message="m1"), last])
    assert (told.spent, told.message.status) == ({"n1": 7, "n2": 2}, "succeeded")

    untold = heard([started(message="m1"), node("n1"), node("n2"), finished(9, message="m1"), last])
    assert (untold.spent, untold.call.input_tokens) == ({"r1": 9}, None)


def test_0_6_9_inner_nodes_share_their_node_id():
    inner = [llm(id, 3, 4, node_id="ask", execution_metadata={"loop_id": "lp"}) for id in ("n1", "n2", "n3")]

    told = heard([started(), *inner, container("lp", 21, kind="loop"), finished(21)])

    assert told.spent == {"n1": 7, "n2": 7, "n3": 7}
    assert {node.container_id for node in told.nodes if node.node_type == "llm"} == {"lp"}


def test_0_8_branches_that_run_side_by_side_are_told_by_nodes_of_their_own():
    branch = event("parallel_branch_started", data={"parallel_id": "p", "parallel_branch_id": "b", "created_at": AT})

    told = heard(
        [started(), branch, node_started("n1"), node_started("n2"), llm("n2", 1, 2), llm("n1", 3, 4), finished(10)]
    )

    assert told.spent == {"n2": 3, "n1": 7}
    assert not told.failures


@pytest.mark.parametrize("total", [0, 2, 21, 70_000])
def test_0_10_to_1_9_2_the_run_omits_doubles_or_explodes_and_the_leaves_stay(total):
    told = heard([started(), llm("n1", 3, 4, iteration_id="it"), container("it", 7), finished(total)])

    assert (told.tokens, told.run.reported_tokens) == (7, total)


def test_1_0_the_parameter_extractor_tells_usage_in_process_data_only():
    told = heard([started(), node("n1", "parameter-extractor", process_data={"usage": usage(3, 4)}), finished(7)])

    assert told.spent == {"n1": 7}


def test_later_the_parameter_extractor_tells_it_under_another_name():
    told = heard([started(), node("n1", "parameter-extractor", outputs={"__usage": usage(3, 4)}), finished(7)])

    assert told.spent == {"n1": 7}


def test_1_x_an_agent_node_tells_totals_and_repeats_them_per_round():
    rounds = [
        {"label": "ROUND 1", "metadata": {"total_tokens": 5}},
        {"label": "ROUND 2", "metadata": {"total_tokens": 2}},
    ]
    totals = {"total_tokens": 7, "total_price": "0.1", "currency": "USD", "agent_log": rounds}

    told = heard(
        [started(), event("agent_log", run=None, data=rounds[0]), node("n1", "agent", execution_metadata=totals)]
    )

    assert told.spent == {"n1": 7}
    assert (told.call.input_tokens, str(told.call.cost)) == (None, "0.100000000")


def test_1_5_an_agent_node_tells_zero_beside_a_total():
    told = heard([started(), node("n1", "agent", outputs={"usage": usage(0, 0, total_tokens=7)}), finished(7)])

    assert (told.spent, told.call.input_tokens, told.call.output_tokens) == ({"n1": 7}, None, None)


def test_1_15_an_agent_node_tells_usage_of_its_backend():
    backend = {"agent_log": {"agent_backend": {"usage": usage(3, 4)}}}

    assert heard([started(), node("n1", "agent", execution_metadata=backend), finished(7)]).spent == {"n1": 7}


def test_the_web_app_tells_nodes_without_usage_and_message_end_keeps_it():
    nodes = [node("s", "start"), node("k", "knowledge-retrieval"), node("n1"), node("n2")]

    told = heard([started(message="m1"), *nodes, message_end(usage(30, 40)), finished(70, message="m1")])

    assert (told.spent, told.call.is_estimate, told.call.input_tokens) == ({"r1": 70}, True, 30)
    assert len(told.nodes) == 4
    assert told.run.leaves_known is None


def test_1_9_0_cut_short_events_cost_only_themselves():
    body = wire([started(), llm("n1", 3, 4)]) + wire([llm("n2", 5, 6)])[:150] + b"\n\n" + wire([finished(18)])

    told = heard(body)

    assert (told.spent, dict(told.failures)) == ({"n1": 7}, {"event.body": 1})
    assert told.run.leaves_known is None


def test_1_10_a_workflow_as_a_tool_is_counted_where_it_ran():
    tool = node(
        "n2",
        "tool",
        outputs={"text": "…", "usage": usage(30, 10)},
        execution_metadata={"total_tokens": 40, "tool_info": {"provider_type": "workflow"}},
    )

    told = heard([started(), llm("n1", 3, 4), tool, finished(47)])

    assert (told.spent, told.run.leaves_known) == ({"n1": 7}, True)


def test_1_11_usage_that_a_remote_server_reports_is_no_call():
    tool = node("n2", "tool", outputs={"usage": usage(30, 10)}, execution_metadata={"total_tokens": 40})

    assert heard([started(), tool, finished(40)]).calls == []


PAUSED = event("workflow_paused", data={"workflow_run_id": "r1", "paused_nodes": ["h"], "total_tokens": 7})


def test_1_13_a_pause_is_no_end():
    ask = event("human_input_required", data={"form_id": "f", "node_id": "h"})

    told = heard([started(message="m1", reason="initial"), llm("n1", 3, 4), ask, PAUSED])

    assert (told.run.status, told.run.is_final, told.message.status) == ("paused", False, "open")
    assert (told.spent, told.run.leaves_known) == ({"n1": 7}, None)


def test_1_13_a_pause_is_no_time_for_an_estimate():
    assert heard([started(message="m1"), node("n1"), message_end(usage(3, 4)), PAUSED]).spent == {"n1": None}


@pytest.mark.parametrize("again", [[started(reason="resumption")], []])
def test_1_13_a_resumed_stream_replays_without_usage_and_neither_doubles_nor_guesses(again):
    ping = b"event: ping\n\n"
    replay = [node("n1"), event("message_replace", run=None, message="m1", answer="…"), message_end(None), finished(7)]

    told = heard(ping + wire([*again, *replay]))

    assert told.spent == {"n1": None}
    assert told.run.leaves_known is None


def test_1_13_what_is_new_after_a_pause_counts():
    told = heard([started(reason="resumption"), node("n1"), llm("n2", 5, 6), finished(18)])

    assert told.spent == {"n1": None, "n2": 11}
    assert (told.run.status, told.run.leaves_known) == ("succeeded", None)


def test_1_13_a_replay_in_the_same_stream_erases_nothing():
    told = heard([started(), llm("n1", 3, 4), PAUSED, started(reason="resumption"), node("n1"), finished(7)])

    assert (told.spent, told.call.model_name) == ({"n1": 7}, "gpt-4o")
    assert told.run.status == "succeeded"


def test_1_14_a_fallback_end_leaves_the_nodes_their_tokens():
    fallback = finished(0, status="failed", created_by={}, error="Workflow stream ended unexpectedly", elapsed_time=0)

    told = heard([started(), llm("n1", 3, 4), fallback])

    assert (told.run.status, told.run.reported_tokens, told.tokens) == ("failed", 0, 7)
    assert (told.run.user_id, told.run.session_id) == (None, "anna")


def test_1_16_agents_tell_the_whole_answer_again_and_name_a_message_a_run():
    ask = event("human_input_required", run="m1", message="m1", data={"form_id": "f"})
    answer = [piece("a", name="agent_message"), piece("b", name="agent_message"), piece("ab")]

    told = heard([*answer, ask, message_end(usage(3, 4), run="m1")], mode="agent")

    assert told.runs == []
    assert (told.message.run_id, told.spent, told.call.is_estimate) == (None, {"m1": 7}, False)


def test_1_15_new_events_and_fields_are_passed_over():
    told = heard(
        [
            started(handoff_duration=0.1),
            event("reasoning_chunk", data={"reasoning": "…"}),
            llm("n1", 3, 4, handoff_duration=0.1),
            finished(7, handoff_duration=0.1),
        ]
    )

    assert (told.spent, told.run.leaves_known) == ({"n1": 7}, True)
    assert not told.failures


def test_a_replay_from_the_last_event_id_tells_its_part_again():
    told = heard(wire([llm("n1", 3, 4), finished(7)]), replace(HEARD, app_id="shop"))

    assert (told.spent, told.run.leaves_known) == ({"n1": 7}, None)


@pytest.mark.parametrize("mode", [None, "completion"])
def test_completion_has_no_conversation(mode):
    told = heard(
        [{"event": "message_end", "message_id": "m1", "created_at": AT, "metadata": {"usage": usage(3, 4)}}], mode=mode
    )

    assert (told.message.conversation_id, told.spent, len(told.records)) == (None, {"m1": 7}, 2)


def test_repeated_thoughts_add_nothing():
    thought = event("agent_thought", run=None, message="m1", id="t", thought="…", tokens=5)

    told = heard([thought, thought, thought, message_end(usage(3, 4)), thought])

    assert told.spent == {"m1": 7}


@pytest.mark.parametrize("price", ["0E-7", 0, 0.0, "1.2e-5", "0.0000194", 2.378, None])
def test_prices_in_any_spelling_are_read(price):
    told = heard([started(), llm("n1", 3, 4, process_data={"usage": usage(3, 4, total_price=price)}, outputs=None)])

    assert not told.failures
    assert told.call.tokens == 7
