"""The promises the store keeps, for any tellings in any order: one key one row, blanks, watermarks, estimates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector.records import CONSOLE, SOURCE_RANK, App, ModelCall, Record, Run, Watermark
from collector.store import Store
from tests.builders import NOON, a_call, a_run
from tests.store.emptied import a_store_to_empty

MINUTE = timedelta(minutes=1)
KEYS = ("one", "two")
RUN_COLUMNS = ("status", "user_id", "reported_tokens", "created_at", "leaves_known")
APP_COLUMNS = ("name", "tags", "is_published")

Emptied = Callable[[], Store]

settings.register_profile("store", max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
few = settings(settings.get_profile("store"))


@pytest.fixture(scope="module")
def emptied() -> Iterator[Emptied]:
    with a_store_to_empty() as emptied:
        yield emptied


@st.composite
def told_runs(draw: st.DrawFn) -> Run:
    """A telling of a run: who, when and how final say what its fields hold, if it knows them at all.

    What one source tells differs from minute to minute, and it never returns to what it told before.
    """
    source, is_final, minute = draw(st.sampled_from([*SOURCE_RANK])), draw(st.booleans()), draw(st.integers(0, 3))
    voice = f"{source} {is_final} {minute}"
    return Run(
        id=draw(st.sampled_from(KEYS)),
        source=source,
        seen_at=NOON + minute * MINUTE,
        is_final=is_final,
        status=voice,
        user_id=draw(st.sampled_from([voice, None])),
        reported_tokens=draw(st.sampled_from([SOURCE_RANK[source] * 10 + minute, None])),
        created_at=draw(st.sampled_from([NOON + timedelta(microseconds=SOURCE_RANK[source]), None])),
        leaves_known=draw(st.sampled_from([True, None])),
    )


@st.composite
def told_apps(draw: st.DrawFn) -> App:
    """A telling of an app, which changes over its life."""
    source, minute = draw(st.sampled_from([*SOURCE_RANK])), draw(st.integers(0, 5))
    voice = f"{source} {minute}"
    return App(
        id=draw(st.sampled_from(KEYS)),
        source=source,
        seen_at=NOON + minute * MINUTE,
        name=draw(st.sampled_from([voice, None])),
        tags=draw(st.sampled_from([voice, None])),
        is_published=draw(st.sampled_from([True, None])),
    )


def believed(record: Run | App) -> tuple[object, ...]:
    """The rule in words of its own: what makes one telling outweigh another."""
    if isinstance(record, App):
        return record.seen_at, SOURCE_RANK[record.source]
    return record.is_final, SOURCE_RANK[record.source], record.seen_at


def expected(tellings: Sequence[Run | App], columns: Sequence[str]) -> dict[str, tuple[object, ...]]:
    """Per key and column the value of the most believed telling that knows it."""
    rows = {}
    for key in {record.id for record in tellings}:
        about = sorted((record for record in tellings if record.id == key), key=believed)
        known = [[v for record in about if (v := getattr(record, column)) is not None] for column in columns]
        rows[key] = tuple(values[-1] if values else None for values in known)
    return rows


def kept(store: Store, table: str, columns: Sequence[str]) -> dict[object, tuple[object, ...]]:
    """What the store says, one row a key or it fails."""
    rows = store.rows(f"SELECT id, {', '.join(columns)} FROM {table}")
    assert len({key for key, *_ in rows}) == len(rows)
    return {key: tuple(values) for key, *values in rows}


def put_in_any_batches(draw: Callable[..., object], store: Store, tellings: Sequence[Record]) -> None:
    """Shuffled, some of them again, cut into batches anywhere."""
    again = draw(st.lists(st.sampled_from(tellings), max_size=4))
    order = draw(st.permutations([*tellings, *again]))  # type: ignore[misc]
    cuts = sorted(draw(st.sets(st.integers(0, len(order)))) | {0, len(order)})  # type: ignore[operator, arg-type]
    for start, end in pairwise(cuts):
        store.put(order[start:end])  # type: ignore[index]


@few
@given(st.data(), st.lists(told_runs(), min_size=1, max_size=8))
def test_one_key_one_row_whoever_tells_what_when(emptied: Emptied, data: st.DataObject, tellings: list[Run]):
    store = emptied()
    put_in_any_batches(data.draw, store, tellings)

    assert kept(store, "run", RUN_COLUMNS) == expected(tellings, RUN_COLUMNS)
    sources = {key: max((t for t in tellings if t.id == key), key=believed).source for key in kept(store, "run", ())}
    assert dict(store.rows("SELECT id, source FROM run")) == sources


@few
@given(st.data(), st.lists(told_apps(), min_size=1, max_size=8))
def test_what_changes_keeps_its_newest_values(emptied: Emptied, data: st.DataObject, tellings: list[App]):
    store = emptied()
    put_in_any_batches(data.draw, store, tellings)

    assert kept(store, "app", APP_COLUMNS) == expected(tellings, APP_COLUMNS)


@few
@given(st.lists(told_runs(), min_size=1, max_size=8))
def test_putting_twice_changes_nothing(emptied: Emptied, tellings: list[Run]):
    store = emptied()
    store.put(tellings)
    before = store.rows("SELECT * FROM run ORDER BY id")
    again = store.put(tellings)

    assert (again.new, again.changed) == (0, 0)
    assert store.rows("SELECT * FROM run ORDER BY id") == before


@few
@given(st.lists(told_runs(), min_size=2, max_size=8))
def test_a_value_once_known_is_never_blank_again(emptied: Emptied, tellings: list[Run]):
    store = emptied()
    before: dict[object, tuple[object, ...]] = {}
    for telling in tellings:
        store.put([telling])
        after = kept(store, "run", RUN_COLUMNS)
        for key, values in before.items():
            blanked = [was for was, now in zip(values, after[key], strict=True) if was is not None and now is None]
            assert not blanked
        before = after


@few
@given(st.lists(st.tuples(st.sampled_from(KEYS), st.integers(-9, 9)), min_size=1))
def test_watermarks_never_retreat(emptied: Emptied, steps: list[tuple[str, int]]):
    store = emptied()
    reached: dict[str, datetime] = {}
    for app, minutes in steps:
        at = NOON + minutes * MINUTE
        store.put([], [Watermark(source=CONSOLE, stream="runs", app_id=app, complete_until=at)])
        reached[app] = max(at, reached.get(app, at))

        assert store.watermark(CONSOLE, "runs", app) == reached[app]


TELLING_OF_RUNS: tuple[Run | ModelCall, ...] = tuple(
    record
    for run in ("r1", "r2", "r3")
    for record in (
        a_call(id=run, run_id=run, is_estimate=True),
        a_call(id=f"{run} leaf", run_id=run, created_at=NOON + MINUTE),
        a_call(id=f"{run} silent", run_id=run, tokens=None, input_tokens=None, output_tokens=None),
        a_run(id=run),
        a_run(id=run, leaves_known=True, seen_at=NOON + 9 * MINUTE),
    )
)


@few
@given(st.data(), st.sets(st.sampled_from(range(len(TELLING_OF_RUNS))), min_size=1))
def test_an_estimate_stands_exactly_where_nothing_better_is_known(
    emptied: Emptied, data: st.DataObject, chosen: set[int]
):
    tellings = [TELLING_OF_RUNS[place] for place in chosen]
    store = emptied()
    put_in_any_batches(data.draw, store, tellings)

    calls = [record for record in tellings if isinstance(record, ModelCall)]
    ended = {call.run_id for call in calls if not call.is_estimate and call.tokens is not None}
    ended |= {record.id for record in tellings if isinstance(record, Run) and record.leaves_known}
    wanted = {call.id for call in calls if not (call.is_estimate and call.run_id in ended)}
    assert {key for (key,) in store.rows("SELECT id FROM model_call")} == wanted
