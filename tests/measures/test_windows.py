"""Windows say what a question about each of them says, wherever their edges lie."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from random import Random

import pytest

from collector.errors import QueryError
from collector.measures.catalogue import CATALOGUE
from collector.measures.query import Query, totals
from collector.measures.sources import State
from collector.measures.windows import values_in_windows
from collector.period import Period, zone
from collector.store import Store, open_store
from tests.builders import NOON, a_message, a_run, an_app

LONG = (timedelta(days=30), timedelta(days=7), timedelta(days=1), timedelta(minutes=5))
USERS = CATALOGUE.measure("active_users")
SPLITS = [
    (CATALOGUE.dimension("workspace_id"), CATALOGUE.dimension("app_id")),
    (CATALOGUE.dimension("workspace_id"),),
    (),
]


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    chance = Random(5)
    with closing(open_store(":memory:", now=NOON)) as opened:
        for part in range(2):
            facts: list = [an_app(id="shop", workspace_id="w1"), an_app(id="helpdesk"), an_app(id="nowhere")]
            for number in range(300):
                back = chance.choice(LONG) * chance.random() * 1.2
                if number % 5 == 0:  # at an edge, and just beside it
                    back = chance.choice(LONG) + timedelta(microseconds=chance.choice([-1, 0, 1]))
                at = NOON - back
                told = {
                    "id": f"{part}/{number}",
                    "created_at": at,
                    "app_id": chance.choice(["shop", "helpdesk", "nowhere", None]),
                    "user_id": chance.choice([None, *(f"u{n}" for n in range(40))]),
                    "is_debug": chance.random() < 0.1,
                }
                facts.append(chance.choice([a_run, a_message])(**told))
            opened.put(facts)
            if not part:
                opened.settle_rollups(everything=True)
        yield opened


@pytest.mark.parametrize("is_rolled", [True, False])
@pytest.mark.parametrize("off", [timedelta(), timedelta(minutes=3, seconds=7), timedelta(hours=12)])
def test_windows_say_what_each_alone_says(store: Store, off: timedelta, is_rolled: bool):
    now, end = NOON + off, NOON + timedelta(days=1)
    starts = [now - long for long in LONG]
    state = State.of(store.rows) if is_rolled else State()
    found = values_in_windows(USERS, SPLITS, starts, Period(starts[0], end, zone("UTC")), store.rows, state)
    for split in SPLITS:
        for start, counts in zip(starts, found[split], strict=True):
            query = Query(measures=(USERS,), by=split, period=Period(start, end, zone("UTC")))
            alone = {key: cells[USERS] for key, cells in totals(query, store.rows, State()).items() if cells[USERS]}
            assert counts == alone


def test_a_single_window_is_one_too(store: Store):
    period = Period(NOON - LONG[0], NOON, zone("UTC"))
    ((whole,),) = values_in_windows(USERS, [()], [period.start], period, store.rows, State.of(store.rows)).values()
    assert whole[()] == 40


def test_what_adds_up_has_no_windows(store: Store):
    period = Period(NOON - LONG[0], NOON, zone("UTC"))
    with pytest.raises(QueryError, match="runs has no windows"):
        values_in_windows(CATALOGUE.measure("runs"), [()], [period.start], period, store.rows, State())
