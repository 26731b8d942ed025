from __future__ import annotations

from datetime import timedelta

from collector.records import DATABASE, Message, ModelCall
from tests.builders import NOON, a_call, a_conversation, a_feedback, a_message, a_request, a_run, an_app
from tests.collect.shelf import Shelf
from tests.measures.facts import period


def test_failed_messages_are_messages(facts):
    facts.put(a_message(), a_message(id="m2", status="failed", latency_seconds=0.0))

    (row,) = facts.ask("messages,failed_messages,response_time_mean").rows

    assert row == {"messages": 2, "failed_messages": 1, "response_time_mean": 1.0}


def test_a_conversation_of_two_days_counts_on_both_and_once_in_all(facts):
    facts.put(a_message(), a_message(id="m2", created_at=NOON + timedelta(days=1)))
    two_days = period(NOON.replace(hour=0), NOON.replace(hour=0) + timedelta(days=2))

    assert [row["conversations"] for row in facts.ask("conversations", grain="day", period=two_days).rows] == [1, 1]
    assert facts.value("conversations", period=two_days) == 1
    assert facts.value("messages_per_conversation", period=two_days) == 2.0


def test_a_conversation_starts_once(facts):
    facts.put(a_conversation(), a_conversation(id="c2", is_debug=True))

    assert facts.value("conversations_started") == 1


def test_a_user_of_runs_and_messages_is_one_user(facts):
    facts.put(
        a_run(user_id="u1"), a_message(user_id="u1"), a_message(id="m2", user_id="u2"), a_run(id="r2", user_id=None)
    )

    assert facts.value("active_users") == 2
    assert facts.by("app", "active_users") == {"shop": 1, "helpdesk": 2}


def test_users_of_the_test_button_are_not_active(facts):
    facts.put(a_run(user_id="u1", is_debug=True), a_message(user_id="u2"))

    assert facts.value("active_users") == 1


def test_satisfaction_is_likes_per_rating(facts):
    facts.put(a_feedback(), a_feedback(id="m2/user", rating="like"), a_feedback(id="m3/user", rating="dislike"))
    facts.put(a_feedback(id="m4/user", rating="withdrawn"))

    (row,) = facts.ask("likes,dislikes,ratings,satisfaction").rows

    assert row == {"likes": 2, "dislikes": 1, "ratings": 3, "satisfaction": 2 / 3}


def test_a_rating_without_a_time_counts_with_its_message(facts):
    facts.put(a_message(id="m1"), a_feedback(created_at=None))

    assert facts.value("likes") == 1


def test_a_rating_of_a_debugging_message_is_left_out(facts):
    facts.put(a_message(is_debug=True), a_feedback())

    assert facts.value("likes") == 0
    assert facts.value("likes", include_debug=True) == 1


def test_without_a_tap_runs_and_messages_are_the_requests(facts):
    facts.put(an_app(id="helpdesk", mode="chat"), an_app(id="flow", mode="advanced-chat"))
    facts.put(a_run(), a_message())
    facts.put(a_run(id="r2", app_id="flow"), a_message(id="m2", app_id="flow", run_id="r2"))
    facts.put(a_message(id="m3", app_id="flow", run_id=None))

    assert facts.value("requests") == 3


def test_a_request_the_tap_saw_counts_once(facts):
    facts.put(a_run(), a_run(id="r2"), a_message())
    facts.put(a_request(run_id="r1"), a_request(id="q2", message_id="m1"), a_request(id="q3", status_code=429))

    assert facts.value("requests") == 4
    assert facts.value("request_failure_ratio") == 1 / 3


def test_the_request_rate_counts_only_time_that_has_passed(facts):
    facts.put(a_run(), a_run(id="r2"))

    assert facts.value("request_rate") == 2 / 86400
    assert facts.value("request_rate", now=NOON) == 2 / 43200
    rows = facts.ask("request_rate", grain="hour", now=NOON + timedelta(minutes=1)).rows
    assert [row["request_rate"] for row in rows] == [2 / 60]


def test_a_percentile_asked_for_alone_is_a_number_as_among_others(facts):
    facts.put(a_message(latency_seconds=2.0), a_message(id="m2", latency_seconds=4.0))

    assert facts.value("response_time_p50") == 3.0
    assert facts.ask("response_time_p50,response_time_p95").rows[0]["response_time_p50"] == 3.0


def test_chats_of_the_console_that_may_be_tests_count_and_are_flagged(facts):
    facts.put(a_message(), a_message(id="m2", conversation_id="c2", is_debug=None), a_message(id="m3", is_debug=True))
    facts.put(*(a_call(id=f"m{n}", run_id=None, message_id=f"m{n}", is_debug=d) for n, d in ((1, False), (2, None))))

    for name, value in (("messages", 2), ("conversations", 2), ("dify_messages", 2), ("tokens", 200)):
        answer = facts.ask(name)
        assert (answer.rows[0][name], answer.flags) == (value, {"debug_unknown": 1}), name


def test_the_database_settles_which_of_them_were_tests():
    store = Shelf()
    store.put([a_message(is_debug=None), a_call(id="m1", is_debug=None)])
    store.put([a_message(is_debug=True, source=DATABASE), a_call(id="m1", is_debug=True, source=DATABASE)])

    assert {fact.is_debug for kind in (Message, ModelCall) for fact in store.of(kind).values()} == {True}
