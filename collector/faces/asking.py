"""Who asks the catalogue for a face: the rows, the clock, the zone of questions that name none.

What comes in are the parameters of a question; what goes out are periods and Answers, or QueryErrors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from zoneinfo import ZoneInfo

from collector.faces.rest_models import ALL, Asked
from collector.measures.answer import Answer
from collector.measures.ask import After, Query
from collector.measures.catalogue import CATALOGUE, Catalogue
from collector.measures.paging import read_cursor
from collector.measures.query import Rows, earliest, run
from collector.measures.still import still
from collector.period import Period, zone


@dataclass(frozen=True)
class Asker:
    """Asks at one instant."""

    rows: Rows
    now: datetime
    timezone: str = "UTC"
    catalogue: Catalogue = CATALOGUE

    @contextmanager
    def still(self) -> Iterator[Asker]:
        """One whose answers are all of one moment of the store."""
        with still(self.rows) as rows:
            yield replace(self, rows=rows)

    @property
    def zone(self) -> ZoneInfo:
        """The zone of questions that name none."""
        return zone(self.timezone)

    def period(self, asked: Asked) -> tuple[Period, datetime, After | None]:
        """The period asked for, the instant at which it was first asked for, and where a page goes on."""
        if asked.cursor:
            cursor = read_cursor(asked.cursor)
            period = Period(cursor.since, cursor.until, zone(asked.tz or self.timezone))
            return period, cursor.now or self.now, cursor.after
        since = asked.since or ALL
        if since == ALL:
            since = (earliest(self.rows) or self.now).isoformat()
        tz = asked.tz or self.timezone
        return Period.parse(since=since, until=asked.until or None, tz=tz, now=self.now), self.now, None

    def question(
        self,
        asked: Asked,
        period: Period,
        after: After | None = None,
        *,
        measures: Sequence[str] | None = None,
        by: Sequence[str] | None = None,
        where: Sequence[str] | None = None,
        grain: str | None = None,
    ) -> Query:
        """What was asked, about a period; with other measures, dimensions, filters or steps where they are given."""
        return Query.of(
            asked.measure if measures is None else measures,
            period=period,
            by=asked.by if by is None else by,
            grain=grain or asked.grain,
            where=asked.where if where is None else where,
            order=asked.order,
            limit=asked.limit,
            top=asked.top,
            after=after,
            other=asked.other,
            totals=asked.totals,
            compare=asked.compare or None,
            fill=asked.fill,
            moment=asked.moment,
            include_debug=asked.include_debug,
            catalogue=self.catalogue,
        )

    def run(self, query: Query, now: datetime | None = None) -> Answer:
        """The answer. Raises QueryError."""
        return run(query, self.rows, now=now or self.now)

    def answered(self, asked: Asked) -> Answer:
        """The answer to what was asked. Raises QueryError."""
        with self.still() as asker:
            period, now, after = asker.period(asked)
            return asker.run(asker.question(asked, period, after), now)
