from __future__ import annotations

from decimal import Decimal

import pytest

from collector.errors import QueryError
from tests.builders import a_call, a_message, a_run


def test_only_calls_have_tokens(facts):
    facts.put(a_run(reported_tokens=100), a_message(reported_input_tokens=70), a_call(tokens=100))

    assert facts.value("tokens") == 100


def test_tokens_count_by_model(facts):
    facts.put(
        a_call(), a_call(id="n2", model_name="qwen2.5:14b", tokens=346), a_call(id="n3", model_name=None, tokens=5)
    )

    assert facts.by("model", "tokens") == {"gpt-4o-mini": 100, "qwen2.5:14b": 346, None: 5}


def test_a_call_of_unknown_usage_is_flagged_and_not_zero(facts):
    facts.put(a_call(tokens=None))
    assert facts.value("tokens") is None

    facts.put(a_call(id="n2"))
    answer = facts.ask("tokens")

    assert answer.rows == [{"tokens": 100}]
    assert answer.flags == {"usage_unknown": 1}


def test_nothing_spent_is_zero(facts):
    assert facts.ask("tokens").rows == [{"tokens": 0}]


def test_an_estimate_counts_and_is_flagged(facts):
    facts.put(a_call(), a_call(id="r2", is_estimate=True, tokens=50))

    answer = facts.ask("tokens,model_calls")

    assert answer.rows == [{"tokens": 150, "model_calls": 2}]
    assert answer.flags == {"estimated": 1}


def test_currencies_are_never_added(facts):
    facts.put(a_call(cost=Decimal("0.5")), a_call(id="n2", cost=Decimal("2"), currency="CNY"))

    assert facts.ask("cost").rows == [
        {"currency": "CNY", "cost": Decimal("2.000000000")},
        {"currency": "USD", "cost": Decimal("0.500000000")},
    ]


def test_cost_beside_what_has_no_currency_is_refused(facts):
    with pytest.raises(QueryError, match="runs cannot be split by currency"):
        facts.ask("cost,runs")


def test_a_call_without_a_price_is_flagged_and_its_tokens_told(facts):
    facts.put(a_call(), a_call(id="n2", cost=None, currency=None), a_call(id="n3", cost=Decimal(0)))

    assert facts.ask("cost").flags == {"unpriced": 2}
    assert facts.value("unpriced_tokens") == 200


def test_every_digit_of_money_is_kept(facts):
    facts.put(*(a_call(id=f"n{n}", cost=Decimal("0.000000001")) for n in range(3)))

    answer = facts.ask("cost")

    assert answer.plain()["rows"] == [{"currency": "USD", "cost": "0.000000003"}]


def test_the_two_output_speeds_have_their_own_seconds(facts):
    facts.put(a_call(output_tokens=30, latency_seconds=1.0, time_to_first_token_seconds=0.25))
    facts.put(a_call(id="n2", output_tokens=70, latency_seconds=3.0, time_to_first_token_seconds=None))

    assert facts.value("output_speed") == 30 / 0.75
    assert facts.value("output_speed_dify") == 100 / 4.0


def test_latency_is_of_calls_and_not_of_whole_answers(facts):
    facts.put(a_call(latency_seconds=1.0), a_call(id="m1", node_type="message", latency_seconds=9.0))

    assert facts.value("model_call_latency_mean") == 1.0


def test_failed_calls_have_a_class(facts):
    facts.put(a_call(), a_call(id="n2", status="failed", error_class="rate_limited", tokens=None))

    assert facts.by("error_class", "failed_model_calls") == {"rate_limited": 1}
    assert facts.value("model_call_failure_ratio") == 0.5


def test_a_call_is_its_run_s_or_its_message_s_user_s(facts):
    facts.put(a_run(user_id="u1"), a_call(run_id="r1"))
    facts.put(a_message(user_id="u2", session_id="mail@x"), a_call(id="m1", run_id=None, message_id="m1", tokens=7))

    assert facts.by("user", "tokens") == {"u1": 100, "u2": 7}
    assert facts.by("session", "tokens") == {None: 100, "mail@x": 7}


def test_vision_calls_are_a_filter_away(facts):
    facts.put(a_call(is_vision=True), a_call(id="n2", is_vision=False), a_call(id="n3", is_vision=None))

    assert facts.value("model_calls", where={"is_vision": True}) == 1
