"""Messages, and the calls they are in apps without nodes."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal

import pytest

from collector.records import Conversation, Message, ModelCall
from tests.pull.database.world import AFTERWARDS, World, key


def test_a_chat_message_is_a_call_with_model_and_price(world: World):
    world.has_a_message()

    world.pull()

    call = world.get(ModelCall, "message")
    assert (call.node_type, call.model_provider, call.model_name) == (
        "message",
        "langgenius/openai/openai",
        "gpt-4o-mini",
    )
    assert (call.input_tokens, call.output_tokens, call.tokens) == (70, 30, 100)
    assert (call.cost, call.currency) == (Decimal("0.0001"), "USD")
    assert call.finished_at == AFTERWARDS + timedelta(seconds=1.5)


@pytest.mark.parametrize(
    ("mode", "calls"), [("chat", 1), ("completion", 1), ("agent-chat", 1), ("agent", 1), ("advanced-chat", 0)]
)
def test_a_message_is_a_call_only_where_there_are_no_nodes(world: World, mode: str, calls: int):
    world.has_a_message(app_mode=mode)

    world.pull()

    assert len(world.all(ModelCall)) == calls


@pytest.mark.parametrize(("mode", "run", "calls"), [("chat", None, 1), (None, None, 1), (None, key("run"), 0)])
def test_the_mode_is_the_apps_own_where_the_message_tells_none(
    world: World, mode: str | None, run: str | None, calls: int
):
    if mode:
        world.has_an_app(mode=mode)
    world.has_a_message(app_mode=None, workflow_run_id=run)

    world.pull()

    assert len(world.all(ModelCall)) == calls


def test_what_a_failed_message_spent_is_not_known(world: World):
    zeros = {"message_tokens": 0, "answer_tokens": 0, "provider_response_latency": 0, "total_price": 0, "answer": ""}
    world.has_a_message(status="error", error="[openai] Rate Limit Error, 429", **zeros)

    world.pull()

    message, call = world.get(Message, "message"), world.get(ModelCall, "message")
    assert (message.status, message.is_final, message.error_class) == ("failed", True, "rate_limited")
    assert (message.reported_input_tokens, message.reported_cost, message.latency_seconds) == (0, 0, None)
    assert (call.status, call.tokens, call.cost, call.currency) == ("failed", None, None, None)


def test_what_a_stopped_message_spent_was_not_counted(world: World):
    world.has_a_message(message_tokens=0, answer_tokens=0, total_price=0)

    world.pull()

    call = world.get(ModelCall, "message")
    assert (call.status, call.tokens, call.cost, call.latency_seconds) == ("succeeded", None, None, 1.5)


def test_a_paused_message_is_open(world: World):
    world.has_a_message(status="paused")

    world.pull()

    assert (world.get(Message, "message").status, world.get(Message, "message").is_final) == ("open", False)


def prompts(*kinds: str) -> str:
    return json.dumps([{"role": "user", "text": 'an "image"', "files": [{"type": kind} for kind in kinds]}])


@pytest.mark.parametrize(
    ("message", "is_vision"),
    [
        (prompts("image"), True),
        (prompts("document"), False),
        (prompts(), False),
        ("[]", None),
        ('""', None),
    ],
)
def test_a_call_is_vision_when_a_prompt_holds_an_image(world: World, message: str, is_vision: bool | None):
    world.has_a_message(message=message)

    world.pull()

    assert world.get(ModelCall, "message").is_vision is is_vision


@pytest.mark.parametrize("length", [1, 5000])
def test_the_first_token_of_a_chatflow_stands_in_the_metadata(world: World, length: int):
    resources = [{"content": "x" * length, "usage": {"time_to_first_token": 9}}]
    metadata = {"retriever_resources": resources, "usage": {"total_tokens": 3, "time_to_first_token": 0.25}}
    world.has_a_message(app_mode="advanced-chat", message_metadata=json.dumps(metadata))

    world.pull()

    assert world.get(Message, "message").time_to_first_token_seconds == 0.25


@pytest.mark.parametrize(
    ("invoked", "source", "is_debug"),
    [("debugger", "console", True), ("explore", "console", False), (None, "api", False), (None, "console", None)],
)
def test_a_message_from_the_debugger_is_a_test(world: World, invoked: str | None, source: str, is_debug: bool | None):
    world.has_a_message(invoke_from=invoked, from_source=source)

    world.pull()

    assert world.get(Message, "message").is_debug is world.get(ModelCall, "message").is_debug is is_debug


def test_a_message_knows_the_session_of_its_user(world: World):
    user = {"id": key("user"), "tenant_id": key("tenant"), "type": "service-api", "is_anonymous": False}
    world.insert("end_users", user | {"session_id": "alice"})
    world.has_a_message(from_end_user_id=key("user"))
    world.has_a_message("of an account", from_account_id=key("account"))

    world.pull()

    asked = {one.id: (one.user_kind, one.session_id) for one in world.all(Message)}
    assert asked == {key("message"): ("end_user", "alice"), key("of an account"): ("account", None)}


def test_a_deleted_conversation_is_told_still(world: World):
    row = {"mode": "chat", "name": "", "status": "normal", "from_source": "console", "inputs": "{}", "is_deleted": True}
    world.insert("conversations", {"id": key("conversation"), "app_id": key("app"), "invoke_from": "debugger"} | row)
    world.has_a_message()

    world.pull()

    assert world.get(Conversation, "conversation").is_debug is True


EMPTY = {"answer": "", "message_tokens": 0, "answer_tokens": 0, "provider_response_latency": 0, "total_price": 0}


def has_rounds(world: World, *rounds: tuple[int, int, str | None, str | None]) -> None:
    """Rounds of an agent: tokens in and out, price and currency."""
    for number, (tokens_in, tokens_out, price, currency) in enumerate(rounds):
        told = {"message_token": tokens_in, "answer_token": tokens_out, "total_price": price, "currency": currency}
        made = {"created_by_role": "end_user", "created_by": key("user"), "position": number}
        world.insert("message_agent_thoughts", {"message_id": key("message"), **told, **made})


class TestRoundsOfAnAgent:
    def test_of_an_answer_nobody_waited_for_they_are_all_that_tells_what_was_spent(self, world: World):
        world.has_a_message(**EMPTY, app_mode="agent-chat")
        has_rounds(world, (32, 17, "0.0000150", "USD"), (96, 24, "0.0000288", "USD"))
        world.pull()
        assert not world.all(ModelCall)

        world.now += timedelta(minutes=20)
        world.pull()

        (call,) = world.all(ModelCall)
        assert (call.status, call.input_tokens, call.output_tokens, call.tokens) == ("stopped", 128, 41, 169)
        assert (call.cost, call.currency, call.model_name) == (Decimal("0.0000438"), "USD", "gpt-4o-mini")
        assert (world.get(Message, "message").status, world.get(Message, "message").reported_input_tokens) == (
            "stale",
            None,
        )

    def test_of_an_answer_that_failed_or_was_stopped_too(self, world: World):
        world.has_a_message(**EMPTY, app_mode="agent-chat", status="error", error="429 too many requests")
        has_rounds(world, (32, 17, "0.0000150", "USD"))

        world.pull()

        (call,) = world.all(ModelCall)
        assert (call.status, call.tokens, call.error_class) == ("failed", 49, "rate_limited")
        assert world.get(Message, "message").reported_input_tokens == 0  # as Dify has it

    def test_of_a_whole_answer_they_are_its_parts_and_never_added(self, world: World):
        world.has_a_message(app_mode="agent-chat")
        has_rounds(world, (32, 17, "0.0000150", "USD"), (38, 13, "0.0000850", "USD"))

        world.pull()

        assert [call.tokens for call in world.all(ModelCall)] == [100]

    def test_currencies_are_never_added(self, world: World):
        world.has_a_message(**EMPTY, app_mode="agent-chat", status="error")
        has_rounds(world, (1, 1, "0.1", "USD"), (1, 1, "0.2", "CNY"))

        world.pull()

        (call,) = world.all(ModelCall)
        assert (call.tokens, call.cost, call.currency) == (4, None, None)

    def test_without_rounds_nothing_is_made_up(self, world: World):
        world.has_a_message(**EMPTY, app_mode="agent-chat")
        world.now += timedelta(minutes=20)

        world.pull()

        assert not world.all(ModelCall)
