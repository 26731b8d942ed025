"""One world, told by the console API, by Dify's database and by a tap: the same ledger, whoever speaks and when.

What two sources both know is the same, field for field; where it is not, APART says which field, whose, and why, and a
row of APART that no fact needs fails. Then every order in which they may speak ends in the same store.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import permutations
from random import Random
from typing import Any

import msgspec
import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector.collect.database import Database
from collector.demo import World, truth
from collector.pull.database import Reading
from collector.records import (
    FACTS,
    ApiKey,
    App,
    Conversation,
    DatasetDay,
    Feedback,
    Message,
    Model,
    ModelCall,
    NodeExecution,
    Pull,
    Record,
    Release,
    Run,
    Statistic,
)
from tests.collect.shelf import Shelf
from tests.demo.conftest import NOW
from tests.road.test_tap_and_pull import Heard, heard
from tests.road.way import Road, a_past
from tests.servers.dify_rows import fill
from tests.servers.postgres import Postgres, dify_template, postgres_server

__all__ = ["dify_template", "heard", "postgres_server"]

API, DATABASE, TAP = "api", "database", "tap"

LATE = timedelta(hours=25)
"""What never ended is given up by then, and its nodes are read over the API, too; the database tells them at once."""

Facts = dict[tuple[str, str], Any]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with structlog.testing.capture_logs():
        yield


@dataclass(frozen=True)
class Apart:
    """A field in which two tellings of one fact may differ."""

    kind: type[Record]
    field: str
    sources: frozenset[str]
    is_so: Callable[[Any, Any], bool]
    why: str


def _same_second(one: Any, other: Any) -> bool:
    return bool(one.replace(microsecond=0) == other.replace(microsecond=0))


def _within_a_second(one: Any, other: Any) -> bool:
    return bool(abs(one - other) < timedelta(seconds=1))


def _apart(*sources: str) -> frozenset[str]:
    return frozenset(sources)


_CUT = "the API tells whole seconds, cut off; the table has microseconds"

APART: Sequence[Apart] = (
    *(
        Apart(kind, field, _apart(API, DATABASE), _same_second, _CUT)
        for kind, field in (
            (App, "created_at"),
            (App, "updated_at"),
            (Run, "created_at"),
            (Run, "finished_at"),
            (NodeExecution, "created_at"),
            (NodeExecution, "finished_at"),
            (ModelCall, "created_at"),
            (ModelCall, "finished_at"),
            (Feedback, "created_at"),
        )
    ),
    *(
        Apart(kind, field, _apart(TAP, DATABASE), _same_second, "a stream tells whole seconds, too")
        for kind, field in (
            (Run, "finished_at"),
            (NodeExecution, "created_at"),
            (NodeExecution, "finished_at"),
            (ModelCall, "created_at"),
            (ModelCall, "finished_at"),
        )
    ),
    Apart(
        Run,
        "status",
        _apart(TAP, DATABASE),
        lambda one, other: {one, other} == {"stopped", "running"},
        "Dify never ends the row of a run that somebody stopped; the stream says that it was",
    ),
    *(
        Apart(
            kind,
            "status",
            _apart(TAP, DATABASE),
            lambda one, other: (one, other) == ("stopped", "succeeded"),
            "an answer that somebody stopped is `normal` in Dify's table, and nothing there tells it from a whole one",
        )
        for kind in (Message, ModelCall)
    ),
    Apart(
        Run,
        "is_final",
        _apart(TAP, DATABASE),
        lambda one, other: True,
        "the same: for the stream a stopped run is over",
    ),
)
"""Everything in which sources legitimately differ where both know a field."""

ONLY: dict[str, dict[type[Record], str]] = {
    API: {
        Model: "what models can do stands in Dify's plugins, not in its database",
        ApiKey: "the database's role is not to see keys",
        Statistic: "Dify's own statistics are answers, not rows",
    },
    DATABASE: {
        Message: "test chats of chatflows are in no list of the console",
        Conversation: "test chats of chatflows are in no list of the console",
    },
}
"""Kinds of which one source tells facts that the other cannot."""


def by_database(server: Postgres, database: str, store: Shelf, clock: Callable[[], datetime]) -> None:
    """One pass over a database, as a service does it."""

    async def read() -> None:
        found = Database(server.dsn(database), store.put, store.rows, store.watermark, reading=Reading(), clock=clock)
        try:
            pulls = await found.pull()
        finally:
            await found.aclose()
        assert all(pull.is_complete for pull in pulls)

    asyncio.run(read())


@dataclass
class Site:
    """A world with its database and what a tap heard of it."""

    world: World
    server: Postgres
    database: str
    heard: Sequence[Sequence[Record]]

    def told(self, *order: str, after: timedelta = timedelta(minutes=20)) -> Shelf:
        """A store to which these sources spoke in this order, ten minutes between two."""
        road = Road(self.world, debug_runs=True, node_budget=None, budget=timedelta(hours=1))
        road.clock.now += after
        for who in order:
            if who == API:
                asyncio.run(self._pull(road))
            elif who == DATABASE:
                by_database(self.server, self.database, road.store, road.clock)
            else:
                for records in self.heard:
                    road.store.put(records)
            road.clock.forward(minutes=10)
        return road.store  # type: ignore[return-value]

    async def _pull(self, road: Road) -> None:
        await road.pull()
        await road.pull()  # a second pass reads what the first one learnt of


@pytest.fixture(scope="module")
def past(postgres_server: Postgres, dify_template: str) -> Site:
    """Two days in which everything happens."""
    return _a_site(a_past(), postgres_server, dify_template, ())


@pytest.fixture(scope="module")
def live(heard: Heard, postgres_server: Postgres, dify_template: str) -> Site:
    """Every kind of request, once, with what a tap heard of each."""
    return _a_site(heard.world, postgres_server, dify_template, heard.records)


def _a_site(world: World, server: Postgres, template: str, heard: Sequence[Sequence[Record]]) -> Site:
    """Completions are read once before: Dify then shows them as read, and moves their conversations. That is our own
    doing, and it does so once."""
    site = Site(world, server, server.database(template), heard)
    site.told(API)
    fill(server, site.database, world)
    return site


def facts_of(store: Shelf) -> Facts:
    """Every fact about Dify, by table and id."""
    kinds = (kind for kind in FACTS if kind not in (Pull, Release))
    return {(kind.table, key): fact for kind in kinds for key, fact in store.of(kind).items()}


def differences(one: Facts, other: Facts) -> Iterator[tuple[Any, str, Any, Any]]:
    """Fields that both tell and tell apart."""
    for key in one.keys() & other.keys():
        for field in msgspec.structs.fields(one[key]):
            first, second = getattr(one[key], field.name), getattr(other[key], field.name)
            if field.name not in ("source", "seen_at") and None not in (first, second) and first != second:
                yield one[key], field.name, first, second


@pytest.mark.parametrize("place", ["past", "live"])
def test_the_api_and_the_database_tell_the_same(place: str, request: pytest.FixtureRequest):
    site: Site = request.getfixturevalue(place)
    api, database = facts_of(site.told(API, after=LATE)), facts_of(site.told(DATABASE, after=LATE))

    assert unexplained(api, database, API, DATABASE) == []
    for who, facts, others in ((API, api, database), (DATABASE, database, api)):
        alone = {type(fact) for key, fact in facts.items() if key not in others}
        assert alone <= set(ONLY[who]), who
    calls = {key for key in api if key[0] == "model_call"}
    assert calls == {key for key in database if key[0] == "model_call"}
    assert len(calls) > 20


def test_the_database_tells_what_a_tap_heard(live: Site):
    tap, database = facts_of(live.told(TAP)), facts_of(live.told(DATABASE))

    assert unexplained(tap, database, TAP, DATABASE) == []
    calls = {key: fact for key, fact in tap.items() if key[0] == "model_call"}
    assert {key for key, fact in calls.items() if not fact.is_estimate} <= database.keys()


def test_every_row_of_the_table_is_needed(past: Site, live: Site):
    pairs = [
        (API, DATABASE, facts_of(past.told(API)), facts_of(past.told(DATABASE))),
        (TAP, DATABASE, facts_of(live.told(TAP)), facts_of(live.told(DATABASE))),
    ]
    met = {
        (type(fact), field, _apart(one, other))
        for one, other, first, second in pairs
        for fact, field, _, _ in differences(first, second)
    }

    assert {(row.kind, row.field, row.sources) for row in APART} == met


def unexplained(one: Facts, other: Facts, *sources: str) -> list[tuple[Any, ...]]:
    """Differences for which APART has no row."""
    rows = {(row.kind, row.field): row for row in APART if row.sources == frozenset(sources)}
    return [
        (type(fact).table, field, first, second)
        for fact, field, first, second in differences(one, other)
        if (row := rows.get((type(fact), field))) is None or not row.is_so(first, second)
    ]


ORDERS = [
    order
    for once in permutations((TAP, API, DATABASE))
    for order in (once, (*once, once[0]))  # who spoke first speaks once more at the end
]


def test_the_database_knows_every_call_that_happened(live: Site, past: Site):
    for site in (live, past):
        calls = site.told(DATABASE).of(ModelCall).values()

        assert sum(call.tokens or 0 for call in calls) == sum(truth.tokens(site.world, with_debug=True).values())
        priced = Counter[str]()
        for call in calls:
            assert call.cost is not None or not call.tokens
            priced[call.currency or ""] += call.cost or 0  # type: ignore[assignment]
        wanted = {currency: cost for (currency,), cost in truth.costs(site.world, with_debug=True).items()}
        assert {currency: cost for currency, cost in priced.items() if cost} == wanted


@pytest.mark.parametrize("order", ORDERS, ids=" ".join)
def test_whoever_speaks_first_the_ledger_ends_the_same(live: Site, order: tuple[str, ...], ended: Facts):
    """What a tap heard last, the next pass takes up."""
    found = settled(live.told(*order, *([DATABASE] if order[-1] == TAP else [])))

    wrong = {key for key in found.keys() | ended.keys() if found.get(key) != ended.get(key)}
    assert [(found.get(key), ended.get(key)) for key in wrong] == []


@pytest.fixture(scope="module")
def ended(live: Site) -> Facts:
    """The ledger of all three, in one order of many."""
    return settled(live.told(TAP, API, DATABASE))


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), size=st.sampled_from([7, 40, 300]), again=st.floats(0, 0.3))
def test_told_piece_by_piece_in_any_order_it_ends_the_same(
    live: Site, pieces: list[Record], seed: int, size: int, again: float
):
    whole = Shelf()
    whole.put(pieces)
    chance, told = Random(seed), list(pieces)
    told += [record for record in pieces if chance.random() < again]
    chance.shuffle(told)

    mixed = Shelf()
    for start in range(0, len(told), size):
        mixed.put(told[start : start + size])

    assert facts_told(mixed) == facts_told(whole)


@pytest.fixture(scope="module")
def pieces(live: Site) -> list[Record]:
    """Every fact as each of the sources tells it."""
    pulled = [fact for who in (API, DATABASE) for fact in facts_of(live.told(who)).values()]
    return [*pulled, *(record for records in live.heard for record in records)]


def facts_told(store: Shelf) -> Facts:
    return {key: _anonymous(fact) for key, fact in facts_of(store).items()}


def settled(store: Shelf) -> Facts:
    """What must not depend on who spoke last: where the newest telling counts, seconds are all that all tell."""
    found = {key: _anonymous(fact) for key, fact in facts_of(store).items() if not isinstance(fact, DatasetDay)}
    for key, fact in found.items():
        if isinstance(fact, App | Feedback):
            instants = {name: at.replace(microsecond=0) for name in _INSTANTS if (at := getattr(fact, name))}
            found[key] = msgspec.structs.replace(fact, **instants)
    return {key: fact for key, fact in found.items() if not isinstance(fact, Statistic) or fact.number or fact.amount}


_INSTANTS = ("created_at", "updated_at")


def _anonymous(fact: Any) -> Any:
    """Without who told it, and when."""
    return msgspec.structs.replace(fact, source="", seen_at=NOW)
