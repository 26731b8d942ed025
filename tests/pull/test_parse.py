"""Real answers of Dify become the right records; broken ones are named, and contents stay behind."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from collector.errors import NotFound, ShapeError
from collector.fields import Json
from collector.ledger import graph_models
from collector.pull.endpoints import APP_LOGS, APPS, CHATFLOW_CONVERSATIONS, COMPLETIONS, CONVERSATIONS, RUNS, Endpoint
from collector.pull.parse import (
    AppModel,
    app_model,
    conversation_facts,
    detail_facts,
    leaf_facts,
    log_facts,
    message_facts,
    rating_fact,
    run_facts,
)
from collector.records import App, Conversation, Feedback, Message, ModelCall, NodeExecution, Record, Run, User
from tests.pull.recordings import SEEN, names, recorded, told

TEN_MINUTES = timedelta(minutes=10)

LISTINGS = [
    *((APPS, name) for name in names("/apps")),
    *((RUNS, name) for name in names("/apps/*/workflow-runs")),
    *((RUNS, name) for name in names("/apps/*/advanced-chat/workflow-runs")),
    *((APP_LOGS, name) for name in names("/apps/*/workflow-app-logs")),
    *((CONVERSATIONS, name) for name in names("/apps/*/chat-conversations")),
    *((COMPLETIONS, name) for name in names("/apps/*/completion-conversations")),
]


def only(kind: Any, records: list[Record]) -> Any:
    (found,) = [record for record in records if isinstance(record, kind)]
    return found


def messages(raw: Json, mode: str = "chat", **fields: Any) -> list[Record]:
    known: dict[str, Any] = {"conversation": None, "model": None, "open_for": TEN_MINUTES} | fields
    return message_facts(raw, told(), mode, **known)


def test_there_are_recordings_of_every_listing():
    assert {endpoint.path for endpoint, _ in LISTINGS} == {
        APPS.path,
        RUNS.path,
        APP_LOGS.path,
        CONVERSATIONS.path,
        COMPLETIONS.path,
    }
    assert len(LISTINGS) > 20


@pytest.mark.parametrize(("endpoint", "name"), LISTINGS, ids=[name for _, name in LISTINGS])
def test_every_recorded_listing_is_read(endpoint: Endpoint, name: str):
    for raw in recorded(name)["data"]:
        first, *users = endpoint.parse(raw, told())

        assert first.id == (raw["workflow_run"]["id"] if endpoint is APP_LOGS else raw["id"])
        assert all(isinstance(user, User) for user in users)


@pytest.mark.parametrize("name", names("/apps/*/workflow-runs/*/node-executions"))
def test_every_recorded_node_list_is_read(name: str):
    raws = recorded(name)["data"]

    nodes = [fact for fact in leaf_facts(raws, told(run_id="r"), {}) if isinstance(fact, NodeExecution)]

    assert len(nodes) == len(raws)


@pytest.mark.parametrize(
    ("name", "tokens"),
    [
        ("node_executions_iteration_llm_ok", 227),  # 398 when containers are added too
        ("node_executions_succeeded", 114),
        ("node_executions_partial_succeeded", 59),
        ("node_executions_failed", 0),
        ("node_executions_webhook_trigger", 0),
    ],
)
def test_a_node_list_counts_each_call_once(name: str, tokens: int):
    facts = leaf_facts(recorded(name)["data"], told(run_id="r"), {})

    assert sum(fact.tokens or 0 for fact in facts if isinstance(fact, ModelCall)) == tokens


def test_a_failed_call_gets_its_model_from_the_graph():
    models = graph_models(recorded("workflow_run_detail_failed")["graph"])

    facts = leaf_facts(recorded("node_executions_failed")["data"], told(run_id="r"), models)

    failed = [fact for fact in facts if isinstance(fact, ModelCall) and fact.status == "failed"]
    assert [(call.model_provider, call.model_name) for call in failed] == [
        ("langgenius/openai/openai", "gpt-4o-mini"),
        ("langgenius/anthropic/anthropic", "claude-3-5-sonnet"),
    ]


def test_an_app_of_the_list():
    raw = recorded("apps_page1")["data"][0]

    app = only(App, APPS.parse(raw, told()))

    assert (app.id, app.name, app.mode) == ("48bc2a2c-9e2a-4cd2-a297-0198ef9dce6f", "completion-app", "completion")
    assert (app.model_provider, app.model_name, app.tags) == ("langgenius/openai/openai", "gpt-4o-mini", "")
    assert app.created_at == datetime.fromtimestamp(1795216279, UTC)
    assert app.workspace_id == "w1"
    assert app_model(raw).since == datetime.fromtimestamp(1795216279, UTC)


def test_a_run_of_the_list_is_an_app_run_without_its_user():
    run = only(Run, RUNS.parse(recorded("workflow_runs_app_run")["data"][0], told()))

    assert (run.status, run.is_final, run.reported_tokens, run.steps) == ("succeeded", True, 114, 6)
    assert (run.triggered_from, run.is_debug, run.elapsed_seconds) == ("app-run", False, 4.012768)
    assert run.user_id is None


def test_a_chatflow_run_names_conversation_and_message():
    run = only(Run, RUNS.parse(recorded("advanced_chat_workflow_runs_app_run")["data"][0], told()))

    assert run.conversation_id == "af39d124-fc8e-4c01-95bc-0e1435a80bf1"
    assert run.message_id == "252e0f30-b0e3-415f-9962-bcadc9e32320"


def test_what_runs_the_draft_is_a_test_run_whatever_was_asked_for():
    raw = recorded("workflow_runs_default")["data"][0]

    run, user = run_facts(raw, told(), "app-run")

    assert isinstance(run, Run)
    assert (run.triggered_from, run.is_debug) == ("debugging", True)
    assert isinstance(user, User)
    assert (user.kind, user.name) == ("account", "admin")


def test_a_run_in_flight_leaves_out_what_only_its_end_decides():
    run = only(Run, run_facts(recorded("inflight_chatflow_run"), told(), "app-run"))

    assert (run.status, run.is_final) == ("running", False)
    assert (run.reported_tokens, run.elapsed_seconds, run.steps, run.finished_at) == (None, None, None, None)


def test_a_trigger_run_is_found_in_the_app_log_with_its_user():
    run, user = log_facts(recorded("workflow_app_logs_webhook_trigger")["data"][0], told())

    assert isinstance(run, Run)
    assert isinstance(user, User)
    assert (run.triggered_from, run.is_debug, run.user_id) == ("webhook", False, user.id)
    assert (user.kind, user.session_id, run.session_id) == ("end_user", "DEFAULT-USER", "DEFAULT-USER")


def test_a_log_whose_run_was_cleaned_away_is_nothing():
    assert log_facts({"id": "x", "workflow_run": None}, told()) == []


def test_the_detail_of_a_failed_run_says_why_in_one_word():
    run, _ = detail_facts(recorded("workflow_run_detail_failed"), told())

    assert isinstance(run, Run)
    assert (run.status, run.error_class, run.session_id) == ("failed", "rate_limited", "u-2")


def test_the_detail_of_an_unknown_run_is_not_found():
    with pytest.raises(NotFound):
        detail_facts(recorded("workflow_run_detail_unknown"), told(run_id="gone"))


def test_who_talks_and_whether_it_is_a_test_is_known_from_the_conversation():
    api, console, *_ = [
        only(Conversation, CONVERSATIONS.parse(raw, told())) for raw in recorded("chat_conversations_chat")["data"]
    ]

    assert (api.is_debug, api.user_kind, api.session_id, api.messages) == (False, "end_user", "u-8", 3)
    assert (console.is_debug, console.user_kind, console.messages) == (None, "account", 1)
    flow = only(Conversation, CHATFLOW_CONVERSATIONS.parse(recorded("chat_conversations_chatflow")["data"][0], told()))
    assert flow.is_debug is False


def test_a_chat_message_is_a_model_call():
    raw = recorded("chat_messages_chat")["data"][0]
    conversation = only(Conversation, CONVERSATIONS.parse(recorded("chat_conversations_chat")["data"][0], told()))
    model = AppModel("langgenius/openai/openai", "gpt-4o-mini", conversation.created_at)

    facts = messages(raw, conversation=conversation, model=model)

    message, call = only(Message, facts), only(ModelCall, facts)
    assert (call.input_tokens, call.output_tokens, call.tokens) == (129, 24, 153)
    assert (call.id, call.node_type, call.cost) == (message.id, "message", None)
    assert (call.model_name, call.is_vision, call.is_debug) == ("gpt-4o-mini", False, False)
    assert (message.session_id, message.status, message.latency_seconds) == ("u-8", "succeeded", 1.0177074449998145)
    assert only(Feedback, facts).rating == "like"


def test_a_conversation_older_than_the_configuration_had_another_model():
    raw = recorded("chat_messages_chat")["data"][0]
    conversation = only(Conversation, CONVERSATIONS.parse(recorded("chat_conversations_chat")["data"][0], told()))

    facts = messages(raw, conversation=conversation, model=AppModel("p/p/p", "newer", SEEN))

    assert only(ModelCall, facts).model_name is None


def test_an_agent_message_is_one_call_whatever_it_thought():
    facts = messages(recorded("chat_messages_agent")["data"][0], "agent-chat")

    assert only(ModelCall, facts).tokens == 169


def test_a_chatflow_message_is_no_call_and_keeps_its_price():
    facts = messages(recorded("chat_messages_chatflow")["data"][0], "advanced-chat")

    message = only(Message, facts)
    assert not [fact for fact in facts if isinstance(fact, ModelCall)]
    assert (message.reported_cost, message.currency) == (Decimal("0.000035700"), "USD")
    assert (message.run_id, message.time_to_first_token_seconds) == ("be4b89bc-9883-4f4c-87f5-ff6b43a0c84c", 0.776)


@pytest.mark.parametrize(("age", "status"), [(timedelta(minutes=9), "open"), (timedelta(minutes=11), "stale")])
def test_an_empty_message_is_open_for_ten_minutes(age: timedelta, status: str):
    raw = recorded("inflight_chatflow_message") | {"created_at": int((SEEN - age).timestamp())}

    facts = messages(raw)

    message = only(Message, facts)
    assert (message.status, message.is_final, message.reported_input_tokens) == (status, False, None)
    assert len(facts) == 1


def test_a_failed_message_is_a_failed_call_whose_tokens_are_not_known():
    raw = recorded("chat_messages_chat")["data"][0] | {
        "status": "error",
        "error": "429 Too Many Requests",
        "message_tokens": 0,
        "answer_tokens": 0,
        "provider_response_latency": 0,
        "answer": "",
    }

    call = only(ModelCall, messages(raw))

    assert (call.status, call.error_class, call.tokens, call.latency_seconds) == ("failed", "rate_limited", None, None)


def test_a_completion_tells_its_tokens_in_the_detail_only():
    listed = only(Conversation, COMPLETIONS.parse(recorded("completion_conversations")["data"][0], told()))
    detail = recorded("completion_conversation_detail")["message"]

    assert listed.messages == 1
    assert only(ModelCall, messages(detail, "completion", conversation=listed)).tokens == 40


def test_a_rating_of_the_export():
    ratings = [rating_fact(raw, told()) for raw in recorded("feedbacks_export_json")["feedback_data"]]

    assert ratings[0].id == "40ebc2f2-0391-4a28-a636-87d14a71726d/user"
    assert ratings[0].created_at == datetime(2026, 11, 20, 23, 15, 30, tzinfo=UTC)
    assert [rating.rating for rating in ratings[:2]] == ["like", "dislike"]


def test_an_unknown_status_and_missing_keys_are_taken_as_they_are():
    run = only(Run, run_facts({"id": "r", "status": "hibernating"}, told(), "app-run"))

    assert (run.status, run.is_final, run.created_at) == ("hibernating", False, None)
    assert only(Message, messages({"id": "m", "status": "odd", "answer": "yes"})).status == "succeeded"


@pytest.mark.parametrize(
    ("raw", "field"),
    [({"id": None}, "id"), ({"id": "r", "finished_at": "Thu, 99", "status": "failed"}, "finished_at")],
)
def test_what_cannot_be_read_is_named(raw: Json, field: str):
    with pytest.raises(ShapeError) as caught:
        run_facts(raw, told(), "app-run")

    assert caught.value.field == field


def test_contents_and_addresses_stay_behind():
    facts: list[Record] = []
    for endpoint, name in LISTINGS:
        for raw in recorded(name)["data"]:
            facts += endpoint.parse(raw, told())
    for raw in recorded("chat_messages_chat")["data"] + recorded("chat_messages_agent")["data"]:
        facts += messages(raw)
    facts += conversation_facts(recorded("completion_conversations")["data"][0], told(), "completion")

    text = msgspec.json.encode(facts).decode()

    for content in ("fake model", "turn 0", "admin@example.com", "Translate", "USE_TOOL", "You are a bot"):
        assert content not in text
