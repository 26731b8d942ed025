"""Which telling of a fact is believed, column by column: Arrow tables in, Arrow tables out; no database here.

Every telling weighs a number, and every column keeps the heaviest value that was told:

* most facts: final over unfinished, then a leaf call over an estimate, then the better source (SOURCE_RANK), then
  the later `seen_at`;
* facts that change over their life (`newest_wins`): the later `seen_at`, then the better source;
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

import pyarrow as pa
import pyarrow.compute as pc

from collector.records import SOURCE_RANK
from collector.store.tables import WEIGHTS, Table

Array: TypeAlias = pa.Array
Columns: TypeAlias = dict[str, pa.Array]

_SEEN_BITS = 56  # microseconds since 1970 until the year 4253
_SOURCES, _RANKS = pa.array(list(SOURCE_RANK)), pa.array(list(SOURCE_RANK.values()), pa.int64())
_WEIGHTS_TYPE = pa.map_(pa.string(), pa.int64())


@dataclass(frozen=True)
class Blend:
    """What stored rows become by new tellings of the same facts, row by row."""

    rows: pa.Table
    is_changed: pa.Array  # it tells something else than before
    is_heavier: pa.Array  # it tells the same, on better authority


def fold(table: Table, rows: pa.Table) -> pa.Table:
    """Tellings, several of one fact among them -> one row a fact, with WEIGHTS."""
    folded = rows.combine_chunks().append_column(WEIGHTS, pa.nulls(len(rows), _WEIGHTS_TYPE))
    while pc.count_distinct(folded["id"]).as_py() < len(folded):
        first, second, alone = _pairs(folded["id"].to_pylist())
        paired = blend(table, folded.take(first), folded.take(second)).rows
        folded = pa.concat_tables([folded.take(alone), paired]).combine_chunks()
    return folded


def blend(table: Table, stored: pa.Table, told: pa.Table) -> Blend:
    """Rows with WEIGHTS and tellings of the same facts in the same order -> the rows they make together."""
    old, old_weights = _columns(table, stored)
    new, new_weights = _columns(table, told)
    compared = _once(pc.greater), _once(pc.equal)
    rows, weights, changed, heavier = {"id": old["id"]}, {}, [], []
    for column in table.values:
        wins = _wins(old[column], old_weights[column], new[column], new_weights[column], *compared)
        rows[column] = pc.if_else(wins, new[column], old[column])
        weights[column] = pc.if_else(wins, new_weights[column], old_weights[column])
        if column not in ("source", "seen_at"):
            changed.append(_differs(old[column], rows[column]))
        if not table.newest_wins:
            heavier.append(_authority_rises(old_weights[column], weights[column]))
    return Blend(_packed(table, rows, weights), _any(changed, len(stored)), _any(heavier, len(stored)))


def weigh(table: Table, columns: Columns) -> Array:
    """What each telling weighs, one number a row."""
    seen = columns["seen_at"].cast(pa.int64())
    rank = pc.fill_null(_RANKS.take(pc.index_in(columns["source"], value_set=_SOURCES)), 0)
    if table.newest_wins:
        return pc.add(pc.multiply(seen, len(SOURCE_RANK)), rank)
    if "is_estimate" in columns:
        rank = pc.add(rank, pc.multiply(pc.invert(columns["is_estimate"]).cast(pa.int64()), 4))
    if "is_final" in columns:
        rank = pc.add(rank, pc.multiply(columns["is_final"].cast(pa.int64()), 8))
    return pc.add(pc.shift_left(rank, _SEEN_BITS), seen)


def _wins(old: Array, old_weight: Array, new: Array, new_weight: Array, greater: Compare, equal: Compare) -> Array:
    """Where the new value takes the old one's place."""
    wins = greater(new_weight, old_weight)
    ties = equal(new_weight, old_weight)
    if ties.true_count:
        wins = pc.or_(wins, pc.and_(ties, pc.fill_null(pc.greater(new, old), False)))
    return pc.and_(new.is_valid(), pc.or_(old.is_null(), wins))


Compare: TypeAlias = Callable[[pa.Array, pa.Array], pa.Array]


def _once(compare: Compare) -> Compare:
    """Compare two arrays once only: in rows of one telling all columns share one array of weights."""
    done: dict[tuple[int, int], pa.Array] = {}

    def compared(one: Array, other: Array) -> Array:
        pair = (id(one), id(other))
        if pair not in done:
            done[pair] = compare(one, other)
        return done[pair]

    return compared


def _differs(before: Array, after: Array) -> Array:
    """Where a column tells something else; values never become blanks."""
    return pc.or_(pc.and_(before.is_null(), after.is_valid()), pc.fill_null(pc.not_equal(before, after), False))


def _authority_rises(before: Array, after: Array) -> Array:
    return pc.greater(pc.shift_right(after, _SEEN_BITS), pc.shift_right(before, _SEEN_BITS))


def _any(masks: list[Array], length: int) -> Array:
    found = pa.repeat(False, length)
    for mask in masks:
        found = pc.or_(found, mask)
    return found


def _columns(table: Table, rows: pa.Table) -> tuple[Columns, Columns]:
    """Rows with WEIGHTS -> their columns, and what the values of each column weigh."""
    columns = {column: rows[column].combine_chunks() for column in table.columns}
    own = weigh(table, columns)
    kept = rows[WEIGHTS].combine_chunks()
    if kept.null_count == len(kept):
        return columns, dict.fromkeys(table.values, own)
    maps = [dict(each or ()) for each in kept.to_pylist()]
    return columns, {
        column: pc.coalesce(pa.array([each.get(column) for each in maps], pa.int64()), own) for column in table.values
    }


def _packed(table: Table, columns: Columns, weights: Columns) -> pa.Table:
    """The other way round: columns and weights -> rows with WEIGHTS."""
    own = weigh(table, columns)
    apart = {c: pc.and_(columns[c].is_valid(), pc.not_equal(weights[c], own)) for c in table.values}
    is_mixed = _any(list(apart.values()), len(own))
    kept = pa.nulls(len(own), _WEIGHTS_TYPE)
    if is_mixed.true_count:
        maps: list[dict[str, int]] = [{} for _ in range(len(own))]
        for column, mask in apart.items():
            if mask.true_count:
                places = pc.indices_nonzero(mask).to_pylist()
                for place, weight in zip(places, weights[column].filter(mask).to_pylist(), strict=True):
                    maps[place][column] = weight
        kept = pa.array([list(each.items()) or None for each in maps], _WEIGHTS_TYPE)
    return pa.table([*(columns[c] for c in table.columns), kept], schema=stored_schema(table))


def stored_schema(table: Table) -> pa.Schema:
    """The schema of rows as the store keeps them."""
    return table.arrow_schema.append(pa.field(WEIGHTS, _WEIGHTS_TYPE))


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
