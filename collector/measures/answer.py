"""What comes back: rows with everything a reader needs to trust them, and how they are put into order.

What comes in are rows by name; what goes out is an Answer, also as plain JSON values. Nothing here runs a query.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from operator import itemgetter
from typing import TypeAlias

from collector.measures.ask import Query
from collector.measures.dimension import Dimension
from collector.measures.measure import Measure
from collector.period import Compare, Grain, Period

Row: TypeAlias = dict[str, object]

ROLLUPS, FACTS, BOTH = "rollups", "facts", "both"
"""Where an answer comes from."""


@dataclass(frozen=True, kw_only=True)
class Compared:
    """The earlier period that an answer holds its own against, and the flags of its facts.

    `steps_left_out` among the flags: so many steps of it have no counterpart, as the 31st has none in a shorter month.
    """

    compare: Compare
    period: Period
    flags: dict[str, int]

    def plain(self) -> dict[str, object]:
        """For JSON."""
        return {"compare": str(self.compare), **span_of(self.period), "flags": self.flags}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Rows, and what they are: each has the step's start under `time`, dimensions and measures by their names.

    Instants are aware, in the period's zone; money is Decimal; what is not known is None. `watermark`: everything
    created before it is in; None when no pull has completed. `flags` counts what a reader should know (the
    catalogue's flags), under `rows_left_out` and `groups_left_out` what `limit` and `top` cut off, and under
    `facts_removed` the facts it would have needed that are kept no longer. `read_from`: rollups, facts, or both; they
    say the same.

    Where it was asked for: `other` sums the groups that `top` left out, for each step, and has null in what does not
    add up; `totals` is the whole period without `by` and `grain`; both have null in the dimensions. `next_cursor`
    stands where rows were left out and asks for the next ones.
    """

    columns: tuple[str, ...]
    rows: list[Row]
    period: Period
    grain: Grain
    watermark: datetime | None
    flags: dict[str, int]
    units: dict[str, str]
    measures: tuple[Measure, ...] = ()
    by: tuple[Dimension, ...] = ()
    other: list[Row] | None = None
    totals: list[Row] | None = None
    compared: Compared | None = None
    read_from: str = field(default=FACTS, compare=False)
    next_cursor: str | None = field(default=None, compare=False)

    @property
    def timezone(self) -> str:
        """The IANA name of the zone that days are cut in."""
        return self.period.zone.key

    def plain(self) -> dict[str, object]:
        """For JSON: instants as ISO 8601, money as text, so that no digit is lost. What was not asked is not there."""
        told: dict[str, object] = {
            "rows": _plain(self.rows),
            "period": span_of(self.period),
            "timezone": self.timezone,
            "grain": str(self.grain),
            "watermark": plain(self.watermark),
            "flags": self.flags,
            "units": self.units,
            "from": self.read_from,
        }
        told |= {"other": _plain(self.other)} if self.other is not None else {}
        told |= {"totals": _plain(self.totals)} if self.totals is not None else {}
        told |= {"compared": self.compared.plain()} if self.compared else {}
        return told | ({"next_cursor": self.next_cursor} if self.next_cursor else {})


def plain(value: object) -> object:
    """One value for JSON or CSV."""
    if isinstance(value, datetime):
        return value.isoformat()
    return format(value, "f") if isinstance(value, Decimal) else value


def span_of(period: Period) -> dict[str, str]:
    """A period for JSON: half-open, in UTC."""
    return {"since": period.start.isoformat(), "until": period.end.isoformat()}


def put_in_order(found: Iterable[Row], query: Query) -> list[Row]:
    """As the query says; what is not known comes last, whichever way the rest goes."""
    rows = list(found)
    if not any(order.is_descending for order in query.sorting):
        with suppress(TypeError):  # something is not known, and compares with nothing
            rows.sort(key=itemgetter(*names) if (names := [order.by for order in query.sorting]) else bool)
            return rows
    for order in reversed(query.sorting):
        known = [row for row in rows if row[order.by] is not None]
        unknown = [row for row in rows if row[order.by] is None]
        known.sort(key=lambda row, by=order.by: row[by], reverse=order.is_descending)  # type: ignore[misc]
        rows = known + unknown
    return rows


def _plain(rows: Iterable[Row]) -> list[Row]:
    return [{name: plain(value) for name, value in row.items()} for row in rows]
