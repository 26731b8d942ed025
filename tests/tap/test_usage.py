"""Whole streams -> records: the recorded ones, with totals counted by hand, and what may go wrong on the way."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from collector.errors import ShapeError
from collector.ledger import Telling, container_key, node_facts
from collector.records import CONSOLE, Conversation, User
from collector.tap.usage import Stream, answer_error, blocking
from tests.builders import NOON
from tests.tap.streams import (
    AT,
    HEARD,
    RECORDED,
    RECORDED_STREAMS,
    Heard,
    container,
    cut,
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


def recorded(name: str, **how) -> Heard:
    folder = "captured" if (RECORDED / "captured" / f"{name}.sse").exists() else "sse"
    return heard((RECORDED / folder / f"{name}.sse").read_bytes(), **how)


# name, run status, reported, tokens by call in the order they came, nodes, leaves known
FLOWS = [
    ("chat-messages", "succeeded", 346, [346], 4, True),
    ("workflow-run", "succeeded", 63127864, [63127864], 1, None),
    ("chatflow_failed_streaming", "failed", 0, [None], 2, None),
    ("chatflow_slow_with_ping_streaming", "succeeded", 166, [166], 3, True),
    ("chatflow_stopped_streaming", "stopped", 0, [], 2, None),
    ("chatflow_streaming", "succeeded", 70, [70], 3, True),
    ("console_advanced_chat_draft_run", "succeeded", 71, [71], 3, True),
    ("console_workflow_draft_run", "succeeded", 114, [57, 57], 8, True),
    ("console_workflow_draft_run_nomodel", "succeeded", 0, [], 4, True),
    ("workflow_iteration_llm_ok_streaming", "succeeded", 227, [57, 57, 57, 56], 8, True),
    ("workflow_iteration_llm_retry_streaming", "failed", 171, [57, 57, 57, None], 7, None),
    ("workflow_llm_failed_streaming", "failed", 0, [None], 3, None),
    ("workflow_llm_stopped_streaming", "stopped", 0, [], 2, None),
    ("workflow_llm_streaming", "succeeded", 114, [57, 57], 8, True),
    ("workflow_nomodel_streaming", "succeeded", 0, [], 4, True),
    ("workflow_partial_succeeded_streaming", "partial-succeeded", 59, [59, None], 8, None),
]
CHATS = [
    ("agent_streaming", "succeeded", [169]),
    ("chat_failed_streaming", "failed", [None]),
    ("chat_stopped_streaming", "succeeded", [None]),
    ("chat_streaming", "succeeded", [54]),
    ("chat_with_knowledge_streaming", "succeeded", [473]),
    ("completion_streaming", "succeeded", [40]),
    ("console_chat_debug", "succeeded", [53]),
]
NO_STREAM = "workflow_missing_input_streaming"


def test_every_recorded_stream_is_looked_at():
    assert {path.stem for path in RECORDED_STREAMS} == {row[0] for row in FLOWS + CHATS} | {NO_STREAM}


@pytest.mark.parametrize(("name", "status", "reported", "tokens", "nodes", "known"), FLOWS, ids=lambda v: str(v)[:40])
def test_recorded_runs_count_each_call_once(name, status, reported, tokens, nodes, known):
    told = recorded(name)

    assert not told.failures
    assert (told.run.status, told.run.reported_tokens, told.run.leaves_known) == (status, reported, known)
    assert [call.tokens for call in told.calls] == tokens
    assert len(told.nodes) == nodes


@pytest.mark.parametrize(("name", "status", "tokens"), CHATS, ids=lambda v: str(v)[:40])
def test_recorded_messages_are_calls(name, status, tokens):
    told = recorded(name)

    assert not told.failures
    assert (told.runs, told.nodes) == ([], [])
    assert told.message.status == status
    assert [(call.id, call.tokens, call.node_type) for call in told.calls] == [(told.message.id, tokens[0], "message")]


def test_an_error_before_the_stream_tells_no_fact():
    assert recorded(NO_STREAM).records == []


def test_the_captured_chatflow_to_the_last_digit():
    told = recorded("chat-messages")

    assert (told.run.elapsed_seconds, told.run.steps, told.run.session_id) == (4.586759, 4, "abc-123")
    assert told.run.app_id == "620a1161-8a63-4708-b1a8-637b2701dd7d"
    assert told.run.created_at == datetime(2026, 5, 8, 6, 1, 51, tzinfo=UTC)
    call = told.call
    assert (call.model_provider, call.model_name) == ("langgenius/ollama/ollama", "qwen2.5:14b")
    assert (call.input_tokens, call.output_tokens, call.tokens) == (103, 243, 346)
    assert (call.time_to_first_token_seconds, call.latency_seconds) == (0.297, 3.909)
    assert (call.run_id, call.app_id, call.message_id) == (told.run.id, told.run.app_id, told.message.id)
    assert (told.message.reported_input_tokens, told.message.reported_output_tokens) == (103, 243)
    assert told.message.run_id == told.run.id
    assert told.message.time_to_first_token_seconds == 0.24
    assert [record.id for record in told.records if isinstance(record, Conversation)] == [
        "873b7321-67a0-4bbd-ab6b-82d7386ec701"
    ]
    assert [(record.id, record.kind, record.session_id) for record in told.records if isinstance(record, User)] == [
        ("b9be62f8-bb81-45ee-95c1-57d7ae3a6d58", "end_user", "abc-123")
    ]


def test_stream_and_node_list_tell_the_same_nodes_and_calls():
    told = recorded("workflow_iteration_llm_ok_streaming")
    telling = Telling(source=CONSOLE, seen_at=NOON, run_id=told.run.id, app_id=told.run.app_id, is_debug=False)
    body = json.loads((RECORDED / "node_executions_iteration_llm_ok.json").read_text())
    listed = [node_facts(raw, telling) for raw in body["data"]]

    assert {node.id for node in told.nodes} == {node.id for node, _ in listed}
    assert container_key(told.run.id, "iter") in {node.id for node in told.nodes}
    assert told.spent == {call.id: call.tokens for _, call in listed if call}
    assert told.tokens == 227


def test_console_runs_belong_to_an_account_and_are_marked():
    told = recorded("console_workflow_draft_run", telling=replace(HEARD, is_debug=True))

    assert (told.run.is_debug, told.run.triggered_from, told.run.user_kind) == (True, "debugging", "account")
    assert told.run.session_id is None
    assert all(call.is_debug for call in told.calls)
    assert recorded("console_chat_debug", telling=replace(HEARD, is_debug=True)).message.invoke_from == "debugger"


@pytest.mark.parametrize("path", RECORDED_STREAMS, ids=lambda path: path.stem)
@given(data=st.data())
def test_any_chunking_gives_the_same_records(path, data):
    body = path.read_bytes()
    stream = Stream(HEARD)
    for chunk in cut(body, data.draw(st.integers(1, len(body) + 1))):
        stream.feed(chunk)

    assert stream.close() == heard(body).records


@pytest.mark.parametrize("path", RECORDED_STREAMS, ids=lambda path: path.stem)
@given(data=st.data())
def test_a_stream_cut_anywhere_never_tells_more_than_the_whole(path, data):
    body = path.read_bytes()
    whole, part = heard(body), heard(body[: data.draw(st.integers(0, len(body)))])

    assert part.tokens <= whole.tokens
    assert not any(run.leaves_known for run in part.runs) or part.spent == whole.spent


@pytest.mark.parametrize("path", RECORDED_STREAMS, ids=lambda path: path.stem)
def test_a_stream_told_twice_tells_nothing_new(path):
    body = path.read_bytes()

    assert heard(body + body).records == heard(body).records


@pytest.mark.parametrize("path", RECORDED_STREAMS, ids=lambda path: path.stem)
def test_no_record_holds_a_prompt_or_an_answer(path):
    told = repr(heard(path.read_bytes()).records)

    assert not any(content in told for content in ("fake model", "helpful assistant", "iPhone", "Paragraph", "FAIL_"))


@pytest.mark.parametrize(
    ("name", "tokens", "is_estimate"),
    [
        ("workflow_llm_blocking", 114, True),
        ("workflow_llm_failed_blocking", None, None),
        ("workflow_nomodel_blocking", None, None),
        ("chatflow_blocking", 70, True),
        ("chat_blocking", 54, False),
        ("completion_blocking", 40, False),
        ("agent_blocking_rejected", None, None),
        ("chat_failed_blocking", None, None),
    ],
)
def test_recorded_answers_of_blocking_mode(name, tokens, is_estimate):
    body = json.loads((RECORDED / "sse" / f"{name}.json").read_text())["body"]

    told = Heard(blocking(body, HEARD), None)

    assert [(call.tokens, call.is_estimate) for call in told.calls] == ([(tokens, is_estimate)] if tokens else [])
    assert all(message.time_to_first_token_seconds is None for message in told.messages)
    assert not any(run.leaves_known for run in told.runs)


def test_a_blocking_run_knows_its_end():
    body = json.loads((RECORDED / "sse" / "workflow_llm_failed_blocking.json").read_text())["body"]

    run = Heard(blocking(body, HEARD), None).run

    assert (run.id, run.status, run.error_class) == (body["workflow_run_id"], "failed", "rate_limited")
    assert (run.elapsed_seconds, run.steps) == (1.237197, 3)


def test_a_blocking_chatflow_is_estimated_under_its_run_where_the_caller_knows_it():
    body = {"message_id": "m1", "mode": "advanced-chat", "metadata": {"usage": usage(5, 2)}, "created_at": AT}

    assert Heard(blocking(body, HEARD), None).call.id == "m1"
    assert Heard(blocking(body, replace(HEARD, run_id="r1")), None).call.id == "r1"


def test_a_mode_told_by_the_route_stands_in_for_one_the_body_lacks():
    body = {"message_id": "m1", "metadata": {"usage": usage(5, 2)}, "created_at": AT}

    assert Heard(blocking(body, HEARD, mode="completion"), None).call.is_estimate is False
    assert Heard(blocking(body, HEARD, mode="advanced-chat"), None).call.is_estimate is True


@pytest.mark.parametrize("body", [{}, {"data": []}, {"result": "success"}, {"data": {"id": "r1"}}])
def test_a_body_that_is_no_answer_is_refused(body):
    with pytest.raises(ShapeError):
        blocking(body, HEARD)


def test_why_a_request_failed_is_said_by_message_or_code():
    assert answer_error({"code": "invalid_param", "message": "Run failed: 429 Too Many Requests"}) == "rate_limited"
    assert answer_error({"code": "provider_quota_exceeded", "message": "No."}) == "quota_exceeded"
    assert answer_error({"code": "unknown", "message": "No."}) == "_OTHER"
    assert answer_error({}) is None


# --- clocks -------------------------------------------------------------------------------------------------------


def test_the_first_piece_is_timed_and_empty_ones_are_not():
    stream = Stream(HEARD)
    for at, sent in enumerate([started(message="m1"), piece(""), piece("a"), piece("b"), piece(""), message_end(None)]):
        stream.feed(wire([sent]), float(at))

    assert stream.first_piece_seconds == 2.0
    assert Heard(stream.close(), stream.failures).message.time_to_first_token_seconds == 2.0


def test_a_piece_whose_name_is_not_first_is_timed_too():
    stream = Stream(HEARD)
    stream.feed(b'data: {"answer":"","event":"message"}\n\n', 1.0)
    stream.feed(b'data: {"answer":"a","event":"message"}\n\n', 2.0)
    stream.feed(b'data: {"data":{"text":"a"},"event":"text_chunk"}\n\n', 3.0)

    assert stream.first_piece_seconds == 2.0


def test_without_a_clock_dify_says_when_the_first_token_came():
    chat = [piece("a"), message_end(usage(3, 4, time_to_first_token=0.1))]

    assert heard(chat).message.time_to_first_token_seconds == 0.1


# --- ends ---------------------------------------------------------------------------------------------------------


def test_a_chat_that_never_ended_tells_nothing_yet():
    assert heard([piece("a"), event("agent_thought", message="m1", run=None)]).records == []


def test_a_chatflow_that_never_ended_is_open():
    told = heard([started(message="m1"), node_started("n1")])

    assert (told.message.status, told.message.is_final, told.run.is_final) == ("open", False, False)
    assert [node.status for node in told.nodes] == ["running"]
    assert told.calls == []


def test_a_stopped_chat_spent_an_unknown_amount():
    told = heard([piece("a"), message_end(usage(0, 0, latency=3.2))], is_stopped=True)

    assert (told.message.status, told.call.status, told.call.tokens, told.call.cost) == (
        "stopped",
        "stopped",
        None,
        None,
    )
    assert told.call.latency_seconds == 3.2


def test_a_chat_that_failed_is_a_failed_call():
    told = heard([event("error", run=None, message="m1", status=400, code="provider_quota_exceeded")])

    assert (told.message.status, told.call.status, told.call.tokens) == ("failed", "failed", None)
    assert told.message.error_class == told.call.error_class == "quota_exceeded"


def test_a_stream_says_why_its_request_failed():
    stream = Stream(HEARD)
    stream.feed(wire([event("error", code="invalid_param") | {"message": "Run failed: 429 Too Many Requests"}]))

    stream.close()

    assert (stream.error_class, stream.task_id) == ("rate_limited", "t1")


def test_an_answer_from_an_annotation_asked_no_model():
    told = heard([piece("a"), message_end(usage(0, 0), annotation_reply={"id": "a1"})])

    assert told.message.status == "succeeded"
    assert told.calls == []


def test_a_message_that_cannot_be_read_has_ended_all_the_same():
    told = heard([message_end(usage(3, 4) | {"prompt_tokens": "many"})])

    assert told.failures == {"message_end.prompt_tokens": 1}
    assert (told.message.status, told.call.tokens) == ("succeeded", None)


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        (b"data: {broken\n\n", "event.body"),
        (b'data: ["event"]\n\n', "event.body"),
        (b'data: {"event":"node_finished","data":"x"}\n\n', "node_finished.data"),
        (
            b'data: {"event":"node_finished","data":{"id":"n9","status":"failed","elapsed_time":"soon"}}\n\n',
            "node_finished.elapsed_time",
        ),
        (b'data: {"event":"node_finished","data":{}}\n\n', "node_finished.id"),
        (b'data: {"event":{}}\n\n', "event.event"),
        (b'data: {"event":"workflow_finished","data":{"status":[]}}\n\n', "workflow_finished.status"),
        (b"data: " + b"x" * 3000 + b"\n\n", "event.size"),
    ],
)
def test_a_bad_event_costs_only_itself(bad, field):
    told = heard(wire([started(), llm("n1", 3, 4)]) + bad + wire([llm("n2", 5, 6), finished(18)]), max_event_bytes=2000)

    assert told.failures == {field: 1}
    assert told.spent == {"n1": 7, "n2": 11}
    assert told.run.leaves_known is None


def test_unknown_events_are_passed_over():
    told = heard([started(), event("to_come", data=7), event("agent_log", run=None, data={}), finished(0)])

    assert not told.failures
    assert told.run.leaves_known is True


# --- one call, one row --------------------------------------------------------------------------------------------


def test_message_end_adds_nothing_to_a_chatflow():
    told = heard([started(message="m1"), llm("n1", 3, 4), message_end(usage(3, 4)), finished(7, message="m1")])

    assert told.spent == {"n1": 7}
    assert told.call.message_id == "m1"


def test_copies_in_end_and_code_nodes_add_nothing():
    copy = {"outputs": {"usage": usage(3, 4)}, "process_data": {"usage": usage(3, 4)}}

    told = heard([started(), llm("n1", 3, 4), node("n2", "code", **copy), node("n3", "end", **copy), finished(7)])

    assert told.spent == {"n1": 7}
    assert told.run.leaves_known is True


def test_a_container_is_a_node_and_no_call():
    inner = [llm("n1", 3, 4, node_id="x", iteration_id="it"), llm("n2", 5, 6, node_id="x", iteration_id="it")]

    told = heard([started(), node_started("it", "iteration", name="iteration_started"), *inner, container("it", 18)])

    assert told.tokens == 18
    (outer,) = [node for node in told.nodes if node.node_type == "iteration"]
    assert (outer.id, outer.status, outer.reported_tokens) == (container_key("r1", "it"), "succeeded", 18)
    assert outer.created_at == NOON  # not its end
    assert {node.container_id for node in told.nodes if node.node_type == "llm"} == {"it"}


def test_a_retried_node_is_one_row():
    retry = node("n1", name="node_retry", status="retry", error="429", retry_index=1)

    told = heard([started(), node_started("n1"), retry, retry, llm("n1", 3, 4), finished(7)])

    assert [(node.id, node.status, node.error_class) for node in told.nodes] == [("n1", "succeeded", None)]
    assert told.spent == {"n1": 7}


def test_a_run_whose_nodes_told_nothing_is_estimated():
    told = heard([started(), node("n1"), node("n2", status="failed", error="429"), finished(7)])

    assert [(call.id, call.tokens, call.is_estimate, call.status) for call in told.calls] == [
        ("n2", None, False, "failed"),
        ("r1", 7, True, "succeeded"),
    ]
    assert told.run.leaves_known is None


def test_the_message_gives_an_estimate_its_split_and_cost():
    told = heard([started(message="m1"), node("n1"), message_end(usage(3, 4)), finished(7, message="m1")])

    call = told.call
    assert (call.id, call.is_estimate, call.message_id) == ("r1", True, "m1")
    assert (call.input_tokens, call.output_tokens, call.cost) == (3, 4, Decimal("0.00001"))
    assert (call.latency_seconds, call.app_id) == (None, "shop")


def test_no_estimate_before_the_run_is_over():
    assert heard([started(), node("n1")]).spent == {"n1": None}


def test_a_message_that_ended_is_enough_for_an_estimate():
    told = heard([started(message="m1"), node("n1"), message_end(usage(3, 4))])

    assert [(call.id, call.tokens, call.status) for call in told.calls] == [("r1", 7, "succeeded")]


def test_one_told_leaf_is_enough_for_no_estimate():
    told = heard([started(), llm("n1", 3, 4), node("n2"), finished(70)])

    assert told.spent == {"n1": 7, "n2": None}
    assert told.run.leaves_known is None


def test_what_a_tool_told_is_accounted_for_by_another_run():
    tool = node("n2", "tool", execution_metadata={"total_tokens": 40}, outputs={"usage": usage(30, 10)})

    assert heard([started(), llm("n1", 3, 4), tool, finished(47)]).spent == {"n1": 7}
    assert heard([started(), node("n1"), tool, finished(47)]).spent == {"r1": 7}
    assert heard([started(), tool, finished(40)]).spent == {}
    assert heard([started(), tool, finished(40)]).run.leaves_known is True


def test_a_run_that_reports_more_than_its_leaves_may_hide_some():
    assert heard([started(), llm("n1", 3, 4), finished(8)]).run.leaves_known is None
    assert heard([started(), llm("n1", 3, 4), finished(7)]).run.leaves_known is True


def test_a_stopped_run_may_have_spent_more_than_it_told():
    told = heard([started(), llm("n1", 3, 4), node_started("n2"), finished(0, status="stopped")])

    assert (told.run.status, told.run.leaves_known, told.spent) == ("stopped", None, {"n1": 7})


def test_ids_learned_late_reach_what_came_before():
    told = heard([llm("n1", 3, 4), started(), finished(7)], replace(HEARD, workspace_id="w1"))

    assert (told.call.app_id, told.call.run_id, told.call.workspace_id) == ("shop", "r1", "w1")
    assert (told.run.user_id, told.run.session_id) == ("u1", "anna")
