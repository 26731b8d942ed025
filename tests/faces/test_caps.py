"""Series are bounded: the ones too many are counted together, sums stay right and counters never step back."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from operator import add

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.faces.caps import DROPPED, OTHER, Caps, moved
from collector.faces.cardinality import router
from collector.faces.shape import Shape
from tests.builders import NOON, a_call, a_run, an_app
from tests.faces.exposed import Scraped
from tests.faces.served import NOW, served

LATER = NOON + timedelta(minutes=30)
CALLS = "dify_llm_calls_total"


def calls_of(models: str, **fields: object) -> list:
    return [
        a_call(id=f"{model}{fields}", model_name=model, created_at=NOON, finished_at=LATER, seen_at=LATER, **fields)
        for model in models
    ]


def by_model(scraped: Scraped) -> dict[str, float]:
    found: dict[str, float] = {}
    for labels in (exposed := scraped.scrape()).series(CALLS):
        value = exposed.value(CALLS, **labels)
        found[labels["model_name"]] = found.get(labels["model_name"], 0) + (value or 0)
    return found


def test_what_comes_too_late_is_counted_together():
    with closing((scraped := Scraped(shape=Shape(most_series=2))).store) as store:
        store.put([an_app()])
        store.put(calls_of("ab"))
        assert by_model(scraped) == {"a": 1, "b": 1}
        store.put(calls_of("cd"))
        assert by_model(scraped) == {"a": 1, "b": 1, OTHER: 2}
        assert scraped.scrape().value(DROPPED, family=CALLS) == 2
        assert scraped.scrape().total("dify_llm_input_tokens_total") == 4 * 70


def test_who_has_a_series_keeps_it_over_restarts():
    with closing((scraped := Scraped(shape=Shape(most_series=2))).store) as store:
        store.put([an_app()])
        store.put(calls_of("yz"))
        by_model(scraped)
        store.put(calls_of("a"))
        before = by_model(scraped)
        scraped.restart()
        store.put(calls_of("b"))
        assert before == {"y": 1, "z": 1, OTHER: 1}
        assert by_model(scraped) == {"y": 1, "z": 1, OTHER: 2}


def test_histograms_are_bounded_as_a_whole():
    with closing((scraped := Scraped(shape=Shape(most_series=1))).store) as store:
        store.put([an_app()])
        store.put(calls_of("abc"))
        exposed = scraped.scrape()
    family = "dify_llm_call_duration_seconds"
    models = {labels["model_name"] for labels in exposed.series(f"{family}_bucket")}
    assert models == {"a", OTHER}
    other = {"model_name": OTHER, "model_provider": OTHER}
    assert exposed.value(f"{family}_count", **other) == 2
    assert exposed.value(f"{family}_bucket", le="+Inf", **other) == 2
    assert exposed.total(f"{family}_sum") == 3 * exposed.total(f"{family}_sum", model_name="a")


def test_the_first_of_several_instants_stays_the_first():
    """Gauges of the others are joined as what they are: an oldest run is the oldest of them all, no sum."""
    open_ = {"status": "running", "is_final": False, "finished_at": None, "elapsed_seconds": None}
    with closing((scraped := Scraped(shape=Shape(most_series=1))).store) as store:
        store.put([an_app(id=app) for app in "abc"])
        for minutes, app in enumerate("abc"):
            store.put([a_run(id=app, app_id=app, created_at=NOON + timedelta(minutes=minutes), **open_)])
        exposed = scraped.scrape()
    found = exposed.series("dify_run_oldest_unfinished_timestamp_seconds", app_id=OTHER)
    value = exposed.value("dify_run_oldest_unfinished_timestamp_seconds", **found[0])
    assert value == (NOON + timedelta(minutes=1)).timestamp()


series = st.sets(st.tuples(st.sampled_from("abcdef"), st.sampled_from(["ok", "failed"])), max_size=12)


@given(st.lists(series, min_size=1, max_size=6), st.integers(1, 5))
def test_nobody_moves_and_nothing_is_lost(scrapes: list, most: int):
    caps, before = Caps(lambda family: most), {}
    for present in scrapes:
        places = caps.places("f", ("app_id", "status"), present)
        assert places.keys() == present
        assert all(before.get(labels, place) == place for labels, place in places.items())
        before |= places
        assert len({place for place in before.values() if OTHER not in place}) <= most
        assert all(place[1] == labels[1] for labels, place in places.items())  # a short list stays told
        assert sum(moved(dict.fromkeys(present, 1.0), places, add).values()) == len(present)


async def asked(facts, path: str) -> tuple[int, dict]:
    async with served(facts.rows) as client:
        client._transport.app.include_router(router(facts.rows, lambda: NOW, Shape(most_series=5)))  # type: ignore[union-attr]
        answer = await client.get(path)
        return answer.status_code, answer.json()


async def test_what_a_change_would_cost_is_known_before(facts):
    facts.put(an_app(), a_run(user_id="u1"), a_run(id="r2", user_id="u2"), a_run(id="r3", user_id="u2"))
    facts.put(*calls_of("abc", run_id="r1"), *calls_of("abc", run_id="r2"))

    _, told = await asked(facts, f"/api/v1/cardinality?family={CALLS}&add=user&drop=modality")
    (family,) = told["families"]

    assert family["now"]["series"] == 3
    assert family["now"]["values"]["model_name"] == 3
    assert family["now"]["over"] == 0
    assert family["changed"]["series"] == 6
    assert family["changed"]["over"] == 1
    assert family["changed"]["labels"][0] == "user_id"
    assert "modality" not in family["changed"]["labels"]


async def test_every_family_is_told_the_biggest_first(facts):
    facts.put(an_app(), *calls_of("abc"))

    _, told = await asked(facts, "/api/v1/cardinality")

    assert told["most_series"] == 5
    samples = [family["now"]["samples"] for family in told["families"]]
    assert samples == sorted(samples, reverse=True)
    assert samples[0] == 3 * (14 + 3)  # a histogram of three models


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("family=nothing", "family"),
        (f"family={CALLS}&add=mood", "add"),
        (f"family={CALLS}&add=dataset_id", "add"),
        (f"family={CALLS}&drop=status", "drop"),
        ("add=user", "family"),
    ],
)
async def test_what_cannot_be_is_told_by_its_field(facts, query: str, field: str):
    code, told = await asked(facts, f"/api/v1/cardinality?{query}")
    assert (code, told["field"]) == (400, field)
