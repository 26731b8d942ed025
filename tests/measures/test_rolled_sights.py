"""Who is bound to apps, workspaces or Difys gets from rollups what their own facts say, and of nobody else's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from typing import Any

import pytest

from collector.access import Sight
from collector.measures.answer import ROLLUPS
from collector.measures.query import Query, run
from collector.measures.sources import State
from collector.period import Grain, Period, zone
from collector.quirks import number
from collector.records import CONSOLE, App, Pull, Record, Release
from collector.rollups import ROLLUPS as ALL_ROLLUPS
from collector.store import Store, open_store
from tests.builders import NOON, an_app
from tests.measures.test_rolled import FIRST, HAPPENED, LAST, MEASURE_OF, MEASURES, facts_of, same

APPS = [
    an_app(id="shop", workspace_id="w1", origin="dify", missing_runs=2),
    an_app(id="desk", workspace_id="w1", origin="dify", mode="chat"),
    an_app(id="helpdesk", workspace_id="w2", origin="lab", mode="advanced-chat", missing_runs=1),
]
ORIGINS = {app.id: app.origin for app in APPS}
SIGHTS = {
    "an app": (Sight(apps=("shop",)), {"shop"}),
    "a workspace": (Sight(workspaces=("w1",)), {"shop", "desk"}),
    "a Dify": (Sight(origins=("lab",)), {"helpdesk"}),
    "nobody's app": (Sight(apps=("nobody's",)), set()),
}
MONTHS_LATER = datetime(2027, 3, 1, tzinfo=UTC)
AGES = {rollup.facts: timedelta(days=30) for rollup in ALL_ROLLUPS}


def happened() -> Iterator[Record]:
    """Facts of every kind over a week, in three apps and in one that nobody knows."""
    chance = Random(7)
    workspaces: dict[str | None, str | None] = {app.id: app.workspace_id for app in APPS}
    for n in range(60):
        told: dict[str, Any] = HAPPENED | {
            "number": n,
            "begun": (chance.randrange(7 * 96), 0),
            "app": chance.choice(["shop", "desk", "helpdesk", "gone"]),
            "status": chance.choice(["succeeded", "failed", "running"]),
            "is_debug": chance.choice([None, False, False, True]),
            "user": chance.choice(["u1", "u2", None]),
        }
        for fact in facts_of(told):
            yield type(fact)(**_fields(fact) | _owned(fact, workspaces))


def _fields(fact: Record) -> dict[str, Any]:
    return {name: getattr(fact, name) for name in fact.__struct_fields__}


def _owned(fact: Record, workspaces: dict[str | None, str | None]) -> dict[str, Any]:
    app = getattr(fact, "app_id", None)
    # Some facts know their workspace, others only their app; conversations have ids that several apps tell.
    found = {"workspace_id": workspaces.get(app)} if "workspace_id" in fact.__struct_fields__ and app == "desk" else {}
    found |= {"origin": origin} if isinstance(fact, Pull) and (origin := ORIGINS.get(app)) else {}
    return found | ({"id": f"{app}/{fact.id}"} if fact.table == "conversation" else {})  # type: ignore[attr-defined]


def releases(workspaces: set[str | None]) -> Iterator[Record]:
    for workspace, version in (("w1", "1.9.2"), ("w2", "1.14.0")):
        if workspace in workspaces:
            told: dict[str, Any] = {"id": workspace, "workspace_id": workspace, "source": CONSOLE, "seen_at": NOON}
            yield Release(
                **told,
                version=version,
                number=number([*map(int, version.split("."))]),
                created_at=FIRST + timedelta(days=2),
            )


def filled(apps: list[App], facts: list[Record]) -> Store:
    """A store of a week, the older facts of which may have gone."""
    store = open_store(":memory:", now=FIRST)
    store.put([*apps, *facts, *releases({app.workspace_id for app in apps})])
    store.settle_rollups(everything=True)
    return store


@pytest.mark.parametrize("gone", [False, True], ids=["all facts", "old facts gone"])
def test_a_bound_key_hears_what_its_own_facts_say(gone: bool):
    chance, facts = Random(11 + gone), list(happened())
    period = Period(FIRST, LAST, zone("Asia/Shanghai"))
    with ExitStack() as stack:
        whole = stack.enter_context(closing(filled(APPS, facts)))
        stores = {name: stack.enter_context(closing(_own(facts, apps))) for name, (_, apps) in SIGHTS.items()}
        for store in (whole, *stores.values()) if gone else ():
            store.retire(AGES, MONTHS_LATER)
        places = set()
        for name in chance.sample(MEASURES, 50):
            measure = MEASURE_OF[name]
            by = chance.sample([each.name for each in measure.by], min(len(measure.by), chance.randrange(3)))
            grain = chance.choice([Grain.NONE, Grain.DAY, Grain.HOUR]) if measure.at else Grain.NONE
            query = Query.of(name, period=period, by=by, grain=grain)
            for whose, (sight, _) in SIGHTS.items():
                bound = run(query, partial(whole.rows, sight=sight))
                own = run(query, stores[whose].rows)
                assert same(bound, own), (whose, name, by, bound.rows, own.rows, bound.flags, own.flags)
                if not gone:
                    assert same(bound, run(query, stores[whose].rows, state=State())), (whose, name, by)
                places.add(bound.read_from)
        assert ROLLUPS in places


def _own(facts: list[Record], apps: set[str]) -> Store:
    """A store that never heard of other apps."""
    return filled([app for app in APPS if app.id in apps], [f for f in facts if getattr(f, "app_id", None) in apps])


def test_how_many_facts_have_gone_is_told_to_each_of_their_own():
    facts = list(happened())
    with closing(filled(APPS, facts)) as store:
        gone = store.retire(AGES, MONTHS_LATER)
        query = Query.of("run_elapsed_p95", period=Period(FIRST, LAST, zone("UTC")))
        told = {
            whose: run(query, partial(store.rows, sight=sight)).flags.get("facts_removed", 0)
            for whose, (sight, _) in SIGHTS.items()
        }
        assert run(query, store.rows).flags["facts_removed"] == gone["run"]

    days = [f for f in facts if f.table == "run" and f.created_at >= FIRST + timedelta(days=1)]  # type: ignore[attr-defined]
    assert told == {whose: sum(f.app_id in apps for f in days) for whose, (_, apps) in SIGHTS.items()}  # type: ignore[attr-defined]
    assert told["an app"] < told["a workspace"] < gone["run"]
