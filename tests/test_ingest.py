"""Files of every kind -> records."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.errors import DifyMetricError, SettingsError, ShapeError
from collector.ingest import read_file
from collector.records import FILE, Message, ModelCall, NodeExecution, Run, User
from tests.builders import NOON
from tests.tap.streams import RECORDED, finished, llm, started, wire

CHAT = RECORDED / "captured" / "chat-messages.sse"
NODES = RECORDED / "captured" / "node-executions.json"
IDS = {"run_id": "r1", "app_id": "shop"}


def read(source, **options):
    records, failures = read_file(source, now=NOON, **options)
    assert failures == Counter()
    return records


def only(records, kind):
    return [record for record in records if type(record) is kind]


def test_a_captured_stream_is_one_run_four_nodes_and_one_call():
    records = read(CHAT)

    (run,), (call,) = only(records, Run), only(records, ModelCall)
    assert (run.status, run.elapsed_seconds, run.steps) == ("succeeded", 4.586759, 4)
    assert len(only(records, NodeExecution)) == 4
    assert (call.model_name, call.model_provider) == ("qwen2.5:14b", "langgenius/ollama/ollama")
    assert (call.input_tokens, call.output_tokens) == (103, 243)
    assert (call.time_to_first_token_seconds, call.latency_seconds) == (0.297, 3.909)
    assert {record.source for record in records} == {FILE}
    assert {record.seen_at for record in records} == {NOON}


@pytest.mark.parametrize("chunk_bytes", [1, 7, 1400])
def test_chunks_of_any_size_tell_the_same(chunk_bytes):
    assert read(CHAT, chunk_bytes=chunk_bytes) == read(CHAT)
    assert read(CHAT.read_bytes()) == read(str(CHAT)) == read(CHAT)


def test_a_captured_node_list_is_one_call_of_an_unknown_model():
    (call,) = only(read(NODES, **IDS), ModelCall)

    assert (call.input_tokens, call.output_tokens, call.latency_seconds) == (1671, 25, 2.3879189901053905)
    assert (call.model_name, call.model_provider) == (None, None)
    assert (call.run_id, call.app_id) == ("r1", "shop")


@pytest.mark.parametrize("missing", ["run_id", "app_id"])
def test_a_node_list_names_the_option_it_needs(missing):
    with pytest.raises(SettingsError, match=f"--{missing.replace('_', '-')}"):
        read(NODES, **{name: value for name, value in IDS.items() if name != missing})


def test_node_list_and_stream_of_one_run_tell_the_same_keys():
    stream = read(RECORDED / "sse" / "workflow_iteration_llm_ok_streaming.sse")
    (run,) = only(stream, Run)
    listed = read(RECORDED / "node_executions_iteration_llm_ok.json", run_id=run.id, app_id=run.app_id)

    assert sum(call.tokens for call in only(stream, ModelCall)) == 227
    for kind in (NodeExecution, ModelCall):
        assert {record.id for record in only(stream, kind)} == {record.id for record in only(listed, kind)}


@pytest.mark.parametrize(
    ("name", "statuses"),
    [
        ("workflow_runs_app_run.json", ["succeeded", "partial-succeeded", "running"]),
        ("workflow_runs_status_failed.json", ["failed", "failed"]),
        ("advanced_chat_workflow_runs_app_run.json", ["succeeded", "succeeded"]),
        ("workflow_app_logs.json", ["succeeded", "partial-succeeded", "running"]),
        ("workflow_app_logs_webhook_trigger.json", ["succeeded", "succeeded", "succeeded"]),
        ("v1_workflows_logs.json", ["succeeded", "partial-succeeded"]),
        ("workflow_run_detail_succeeded.json", ["succeeded"]),
        ("workflow_run_detail_running.json", ["running"]),
        ("v1_workflow_run_detail.json", ["succeeded"]),
        ("captured/workflow-run.detail.json", ["succeeded"]),
    ],
)
def test_recorded_runs_are_read(name, statuses):
    found = only(read(RECORDED / name, app_id="shop"), Run)

    assert [run.status for run in found] == statuses
    assert {run.app_id for run in found} == {"shop"}


def test_a_run_started_by_a_webhook_is_no_test():
    runs = only(read(RECORDED / "workflow_app_logs_webhook_trigger.json"), Run)

    assert {(run.triggered_from, run.is_debug) for run in runs} == {("webhook", False)}


def test_an_app_log_whose_run_was_cleaned_away_tells_nothing():
    assert read(json.dumps([{"id": "l1", "workflow_run": None}]).encode()) == []


def test_who_asked_stands_beside_the_run():
    records = read(RECORDED / "workflow_app_logs.json")

    users = {user.id: user for user in only(records, User)}
    for run in only(records, Run):
        assert (users[run.user_id].kind, users[run.user_id].session_id) == (run.user_kind, run.session_id)


def test_chat_messages_are_calls_and_chatflow_messages_are_not():
    chat = read(RECORDED / "chat_messages_chat.json")
    chatflow = read(RECORDED / "chat_messages_chatflow.json")

    assert [call.tokens for call in only(chat, ModelCall)] == [
        message.reported_input_tokens + message.reported_output_tokens for message in only(chat, Message)
    ]
    assert len(only(chat, ModelCall)) == 3
    assert len(only(chatflow, Message)) == 2
    assert only(chatflow, ModelCall) == []
    assert all(message.run_id for message in only(chatflow, Message))


def test_a_message_tells_the_same_in_list_and_stream():
    (listed,) = only(read(RECORDED / "chat_messages_agent.json"), ModelCall)
    (streamed,) = only(read(RECORDED / "sse" / "agent_streaming.sse"), ModelCall)

    assert (listed.id, listed.tokens, listed.latency_seconds) == (
        streamed.id,
        streamed.tokens,
        streamed.latency_seconds,
    )


def test_a_message_without_an_answer_is_open():
    (message,) = read(RECORDED / "inflight_chatflow_message.json")

    assert (message.status, message.is_final, message.reported_input_tokens) == ("open", False, None)


@pytest.mark.parametrize("path", sorted((RECORDED / "sse").glob("*_blocking*.json")), ids=lambda path: path.stem)
def test_recorded_answers_are_read_with_and_without_what_is_around_them(path):
    body = json.loads(path.read_text())["body"]

    assert read(path) == read(json.dumps(body).encode())


@pytest.mark.parametrize("name", ["node_executions_unknown_run.json", "sse/workflow_missing_input_streaming.sse"])
def test_files_that_tell_nothing_are_no_error(name):
    assert read(RECORDED / name) == []


def test_an_unknown_run_is_set_aside():
    assert read_file(RECORDED / "workflow_run_detail_unknown.json", now=NOON) == ([], Counter({"id": 1}))


def test_one_bad_part_of_a_list_costs_only_itself():
    good = {"id": "n1", "node_type": "llm", "status": "succeeded"}

    records, failures = read_file(json.dumps([good, {"id": None, "node_type": "llm"}, good]).encode(), now=NOON, **IDS)

    assert len(only(records, NodeExecution)) == 2
    assert failures == {"id": 1}


@pytest.mark.parametrize(
    "name", ["captured/parameters.json", "apps_page1.json", "health.json", "feedbacks_export_json.json"]
)
def test_a_file_of_another_kind_is_told_which_kinds_are_known(name):
    with pytest.raises(SettingsError, match="a captured stream, a list of node executions"):
        read(RECORDED / name)


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"data": [', b"7"])
def test_what_is_neither_json_nor_a_stream_is_named(body):
    with pytest.raises(ShapeError):
        read(body)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SettingsError, match="cannot be read"):
        read(tmp_path / "nowhere.sse")


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf", b"\n\n", b": kept alive\n\n", b"event: ping\n\n"])
def test_a_stream_is_known_by_its_first_line(start):
    assert [run.id for run in only(read(start + wire([started(), llm("n1", 1, 2), finished(3)])), Run)] == ["r1"]


def test_the_run_of_an_option_is_no_run_of_a_stream():
    records = read(RECORDED / "sse" / "chat_streaming.sse", **IDS)

    assert [(call.app_id, call.run_id, call.tokens) for call in only(records, ModelCall)] == [("shop", None, 54)]


def test_hints_reach_every_fact():
    records = read(CHAT, workspace_id="w1", is_debug=True)

    assert {record.workspace_id for record in records} == {"w1"}
    assert {record.is_debug for record in records if hasattr(record, "is_debug")} == {True}


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_any_bytes_are_read_or_refused(body):
    try:
        read_file(body, now=NOON)
    except DifyMetricError:
        return


KEYS = [
    "data",
    "id",
    "status",
    "node_type",
    "workflow_run",
    "workflow_run_id",
    "elapsed_time",
    "total_tokens",
    "message_id",
    "metadata",
    "usage",
    "provider_response_latency",
    "message_tokens",
    "code",
    "message",
]
BODIES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6),
    max_leaves=20,
)


@given(BODIES)
def test_json_of_any_shape_is_read_or_refused(body):
    try:
        read_file(json.dumps(body).encode(), now=NOON, **IDS)
    except DifyMetricError:
        return
