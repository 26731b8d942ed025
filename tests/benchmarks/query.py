"""How fast questions are answered, beside the SQL that Dify itself runs for its statistics, on PostgreSQL.

    python -m tests.benchmarks.query [--rows 1000000 10000000] [--calls 50000000] [--rounds 7]

query.30d_ratio         30 days of each of Dify's twelve daily statistics, every app, out of 10 million messages and as
                        many runs of 90 days: Dify's statements, for all apps at once, on a PostgreSQL with Dify's
                        tables and indexes, beside ours over the same rows; the geometric mean over the statistics
query.30d_app_ratio     the same of one app, as Dify's pages ask for it
query.30d_facts_ratio   of every app, with rollups left aside
query.30d_1m_…          the same three out of a million messages
query.90d_50m_ms        90 days of daily tokens by app, on the calendar of Shanghai, out of 50 million model calls;
                        query.90d_50m_utc_ms on that of UTC
query.scrape_ms         one scrape of /metrics out of 10 million model calls, all of them counted, after a thousand
                        more have come; query.scrape_facts_ms with nothing kept or remembered

Both sides answer in turns, warm, and their answers are compared. PostgreSQL has the memory that Dify's own Compose
file gives it, which is its default. A file of facts takes some 80 MB per million calls and PostgreSQL 700 MB per
million messages, in the directory for temporary files (TMPDIR).
"""

from __future__ import annotations

import argparse
import gc
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import psycopg

from collector.faces.prometheus import Exposition
from collector.measures.query import Query, run
from collector.measures.sources import State
from collector.period import Period, zone
from collector.records import App, ModelCall
from collector.store import Store, open_store
from tests.benchmarks.dify_site import DAYS, END, STATISTICS, apps, copy, fill
from tests.benchmarks.figure import Figure
from tests.benchmarks.store import calls
from tests.servers.postgres import postgres, why_missing

ZONE = "Asia/Shanghai"
NEW_CALLS, SCRAPED_EVERY = 1000, 15
MEMORY = "6GB"
PEER = "Dify's SQL on PostgreSQL, same rows"
BESIDE = {"ratio": ("theirs", "ours"), "app_ratio": ("their one", "our one"), "facts_ratio": ("theirs", "facts")}
"""Figure -> whose time is divided by whose."""


def main() -> int:
    """Fill, measure, print."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--rows", type=int, nargs="*", default=[1_000_000, 10_000_000], help="messages")
    asked.add_argument("--calls", type=int, default=50_000_000, help="model calls; 0: none")
    asked.add_argument("--scraped", type=int, default=10_000_000, help="model calls of the scrape; 0: none")
    asked.add_argument("--rounds", type=int, default=7)
    given = asked.parse_args()
    if given.rows and (missing := why_missing()):
        print(missing, file=sys.stderr)
        return 1
    for rows in given.rows:
        beside_dify(rows, given.rounds)
    if given.scraped:
        scrape(given.scraped, given.rounds)
    if given.calls:
        daily_tokens(given.calls, given.rounds)
    return 0


def beside_dify(rows: int, rounds: int) -> None:
    """Every statistic over 30 days, both ways."""
    size = "" if rows == 10_000_000 else f"{rows // 1_000_000}m_" if rows >= 1_000_000 else f"{rows}_"
    with postgres() as server, tempfile.TemporaryDirectory() as room:
        database = server.database()
        seconds = _timed(lambda: fill(server, database, rows))
        print(f"PostgreSQL filled in {seconds:.0f} s")
        with (
            psycopg.connect(server.dsn(database), autocommit=True) as connection,
            _stored(Path(room), lambda store: copy(connection, store, Path(room))) as store,
        ):
            ratios = [_compare(connection, store, name, rounds) for name in STATISTICS]
    for name in BESIDE:
        mean = statistics.geometric_mean(each[name] for each in ratios)
        print(Figure(f"query.30d_{size}{name}", mean, peer=PEER))


def _compare(connection: psycopg.Connection, store: Store, name: str, rounds: int) -> dict[str, float]:
    """How many times sooner we answer a statistic: of every app, of one, and of every app without rollups."""
    statistic = STATISTICS[name]
    period = Period(END - timedelta(days=30, hours=8), END - timedelta(hours=8), zone(ZONE))
    days = {"tz": ZONE, "start": period.start.replace(tzinfo=None), "end": period.end.replace(tzinfo=None)}
    its_apps = apps(connection, statistic.mode)
    every = Query.of(statistic.measures, period=period, grain="day", by="app")
    took: dict[str, list[float]] = {side: [] for side in ("theirs", "ours", "facts", "their one", "our one")}
    for number in range(rounds + 1):
        app = its_apps[number % len(its_apps)]
        one = Query.of(statistic.measures, period=period, grain="day", where=[f"app:{app}"])
        sides: dict[str, Callable[[], object]] = {
            "theirs": partial(_rows, connection, statistic.of_all, days),
            "ours": partial(run, every, store.rows),
            "facts": partial(run, every, store.rows, state=replace(State.of(store.rows), kept=frozenset())),
            "their one": partial(_rows, connection, statistic.of_one, {**days, "app": app}),
            "our one": partial(run, one, store.rows),
        }
        if not number:
            _agree(sides["theirs"](), sides["ours"](), ("app_id", "time"), statistic.digits)
            _agree(sides["their one"](), sides["our one"](), ("time",), statistic.digits)
            continue
        sides["their one"]()  # both have looked at this app before they are timed
        sides["our one"]()
        for side, work in sides.items():
            took[side].append(_timed(work))
    medians = {side: statistics.median(each) * 1e3 for side, each in took.items()}
    said = ", ".join(f"{side} {median:.1f} ms" for side, median in medians.items())
    print(f"{name}: {said}", flush=True)
    return {figure: medians[this] / medians[that] for figure, (this, that) in BESIDE.items()}


def _rows(connection: psycopg.Connection, sql: str, parameters: Mapping[str, object]) -> list[tuple[object, ...]]:
    return connection.execute(sql.encode(), parameters).fetchall()


def _agree(theirs: object, ours: object, keys: tuple[str, ...], digits: int | None) -> None:
    """Raises AssertionError where the two sides say different things."""
    said, mine = {}, {}
    for row in theirs:  # type: ignore[attr-defined]
        said[tuple(map(str, row[: len(keys)]))] = [float(number) for number in row[len(keys) :]]
    for row in ours.rows:  # type: ignore[attr-defined]
        key = tuple(f"{row[name]:%Y-%m-%d}" if name == "time" else str(row[name]) for name in keys)
        mine[key] = [float(row[measure]) for measure in ours.units]  # type: ignore[attr-defined]
    assert said.keys() == mine.keys(), (len(said), len(mine))
    near = 0 if digits is None else 10**-digits
    pairs = [(a, b) for key in said for a, b in zip(said[key], mine[key], strict=True)]
    assert all(math.isclose(a, b, rel_tol=1e-9, abs_tol=near) for a, b in pairs)


def scrape(count: int, rounds: int) -> None:
    """One scrape of everything that was ever counted."""

    def filled(store: Store) -> None:
        store.put(
            [
                App(source="console", seen_at=END, id=f"app-{n}", workspace_id="workspace", mode="workflow")
                for n in range(51)
            ]
        )
        _put_calls(store, count)

    since = END - timedelta(days=DAYS, minutes=7)
    with tempfile.TemporaryDirectory() as room, _stored(Path(room), filled, since) as store:
        now = [END]

        def facts_only(sql: str, parameters: object) -> list[tuple[object, ...]]:
            return [] if "rollup_kept" in sql else store.rows(sql, parameters)  # type: ignore[arg-type]

        kept = Exposition(store.rows, clock=lambda: now[0], counting_since=since, snapshot=store.snapshot)
        sides = {
            "query.scrape_ms": kept,
            "query.scrape_facts_ms": Exposition(facts_only, clock=lambda: now[0], counting_since=since),
        }
        size = f"{count // 1_000_000}m" if count >= 1_000_000 else str(count)
        print(f"the first scrape of {size}: {_timed(lambda: kept.text('')) * 1e3:.0f} ms")
        took: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(rounds):
            now[0] += timedelta(seconds=SCRAPED_EVERY)
            new = calls(NEW_CALLS, end=now[0], over=timedelta(seconds=SCRAPED_EVERY))
            store.put_columns({ModelCall: new})
            texts: list[bytes] = []
            for name, side in sides.items():
                took[name].append(_timed(lambda side=side, texts=texts: texts.append(side.text("")[0])))
            assert len({len(text.splitlines()) for text in texts}) == 1
    for name, seconds in took.items():
        print(Figure(name, statistics.median(seconds) * 1e3, "ms"))


def daily_tokens(count: int, rounds: int) -> None:
    """90 days of daily tokens by app."""
    with tempfile.TemporaryDirectory() as room, _stored(Path(room), lambda store: _put_calls(store, count)) as store:
        size = sum(file.stat().st_size for file in Path(room).iterdir())
        print(Figure("query.mb_per_million_calls", size / 1e6 / (count / 1e6), "MB"))
        for name, tz in (("query.90d_50m_ms", ZONE), ("query.90d_50m_utc_ms", "UTC")):
            period = Period(END - timedelta(days=DAYS), END, zone(tz))
            query = Query.of("tokens", period=period, by="app", grain="day")
            run(query, store.rows)
            print(
                Figure(
                    name,
                    statistics.median(_timed(lambda q=query: run(q, store.rows)) for _ in range(rounds)) * 1e3,
                    "ms",
                )
            )


def _put_calls(store: Store, count: int) -> None:
    piece = min(1_000_000, count)
    for number in range(math.ceil(count / piece)):
        length = timedelta(days=DAYS) * piece / count
        start = END - timedelta(days=DAYS) + length * number
        store.put_columns({ModelCall: calls(piece, end=start + length, over=length)})


@contextmanager
def _stored(room: Path, put: Callable[[Store], None], since: datetime = END) -> Iterator[Store]:
    """A store filled and settled."""
    with closing(open_store(room / "facts.duckdb", now=since, memory_limit=MEMORY)) as store:
        began = time.perf_counter()
        put(store)
        filled = time.perf_counter()
        steps = store.settle_rollups(everything=True)
        print(f"filled in {filled - began:.0f} s, {steps:,} steps rolled up in {time.perf_counter() - filled:.0f} s")
        yield store


def _timed(work: Callable[[], object]) -> float:
    gc.collect()
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
