"""An estimate stands until the run's real calls are known, whichever is told first."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from itertools import permutations

import pytest

from collector.records import Stored
from collector.store import Store, open_store
from tests.builders import NOON, a_call, a_message, a_run

LEAF = a_call()
ESTIMATE = a_call(id="r1", is_estimate=True, node_id=None, node_type=None, model_name=None)
RUN = a_run()
RUN_WITHOUT_CALLS = a_run(leaves_known=True)
SILENT_LEAF = a_call(tokens=None, input_tokens=None, output_tokens=None, cost=None, currency=None)


def calls(store: Store) -> list[object]:
    return [key for (key,) in store.rows("SELECT id FROM model_call ORDER BY id")]


@pytest.mark.parametrize("order", [*permutations((LEAF, ESTIMATE, RUN))], ids=lambda o: " ".join(r.id for r in o))
def test_the_real_call_takes_the_place_of_the_estimate(store: Store, order: tuple[object, ...]):
    for record in order:
        store.put([record])

    assert calls(store) == ["n1"]


@pytest.mark.parametrize("order", [*permutations((RUN_WITHOUT_CALLS, ESTIMATE))])
def test_a_run_known_to_have_made_no_call_ends_the_estimate(store: Store, order: tuple[object, ...]):
    for record in order:
        store.put([record])

    assert calls(store) == []


def test_all_in_one_batch_end_the_same(store: Store):
    assert store.put([ESTIMATE, RUN, LEAF]) == Stored(new=2, known=1)
    assert calls(store) == ["n1"]


def test_an_estimate_told_again_is_no_news(store: Store):
    store.put([LEAF])

    assert store.put([ESTIMATE]) == Stored(known=1)
    assert calls(store) == ["n1"]


@pytest.mark.parametrize("order", [*permutations((SILENT_LEAF, ESTIMATE, RUN))])
def test_a_call_that_tells_no_tokens_leaves_the_estimate(store: Store, order: tuple[object, ...]):
    for record in order:
        store.put([record])
    assert calls(store) == ["n1", "r1"]

    store.put([LEAF])
    assert calls(store) == ["n1"]


def test_other_runs_keep_their_estimates(store: Store):
    store.put([ESTIMATE, a_call(id="r2", run_id="r2", is_estimate=True)])
    store.put([LEAF])

    assert calls(store) == ["n1", "r2"]


def test_a_call_days_into_a_long_run_ends_the_estimate(store: Store):
    end = NOON + timedelta(days=9)
    late_leaf = a_call(created_at=end - timedelta(minutes=1), finished_at=end)
    store.put([late_leaf])
    store.put([a_call(id="r1", is_estimate=True, created_at=NOON, finished_at=end)])

    assert calls(store) == ["n1"]


@pytest.mark.parametrize(("blank", "days"), [("created_at", -3), ("finished_at", 3)])
def test_an_estimate_without_an_instant_is_ended_too(store: Store, blank: str, days: int):
    store.put([a_call(id="r1", is_estimate=True, **{blank: None})])
    store.put([a_call(created_at=NOON + timedelta(days=days))])

    assert calls(store) == ["n1"]


BLOCKING = a_call(id="m1", run_id=None, message_id="m1", is_estimate=True, node_id=None, node_type=None)


@pytest.mark.parametrize(
    "facts",
    [
        (BLOCKING, a_call(message_id="m1")),
        (BLOCKING, a_call(), a_run(message_id="m1")),
        (BLOCKING, a_call(), a_run(), a_message(run_id="r1")),
    ],
    ids=["the call names the message", "the run does", "the message names the run"],
)
def test_an_estimate_without_a_run_is_found_by_its_message(store: Store, facts: tuple[object, ...]):
    for order in permutations(facts):
        with closing(open_store(":memory:")) as fresh:
            for record in order:
                fresh.put([record])
            assert calls(fresh) == ["n1"]
    store.put(facts)
    assert calls(store) == ["n1"]


@pytest.mark.parametrize(
    "facts",
    [
        (BLOCKING, a_run(message_id="m1", leaves_known=True)),
        (BLOCKING, a_run(leaves_known=True), a_message(run_id="r1")),
    ],
)
def test_a_message_whose_run_made_no_call_ends_its_estimate(facts: tuple[object, ...]):
    for order in permutations(facts):
        with closing(open_store(":memory:")) as fresh:
            for record in order:
                fresh.put([record])
            assert calls(fresh) == []


def test_an_estimate_of_another_message_stays(store: Store):
    store.put([BLOCKING, a_call(message_id="m2"), a_run(message_id="m2", leaves_known=True), a_message(id="m2")])

    assert calls(store) == ["m1", "n1"]
