"""What comes back: rows with everything a reader needs to trust them, and how they are put into order.

What comes in are rows by name; what goes out is an Answer, also as plain JSON values. Nothing here runs a query.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TypeAlias

from collector.measures.ask import TIME, Order, Query
from collector.period import Grain, Period

Row: TypeAlias = dict[str, object]

ROLLUPS, FACTS, BOTH = "rollups", "facts", "both"
"""Where an answer comes from."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Rows, and what they are: each has the step's start under `time`, dimensions and measures by their names.

    Instants are aware, in the period's zone; money is Decimal; what is not known is None. `watermark`: everything
    created before it is in; None when no pull has completed. `flags` counts what a reader should know (the
    catalogue's flags), under `rows_left_out` and `groups_left_out` what `limit` and `top` cut off, and under
    `facts_removed` the facts it would have needed that are kept no longer. `read_from`: rollups, facts, or both; they
    say the same.
    """

    columns: tuple[str, ...]
    rows: list[Row]
    period: Period
    grain: Grain
    watermark: datetime | None
    flags: dict[str, int]
    units: dict[str, str]
    read_from: str = FACTS

    @property
    def timezone(self) -> str:
        """The IANA name of the zone that days are cut in."""
        return self.period.zone.key

    def plain(self) -> dict[str, object]:
        """For JSON: instants as ISO 8601, money as text, so that no digit is lost."""
        return {
            "rows": [{name: plain(value) for name, value in row.items()} for row in self.rows],
            "period": {"since": self.period.start.isoformat(), "until": self.period.end.isoformat()},
            "timezone": self.timezone,
            "grain": str(self.grain),
            "watermark": plain(self.watermark),
            "flags": self.flags,
            "units": self.units,
            "from": self.read_from,
        }


def plain(value: object) -> object:
    """One value for JSON or CSV."""
    if isinstance(value, datetime):
        return value.isoformat()
    return format(value, "f") if isinstance(value, Decimal) else value


def key_names(query: Query) -> tuple[str, ...]:
    """The columns that tell rows apart."""
    return (*((TIME,) if query.grain is not Grain.NONE else ()), *(dimension.name for dimension in query.by))


def put_in_order(found: Iterable[Row], query: Query) -> list[Row]:
    """As the query says, then by time and dimensions; what is not known comes last, whichever way the rest goes."""
    orders = query.order
    if not orders and query.top is not None and query.grain is Grain.NONE:
        orders = (Order(query.measures[0].name, is_descending=True),)
    rows = list(found)
    for order in reversed((*orders, *(Order(name) for name in key_names(query)))):
        known = [row for row in rows if row[order.by] is not None]
        unknown = [row for row in rows if row[order.by] is None]
        known.sort(key=lambda row, by=order.by: row[by], reverse=order.is_descending)  # type: ignore[misc]
        rows = known + unknown
    return rows
