"""The statistics read from rollups: the numbers worked out by hand, whatever of the facts is rolled up already."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from collector.measures.answer import BOTH, ROLLUPS
from collector.records import Record
from collector.store import Store, open_store
from tests.faces.served import asked, served
from tests.faces.worked_out import DAYS, LISTS, LONG_AGO, NEW_YORK, ONE_DAY, SERIES, SHANGHAI, put_early, put_late


class Shelf:
    """A store that takes facts as the stories put them."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def put(self, *facts: Record) -> None:
        self._store.put(facts)


@pytest.fixture(scope="module", params=["all is rolled up", "what came late is not"])
def store(request: Any) -> Iterator[Store]:
    with closing(open_store(":memory:", now=LONG_AGO)) as store:
        put_early(Shelf(store))
        store.settle_rollups(everything=True)
        put_late(Shelf(store))
        if request.param == "all is rolled up":
            store.settle_rollups(everything=True)
        yield store


def near(value: Any) -> Any:
    return pytest.approx(value) if isinstance(value, float) else value


@pytest.mark.parametrize("tz", [SHANGHAI, NEW_YORK])
async def test_every_statistic_says_what_was_worked_out(store: Store, tz: str):
    read_from: dict[str, str] = {}
    async with served(store.rows) as client:
        for path, truth in SERIES.items():
            answer = await asked(client, f"/api/v1/{path}", tz=tz, **DAYS)
            for column, values in truth[tz].items():
                assert [row[column] for row in answer["rows"]] == [near(value) for value in values], (path, column)
            read_from[path] = answer["from"]
        for path, rows in LISTS.items():
            answer = await asked(client, f"/api/v1/{path}", tz=tz, **ONE_DAY)
            told = [{name: row[name] for name in each} for row, each in zip(answer["rows"], rows[tz], strict=True)]
            assert told == [{name: near(value) for name, value in each.items()} for each in rows[tz]], path
            read_from[path] = answer["from"]

    assert {path for path, place in read_from.items() if place not in (ROLLUPS, BOTH)} == ONLY_FACTS_KNOW


ONLY_FACTS_KNOW = {"business/users", "tasks/queue-backlog"}
"""Statistics of which no rollup keeps any part: one by one, or by what stands elsewhere."""
