"""Labels and bounds of families as a site sets them: what is left out is counted together, and nothing steps back."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from collector.errors import SettingsError
from collector.faces.caps import DROPPED, OTHER
from collector.faces.shape import ALL_COSTS, Shape, shape_of
from collector.records import TAP, Request
from collector.settings.configuration import load_settings
from tests.builders import NOON, a_call, a_message, an_app
from tests.faces.exposed import Exposed, Scraped
from tests.faces.test_caps import asked

CALLS, INPUT = "dify_llm_calls_total", "dify_llm_input_tokens_total"
MESSAGES = "dify_chat_messages_total"


def messages_of(users: str, at: int = 0) -> list:
    """A message of each user, so many as the letter stands there."""
    return [
        a_message(id=f"{user}{at}{place}", user_id=user, app_id="helpdesk", created_at=NOON + timedelta(minutes=at))
        for place, user in enumerate(users)
    ]


def by_user(exposed: Exposed) -> dict[str, float]:
    return {
        labels["user_id"]: exposed.total(MESSAGES, user_id=labels["user_id"]) for labels in exposed.series(MESSAGES)
    }


def shape(**told: str) -> Shape:
    return shape_of(load_settings({**told}, {}))


def test_a_family_has_a_limit_of_its_own():
    own = shape(series_limits=f"{CALLS}=2,{ALL_COSTS}=1")
    with closing((scraped := Scraped(shape=own)).store) as store:
        store.put([an_app(), *(a_call(id=model, model_name=model) for model in "abcd")])
        exposed = scraped.scrape()
    assert {labels["model_name"] for labels in exposed.series(CALLS)} == {"a", "b", OTHER}
    assert exposed.total(CALLS) == 4
    assert len(exposed.series(INPUT)) == 4
    assert {labels["model_name"] for labels in exposed.series("dify_llm_cost_usd_total")} == {"a", OTHER}
    dropped = {labels["family"]: exposed.value(DROPPED, **labels) for labels in exposed.series(DROPPED)}
    assert {family: number for family, number in dropped.items() if number} == {
        CALLS: 2,
        "dify_llm_cost_usd_total": 3,
    }


def test_only_values_that_are_allowed_have_series():
    own = shape(label_values="model_name=a|b")
    with closing((scraped := Scraped(shape=own)).store) as store:
        store.put([an_app(), *(a_call(id=model, model_name=model) for model in "abcd")])
        exposed = scraped.scrape()
    assert {labels["model_name"]: exposed.total(CALLS, **labels) for labels in exposed.series(CALLS)} == {
        "a": 1,
        "b": 1,
        OTHER: 2,
    }
    histogram = {labels["model_name"] for labels in exposed.series("dify_llm_call_duration_seconds_count")}
    assert histogram == {"a", "b", OTHER}
    assert exposed.total(DROPPED) == 0  # as it was wished


class TestALabelThatWasAskedFor:
    def test_is_there_and_the_sum_is_the_same(self):
        plain, own = Scraped(), Scraped(shape=shape(more_labels=f"{MESSAGES}=user_id"))
        for scraped in (plain, own):
            scraped.store.put([an_app(id="helpdesk", mode="chat"), *messages_of("abbccc")])
        exposed = own.scrape()
        assert by_user(exposed) == {"a": 1, "b": 2, "c": 3}
        assert exposed.total(MESSAGES) == plain.scrape().total(MESSAGES)
        assert "user_id" not in exposed.series("dify_chat_response_duration_seconds_count")[0]
        plain.store.close()
        own.store.close()

    def test_has_so_many_values_the_biggest_first_and_they_stay(self):
        own = shape(more_labels=f"{MESSAGES}=user_id", most_label_values="2")
        with closing((scraped := Scraped(shape=own)).store) as store:
            store.put([an_app(id="helpdesk", mode="chat"), *messages_of("abbccc")])
            assert by_user(scraped.scrape()) == {"b": 2, "c": 3, OTHER: 1}
            store.put(messages_of("aaaad", at=1))
            scraped.restart()
            assert by_user(scraped.scrape()) == {"b": 2, "c": 3, OTHER: 6}

    def test_that_gets_more_room_counts_nothing_twice(self):
        with closing((scraped := Scraped(shape=shape(more_labels=f"{MESSAGES}=user_id", most_label_values="1"))).store):
            scraped.store.put([an_app(id="helpdesk", mode="chat"), *messages_of("abbccc")])
            assert by_user(scraped.scrape()) == {"c": 3, OTHER: 3}
            scraped._how = {"shape": shape(more_labels=f"{MESSAGES}=user_id", most_label_values="3")}
            scraped.restart()
            scraped.store.put(messages_of("b", at=1))
            assert by_user(scraped.scrape()) == {"a": 0, "b": 1, "c": 3, OTHER: 3}


def test_the_biggest_users_of_a_day_are_told_beside_the_rest():
    when = {"created_at": NOON, "finished_at": NOON, "seen_at": NOON, "app_id": "helpdesk", "workspace_id": "w1"}
    requests = [
        Request(
            id=f"q{place}", source=TAP, seen_at=NOON, created_at=NOON, workspace_id="w1", key_fingerprint=key,
            method="POST", route="/v1/chat-messages",
        )
        for place, key in enumerate("xxyz")
    ]  # fmt: skip
    with closing((scraped := Scraped(top_users=1)).store) as store:
        store.put([an_app(id="helpdesk", mode="chat", workspace_id="w1"), *requests])
        for user, tokens in (("a", 10), ("b", 30), ("c", 5)):
            store.put([a_message(id=user, user_id=user, **when)])
            store.put([a_call(id=user, run_id=None, message_id=user, tokens=tokens, **when)])
        exposed = scraped.scrape()
    users = {labels["user_id"]: exposed.value("dify_top_user_tokens", **labels) for labels in exposed.series("dify_top_user_tokens")}  # fmt: skip  # noqa: E501
    assert users == {"b": 30, OTHER: 15}
    keys = exposed.series("dify_top_key_requests")
    assert {labels["key_fingerprint"] for labels in keys} >= {OTHER}
    assert exposed.total("dify_top_key_requests") == 4 + 3


async def test_what_a_label_with_so_many_values_would_cost(facts):
    facts.put(an_app(id="helpdesk", mode="chat"), *messages_of("abbcccd"))

    _, told = await asked(facts, f"/api/v1/cardinality?family={MESSAGES}&add=user&top=2")
    (family,) = told["families"]

    assert family["most"] == 5
    assert family["now"]["series"] == 1
    assert family["changed"]["series"] == 3
    assert family["changed"]["values"]["user_id"] == 3
    code, told = await asked(facts, f"/api/v1/cardinality?family={MESSAGES}&top=2")
    assert (code, told["field"]) == (400, "top")


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"series_limits": "dify_llm_cals_total=9"}, "did you mean 'dify_llm_calls_total'?"),
        ({"series_limits": f"{CALLS}=many"}, f"such as {CALLS}=2000"),
        ({"label_values": "mood=good"}, "label_values: nothing is called 'mood'"),
        ({"more_labels": f"{CALLS}=run_id"}, "cannot have the label 'run_id'; one of user_id"),
        ({"more_labels": "dify_run_in_progress=user_id"}, "more_labels: nothing is called"),
        ({"more_labels": "dify_knowledge_retrievals_total=session_id"}, "cannot have the label 'session_id'"),
    ],
)
def test_what_cannot_be_is_told_by_its_setting(told: dict[str, str], said: str):
    with pytest.raises(SettingsError, match=next(iter(told))) as caught:
        shape(**told)
    assert said in str(caught.value)


def test_how_a_choice_is_written(tmp_path: Path):
    file = tmp_path / "t.toml"
    file.write_text('label_values = ["model_name=a|b", "app_mode=chat"]\n')
    settings = load_settings({}, {"DIFY_METRIC_SERIES_LIMITS": f"{CALLS}=3, {INPUT}=4"}, file)
    assert shape_of(settings).limits == {CALLS: 3, INPUT: 4}
    assert shape_of(settings).allowed == {"model_name": {"a", "b"}, "app_mode": {"chat"}}
    with pytest.raises(SettingsError, match="series_limits: wanted NAME=VALUE"):
        load_settings({"series_limits": "2000"}, {})
