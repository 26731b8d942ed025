"""What is counted in parts and remembered is what counting everything says: after any batches, early, late or told
again, and whatever the clock says by then."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.faces.counting import Values, numbers
from collector.faces.prometheus import GAUGED, counted_by
from collector.faces.shape import Shape
from collector.faces.so_far import numbers_so_far
from collector.measures.ask import Moment
from collector.measures.measure import Kind, Measure
from collector.measures.sources import State
from collector.period import Period, zone
from collector.store import Store, open_store
from tests.builders import NOON, a_call, a_conversation, a_feedback, a_message, a_node, a_run, an_app
from tests.measures.test_rolled import THOROUGHLY
from tests.store.emptied import empty

SINCE = NOON - timedelta(days=5, hours=3, minutes=7)

_ages = st.sampled_from(
    [timedelta(seconds=20), timedelta(minutes=50), timedelta(minutes=90), timedelta(hours=7), timedelta(days=2)]
)
happenings = st.fixed_dictionaries(
    {
        "number": st.integers(0, 12),
        "age": _ages,
        "lasts": st.sampled_from([None, 0.5, 40.0, 7200.0]),
        "app": st.sampled_from(["shop", "helpdesk"]),
        "cost": st.sampled_from([None, Decimal("0.1"), Decimal("0.2")]),
        "mode": st.sampled_from([None, None, "workflow", "chat"]),
        "is_settled": st.booleans(),
    }
)
steps = st.lists(
    st.tuples(st.lists(happenings, max_size=4), st.sampled_from([timedelta(seconds=15), timedelta(minutes=70)])),
    min_size=2,
    max_size=6,
)


def facts_of(told: dict, now: datetime) -> Iterator:
    at = now - told["age"]
    end = at + timedelta(seconds=told["lasts"]) if told["lasts"] else None
    status = {"status": "succeeded" if end else "running", "is_final": bool(end), "finished_at": end}
    common = {"app_id": told["app"], "created_at": at, "seen_at": now}
    n = told["number"]
    yield a_run(id=f"r{n}", elapsed_seconds=told["lasts"], **status, **common)
    yield a_node(id=f"n{n}", elapsed_seconds=told["lasts"], **status, **common)
    yield a_call(id=f"n{n}", cost=told["cost"], latency_seconds=told["lasts"], **status, **common)
    yield a_message(id=f"m{n}", latency_seconds=told["lasts"], **status, **common)
    yield a_conversation(id=f"c{n}", **common)
    yield a_feedback(id=f"m{n}/user", message_id=f"m{n}", **common)
    if told["mode"]:
        yield an_app(id=told["app"], mode=told["mode"], seen_at=now)


def said(values: Values, measure: Measure) -> Values:
    """Rollups tell of bounds between which there is nothing, and facts of what is above them all."""
    if measure.kind is not Kind.BUCKETS:
        return values
    bounds = {f"{bound:g}" for bound in measure.bounds}
    return {labels: value for labels, value in values.items() if value and labels[-1] in bounds}


@pytest.fixture(scope="module")
def rolling() -> Iterator[Store]:
    store = open_store(":memory:", now=SINCE)
    yield store
    store.close()


@THOROUGHLY
@given(told=steps)
def test_in_parts_it_is_the_same(rolling, told):
    empty(rolling)
    now, end = NOON, NOON + timedelta(days=3)
    since, ever = Period(SINCE, end, zone("UTC")), Period(NOON - timedelta(days=30), end, zone("UTC"))
    for batch, later in told:
        now += later
        rolling.put([fact for each in batch for fact in facts_of(each, now)])
        if any(each["is_settled"] for each in batch):
            rolling.settle_rollups(everything=True)
        for wanted, period, moment in ((counted_by(Shape()), since, Moment.FINISHED), (GAUGED, ever, Moment.CREATED)):
            with rolling.rows.still() as rows:
                found = numbers_so_far(wanted, rows, period, moment, State.of(rows).with_undated(rows), now)
                whole = numbers(wanted, rows, period, moment, State())
                assert found.keys() == whole.keys()
                for measure, values in whole.items():
                    assert said(found[measure], measure) == pytest.approx(said(values, measure), rel=1e-12)


def test_old_facts_are_not_read_again_for_new_ones(rolling):
    empty(rolling)
    rolling.put([a_run(id="old", created_at=NOON - timedelta(days=2)), a_run(id="new"), a_conversation(), an_app()])
    read: list[str] = []

    class Watched:
        """Rows that tell what was read."""

        def __init__(self, rows) -> None:
            self._rows, self.remembered = rows, None
            self.remembered = lambda key, work, asked=None: rows.remembered(key, lambda _: work(self), asked=asked)

        def __call__(self, sql, parameters=()):
            read.append(sql)
            return self._rows(sql, parameters)

    def count(now: datetime) -> int:
        read.clear()
        with rolling.rows.still() as rows:
            period = Period(SINCE, NOON + timedelta(days=3), zone("UTC"))
            numbers_so_far(counted_by(Shape()), Watched(rows), period, Moment.FINISHED, State.of(rows), now)
        return len(read)

    first = count(NOON)
    assert count(NOON + timedelta(seconds=15)) == 0
    rolling.put([a_run(id="newer", created_at=NOON + timedelta(seconds=20))])
    assert count(NOON + timedelta(seconds=30)) == 2  # the counters, and the histogram
    rolling.put([a_run(id="late", created_at=NOON - timedelta(days=1))])
    assert 1 < count(NOON + timedelta(seconds=45)) < first / 2
    rolling.put([an_app(mode="chat", seen_at=NOON + timedelta(hours=1))])  # a label of nearly all
    assert count(NOON + timedelta(seconds=60)) > first / 2
