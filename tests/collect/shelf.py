"""A store small enough to see through: facts by key in a dictionary, questions answered by DuckDB over them.

It keeps the promises a pass relies on (a blank never replaces a value, an unfinished fact never a final one, records
and watermarks together or not at all) and none of a real store's others.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, TypeVar

import duckdb
import msgspec
import pyarrow as pa

from collector.errors import StoreError
from collector.records import Record, Stored, Watermark
from collector.store.tables import TABLES

Fact = TypeVar("Fact", bound=Record)


class Shelf:
    """Facts by (class, id). `fail_after` puts raises StoreError, as if the process had died there."""

    def __init__(self) -> None:
        self.facts: dict[tuple[type[Record], str], Record] = {}
        self.marks: dict[tuple[str, str, str], datetime] = {}
        self.puts = 0
        self.fail_after: int | None = None
        self._lock = threading.Lock()
        self._changed: set[type[Record]] = set()
        self._duck = duckdb.connect(":memory:")
        self._duck.execute("SET TimeZone = 'UTC'")
        for table in TABLES:
            self._duck.execute(table.ddl)

    def put(self, records: Iterable[Record], watermarks: Iterable[Watermark] = ()) -> Stored:
        with self._lock:
            return self._put(records, watermarks)

    def _put(self, records: Iterable[Record], watermarks: Iterable[Watermark]) -> Stored:
        self.puts += 1
        if self.fail_after is not None and self.puts > self.fail_after:
            raise StoreError("the disk is full")
        new = changed = 0
        for record in records:
            self._changed.add(type(record))
            key = (type(record), record.id)  # type: ignore[attr-defined]
            old = self.facts.get(key)
            self.facts[key] = record if old is None else _merged(old, record)
            new += old is None
            changed += old is not None and _told(old) != _told(self.facts[key])
        for mark in watermarks:
            at = (mark.source, mark.stream, mark.app_id)
            self.marks[at] = max(self.marks.get(at, mark.complete_until), mark.complete_until)
        return Stored(new=new, changed=changed)

    def watermark(self, source: str, stream: str, app_id: str) -> datetime | None:
        return self.marks.get((source, stream, app_id))

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            self._refresh()
            return self._duck.execute(sql, list(parameters)).fetchall()

    def of(self, kind: type[Fact]) -> dict[str, Fact]:
        """All facts of one class, by id."""
        return {key: fact for (found, key), fact in self.facts.items() if found is kind}  # type: ignore[misc]

    def told(self) -> dict[tuple[str, str], Any]:
        """Everything known about Dify, without who said so and when: what must not depend on how it was read."""
        return {(kind.table, key): _told(fact) for (kind, key), fact in self.facts.items() if kind.table != "pull"}

    def _refresh(self) -> None:
        """Bring DuckDB's tables up to what is in the dictionary."""
        for table in TABLES:
            if table.record not in self._changed:
                continue
            rows = [msgspec.structs.asdict(fact) for fact in self.of(table.record).values()]
            self._duck.execute(f"DELETE FROM {table.name}")
            if rows:
                self._duck.register("batch", pa.Table.from_pylist(rows, schema=table.arrow_schema))
                self._duck.execute(f"INSERT INTO {table.name} SELECT * FROM batch")
                self._duck.unregister("batch")
        self._changed.clear()


def _merged(old: Record, new: Record) -> Record:
    if getattr(old, "is_final", False) and not getattr(new, "is_final", True):
        old, new = new, old
    known = {name: value for name, value in msgspec.structs.asdict(new).items() if value is not None}
    return msgspec.structs.replace(old, **known)


def _told(fact: Record) -> dict[str, Any]:
    told = msgspec.structs.asdict(fact)
    return {name: value for name, value in told.items() if name not in ("source", "seen_at")}
