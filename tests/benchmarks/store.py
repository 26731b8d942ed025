"""How fast the store takes facts in, beside DuckDB doing the bare part of the same work.

    python -m tests.benchmarks.store [--rows 1000000] [--stored 10000000] [--rounds 7]

store.load_ratio    a file of facts filled by `put_columns`, exactly once, beside `COPY … FROM` a Parquet file of the
                    same rows into an equal table; load_structs_ratio is `put` of structs
store.merge_ratio   a batch of 10,000 calls, a tenth known already and a tenth changed, put into millions of stored
                    ones, beside a plain INSERT of the same batch; merge_known_ratio is without the changed ones,
                    merge_new_ratio with new calls only

Both sides run in turns on files of the same content; medians of rows a second and of seconds are compared.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from collector.records import ModelCall
from collector.store import open_store
from collector.store.columns import fitted
from collector.store.duck import DuckStore
from collector.store.tables import table_of
from tests.benchmarks.figure import Figure

TABLE = table_of(ModelCall)
END = datetime(2026, 11, 20, tzinfo=UTC)
BATCH = 10_000
COPY = "DuckDB Parquet COPY of the same rows"
KINDS = {
    "store.merge_new_ratio": (0, 0),
    "store.merge_known_ratio": (BATCH // 10, 0),
    "store.merge_ratio": (BATCH // 5, 10),
}
"""Figure -> how many facts of a batch are stored already, and whether half of those tell more."""

_CALLS = """
SELECT *, input_tokens + output_tokens AS tokens FROM (SELECT
  uuid()::VARCHAR AS id, uuid()::VARCHAR AS run_id, 'console' AS source, $end AS seen_at,
  'app-' || (random() * 50)::INT AS app_id, 'workspace' AS workspace_id, 'llm' AS node_id, 'llm' AS node_type,
  'langgenius/openai/openai' AS model_provider, 'model-' || (random() * 9)::INT AS model_name,
  'succeeded' AS status, TRUE AS is_final, FALSE AS is_estimate, FALSE AS is_debug, FALSE AS is_vision,
  $end - to_microseconds(((span - place) * $step)::BIGINT) AS created_at, created_at + INTERVAL 2 SECOND AS finished_at,
  (random() * 1000)::BIGINT AS input_tokens, (random() * 500)::BIGINT AS output_tokens,
  random()::DECIMAL(18, 9) AS cost, 'USD' AS currency,
  random() * 5 AS latency_seconds, random() AS time_to_first_token_seconds
FROM (SELECT range AS place, $count AS span FROM range($count)))
"""


def calls(count: int, *, end: datetime = END, over: timedelta = timedelta(days=90)) -> pa.Table:
    """Model calls of a busy site, evenly over the time before `end`, oldest first."""
    with closing(duckdb.connect()) as maker:
        maker.execute("SET TimeZone = 'UTC'").fetchall()
        step = over / timedelta(microseconds=1) / count
        made = maker.sql(_CALLS, params={"count": count, "end": end, "step": step}).to_arrow_table()
    return fitted(TABLE, made)


def timed(work: Callable[[], object]) -> float:
    """How long it takes, in seconds, without the collection of Python's garbage."""
    gc.collect()
    gc.disable()
    start = time.perf_counter()
    work()
    seconds = time.perf_counter() - start
    gc.enable()
    return seconds


def load(room: Path, count: int, rounds: int) -> None:
    """Fill an empty store, beside COPY of a Parquet file into an empty table."""
    rows = calls(count)
    pq.write_table(rows, room / "calls.parquet")
    structs = _structs(rows.slice(0, count // 5))
    copying = f"COPY model_call ({', '.join(TABLE.columns)}) FROM '{room / 'calls.parquet'}'"
    took: dict[str, list[float]] = {"copy": [], "columns": [], "structs": []}
    for turn in range(rounds):
        with closing(duckdb.connect(str(room / f"copy{turn}.duckdb"))) as plain:
            plain.execute("SET TimeZone = 'UTC'").fetchall()
            plain.execute(TABLE.ddl).fetchall()
            took["copy"].append(timed(lambda plain=plain: plain.execute(copying).fetchall()) / count)
        with closing(open_store(room / f"columns{turn}.duckdb")) as store:
            took["columns"].append(timed(lambda store=store: store.put_columns({ModelCall: rows})) / count)
        with closing(open_store(room / f"structs{turn}.duckdb")) as store:
            took["structs"].append(timed(lambda store=store: store.put(structs)) / len(structs))
        for used in room.glob(f"*{turn}.duckdb*"):
            used.unlink()
    copy, columns, put = (1 / statistics.median(took[side]) for side in ("copy", "columns", "structs"))
    print(f"rows a second: COPY {copy:,.0f}, put_columns {columns:,.0f}, put of structs {put:,.0f} ({count:,} rows)")
    print(Figure("store.load_ratio", columns / copy, peer=COPY))
    print(Figure("store.load_structs_ratio", put / copy, peer=COPY))


def _structs(rows: pa.Table) -> list[ModelCall]:
    """Facts as pull and tap make them."""
    instants = ("seen_at", "created_at", "finished_at")
    return [ModelCall(**row | {at: row[at].astimezone(UTC) for at in instants}) for row in rows.to_pylist()]


def merge(room: Path, stored: int, rounds: int) -> None:
    """Put batches into a big store, beside plain inserts of the same batches into a file of the same content."""
    mine, plain = DuckStore(str(room / "mine.duckdb"), now=END), duckdb.connect(str(room / "plain.duckdb"))
    with closing(mine), closing(plain):
        plain.execute("SET TimeZone = 'UTC'").fetchall()
        plain.execute(TABLE.ddl).fetchall()
        for part in _parts(stored):
            mine.put_columns({ModelCall: part})
            _insert(plain, part)
        for name, (known, changed) in KINDS.items():
            ours, bare = [], []
            for turn in range(rounds):
                rows = _batch(mine, known, changed and turn + changed)
                for side in (mine._writer.run, lambda sql: plain.execute(sql).fetchall()):
                    side("CHECKPOINT")
                ours.append(timed(lambda rows=rows: mine.put_columns({ModelCall: rows})))
                bare.append(timed(lambda rows=rows: _insert(plain, rows)))
            mean, other = statistics.median(ours), statistics.median(bare)
            print(f"{BATCH:,} calls into {stored:,}: {mean * 1e3:.1f} ms, plain insert {other * 1e3:.1f} ms")
            print(Figure(name, mean / other, peer="plain insert of the same batch"))


def _parts(stored: int) -> list[pa.Table]:
    """The stored calls in ten parts, one after the other in time."""
    length = timedelta(days=9)
    return [calls(stored // 10, end=END - length * left, over=length) for left in reversed(range(10))]


def _batch(store: DuckStore, known: int, changed: int) -> pa.Table:
    """A batch of the last hours: new calls, calls already stored, and half of those told with one value more."""
    new = calls(BATCH - known, end=END + timedelta(minutes=90), over=timedelta(minutes=90))
    if not known:
        return new
    sql = (
        f"SELECT {', '.join(TABLE.columns)} FROM (FROM model_call WHERE created_at BETWEEN $low AND $high) "
        f"USING SAMPLE {known} ROWS"
    )
    again = fitted(TABLE, store.arrow(sql, {"low": END - timedelta(hours=3), "high": END}))
    if changed:
        place = TABLE.arrow_schema.get_field_index("reasoning_output_tokens")
        more = pa.array([changed if row % 2 else None for row in range(len(again))], pa.int64())
        again = again.set_column(place, TABLE.arrow_schema.field(place), more)
        later = pc.add(again["seen_at"].cast(pa.int64()), changed).cast(TABLE.arrow_schema.field("seen_at").type)
        again = again.set_column(1, TABLE.arrow_schema.field("seen_at"), later)
    return pa.concat_tables([new, again])


def _insert(plain: duckdb.DuckDBPyConnection, rows: pa.Table) -> None:
    plain.register("batch", rows)
    plain.execute("INSERT INTO model_call BY NAME SELECT * FROM batch").fetchall()
    plain.unregister("batch")


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--rows", type=int, default=1_000_000, help="to load")
    asked.add_argument("--stored", type=int, default=10_000_000, help="to merge into")
    asked.add_argument("--rounds", type=int, default=7)
    given = asked.parse_args()
    with tempfile.TemporaryDirectory() as room:
        load(Path(room), given.rows, given.rounds)
        merge(Path(room), given.stored, given.rounds)


if __name__ == "__main__":
    main()
