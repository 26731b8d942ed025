"""The past, part by part: from what is known back to an instant, each part a snapshot and a transaction of its own.

What comes in are how far back to go and how far the streams reach already; what goes out are batches into `put`, each
part's end with the reach it makes, so that broken off anywhere the next one goes on there. A part holds so few runs
that their nodes are looked up by index: no long snapshot, no table read through again and again. Never reads what is
reached already, but an overlap.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from itertools import pairwise
from typing import TypeAlias

import msgspec

from collector.errors import Forbidden, Unavailable
from collector.pull.database.connection import look
from collector.pull.database.limits import DATED, MESSAGES, NEVER, NODES, RUNS, STREAMS, Backlog, Reading, Stop
from collector.pull.database.passes import Marks, Pass, Put
from collector.pull.database.reader import Reader
from collector.pull.database.tally import missed
from collector.records import Mark, Message, NodeExecution, Pull, Reach, Record, Run

Reached: TypeAlias = Mapping[str, Reach]
"""Stream -> how far it was read by back-fills before."""

Progress: TypeAlias = Callable[[str, int, "int | None"], None]

_PROGRESS: tuple[tuple[type[Record], str], ...] = ((Run, RUNS), (Message, MESSAGES), (NodeExecution, NODES))

Part: TypeAlias = tuple[datetime, datetime]


class History:
    """One back-fill; `run` it once."""

    def __init__(
        self,
        put: Put,
        watermark: Marks,
        reached: Reached,
        clock: Callable[[], datetime],
        reading: Reading,
        on_progress: Progress | None = None,
        stop: Stop | None = None,
    ) -> None:
        """`reading.since` is how far back to go, `reading.streams` what to read."""
        self._store_put, self._watermark, self._clock, self._stop = put, watermark, clock, stop or Stop()
        self._reading, self._reached = reading, reached
        self._tell = on_progress or (lambda stream, done, total: None)
        self._started = clock()
        self._done: Counter[str] = Counter()
        self._totals: Counter[str] = Counter()
        self._wanted = {each for each in STREAMS if reading.streams is None or each in reading.streams}
        if self._wanted & {RUNS, NODES}:
            self._wanted |= {RUNS, NODES}  # a run says that its nodes are known
        self.pulls: list[Pull] = []

    def run(self, dsn: str, sleep: Callable[[float], None]) -> None:
        """What has no period first, then part by part; the first that fails ends it, for a gap must not be skipped."""
        if whole := frozenset(self._wanted - set(DATED)):
            self._pass(dsn, sleep, msgspec.structs.replace(self._reading, streams=whole, until=NEVER))
        if not self._dated:
            return
        try:
            parts = [*self._parts(dsn, sleep)]
        except (Unavailable, Forbidden) as error:
            self.pulls += missed(sorted(self._dated), error, self._clock(), self._reading.origin)
            self._store_put([*self.pulls[-len(self._dated) :]], [])
            return
        for low, high in parts:
            how = msgspec.structs.replace(self._reading, since=low, until=high, streams=self._dated)
            if not self._pass(dsn, sleep, how):
                return

    @property
    def _dated(self) -> frozenset[str]:
        return frozenset(self._wanted & set(DATED))

    def _pass(self, dsn: str, sleep: Callable[[float], None], how: Reading) -> bool:
        """One part; whether all of it was read."""
        how = msgspec.structs.replace(how, is_history=True)
        one = Pass(self._put, self._watermark, self._clock, how, Backlog(), None, self._stop)
        one.run(dsn, sleep)
        self.pulls += one.pulls
        return all(pull.is_complete for pull in one.pulls)

    def _parts(self, dsn: str, sleep: Callable[[float], None]) -> Iterator[Part]:
        """What is newer than what is reached, upwards; then what is older, downwards: the reach stays in one piece."""
        low, high = self._reach()
        with look(dsn, self._reading.limits, self._clock, sleep, self._stop) as view:
            reader = Reader(
                view,
                self._started,
                open_run_max_age=self._reading.open_run_max_age,
                open_message_max_age=self._reading.open_message_max_age,
                workspace_id=self._reading.workspace_id,
            )
            if high < self._started:
                yield from reversed([*self._cut(reader, high - self._reading.overlap, self._started)])
            if self._reading.since < low:
                yield from self._cut(reader, self._reading.since, low)

    def _reach(self) -> Part:
        """From when until when all these streams are known; an instant, where one is not at all."""
        known = [self._reached.get(stream) for stream in self._dated]
        spans = [each for each in known if each is not None]
        low = max((each.complete_from for each in spans), default=self._started)
        high = min((each.complete_until for each in spans), default=self._started)
        return (low, high) if len(spans) == len(known) and low < high else (self._started, self._started)

    def _cut(self, reader: Reader, since: datetime, until: datetime) -> Iterator[Part]:
        """[since, until) in parts, the latest first."""
        cuts, runs, messages = reader.cuts(since, until, self._reading.runs_by_index)
        self._totals.update({RUNS: runs, MESSAGES: messages})
        edges = [until, *(cut for cut in cuts if since < cut < until), since]
        for stream in self._dated & {RUNS, MESSAGES}:
            self._tell(stream, 0, self._totals[stream])
        yield from ((low, high) for high, low in pairwise(edges))

    def _put(self, records: list[Record], marks: list[Mark]) -> None:
        """As the store does, and tell how far it is: what counts is what is stored."""
        self._store_put(records, marks)
        for kind, stream in _PROGRESS:
            if found := sum(isinstance(record, kind) for record in records):
                self._done[stream] += found
                total = max(self._totals[stream], self._done[stream]) if stream in self._totals else None
                self._tell(stream, self._done[stream], total)
