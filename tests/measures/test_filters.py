from __future__ import annotations

import pytest

from collector.errors import QueryError
from tests.builders import NOON, a_call, a_message, a_request, a_run, a_user, an_app
from tests.measures.facts import Facts


def calls_of(facts: Facts, *models: str | None) -> None:
    facts.put(*(a_call(id=f"n{place}", model_name=name) for place, name in enumerate(models)))


@pytest.mark.parametrize(
    ("where", "found"),
    [
        (["model^gpt-"], 2),
        (["model^gpt-", "model^qwen"], 3),
        (["!model^gpt-"], 3),  # the one nobody told too
        (["model~MINI"], 2),
        (["!model~mini"], 3),
        (["model^gpt-", "model~mini"], 1),
        (["model^"], None),
        (["model>=gpt-4o", "model<h"], 2),
        (["model>gpt-4o", "model<=qwen-mini"], 2),
        (["!model>=gpt"], 2),
        (["model=~gpt-.*"], 2),
        (["model=~gpt"], 0),  # the whole name, as in PromQL
        ([r"model=~(qwen\-mini|claude)"], 2),
        (["model=~.*"], 5),
        (["!model=~.*"], 0),
        (["model=~(claude)?"], 2),  # the one nobody told is an empty text, as a label
        (["!model=~gpt-.*"], 3),
        (["model=~"], None),
    ],
)
def test_texts_by_their_beginning_by_a_part_and_by_range(facts, where, found):
    calls_of(facts, "gpt-4o", "gpt-4o-mini", "qwen-mini", "claude", None)

    if found is None:
        with pytest.raises(QueryError, match="wants a value"):
            facts.ask("model_calls", where=where)
    else:
        assert facts.value("model_calls", where=where) == found


def test_signs_that_patterns_use_are_just_signs(facts):
    calls_of(facts, "50%_off", "50 off", "a*b", "a.b")

    assert facts.value("model_calls", where=["model~%"]) == 1
    assert facts.value("model_calls", where=["model^50_"]) == 0
    assert facts.value("model_calls", where=["model~a.b"]) == 1


def test_whole_numbers_by_range(facts):
    facts.put(*(a_request(id=f"q{code}", status_code=code) for code in (200, 404, 500, 502, None)))

    assert facts.value("failed_requests", where=["status_code>=500"]) == 2
    assert facts.value("failed_requests", where=["status_code>=400", "status_code<500"]) == 1
    assert facts.value("failed_requests", where=["!status_code>=500"]) == 2  # 404, and the one without an answer


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("status_code^5", "is no text"),
        ("is_debug>=true", "true or false"),
        ("is_debug~t", "is no text"),
        ("status_code>=many", "whole number"),
        (f"status_code:{10**30}", "at most 18 digits"),
        ("model=gpt", "where wants"),
        (":gpt", "where wants"),
        (f"model:{'x' * 2000}", "2,000 characters"),
        ("model=~gpt(", "no pattern"),
        ("model=~(?=gpt)", "no pattern"),
        ("is_debug=~t", "is no text"),
    ],
)
def test_a_filter_that_means_nothing_is_refused(facts, where, words):
    measure = "failed_requests" if where.startswith("status_code") else "model_calls"
    with pytest.raises(QueryError, match=words) as caught:
        facts.ask(measure, where=[where])

    assert caught.value.field == "where"


def test_too_many_values_are_refused_with_a_remedy(facts):
    with pytest.raises(QueryError, match="more than 1,000 values") as caught:
        facts.ask("runs", where=[f"app:a{n}" for n in range(1001)])

    assert caught.value.remedy


# -- tags: of one app there may be several


def tagged(facts: Facts) -> None:
    facts.put(an_app(tags="retail,support"), an_app(id="helpdesk", tags="support"), an_app(id="lab", tags=""))
    facts.put(a_run(), a_run(id="r2"), a_run(id="r3", app_id="helpdesk"), a_run(id="r4", app_id="lab"))
    facts.put(a_run(id="r5", app_id=None))


def test_an_app_counts_under_each_of_its_tags(facts):
    tagged(facts)

    assert facts.by("tag", "runs") == {"retail": 2, "support": 3, None: 2}
    assert facts.by("tag", "apps") == {"retail": 1, "support": 2, None: 1}


def test_a_fact_with_two_of_the_tags_counts_once(facts):
    tagged(facts)

    assert facts.value("runs", where=["tag:retail", "tag:support"]) == 3
    assert facts.value("runs", where=["!tag:retail"]) == 3
    assert facts.value("runs", where=["tag:"]) == 2
    assert facts.value("runs", where=["tag:", "tag:retail"]) == 4
    assert facts.value("runs", where=["tag^sup"]) == 3
    assert facts.by("app", "runs", where=["tag:support"]) == {"shop": 2, "helpdesk": 1}


def test_the_rest_of_tags_is_not_summed(facts):
    tagged(facts)

    answer = facts.ask("runs", by="tag", top=1, other=True)

    assert [row["app_tag"] for row in answer.rows] == ["support"]
    assert answer.other == [{"app_tag": None, "runs": None}]


# -- keys and names, known from other tables


def test_calls_messages_and_runs_know_the_key_that_asked(facts):
    facts.put(a_request(id="q1", run_id="r1", key_fingerprint="k1"))
    facts.put(a_request(id="q2", run_id="r1", key_fingerprint="k2", created_at=NOON.replace(minute=5)))
    facts.put(a_request(id="q3", message_id="m1", key_fingerprint="k3"))
    facts.put(a_run(), a_run(id="r2"), a_call(), a_call(id="m1", run_id=None, message_id="m1", tokens=7))
    facts.put(a_message())

    assert facts.by("key", "runs") == {"k1": 1, None: 1}
    assert facts.by("key", "tokens") == {"k1": 100, "k3": 7}
    assert facts.value("messages", where=["key:k3"]) == 1


def test_users_have_the_name_they_are_known_by(facts):
    facts.put(a_user(), a_user(id="u2", kind="account", session_id=None, name="Bob"))
    facts.put(a_run(), a_run(id="r2", user_id="u2"), a_message(user_id="u3", session_id="carol"))

    assert facts.by("user_name", "runs") == {"alice": 1, "Bob": 1}
    assert facts.by("user_name", "messages") == {"carol": 1}
    assert facts.value("active_users", where=["user_name~ALI"]) == 1
