"""When what is charged began, and what is missing of a period: facts that have gone, days on which nobody looked.

What comes in are a store's `rows` and a period; what goes out are numbers and words. Nothing here rates.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import cast

from collector.billing.book import Book
from collector.measures.query import Rows
from collector.period import Period

_FIRST = """
SELECT least((SELECT min(created_at) FROM model_call), (SELECT min(created_at) FROM dataset_day WHERE $has_storage))
"""

_GONE = """
SELECT count(DISTINCT starts_at) FROM retired_day
WHERE starts_at < $until AND starts_at > $since - INTERVAL 1 DAY
  AND (facts IN ('model_call', 'run', 'message')
    OR facts = 'request' AND EXISTS (SELECT 1 FROM payer_span WHERE kind = 'key'))
"""
"""Days of a period that have lost calls, or what says who pays for these."""

_UNSEEN = """
SELECT coalesce(sum(days), 0) FROM (
  SELECT date_diff('day', min(created_at), max(created_at)) + 1 - count(DISTINCT created_at) AS days FROM dataset_day
  WHERE created_at >= $since AND created_at < $until GROUP BY dataset_id
)
"""
"""Days between the first look at a knowledge base and the last on which nobody looked."""


def beginning(rows: Rows, book: Book) -> datetime | None:
    """The first instant of which something may be charged, in UTC; None of an empty store."""
    ((first,),) = rows(_FIRST, {"has_storage": bool(book.storage)})
    return cast(datetime, first).astimezone(UTC) if first else None


def days_gone(rows: Rows, period: Period) -> int:
    """How many days of a period have lost facts to their age."""
    ((number,),) = rows(_GONE, {"since": period.start, "until": period.end})
    return int(cast(int, number))


def doubts(rows: Rows, book: Book, period: Period, *, is_closed: bool) -> list[str]:
    """What makes a bill too small, in words."""
    found = []
    if not is_closed and (gone := days_gone(rows, period)):
        found.append(f"{gone} days have lost facts to their age: the bill is too small, and cannot be closed")
    if book.storage:
        ((unseen,),) = rows(_UNSEEN, {"since": period.start, "until": period.end})
        if unseen:
            found.append(f"{unseen} days of knowledge bases were not looked at: what they held is not charged")
    return found
