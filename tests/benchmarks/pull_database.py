"""Dify's database into records, beside PostgreSQL's driver reading the same columns and making nothing of them.

A million node executions of 200 000 runs, a server on this machine, both through a cursor of the server with the same
number of rows a fetch. The peer reads the columns that records are made of as they stand in the table, of this one
table; we read them cut down by the server, with the run's trigger and message beside, and make the records: 1.4 for
each row, as two nodes of five call a model. `python -m tests.benchmarks.pull_database [rows]`.
"""

from __future__ import annotations

import gc
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import psycopg

from collector.pull.database import ALWAYS, NEVER, Limits, node_queries, pull_database
from collector.pull.database.connection import look
from collector.pull.database.limits import NODES
from collector.pull.database.reader import Reader
from collector.records import ModelCall
from collector.store import open_store
from tests.servers.postgres import Postgres, create_tables, postgres, why_missing

ROWS, FETCH, ROUNDS = 1_000_000, 5000, 5
NOW = datetime(2026, 11, 21, tzinfo=UTC)

COLUMNS = """SELECT id, tenant_id, app_id, workflow_run_id, triggered_from, node_id, node_type, title, process_data,
 outputs, status, error, elapsed_time, execution_metadata, created_at, finished_at FROM workflow_node_executions"""

_USAGE = (
    '{"prompt_tokens": 33, "prompt_unit_price": "0.15", "prompt_price_unit": "0.000001", "prompt_price": "0.0000050",'
    ' "completion_tokens": 24, "completion_unit_price": "0.60", "completion_price_unit": "0.000001",'
    ' "completion_price": "0.0000144", "total_tokens": 57, "total_price": "0.0000194", "currency": "USD",'
    ' "latency": 0.559, "time_to_first_token": 0.221, "time_to_generate": 0.338}'
)

FILL = (
    """
INSERT INTO apps (id, tenant_id, name, mode, enable_site, enable_api, workflow_id)
SELECT md5('app' || a)::uuid, md5('tenant')::uuid, 'app ' || a, 'workflow', true, true, md5('workflow' || a)::uuid
FROM generate_series(0, 25) a
""",
    """
INSERT INTO workflow_runs (id, tenant_id, app_id, workflow_id, type, triggered_from, version, graph, inputs, status,
  outputs, elapsed_time, total_tokens, total_steps, created_by_role, created_by, created_at, finished_at)
SELECT md5('run' || r)::uuid, md5('tenant')::uuid, md5('app' || r % 26)::uuid, md5('workflow' || r % 26)::uuid,
  'workflow', 'app-run', '2026-06-01 00:00:00', '{"nodes": []}', '{}', 'succeeded', '{}', 2.5, 114, 5, 'end_user',
  md5('user' || r % 2000)::uuid, at, at + interval '2.5 s'
FROM generate_series(1, {runs}) r, LATERAL (SELECT timestamp '2026-06-01' + r * interval '0.25 s' AS at) t
""",
    """
INSERT INTO workflow_node_executions (id, tenant_id, app_id, workflow_id, triggered_from, workflow_run_id, index,
  node_id, node_type, title, inputs, process_data, outputs, status, elapsed_time, execution_metadata,
  created_by_role, created_by, created_at, finished_at)
SELECT md5('node' || r || '/' || n)::uuid, md5('tenant')::uuid, md5('app' || r % 26)::uuid,
  md5('workflow' || r % 26)::uuid, 'workflow-run', md5('run' || r)::uuid, n, 'node' || n, kind, 'Node ' || n,
  '{"query": "' || repeat(md5(r::text), 8) || '"}',
  CASE WHEN kind = 'llm' THEN '{"model_mode": "chat", "prompts": [{"role": "system", "text": "'
    || repeat(md5(r::text), 16) || '", "files": []}, {"role": "user", "text": "' || repeat(md5(n::text), 4)
    || '", "files": []}], "usage": ' || '{usage}' || ', "finish_reason": "stop", '
    || '"model_provider": "langgenius/openai/openai", "model_name": "gpt-4o-mini"}' ELSE '{}' END,
  CASE WHEN kind = 'llm' THEN '{"text": "' || repeat(md5(r::text), 12) || '", "reasoning_content": "", "usage": '
    || '{usage}' || ', "finish_reason": "stop"}' ELSE '{"result": "' || repeat(md5(r::text), 8) || '"}' END,
  'succeeded', 0.5, CASE WHEN kind = 'llm' THEN
    '{"total_tokens": 57, "total_price": "0.0000194", "currency": "USD"}' ELSE '{}' END,
  'end_user', md5('user' || r % 2000)::uuid, at, at + interval '0.5 s'
FROM generate_series(1, {runs}) r,
  (VALUES (1, 'start'), (2, 'llm'), (3, 'code'), (4, 'llm'), (5, 'end')) k(n, kind),
  LATERAL (SELECT timestamp '2026-06-01' + r * interval '0.25 s' + n * interval '0.5 s' AS at) t
""",
)


def fill(server: Postgres, database: str, rows: int) -> None:
    """That many node executions, five to a run, two of five with a prompt of 640 characters and usage."""
    with psycopg.connect(server.dsn(database), autocommit=True) as connection:
        for statement in FILL:
            connection.execute(statement.replace("{runs}", str(rows // 5)).replace("{usage}", _USAGE).encode())
        connection.execute("VACUUM ANALYZE")


def bare(dsn: str, statement: str, *, binary: bool = False, **parameters: object) -> float:
    """Rows a second of a cursor whose tuples nobody looks at."""
    with psycopg.connect(dsn) as connection, connection.cursor(name="bare") as cursor:
        started, count = time.perf_counter(), 0
        cursor.execute(statement.encode(), parameters or None, binary=binary)
        while rows := cursor.fetchmany(FETCH):
            count += len(rows)
        return count / (time.perf_counter() - started)


def ours(dsn: str) -> float:
    """Rows a second into records."""
    with look(dsn, Limits(fetch_rows=FETCH), lambda: NOW, time.sleep) as view:
        day = timedelta(days=1)
        reader = Reader(view, NOW, open_run_max_age=day, open_message_max_age=day)
        started, nodes, calls = time.perf_counter(), 0, 0
        for batch in reader.read(NODES, ALWAYS, NEVER):
            found = sum(isinstance(record, ModelCall) for record in batch)
            nodes, calls = nodes + len(batch) - found, calls + found
        took = time.perf_counter() - started
    assert nodes * 2 == calls * 5, (nodes, calls)
    return nodes / took


def stored(dsn: str) -> float:
    """Records a second, of a whole first pass into a fresh store."""
    with tempfile.TemporaryDirectory() as directory:
        store = open_store(Path(directory) / "facts.duckdb")
        started = time.perf_counter()
        pulls = pull_database(dsn, store.put, store.watermark, lambda: NOW)
        took = time.perf_counter() - started
        store.close()
    return sum(pull.records for pull in pulls) / took


def main(rows: int) -> int:
    """Fill, measure, print."""
    if missing := why_missing():
        print(missing, file=sys.stderr)
        return 1
    with postgres() as server:
        database = server.database()
        create_tables(server, database)
        fill(server, database, rows)
        dsn = server.dsn(database)
        period = dict.fromkeys(("since", "near"), datetime(1970, 1, 1)) | dict.fromkeys(
            ("until", "far"), datetime(9000, 1, 1)
        )
        period |= {"workspace": None}
        sides: dict[str, Callable[[], float]] = {
            "peer": lambda: bare(dsn, COLUMNS),
            "same": lambda: bare(dsn, node_queries.NODES, binary=True, **period),
            "ours": lambda: ours(dsn),
        }
        measured: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(ROUNDS):
            for name, side in sides.items():
                gc.collect()
                measured[name].append(side())
        kept = stored(dsn)
    peer, same, speed = (median(measured[name]) for name in ("peer", "same", "ours"))
    print(f"rows {rows}, records {rows * 7 // 5}")
    print(
        f"figure pull.database_rows_per_second {speed:.0f} rows/s beside psycopg reading the same columns: {peer:.0f}"
    )
    print(f"figure pull.database_ratio {speed / peer:.2f} x beside PostgreSQL reading the same columns")
    print(f"figure pull.database_statement_ratio {speed / same:.2f} x beside psycopg running our own statement")
    print(f"figure pull.database_stored_records_per_second {kept:.0f} records/s beside –")
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS))
