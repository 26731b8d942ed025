"""What is compared, out of the store: runs, messages and requests of a period by local day, and Dify's statistics.

What comes in is `rows` (SQL and parameters -> tuples) and a period; what goes out are groups: facts whose totals need
no word are summed by app and day, every other fact comes alone, so that each gets its own cause. Nothing here judges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, TypeAlias

from collector.ledger import CONTAINER_NODES, TOOL
from collector.measures.dify import COUNTED_MESSAGE, COUNTED_RUN
from collector.measures.fragments import qualify
from collector.period import Period
from collector.quirks import ITERATION, LOOP
from collector.records import STALE, Message, Run

Amount: TypeAlias = int | Decimal
"""Of tokens and facts a whole number, of money a Decimal."""

Rows: TypeAlias = Callable[[str, Mapping[str, object] | Sequence[object]], list[tuple[object, ...]]]


def size(amount: Amount) -> Decimal:
    """How much, whichever way."""
    return Decimal(amount).copy_abs()


@dataclass(frozen=True, slots=True)
class RunFigures:
    """Runs of one app and day, or one run that needs a word (then `facts` is 1)."""

    app_id: str
    day: date
    is_odd: bool
    is_counted: bool  # by Dify's statistics
    facts: int
    calls: int  # tokens of the model calls
    reported: int  # tokens as Dify totals them in the run
    added: int  # tokens of workflow tools that the total repeats
    nodes: int  # tokens as its nodes tell them
    tools: int  # of these, of workflow tools
    containers: int  # of these, of iterations and loops
    untold: int  # tokens of calls whose node tells no total
    estimated: int  # tokens of calls that stand for others
    in_iterations: int
    in_loops: int
    is_open: bool
    is_read: bool  # its calls are known
    status: str
    created_at: datetime
    ended_at: datetime | None  # the last end
    workspace_id: str | None
    has_message: bool
    cost: Decimal  # of its calls, all currencies added as Dify adds them


@dataclass(frozen=True, slots=True)
class MessageFigures:
    """Messages of one app and day, or one message that needs a word."""

    app_id: str
    day: date
    is_odd: bool
    is_counted: bool
    is_debug_known: bool
    facts: int
    calls: int  # tokens of its calls, or of its run's
    reported: int  # tokens as Dify wrote them into the message
    run_reported: int
    added: int  # tokens of workflow tools that the total repeats
    in_iterations: int
    in_loops: int
    is_open: bool
    is_run_open: bool
    is_run_stopped: bool
    is_read: bool
    status: str
    created_at: datetime
    ended_at: datetime | None
    workspace_id: str | None
    cost: Decimal  # of its calls, all currencies added as Dify adds them
    unpriced: int  # tokens of calls whose price nobody told
    told_cost: Decimal | None  # as Dify wrote it into the message; None: not told
    untold: int  # messages that spent tokens and do not tell their price


@dataclass(frozen=True, slots=True)
class RequestFigures:
    """Requests of one app and day that became a run or a message, by what the tap saw."""

    app_id: str
    day: date
    seen: int
    known: int  # of these, to Dify


@dataclass(frozen=True, slots=True)
class Told:
    """One number of Dify's statistics, and when we had it."""

    number: Amount
    seen_at: datetime


def local_day(at: str, period: Period) -> str:
    """SQL: the date of an instant in the period's zone. Instants and distances are ours, not a user's."""
    offsets = [(since, round(distance.total_seconds() * 1_000_000)) for since, distance in period.offsets()]
    changes = zip(offsets[1:], offsets, strict=False)
    cases = " ".join(
        f"WHEN {at} < TIMESTAMPTZ '{later.isoformat()}' THEN {ahead}" for (later, _), (_, ahead) in changes
    )
    ahead = f"CASE {cases} ELSE {offsets[-1][1]} END" if cases else str(offsets[-1][1])
    return f"CAST(make_timestamp(epoch_us({at}) + {ahead}) AS DATE)"


_CONTAINERS = ", ".join(f"'{kind}'" for kind in sorted(CONTAINER_NODES))
_STOPPED = f"('stopped', '{STALE}')"

_OF_RUNS = f"""
calls AS (
  SELECT
    model_call.run_id,
    sum(model_call.tokens) AS tokens,
    sum(model_call.cost) AS cost,
    sum(model_call.tokens) FILTER (model_call.cost IS NULL) AS unpriced,
    sum(model_call.tokens) FILTER (model_call.is_estimate) AS estimated,
    sum(model_call.tokens) FILTER (NOT model_call.is_estimate AND node.reported_tokens IS NULL) AS untold,
    sum(model_call.tokens) FILTER (around.node_type = '{ITERATION}') AS in_iterations,
    sum(model_call.tokens) FILTER (around.node_type = '{LOOP}') AS in_loops
  FROM model_call
  LEFT JOIN node_execution AS node ON node.id = model_call.id
  LEFT JOIN (
    SELECT DISTINCT run_id, node_id, node_type FROM node_execution WHERE node_type IN ({_CONTAINERS})
  ) AS around ON around.run_id = model_call.run_id AND around.node_id = node.container_id
  WHERE model_call.run_id IN (SELECT id FROM runs)
  GROUP BY 1
),
nodes AS (
  SELECT
    run_id,
    sum(reported_tokens) AS tokens,
    sum(reported_tokens) FILTER (node_type = '{TOOL}') AS tools,
    sum(reported_tokens) FILTER (node_type IN ({_CONTAINERS})) AS containers
  FROM node_execution
  WHERE run_id IN (SELECT id FROM runs)
  GROUP BY 1
),
totals AS (
  SELECT
    runs.*,
    coalesce(calls.tokens, 0) AS calls,
    coalesce(calls.cost, 0) AS cost,
    coalesce(calls.unpriced, 0) AS unpriced,
    coalesce(runs.reported_tokens, 0) AS reported,
    coalesce(nodes.tokens, 0) AS nodes,
    coalesce(nodes.tools, 0) AS tools,
    coalesce(nodes.containers, 0) AS containers,
    coalesce(calls.untold, 0) AS untold,
    coalesce(calls.estimated, 0) AS estimated,
    coalesce(calls.in_iterations, 0) AS in_iterations,
    coalesce(calls.in_loops, 0) AS in_loops,
    CASE WHEN coalesce(runs.reported_tokens, 0) - coalesce(calls.tokens, 0) = nodes.tools THEN nodes.tools ELSE 0 END
      AS added,
    NOT runs.is_final AND runs.status <> '{STALE}' AS is_open,
    runs.leaves_known IS TRUE AS is_read
  FROM runs LEFT JOIN calls ON calls.run_id = runs.id LEFT JOIN nodes ON nodes.run_id = runs.id
)
"""
"""Common table expressions over `runs`: what their calls and nodes add up to."""

_RUNS = (
    """
WITH runs AS (
  SELECT run.*, {day} AS day
  FROM run WHERE run.created_at >= $since AND run.created_at < $until AND run.is_debug IS NOT TRUE
    AND run.app_id IN (SELECT unnest($apps))
), """
    + _OF_RUNS
    + f""", judged AS (
  SELECT totals.*, {qualify(COUNTED_RUN, Run).replace("run.", "totals.")} AS is_counted,
    EXISTS (SELECT 1 FROM message WHERE message.run_id = totals.id)
      OR EXISTS (SELECT 1 FROM message WHERE message.id = totals.message_id) AS has_message,
    reported <> calls + added
      OR nodes <> calls + tools + containers - untold - estimated
      OR is_open OR (NOT is_read AND calls <> reported) AS is_odd
  FROM totals
)
SELECT
  app_id, day, is_odd, is_counted, count(*), sum(calls), sum(reported), sum(added), sum(nodes), sum(tools),
  sum(containers), sum(untold), sum(estimated), sum(in_iterations), sum(in_loops), is_open, bool_and(is_read),
  any_value(status), min(created_at), max(finished_at), any_value(workspace_id), has_message,
  sum(cost)
FROM judged
GROUP BY
  app_id, day, is_odd, is_counted, is_open, has_message, CASE WHEN is_odd THEN id END,
  added <> 0, tools <> 0, containers <> 0, untold <> 0, estimated <> 0
"""
)

_MESSAGES = (
    """
WITH messages AS (
  SELECT message.*, {day} AS day
  FROM message WHERE message.created_at >= $since AND message.created_at < $until AND message.is_debug IS NOT TRUE
    AND message.app_id IN (SELECT unnest($apps))
), runs AS (SELECT * FROM run WHERE id IN (SELECT run_id FROM messages)), """
    + _OF_RUNS
    + f""", own AS (
  SELECT message_id, sum(tokens) AS tokens, sum(cost) AS cost, sum(tokens) FILTER (cost IS NULL) AS unpriced
  FROM model_call
  WHERE run_id IS NULL AND message_id IN (SELECT id FROM messages) GROUP BY 1
), spent AS (
  SELECT
    messages.id, messages.app_id, messages.workspace_id, messages.day, messages.status, messages.created_at,
    messages.finished_at, messages.is_debug IS NOT NULL AS is_debug_known,
    {qualify(COUNTED_MESSAGE, Message).replace("message.", "messages.")} AS is_counted,
    coalesce(totals.calls, 0) + coalesce(own.tokens, 0) AS calls,
    coalesce(totals.cost, 0) + coalesce(own.cost, 0) AS cost,
    coalesce(totals.unpriced, 0) + coalesce(own.unpriced, 0) AS unpriced,
    messages.reported_cost AS told_cost,
    coalesce(messages.reported_input_tokens, 0) + coalesce(messages.reported_output_tokens, 0) AS reported,
    coalesce(totals.reported, 0) AS run_reported,
    coalesce(totals.added, 0) AS added,
    coalesce(totals.in_iterations, 0) AS in_iterations,
    coalesce(totals.in_loops, 0) AS in_loops,
    NOT messages.is_final AND messages.status <> '{STALE}' AS is_open,
    coalesce(totals.is_open, FALSE) AS is_run_open,
    coalesce(totals.status IN {_STOPPED}, FALSE) AS is_run_stopped,
    coalesce(totals.is_read, TRUE) AS is_read
  FROM messages LEFT JOIN totals ON totals.id = messages.run_id LEFT JOIN own ON own.message_id = messages.id
), judged AS (
  SELECT *, reported <> calls + added OR NOT is_debug_known OR is_open
    OR coalesce(told_cost <> cost, cost <> 0) AS is_odd
  FROM spent
)
SELECT
  app_id, day, is_odd, is_counted, is_debug_known, count(*), sum(calls), sum(reported), sum(run_reported), sum(added),
  sum(in_iterations), sum(in_loops), is_open, bool_or(is_run_open), bool_or(is_run_stopped), bool_and(is_read),
  any_value(status), min(created_at), max(finished_at), any_value(workspace_id), sum(cost), sum(unpriced),
  sum(told_cost), count(*) FILTER (told_cost IS NULL AND (reported > 0 OR calls > 0))
FROM judged
GROUP BY
  app_id, day, is_odd, is_counted, is_debug_known, is_open, CASE WHEN is_odd THEN id END, added <> 0,
  told_cost IS NULL
"""
)

_REQUESTS = """
WITH seen AS (
  SELECT DISTINCT app_id, {day} AS day, run_id, message_id FROM request
  WHERE created_at >= $since AND created_at < $until AND app_id IN (SELECT unnest($apps))
    AND (run_id IS NOT NULL OR message_id IS NOT NULL)
)
SELECT seen.app_id, seen.day, count(*), count(*) FILTER (
  run.source <> 'tap' OR run.version IS NOT NULL OR message.source <> 'tap' OR conversation.messages IS NOT NULL
)
FROM seen
LEFT JOIN run ON run.id = seen.run_id
LEFT JOIN message ON message.id = seen.message_id
LEFT JOIN conversation ON conversation.id = message.conversation_id
GROUP BY ALL
"""
"""What only Dify tells: a run's version, a conversation's number of messages."""


def runs(rows: Rows, period: Period, apps: Sequence[str]) -> Iterator[RunFigures]:
    """The runs that began in the period, test runs left out."""
    return (RunFigures(*row) for row in read(rows, _RUNS, "run.created_at", period, apps))


def messages(rows: Rows, period: Period, apps: Sequence[str]) -> Iterator[MessageFigures]:
    """The messages of the period, test messages left out."""
    return (MessageFigures(*row) for row in read(rows, _MESSAGES, "message.created_at", period, apps))


def requests(rows: Rows, period: Period, apps: Sequence[str]) -> Iterator[RequestFigures]:
    """The requests of the period that became something."""
    return (RequestFigures(*row) for row in read(rows, _REQUESTS, "created_at", period, apps))


def read(rows: Rows, sql: str, at: str, period: Period, apps: Sequence[str]) -> list[tuple[Any, ...]]:
    """Rows of SQL in which `{day}` stands for the local day of `at`."""
    parameters = {"since": period.start, "until": period.end, "apps": list(apps)}
    return rows(sql.replace("{day}", local_day(at, period)), parameters)
