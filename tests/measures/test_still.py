"""An answer of several statements is of one moment: what is stored between two of them is in the next answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta
from itertools import count

import pytest

from collector.faces.asking import Asker
from collector.faces.rest_models import Asked
from collector.faces.statistics.asking import Wish, answered, is_known, part_of
from collector.faces.statistics.table import STATISTICS
from collector.measures.query import Query, earliest, run
from collector.measures.still import Rows, remembered, still, whole
from collector.period import Period, zone
from collector.records import Watermark
from collector.store import Store, open_store
from tests.builders import NOON, a_call, a_message, a_run, an_app

DAY = timedelta(days=1)
PERIOD = Period(NOON - DAY, NOON + DAY, zone("UTC"))


@pytest.fixture
def store() -> Iterator[Store]:
    with closing(open_store(":memory:", now=NOON)) as opened:
        opened.put([an_app(), a_run(), a_message(), a_call()])
        yield opened


class Busy:
    """A store's rows; a batch is stored before every statement."""

    def __init__(self, store: Store) -> None:
        self._store, self._numbers = store, count()
        self.statements = 0

    def __call__(self, sql: str, parameters: Mapping[str, object] | Sequence[object] = ()) -> list[tuple[object, ...]]:
        return self._read(self._store.rows, sql, parameters)

    @contextmanager
    def still(self) -> Iterator[Rows]:
        with self._store.rows.still() as rows:
            yield lambda sql, parameters=(): self._read(rows, sql, parameters)

    def _read(self, rows: Rows, sql: str, parameters: object) -> list[tuple[object, ...]]:
        self.statements += 1
        for at in (NOON, NOON - 2 * DAY):
            key = f"x{next(self._numbers)}"
            told = {"id": key, "created_at": at, "finished_at": at}
            mark = Watermark(source="console", stream="runs", app_id="shop", complete_until=NOON)
            self._store.put([a_run(**told), a_call(run_id=key, **told), a_message(**told)], [mark])
        return rows(sql, parameters)  # type: ignore[arg-type]


def test_rows_totals_and_what_was_before_are_of_one_moment(store: Store):
    busy = Busy(store)
    query = Query.of("runs,messages,tokens", period=PERIOD, by="app_id", totals=True, compare="previous")
    answer = run(query, busy)
    assert busy.statements > 5
    assert [sum(row["runs"] for row in answer.rows), sum(row["tokens"] for row in answer.rows)] == [1, 100]
    assert answer.totals is not None
    (total,) = answer.totals
    assert (total["runs"], total["messages"], total["runs_before"], total["tokens_before"]) == (1, 1, 0, 0)
    assert answer.watermark is None
    assert run(query, busy).watermark == NOON


def test_without_one_moment_the_numbers_would_run_apart(store: Store):
    busy = Busy(store)
    query = Query.of("runs,messages,tokens", period=PERIOD, by="app_id", totals=True)
    answer = run(query, lambda sql, parameters: busy(sql, parameters))
    assert answer.totals is not None
    assert answer.totals[0]["runs"] > sum(row["runs"] for row in answer.rows)


OF_SEVERAL = [each for each in STATISTICS if each.path in ("business", "apps/{id}/calls", "tasks/queue-backlog")]


@pytest.mark.parametrize("statistic", OF_SEVERAL, ids=lambda statistic: statistic.path)
def test_a_statistic_and_its_parts_are_of_one_moment(store: Store, statistic):
    busy = Busy(store)

    def told() -> list[object]:
        asked = Asked.model_construct(
            measure=[], by=[], where=[], grain=statistic.grain, since="2026-11-19", until="2026-11-22", tz="UTC"
        )
        asked = asked.model_copy(
            update={"order": [], "fill": "none", "compare": "", "limit": None, "top": None, "cursor": ""}
        )
        wish = Wish(asked, frozenset({"since"}), app_id="shop" if statistic.is_of_app else None)
        with Asker(busy, NOON + DAY).still() as asker:
            assert is_known("shop", asker)
            found = [answered(statistic, wish, asker)]
            found += [part_of(statistic, part, wish, asker) for part in statistic.parts]
            return [(answer.rows, answer.watermark) for answer in [*found, answered(statistic, wish, asker)]]

    first = told()
    assert first[0] == first[-1]


def test_what_has_no_moments_is_asked_as_it_is():
    asked = []

    def rows(sql: str, parameters: object) -> list[tuple[object, ...]]:
        asked.append(sql)
        return [(len(asked),)]

    with still(rows) as held:
        assert held is rows
    assert [remembered(rows, "key", lambda rows: (rows("SELECT", ())[0][0], whole("run"))) for _ in range(2)] == [1, 2]


def test_the_oldest_fact_is_looked_for_again_when_there_may_be_an_older_one(store: Store):
    def oldest() -> object:
        with still(store.rows) as rows:
            return earliest(rows)

    assert oldest() == NOON
    store.put([a_run(id="later", created_at=NOON + DAY)])
    assert oldest() == NOON
    store.put([a_run(id="older", created_at=NOON - 3 * DAY)])
    assert oldest() == NOON - 3 * DAY
