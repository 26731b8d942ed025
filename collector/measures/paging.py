"""Pages of an answer: a row -> a cursor that people send back -> the rows behind that row.

A cursor holds the period and the instant of the question as well, so that "until now" means the same on every page. It
goes by the values of a row and not by its place: facts that come in between push no row over the edge of a page.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation

import msgspec

from collector.errors import QueryError
from collector.measures.answer import Row, put_in_order
from collector.measures.ask import After, Query

_INSTANT, _MONEY = "at", "amount"


@dataclass(frozen=True)
class Cursor:
    """Where a page ended. `now` is the instant at which the first page was asked for."""

    since: datetime
    until: datetime
    now: datetime | None
    after: After


def read_cursor(written: str) -> Cursor:
    """What `write_cursor` wrote. Raises QueryError for anything else."""
    try:
        told = msgspec.json.decode(urlsafe_b64decode(written.encode("ascii") + b"=" * (-len(written) % 4)))
        since, until, now, question, seen, row = told
        return Cursor(
            _instant(since),
            _instant(until),
            _instant(now) if now else None,
            After(tuple(_value(value) for value in row), str(question), int(seen)),
        )
    except (ValueError, TypeError, KeyError, InvalidOperation, msgspec.MsgspecError):
        raise QueryError(
            f"no cursor {written[:20]!r}", field="cursor", remedy="take next_cursor of an answer as it stands there"
        ) from None


def write_cursor(query: Query, page: Sequence[Row], now: datetime | None) -> str:
    """The cursor behind the last row of a page."""
    values = [_told(page[-1][order.by]) for order in query.sorting]
    seen = len(page) + (query.after.seen if query.after else 0)
    instants = [each and each.isoformat() for each in (query.period.start, query.period.end, now)]
    return urlsafe_b64encode(msgspec.json.encode([*instants, query.fingerprint, seen, values])).decode().rstrip("=")


def following(rows: list[Row], query: Query) -> list[Row]:
    """The rows behind the one that the query goes on after, in order. Raises QueryError."""
    if query.after is None:
        return put_in_order(rows, query)
    names = [order.by for order in query.sorting]
    try:
        mark = dict(zip(names, query.after.row, strict=True))
        others = [row for row in rows if any(row[name] != mark[name] for name in query.keys)]
        found = put_in_order([*others, mark], query)
    except (ValueError, TypeError):
        raise QueryError(
            "the cursor does not fit the question", field="cursor", remedy="begin again without it"
        ) from None
    return found[next(place for place, row in enumerate(found) if row is mark) + 1 :]


def _told(value: object) -> object:
    if isinstance(value, datetime):
        return {_INSTANT: value.isoformat()}
    return {_MONEY: str(value)} if isinstance(value, Decimal) else value


def _value(told: object) -> object:
    if isinstance(told, dict):
        return _instant(told[_INSTANT]) if _INSTANT in told else Decimal(told[_MONEY])
    if isinstance(told, list):
        raise TypeError
    return told


def _instant(told: object) -> datetime:
    at = datetime.fromisoformat(str(told))
    if at.tzinfo is None:
        raise ValueError
    return at
