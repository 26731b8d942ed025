"""What counters say when facts move between labels, and when a series begins."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.faces.caps import OTHER
from collector.faces.counting import Labels, Values
from collector.faces.readings import AT_ZERO, Readings
from collector.faces.shape import Shape
from tests.builders import NOON, a_call, a_run, an_app
from tests.faces.exposed import Scraped

CALLS = "dify_llm_calls_total"


class Kept:
    """Readings, and those of the process after it."""

    def __init__(self, **how: object) -> None:
        self._kept: dict[tuple[str, str], float] = {}
        self._how = how
        self.restart()

    def restart(self) -> None:
        self._readings = Readings(lambda: self._kept, self._kept.update, **self._how)  # type: ignore[arg-type]

    def say(self, values: Values) -> Values:
        told = self._readings.raised("f", values)
        self._readings.save()
        return told


@pytest.mark.parametrize("is_new_process", [False, True], ids=["same process", "after a restart"])
def test_what_is_told_later_stays_where_it_was_counted(is_new_process: bool):
    kept = Kept()
    assert kept.say({("",): 2.0}) == {("",): 2.0}
    assert kept.say({("m",): 2.0}) == {("",): 2.0, ("m",): 0.0}
    if is_new_process:
        kept.restart()
    assert kept.say({("m",): 3.0}) == {("",): 2.0, ("m",): 1.0}
    assert kept.say({("m",): 3.0, ("",): 1.0}) == {("",): 3.0, ("m",): 1.0}


def test_only_what_knows_more_takes_over():
    kept = Kept()
    kept.say({("a", ""): 5.0, ("b", "m"): 1.0})
    assert kept.say({("b", "m"): 6.0}) == {("a", ""): 5.0, ("b", "m"): 6.0}  # of another app: it grew by itself


def test_labels_of_another_time_are_not_told():
    kept = Kept()
    kept.say({("a", "b"): 5.0})
    assert kept.say({("a",): 1.0}) == {("a",): 1.0}


labels = st.tuples(st.sampled_from("ab"), st.sampled_from(["", "m", "n"]))
facts = st.lists(st.tuples(labels, st.sampled_from(["m", "n"]), st.integers(0, 4)), max_size=8)


@given(facts, st.sets(st.integers(0, 5)))
def test_whatever_becomes_known_every_fact_is_counted_once(told: list, restarts: set[int]):
    """A fact is told at a step, of unknown labels maybe, and all of it is known one step later."""
    kept, before = Kept(), dict[Labels, float]()
    for step in range(7):
        values: Values = {}
        for (app, model), later, at in told:
            if at <= step:
                place = (app, model if model or step == at else later)
                values[place] = values.get(place, 0.0) + 1
        if step in restarts:
            kept.restart()
        said = kept.say(values)
        assert sum(said.values()) == sum(values.values())
        assert {series: value for series, value in before.items() if said[series] < value} == {}
        before = said


class TestABeginning:
    def test_a_series_says_zero_until_everybody_has_seen_it(self):
        now = [NOON]
        kept = Kept(at_zero=AT_ZERO, clock=lambda: now[0])
        assert kept.say({("a",): 3.0}) == {("a",): 0.0}
        now[0] += timedelta(seconds=59)
        assert kept.say({("a",): 4.0}) == {("a",): 0.0}
        now[0] += timedelta(seconds=2)
        assert kept.say({("a",): 4.0, ("b",): 1.0}) == {("a",): 4.0, ("b",): 0.0}

    def test_what_was_told_goes_on_at_once(self):
        kept = Kept(at_zero=AT_ZERO, clock=later(NOON))
        kept.say({("a",): 3.0})
        assert kept.say({("a",): 3.0}) == {("a",): 3.0}
        kept.restart()
        assert kept.say({("a",): 5.0}) == {("a",): 5.0}

    def test_who_died_at_once_begins_anew(self):
        kept = Kept(at_zero=AT_ZERO, clock=lambda: NOON)
        kept.say({("a",): 3.0})
        kept.restart()
        assert kept.say({("a",): 3.0}) == {("a",): 0.0}


def later(now: datetime):
    """A clock that is two minutes on whenever it is looked at."""
    instants = iter(now + timedelta(minutes=2) * turn for turn in range(1000))
    return lambda: next(instants)


def test_a_call_whose_model_and_app_are_told_later():
    with closing((scraped := Scraped()).store) as store:
        store.put([a_call(model_name=None), a_run()])
        assert scraped.scrape().total(CALLS) == 1
        store.put([an_app(workspace_id="w1"), a_call(seen_at=NOON + timedelta(minutes=5)), a_call(id="n2")])
        scraped.restart()
        exposed = scraped.scrape()
    assert exposed.total(CALLS) == 2
    assert exposed.total(CALLS, model_name="") == 1
    family = "dify_llm_call_duration_seconds"
    for series in exposed.series(f"{family}_count"):
        buckets = [exposed.value(f"{family}_bucket", **series, le=le) for le in ("0.64", "1.28", "81.92", "+Inf")]
        assert buckets == sorted(buckets)
        assert buckets[-1] == exposed.value(f"{family}_count", **series)
    assert exposed.total(f"{family}_count") == 2


def test_a_cap_that_is_raised_counts_nothing_twice():
    with closing((scraped := Scraped(shape=Shape(most_series=1))).store) as store:
        store.put([an_app(), *(a_call(id=model, model_name=model) for model in "abc")])
        assert scraped.scrape().total(CALLS, model_name=OTHER) == 2
        scraped._how = {"shape": Shape()}
        scraped.restart()
        assert scraped.scrape().total(CALLS) == 3
        store.put([a_call(id="b2", model_name="b")])
        exposed = scraped.scrape()
    assert exposed.total(CALLS) == 4
    assert exposed.total(CALLS, model_name="b") == 1
    assert exposed.total(CALLS, model_name=OTHER) == 2
