"""Knowledge and queues as Prometheus sees them: bounded labels, and gauges that go when nobody looks any more."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from collector.faces.families import MOST_DATASETS
from collector.faces.prometheus import Exposition
from collector.records import BROKER, CONSOLE, DatasetDay, Pull, QueueSample, Retrieval
from tests.builders import NOON

MIDNIGHT = NOON.replace(hour=0)


def scraped(facts: Any, later: timedelta = timedelta(minutes=1)) -> list[str]:
    exposition = Exposition(facts.rows, clock=lambda: NOON + later, counting_since=MIDNIGHT)
    return exposition.text("")[0].decode().splitlines()


def a_sample(queue: str, ready: int, **fields: Any) -> QueueSample:
    told = {"source": BROKER, "seen_at": NOON, "id": f"dify/{queue}/{NOON}", "broker": "dify", "created_at": NOON}
    return QueueSample(**(told | {"queue": queue, "kind": "served", "ready": ready, "unacked": 0} | fields))


def test_queues_show_their_length_and_their_age(facts):
    facts.put(a_sample("dataset", 3, oldest_seen_at=NOON), a_sample("x1", 4, kind="other"))

    lines = scraped(facts)

    assert 'dify_queue_messages{broker="dify",queue="dataset"} 3.0' in lines
    assert 'dify_queue_messages{broker="dify",queue="_OTHER"} 4.0' in lines
    age = 'dify_queue_oldest_message_timestamp_seconds{broker="dify",queue="dataset"}'
    (shown,) = [line for line in lines if line.startswith(age)]
    assert float(shown.split()[-1]) == NOON.timestamp()


def test_a_queue_nobody_looks_at_any_more_has_no_length(facts):
    facts.put(a_sample("dataset", 3))

    assert not [line for line in scraped(facts, timedelta(hours=1)) if line.startswith("dify_queue_messages{")]


def test_more_knowledge_bases_than_may_have_a_series_are_one(facts):
    told: dict[str, Any] = {"source": CONSOLE, "seen_at": NOON, "workspace_id": "w1"}
    ids = [f"kb{n:04}" for n in range(MOST_DATASETS + 3)]
    facts.put(
        *(DatasetDay(**told, id=f"{key}/1", dataset_id=key, created_at=MIDNIGHT, documents=2) for key in ids),
        *(Retrieval(**told, id=f"{key}/q", dataset_id=key, created_at=NOON) for key in ids),
    )

    lines = scraped(facts)

    documents = [line for line in lines if line.startswith("dify_knowledge_documents{")]
    assert len(documents) == MOST_DATASETS + 1
    assert 'dify_knowledge_documents{dataset_id="_OTHER",workspace_id="w1"} 6.0' in documents
    assert 'dify_knowledge_retrievals_total{dataset_id="_OTHER",workspace_id="w1"} 3.0' in lines


def test_our_own_pulls_say_which_dify_they_asked(facts):
    counted = {"seconds": 1.0, "requests": 1, "pages": 1, "records": 1, "parse_failures": 0, "is_complete": True}
    for origin in ("dify", "lab"):
        told: dict[str, Any] = {"source": CONSOLE, "seen_at": NOON, "stream": "apps", "created_at": NOON}
        facts.put(Pull(**told, **counted, id=origin, origin=origin))

    lines = scraped(facts)

    found = [line for line in lines if line.startswith("dify_metric_last_success_timestamp_seconds{")]
    assert {line.partition("}")[0] for line in found} == {
        f'dify_metric_last_success_timestamp_seconds{{origin="{origin}",source="console",stream="apps"'
        for origin in ("dify", "lab")
    }
