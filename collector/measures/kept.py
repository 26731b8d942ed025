"""What a rollup can say of a measure: the same number, made of rows of the rollup instead of facts.

What comes in are a measure and a rollup; what goes out is how the parts of the measure are worked out from either and
put together, or nothing where only the facts know. A measure is recognised by its fragments, word for word: whoever
changes an entry of the catalogue gets slower answers, never wrong ones. Nothing here runs a query.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

from collector.measures.fragments import Facts, columns_of, conjuncts, qualify
from collector.measures.measure import Kind, Measure
from collector.rollups import ROLLUPS, Level, Rollup, Told

Conditions: TypeAlias = frozenset[str]

BY_DAY = (Level.DAY,)
"""Where bounds are counted."""

_NEVER_BLANK = re.compile(r"coalesce\([\w.]+, 0\)")
_ROLLUPS: dict[Facts, Rollup] = {rollup.record: rollup for rollup in ROLLUPS}


@dataclass(frozen=True)
class Part:
    """One column of the rows that are put together: how facts make it, how a rollup does, and what joins the values."""

    of_facts: str
    of_rollup: str
    joined_by: str = "sum"


@dataclass(frozen=True)
class Parts:
    """A measure in parts. `rows` is the part that counts the facts it is about; `value` is SQL over the joined parts,
    which stand in it as {0}, {1}, ...
    """

    rows: Part
    parts: tuple[Part, ...]
    value: str
    levels: tuple[Level, ...] = tuple(Level)


def rollup_of(facts: Facts) -> Rollup | None:
    """The rollup of a kind of fact, where there is one."""
    return _ROLLUPS.get(facts)


class Kept:
    """What one rollup knows, by fragments."""

    def __init__(self, rollup: Rollup) -> None:
        self._facts = facts = rollup.record
        self._keys = frozenset(rollup.keys)
        self._counts: dict[Conditions, str] = {frozenset(): "facts"}
        self._sums: dict[tuple[str, Conditions], str] = {}
        self._bands: dict[tuple[str, Conditions, tuple[float, ...]], tuple[str, ...]] = {}
        for count in rollup.counted:
            self._counts[_all(count.where, facts)] = count.name
        for total in rollup.summed:
            self._sums[qualify(total.column, facts), _all(total.where, facts)] = total.name
        for spread in rollup.spreads:
            known = _all(spread.known.where, facts)
            self._bands[qualify(spread.column, facts), known, spread.bounds] = spread.bands
            if spread.where:  # it leaves only facts that know the column
                self._counts[_all(spread.where, facts)] = spread.known.name

    def keyed(self, measure: Measure) -> Conditions:
        """What a measure asks of the keys of its rows."""
        return self._apart(conjuncts(measure.where))[0]

    def parts(self, measure: Measure, given: Conditions = frozenset()) -> Parts | None:
        """The measure made of parts, over rows that fulfil what is `given`; None where only facts make it."""
        conditions = conjuncts(measure.where) - given
        if measure.at != f"{self._facts.table}.created_at" or not self.has_keys(measure.joins):
            return None
        rows = self.count(conditions)
        if rows is None:
            return None
        match measure.kind:
            case Kind.COUNT:
                return Parts(rows, (rows,), "CAST(coalesce({0}, 0) AS BIGINT)")
            case Kind.TOTAL:
                return self._total(measure, conditions, rows)
            case Kind.MEAN:
                return self._mean(measure, conditions, rows)
            case Kind.BUCKETS:
                bands = self.bands(measure, given)
                return None if bands is None else Parts(rows, (bands,), "{0}", BY_DAY)
            case Kind.EARLIEST | Kind.LATEST:
                return self._extreme(measure, conditions, rows)
            case _:
                return None

    def count(self, conditions: Conditions) -> Part | None:
        """How many facts fulfil all conditions."""
        keyed, rest = self._apart(conditions)
        name = self._counts.get(rest)
        return (
            None
            if name is None
            else Part(f"count(*){_only(conditions)}", f"sum({self._facts.table}.{name}){_only(keyed)}")
        )

    def has_keys(self, fragments: Iterable[str]) -> bool:
        """Whether SQL speaks of no column that is not a key of the rollup."""
        return all(columns_of(each, self._facts) <= self._keys for each in fragments)

    def _total(self, measure: Measure, conditions: Conditions, rows: Part) -> Parts | None:
        total = self._sum(str(measure.column), conditions)
        zero = "coalesce({0}, CASE WHEN coalesce({1}, 0) = 0 THEN 0 END)"  # of nothing zero, of unknowns unknown
        return None if total is None else Parts(rows, (total, rows), zero)

    def _mean(self, measure: Measure, conditions: Conditions, rows: Part) -> Parts | None:
        column = str(measure.column)
        is_known = frozenset[str]() if _NEVER_BLANK.fullmatch(column) else {f"({column}) IS NOT NULL"}
        total, known = self._sum(column, conditions), self.count(conditions | is_known)
        return None if total is None or known is None else Parts(rows, (total, known), "{0} / nullif({1}, 0)")

    def _sum(self, column: str, conditions: Conditions) -> Part | None:
        keyed, rest = self._apart(conditions - {f"({column}) IS NOT NULL"})
        name = self._sums.get((column, rest))
        return (
            None
            if name is None
            else Part(f"sum({column}){_only(conditions)}", f"sum({self._facts.table}.{name}){_only(keyed)}")
        )

    def bands(self, measure: Measure, given: Conditions = frozenset()) -> Part | None:
        """How many facts lie between the bounds of a measure, over rows that fulfil what is `given`."""
        conditions = conjuncts(measure.where) - given
        keyed, rest = self._apart(conditions)
        column, bounds = str(measure.column), [*measure.bounds]
        names = self._bands.get((column, rest, measure.bounds))
        if names is None:
            return None
        counts = (f"CAST(coalesce(sum({self._facts.table}.{name}){_only(keyed)}, 0) AS BIGINT)" for name in names)
        return Part(
            f"histogram({column}, {bounds}){_only(conditions)}",
            f"map(CAST({bounds} AS DOUBLE[]), [{', '.join(counts)}])",
        )

    def _extreme(self, measure: Measure, conditions: Conditions, rows: Part) -> Parts | None:
        keyed, rest = self._apart(conditions)
        if rest or measure.column != measure.at:
            return None
        pick, name = ("max", "last_at") if measure.kind is Kind.LATEST else ("min", "first_at")
        of_rollup = f"{pick}({self._facts.table}.{name}){_only(keyed)}"
        return Parts(rows, (Part(f"{pick}({measure.column}){_only(conditions)}", of_rollup, pick),), "{0}")

    def _apart(self, conditions: Conditions) -> tuple[Conditions, Conditions]:
        """Conditions about keys, and the others."""
        keyed = frozenset(each for each in conditions if columns_of(each, self._facts) <= self._keys)
        return keyed, conditions - keyed


@cache
def kept_of(rollup: Rollup) -> Kept:
    """What a rollup knows."""
    return Kept(rollup)


def told_of(rollup: Rollup, measure: Measure) -> Told | None:
    """Where the values stand that a measure tells apart; None where only facts know."""
    facts = rollup.record
    if measure.kind is not Kind.DISTINCT or measure.at != f"{facts.table}.created_at":
        return None
    wanted = {
        column for each in (str(measure.column), measure.where, *measure.joins) for column in columns_of(each, facts)
    }
    return next((told for told in rollup.told if wanted <= {*told.keys, told.column}), None)


def _all(conditions: Iterable[str], facts: Facts) -> Conditions:
    return frozenset(qualify(each, facts) for each in conditions)


def _only(conditions: Conditions) -> str:
    if not conditions:
        return ""
    written = " AND ".join(f"({each})" for each in sorted(conditions))
    return f" FILTER (WHERE {written})"
