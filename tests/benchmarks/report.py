"""How long a month's report takes over millions of calls.

    python -m tests.benchmarks.report [--rows 10000000] [--rounds 3]

report.month_s          a report about a month beside the one before, made of one moment of the store and written as
                        HTML, over 90 days of model calls: a quarter of them in runs of workflows, a quarter in
                        messages of chat apps, of 2,000 users and 51 apps
report.month_made_s     the same without writing
report.month_xlsx_s     writing it as a workbook instead

Rollups are settled, as in a service that has run for a while. Medians are told.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import duckdb
import pyarrow as pa

from collector.records import App, Message, ModelCall, Record, Run, User
from collector.reporting import report_of
from collector.reports.forms import Form, written
from collector.reports.spans import span_of
from collector.store import Store, open_store
from collector.store.columns import fitted
from collector.store.tables import table_of
from tests.benchmarks.figure import Figure
from tests.benchmarks.store import END

DAYS, MEMORY, TZ, MONTH, USERS = 90, "6GB", "Asia/Shanghai", "2026-10", 2_000
PIECE = 1_000_000

# Four calls after another belong together: to a run where their number is odd, else to a message. Dify totals them.
_PLACES = """
SELECT *, input_tokens + output_tokens AS tokens FROM (
  SELECT place, place // 4 AS asked, (place // 4) % 2 = 1 AS is_run, (place // 4) % 51 AS app,
    (hash(place // 4) % $users)::INT AS person, hash(place // 4) AS chance, hash(place) AS luck,
    CASE hash(place // 4) % 3 WHEN 0 THEN 'CNY' ELSE 'USD' END AS currency,
    (hash(place) % 1000)::BIGINT AS input_tokens, (hash(place) % 500)::BIGINT AS output_tokens,
    (hash(place) % 1000 / 1e6)::DECIMAL(18, 9) AS cost,
    $start + to_microseconds((place * $step)::BIGINT) AS began
  FROM (SELECT unnest(range($first, $last)) AS place)
)
"""
_ASKED = """
SELECT asked, app, person, chance, is_run, min(began) AS began, sum(input_tokens)::BIGINT AS input_tokens,
  sum(output_tokens)::BIGINT AS output_tokens, sum(cost) AS cost, any_value(currency) AS currency
FROM places GROUP BY ALL
"""
_TOLD = "'console' AS source, $end AS seen_at, 'app-' || app AS app_id, 'workspace' AS workspace_id"
_ENDED = """
CASE chance % 50 WHEN 0 THEN 'failed' ELSE 'succeeded' END AS status, TRUE AS is_final, FALSE AS is_debug,
began AS created_at, began + INTERVAL 9 SECOND AS finished_at"""
_WHO = "'u' || person AS user_id, 'end_user' AS user_kind"
SIDES: dict[type[Record], str] = {
    ModelCall: f"""
SELECT 'k' || place AS id, {_TOLD}, {_ENDED}, CASE WHEN is_run THEN 'r' || asked END AS run_id,
  CASE WHEN NOT is_run THEN 'm' || asked END AS message_id, 'llm' AS node_type, FALSE AS is_estimate,
  'langgenius/openai/openai' AS model_provider, 'model-' || luck % 10 AS model_name, input_tokens, output_tokens,
  tokens, cost, currency, luck % 5000 / 1e3 AS latency_seconds FROM places""",
    Run: f"""
SELECT 'r' || asked AS id, {_TOLD}, {_ENDED}, {_WHO}, 'app-run' AS triggered_from, TRUE AS leaves_known,
  chance % 9000 / 1e3 AS elapsed_seconds, input_tokens + output_tokens AS reported_tokens
FROM ({_ASKED}) WHERE is_run""",
    Message: f"""
SELECT 'm' || asked AS id, {_TOLD}, {_ENDED}, {_WHO}, 'c' || asked // 10 AS conversation_id, 'web-app' AS invoke_from,
  chance % 9000 / 1e3 AS latency_seconds, input_tokens AS reported_input_tokens,
  output_tokens AS reported_output_tokens, cost AS reported_cost, currency
FROM ({_ASKED}) WHERE NOT is_run""",
}


def main() -> int:
    """Fill, measure, print."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--rows", type=int, default=10_000_000, help="model calls")
    asked.add_argument("--rounds", type=int, default=3)
    given = asked.parse_args()
    with (
        tempfile.TemporaryDirectory() as room,
        closing(open_store(Path(room) / "facts.duckdb", now=END, memory_limit=MEMORY)) as store,
    ):
        began = time.perf_counter()
        fill(store, given.rows)
        steps = store.settle_rollups(everything=True)
        print(f"filled and {steps:,} steps rolled up in {time.perf_counter() - began:.0f} s")
        measure(store, given.rounds)
    return 0


def fill(store: Store, count: int) -> None:
    """Calls with their runs and messages evenly over the days before END, and who and what they are of."""
    seen = {"source": "console", "seen_at": END}
    modes = ("chat", "workflow")
    store.put(
        [
            *(App(**seen, id=f"app-{n}", name=f"应用 {n}", mode=modes[n % 2], created_at=END) for n in range(51)),
            *(User(**seen, id=f"u{n}", kind="end_user", session_id=f"user {n}") for n in range(USERS)),
        ]
    )
    start, step = END - timedelta(days=DAYS), timedelta(days=DAYS) / timedelta(microseconds=1) / count
    for piece in range(math.ceil(count / PIECE)):
        bounds = {"first": piece * PIECE, "last": min((piece + 1) * PIECE, count)}
        for record, rows in _made({**bounds, "start": start, "step": step, "users": USERS}):
            store.put_columns({record: rows})


def _made(told: dict[str, object]) -> list[tuple[type[Record], pa.Table]]:
    with closing(duckdb.connect()) as maker:
        maker.execute("SET TimeZone = 'UTC'").fetchall()
        maker.execute(f"CREATE TABLE places AS {_PLACES}", told).fetchall()
        found = {record: maker.sql(sql, params={"end": END}).to_arrow_table() for record, sql in SIDES.items()}
    return [(record, fitted(table_of(record), rows)) for record, rows in found.items()]


def measure(store: Store, rounds: int) -> None:
    """Make it some times, and write it."""
    span = span_of(MONTH, tz=TZ, now=END)
    report = report_of(span, store.snapshot, END)
    told = {figure.name: figure.value for figure in report.section("overview").figures}
    print(f"{told['invocations']:,} calls of apps, {told['tokens']:,} tokens, {told['active_users']:,} users in it")
    both = lambda: written(report_of(span, store.snapshot, END), Form.HTML, "zh")  # noqa: E731
    sides: dict[str, Callable[[], object]] = {
        "report.month_s": both,
        "report.month_made_s": lambda: report_of(span, store.snapshot, END),
        "report.month_xlsx_s": lambda: written(report, Form.XLSX, "zh"),
    }
    for name, work in sides.items():
        print(Figure(name, statistics.median(_timed(work) for _ in range(rounds)), "s"))


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
