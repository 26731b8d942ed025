"""The tables of `collector.rollups`, filled from facts: which steps a batch touched, and making those anew.

What comes in are the instants of facts that were written; what goes out are tables that say the same as the facts. A
batch marks the steps it touched in its own transaction, which costs next to nothing; a marked step is read from the
facts until `rebuild` has made it anew, so an answer never waits and is never old. Steps of retired days have no facts
any more: they stay as they are, and their facts are not taken in again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from collector.errors import StoreError
from collector.rollups import BEGINNING, ROLLUPS, Counted, Drift, Level, Rollup, Spread, Summed, Told
from collector.store.session import Session

Marks: TypeAlias = dict[tuple[str, Level], set[datetime]]
"""Table of facts and level -> the steps that do not say what the facts say, by their start."""

MOST_STEPS = {Level.QUARTER: 7 * 96, Level.HOUR: 7 * 24, Level.SHIFT: 7 * 3, Level.DAY: 7}
"""How many steps are made anew in one transaction: a batch waits no longer than that."""

_BY_FACTS = {rollup.facts: rollup for rollup in ROLLUPS}
_RETIRED = "SELECT starts_at FROM retired_day WHERE facts = '{facts}'"
_MICROSECOND = timedelta(microseconds=1)
_INSTANT = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True)
class Window:
    """Steps of one table that are made anew together."""

    rollup: Rollup
    level: Level
    steps: tuple[datetime, ...]  # in order

    @property
    def bounds(self) -> dict[str, datetime]:
        """From the start of the first step to the end of the last."""
        return {"low": self.steps[0], "high": self.steps[-1] + self.level.length}

    @property
    def is_whole(self) -> bool:
        """Whether every step between the first and the last is one of it."""
        return self.steps[0] + self.level.length * len(self.steps) == self.bounds["high"]


class Rollups:
    """What the writer knows of the rollups. Not for two threads at once."""

    def __init__(self) -> None:
        self._marks: Marks = defaultdict(set)
        self._touched: set[tuple[str, datetime]] = set()
        self._retired: dict[str, set[datetime]] = defaultdict(set)

    def prepare(self, session: Session, *, read_only: bool) -> None:
        """Make the tables that are missing or mean something else by now, and remember what is marked.

        Raises StoreError when they would have to be made and the file is opened read-only.
        """
        kept = dict(session.run("SELECT facts, digest FROM rollup_kept"))
        self._retired = defaultdict(set)
        for facts, day in session.run("SELECT DISTINCT facts, starts_at FROM retired_day"):
            self._retired[facts].add(day)
        if changed := [rollup for rollup in ROLLUPS if kept.get(rollup.facts) != rollup.digest]:
            if read_only:
                raise StoreError(f"store {session.path}: its rollups are of another version; open it once for writing")
            with session.transaction():
                there = _columns(session)
                for rollup in changed:
                    _make(session, rollup, there)
        self._marks = defaultdict(set)
        for facts, level, step in session.run("SELECT facts, level, starts_at FROM rollup_mark"):
            self._marks[facts, Level(level)].add(step)

    def taken(self, facts: str, rows: pa.Table) -> pa.Table:
        """The rows that are not of retired days: their facts were counted, and cannot be told apart from new ones."""
        if not (retired := self._retired.get(facts)):
            return rows
        days = _steps_of(rows["created_at"], Level.DAY)
        gone = pa.array([int((day - BEGINNING) / _MICROSECOND) for day in retired], pa.int64())
        return rows.filter(pc.invert(pc.is_in(days, value_set=gone)))

    def mark(self, session: Session, touched: Mapping[str, Iterable[pa.ChunkedArray]]) -> Marks:
        """Mark the steps of facts written, in the open transaction; what it answers is for `marked` once that ended."""
        new: Marks = {}
        for facts, instants in touched.items():
            if facts not in _BY_FACTS:
                continue
            quarters = {step for each in instants for step in _distinct_steps(each)}
            for level in Level:
                steps = {level.start(step) for step in quarters}
                if level is Level.QUARTER:
                    self._touched |= {(facts, step) for step in steps}
                if fresh := steps - self._marks[facts, level]:
                    new[facts, level] = fresh
        if new:
            _write_marks(session, new)
        return new

    def doubt(self, session: Session, found: Iterable[Drift]) -> Marks:
        """Mark steps that were found wrong, in the open transaction; what it answers is for `marked`."""
        new: Marks = defaultdict(set)
        for drift in found:
            if drift.at not in self._marks[drift.facts, drift.level]:
                new[drift.facts, drift.level].add(drift.at)
        if new:
            _write_marks(session, new)
        return new

    def marked(self, new: Marks) -> None:
        """The transaction that marked these has ended well."""
        for place, steps in new.items():
            self._marks[place] |= steps

    def is_marked(self, facts: str, day: datetime) -> bool:
        """Whether the rollups of a day do not say what its facts say."""
        return any(Level.DAY.start(step) == day for level in Level for step in self._marks[facts, level])

    def retired(self, facts: str, day: datetime) -> None:
        """The transaction that removed the facts of a day has ended well."""
        self._retired[facts].add(day)

    def due(self, session: Session, *, everything: bool) -> list[Window]:
        """What to make anew: quarter hours that no batch touched since this was asked last, and longer steps that
        are over and wholly told; with `everything` whatever is marked. Quarter hours come first.
        """
        touched, self._touched = self._touched, set()
        found = []
        for level in Level:
            for rollup in ROLLUPS:
                steps = set(self._marks[rollup.facts, level])
                if not everything and steps:
                    steps -= self._unquiet(session, rollup.facts, level, touched)
                found += list(_windows(rollup, level, sorted(steps)))
        return found

    def rebuild(self, session: Session, window: Window) -> None:
        """Make the steps of a window anew from the facts, in the open transaction; then call `rebuilt`."""
        rollup, level, bounds = window.rollup, window.level, window.bounds
        among = "TRUE" if window.is_whole else f"{step_of('created_at', level)} IN (SELECT starts_at FROM steps)"
        within = f"created_at >= $low AND created_at < $high AND {among}"
        unsettled = self._marks[rollup.facts, Level.HOUR]
        is_of_hours = level is Level.SHIFT and not any(bounds["low"] <= hour < bounds["high"] for hour in unsettled)
        with session.showing(steps=pa.table({"starts_at": pa.array(window.steps, _INSTANT)})):
            for told in (None, *rollup.told):
                table = rollup.table(level, told)
                session.run(f"DELETE FROM {table} WHERE {within}", bounds)
                made = (
                    _put_together(rollup, level, told, Level.HOUR, within)
                    if is_of_hours
                    else selected(rollup, level, told, within)
                )
                session.run(f"INSERT INTO {table} BY NAME {made}", bounds)
            session.run(
                "DELETE FROM rollup_mark WHERE facts = ? AND level = ? AND starts_at IN (SELECT starts_at FROM steps)",
                [rollup.facts, level],
            )

    def rebuilt(self, window: Window) -> None:
        """The transaction that made these anew has ended well."""
        self._marks[window.rollup.facts, window.level] -= set(window.steps)

    def _unquiet(self, session: Session, facts: str, level: Level, touched: set[tuple[str, datetime]]) -> set[datetime]:
        """The steps of a level that may be told more soon."""
        busy = {step for name, step in touched if name == facts}
        if level is Level.QUARTER:
            return busy
        ((newest,),) = session.run(f"SELECT max(created_at) FROM {facts}")
        busy &= self._marks[facts, Level.QUARTER]
        return {level.start(step) for step in (*busy, *([newest] if newest else []))}


def step_of(column: str, level: Level) -> str:
    """SQL: the start of the step that holds an instant."""
    length = level.length // _MICROSECOND
    return f"make_timestamptz(epoch_us({column}) // {length} * {length})"


def selected(rollup: Rollup, level: Level, told: Told | None, where: str) -> str:
    """SQL: the rows of a rollup's table, worked out from the facts."""
    if told:
        columns = [f"{step_of('created_at', level)} AS created_at", *told.keys, told.column]
        return f"SELECT DISTINCT {', '.join(columns)} FROM {rollup.facts} WHERE {where} ORDER BY ALL"
    steps = [f"{step_of('created_at', level)} AS created_at"]
    if rollup.has_end:
        steps.append(f"{step_of('coalesce(finished_at, created_at)', level)} AS finished_at")
    columns = [*steps, *rollup.keys, "count(*) AS facts", "min(created_at) AS first_at", "max(created_at) AS last_at"]
    columns += [_count(each) for each in rollup.counted]
    columns += [_sum(each) for each in rollup.summed]
    if level is Level.DAY:
        columns += [band for each in rollup.spreads for band in _bands(each)]
    keys = ", ".join(str(place + 1) for place in range(len(steps) + len(rollup.keys)))
    return f"SELECT {', '.join(columns)} FROM {rollup.facts} WHERE {where} GROUP BY {keys} ORDER BY 1, app_id"


def _put_together(rollup: Rollup, level: Level, told: Told | None, finer: Level, where: str) -> str:
    """SQL: the rows of a rollup's table, but for what lies between bounds, worked out from that of shorter steps."""
    source = f"FROM {rollup.table(finer, told)} WHERE {where}"
    if told:
        columns = [f"{step_of('created_at', level)} AS created_at", *told.keys, told.column]
        return f"SELECT DISTINCT {', '.join(columns)} {source} ORDER BY ALL"
    steps = [f"{step_of(at, level)} AS {at}" for at in ("created_at", *(["finished_at"] if rollup.has_end else []))]
    columns = [*steps, *rollup.keys, "min(first_at) AS first_at", "max(last_at) AS last_at"]
    numbers = ["facts", *(count.name for count in rollup.counted), *(total.name for total in rollup.summed)]
    columns += [f"sum({number}) AS {number}" for number in numbers]
    keys = ", ".join(str(place + 1) for place in range(len(steps) + len(rollup.keys)))
    return f"SELECT {', '.join(columns)} {source} GROUP BY {keys} ORDER BY 1, app_id"


def _count(each: Counted) -> str:
    return f"count(*) FILTER (WHERE {' AND '.join(each.where)}) AS {each.name}"


def _sum(each: Summed) -> str:
    only = f" FILTER (WHERE {' AND '.join(each.where)})" if each.where else ""
    return f"sum({each.column}){only} AS {each.name}"


def _bands(each: Spread) -> Iterator[str]:
    only = " AND ".join((*each.where, "TRUE"))
    low = None
    for name, high in zip(each.bands, each.bounds, strict=True):
        above = "" if low is None else f"({each.column}) > {low} AND "
        yield f"count(*) FILTER (WHERE {only} AND {above}({each.column}) <= {high}) AS {name}"
        low = high


def _columns(session: Session) -> dict[str, set[str]]:
    """Table -> its columns."""
    found: dict[str, set[str]] = defaultdict(set)
    for table, column in session.run("SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal"):
        found[table].add(column)
    return found


def _make(session: Session, rollup: Rollup, there: Mapping[str, set[str]]) -> None:
    """Tables of today's shape; whatever still has its facts is marked, the rest stays, or is made of quarter hours."""
    for level in Level:
        for told in (None, *rollup.told):
            table = rollup.table(level, told)
            _shape(session, table, selected(rollup, level, told, "FALSE"), there.get(table))
            if table not in there and level not in (Level.QUARTER, Level.DAY):
                retired = f"{step_of('created_at', Level.DAY)} IN ({_RETIRED.format(facts=rollup.facts)})"
                session.run(f"INSERT INTO {table} BY NAME {_put_together(rollup, level, told, Level.QUARTER, retired)}")
    session.run("DELETE FROM rollup_kept WHERE facts = ?", [rollup.facts])
    session.run("INSERT INTO rollup_kept VALUES (?, ?)", [rollup.facts, rollup.digest])
    session.run("DELETE FROM rollup_mark WHERE facts = ?", [rollup.facts])
    for level in Level:
        session.run(
            f"""
            INSERT INTO rollup_mark SELECT DISTINCT $facts, $level, {step_of("created_at", level)} FROM {rollup.facts}
            WHERE created_at >= $beginning AND {step_of("created_at", Level.DAY)}
              NOT IN (SELECT starts_at FROM retired_day WHERE facts = $facts)
            """,
            {"facts": rollup.facts, "level": str(level), "beginning": BEGINNING},
        )


def _shape(session: Session, table: str, select: str, there: set[str] | None) -> None:
    """Make a table for what a statement selects, or add the columns it lacks; rows that have facts are made anew."""
    if there is None:
        session.run(f"CREATE TABLE {table} AS {select}")
        return
    for name, kind, *_ in session.run(f"DESCRIBE {select}"):
        if name not in there:
            session.run(f"ALTER TABLE {table} ADD COLUMN {name} {kind}")


def _windows(rollup: Rollup, level: Level, steps: list[datetime]) -> Iterator[Window]:
    """Steps in pieces, each over a bounded time, so that one reads a bounded part of the facts."""
    reach = level.length * MOST_STEPS[level]
    while steps:
        piece = [step for step in steps if step < steps[0] + reach]
        yield Window(rollup, level, tuple(piece))
        steps = steps[len(piece) :]


def _write_marks(session: Session, marks: Marks) -> None:
    rows = [(facts, str(level), step) for (facts, level), steps in marks.items() for step in steps]
    names, levels, starts = zip(*rows, strict=True)
    marked = pa.table({"facts": names, "level": levels, "starts_at": pa.array(starts, _INSTANT)})
    with session.showing(marked=marked):
        session.run("INSERT INTO rollup_mark BY NAME SELECT * FROM marked")


def _steps_of(instants: pa.ChunkedArray, level: Level) -> pa.ChunkedArray:
    """The steps that hold these instants, in microseconds since 1970."""
    length = level.length // _MICROSECOND
    return pc.multiply(pc.divide(instants.cast(pa.int64()), length), length)


def _distinct_steps(instants: pa.ChunkedArray) -> list[datetime]:
    steps = pc.unique(_steps_of(instants, Level.QUARTER)).to_pylist()
    return [BEGINNING + step * _MICROSECOND for step in steps if step is not None and step >= 0]
