"""How fast a month of calls becomes a bill and a FOCUS file, and in how much memory.

    python -m tests.benchmarks.billing [--calls 1000000] [--rounds 3] [--memory 1GB]

billing.rating_ratio      rating a month (days, payers by user, tiers, two currencies) into lines, beside DuckDB adding
                          up the tokens of the same calls by day, app and model and nothing else
billing.calls_per_second  the same as a rate
billing.focus_seconds     the month's lines rated and written as FOCUS Parquet; focus_bytes_per_line its size
billing.memory_mb         the most memory this process held while it rated and exported, DuckDB bound to --memory
billing.look_seconds      seeing that nothing changed since the month was rated
billing.rated_query_ms    rated_cost of the month by day, department, model and currency, once it is rated

The month has 51 apps with a model each, used by 2,000 users of 40 departments.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from collector.billing.bills import Bills
from collector.billing.book import Book
from collector.billing.book_file import parse_book
from collector.billing.exports import Billed, Form, written
from collector.billing.rated import Rated
from collector.faces.asking import Asker
from collector.faces.rest_models import Asked
from collector.payers import PayerSpan
from collector.records import App, ModelCall, Run
from collector.store import open_store
from collector.store.duck import DuckStore
from tests.benchmarks.figure import Figure, interleaved
from tests.benchmarks.store import calls

END = datetime(2026, 11, 1, tzinfo=UTC)
MONTH = "2026-10"
USERS, DEPARTMENTS = 2_000, 40
CALLS_OF_A_RUN = 4
SLICE = 1_000_000

PRICES = """
[[price]]
model = "model-[0-4]"
currency = "USD"
per = "1M"
input = 2.5
output = 10

[[price]]
model = "model-[5-8]"
currency = "CNY"
per = "1k"
input = 0.002
output = 0.006
from = 2026-10-15

[[price]]
model = "model-9"
currency = "CNY"
per = "1k"
input = 0.002
output = 0.006
tiers = [{ above = 10_000_000, input = 0.001 }]

[[discount]]
department = "department-1*"
percent = 12.5
"""

SUMS = """
SELECT date_trunc('day', created_at), app_id, model_name, sum(input_tokens), sum(output_tokens) FROM model_call
WHERE created_at >= $since AND created_at < $until GROUP BY ALL
"""


def fill(store: DuckStore, count: int) -> None:
    """A month of calls, the runs that made them, and who pays for their users; a slice at a time."""
    store.put(
        App(source="console", seen_at=END, id=f"app-{n}", name=f"App {n}", workspace_id="workspace") for n in range(51)
    )
    month = timedelta(days=31)
    for start in range(0, count, SLICE):
        size = min(SLICE, count - start)
        made = calls(size, end=END - month * (count - start - size) / count, over=month * size / count)
        runs = pc.cast(pa.array(range(start // CALLS_OF_A_RUN, (start + size) // CALLS_OF_A_RUN + 1)), pa.string())
        owner = runs.take(pa.array([n // CALLS_OF_A_RUN for n in range(size)]))
        made = made.set_column(made.schema.get_field_index("run_id"), "run_id", owner)
        model = pc.binary_join_element_wise("model-", pc.utf8_slice_codeunits(made["app_id"], -1), "")
        made = made.set_column(made.schema.get_field_index("model_name"), "model_name", model)
        users = pa.array([f"user-{n * 7919 % USERS}" for n in range(len(runs))])
        told = {"id": runs, "user_id": users, "source": ["console"] * len(runs), "status": ["succeeded"] * len(runs)}
        begun = pa.array([made["created_at"][0].as_py()] * len(runs), pa.timestamp("us", tz="UTC"))
        told |= {"seen_at": begun, "created_at": begun, "is_final": [True] * len(runs)}
        store.put_columns({ModelCall: made, Run: pa.table(told)})
    store.set_payers(
        PayerSpan(
            kind="user",
            value=f"user-{n}",
            start=None,
            end=None,
            person=None,
            department=f"department-{n % DEPARTMENTS}",
            cost_centre=None,
            place="line 1",
        )
        for n in range(USERS)
    )


def timed(work: Callable[[], object]) -> float:
    """Seconds."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(path: Path, count: int, rounds: int, memory: str) -> None:
    """Rate and export what is stored there, and print."""
    book: Book = parse_book(PRICES)
    with closing(open_store(path, memory_limit=memory)) as store:
        bills = Bills(store.rows, store.arrow, store.close_period, lambda: book, lambda: END)
        period, is_closed = bills.bounds(MONTH)
        bounds = {"since": period.start, "until": period.end}
        rating, adding = interleaved(
            [lambda: timed(lambda: bills.lines(MONTH)), lambda: timed(lambda: store.arrow(SUMS, bounds))], rounds
        )
        begun = time.perf_counter()
        lines = bills.lines(MONTH)
        content = written(Billed(lines, period, "Dify", is_closed), Form.FOCUS_PARQUET)
        seconds, memory_used = time.perf_counter() - begun, memory_mb()
        rated = Rated(bills, store.rows, store.keep_rated, lambda: END)
        rated.refresh()
        look = timed(rated.refresh)
        asker = Asker(store.rows, END)
        question = Asked(measure=["rated_cost"], by=["department", "model", "currency"], since=MONTH, grain="day")
        query = min(timed(lambda: asker.answered(question)) for _ in range(rounds))
    print(f"{count:,} calls, {len(lines):,} lines, {len(content):,} bytes")
    print(
        Figure("billing.rating_ratio", adding / rating, "x", "DuckDB adding up the same tokens by day, app and model")
    )
    print(Figure("billing.calls_per_second", count / rating, "calls/s"))
    print(Figure("billing.focus_seconds", seconds, "s"))
    print(Figure("billing.focus_bytes_per_line", len(content) / len(lines), "bytes"))
    print(Figure("billing.memory_mb", memory_used, "MB"))
    print(Figure("billing.look_seconds", look, "s"))
    print(Figure("billing.rated_query_ms", query * 1000, "ms"), flush=True)


def main() -> int:
    """Make a store, then measure in a process of its own, so that the making does not count."""
    asked = argparse.ArgumentParser()
    asked.add_argument("--calls", type=int, default=1_000_000)
    asked.add_argument("--rounds", type=int, default=3)
    asked.add_argument("--memory", default="1GB")
    asked.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    given = asked.parse_args()
    if given.measure:
        measure(given.measure, given.calls, given.rounds, given.memory)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.duckdb"
        with closing(DuckStore(str(path), now=END)) as store:
            fill(store, given.calls)
        command = [sys.executable, "-m", "tests.benchmarks.billing", "--measure", str(path)]
        return subprocess.run([*command, *sys.argv[1:]], check=False).returncode


def memory_mb() -> int:
    """The most this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    sys.exit(main())
