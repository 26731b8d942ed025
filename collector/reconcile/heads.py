"""What Dify counts by name, out of the store: conversations and end users of messages, users of runs, by local day.

What comes in is `rows` and a period; what goes out are counts of different names. They do not add up over facts, so
each comes three times: of all facts, of those Dify counts, and of those that are surely counted. Nothing here judges.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from collector.measures.dify import COUNTED_MESSAGE, COUNTED_RUN
from collector.measures.fragments import qualify
from collector.period import Period
from collector.reconcile.figures import Rows, read
from collector.records import Message, Run


@dataclass(frozen=True, slots=True)
class Heads:
    """Different names among the messages of one app and day, tests left out."""

    app_id: str
    day: date
    conversations: int
    counted_conversations: int  # of messages that Dify counts, or may count
    sure_conversations: int  # of messages that are known to be no tests
    end_users: int
    counted_end_users: int
    sure_end_users: int


@dataclass(frozen=True, slots=True)
class RunHeads:
    """Different users among the runs of one app and day, tests left out."""

    app_id: str
    day: date
    users: int
    counted_users: int  # of runs that Dify counts
    nameless: int  # runs that Dify counts and whose user nobody told


_END_USER = "CASE WHEN message.user_kind = 'end_user' THEN message.user_id END"
_COUNTED, _SURE = qualify(COUNTED_MESSAGE, Message), "message.is_debug IS NOT NULL"

_MESSAGES = f"""
SELECT app_id, {{day}} AS day,
  count(DISTINCT conversation_id),
  count(DISTINCT conversation_id) FILTER ({_COUNTED}),
  count(DISTINCT conversation_id) FILTER ({_COUNTED} AND {_SURE}),
  count(DISTINCT {_END_USER}),
  count(DISTINCT {_END_USER}) FILTER ({_COUNTED}),
  count(DISTINCT {_END_USER}) FILTER ({_COUNTED} AND {_SURE})
FROM message
WHERE message.created_at >= $since AND message.created_at < $until AND message.is_debug IS NOT TRUE
  AND message.app_id IN (SELECT unnest($apps))
GROUP BY ALL
"""

_RUNS = f"""
WITH named AS (
  SELECT run.app_id, {{day}} AS day, coalesce(run.user_id, message.user_id) AS name,
    {qualify(COUNTED_RUN, Run)} AS is_counted
  FROM run LEFT JOIN message ON message.run_id = run.id
  WHERE run.created_at >= $since AND run.created_at < $until AND run.is_debug IS NOT TRUE
    AND run.app_id IN (SELECT unnest($apps))
)
SELECT app_id, day, count(DISTINCT name), count(DISTINCT name) FILTER (is_counted),
  count(*) FILTER (is_counted AND name IS NULL)
FROM named
GROUP BY ALL
"""


def of_messages(rows: Rows, period: Period, apps: Sequence[str]) -> Iterator[Heads]:
    """By app and day, those without messages left out."""
    return (Heads(*row) for row in read(rows, _MESSAGES, "message.created_at", period, apps))


def of_runs(rows: Rows, period: Period, apps: Sequence[str]) -> Iterator[RunHeads]:
    """By app and day, those without runs left out."""
    return (RunHeads(*row) for row in read(rows, _RUNS, "run.created_at", period, apps))
