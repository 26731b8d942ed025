"""Dify's daily cost, conversations and users beside ours: each way they differ has its cause."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from collector.reconcile import Difference, Kind, State
from collector.reconcile.difference import STATISTICS
from collector.records import DATABASE
from tests.builders import NOON, a_call, a_message, a_node, a_run, an_app
from tests.measures.facts import Facts
from tests.reconcile.test_reasons import READ, a_chat, a_flow, a_statistic, all_read, the, why

APP = "helpdesk"


def told(facts: Facts, kind: Kind, number: str | int, app: str = APP) -> None:
    """What Dify says, of a day that was read to its end."""
    is_money = kind is Kind.MESSAGE_COST
    value: Any = {"number": None, "amount": Decimal(number)} if is_money else {"number": number}
    facts.put(*all_read(app), a_statistic(STATISTICS[kind], 0, app, **value))


def an_answer(**fields: Any) -> Any:
    return a_message(**({"invoke_from": "service-api", "source": DATABASE} | fields))


def its_call(cost: str | None = "0.0001", **fields: Any) -> Any:
    price = {"cost": None if cost is None else Decimal(cost), "currency": "USD" if cost else None}
    return a_call(**({"id": "m1", "message_id": "m1", "run_id": None, "app_id": APP, **price} | fields))


# Cost


def test_the_price_of_a_message_is_that_of_its_call(facts: Facts) -> None:
    facts.put(a_chat(), an_answer(reported_cost=Decimal("0.0001")), its_call())
    told(facts, Kind.MESSAGE_COST, "0.0001")

    one = the(facts, Kind.MESSAGE_COST)

    assert (one.ours, one.theirs, one.state) == (Decimal("0.0001"), Decimal("0.0001"), State.EQUAL)
    assert one.unit == "USD as Dify says"


def test_currencies_are_added_as_dify_adds_them(facts: Facts) -> None:
    facts.put(a_chat(), an_answer(reported_cost=Decimal("0.0001")), its_call())
    facts.put(an_answer(id="m2", reported_cost=Decimal("0.7"), currency="RMB"))
    facts.put(its_call("0.7", id="m2", message_id="m2", currency="RMB"))
    told(facts, Kind.MESSAGE_COST, "0.7001")

    assert the(facts, Kind.MESSAGE_COST).state is State.EQUAL


def test_the_console_tells_no_prices_of_chats(facts: Facts) -> None:
    facts.put(a_chat(), a_message(reported_input_tokens=70, reported_output_tokens=30), its_call(None))
    told(facts, Kind.MESSAGE_COST, "0.0001")

    assert why(facts, Kind.MESSAGE_COST) == {"price_untold": Decimal("0.0001")}


def test_a_message_that_stayed_empty_has_no_price(facts: Facts) -> None:
    facts.put(a_flow(), a_run(message_id="m1", **READ), a_call(message_id="m1"), a_node(reported_tokens=100))
    facts.put(an_answer(app_id="shop", run_id="r1", status="stale", is_final=False))
    told(facts, Kind.MESSAGE_COST, "0", "shop")

    assert why(facts, Kind.MESSAGE_COST) == {"empty_message": Decimal("-0.0001")}


def test_a_workflow_as_a_tool_is_paid_again_by_its_caller(facts: Facts) -> None:
    facts.put(a_flow(), a_run(reported_tokens=130, message_id="m1", **READ), a_call(message_id="m1"))
    facts.put(a_node(reported_tokens=100), a_node(id="t1", node_type="tool", reported_tokens=30))
    spent = {"reported_input_tokens": 100, "reported_output_tokens": 30, "reported_cost": Decimal("0.00013")}
    facts.put(an_answer(app_id="shop", run_id="r1", **spent))
    told(facts, Kind.MESSAGE_COST, "0.00013", "shop")

    assert why(facts, Kind.MESSAGE_COST) == {"tool_repeated": Decimal("0.00003")}


def test_the_eighth_decimal_is_rounding(facts: Facts) -> None:
    facts.put(a_chat(), an_answer(reported_cost=Decimal("0.0001235")), its_call("0.000123456"))
    told(facts, Kind.MESSAGE_COST, "0.0001235")

    assert why(facts, Kind.MESSAGE_COST) == {"rounded": Decimal("0.000000044")}


def test_a_call_without_a_price_leaves_the_total_to_be_believed(facts: Facts) -> None:
    spent = {"reported_input_tokens": 70, "reported_output_tokens": 30, "reported_cost": Decimal("0.0001")}
    facts.put(a_chat(), an_answer(**spent), its_call(None))
    told(facts, Kind.MESSAGE_COST, "0.0001")

    assert why(facts, Kind.MESSAGE_COST) == {"unpriced_calls": Decimal("0.0001")}


def test_a_price_nobody_can_explain_is_open(facts: Facts) -> None:
    facts.put(a_chat(), an_answer(reported_cost=Decimal("0.0003")), its_call())
    told(facts, Kind.MESSAGE_COST, "0.0005")

    one: Difference = the(facts, Kind.MESSAGE_COST)

    assert (one.state, one.unexplained) == (State.OPEN, Decimal("0.0004"))


def test_a_day_that_is_not_over_waits(facts: Facts) -> None:
    facts.put(a_chat(), an_answer(reported_cost=Decimal("0.0001")), its_call())
    facts.put(a_statistic("message_cost", 0, APP, number=None, amount=Decimal("0.5")))

    assert why(facts, Kind.MESSAGE_COST) == {"late": Decimal("0.4999")}


# Conversations and users


@pytest.mark.parametrize(
    ("kind", "same"),
    [
        (Kind.CONVERSATIONS, {"conversation_id": "c1", "user_id": "u2"}),
        (Kind.END_USERS, {"conversation_id": "c2", "user_id": "u1"}),
    ],
)
def test_what_comes_twice_counts_once(facts: Facts, kind: Kind, same: dict[str, str]) -> None:
    facts.put(a_chat(), an_answer(), an_answer(id="m2", **same))
    told(facts, kind, 1)

    one = the(facts, kind)

    assert (one.ours, one.theirs, one.state) == (1, 1, State.EQUAL)


def test_accounts_of_the_console_are_no_end_users(facts: Facts) -> None:
    facts.put(a_chat(), an_answer(), an_answer(id="m2", user_id="a1", user_kind="account", invoke_from="explore"))
    told(facts, Kind.END_USERS, 1)

    assert the(facts, Kind.END_USERS).state is State.EQUAL


@pytest.mark.parametrize(("number", "cause"), [(1, "console_test"), (2, None)])
def test_a_chat_of_the_console_is_a_test_where_dify_counts_none(facts: Facts, number: int, cause: str | None) -> None:
    unsure = {"source": "console", "invoke_from": None, "is_debug": None}
    facts.put(a_chat(), an_answer(), a_message(id="m2", conversation_id="c2", **unsure))
    facts.put(a_statistic("messages", number, APP))
    told(facts, Kind.CONVERSATIONS, number)

    assert why(facts, Kind.CONVERSATIONS) == ({cause: -1} if cause else {})


def test_a_conversation_of_an_old_version_has_no_origin_and_does_not_count(facts: Facts) -> None:
    facts.put(a_chat(), an_answer(), an_answer(id="m2", conversation_id="c2", invoke_from=None))
    told(facts, Kind.CONVERSATIONS, 1)

    assert why(facts, Kind.CONVERSATIONS) == {"origin_unknown": -1}


def test_who_was_only_stood_for_by_a_trigger_is_no_user_of_runs(facts: Facts) -> None:
    facts.put(an_app(), a_run(), a_run(id="r2", user_id="u9", triggered_from="webhook"))
    told(facts, Kind.RUN_USERS, 1, "shop")

    assert why(facts, Kind.RUN_USERS) == {"trigger_left_out": -1}


def test_a_user_whom_no_list_names_is_missing(facts: Facts) -> None:
    facts.put(an_app(), a_run(), a_run(id="r2", user_id=None, user_kind=None))
    told(facts, Kind.RUN_USERS, 2, "shop")

    assert why(facts, Kind.RUN_USERS) == {"user_unknown": 1}


def test_the_user_of_a_chatflow_s_run_stands_at_its_message(facts: Facts) -> None:
    facts.put(a_flow(), a_run(user_id=None, user_kind=None), an_answer(app_id="shop", run_id="r1"))
    told(facts, Kind.RUN_USERS, 1, "shop")

    assert the(facts, Kind.RUN_USERS).state is State.EQUAL


def test_heads_that_nobody_can_explain_are_open(facts: Facts) -> None:
    facts.put(a_chat(), an_answer(created_at=NOON - timedelta(hours=1)))
    told(facts, Kind.CONVERSATIONS, 3)

    one = the(facts, Kind.CONVERSATIONS)

    assert (one.state, one.unexplained) == (State.OPEN, 2)
