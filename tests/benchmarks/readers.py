"""How answers and batches get on with each other: fifty readers, and ten thousand rows a second that come in.

    python -m tests.benchmarks.readers [--rows 10000000] [--readers 50] [--per-second 10000] [--seconds 30]

query.busy_p50_ms, busy_p99_ms   an answer while batches are stored: each reader asks one of QUESTIONS about 30 days
                                 once a second, as a dashboard does; query.quiet_p99_ms without batches
store.busy_lag_p50_ms, …_p99_ms  from the end of a second until its rows are stored
store.busy_rows_per_second       what was stored meanwhile

Rollups are settled every few seconds, more often than the service does. Every answer is compared with the number of
rows that had been stored when it was asked, and when it was given.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from random import Random
from threading import Event, Lock

import pyarrow as pa

from collector.measures.query import Query, run
from collector.period import Period, zone
from collector.records import ModelCall
from collector.store import Store, open_store
from tests.benchmarks.figure import Figure
from tests.benchmarks.store import END, calls

DAYS, SETTLE_SECONDS, MEMORY = 90, 5.0, "6GB"
QUESTIONS = (
    {"measures": "tokens,model_calls", "grain": "day", "by": "app_id"},
    {"measures": "tokens,cost", "by": "model_name", "top": 5, "other": True},
    {"measures": "model_calls,failed_model_calls", "grain": "hour", "where": ["app_id:app-7"]},
    {"measures": "model_calls", "totals": True, "compare": "previous", "grain": "day"},
)


class Site:
    """A store, what came in so far, and how long everything took."""

    def __init__(self, store: Store, count: int) -> None:
        self.store, self.stored, self.promised = store, count, count
        self.answers: list[float] = []
        self.lags: list[float] = []
        self.wrong: list[str] = []
        self._lock, self._done = Lock(), Event()

    def during(self, seconds: float, works: list[Callable[[Event], None]]) -> None:
        """Have everybody work at once for so long."""
        self._done.clear()
        self.answers, self.lags = [], []
        with ThreadPoolExecutor(len(works)) as pool:
            working = [pool.submit(work, self._done) for work in works]
            self._done.wait(seconds)
            self._done.set()
        for work in working:
            work.result()

    def read(self, number: int, done: Event) -> None:
        """Ask once a second, never all at the same instant."""
        chance = Random(number)
        done.wait(chance.random())
        while not done.is_set():
            asked = dict(chance.choice(QUESTIONS))
            period = Period(END - timedelta(days=30), END + timedelta(days=1), zone("Asia/Shanghai"))
            query = Query.of(asked.pop("measures"), period=period, **asked)  # type: ignore[arg-type]
            began = time.perf_counter()
            run(query, self.store.rows)
            took = time.perf_counter() - began
            with self._lock:
                self.answers.append(took)
            done.wait(max(1 - took, 0))

    def count(self, done: Event) -> None:
        """See that no answer misses a row that was stored, or knows one that was not told."""
        period = Period(END - timedelta(days=DAYS + 1), END + timedelta(days=1), zone("UTC"))
        query = Query.of("model_calls", period=period)
        while not done.wait(0.5):
            least = self.stored
            (row,) = run(query, self.store.rows).rows
            if not least <= row["model_calls"] <= self.promised:  # type: ignore[operator]
                self.wrong.append(f"{row['model_calls']} of {least} to {self.promised} rows")

    def write(self, batches: list[pa.Table], done: Event) -> None:
        """Store the calls of each second when it is over."""
        start = time.perf_counter()
        for number, batch in enumerate(batches, 1):
            due = start + number
            if done.wait(max(due - time.perf_counter(), 0)):
                return
            self.promised += len(batch)
            self.store.put_columns({ModelCall: batch})
            self.stored += len(batch)
            self.lags.append(time.perf_counter() - due)

    def settle(self, done: Event) -> None:
        """Make rollups anew where batches came."""
        while not done.wait(SETTLE_SECONDS):
            self.store.settle_rollups()


def main() -> int:
    """Fill, let everybody work, print."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--rows", type=int, default=10_000_000)
    asked.add_argument("--readers", type=int, default=50)
    asked.add_argument("--per-second", type=int, default=10_000)
    asked.add_argument("--seconds", type=float, default=30)
    given = asked.parse_args()
    with (
        tempfile.TemporaryDirectory() as room,
        closing(open_store(Path(room) / "facts.duckdb", now=END, memory_limit=MEMORY)) as store,
    ):
        _fill(store, given.rows)
        site = Site(store, given.rows)
        readers = [lambda done, n=n: site.read(n, done) for n in range(given.readers)]
        site.during(given.seconds / 3, readers)
        print(Figure("query.quiet_p99_ms", _rank(site.answers, 0.99), "ms"))
        before, second = site.stored, timedelta(seconds=1)
        ends = [END + second * (number + 1) for number in range(math.ceil(given.seconds))]
        batches = [calls(given.per_second, end=end, over=second) for end in ends]
        site.during(given.seconds, [*readers, site.count, site.settle, lambda done: site.write(batches, done)])
        assert not site.wrong, site.wrong
        for name, times in (("query.busy", site.answers), ("store.busy_lag", site.lags)):
            print(Figure(f"{name}_p50_ms", statistics.median(times) * 1e3, "ms"))
            print(Figure(f"{name}_p99_ms", _rank(times, 0.99), "ms"))
        print(Figure("store.busy_rows_per_second", (site.stored - before) / given.seconds, "rows/s"))
        print(f"{len(site.answers)} answers, {len(site.lags)} batches")
    return 0


def _fill(store: Store, count: int) -> None:
    piece = min(1_000_000, count)
    length = timedelta(days=DAYS) * piece / count
    for number in range(math.ceil(count / piece)):
        end = END - timedelta(days=DAYS) + length * (number + 1)
        store.put_columns({ModelCall: calls(piece, end=end, over=length)})
    store.settle_rollups(everything=True)


def _rank(times: list[float], share: float) -> float:
    """The time, in milliseconds, that this share of them does not exceed."""
    return sorted(times)[min(int(len(times) * share), len(times) - 1)] * 1e3


if __name__ == "__main__":
    sys.exit(main())
