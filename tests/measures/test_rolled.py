"""Rollups say what the facts say: of every measure, for any period, zone, step and split, whatever was told when."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from collector.faces.prometheus import Exposition
from collector.measures.answer import ROLLUPS, Answer
from collector.measures.catalogue import CATALOGUE
from collector.measures.query import Query, run
from collector.measures.sources import State
from collector.period import Grain, Period, zone
from collector.quirks import number
from collector.records import CONSOLE, PortalEvent, PortalValue, Pull, Record, Release, Request, Retrieval
from collector.rollups import ROLLUPS as ALL_ROLLUPS
from collector.store import Store, open_store
from tests.builders import NOON, a_call, a_conversation, a_feedback, a_message, a_node, a_run, an_app
from tests.store.emptied import empty

ZONES = ("UTC", "Asia/Shanghai", "Asia/Kathmandu", "America/Havana")
FIRST, LAST = datetime(2026, 10, 29, tzinfo=UTC), datetime(2026, 11, 5, tzinfo=UTC)  # Havana changes clocks
ROLLED = {rollup.record for rollup in ALL_ROLLUPS}
MEASURE_OF = {each.name: each for each in CATALOGUE}
MEASURES = [each.name for each in CATALOGUE if set(each.facts) & ROLLED]

_begun = st.tuples(st.integers(0, 7 * 96 - 1), st.sampled_from([0, 1, 899_999_999, 450_000_000]))
_seconds = st.one_of(st.none(), st.sampled_from([0.0, 0.01, 0.02, 0.5, 3.75, 100.0, 9000.0]))
_tokens = st.one_of(st.none(), st.integers(0, 5000))
happening = st.fixed_dictionaries(
    {
        "number": st.integers(0, 40),
        "begun": _begun,
        "lasts": _seconds,
        "app": st.sampled_from(["shop", "helpdesk", "gone"]),
        "status": st.sampled_from(["succeeded", "failed", "stopped", "running", "stale"]),
        "is_debug": st.sampled_from([None, False, False, False, True]),
        "tokens": _tokens,
        "latency": _seconds,
        "first": _seconds,
        "cost": st.sampled_from([None, Decimal(0), Decimal("0.001"), Decimal("12.5")]),
        "user": st.sampled_from([None, "u1", "u2", "u3"]),
        "seen": st.integers(0, 3),
    }
)
batches = st.lists(st.lists(happening, max_size=6), min_size=1, max_size=5)
# To shrink an example takes minutes: it is shown as it was found.
THOROUGHLY = settings(
    max_examples=12,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def facts_of(told: dict[str, Any]) -> Iterator[Record]:
    """One fact of every kind for each thing that happened."""
    n, at = told["number"], FIRST + timedelta(minutes=15 * told["begun"][0], microseconds=told["begun"][1])
    is_final = told["status"] in ("succeeded", "failed", "stopped")
    end = at + timedelta(seconds=told["lasts"]) if is_final and told["lasts"] is not None else None
    common = {"seen_at": NOON + timedelta(minutes=told["seen"]), "app_id": told["app"], "created_at": at}
    run_ = {"status": told["status"], "is_final": is_final, "finished_at": end, "is_debug": told["is_debug"]}
    user = {"user_id": told["user"], "user_kind": "end_user" if n % 2 else "account"}
    yield a_run(id=f"r{n}", elapsed_seconds=told["lasts"], message_id=f"m{n}", **run_, **user, **common)
    yield a_node(id=f"n{n}", elapsed_seconds=told["latency"], **run_, **common)
    yield a_call(
        id=f"n{n}",
        run_id=f"r{n}",
        message_id=f"m{n}",
        is_vision=[None, True, False][n % 3],
        tokens=told["tokens"],
        output_tokens=told["tokens"],
        cost=told["cost"],
        currency=["USD", "CNY"][n % 2] if told["cost"] is not None else None,
        latency_seconds=told["latency"],
        time_to_first_token_seconds=told["first"],
        **run_,
        **common,
    )
    yield a_call(id=f"r{n}", run_id=f"r{n}", is_estimate=True, tokens=7, **run_, **common)
    yield a_message(
        id=f"m{n}",
        conversation_id=f"c{n % 4}",
        run_id=f"r{n}" if n % 2 else None,
        latency_seconds=told["latency"],
        time_to_first_token_seconds=told["first"],
        reported_input_tokens=told["tokens"],
        reported_output_tokens=told["number"],
        reported_cost=told["cost"],
        invoke_from=[None, "service-api", "debugger"][n % 3],
        **run_,
        **user,
        **common,
    )
    yield a_conversation(id=f"c{n % 4}", **common)
    yield a_feedback(id=f"m{n}/user", message_id=f"m{n}", **common)
    yield Request(
        id=f"q{n}",
        source="tap",
        method="POST",
        route="/v1/chat-messages",
        status_code=[200, 500, None][n % 3],
        duration_seconds=told["latency"],
        run_id=f"r{n}",
        interrupted_by=[None, "client", "upstream"][n % 3],
        **common,
    )
    yield Pull(
        id=f"p{n}",
        source=CONSOLE,
        stream="runs",
        seconds=told["latency"] or 0.0,
        requests=2,
        pages=1,
        records=n,
        parse_failures=n % 2,
        is_complete=bool(n % 2),
        error_class=None if n % 2 else "unavailable",
        **common,
    )
    yield Retrieval(id=f"k{n}", source=CONSOLE, dataset_id="d1", **common)
    portal = {"source": "portal", "event_source": "/ide", "event_type": ["copied", "accepted"][n % 2]}
    portal |= {"user_id": told["user"], "session_id": f"s{n % 3}", **common}
    yield PortalEvent(id=f"e{n}", event_id=str(n), **portal)
    yield PortalValue(id=f"e{n}/lines", name=["lines", "files"][n % 3 // 2], number=float(n), **portal)


@pytest.fixture(scope="session")
def rolling() -> Iterator[Store]:
    """One store for all examples, emptied by each: opening one takes longer than most."""
    store = open_store(":memory:", now=FIRST)
    yield store
    store.close()


@pytest.fixture
def store(rolling: Store) -> Iterator[Store]:
    """An empty store."""
    empty(rolling)
    yield rolling
    empty(rolling)


def both_ways(store: Store, measure: str, **asked: Any) -> tuple[Answer, Answer]:
    query = Query.of(measure, **asked)
    return run(query, store.rows), run(query, store.rows, state=State())


def same(one: Answer, other: Answer) -> bool:
    """Equal, sums of fractions up to their last digits."""

    def alike(a: object, b: object) -> bool:
        return a == pytest.approx(b, rel=1e-9, abs=1e-12) if isinstance(a, float) else a == b and type(a) is type(b)

    parts = [(one.rows, other.rows), (one.totals or [], other.totals or []), (one.other or [], other.other or [])]
    return (
        (one.flags, one.compared) == (other.flags, other.compared)
        and all(len(a) == len(b) for a, b in parts)
        and all(
            a.keys() == b.keys() and all(alike(a[key], b[key]) for key in a)
            for rows in parts
            for a, b in zip(*rows, strict=True)
        )
    )


@THOROUGHLY
@given(
    told=batches,
    settled=st.sampled_from(["all", "quiet", "before the last"]),
    tz=st.sampled_from(ZONES),
    grain=st.sampled_from(Grain),
    since=st.sampled_from([timedelta(), timedelta(hours=5), timedelta(days=1, minutes=7), timedelta(seconds=1)]),
    moment=st.sampled_from(["created", "finished"]),
    version=st.sampled_from([None, "1.9.2", "1.14.0"]),
    choice=st.randoms(use_true_random=False),
)
def test_rollups_say_what_the_facts_say(store, told, settled, tz, grain, since, moment, version, choice):
    empty(store)
    store.put([an_app(id="shop", workspace_id="w1", tags="beta,new"), an_app(id="helpdesk", mode="advanced-chat")])
    if version:
        met = {"id": version, "source": CONSOLE, "seen_at": NOON, "created_at": FIRST + timedelta(days=2)}
        store.put([Release(version=version, number=number([*map(int, version.split("."))]), **met)])
    for place, batch in enumerate(told):
        if settled == "before the last" and place == len(told) - 1:
            store.settle_rollups(everything=True)
        store.put([fact for each in batch for fact in facts_of(each)])
    if settled == "quiet":
        store.settle_rollups()
        store.settle_rollups()
    elif settled == "all":
        store.settle_rollups(everything=True)
    period = Period(FIRST + since, LAST - since / 2, zone(tz))

    for name in choice.sample(MEASURES, 12):
        measure = MEASURE_OF[name]
        dimensions = [each.name for each in measure.by]
        by = choice.sample(dimensions, min(len(dimensions), choice.randrange(3)))
        of = [written for name in dimensions for written in FILTERS.get(name, ())]
        where = choice.sample(of, min(len(of), choice.randrange(3)))
        steps = grain if measure.at else Grain.NONE
        asked = wished(choice, by, measure.holds is not float and measure.adds_up) | {
            "where": where,
            "period": period,
            "grain": steps,
            "by": by,
            "moment": moment,
        }
        rolled, plain = both_ways(store, name, **asked)
        assert same(rolled, plain), (name, asked, rolled, plain)


FILTERS = {
    "app_id": ("app_id:shop", "!app_id:gone,helpdesk", "app_id^s", "app_id~E"),
    "app_tag": ("app_tag:beta", "!app_tag:beta", "app_tag:"),
    "app_name": ("app_name~Shop", "!app_name:"),
    "status": ("status:failed", "!status^s"),
    "status_code": ("status_code>=400", "status_code:"),
    "is_debug": ("is_debug:true", "!is_debug:false"),
    "currency": ("currency:USD",),
    "user_id": ("user:u1", "!user^u", "user_id:"),
    "event_type": ("event_type~copied",),
}
"""Some of each kind, by the dimension they need."""


def wished(choice: Random, by: list[str], is_exact: bool) -> dict[str, Any]:
    """What a question may ask beside."""
    found: dict[str, Any] = {}
    if choice.random() < 0.3:
        found |= {"compare": choice.choice(["previous", "last_week", "last_month"])}
    if choice.random() < 0.3:
        found |= {"totals": True}
    if by and is_exact and choice.random() < 0.5:  # of fractions two sums of one size may differ in the last digit
        found |= {"top": choice.randrange(1, 3), "other": choice.random() < 0.5}
    if choice.random() < 0.3:
        found |= {"fill": choice.choice(["zero", "null"])}
    if choice.random() < 0.2:
        found |= {"limit": choice.randrange(1, 4)}
    return found | {"include_debug": choice.random() < 0.3}


ONLY_FACTS_KNOW = {
    *(each.name for each in CATALOGUE if each.kind == "quantile"),
    # instants within a step
    *("active_days", "request_rate_peak"),
    # what stands in other tables beside
    *("requests", "request_rate", "dify_satisfaction", "dify_session_interactions", "dify_run_users"),
}
"""Measures that no rollup keeps, by choice. A name that is missing here was made slow by a change of its fragments."""


def test_a_measure_comes_from_rollups_unless_it_is_named_here(store):
    store.put(facts_of(HAPPENED))
    store.settle_rollups(everything=True)
    period = Period(FIRST, LAST, zone("UTC"))

    found = {name: both_ways(store, name, period=period) for name in MEASURES if set(MEASURE_OF[name].facts) <= ROLLED}

    assert {name for name, (rolled, _) in found.items() if rolled.read_from != ROLLUPS} == ONLY_FACTS_KNOW
    assert all(same(rolled, plain) for rolled, plain in found.values())


HAPPENED: dict[str, Any] = {
    "number": 1,
    "begun": (10, 0),
    "lasts": 2.0,
    "app": "shop",
    "status": "succeeded",
    "is_debug": False,
    "tokens": 10,
    "latency": 1.0,
    "first": 0.5,
    "cost": Decimal(1),
    "user": "u1",
    "seen": 0,
}


@THOROUGHLY
@given(
    told=batches,
    is_settled=st.booleans(),
    has_odd=st.booleans(),
    since=st.sampled_from([FIRST, FIRST + timedelta(days=1, hours=3)]),
)
def test_a_scrape_says_what_the_facts_say(store, told, is_settled, has_odd, since):
    empty(store)
    store.put([an_app(id="shop", workspace_id="w1"), an_app(id="helpdesk", mode="chat")])
    for batch in told:
        store.put([fact for each in batch for fact in facts_of(each)])
        store.settle_rollups(everything=is_settled)
    if has_odd:
        odd = {"finished_at": FIRST + timedelta(days=2), "elapsed_seconds": 3.0}
        store.put([a_run(id="undated", created_at=None, **odd)])
        store.put([a_run(id="old", created_at=datetime(1969, 12, 31, tzinfo=UTC), **odd)])

    def facts_only(sql: str, parameters: Any) -> list[tuple[object, ...]]:
        return [] if "rollup_kept" in sql else store.rows(sql, parameters)

    now = FIRST + timedelta(days=3, hours=5)
    rolled, plain = (series(Exposition(r, clock=lambda: now, counting_since=since)) for r in (store.rows, facts_only))

    assert rolled.keys() == plain.keys()
    assert {name: rolled[name] for name in rolled if rolled[name] != pytest.approx(plain[name], rel=1e-9)} == {}


def series(exposition: Exposition) -> dict[str, float]:
    lines = exposition.text("")[0].decode().splitlines()
    return {name: float(value) for line in lines if line[0] != "#" for name, _, value in [line.rpartition(" ")]}
