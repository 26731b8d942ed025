"""How soon the page shows its numbers: a real Chromium over a service with millions of facts, on loopback.

    python -m tests.benchmarks.page [--rows 10000000] [--rounds 7]

page.first_view_ms   from asking for the address to every number of the overview being there, in a browser that was
                     never here (nothing kept, a new window each time); the median
page.again_ms        the same of a browser that was here before
page.switch_30d_ms   from choosing 30 days, in place of 24 hours, to every number being there

Of the rows half are model calls and half messages, over 90 days that end now; the service runs in a process of its own.
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
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
from playwright.sync_api import BrowserContext, Page, sync_playwright

from collector.records import App, Message, ModelCall
from collector.store import Store, open_store
from collector.store.columns import fitted
from collector.store.tables import table_of
from tests.benchmarks.figure import Figure
from tests.benchmarks.query import DAYS, MEMORY
from tests.benchmarks.store import calls
from tests.page.conftest import ARGUMENTS
from tests.servers.ports import free_port
from tests.serving import a_service

CHROMIUM = "/usr/bin/chromium"
PIECE = 1_000_000

_MESSAGES = """
SELECT uuid()::VARCHAR AS id, 'console' AS source, $end AS seen_at, 'app-' || (random() * 50)::INT AS app_id,
  'conversation-' || place // 4 AS conversation_id, 'succeeded' AS status, TRUE AS is_final, FALSE AS is_debug,
  'service-api' AS invoke_from, 'user-' || (random() * 2000)::INT AS user_id, 'end_user' AS user_kind,
  $end - to_microseconds(((span - place) * $step)::BIGINT) AS created_at, random() * 9 AS latency_seconds
FROM (SELECT range AS place, $count AS span FROM range($count))
"""

READY = """() => {
  const main = document.querySelector('main[aria-busy="false"]');
  return Boolean(main && main.querySelector('.value[title]') && !main.querySelector('.skeleton'));
}"""


def main() -> int:
    """Fill, serve, look, print."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--rows", type=int, default=10_000_000)
    asked.add_argument("--rounds", type=int, default=7)
    given = asked.parse_args()
    if not Path(CHROMIUM).exists():
        print("no chromium here; `sudo apt-get install chromium` brings it", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as room:
        folder = Path(room)
        fill(folder / "dify-metric.duckdb", given.rows)
        with a_service(folder, free_port()) as serving:
            look(serving.url, given.rounds)
    return 0


def fill(path: Path, rows: int) -> None:
    """A store with so many facts, rolled up."""
    end = datetime.now(UTC).replace(second=0, microsecond=0)
    each = rows // 2
    pieces = max(math.ceil(each / PIECE), 1)
    length = timedelta(days=DAYS) / pieces
    with closing(open_store(path, now=end, memory_limit=MEMORY)) as store:
        apps = (App(source="console", seen_at=end, id=f"app-{n}", name=f"App {n}", mode="chat") for n in range(51))
        store.put(apps)
        for number in range(pieces):
            until = end - timedelta(days=DAYS) + length * (number + 1)
            _put(store, each // pieces, until, length)
        store.settle_rollups(everything=True)


def _put(store: Store, count: int, end: datetime, over: timedelta) -> None:
    step = over / timedelta(microseconds=1) / count
    with closing(duckdb.connect()) as maker:
        maker.execute("SET TimeZone = 'UTC'").fetchall()
        told: pa.Table = maker.sql(_MESSAGES, params={"count": count, "end": end, "step": step}).to_arrow_table()
    store.put_columns({ModelCall: calls(count, end=end, over=over), Message: fitted(table_of(Message), told)})


def look(url: str, rounds: int) -> None:
    """Open the page again and again, and say how long it takes."""
    took: dict[str, list[float]] = {"page.first_view_ms": [], "page.again_ms": [], "page.switch_30d_ms": []}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        for number in range(rounds + 1):
            with closing(browser.new_context(viewport={"width": 1440, "height": 900})) as context:
                measured = {"page.first_view_ms": _opened(context, url), "page.again_ms": _opened(context, url)}
                measured["page.switch_30d_ms"] = _switched(context.pages[-1])
            if number:  # the first one warms the store and the browser
                for name, seconds in measured.items():
                    took[name].append(seconds)
        browser.close()
    for name, seconds in took.items():
        print(Figure(name, statistics.median(seconds) * 1e3, "ms"))


def _opened(context: BrowserContext, url: str) -> float:
    page = context.new_page()
    return _timed(page, lambda: page.goto(url, wait_until="commit"))


def _switched(page: Page) -> float:
    return _timed(page, lambda: page.get_by_text("30 days", exact=True).click())


def _timed(page: Page, does: Callable[[], object]) -> float:
    begun = time.perf_counter()
    does()
    page.wait_for_function(READY, polling="raf")
    return time.perf_counter() - begun


if __name__ == "__main__":
    sys.exit(main())
