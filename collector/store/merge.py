"""Which telling of a fact is believed, column by column: Arrow tables in, Arrow tables out; no database here.

Every telling weighs a number, and every column keeps the heaviest value that was told:

* most facts: final over unfinished, then a leaf call over an estimate, then the better source (SOURCE_RANK), then
  the later `seen_at`;
* facts that change over their life (`newest_wins`): the later `seen_at`, then the better source;
* facts that cannot change (`first_stays`): the earlier `seen_at`;
* of two tellings that weigh the same, the greater value, so that a redelivery in another order ends the same;
* a blank weighs nothing: it never replaces a value, and any value fills it.

A row remembers in WEIGHTS what its values weigh where they are from several tellings. That makes the rule
associative, commutative and idempotent: tellings may come in any order, in any batches, any number of times. One
limit: a telling that brings only a later `seen_at` is not written, so values that one source told in turns (A, then B,
then A again) must arrive in that order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias
from zlib import crc32

import pyarrow as pa
import pyarrow.compute as pc

from collector.records import SOURCE_RANK
from collector.store.tables import ID_CRC, WEIGHTS, Table

Array: TypeAlias = pa.Array
Columns: TypeAlias = dict[str, pa.Array]

_SEEN_BITS = 56  # microseconds since 1970 until the year 4253
_SOURCES, _RANKS = pa.array(list(SOURCE_RANK)), pa.array(list(SOURCE_RANK.values()), pa.int64())


@dataclass(frozen=True)
class Blend:
    """What stored rows become by new tellings of the same facts, row by row."""

    rows: pa.Table
    is_changed: pa.Array  # it tells something else than before
    is_heavier: pa.Array  # it tells the same, on better authority


def fold(table: Table, rows: pa.Table) -> pa.Table:
    """Tellings, several of one fact among them -> one row a fact, as the store keeps it."""
    crcs = pa.array(list(map(crc32, rows["id"].cast(pa.binary()).to_pylist())), pa.uint32())
    own = [crcs, pa.nulls(len(rows), table.stored_schema.field(WEIGHTS).type)]
    folded = pa.table([*rows.combine_chunks().columns, *own], schema=table.stored_schema)
    while _is_doubled(folded[ID_CRC]) and _is_doubled(folded["id"]):
        first, second, alone = _pairs(folded["id"].to_pylist())
        paired = blend(table, folded.take(first), folded.take(second)).rows
        folded = pa.concat_tables([folded.take(alone), paired]).combine_chunks()
    return folded


def blend(table: Table, stored: pa.Table, told: pa.Table) -> Blend:
    """Stored rows, and folded tellings of the same facts in the same order -> the rows they make together."""
    old, old_weights = _columns(table, stored)
    new, new_weights = _columns(table, told)
    heavier, heaviest, rises = _Paired(pc.greater), _Paired(pc.max_element_wise), _Paired(_authority_rises)
    rows, weights = {"id": old["id"], ID_CRC: old[ID_CRC]}, {}
    is_changed = is_heavier = pa.repeat(False, len(stored))
    for column in table.values:
        was, weighed, says, weighs = old[column], old_weights[column], new[column], new_weights[column]
        if says.null_count == len(says):
            rows[column], weights[column] = was, weighed
            continue
        if was.equals(says):
            rows[column], weights[column] = was, heaviest(weighed, weighs)
        else:
            wins = _wins(was, weighed, says, weighs, heavier(weighs, weighed))
            rows[column], weights[column] = pc.if_else(wins, says, was), pc.if_else(wins, weighs, weighed)
            if column not in ("source", "seen_at"):
                is_changed = pc.or_(is_changed, _differs(was, rows[column]))
        if not table.newest_wins:
            is_heavier = pc.or_(is_heavier, rises(weighed, weights[column]))
    return Blend(_packed(table, rows, weights), is_changed, is_heavier)


def weigh(table: Table, columns: Columns) -> Array:
    """What each telling weighs, one number a row."""
    seen = columns["seen_at"].cast(pa.int64())
    rank = pc.fill_null(_RANKS.take(pc.index_in(columns["source"], value_set=_SOURCES)), 0)
    if table.first_stays:
        return pc.negate(seen)
    if table.newest_wins:
        return pc.add(pc.multiply(seen, len(SOURCE_RANK)), rank)
    if "is_estimate" in columns:
        rank = pc.add(rank, pc.multiply(pc.invert(columns["is_estimate"]).cast(pa.int64()), 4))
    if "is_final" in columns:
        rank = pc.add(rank, pc.multiply(columns["is_final"].cast(pa.int64()), 8))
    return pc.add(pc.shift_left(rank, _SEEN_BITS), seen)


class _Paired:
    """A function of two arrays, asked once for each pair: columns of one telling share one array of weights."""

    def __init__(self, function: Callable[[Array, Array], Array]) -> None:
        self._function = function
        self._known: dict[tuple[int, int], tuple[Array, Array, Array]] = {}

    def __call__(self, one: Array, other: Array) -> Array:
        pair = id(one), id(other)
        if pair not in self._known:
            self._known[pair] = one, other, self._function(one, other)
        return self._known[pair][-1]


def _wins(was: Array, weighed: Array, says: Array, weighs: Array, is_heavier: Array) -> Array:
    """Where the new value takes the old one's place."""
    ties = pc.equal(weighs, weighed)
    greater = pc.and_(ties, pc.fill_null(pc.greater(says, was), False))
    return pc.and_(says.is_valid(), pc.or_(was.is_null(), pc.or_(is_heavier, greater)))


def _differs(before: Array, after: Array) -> Array:
    """Where a column tells something else; values never become blanks."""
    return pc.or_(pc.and_(before.is_null(), after.is_valid()), pc.fill_null(pc.not_equal(before, after), False))


def _authority_rises(before: Array, after: Array) -> Array:
    return pc.greater(pc.shift_right(after, _SEEN_BITS), pc.shift_right(before, _SEEN_BITS))


def _columns(table: Table, rows: pa.Table) -> tuple[Columns, Columns]:
    """Rows as stored -> their columns, and what the values of each column weigh."""
    columns = {column: rows[column].combine_chunks() for column in (*table.columns, ID_CRC)}
    own = weigh(table, columns)
    kept = rows[WEIGHTS].combine_chunks()
    if kept.null_count == len(kept):
        return columns, dict.fromkeys(table.values, own)
    maps = [dict(each or ()) for each in kept.to_pylist()]
    return columns, {
        column: pc.coalesce(pa.array([each.get(column) for each in maps], pa.int64()), own) for column in table.values
    }


def _packed(table: Table, columns: Columns, weights: Columns) -> pa.Table:
    """The other way round: columns and weights -> rows as stored."""
    own = weigh(table, columns)
    differs = _Paired(pc.not_equal)
    maps: dict[int, dict[str, int]] = {}
    for column in table.values:
        if not differs(weights[column], own).true_count:
            continue
        apart = pc.and_(columns[column].is_valid(), differs(weights[column], own))
        places = pc.indices_nonzero(apart).to_pylist()
        for place, weight in zip(places, weights[column].filter(apart).to_pylist(), strict=True):
            maps.setdefault(place, {})[column] = weight
    kept = [list(maps[place].items()) if place in maps else None for place in range(len(own))]
    schema = table.stored_schema
    return pa.table(columns | {WEIGHTS: pa.array(kept, schema.field(WEIGHTS).type)}, schema=schema)


def _is_doubled(keys: pa.ChunkedArray) -> bool:
    return len(pc.unique(keys)) < len(keys)


def _pairs(ids: list[str]) -> tuple[Array, Array, Array]:
    """Places of the rows that make pairs of one id, and of those left over: each round halves what is doubled."""
    waiting: dict[str, int] = {}
    first: list[int] = []
    second: list[int] = []
    for place, key in enumerate(ids):
        if key in waiting:
            first.append(waiting.pop(key))
            second.append(place)
        else:
            waiting[key] = place
    left = list(waiting.values())
    return pa.array(first, pa.int64()), pa.array(second, pa.int64()), pa.array(left, pa.int64())
