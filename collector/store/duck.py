"""The store in one DuckDB file: batches merge by key in one transaction, reads run beside them on their own cursors.

What comes in are records or Arrow columns; what goes out are rows. One process owns the file. There is no primary
key: the writer looks for the facts of a batch among the stored ones within a bound on `created_at`, which costs a
fraction of what an index does, and `collector.store.merge` makes one row of them. Stored facts are never removed
because they were not told again.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import cast

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from collector.access import EVERYTHING, Key, Sight
from collector.bill_lines import ClosedPeriod
from collector.deliveries import Delivery
from collector.errors import StoreError
from collector.payers import PayerSpan
from collector.records import (
    ApiKey,
    Mark,
    Message,
    ModelCall,
    Record,
    Request,
    Run,
    Stored,
)
from collector.rollups import Drift
from collector.store import (
    Parameters,
    Readings,
    columns,
    copies,
    estimates,
    keys,
    marks,
    merge,
    migrations,
    rated,
    retirement,
)
from collector.store.reading import Reading
from collector.store.rollup import Rollups
from collector.store.rollup_check import drifts
from collector.store.session import connect, telling
from collector.store.tables import ID_CRC, Table

SLACK = timedelta(days=1)
"""How far apart two sources may put `created_at` of one fact."""


@dataclass(frozen=True)
class _Merged:
    """What became of the facts of one kind."""

    told: pa.Table
    new: pa.Table
    changed: int = 0
    refused: int = 0  # of days whose facts have gone
    written: tuple[pa.ChunkedArray, ...] = ()  # when the facts that were written began, before and after


class DuckStore:
    """A Store in DuckDB."""

    def __init__(
        self,
        path: str,
        *,
        now: datetime,
        read_only: bool = False,
        memory_limit: str | None = None,
        threads: int | None = None,
        temp_directory: str | Path | None = None,
    ) -> None:
        self._path = path
        self._writing, self._counting, self._keying, self._rating = (threading.Lock() for _ in range(4))
        self._rollups = Rollups()
        self._writer = connect(
            path, read_only=read_only, memory_limit=memory_limit, threads=threads, temp_directory=temp_directory
        )
        try:
            with telling(path):
                if read_only:
                    migrations.require_latest(self._writer)
                else:
                    migrations.migrate(self._writer, now)
                self._rollups.prepare(self._writer, read_only=read_only)
        except StoreError:
            self._writer.close()
            raise
        self.rows = Reading(path, self._writer)
        self.snapshot = self.rows.still
        self._reading = self.rows.session

    @property
    def counting_since(self) -> datetime:
        """When this store was first opened."""
        found = self.rows("SELECT reached_at FROM milestone WHERE name = ?", [migrations.COUNTING_SINCE])
        return cast(datetime, found[0][0])

    def put(self, records: Iterable[Record], watermarks: Iterable[Mark] = ()) -> Stored:
        """Merge records and set watermarks in one transaction."""
        return self._put(columns.by_table(keys.with_apps(records, self._owners)), watermarks)

    def put_columns(self, tables: Mapping[type[Record], pa.Table], watermarks: Iterable[Mark] = ()) -> Stored:
        """Merge Arrow columns and set watermarks in one transaction."""
        kinds = [(columns.table_for(record), rows) for record, rows in tables.items()]
        return self._put([(table, columns.fitted(table, rows)) for table, rows in kinds], watermarks)

    def arrow(self, sql: str, parameters: Parameters = (), sight: Sight = EVERYTHING) -> pa.Table:
        """Read many rows on a cursor of its own."""
        with self._reading(sight) as session:
            return session.arrow(sql, parameters)

    def watermark(self, source: str, stream: str, app_id: str, origin: str = "") -> datetime | None:
        """Up to when that stream is complete."""
        sql = "SELECT complete_until FROM watermark WHERE source = ? AND stream = ? AND app_id = ? AND origin = ?"
        found = self.rows(sql, [source, stream, app_id, origin])
        return cast(datetime, found[0][0]) if found else None

    def readings(self) -> Readings:
        """What the counters said last."""
        found = self.rows("SELECT family, labels, reading FROM counter")
        return {(cast(str, family), cast(str, labels)): cast(float, reading) for family, labels, reading in found}

    def keep_readings(self, readings: Readings) -> None:
        """Replace readings in a transaction of their own, beside a batch that is being written."""
        if not readings:
            return
        families, labels = zip(*readings, strict=True)
        told = pa.table({"family": families, "labels": labels, "reading": list(readings.values())})
        with self._counting, self._reading() as session, session.showing(told=told), session.transaction():
            session.run("DELETE FROM counter WHERE (family, labels) IN (SELECT family, labels FROM told)")
            session.run("INSERT INTO counter BY NAME SELECT * FROM told")

    def set_payers(self, spans: Iterable[PayerSpan]) -> None:
        """Who pays from now on, in place of what was set before."""
        rows = [
            (
                *(span.kind, span.value, span.start or columns.EVER, span.end or columns.NEVER),
                *(span.person, span.department, span.cost_centre, span.place),
            )
            for span in spans
        ]
        names = ("kind", "subject", "starts_at", "ends_at", "person", "department", "cost_centre", "place")
        kinds = (pa.string(), pa.string(), _INSTANT, _INSTANT, *[pa.string()] * 4)
        told = pa.table([pa.array([row[n] for row in rows], kind) for n, kind in enumerate(kinds)], names)
        with self._writing, telling(self._path), self._changing("payer_span"), self._writer.showing(told=told):
            self._writer.run("DELETE FROM payer_span")
            self._writer.run("INSERT INTO payer_span BY NAME SELECT * FROM told")

    def set_keys(self, keys: Iterable[Key]) -> None:
        """Keep these keys from now on, in place of those before, beside a batch that is being written."""
        rows = [
            (
                *(key.id, key.name, [str(scope) for scope in key.scopes]),
                *(list(key.sight.apps), list(key.sight.workspaces), list(key.sight.origins)),
                *(key.digest, key.created_at, key.expires_at, key.revoked_at, key.last_used_at),
            )
            for key in keys
        ]
        with self._keying, self._reading() as session, session.transaction():
            session.run("DELETE FROM access_key")
            for row in rows:
                session.run(f"INSERT INTO access_key VALUES ({', '.join('?' * len(row))})", row)

    def settle_rollups(self, *, everything: bool = False) -> int:
        """Make anew what batches have touched, some steps at a time; how many steps that were."""
        with self._writing, telling(self._path):
            windows = self._rollups.due(self._writer, everything=everything)
        for window in windows:
            with self._writing:
                with telling(self._path), self._changing("rollup_mark"):
                    self._rollups.rebuild(self._writer, window)
                self._rollups.rebuilt(window)
        return sum(len(window.steps) for window in windows)

    def check_rollups(self, *, repair: bool = False) -> list[Drift]:
        """The steps of rollups that do not say what the facts say; with `repair` they are made anew."""
        with self._reading() as session:
            found = list(drifts(session))
        if repair and found:
            with self._writing, telling(self._path):
                with self._changing("rollup_mark"):
                    doubted = self._rollups.doubt(self._writer, found)
                self._rollups.marked(doubted)
            self.settle_rollups(everything=True)
        return found

    def retire(self, ages: Mapping[str, timedelta], now: datetime) -> dict[str, int]:
        """Remove facts of days that are older than the age of their table; how many, by table."""
        gone: dict[str, int] = {}
        with self._reading() as session:
            days = retirement.due(session, ages, now, self.counting_since)
        for facts, day in days:
            with self._writing, telling(self._path):
                if self._rollups.is_marked(facts, day):
                    continue
                with self._changing("retired_day", facts):
                    number = retirement.retire(self._writer, facts, day, self.counting_since)
                self._rollups.retired(facts, day)
                gone[facts] = gone.get(facts, 0) + number
        return gone

    def close_period(self, closed: ClosedPeriod, lines: pa.Table) -> None:
        """Keep a billing period with its lines, beside a batch that is being written."""
        row = msgspec.structs.astuple(closed)
        with self._reading() as session, session.transaction(), session.showing(told=lines):
            session.run(f"INSERT INTO bill_period VALUES ({', '.join('?' * len(row))})", row)
            session.run("INSERT INTO bill_line BY NAME SELECT * FROM told")

    def keep_rated(self, period: str, state: str, lines: pa.Table, rated_at: datetime) -> None:
        """Keep the rated lines of a period, beside a batch that is being written."""
        with self._rating, self._reading() as session, session.transaction():
            rated.keep(session, period, state, lines, rated_at)

    def keep_delivery(self, delivery: Delivery) -> None:
        """Keep what became of a report, in place of what was known before, beside a batch that is being written."""
        row = msgspec.structs.astuple(delivery)
        with self._counting, self._reading() as session, session.transaction():
            key = [delivery.report, delivery.fingerprint]
            session.run("DELETE FROM report_delivery WHERE report = ? AND fingerprint = ?", key)
            session.run(f"INSERT INTO report_delivery VALUES ({', '.join('?' * len(row))})", row)

    def backup(self, path: str | Path) -> None:
        """Write a consistent copy beside the running store, whole or not at all."""
        copies.backup(self.rows, Path(path))

    def export_parquet(self, folder: str | Path) -> dict[str, int]:
        """Write every table but that of keys as a Parquet file of its name, all of one moment; rows by table."""
        return copies.export_parquet(self.rows, Path(folder))

    def close(self) -> None:
        """Wait for the writer, then let go of the file."""
        with self._writing:
            self.rows.close()
            self._writer.close()

    def _put(self, batch: list[tuple[Table, pa.Table]], watermarks: Iterable[Mark]) -> Stored:
        with self._writing:
            return self._put_alone(batch, watermarks)

    def _put_alone(self, batch: list[tuple[Table, pa.Table]], watermarks: Iterable[Mark]) -> Stored:
        with telling(self._path), self._changing() as touched:
            merged = {table.record: self._merge(table, rows) for table, rows in batch if len(rows)}
            calls, runs, messages = (merged.get(kind) for kind in (ModelCall, Run, Message))
            gone = estimates.settle(
                self._writer, calls and calls.told, runs and runs.told, messages and messages.told, SLACK
            )
            named = keys.settle(self._writer, merged[ApiKey].new if ApiKey in merged else None)
            touched |= dict.fromkeys(marks.advance(self._writer, watermarks), columns.EVER)
            written = {kind.table: each.written for kind, each in merged.items()}
            written[ModelCall.table] = (*written.get(ModelCall.table, ()), *gone.touched)
            written[Request.table] = (*written.get(Request.table, ()), *named)
            touched |= _begun_first(written)
            unsettled = self._rollups.mark(self._writer, written)
            touched |= dict.fromkeys(["rollup_mark"] if unsettled else (), columns.EVER)
        self._rollups.marked(unsettled)
        facts = sum(len(kind.told) + kind.refused for kind in merged.values())
        # An estimate told again after the real calls replaced it is no news.
        new = sum(len(kind.new) for kind in merged.values()) - _among(calls and calls.new, gone.ids)
        changed = sum(kind.changed for kind in merged.values())
        return Stored(new=new, changed=changed, known=facts - new - changed)

    def _owners(self, fingerprints: Sequence[str]) -> dict[str, keys.Owner]:
        found = self.rows(keys.OWNERS, [list(fingerprints)])
        return {cast(str, key): (cast(str, app), cast("str | None", workspace)) for key, app, workspace in found}

    def _merge(self, table: Table, rows: pa.Table) -> _Merged:
        """Bring the facts of a batch together with the stored ones of the same keys, and write what changed."""
        folded = told = merge.fold(table, rows)
        if table.is_dated:
            told = self._rollups.taken(table.name, told)
        refused = len(folded) - len(told)
        stored = self._stored(table, told)
        if not len(stored):
            self._insert(table, told)
            return _Merged(told, told, refused=refused, written=_begun(told))
        place = pc.index_in(told["id"], value_set=stored["id"].combine_chunks())
        new, again = told.filter(pc.is_null(place)), told.filter(pc.is_valid(place))
        stored = stored.take(place.drop_null())
        blend = merge.blend(table, stored, again)
        is_written = pc.or_(blend.is_changed, blend.is_heavier)
        before, after = stored.filter(is_written), pa.concat_tables([new, blend.rows.filter(is_written)])
        self._delete(table, before)
        self._insert(table, after)
        return _Merged(told, new, blend.is_changed.true_count, refused, (*_begun(before), *_begun(after)))

    def _stored(self, table: Table, told: pa.Table) -> pa.Table:
        """The stored rows of the facts told, and their `place`; a fact without an instant is looked for everywhere."""
        if not table.is_dated:
            return self._found(table, told, "TRUE")
        dated, undated = told, told.slice(0, 0)
        if told["created_at"].null_count:
            is_dated = pc.is_valid(told["created_at"])
            dated, undated = told.filter(is_dated), told.filter(pc.invert(is_dated))
        found = []
        if len(dated):
            span = pc.min_max(dated["created_at"]).as_py()
            bound = "created_at BETWEEN $low AND $high OR created_at IS NULL"
            found.append(self._found(table, dated, bound, **columns.around(span["min"], span["max"], SLACK)))
        if len(undated):
            found.append(self._found(table, undated, "TRUE"))
        return pa.concat_tables(found)

    def _found(self, table: Table, told: pa.Table, bound: str, **parameters: datetime) -> pa.Table:
        # Places first, rows then: to read whole rows while looking for their keys takes longer. A stranger with the
        # same CRC among them does no harm: `_merge` goes by id.
        schema = table.stored_schema
        places = f"SELECT rowid FROM {table.name} SEMI JOIN told USING ({ID_CRC}) WHERE {bound}"
        sql = f"SELECT {', '.join(schema.names)}, rowid AS place FROM {table.name} WHERE rowid IN ({places})"
        with self._writer.showing(told=told.select([ID_CRC])):
            return self._writer.arrow(sql, parameters).cast(schema.append(_PLACE))

    def _insert(self, table: Table, rows: pa.Table) -> None:
        if len(rows):
            with self._writer.showing(told=_in_time(rows)):
                self._writer.run(f"INSERT INTO {table.name} BY NAME SELECT * FROM told")

    def _delete(self, table: Table, stored: pa.Table) -> None:
        if len(stored):
            with self._writer.showing(places=stored.select(["place"])):
                self._writer.run(f"DELETE FROM {table.name} WHERE rowid IN (SELECT place FROM places)")

    @contextmanager
    def _changing(self, *tables: str) -> Iterator[dict[str, datetime]]:
        """A transaction of the writer, and what it touches: these tables, and those that are put in by the instant from
        which on their facts were."""
        touched = dict.fromkeys(tables, columns.EVER)
        with self._writer.transaction(lambda: self.rows.memory.changing(touched)):
            yield touched


_PLACE = pa.field("place", pa.int64())
_INSTANT = pa.timestamp("us", tz="UTC")


def _in_time(rows: pa.Table) -> pa.Table:
    """Rows in the order of time, so that a day lies together; those without an instant may lie anywhere."""
    if "created_at" not in rows.column_names:
        return rows
    at = rows["created_at"].combine_chunks()
    is_sorted = pc.all(pc.less_equal(at[:-1], at[1:])).as_py() is not False
    return rows if is_sorted else rows.take(pc.sort_indices(at))


def _begun(rows: pa.Table) -> tuple[pa.ChunkedArray, ...]:
    """When facts began; nobody knows it of those of tables that do not say."""
    return (rows["created_at"] if "created_at" in rows.column_names else pa.nulls(len(rows), _INSTANT),)


def _begun_first(written: Mapping[str, Iterable[pa.ChunkedArray]]) -> dict[str, datetime]:
    """Of every table that was written, when the first of the facts began: since ever where somebody does not say."""
    found: dict[str, datetime] = {}
    for table, instants in written.items():
        if told := [each for each in instants if len(each)]:
            is_known = not any(each.null_count for each in told)
            found[table] = min(pc.min(each).as_py() for each in told) if is_known else columns.EVER
    return found


def _among(facts: pa.Table | None, ids: pa.ChunkedArray) -> int:
    return len(facts.filter(pc.is_in(facts["id"], value_set=ids))) if facts is not None else 0
