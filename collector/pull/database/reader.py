"""Streams of records out of one snapshot of Dify's database.

What comes in are periods and ids; what goes out are batches of records, as large as one fetch. A row that cannot be
read is left out, counted and named. Nothing here remembers what was read before, or stores anything.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TypeAlias, TypeVar

from collector.errors import QueryError, ShapeError
from collector.ledger import Telling
from collector.pull.database import apps, knowledge, messages, node_queries, nodes, runs
from collector.pull.database.aside import TABLES, Aside
from collector.pull.database.connection import Look, Parameters, Row
from collector.pull.database.graphs import Graphs
from collector.pull.database.limits import DATED, MESSAGES, NODES, RUNS, STREAMS, USERS
from collector.pull.database.values import in_workspace
from collector.records import DATABASE, Record, Run

_IDS_AT_ONCE, _WHOLE_AT_ONCE = 1000, 20

_THERE = f"""
SELECT m.id::text FROM messages m LEFT JOIN apps a ON a.id = m.app_id
WHERE m.id = ANY(%(ids)s::uuid[]) AND {in_workspace("a.tenant_id")}
"""

_CUTS = f"""
WITH begun AS (
  SELECT r.created_at, 1 AS run FROM workflow_runs r
  WHERE r.created_at >= %(since)s AND r.created_at < %(until)s AND {in_workspace("r.tenant_id")}
  UNION ALL
  SELECT m.created_at, 0 FROM messages m LEFT JOIN apps a ON a.id = m.app_id
  WHERE m.created_at >= %(since)s AND m.created_at < %(until)s AND {in_workspace("a.tenant_id")}
), placed AS (SELECT created_at, run, row_number() OVER (ORDER BY created_at DESC) AS place FROM begun)
SELECT array_agg(created_at AT TIME ZONE 'UTC' ORDER BY place) FILTER (WHERE place %% %(size)s = 0),
  count(*) FILTER (WHERE run = 1), count(*) FILTER (WHERE run = 0)
FROM placed
"""

_RUNS_OF = """
SELECT DISTINCT n.workflow_run_id::text FROM workflow_node_executions n
WHERE n.id = ANY(%(ids)s::uuid[]) AND n.workflow_run_id IS NOT NULL
"""
_BEGUN = "SELECT r.id::text, r.created_at AT TIME ZONE 'UTC' FROM workflow_runs r WHERE r.id = ANY(%(ids)s::uuid[])"

_T = TypeVar("_T")
Batches: TypeAlias = Generator[list[Record], None, None]


class Reader:
    """Reads records from an open look.

    `open_run_max_age` and `open_message_max_age`: how long an unfinished run or message may last before it is stale.
    """

    def __init__(
        self,
        look: Look,
        now: datetime,
        *,
        open_run_max_age: timedelta,
        open_message_max_age: timedelta,
        origin: str = "dify",
        workspace_id: str | None = None,
        aside: Aside | None = None,
    ) -> None:
        self._look, self._now, self._origin = look, now, origin
        self._within = {"workspace": workspace_id}
        self._telling = Telling(source=DATABASE, seen_at=now)
        self._stale_run, self._stale_message = now - open_run_max_age, now - open_message_max_age
        self._graphs = Graphs(look)
        self.failures = 0  # rows set aside
        self.aside = aside or Aside(origin, now)  # which they are
        self.unread: set[str] = set()  # runs some of whose nodes were, or are gone

    def read(self, stream: str, since: datetime, until: datetime) -> Batches:
        """What was made in [since, until). Apps and ratings come whole: they change and vanish without a trace."""
        schema, all_of = self._look.schema, self._within
        period = {"since": _naive(since), "until": _naive(until), **all_of}
        near = {name: _naive(at) for name, at in runs.around(since, until).items()}
        match stream:
            case "apps":
                return self._records(
                    stream, apps.apps_sql(schema), all_of, lambda row: [apps.app(row, self._telling, self._origin)]
                )
            case "users":
                return self._records(
                    stream, apps.end_users_sql(schema), period, lambda row: [apps.user(row, self._telling)]
                )
            case "node-executions":
                return self._nodes(node_queries.NODES, {**period, **near})
            case "runs":
                return self._records(stream, runs.runs_sql(schema, runs.IN_PERIOD), {**period, **near}, self._run)
            case "messages":
                return self._records(stream, messages.messages_sql(schema, messages.IN_PERIOD), period, self._message)
            case "conversations":
                sql = messages.conversations_sql(schema)
                return self._records(stream, sql, period, lambda row: [messages.conversation(row, self._telling)])
            case "feedback":
                sql = messages.feedback_sql()
                return self._records(stream, sql, all_of, lambda row: [messages.feedback(row, self._telling)])
            case "datasets":
                read = lambda row: [knowledge.dataset(row, self._telling, self._origin)]  # noqa: E731
                return self._records(stream, knowledge.DATASETS_SQL, all_of, read)
            case "documents":
                return self._records(
                    stream, knowledge.days_sql(schema), all_of, lambda row: [knowledge.day(row, self._telling)]
                )
            case "retrievals":
                return self._records(
                    stream, knowledge.RETRIEVALS_SQL, period, lambda row: [knowledge.retrieval(row, self._telling)]
                )
        raise QueryError(f"no stream {stream!r}; there are {', '.join(STREAMS)}", field="stream")

    def reread_runs(self, ids: Iterable[str], oldest: datetime) -> Batches:
        """Runs that were open, made at `oldest` or later. One that is gone is left out."""
        sql = runs.runs_sql(self._look.schema, runs.BY_ID)
        near = {name: _naive(at) for name, at in runs.around(oldest, self._now).items()}
        for some in _chunks(ids, _IDS_AT_ONCE):
            yield from self._records(RUNS, sql, {"ids": some, **near, **self._within}, self._run)

    def reread_messages(self, ids: Iterable[str]) -> Batches:
        """Messages that were open. One that is gone is left out."""
        sql = messages.messages_sql(self._look.schema, messages.BY_ID)
        for some in _chunks(ids, _IDS_AT_ONCE):
            yield from self._records(MESSAGES, sql, {"ids": some, **self._within}, self._message)

    def nodes_of(self, some: Iterable[Run]) -> Batches:
        """The node executions of these runs, with their calls."""
        for chunk in _chunks(some, _IDS_AT_ONCE):
            ids = {
                "ids": [run.id for run in chunk],
                "messages": [run.message_id for run in chunk],
                "conversations": [run.conversation_id for run in chunk],
            }
            yield from self._nodes(node_queries.NODES_OF_RUNS, ids)

    def single_steps(self, since: datetime, until: datetime) -> Batches:
        """Nodes that were tried out alone, in [since, until)."""
        period = {"since": _naive(since), "until": _naive(until), **self._within}
        return self._nodes(node_queries.SINGLE_STEPS, period)

    def workspaces(self) -> set[str]:
        """The workspaces that are read here."""
        sql = f"SELECT t.id::text FROM tenants t WHERE {in_workspace('t.id')}"
        return {row[0] for row in self._look.rows(sql, self._within)}

    def cuts(self, since: datetime, until: datetime, size: int) -> tuple[list[datetime], int, int]:
        """Where to cut [since, until) into parts of about `size` runs and messages, the latest cut first; and how many
        runs and how many messages there are in it. Reads their instants once, in the server."""
        period = {"since": _naive(since), "until": _naive(until), "size": size, **self._within}
        ((cuts, runs_found, messages_found),) = self._look.rows(_CUTS, period)
        return list(dict.fromkeys(cuts or ())), runs_found, messages_found

    def existing(self, ids: Iterable[str]) -> set[str]:
        """Which of these messages Dify still has, among those that are read here."""
        within = self._within
        return {
            row[0] for some in _chunks(ids, _IDS_AT_ONCE) for row in self._look.rows(_THERE, {"ids": some, **within})
        }

    def tried_again(self) -> tuple[dict[str, datetime], list[str]]:
        """What is to be read again of what was set aside: runs, of nodes their runs, with when they were made; and
        messages. What is gone is set aside no longer."""
        there = {stream: self._there(stream, self.aside.keys(stream)) for stream in DATED if stream != USERS}
        of_nodes = {row[0] for row in self._look.rows(_RUNS_OF, {"ids": [*there[NODES]]})} if there[NODES] else set()
        ids = [*there[RUNS], *(of_nodes - set(there[RUNS]))]
        begun: dict[str, datetime] = dict(self._look.rows(_BEGUN, {"ids": ids}) if ids else ())
        return begun, there[MESSAGES]

    def _there(self, stream: str, keys: list[str]) -> list[str]:
        """Which of these rows Dify still has."""
        if not keys:
            return []
        sql = f"SELECT t.id::text FROM {TABLES[stream]} t WHERE t.id = ANY(%(ids)s::uuid[])"
        found = [row[0] for row in self._look.rows(sql, {"ids": keys})]
        self.aside.take_up(stream, set(keys) - set(found))
        return found

    def _records(
        self, stream: str, sql: str, parameters: Parameters, record: Callable[[Row], Sequence[Record]]
    ) -> Batches:
        with closing(self._look.batches(sql, parameters)) as fetched:
            for rows in fetched:
                batch: list[Record] = []
                read = []
                for row in rows:
                    try:
                        batch.extend(record(row))
                        read.append(row)
                    except ShapeError as error:
                        self.failures += 1
                        self.aside.lay(stream, row, error)
                self.aside.read(stream, read)
                yield batch

    def _nodes(self, sql: str, parameters: Parameters) -> Batches:
        with closing(self._look.batches(sql, parameters)) as fetched:
            for rows in fetched:
                leaves = nodes.read_nodes(rows, DATABASE, self._now, self._whole)
                self.failures += len(leaves.unread)
                self.unread.update(row[3] for row, _ in leaves.unread if row[3])
                self._set_aside(rows, leaves.unread)
                self._graphs.complete(leaves.records)
                yield [*leaves.records]

    def _set_aside(self, rows: Sequence[Row], unread: Sequence[tuple[Row, ShapeError]]) -> None:
        for row, error in unread:
            self.aside.lay(NODES, row, error)
        failed = {row[0] for row, _ in unread}
        self.aside.read(NODES, (row for row in rows if row[0] not in failed))

    def _whole(self, ids: list[str]) -> dict[str, tuple[bytes | None, bytes | None]]:
        found = {}
        for some in _chunks(ids, _WHOLE_AT_ONCE):
            for key, process, outputs in self._look.rows(node_queries.WHOLE, {"ids": some}):
                found[key] = (process, outputs)
        return found

    def _run(self, row: Row) -> list[Run]:
        run = runs.run(row, self._telling, self._stale_run)
        if not runs.has_nodes(row):
            self.unread.add(run.id)
        return [run]

    def _message(self, row: Row) -> Sequence[Record]:
        return messages.message(row, self._telling, self._stale_message)


def _naive(at: datetime) -> datetime:
    """An instant as Dify's columns hold it: UTC, without saying so."""
    return at.astimezone(UTC).replace(tzinfo=None)


def _chunks(some: Iterable[_T], size: int) -> Iterator[list[_T]]:
    rest = iter(some)
    while chunk := list(islice(rest, size)):
        yield chunk
