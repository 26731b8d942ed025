"""A part of a bill for who is bound: what they see of lines is what they see of every table, and parts add up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal

import pytest

from collector.access import Sight
from collector.bill_lines import LINES
from collector.records import App, Dataset
from tests.billing import test_storage
from tests.billing.world import BOOK, PAYERS, World, at, january, told

SIGHTS = [
    Sight(apps=("desk",)),
    Sight(apps=("tool", "flow", "unknown")),
    Sight(workspaces=("w1",)),
    Sight(workspaces=("w2", "w9")),
    Sight(origins=("east",)),
    Sight(origins=("west",)),
    Sight(apps=("desk", "tool"), workspaces=("w1",)),
    Sight(workspaces=("w1", "w2"), origins=("west",)),
]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """January with knowledge bases: desk in w1 of east, tool in w2 of west; k1 in w1 of east, k2 in w2 of west."""
    shelves = test_storage.BOOK.partition("[[discount]]")[0].replace('timezone = "Asia/Shanghai"', "")
    with closing(World([*january(), *test_storage.shelves()], book=BOOK + shelves, payers=PAYERS)) as made:
        for app, workspace, origin in (("desk", "w1", "east"), ("tool", "w2", "west"), ("flow", "w2", "west")):
            made.put(_an_app(app, workspace, origin))
        for base, workspace, origin in (("k1", "w1", "east"), ("k2", "w2", "west")):
            made.put(_a_base(base, workspace, origin))
        yield made


def _an_app(id: str, workspace: str, origin: str) -> App:
    name = id.title()
    return App(id=id, name=name, mode="chat", workspace_id=workspace, origin=origin, source="console", seen_at=at(3, 1))


def _a_base(id: str, workspace: str, origin: str) -> Dataset:
    return Dataset(id=id, name=id, workspace_id=workspace, origin=origin, source="console", seen_at=at(3, 1))


@pytest.mark.parametrize("sight", SIGHTS, ids=str)
def test_what_is_seen_of_a_bill_is_what_is_seen_of_its_table(world: World, sight: Sight):
    part = told(world.bills.lines("2026-01", sight), *LINES.names)
    whole = told(world.bills.lines("2026-01"), *LINES.names)
    assert 0 < len(part) < len(whole)
    assert set(part) < set(whole), "a line is seen as it is, or not at all"
    sql = "SELECT sum(rated_line.amount), count(*) FROM rated_line WHERE period = '2026-01'"
    ((amount, number),) = world.rated.rows(sql, {}, sight)
    assert (amount, number) == (sum(world.bills.lines("2026-01", sight)["amount"].to_pylist()), len(part))
    found = world.bills.statement("2026-01", sight=sight)
    assert sum((each.amount for each in found.totals), Decimal(0)) == amount
    assert found.is_part


def test_the_parts_of_two_apps_and_two_knowledge_bases_are_the_whole(world: World):
    parts = [Sight(apps=("desk",)), Sight(apps=("tool", "flow"))]
    of_models = [each for sight in parts for each in told(world.bills.lines("2026-01", sight), "id")]
    of_all = world.bills.lines("2026-01")
    ids = {row["id"] for row in of_all.to_pylist() if row["dataset_id"] is None}
    assert {id for (id,) in of_models} == ids
    assert len(of_models) == len(ids)
    halves = [Sight(workspaces=("w1",)), Sight(workspaces=("w2",))]
    assert sorted(each for sight in halves for each in told(world.bills.lines("2026-01", sight), "id")) == sorted(
        told(of_all, "id")
    )


def test_what_dify_says_is_that_of_the_part(world: World):
    whole, part = world.bills.statement("2026-01"), world.bills.statement("2026-01", sight=Sight(apps=("tool",)))
    assert (whole.calls, part.calls) == (9, 1)
    assert whole.unpriced
    assert not part.unpriced
