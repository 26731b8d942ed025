"""A store in memory that tests can look through, and that can refuse as a full disk does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from collector.errors import StoreError
from collector.records import FACTS, Pull, Record, Stored, Watermark
from collector.store import open_store

Fact = TypeVar("Fact", bound=Record)


class Shelf:
    """`fail_after` puts, the next ones raise StoreError, as if the process had died there."""

    def __init__(self) -> None:
        self.store = open_store(":memory:", threads=1)
        self.puts = 0
        self.fail_after: int | None = None

    def put(self, records: Iterable[Record], watermarks: Iterable[Watermark] = ()) -> Stored:
        self.puts += 1
        if self.fail_after is not None and self.puts > self.fail_after:
            raise StoreError("the disk is full")
        return self.store.put(records, watermarks)

    def watermark(self, source: str, stream: str, app_id: str) -> datetime | None:
        return self.store.watermark(source, stream, app_id)

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        return self.store.rows(sql, parameters)

    def of(self, kind: type[Fact]) -> dict[str, Fact]:
        """All facts of one class, by id."""
        names = [field.name for field in msgspec.structs.fields(kind)]
        found = (
            kind(**dict(zip(names, row, strict=True)))
            for row in self.rows(f"SELECT {', '.join(names)} FROM {kind.table}")
        )
        return {fact.id: fact for fact in found}  # type: ignore[attr-defined]

    @property
    def marks(self) -> dict[tuple[str, str], datetime]:
        """Watermarks by stream and app."""
        return {row[:2]: row[2] for row in self.rows("SELECT stream, app_id, complete_until FROM watermark")}

    def told(self) -> dict[tuple[str, str], Any]:
        """Everything known about Dify, without who said so and when: what must not depend on how it was read."""
        facts = ((kind, fact) for kind in FACTS if kind is not Pull for fact in self.of(kind).items())
        return {
            (kind.table, key): {n: v for n, v in msgspec.structs.asdict(fact).items() if n not in ("source", "seen_at")}
            for kind, (key, fact) in facts
        }
