"""Query -> SQL: one statement per table the query needs, with everything a user wrote as a bound parameter.

What comes in is a Query; what goes out are Statements for DuckDB. The texts are made of fragments of the catalogue and
of nothing else. Nothing here runs them.

Steps are arithmetic on UTC microseconds: the period tells how far its zone is from UTC and when that changes, so no
database needs to know a time zone. A day comes back as its local date, a shorter step as its number since 1970.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from collector.measures.answer import FACTS, ROLLUPS
from collector.measures.ask import Moment, Query
from collector.measures.by_call import IS_DEBUG
from collector.measures.dimension import Dimension
from collector.measures.filters import Filter, Match
from collector.measures.flags import Flag
from collector.measures.fragments import LOCAL_DAY, Facts, has_column
from collector.measures.in_common import in_common
from collector.measures.measure import DERIVED, INSTANT, Kind, Measure
from collector.measures.spans import Spans
from collector.period import FIXED_STEPS, Grain
from collector.rollups import ROLLUPS as ALL_ROLLUPS
from collector.rollups import Level

MOST_GROUPS = 200_000
"""More groups than this are not fetched: nobody reads them, and a small machine could not hold them."""

_MICROSECOND = timedelta(microseconds=1)
_READ = re.compile(r"\b(?:FROM|JOIN) (\w+)")
_TABLES = {rollup.facts for rollup in ALL_ROLLUPS}
_ROLLED = {
    rollup.table(level, told): rollup.facts
    for rollup in ALL_ROLLUPS
    for level in Level
    for told in (None, *rollup.told)
}


@dataclass(frozen=True)
class Statement:
    """SQL with its named parameters, and what its columns are.

    In order: the step if the query has a grain, its dimensions, one column per tuple of `measures` (several quantiles
    share one, as a list), one count per flag; of a statement without measures one row of counts alone. `reads` says of
    which tables it reads facts themselves, and from when on until when; `is_rolled` whether it reads rollups too.
    """

    sql: str
    parameters: dict[str, object]
    measures: tuple[tuple[Measure, ...], ...]
    flags: tuple[Flag, ...] = ()
    reads: Mapping[str, Spans] = field(default_factory=dict)
    is_rolled: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether every number of its rows is the value of one measure."""
        return all(len(cell) == 1 and cell[0].kind is not Kind.BUCKETS for cell in self.measures)

    @property
    def places(self) -> frozenset[str]:
        """Where it reads: FACTS, ROLLUPS or both of them."""
        reads_facts = not self.is_rolled or any(self.reads.values())
        return frozenset(([FACTS] if reads_facts else []) + ([ROLLUPS] if self.is_rolled else []))


@dataclass(frozen=True)
class Tables:
    """The measures a database works out, by what they have in common."""

    facts: list[tuple[Facts, list[Measure]]]  # of one table, at one instant
    looks: list[tuple[Facts, list[Measure]]]
    unions: list[Measure]
    flags: tuple[Flag, ...]


def in_tables(query: Query) -> Tables:
    """What the query needs, by table."""
    tables: dict[tuple[Facts, str | None], list[Measure]] = {}
    looks: dict[tuple[Facts, str | None], list[Measure]] = {}
    unions = []
    for measure in leaves(query.measures):
        if measure.record is None:
            unions.append(measure)
        elif measure.kind is Kind.SNAPSHOT:
            looks.setdefault((measure.record, measure.key), []).append(measure)
        else:
            tables.setdefault((measure.record, measure.at), []).append(measure)
    flags = tuple(dict.fromkeys(flag for measure in query.measures for flag in measure.flags))
    return Tables(
        [(facts, measures) for (facts, _), measures in tables.items()],
        [(facts, measures) for (facts, _), measures in looks.items()],
        unions,
        flags,
    )


def leaves(measures: Iterable[Measure]) -> tuple[Measure, ...]:
    """The measures a database works out; ratios and rates are worked out from these."""
    found: list[Measure] = []
    for measure in measures:
        found += leaves(measure.parts) if measure.kind in DERIVED else (measure,)
    return tuple(dict.fromkeys(found))


@dataclass
class Scan:
    """The rows of one table that a query is about: keys, joins, conditions, and the parameters they bind."""

    facts: Facts
    query: Query
    at: str | None
    joins: dict[str, None] = field(default_factory=dict)
    parameters: dict[str, object] = field(default_factory=dict)

    def keys(self) -> list[str]:
        """The step and the dimensions, named."""
        found = [f"{self._step()} AS step"] if self.query.grain is not Grain.NONE else []
        return [*found, *(f"{self._column(dimension)} AS {dimension.name}" for dimension in self.query.by)]

    def conditions(self, measures: Sequence[Measure]) -> list[str]:
        """What a row must fulfil to matter to any of the measures."""
        for measure in measures:
            self.join(measure.joins)
        # What has no instant is of now; its condition may speak of the period all the same.
        bounds = self._in_period() if self.at or any("$since" in each.where for each in measures) else []
        found = (bounds if self.at else []) + self.asked()
        wheres = list(dict.fromkeys(measure.where for measure in measures))
        if "TRUE" not in wheres:
            found.append(" OR ".join(f"({where})" for where in wheres) if len(wheres) > 1 else wheres[0])
        return bracketed(found)

    def asked(self) -> list[str]:
        """What the query says about rows, other than when."""
        found = [self._filter(place, each) for place, each in enumerate(self.query.where)]
        if self.facts in IS_DEBUG.columns and not self.query.wants_debug:
            found.insert(0, f"{self._column(IS_DEBUG)} IS NOT TRUE")
        return found

    def select(self, columns: Sequence[str], conditions: Sequence[str], source: str | None = None) -> str:
        """The statement, without grouping; `source` is a table that stands in for that of the facts."""
        origin = f"{source} AS {self.facts.table}" if source else self.facts.table
        lines = ["SELECT\n  " + ",\n  ".join(columns), f"FROM {origin}", *self.joins]
        if conditions:
            lines.append("WHERE " + "\n  AND ".join(conditions))
        return "\n".join(lines)

    @property
    def period(self) -> Spans:
        """When its rows must have happened; nothing where they have no instant."""
        return ((self.query.period.start, self.query.period.end),) if self.at else ()

    def _in_period(self) -> list[str]:
        period, began = self.query.period, f"{self.facts.table}.created_at"
        found = [
            f"{self.at} >= {self.bind('since', period.start)}",
            f"{self.at} < {self.bind('until', period.end)}",
        ]
        if self.query.began_from:
            found.append(f"{began} >= {self.bind('began_from', self.query.began_from)}")
        if self.query.began_before:
            found.append(f"({began} < {self.bind('began_before', self.query.began_before)} OR {began} IS NULL)")
        return found

    def _step(self) -> str:
        grain = self.query.grain
        if grain in FIXED_STEPS:
            return f"epoch_us({self.at}) // {FIXED_STEPS[grain] // _MICROSECOND}"
        local = self._local()
        return f"CAST({local} AS DATE)" if grain is Grain.DAY else f"CAST(date_trunc('{grain}', {local}) AS DATE)"

    def expression(self, column: str | None) -> str:
        """A column, which may be the local day."""
        return f"CAST({self._local()} AS DATE)" if column == LOCAL_DAY else str(column)

    def _local(self) -> str:
        return f"make_timestamp(epoch_us({self.at}) + {self._offset()})"

    def _offset(self) -> str:
        offsets = self.query.period.offsets()
        ahead = [self.bind(f"offset_{n}", distance // _MICROSECOND) for n, (_, distance) in enumerate(offsets)]
        changes = [self.bind(f"change_{n}", since) for n, (since, _) in enumerate(offsets[1:])]
        cases = [f"WHEN {self.at} < {change} THEN {before}" for before, change in zip(ahead, changes, strict=False)]
        return f"CASE {' '.join(cases)} ELSE {ahead[-1]} END" if cases else ahead[-1]

    def _filter(self, place: int, each: Filter) -> str:
        known = [value for value in each.values if value is not None]
        binds = [self.bind(f"where_{place}_{n}", value) for n, value in enumerate(known)]
        members = each.dimension.members
        if members is None:
            column = self._column(each.dimension)
            tests = [_matched(column, each.match, binds)] if known else []
            tests += [f"{column} IS NULL"] if None in each.values else []
        else:  # of who has several values none may be counted twice
            owner, all_of_them = members.owners[self.facts], f"SELECT owner FROM ({members.table}) AS members"
            tests = [f"{owner} IN ({all_of_them} WHERE {_matched('value', each.match, binds)})"] if known else []
            tests += [f"({owner} IN ({all_of_them})) IS NOT TRUE"] if None in each.values else []
        test = " OR ".join(tests)
        return f"({test}) IS NOT TRUE" if each.is_negated else test

    def _column(self, dimension: Dimension) -> str:
        self.join(dimension.joins.get(self.facts, ()))
        return dimension.columns[self.facts]

    def join(self, joins: Iterable[str]) -> None:
        """Have these tables beside."""
        self.joins.update(dict.fromkeys(joins))

    def bind(self, name: str, value: object) -> str:
        """A parameter of that name; how SQL speaks of it."""
        self.parameters[name] = value
        return f"${name}"


def _matched(column: str, match: Match, binds: Sequence[str]) -> str:
    match match:
        case Match.IN:
            return f"{column} IN ({', '.join(binds)})"
        case Match.PREFIX:
            return " OR ".join(f"starts_with({column}, {bind})" for bind in binds)
        case Match.CONTAINS:
            return " OR ".join(f"contains(lower({column}), lower({bind}))" for bind in binds)
        case Match.MATCHES:
            return " OR ".join(f"regexp_full_match(coalesce({column}, ''), {bind})" for bind in binds)
        case _:
            return " AND ".join(f"{column} {match} {bind}" for bind in binds)


def over_table(facts: Facts, measures: Sequence[Measure], all_flags: Sequence[Flag], query: Query) -> Statement:
    rows = Scan(facts, query, instant_of(facts, measures[0].at, query))
    flags = tuple(flag for flag in all_flags if flag.record is facts)
    common, asked = in_common(tuple(measures))
    keys, conditions = rows.keys(), rows.conditions(asked)
    is_filtered = len({measure.where for measure in asked}) > 1
    cells = _cells(measures)
    own = dict(zip(measures, asked, strict=True))
    columns = [
        *keys,
        *(f"{_aggregate([own[each] for each in cell], is_filtered, bool(keys))} AS {_name(cell)}" for cell in cells),
        *(f"count(*) FILTER (WHERE {flag.where}) AS flag_{flag.name}" for flag in flags),
    ]
    sql = grouped(rows.select(columns, [*conditions, *bracketed(common)]), len(keys))
    return Statement(sql, rows.parameters, cells, flags, read_by(sql, {facts.table: rows.period}, query))


def over_looks(facts: Facts, measures: Sequence[Measure], query: Query) -> Statement:
    """The last look at each thing in each step, then the sum over things."""
    rows = Scan(facts, query, measures[0].at)
    keys, conditions = rows.keys(), rows.conditions(measures)
    step = ["step"] if query.grain is not Grain.NONE else []
    within = ", ".join([*([keys[0].removesuffix(" AS step")] if step else []), str(measures[0].key)])
    latest = f"row_number() OVER (PARTITION BY {within} ORDER BY {rows.at} DESC, {facts.table}.id DESC) AS place"
    cells = [f"CASE WHEN {measure.where} THEN {measure.column} END AS {measure.name}" for measure in measures]
    inner = rows.select([*keys, *cells, latest], conditions).replace("\n", "\n  ")
    names = key_names(query)
    whole = [f"{'min' if each.unit == INSTANT else 'sum'}({each.name}) AS {each.name}" for each in measures]
    columns = ",\n  ".join([*names, *whole])
    sql = grouped(f"SELECT\n  {columns}\nFROM (\n  {inner}\n) AS looks\nWHERE place = 1", len(keys))
    cells_of = tuple((measure,) for measure in measures)
    return Statement(sql, rows.parameters, cells_of, reads=read_by(sql, {facts.table: rows.period}, query))


_OF_UNION = {
    Kind.COUNT: "coalesce(sum(value), 0)",
    Kind.DISTINCT: "count(DISTINCT value)",
    Kind.PEAK: "coalesce(max(value), 0)",
    Kind.EARLIEST: "min(value)",
    Kind.LATEST: "max(value)",
}
"""How the values of several tables become one."""


def part_of_union(measure: Measure, part: Measure, query: Query, parameters: dict[str, object]) -> tuple[str, Spans]:
    """What one part of a union says of the facts, as `put_together` wants it, and when those happened."""
    (facts,) = part.facts
    rows = Scan(facts, query, instant_of(facts, part.at, query), parameters=parameters)
    keys, conditions = rows.keys(), rows.conditions([part])
    if measure.kind is Kind.DISTINCT:
        return rows.select([*keys, f"{rows.expression(part.column)} AS value"], conditions), rows.period
    if measure.kind is Kind.PEAK:
        return rows.select([*keys, f"epoch_us({rows.at}) // 1000000 AS second"], conditions), rows.period
    counted = rows.select([*keys, f"{_aggregate((part,), False, bool(keys))} AS value"], conditions)
    return grouped(counted, len(keys), limit=None), rows.period


def put_together(measure: Measure, selects: Sequence[str], query: Query) -> str:
    """One measure over the rows of several statements, each of which has the keys and a `value` (or a `second`)."""
    names = key_names(query)
    inner = "\nUNION ALL\n".join(selects).replace("\n", "\n  ")
    if measure.kind is Kind.PEAK:
        seconds = f"SELECT {', '.join([*names, 'count(*) AS value'])}\nFROM (\n  {inner}\n) AS facts"
        inner = f"{seconds}\nGROUP BY {', '.join([*names, 'second'])}".replace("\n", "\n  ")
    columns = ",\n  ".join([*names, f"{_OF_UNION[measure.kind]} AS {measure.name}"])
    return grouped(f"SELECT\n  {columns}\nFROM (\n  {inner}\n) AS facts", len(names))


def read_by(sql: str, own: Mapping[str, Spans], query: Query) -> dict[str, Spans]:
    """From when to when a statement reads facts: its `own`, and those that it joins or looks up, which lie near."""
    near: Spans = ((query.period.start - Level.DAY.length, query.period.end + Level.DAY.length),)
    others = {table for table in _READ.findall(sql) if table in _TABLES}
    return {**dict.fromkeys(sorted(others), near), **own}


def tables_read(sql: str) -> set[str]:
    """The tables of a statement; those of a rollup under the name of its facts."""
    return {_ROLLED.get(table, table) for table in _READ.findall(sql)}


def key_names(query: Query) -> list[str]:
    """The columns of a statement that tell its rows apart."""
    return [*(("step",) if query.grain is not Grain.NONE else ()), *(dimension.name for dimension in query.by)]


def bracketed(conditions: Iterable[str]) -> list[str]:
    """Conditions that may stand between AND and AND."""
    return [f"({each})" if " OR " in each else each for each in conditions]


def instant_of(facts: Facts, at: str | None, query: Query) -> str | None:
    if at is not None and query.moment is Moment.FINISHED and has_column(facts, "finished_at"):
        return f"coalesce({facts.table}.finished_at, {at})"
    return at


def _cells(measures: Sequence[Measure]) -> tuple[tuple[Measure, ...], ...]:
    """Measures by the column of SQL they share: quantiles of one thing are sorted once."""
    found: dict[object, tuple[Measure, ...]] = {}
    for measure in measures:
        shared = (measure.family, measure.column, measure.where) if measure.kind is Kind.QUANTILE else measure.name
        found[shared] = (*found.get(shared, ()), measure)
    return tuple(found.values())


def _name(cell: Sequence[Measure]) -> str:
    return cell[0].name if len(cell) == 1 else f"{cell[0].family}_quantiles"


def _aggregate(cell: Sequence[Measure], is_filtered: bool, is_grouped: bool) -> str:
    measure = cell[0]
    only = f" FILTER (WHERE {measure.where})" if is_filtered and measure.where != "TRUE" else ""
    match measure.kind:
        case Kind.COUNT:
            return f"count(*){only}"
        case Kind.TOTAL if only or not is_grouped:  # of no rows the sum is zero; of rows that know nothing, unknown
            return f"coalesce(sum({measure.column}){only}, CASE WHEN count(*){only} = 0 THEN 0 END)"
        case Kind.TOTAL:
            return f"sum({measure.column})"
        case Kind.DISTINCT:
            return f"count(DISTINCT {measure.column}){only}"
        case Kind.MEAN:
            return f"avg({measure.column}){only}"
        case Kind.BUCKETS:
            return f"histogram({measure.column}, {[*measure.bounds]}){only}"
        case Kind.QUANTILE:
            ranks = ", ".join(str(each.quantile) for each in cell)
            wanted = ranks if len(cell) == 1 else f"[{ranks}]"  # a list of ranks gives a list, even of one
            return f"quantile_cont({measure.column}, {wanted}){only}"
        case Kind.LATEST:
            return f"max({measure.column}){only}"
        case _:
            return f"min({measure.column}){only}"


def grouped(select: str, keys: int, limit: int | None = MOST_GROUPS + 1, having: str | None = None) -> str:
    """A statement whose first columns are its keys, grouped by them; without keys it is one row."""
    if not keys:
        return select
    sql = f"{select}\nGROUP BY {', '.join(str(place + 1) for place in range(keys))}"
    sql += f"\nHAVING {having}" if having else ""
    return sql if limit is None else f"{sql}\nLIMIT {limit}"
