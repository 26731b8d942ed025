"""Where the rows of a query may be read: which steps of which rollup, and which facts for the rest.

What comes in are a query's period and grain and what a store says about its rollups; what goes out are Sources that
hold every fact of the period exactly once. A step is taken whole from a rollup or not at all: what begins or ends
inside one, and what was touched since it was made, is read from the facts. Nothing here runs a query.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import cast

from collector.measures.ask import Moment, Query
from collector.measures.flags import Flag
from collector.measures.spans import EVER, ROLLED, Span, Spans, both, fewer, steps, together, whole_steps, without
from collector.measures.still import Extent, Rows, remembered, whole
from collector.period import FIXED_STEPS, Grain
from collector.rollups import BEGINNING, ROLLUPS, Level, Rollup

MOST_SPANS = 12
"""Steps to be read from the facts that lie apart are read as so many spans at most, with what is between them."""

_STATE = """\
SELECT facts, 'kept', NULL, 0 FROM rollup_kept
UNION ALL SELECT facts, level, starts_at, 0 FROM rollup_mark
UNION ALL SELECT facts, 'retired', starts_at, sum(number) FROM retired_day GROUP BY ALL
UNION ALL SELECT DISTINCT '', 'release', NULL, number FROM dify_release"""

_UNDATED = "\nUNION ALL ".join(
    f"(SELECT '{rollup.facts}' FROM {rollup.facts} WHERE created_at IS NULL OR created_at < $beginning LIMIT 1)"
    for rollup in ROLLUPS
    if rollup.has_end
)


_TOLD_BY = ("rollup_kept", "rollup_mark", "retired_day", "dify_release")
_ENDING = tuple(rollup.facts for rollup in ROLLUPS if rollup.has_end)


@dataclass(frozen=True)
class State:
    """What a store says about its rollups: of which tables it keeps any, which steps of them do not say what the facts
    say, how many facts have gone from which days, and which versions of Dify were ever met (None: not asked).
    `undated` are the tables with facts that began nobody knows when, or before there were rollups (None: not asked).
    """

    kept: frozenset[str] = frozenset()
    marks: Mapping[tuple[str, Level], Spans] = field(default_factory=dict)
    retired: Mapping[str, Mapping[datetime, int]] = field(default_factory=dict)
    versions: frozenset[int] | None = None
    undated: frozenset[str] | None = None

    @classmethod
    def of(cls, rows: Rows) -> State:
        """As the store says it now."""
        return remembered(rows, _STATE, lambda rows: (cls._told(rows), whole(*_TOLD_BY)))

    @classmethod
    def _told(cls, rows: Rows) -> State:
        kept: set[str] = set()
        marks: dict[tuple[str, Level], list[datetime]] = defaultdict(list)
        retired: dict[str, dict[datetime, int]] = defaultdict(dict)
        versions: set[int] = set()
        for facts, what, step, number in cast("list[tuple[str, str, datetime, int]]", rows(_STATE, {})):
            if what == "kept":
                kept.add(facts)
            elif what == "retired":
                retired[facts][step] = number
            elif what == "release":
                versions.add(number)
            else:
                marks[facts, Level(what)].append(step)
        gone = {facts: steps(days, Level.DAY) for facts, days in retired.items()}
        joined = {
            (facts, level): fewer(steps(starts, level), MOST_SPANS, gone.get(facts, ()))
            for (facts, level), starts in marks.items()
        }
        return cls(frozenset(kept), joined, retired, frozenset(versions))

    def with_undated(self, rows: Rows) -> State:
        """The same, and asked for undated facts: worth it before many questions about when facts ended."""
        return replace(self, undated=remembered(rows, _UNDATED, _undated) if self.kept else frozenset())

    def may_be(self, flag: Flag) -> bool:
        """Whether there can be rows that a flag is about."""
        if flag.versions is None or self.versions is None:
            return True
        first, last = flag.versions
        return any(first <= version <= last for version in self.versions)

    def gone(self, facts: str, read: Spans) -> int:
        """How many facts of a table have gone that would have been read."""
        retired = self.retired.get(facts, {})
        return sum(number for day, number in retired.items() if both(read, ((day, day + Level.DAY.length),)))


def _undated(rows: Rows) -> tuple[frozenset[str], Extent]:
    """Tables with facts from before there were rollups, or of which nobody knows when they began."""
    found = rows(_UNDATED, {"beginning": BEGINNING})
    return frozenset(cast(str, facts) for (facts,) in found), dict.fromkeys(_ENDING, BEGINNING)


@dataclass(frozen=True)
class Source:
    """Rows of one table: of a rollup's level, or (None) the facts themselves.

    A row is in it when it began and ended in the spans of one of the pieces; without a second part its end does not
    matter. No spans to begin in: facts that began nobody knows when, or before there were any rollups.
    """

    level: Level | None
    pieces: tuple[tuple[Spans, Spans | None], ...]


def sources(query: Query, rollup: Rollup, levels: Iterable[Level], state: State) -> list[Source]:
    """Where to read what the query is about, the longest steps first; only facts where no rollup serves."""
    usable = [level for level in reversed(Level) if level in levels and _fits(query, level)]
    if rollup.facts not in state.kept:
        usable = []
    if Level.DAY in usable:  # what is left at their ends is not worth a table more
        usable = [level for level in usable if level is not Level.SHIFT]
    clean = {level: without(ROLLED, state.marks.get((rollup.facts, level), ())) for level in usable}
    period: Span = (query.period.start, query.period.end)
    began: Spans = ((query.began_from or ROLLED[0][0], query.began_before or ROLLED[0][1]),)
    if query.moment is Moment.FINISHED and rollup.has_end:
        has_undated = query.began_from is None and (state.undated is None or rollup.facts in state.undated)
        return _by_end(together([period]), both(began, ROLLED), clean, has_undated=has_undated)
    ever: Span = (query.began_from or EVER[0][0], query.began_before or EVER[0][1])
    return _by_start(both((period,), (ever,)), clean)


def _by_start(wanted: Spans, clean: Mapping[Level, Spans]) -> list[Source]:
    found = []
    for level, spans in clean.items():
        taken = whole_steps(both(wanted, spans), level)
        if taken:
            found.append(Source(level, ((taken, None),)))
            wanted = without(wanted, taken)
    return [*found, Source(None, ((wanted, None),))] if wanted else found


def _by_end(wanted: Spans, begun: Spans, clean: Mapping[Level, Spans], *, has_undated: bool) -> list[Source]:
    """Pieces of (when it began) x (when it ended): a step of a rollup is one of both."""
    found: list[Source] = []
    pieces = [(begun, wanted)] if begun else []
    for level, spans in clean.items():
        whole = whole_steps(both(wanted, ROLLED), level)
        taken, left = [], []
        for began, ended in pieces:
            takes = whole_steps(both(began, spans), level), both(ended, whole)
            if all(takes):
                taken.append(takes)
                left += [(takes[0], without(ended, takes[1])), (without(began, takes[0]), ended)]
            else:
                left.append((began, ended))
        pieces = [piece for piece in left if all(piece)]
        found += [Source(level, tuple(taken))] if taken else []
    undated = [Source(None, (((), wanted),))] if has_undated else []
    return [*found, *(Source(None, (piece,)) for piece in pieces), *undated]


def _fits(query: Query, level: Level) -> bool:
    """Whether no step of the query begins inside a step of the level."""
    grain, length = query.grain, level.length
    if grain is Grain.NONE:
        return True
    if grain in FIXED_STEPS:
        return FIXED_STEPS[grain] % length == timedelta()
    changes = query.period.offsets()
    return all(distance % length == timedelta() for _, distance in changes) and all(
        level.start(at) == at for at, _ in changes[1:]
    )
