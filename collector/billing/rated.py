"""Lines of every month where questions find them: rated as bills are, kept by month until something they are made of
changes.

What comes in are Bills and a store's `rows` and `keep_rated`; what goes out is table `rated_line`, and `rows` that
bring it up to date first. Where a month is closed its lines are those that were kept, else those that would be kept
now: a month here is its bill, corrections and all. Nothing here rates, or knows a measure.

To see whether anything changed takes a tenth of rating; both take time where there are millions of calls. So a question
waits for it only where it takes less than PATIENCE; elsewhere `refresh` is called from time to time (`pause` says how
long to wait), and answers are as old as that.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import datetime, timedelta
from threading import Lock
from typing import Any, Protocol, TypeAlias

import pyarrow as pa

from collector.access import EVERYTHING, Sight
from collector.bill_lines import RatedLine
from collector.billing.bills import Bills
from collector.errors import QueryError, SettingsError
from collector.period import Period

PATIENCE = timedelta(seconds=1)
"""A question waits so long for lines to be rated, and no longer."""

SHORTEST_PAUSE, PAUSE_RATIO = timedelta(seconds=60), 20
"""Between two looks: so long, or so many times as long as a look takes."""

_NAMED = re.compile(rf"\b{RatedLine.table}\b")
_READ = re.compile(rf"\b{RatedLine.table}\.")
_INSTANT = pa.timestamp("us", tz="UTC")


Parameters: TypeAlias = Mapping[str, object] | Sequence[object]
Found: TypeAlias = list[tuple[object, ...]]


class Moment(Protocol):
    """A store's `rows` of one moment."""

    def __call__(self, sql: str, parameters: Parameters = (), /) -> Found: ...

    @property
    def remembered(self) -> Callable[..., Any]: ...


class AllRows(Protocol):
    """A store's `rows`."""

    def __call__(self, sql: str, parameters: Parameters = (), sight: Sight = EVERYTHING) -> Found: ...

    def still(self, sight: Sight = EVERYTHING) -> AbstractContextManager[Moment]: ...


class Keep(Protocol):
    """A store's `keep_rated`."""

    def __call__(self, period: str, state: str, lines: pa.Table, rated_at: datetime) -> None: ...


class Rated:
    """The rated lines of one store. Safe to use from several threads."""

    def __init__(
        self, bills: Bills, rows: AllRows, keep: Keep, clock: Callable[[], datetime], *, is_kept_up: bool = False
    ) -> None:
        """`is_kept_up`: somebody calls `refresh` from time to time, so that a question need not."""
        self._bills, self._rows, self._keep, self._clock = bills, rows, keep, clock
        self._is_kept_up, self._lock = is_kept_up, Lock()
        self._took: timedelta | None = None
        self.looked_at: datetime | None = None

    def refresh(self) -> int:
        """Rate the months anew of which something has changed; how many. Raises SettingsError where no book is set."""
        with self._lock:
            began = time.monotonic()
            kept: dict[object, object] = dict(self._rows("SELECT period, state FROM rated_period"))  # type: ignore[arg-type]
            states = self._bills.states()
            changed = [name for name, state in states.items() if kept.get(name) != state]
            looked_at = self._clock()
            for name in changed:
                bounds, _ = self._bills.bounds(name)
                self._keep(name, states[name], _rows_of(self._bills.lines(name), bounds), looked_at)
            self._took, self.looked_at = timedelta(seconds=time.monotonic() - began), looked_at
            return len(changed)

    @property
    def pause(self) -> timedelta:
        """How long to wait before the next look."""
        return max(SHORTEST_PAUSE, (self._took or timedelta()) * PAUSE_RATIO)

    @property
    def rows(self) -> RatedRows:
        """A store's `rows`: what reads rated lines reads them as they are now, or as of the last look (see above).

        They raise QueryError where there is no price book.
        """
        return RatedRows(self, self._rows)

    def is_asked(self, sql: str) -> bool:
        """Whether a statement is about rated lines."""
        return bool((_READ if self._is_kept_up and self.looked_at else _NAMED).search(sql))

    def bring_up(self, sql: str) -> bool:
        """Bring the lines up to date before this statement reads them; whether they are.

        Raises QueryError where the statement cannot do without a price book.
        """
        if self._is_left_to_others:
            return True
        try:
            self.refresh()
        except SettingsError as error:
            if _READ.search(sql):
                raise QueryError(
                    f"nothing is rated: {error}", field="measure", remedy="set `prices`, or ask for cost"
                ) from None
            return False
        return True

    @property
    def _is_left_to_others(self) -> bool:
        return self._is_kept_up and self._took is not None and self._took > PATIENCE


class RatedRows:
    """`rows` of a store whose rated lines are brought up to date before they are read."""

    def __init__(self, rated: Rated, rows: AllRows) -> None:
        self._rated, self._rows = rated, rows

    def __call__(self, sql: str, parameters: Parameters = (), sight: Sight = EVERYTHING) -> Found:
        """Read."""
        if self._rated.is_asked(sql):
            self._rated.bring_up(sql)
        return self._rows(sql, parameters, sight)

    @contextmanager
    def still(self, sight: Sight = EVERYTHING) -> Iterator[StillRated]:
        """Rows of one moment; rated lines are all of one moment too, that at which they are first asked for."""
        with ExitStack() as moments:
            yield StillRated(self._rated, lambda: moments.enter_context(self._rows.still(sight)))


class StillRated:
    """Rows of one moment."""

    def __init__(self, rated: Rated, still: Callable[[], Moment]) -> None:
        self._rated, self._still = rated, still
        self._facts = still()
        self._lines: Moment | None = None  # from when they have been brought up to date

    def __call__(self, sql: str, parameters: Parameters = ()) -> Found:
        """Read."""
        if not self._rated.is_asked(sql):
            return self._facts(sql, parameters)
        if self._lines is None and self._rated.bring_up(sql):
            self._lines = self._still()
        return (self._lines or self._facts)(sql, parameters)

    @property
    def remembered(self) -> Callable[..., Any]:
        """What was worked out of facts; lines are never remembered."""
        return self._facts.remembered


def _rows_of(lines: pa.Table, period: Period) -> pa.Table:
    """Lines as `rated_line` holds them: usage at the start of its day, corrections at the start of their month."""
    days = lines["day"].to_pylist()
    starts = {day: max(period.day_start(day), period.start) for day in set(days)}
    at = [
        period.start if corrects else starts[day]
        for day, corrects in zip(days, lines["corrects"].to_pylist(), strict=True)
    ]
    names = [name for name in RatedLine.__struct_fields__ if name != "created_at"]
    return lines.select(names).append_column("created_at", pa.array(at, _INSTANT))
