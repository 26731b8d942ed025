"""Query -> SQL that reads rollups where they say exactly what the facts say, and the facts for the rest.

What comes in are a Query and what the store says about its rollups; what goes out are the same Statements as of
`collector.measures.sql`, with the same rows, sooner. Every statement is one reading of the store, so a batch that is
stored meanwhile is in it whole or not at all. Percentiles always come from the facts: a rollup could only guess them.
Nothing here runs a query.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from collector.measures.ask import Moment, Query
from collector.measures.flags import Flag
from collector.measures.fragments import Facts, columns_of, conjuncts
from collector.measures.kept import BY_DAY, Conditions, Kept, Part, kept_of, rollup_of, told_of
from collector.measures.measure import Kind, Measure
from collector.measures.sources import Source, State, sources
from collector.measures.spans import ROLLED, Spans, together
from collector.measures.sql import (
    Scan,
    Statement,
    bracketed,
    grouped,
    in_tables,
    instant_of,
    key_names,
    over_looks,
    over_table,
    part_of_union,
    put_together,
    read_by,
)
from collector.rollups import BEGINNING, Level, Rollup, Told


def compile_rolled(query: Query, state: State) -> list[Statement]:
    """The statements whose rows, put together by step and dimensions, answer the query."""
    tables = in_tables(query)
    flags = [flag for flag in tables.flags if state.may_be(flag)]
    return [
        *(each for facts, measures in tables.facts for each in _table(facts, measures, flags, query, state)),
        *(over_looks(facts, measures, query) for facts, measures in tables.looks),
        *(_union(measure, query, state) for measure in tables.unions),
    ]


@dataclass
class Pieces:
    """The sources of one table as SELECTs, with the parameters they bind."""

    rollup: Rollup
    query: Query
    told: Told | None = None
    parameters: dict[str, object] = field(default_factory=dict)
    reads: Spans = ()
    bound: int = 0

    @property
    def facts(self) -> Facts:
        """Whose rows these are."""
        return self.rollup.record

    def serves(self, joins: Iterable[str] = ()) -> bool:
        """Whether the rollup has every column that the query splits and filters by."""
        scan = Scan(self.facts, self.query, self.at)
        scan.join(joins)
        asked = [*self._dimensions(scan), *scan.asked(), *scan.joins]
        keys = {*self.told.keys, self.told.column} if self.told else set(self.rollup.keys)
        return all(columns_of(each, self.facts) <= keys for each in asked)

    @property
    def at(self) -> str:
        """The instant that puts a row into a step."""
        return instant_of(self.facts, f"{self.facts.table}.created_at", self.query) or ""

    def select(
        self, source: Source, joins: Iterable[str], conditions: Sequence[str], columns: Callable[[bool], list[str]]
    ) -> str:
        """The rows of one source; `columns` says what is wanted, told whether of facts."""
        scan = Scan(self.facts, self.query, self.at, parameters=self.parameters)
        keys = scan.keys()
        scan.join(joins)
        where = [*self._within(source, scan), *scan.asked(), *conditions]
        if source.level is None:
            read = [span for began, ended in source.pieces if ended is None for span in began]
            self.reads = together((*self.reads, *read))
        table = self.rollup.table(source.level, self.told) if source.level else None
        return scan.select([*keys, *columns(source.level is None)], bracketed(where), table)

    def _dimensions(self, scan: Scan) -> list[str]:
        return scan.keys()[len(key_names(self.query)) - len(self.query.by) :]

    def _within(self, source: Source, scan: Scan) -> list[str]:
        found = [self._in_piece(source.level, *piece, scan) for piece in source.pieces]
        if len(found) == 1:
            return found[0]
        return [" OR ".join(f"({' AND '.join(bracketed(piece))})" for piece in found)]

    def _in_piece(self, level: Level | None, began: Spans, ended: Spans | None, scan: Scan) -> list[str]:
        start, end = f"{self.facts.table}.created_at", f"{self.facts.table}.finished_at"
        if ended is None:
            return [self._in_spans(start, began, scan)]
        if level is not None:
            when = [] if began == ROLLED else [self._in_spans(start, began, scan)]
            return [*when, self._in_spans(end, ended, scan)]
        # Spelled so that the store can leave out what lies elsewhere.
        when_ended = (
            f"({self._in_spans(end, ended, scan)}) OR ({end} IS NULL AND ({self._in_spans(start, ended, scan)}))"
        )
        if not began:
            return [f"{start} IS NULL OR {start} < {scan.bind('beginning', BEGINNING)}", when_ended]
        return [self._in_spans(start, began, scan), when_ended]

    def _in_spans(self, column: str, spans: Spans, scan: Scan) -> str:
        found = []
        for start, end in spans:
            self.bound += 1
            low, high = scan.bind(f"from_{self.bound}", start), scan.bind(f"to_{self.bound}", end)
            found.append(f"{column} >= {low} AND {column} < {high}")
        return " OR ".join(f"({each})" for each in found) if len(found) > 1 else found[0]


def _table(
    facts: Facts, measures: list[Measure], all_flags: Sequence[Flag], query: Query, state: State
) -> list[Statement]:
    """The statements for the measures of one table: what its rollup knows from there, the rest from the facts."""
    rollup = rollup_of(facts)
    if rollup is None or rollup.facts not in state.kept:
        return [over_table(facts, measures, all_flags, query)]
    kept, flags = kept_of(rollup), [flag for flag in all_flags if flag.record is facts]
    counted = _flag_parts(kept, flags, measures)
    if counted is None:  # whatever a flag counts it counts over the rows of all measures
        return [over_table(facts, measures, all_flags, query)]
    found: list[Statement] = []
    by_levels: dict[tuple[Level, ...], list[Measure]] = {}
    left: list[Measure] = []
    for measure in measures:
        told, parts = told_of(rollup, measure), kept.parts(measure)
        if told and (statement := _distinct(measure, rollup, told, query, state)):
            found.append(statement)
        elif parts:
            by_levels.setdefault(parts.levels, []).append(measure)
        else:
            left.append(measure)
    summed = by_levels.get(tuple(Level), [])
    if flags or summed:
        is_apart = len(summed) < len(measures)
        counts = [_summed(rollup, [], measures, counted, query, state)] if flags and is_apart else []
        counts += [_summed(rollup, summed, summed, {} if is_apart else counted, query, state)] if summed else []
        if None in counts:
            return [over_table(facts, measures, all_flags, query)]
        found += [each for each in counts if each]
    if known := by_levels.get(BY_DAY, []):
        banded = _banded(rollup, known, query, state)
        found += banded
        left += known if not banded else []
    return [*found, over_table(facts, left, (), query)] if left else found


def _flag_parts(kept: Kept, flags: Sequence[Flag], measures: Sequence[Measure]) -> dict[Flag, Part] | None:
    """How many rows of any of the measures each flag concerns; None where the rollup cannot tell."""
    given, any_row = _given(kept, measures), _of_any(measures)
    found = {flag: kept.count((conjuncts(flag.where) | any_row) - given) for flag in flags}
    return {flag: part for flag, part in found.items() if part} if all(found.values()) else None


def _given(kept: Kept, measures: Sequence[Measure]) -> Conditions:
    """What the rows of all measures fulfil, of keys alone."""
    return frozenset.intersection(*(kept.keyed(measure) for measure in measures))


def _of_any(measures: Sequence[Measure]) -> Conditions:
    """What the rows of any of the measures fulfil."""
    wheres = list(dict.fromkeys(measure.where for measure in measures))
    return conjuncts(wheres[0]) if len(wheres) == 1 else _either(wheres)


def _either(wheres: Sequence[str]) -> Conditions:
    return frozenset() if "TRUE" in wheres else frozenset({" OR ".join(f"({where})" for where in wheres)})


def _summed(
    rollup: Rollup,
    measures: Sequence[Measure],
    rows_of: Sequence[Measure],
    flags: dict[Flag, Part],
    query: Query,
    state: State,
) -> Statement | None:
    """One statement over all sources, with a row wherever one of `rows_of` has one; None where no rollup serves it.

    Without measures it is one row, of flags.
    """
    if not measures:
        query = query.as_a_whole
    pieces, joins = Pieces(rollup, query), [join for measure in rows_of for join in measure.joins]
    places = sources(query, rollup, tuple(Level), state)
    kept = kept_of(rollup)
    given = _given(kept, rows_of)
    any_row = _of_any(rows_of) - given
    rows = kept.count(any_row)
    if (rows is None and not measures) or not any(source.level for source in places) or not pieces.serves(joins):
        return None
    parts_of = {measure: parts for measure in measures if (parts := kept.parts(measure, given))}
    matter = [parts.rows for parts in parts_of.values()] or [part for part in [rows] if part]
    asked = dict.fromkeys((*matter, *(each for parts in parts_of.values() for each in parts.parts), *flags.values()))

    def cells(said: Mapping[Part, str]) -> list[str]:
        values = [
            f"{parts.value.format(*(said[part] for part in parts.parts))} AS {measure.name}"
            for measure, parts in parts_of.items()
        ]
        return values + [
            f"CAST(coalesce({said[part]}, 0) AS BIGINT) AS flag_{flag.name}" for flag, part in flags.items()
        ]

    def having(said: Mapping[Part, str]) -> str | None:
        # A step may hold rows that are none of theirs.
        return " + ".join(dict.fromkeys(f"coalesce({said[part]}, 0)" for part in matter)) + " > 0" if any_row else None

    keys = len(key_names(query))
    if len(places) == 1:
        (place,) = places
        said = {part: part.of_rollup if place.level else part.of_facts for part in asked}
        sql = grouped(pieces.select(place, joins, sorted(given), lambda _: cells(said)), keys, having=having(said))
    else:
        names = {part: f"part_{number}" for number, part in enumerate(asked)}

        def columns(is_of_facts: bool) -> list[str]:
            return [f"{part.of_facts if is_of_facts else part.of_rollup} AS {name}" for part, name in names.items()]

        selects = [grouped(pieces.select(each, joins, sorted(given), columns), keys, limit=None) for each in places]
        inner = "\nUNION ALL\n".join(selects).replace("\n", "\n  ")
        said = {part: f"{part.joined_by}({name})" for part, name in names.items()}
        listed = ",\n  ".join([*key_names(query), *cells(said)])
        sql = grouped(f"SELECT\n  {listed}\nFROM (\n  {inner}\n) AS pieces", keys, having=having(said))
    reads, cells_of = read_by(sql, {rollup.facts: pieces.reads}, query), tuple((measure,) for measure in measures)
    return Statement(sql, pieces.parameters, cells_of, tuple(flags), reads, is_rolled=True)


def _banded(rollup: Rollup, measures: Sequence[Measure], query: Query, state: State) -> list[Statement]:
    """Statements that count by bounds, one for each source: their counts add up. None of them where no rollup serves.

    Not one for all: working out how to count many bounds in several tables at once takes longer than counting.
    """
    joins = [join for measure in measures for join in measure.joins]
    places = sources(query, rollup, BY_DAY, state)
    if not any(source.level for source in places) or not Pieces(rollup, query).serves(joins):
        return []
    kept = kept_of(rollup)
    given = _given(kept, measures)

    def columns(is_of_facts: bool) -> list[str]:
        parts = {measure: kept.bands(measure, given) for measure in measures}
        return [
            f"{part.of_facts if is_of_facts else part.of_rollup} AS {measure.name}"
            for measure, part in parts.items()
            if part
        ]

    found = []
    for source in places:
        pieces = Pieces(rollup, query)
        sql = grouped(pieces.select(source, joins, sorted(given), columns), len(key_names(query)))
        cells = tuple((measure,) for measure in measures)
        reads = read_by(sql, {rollup.facts: pieces.reads}, query)
        found.append(Statement(sql, pieces.parameters, cells, (), reads, is_rolled=bool(source.level)))
    return found


def _distinct(measure: Measure, rollup: Rollup, told: Told, query: Query, state: State) -> Statement | None:
    """One statement for values told apart; None where the rollup does not serve it."""
    pieces = Pieces(rollup, query, told)
    selects = _values(measure, pieces, state)
    if selects is None:
        return None
    sql = put_together(measure, selects, query)
    reads = read_by(sql, {rollup.facts: pieces.reads}, query)
    return Statement(sql, pieces.parameters, ((measure,),), (), reads, is_rolled=True)


def _values(measure: Measure, pieces: Pieces, state: State) -> list[str] | None:
    """The values of a measure from every source; None where the rollup does not serve it."""
    if pieces.query.moment is Moment.FINISHED and pieces.rollup.has_end:
        return None
    places = sources(pieces.query, pieces.rollup, tuple(Level), state)
    if not any(source.level for source in places) or not pieces.serves(measure.joins):
        return None
    where = [] if measure.where == "TRUE" else [measure.where]
    return [pieces.select(each, measure.joins, where, lambda _: [f"{measure.column} AS value"]) for each in places]


def _counted(measure: Measure, pieces: Pieces, state: State) -> list[str] | None:
    """How many, or the first or last instant, from every source; None where the rollup does not serve it."""
    kept = kept_of(pieces.rollup)
    given = kept.keyed(measure)
    parts = kept.parts(measure, given)
    places = sources(pieces.query, pieces.rollup, tuple(Level), state)
    if parts is None or not any(source.level for source in places) or not pieces.serves(measure.joins):
        return None
    (wanted,), keys = parts.parts, len(key_names(pieces.query))

    def columns(is_of_facts: bool) -> list[str]:
        return [f"{wanted.of_facts if is_of_facts else wanted.of_rollup} AS value"]

    def select(source: Source) -> str:
        rows = pieces.select(source, measure.joins, sorted(given), columns)
        number = parts.rows.of_rollup if source.level else parts.rows.of_facts
        return grouped(rows, keys, limit=None, having=f"{number} > 0")

    return [select(source) for source in places]


_OF_PARTS = {Kind.DISTINCT: _values, Kind.COUNT: _counted, Kind.EARLIEST: _counted, Kind.LATEST: _counted}
"""How the part of a union that stands in one table is read from every source."""


def _union(measure: Measure, query: Query, state: State) -> Statement:
    """Several tables as if they were one: each part from its rollup where that serves it, else from the facts."""
    read, selects = _OF_PARTS.get(measure.kind), list[str]()
    reads: dict[str, Spans] = {}
    parameters: dict[str, object] = {}
    bound, is_rolled = 0, False
    for part in measure.parts:
        (facts,) = part.facts
        rollup, found = rollup_of(facts), None
        told = told_of(rollup, part) if rollup else None
        if read and rollup and rollup.facts in state.kept and (told or part.kind is not Kind.DISTINCT):
            pieces = Pieces(rollup, query, told, parameters, bound=bound)
            found = read(part, pieces, state)
        if found is None:
            select, spans = part_of_union(measure, part, query, parameters)
            selects.append(select)
        else:
            is_rolled, spans, bound = True, pieces.reads, pieces.bound
            selects += found
        reads[facts.table] = together((*reads.get(facts.table, ()), *spans))
    sql = put_together(measure, selects, query)
    return Statement(sql, parameters, ((measure,),), (), read_by(sql, reads, query), is_rolled=is_rolled)
