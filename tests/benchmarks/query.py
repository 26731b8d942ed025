"""How fast questions are answered, beside the SQL that Dify itself runs for its statistics, on PostgreSQL.

    python -m tests.benchmarks.query [--rows 1000000 10000000] [--calls 50000000] [--rounds 7]

query.30d_ratio         30 days of daily statistics of every app out of 10 million messages of 90 days: Dify's
                        statements, for all apps at once, on a PostgreSQL with Dify's tables and indexes, beside ours
                        over the same rows; the geometric mean over the statistics
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
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import psycopg
import pyarrow as pa

from collector.faces.prometheus import Exposition
from collector.measures.query import Query, run
from collector.measures.sources import State
from collector.period import Period, zone
from collector.records import App, Message, ModelCall
from collector.store import Store, open_store
from collector.store.columns import fitted
from collector.store.tables import table_of
from tests.benchmarks.figure import Figure
from tests.benchmarks.store import calls
from tests.servers.postgres import Postgres, create_indexes, create_tables, postgres, why_missing

END = datetime(2026, 11, 20, tzinfo=UTC)
DAYS, APPS, ZONE = 90, 50, "Asia/Shanghai"
NEW_CALLS, SCRAPED_EVERY = 1000, 15
MEMORY = "6GB"
PIECE, FILLERS = 100_000, 3
PEER = "Dify's SQL on PostgreSQL, same rows"

FILL = """
INSERT INTO messages (id, app_id, model_provider, model_id, conversation_id, inputs, query, message, message_tokens,
  message_unit_price, answer, answer_tokens, answer_unit_price, provider_response_latency, total_price, currency,
  from_source, from_end_user_id, created_at, updated_at, status, invoke_from, app_mode)
SELECT md5('message' || n)::uuid, md5('app' || a)::uuid, 'langgenius/openai/openai', 'gpt-4o-mini',
  md5('conversation' || n / 200 || '/' || a)::uuid, '{{}}', repeat(md5(n::text), 2), '[]', h % 1000, 0.15,
  repeat(md5(n::text), 4), h / 7 % 500, 0.6, (h % 5000) / 1000.0, (h % 100000) / 1e7, 'USD', 'api',
  md5('user' || abs(hashint8(n / 200 * 50 + a)::bigint) % 2000 || '/' || a)::uuid, at, at, 'normal',
  CASE h % 20 WHEN 0 THEN 'debugger' WHEN 1 THEN 'web-app' ELSE 'service-api' END, 'chat'
FROM generate_series({first}, {last}) n,
  LATERAL (SELECT abs(hashint8(n::bigint)::bigint) AS h) x,
  LATERAL (SELECT h / 13 % {apps} AS a, date_trunc('second', timestamp '{start}' + n * interval '{step} s') AS at) y
"""

TOLD = """
COPY (SELECT id, app_id, conversation_id, 'succeeded' AS status, invoke_from, invoke_from = 'debugger' AS is_debug,
  from_end_user_id AS user_id, created_at, provider_response_latency AS latency_seconds, message_tokens, answer_tokens,
  total_price FROM messages ORDER BY created_at) TO STDOUT WITH (FORMAT csv, HEADER)
"""

READ = """
SELECT 'database' AS source, $seen AS seen_at, id, app_id, conversation_id, status, TRUE AS is_final, invoke_from,
  is_debug, user_id, 'end_user' AS user_kind, CAST(created_at AS TIMESTAMPTZ) AS created_at, latency_seconds,
  message_tokens AS reported_input_tokens, answer_tokens AS reported_output_tokens, total_price AS reported_cost,
  'USD' AS currency
FROM read_csv($file, types = {'id': 'VARCHAR', 'app_id': 'VARCHAR', 'conversation_id': 'VARCHAR',
  'user_id': 'VARCHAR', 'created_at': 'TIMESTAMP', 'total_price': 'DECIMAL(18,9)'})
"""

_DAY = "DATE(created_at AT TIME ZONE 'UTC' AT TIME ZONE %(tz)s) AS date"
_OF_APP = (
    "FROM messages WHERE app_id = %(app)s AND invoke_from != 'debugger' "
    "AND created_at >= %(start)s AND created_at < %(end)s GROUP BY date ORDER BY date"
)
_OF_ALL = {"app_id = %(app)s AND ": "", "SELECT ": "SELECT app_id, ", " BY date": " BY app_id, date"}
"""What makes a statement of Dify's one over all apps."""

STATISTICS = {
    "daily-messages": (f"SELECT {_DAY}, COUNT(*) AS message_count {_OF_APP}", "dify_messages"),
    "daily-conversations": (f"SELECT {_DAY}, COUNT(DISTINCT conversation_id) {_OF_APP}", "dify_conversations"),
    "daily-end-users": (f"SELECT {_DAY}, COUNT(DISTINCT from_end_user_id) {_OF_APP}", "dify_end_users"),
    "token-costs": (
        f"SELECT {_DAY}, SUM(message_tokens) + SUM(answer_tokens), SUM(total_price) {_OF_APP}",
        "dify_tokens,dify_cost",
    ),
    "tokens-per-second": (
        f"SELECT {_DAY}, CASE WHEN SUM(provider_response_latency) = 0 THEN 0 "
        f"ELSE SUM(answer_tokens) / SUM(provider_response_latency) END {_OF_APP}",
        "dify_tokens_per_second",
    ),
}
"""Dify's statistic -> its statement (api/controllers/console/app/statistic.py), and our measures."""


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
    """The statistics of one app over 30 days, both ways."""
    size = "" if rows == 10_000_000 else f"{rows // 1_000_000}m_" if rows >= 1_000_000 else f"{rows}_"
    with postgres() as server, tempfile.TemporaryDirectory() as room:
        database = server.database()
        _fill(server, database, rows)
        with (
            psycopg.connect(server.dsn(database), autocommit=True) as connection,
            _stored(Path(room), lambda store: _copy(connection, store, Path(room) / "told.csv")) as store,
        ):
            ratios = {name: _compare(connection, store, name, rounds) for name in STATISTICS}
    for name in ("ratio", "app_ratio", "facts_ratio"):
        mean = statistics.geometric_mean(each[name] for each in ratios.values())
        print(Figure(f"query.30d_{size}{name}", mean, peer=PEER))


def _fill(server: Postgres, database: str, rows: int) -> None:
    """Messages evenly over the days before END, a piece at a time in order of time; then Dify's indexes."""
    began = time.perf_counter()
    create_tables(server, database, indexes=False)
    start = END - timedelta(days=DAYS)
    step = timedelta(days=DAYS).total_seconds() / (rows + 1)

    def insert(first: int) -> None:
        last = min(first + PIECE, rows) - 1
        statement = FILL.format(first=first, last=last, apps=APPS, start=f"{start:%Y-%m-%d}", step=step)
        with psycopg.connect(server.dsn(database), autocommit=True) as connection:
            connection.execute(statement.encode())

    with ThreadPoolExecutor(FILLERS) as fillers:
        list(fillers.map(insert, range(0, rows, PIECE)))
    create_indexes(server, database)
    with psycopg.connect(server.dsn(database), autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE messages")
    print(f"PostgreSQL filled in {time.perf_counter() - began:.0f} s")


def _copy(connection: psycopg.Connection, store: Store, file: Path) -> None:
    """The same messages into our store."""
    with file.open("wb") as written, connection.cursor().copy(TOLD.encode()) as told:
        for block in told:
            written.write(block)
    store.put([App(source="database", seen_at=END, id=key, mode="chat") for (key,) in _apps(connection)])
    with closing(duckdb.connect(config={"memory_limit": MEMORY})) as reader:
        reader.execute("SET TimeZone = 'UTC'")
        told = reader.sql(READ, params={"seen": END, "file": str(file)})
        for batch in told.to_arrow_reader(1_000_000):
            store.put_columns({Message: fitted(table_of(Message), pa.Table.from_batches([batch]))})
    file.unlink()


def _apps(connection: psycopg.Connection) -> list[tuple[str]]:
    return connection.execute("SELECT DISTINCT app_id::text FROM messages").fetchall()


def _compare(connection: psycopg.Connection, store: Store, name: str, rounds: int) -> dict[str, float]:
    """How many times sooner we answer a statistic: of every app, of one, and of every app without rollups."""
    of_one, measures = STATISTICS[name]
    of_all = of_one
    for this, that in _OF_ALL.items():
        of_all = of_all.replace(this, that, 1) if this == "SELECT " else of_all.replace(this, that)
    period = Period(END - timedelta(days=30, hours=8), END - timedelta(hours=8), zone(ZONE))
    days = {"tz": ZONE, "start": period.start.replace(tzinfo=None), "end": period.end.replace(tzinfo=None)}
    apps = [key for (key,) in _apps(connection)]
    every = Query.of(measures, period=period, grain="day", by="app")
    took: dict[str, list[float]] = {side: [] for side in ("theirs", "ours", "facts", "their one", "our one")}
    for number in range(rounds + 1):
        app = apps[number % len(apps)]
        one = Query.of(measures, period=period, grain="day", where=[f"app:{app}"])
        sides: dict[str, Callable[[], object]] = {
            "theirs": lambda: connection.execute(of_all.encode(), days).fetchall(),
            "ours": lambda: run(every, store.rows),
            "facts": lambda: run(every, store.rows, state=State()),
            "their one": lambda app=app: connection.execute(of_one.encode(), {**days, "app": app}).fetchall(),
            "our one": lambda one=one: run(one, store.rows),
        }
        if not number:
            _agree(sides["theirs"](), sides["ours"](), ("app_id", "time"))
            _agree(sides["their one"](), sides["our one"](), ("time",))
            continue
        sides["their one"]()  # both have looked at this app before they are timed
        sides["our one"]()
        for side, work in sides.items():
            took[side].append(_timed(work))
    theirs, ours, facts, their_one, our_one = (statistics.median(each) * 1e3 for each in took.values())
    print(f"{name}, every app: Dify {theirs:.1f} ms, ours {ours:.1f} ms, of facts alone {facts:.1f} ms")
    print(f"{name}, one app: Dify {their_one:.1f} ms, ours {our_one:.1f} ms")
    return {"ratio": theirs / ours, "facts_ratio": theirs / facts, "app_ratio": their_one / our_one}


def _agree(theirs: object, ours: object, keys: tuple[str, ...]) -> None:
    """Raises AssertionError where the two sides say different things."""
    said, mine = {}, {}
    for row in theirs:  # type: ignore[attr-defined]
        said[tuple(map(str, row[: len(keys)]))] = [float(number) for number in row[len(keys) :]]
    for row in ours.rows:  # type: ignore[attr-defined]
        key = tuple(f"{row[name]:%Y-%m-%d}" if name == "time" else str(row[name]) for name in keys)
        mine[key] = [float(row[measure]) for measure in ours.units]  # type: ignore[attr-defined]
    assert said.keys() == mine.keys(), (len(said), len(mine))
    assert all(math.isclose(a, b, rel_tol=1e-4) for key in said for a, b in zip(said[key], mine[key], strict=True))


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
def _stored(room: Path, fill: Callable[[Store], None], since: datetime = END) -> Iterator[Store]:
    """A store filled and settled."""
    with closing(open_store(room / "facts.duckdb", now=since, memory_limit=MEMORY)) as store:
        began = time.perf_counter()
        fill(store)
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
