"""Behind each bucket stands the newest run or message that fell into it; no series has its id for a label."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.samples import Exemplar, Sample

from collector.access import Scope, Sight
from collector.errors import QueryError
from collector.faces.caps import OTHER
from collector.faces.shape import Shape
from collector.keyring import Keyring
from tests.builders import NOON, a_call, a_message, a_node, a_run, an_app
from tests.faces.exposed import OPENMETRICS, Scraped

RUNS, CALLS = "dify_run_duration_seconds_bucket", "dify_llm_call_duration_seconds_bucket"
NOW = NOON + timedelta(hours=1)


@pytest.fixture
def scraped() -> Iterator[Scraped]:
    with closing((found := Scraped(now=NOW)).store):
        yield found


def ended(minutes: float) -> dict:
    """Times of what ended so many minutes ago."""
    at = NOW - timedelta(minutes=minutes)
    return {"created_at": at - timedelta(seconds=50), "finished_at": at, "seen_at": at}


def samples(scraped: Scraped) -> list[Sample]:
    text, _ = scraped.exposition.text(OPENMETRICS)
    return [each for family in text_string_to_metric_families(text.decode()) for each in family.samples]


def exemplars(scraped: Scraped, name: str) -> dict[str, Exemplar]:
    """By bucket; there is one series."""
    return {each.labels["le"]: each.exemplar for each in samples(scraped) if each.name == name and each.exemplar}


def test_the_newest_of_each_bucket(scraped: Scraped):
    scraped.store.put([an_app(), a_run(id="older", elapsed_seconds=40.0, **ended(12))])
    scraped.store.put([a_run(id="newer", elapsed_seconds=31.0, **ended(10)), a_run(id="quick", **ended(14))])
    scraped.store.put([a_run(id="endless", elapsed_seconds=9000.0, **ended(3))])

    found = exemplars(scraped, RUNS)

    assert {bound: each.labels for bound, each in found.items()} == {
        "5": {"run_id": "quick"},
        "60": {"run_id": "newer"},
        "+Inf": {"run_id": "endless"},
    }
    assert (found["60"].value, float(found["60"].timestamp)) == (31.0, (NOW - timedelta(minutes=10)).timestamp())


def test_calls_name_their_app_and_their_run_or_message(scraped: Scraped):
    chat = {"run_id": None, "message_id": "m1", "app_id": "helpdesk", "model_name": "chatty"}
    scraped.store.put([an_app(), a_call(latency_seconds=1.0, **ended(9)), a_call(id="m1", **chat, **ended(8))])
    scraped.store.put([a_message(**ended(8)), a_node(**ended(9))])

    found = [each.exemplar.labels for each in samples(scraped) if each.name == CALLS and each.exemplar]

    assert sorted(found, key=str) == [
        {"app_id": "helpdesk", "message_id": "m1"},
        {"app_id": "shop", "run_id": "r1"},
    ]


def test_what_ended_long_ago_has_none(scraped: Scraped):
    scraped.store.put([an_app(), a_run(**ended(16))])
    assert exemplars(scraped, RUNS) == {}


def test_series_that_are_counted_together_have_one_together():
    with closing((scraped := Scraped(now=NOW, shape=Shape(most_series=1))).store) as store:
        store.put([an_app()])
        for minutes, model in ((9, "a"), (8, "b"), (12, "c")):
            store.put([a_call(id=model, run_id=model, model_name=model, latency_seconds=1.0, **ended(minutes))])
        found = {each.labels["model_name"]: each.exemplar for each in samples(scraped) if each.name == CALLS and each.exemplar}  # fmt: skip  # noqa: E501
    assert {model: each.labels["run_id"] for model, each in found.items()} == {"a": "a", OTHER: "b"}


def test_ids_are_labels_of_no_series_and_stand_in_no_plain_text(scraped: Scraped):
    scraped.store.put([an_app(), a_run(id="a-run", **ended(5)), a_call(run_id="a-run", **ended(5))])
    assert not {name for each in samples(scraped) for name in each.labels} & {"run_id", "message_id"}
    plain, _ = scraped.exposition.text("text/plain")
    assert b"a-run" not in plain
    assert b" # {" not in plain


def test_an_id_too_long_for_openmetrics_is_left_out(scraped: Scraped):
    scraped.store.put([an_app(), a_run(id="r" * 200, elapsed_seconds=2.0, **ended(5))])
    assert exemplars(scraped, RUNS) == {}


def test_who_sees_only_some_apps_cannot_scrape(scraped: Scraped):
    """So nobody reads the runs of others there."""
    keyring = Keyring(scraped.store.rows, scraped.store.set_keys)
    with pytest.raises(QueryError):
        keyring.create("theirs", [Scope.METRICS], now=NOW, sight=Sight(apps=("shop",)))
