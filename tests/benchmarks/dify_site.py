"""A Dify with as many messages and runs as one likes, twice: in its own PostgreSQL tables and in a store of ours; and
the statements that Dify runs for its statistics.

What comes in is a number of rows; what goes out is a filled database, the same facts in a store, and STATISTICS. Nobody
waited for in it: only what the statistics read is filled in.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import psycopg
import pyarrow as pa

from collector.records import App, Conversation, Feedback, Message, Record, Run
from collector.store import Store
from collector.store.columns import fitted
from collector.store.tables import table_of
from tests.servers.postgres import Postgres, create_indexes, create_tables

END = datetime(2026, 11, 20, tzinfo=UTC)
DAYS = 90
MODES = {"chat": 40, "completion": 10, "workflow": 20}
"""How many apps there are of a kind."""

PIECE, FILLERS = 100_000, 3
READER_MEMORY = "4GB"

_TALKING = MODES["chat"] + MODES["completion"]
_AT = "date_trunc('second', timestamp '{start}' + n * interval '{step} s')"

_MESSAGES = f"""
INSERT INTO messages (id, app_id, model_provider, model_id, conversation_id, inputs, query, message, message_tokens,
  message_unit_price, answer, answer_tokens, answer_unit_price, provider_response_latency, total_price, currency,
  from_source, from_end_user_id, created_at, updated_at, status, invoke_from, app_mode)
SELECT md5('message' || n)::uuid, md5('app' || a)::uuid, 'langgenius/openai/openai', 'gpt-4o-mini',
  md5('conversation' || n / 200 || '/' || a)::uuid, '{{{{}}}}', repeat(md5(n::text), 2), '[]', h % 1000, 0.15,
  repeat(md5(n::text), 4), h / 7 % 500, 0.6, (h % 5000) / 1000.0, (h % 100000) / 1e7, 'USD', 'api',
  md5('user' || abs(hashint8(n / 200 * 50 + a)::bigint) % 2000 || '/' || a)::uuid, at, at, 'normal',
  CASE h % 20 WHEN 0 THEN 'debugger' WHEN 1 THEN 'web-app' ELSE 'service-api' END,
  CASE WHEN a < {MODES["chat"]} THEN 'chat' ELSE 'completion' END
FROM generate_series({{first}}, {{last}}) n,
  LATERAL (SELECT abs(hashint8(n::bigint)::bigint) AS h) x,
  LATERAL (SELECT h / 13 % {_TALKING} AS a, {_AT} AS at) y
"""

_RUNS = f"""
INSERT INTO workflow_runs (id, tenant_id, app_id, workflow_id, type, triggered_from, version, status, elapsed_time,
  total_tokens, total_steps, created_by_role, created_by, created_at, finished_at)
SELECT md5('run' || n)::uuid, md5('workspace')::uuid, md5('app' || a)::uuid, md5('workflow' || a)::uuid, 'workflow',
  CASE h % 20 WHEN 0 THEN 'debugging' WHEN 1 THEN 'webhook' ELSE 'app-run' END, '1', 'succeeded', (h % 9000) / 1000.0,
  h % 3000, 5, 'end_user', md5('user' || h / 11 % 2000 || '/' || a)::uuid, at, at + interval '4 s'
FROM generate_series({{first}}, {{last}}) n,
  LATERAL (SELECT abs(hashint8(n::bigint)::bigint) AS h) x,
  LATERAL (SELECT {_TALKING} + h / 13 % {MODES["workflow"]} AS a, {_AT} AS at) y
"""

_CONVERSATIONS = """
INSERT INTO conversations (id, app_id, mode, name, inputs, status, from_source, from_end_user_id, created_at,
  updated_at, invoke_from)
SELECT DISTINCT ON (conversation_id) conversation_id, app_id, app_mode, 'New conversation', '{}', 'normal', 'api',
  from_end_user_id, created_at, created_at, 'service-api'
FROM messages ORDER BY conversation_id, created_at
"""

_FEEDBACK = """
INSERT INTO message_feedbacks (id, app_id, conversation_id, message_id, rating, from_source, from_end_user_id,
  created_at, updated_at)
SELECT md5('feedback' || id)::uuid, app_id, conversation_id, id,
  CASE WHEN abs(hashint8(message_tokens)) % 4 = 0 THEN 'dislike' ELSE 'like' END, 'user', from_end_user_id,
  created_at, created_at
FROM messages WHERE message_tokens % 20 = 3
"""

_READ: Mapping[type[Record], tuple[str, str]] = {
    Message: (
        "SELECT id, app_id, conversation_id, 'succeeded' AS status, TRUE AS is_final, invoke_from, "
        "invoke_from = 'debugger' AS is_debug, from_end_user_id AS user_id, 'end_user' AS user_kind, created_at, "
        "provider_response_latency AS latency_seconds, message_tokens AS reported_input_tokens, "
        "answer_tokens AS reported_output_tokens, total_price AS reported_cost, 'USD' AS currency FROM messages",
        "CAST(reported_cost AS DECIMAL(18, 9)) AS reported_cost",
    ),
    Run: (
        "SELECT id, app_id, workflow_id, version, status, TRUE AS is_final, triggered_from, "
        "triggered_from = 'debugging' AS is_debug, created_by AS user_id, created_by_role AS user_kind, created_at, "
        "finished_at, elapsed_time AS elapsed_seconds, total_tokens AS reported_tokens, total_steps AS steps, "
        "0 AS exceptions FROM workflow_runs",
        "CAST(finished_at AS TIMESTAMPTZ) AS finished_at, CAST(version AS VARCHAR) AS version",
    ),
    Conversation: (
        "SELECT id, app_id, from_end_user_id AS user_id, 'end_user' AS user_kind, created_at, updated_at "
        "FROM conversations",
        "CAST(updated_at AS TIMESTAMPTZ) AS updated_at",
    ),
    Feedback: (
        "SELECT message_id || '/user' AS id, message_id, from_source, app_id, conversation_id, "
        "from_end_user_id AS user_id, rating, created_at, updated_at FROM message_feedbacks",
        "CAST(updated_at AS TIMESTAMPTZ) AS updated_at",
    ),
}
"""Kind of fact -> what Dify's tables say of it, and what CSV does not say of types."""


@dataclass(frozen=True, kw_only=True)
class Statistic:
    """One of Dify's: its statement, for one app or for all, and our measures.

    `of_every` stands in for the condition on one app: the route is only for apps of some kind. `digits` are those
    that Dify's pages show.
    """

    sql: str
    measures: str
    mode: str | None = None  # only for apps of this mode
    alias: str = ""
    of_every: str = ""
    digits: int | None = None

    @property
    def of_one(self) -> str:
        """For the app %(app)s."""
        return self.sql.format(by="", of=f"{self.alias}app_id = %(app)s AND ")

    @property
    def of_all(self) -> str:
        """For all apps, each by itself."""
        return self.sql.format(by=f"{self.alias}app_id, ", of=self.of_every)


def _day(alias: str = "") -> str:
    return f"DATE({alias}created_at AT TIME ZONE 'UTC' AT TIME ZONE %(tz)s) AS date"


def _in_period(alias: str = "") -> str:
    return f"{alias}created_at >= %(start)s AND {alias}created_at < %(end)s"


def _of_messages(column: str) -> str:
    return (
        f"SELECT {{by}}{_day()}, {column} FROM messages WHERE {{of}}invoke_from != 'debugger' AND {_in_period()} "
        "GROUP BY {by}date ORDER BY date"
    )


def _of_runs(column: str) -> str:
    return (
        f"SELECT {{by}}{_day()}, {column} FROM workflow_runs WHERE {{of}}triggered_from = 'app-run' "
        f"AND {_in_period()} GROUP BY {{by}}date ORDER BY date"
    )


_SESSION_INTERACTIONS = f"""
SELECT {{by}}{_day("c.")}, AVG(each.message_count) AS interactions
FROM (
  SELECT m.conversation_id, COUNT(m.id) AS message_count
  FROM conversations c JOIN messages m ON c.id = m.conversation_id
  WHERE {{of}}m.invoke_from != 'debugger' AND {_in_period("c.")} GROUP BY m.conversation_id
) each LEFT JOIN conversations c ON c.id = each.conversation_id
GROUP BY {{by}}date ORDER BY date
"""
_SATISFACTION = f"""
SELECT {{by}}{_day("m.")}, 1000.0 * COUNT(mf.id) / COUNT(m.id)
FROM messages m LEFT JOIN message_feedbacks mf ON mf.message_id = m.id AND mf.rating = 'like'
WHERE {{of}}m.invoke_from != 'debugger' AND {_in_period("m.")} GROUP BY {{by}}date ORDER BY date
"""
_APP_INTERACTIONS = f"""
SELECT {{by}}each.date, AVG(each.interactions) FROM (
  SELECT app_id, {_day()}, created_by, COUNT(id) AS interactions FROM workflow_runs c
  WHERE {{of}}triggered_from = 'app-run' AND {_in_period()} GROUP BY app_id, date, created_by
) each GROUP BY {{by}}each.date
"""
_SPEED = (
    "CASE WHEN SUM(provider_response_latency) = 0 THEN 0 ELSE SUM(answer_tokens) / SUM(provider_response_latency) END"
)

STATISTICS = {
    "daily-messages": Statistic(sql=_of_messages("COUNT(*)"), measures="dify_messages"),
    "daily-conversations": Statistic(
        sql=_of_messages("COUNT(DISTINCT conversation_id)"), measures="dify_conversations"
    ),
    "daily-end-users": Statistic(sql=_of_messages("COUNT(DISTINCT from_end_user_id)"), measures="dify_end_users"),
    "token-costs": Statistic(
        sql=_of_messages("SUM(message_tokens) + SUM(answer_tokens), SUM(total_price)"),
        measures="dify_tokens,dify_cost",
    ),
    "tokens-per-second": Statistic(sql=_of_messages(_SPEED), measures="dify_tokens_per_second", digits=4),
    "average-session-interactions": Statistic(
        sql=_SESSION_INTERACTIONS,
        measures="dify_session_interactions",
        mode="chat",
        alias="c.",
        of_every="c.mode = 'chat' AND ",
        digits=2,
    ),
    "user-satisfaction-rate": Statistic(sql=_SATISFACTION, measures="dify_satisfaction", alias="m.", digits=2),
    "average-response-time": Statistic(
        sql=_of_messages("AVG(provider_response_latency) * 1000"),
        measures="dify_response_time_ms",
        mode="completion",
        of_every="app_mode = 'completion' AND ",
        digits=4,
    ),
    "workflow daily-conversations": Statistic(sql=_of_runs("COUNT(id)"), measures="dify_runs", mode="workflow"),
    "workflow daily-terminals": Statistic(
        sql=_of_runs("COUNT(DISTINCT created_by)"), measures="dify_run_users", mode="workflow"
    ),
    "workflow token-costs": Statistic(sql=_of_runs("SUM(total_tokens)"), measures="dify_run_tokens", mode="workflow"),
    "workflow average-app-interactions": Statistic(
        sql=_APP_INTERACTIONS, measures="dify_app_interactions", mode="workflow", digits=2
    ),
}
"""Source: api/controllers/console/app/statistic.py, workflow_statistic.py"""


def fill(server: Postgres, database: str, rows: int) -> None:
    """So many messages, and as many runs, evenly over the days before END in order of time; then Dify's indexes."""
    create_tables(server, database, indexes=False)
    start = END - timedelta(days=DAYS)
    step = timedelta(days=DAYS).total_seconds() / (rows + 1)

    def run(statement: str) -> None:
        with psycopg.connect(server.dsn(database), autocommit=True) as connection:
            connection.execute("SET work_mem = '512MB'")
            connection.execute(statement.encode())

    def pieces(statement: str) -> list[str]:
        return [
            statement.format(first=first, last=min(first + PIECE, rows) - 1, start=f"{start:%Y-%m-%d}", step=step)
            for first in range(0, rows, PIECE)
        ]

    with ThreadPoolExecutor(FILLERS) as fillers:
        list(fillers.map(run, [*pieces(_MESSAGES), *pieces(_RUNS)]))
        list(fillers.map(run, [_CONVERSATIONS, _FEEDBACK]))
    create_indexes(server, database)
    run("VACUUM ANALYZE")


def apps(connection: psycopg.Connection, mode: str | None) -> list[str]:
    """The apps of a mode, or those that have messages."""
    numbers = {"chat": range(MODES["chat"]), "completion": range(MODES["chat"], _TALKING), None: range(_TALKING)}
    asked = numbers.get(mode, range(_TALKING, _TALKING + MODES["workflow"]))
    found = connection.execute("SELECT md5('app' || n)::uuid::text FROM unnest(%s::int[]) n", [[*asked]]).fetchall()
    return [key for (key,) in found]


def copy(connection: psycopg.Connection, store: Store, room: Path) -> None:
    """The same facts into our store."""
    store.put(
        [App(source="database", seen_at=END, id=key, mode=mode) for mode in MODES for key in apps(connection, mode)]
    )
    for record, (select, cast) in _READ.items():
        file = room / f"{record.table}.csv"
        asked = f"COPY ({select} ORDER BY created_at) TO STDOUT WITH (FORMAT csv, HEADER)"
        with file.open("wb") as written, connection.cursor().copy(asked.encode()) as told:
            for block in told:
                written.write(block)
        with closing(duckdb.connect(config={"memory_limit": READER_MEMORY})) as reader:
            reader.execute("SET TimeZone = 'UTC'")
            columns = f"* REPLACE (CAST(created_at AS TIMESTAMPTZ) AS created_at, {cast})"
            sql = f"SELECT 'database' AS source, $seen AS seen_at, {columns} FROM read_csv($file)"
            for batch in reader.sql(sql, params={"seen": END, "file": str(file)}).to_arrow_reader(1_000_000):
                store.put_columns({record: fitted(table_of(record), pa.Table.from_batches([batch]))})
        file.unlink()
