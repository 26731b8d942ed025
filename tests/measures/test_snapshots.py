"""What is looked at again and again: the last look counts, things add up, looks do not."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from collector.records import BROKER, CONSOLE, ApiKey, Dataset, DatasetDay, Model, QueueSample, Retrieval
from tests.builders import NOON, a_call, a_message, a_request, a_run
from tests.measures.facts import DAY, Facts, period

TOLD: dict[str, Any] = {"source": CONSOLE, "seen_at": NOON}
MIDNIGHT = NOON.replace(hour=0)


def a_day(dataset: str = "kb", ago: int = 0, **held: Any) -> DatasetDay:
    at = MIDNIGHT - timedelta(days=ago)
    return DatasetDay(**TOLD, id=f"{dataset}/{at:%F}", dataset_id=dataset, workspace_id="w1", created_at=at, **held)


def a_sample(queue: str = "dataset", minute: int = 0, **fields: Any) -> QueueSample:
    at = NOON + timedelta(minutes=minute)
    default = {"source": BROKER, "seen_at": at, "broker": "dify", "queue": queue, "kind": "served", "created_at": at}
    return QueueSample(**(default | {"id": f"dify/{queue}/{at}", "ready": 0, "unacked": 0} | fields))


WEEK = period(MIDNIGHT - timedelta(days=6), DAY.end)


def test_days_of_one_knowledge_base_do_not_add_up_and_knowledge_bases_do(facts: Facts):
    facts.put(a_day(ago=1, documents=5), a_day(documents=7), a_day("faq", ago=1, documents=2))

    assert facts.value("knowledge_documents", period=WEEK) == 9
    assert facts.by("dataset", "knowledge_documents", period=WEEK) == {"kb": 7, "faq": 2}
    by_day = facts.ask("knowledge_documents", period=WEEK, grain="day").rows
    assert [row["knowledge_documents"] for row in by_day] == [7, 7]


def test_several_of_them_come_at_once(facts: Facts):
    facts.put(a_day(documents=7, segments=None, tokens=40), a_day("faq", documents=1, segments=3))

    (row,) = facts.ask("knowledge_documents,knowledge_segments,knowledge_tokens,retrievals").rows

    assert row == {"knowledge_documents": 8, "knowledge_segments": 3, "knowledge_tokens": 40, "retrievals": 0}


def test_what_was_not_looked_at_is_not_known(facts: Facts):
    assert facts.value("knowledge_documents") is None


def test_a_knowledge_base_has_its_name(facts: Facts):
    facts.put(Dataset(**TOLD, id="kb", name="Handbook", origin="lab"), a_day(documents=7))

    assert facts.by("dataset_name", "knowledge_documents") == {"Handbook": 7}
    assert facts.by("origin", "knowledge_documents") == {"lab": 7}


def test_retrievals_are_counted_by_knowledge_base_and_app(facts: Facts):
    common = {**TOLD, "created_at": NOON}
    facts.put(
        Retrieval(**common, id="q1", dataset_id="kb", app_id="helpdesk", origin="app"),
        Retrieval(**common, id="q2", dataset_id="kb", origin="hit_testing"),
        Retrieval(**common, id="q3", dataset_id="faq", app_id="helpdesk", origin="app"),
    )

    assert facts.by("dataset", "retrievals") == {"kb": 2, "faq": 1}
    assert facts.by("app", "retrievals") == {"helpdesk": 2, None: 1}
    assert facts.by("retrieved_from", "retrievals") == {"app": 2, "hit_testing": 1}


def test_the_last_sample_of_each_queue_counts(facts: Facts):
    facts.put(
        a_sample(ready=9),
        a_sample(minute=1, ready=3, unacked=1, oldest_seen_at=NOON),
        a_sample("mail", ready=2, oldest_seen_at=NOON - timedelta(minutes=4)),
        a_sample("mail", minute=1, ready=0),
    )

    assert facts.value("queue_messages") == 4
    assert facts.by("queue", "queue_messages") == {"dataset": 4, "mail": 0}
    assert facts.value("queue_oldest_message") == NOON


def test_queues_that_are_none_of_difys_are_one_label(facts: Facts):
    facts.put(a_sample("x1", kind="other", ready=1), a_sample("x2", kind="other", ready=2), a_sample(ready=5))

    assert facts.by("queue", "queue_ready") == {"_OTHER": 3, "dataset": 5}
    assert facts.by("queue_name", "queue_ready") == {"x1": 1, "x2": 2, "dataset": 5}


def test_what_there_is_leaves_out_what_is_gone(facts: Facts):
    facts.put(
        Dataset(**TOLD, id="kb"),
        Dataset(**TOLD, id="old", deleted_at=NOON),
        Model(**TOLD, id="m", model_provider="p", model_name="gpt", kind="llm", is_vision=True, status="active"),
        Model(**TOLD, id="n", model_provider="p", model_name="x", kind="llm", is_vision=False, status="no-configure"),
        ApiKey(**TOLD, id="k", app_id="shop", fingerprint="0123456789abcdef"),
    )

    (row,) = facts.ask("datasets,models,api_keys").rows
    assert row == {"datasets": 1, "models": 1, "api_keys": 1}


@pytest.mark.parametrize("by", ["department", "person", "cost_centre"])
def test_who_pays_is_said_for_the_instant_of_the_fact(facts: Facts, by: str):
    facts.put(a_run(id="r1", created_at=NOON - timedelta(hours=1)), a_run(id="r2"), a_run(id="r3", user_id="u9"))
    for start, end, who in (("2026-01-01", NOON, "sales"), (NOON, "9999-01-01", "law")):
        facts.rows(
            f"INSERT INTO payer_span (kind, subject, starts_at, ends_at, {by}, place) "
            "VALUES ('user', 'u1', ?, ?, ?, 'line 1')",
            [start, end, who],
        )

    assert facts.by(by, "runs") == {"sales": 1, "law": 1, None: 1}


def test_the_closest_payer_counts_with_what_it_leaves_blank(facts: Facts):
    facts.put(a_run(), a_call(), a_message(user_id="u2"), a_message(id="m2", user_id="u3", app_id="shop"))
    for kind, subject, department, centre in (
        ("user", "u1", "sales", None),
        ("app", "shop", "it", "4711"),
        ("app", "helpdesk", "people", "0815"),
    ):
        facts.rows(
            "INSERT INTO payer_span VALUES (?, ?, '0001-01-02', '9999-12-30', NULL, ?, ?, 'line 1')",
            [kind, subject, department, centre],
        )

    assert facts.by("department", "tokens") == {"sales": 100}
    assert facts.by("cost_center", "tokens") == {None: 100}
    assert facts.by("department", "messages") == {"people": 1, "it": 1}


def test_a_key_pays_for_what_its_requests_made_where_the_user_has_no_payer(facts: Facts):
    facts.put(a_run(), a_call(), a_run(id="r2", user_id="u2"), a_call(id="n2", run_id="r2"), a_message(user_id="u3"))
    facts.put(
        a_request(id="q1", run_id="r1", key_fingerprint="k1"), a_request(id="q2", run_id="r2", key_fingerprint="k1")
    )
    facts.put(a_request(id="q3", message_id="m1", key_fingerprint="k1", created_at=NOON + timedelta(seconds=1)))
    for kind, subject, department in (("user", "u1", "sales"), ("key", "k1", "portal"), ("app", "shop", "it")):
        facts.rows(
            "INSERT INTO payer_span VALUES (?, ?, '0001-01-02', '9999-12-30', NULL, ?, NULL, 'line 1')",
            [kind, subject, department],
        )

    assert facts.by("department", "tokens") == {"sales": 100, "portal": 100}
    assert facts.by("department", "runs") == {"sales": 1, "portal": 1}
    assert facts.by("department", "messages") == {"portal": 1}
