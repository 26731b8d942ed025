"""A store that can be looked into, and that can fail like a machine that is switched off."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec

from collector.errors import StoreError
from collector.records import FACTS, App, DatasetDay, Pull, Record, Release, Statistic, Stored, Watermark
from collector.store import Store, open_store
from collector.store.tables import table_of

Fact = TypeVar("Fact", bound=Record)


class Shelf:
    """A store, a new one in memory unless given. `fail_after` puts raises StoreError, as if the process died there."""

    def __init__(self, store: Store | None = None) -> None:
        self.puts = 0
        self.fail_after: int | None = None
        self._store = store or open_store(":memory:")
        self.rows = self._store.rows
        self.watermark = self._store.watermark

    def put(self, records: Iterable[Record], watermarks: Iterable[Watermark] = ()) -> Stored:
        self.puts += 1
        if self.fail_after is not None and self.puts > self.fail_after:
            raise StoreError("the disk is full")
        return self._store.put(records, watermarks)

    @property
    def marks(self) -> dict[tuple[str, str, str], datetime]:
        """Watermarks by source, stream and app."""
        found: Sequence[Any] = self.rows("SELECT source, stream, app_id, complete_until FROM watermark")
        return {(source, stream, app_id): until for source, stream, app_id, until in found}

    def of(self, kind: type[Fact]) -> dict[str, Fact]:
        """All facts of one class, by id."""
        table = table_of(kind)
        rows = self.rows(f"SELECT {', '.join(table.columns)} FROM {table.name}")
        return {fact.id: fact for row in rows if (fact := kind(**dict(zip(table.columns, row, strict=True))))}  # type: ignore[attr-defined]

    def told(self) -> dict[tuple[str, str], Any]:
        """Everything known about Dify, without who said so and when: what must not depend on how it was read.

        Days on which Dify tells of nothing are known from the first reading on, what a knowledge base held only by who
        looked on that day, and how many runs are missing only where Dify counts them: all three are left out.
        """
        kinds = (kind for kind in FACTS if kind not in (Pull, Release, DatasetDay))
        facts = ((kind.table, key, fact) for kind in kinds for key, fact in self.of(kind).items())
        return {
            (table, key): _told(fact)
            for table, key, fact in facts
            if not isinstance(fact, Statistic) or fact.number or fact.amount
        }


def _told(fact: Record) -> Record:
    unsaid = {"missing_runs": None} if isinstance(fact, App) else {}
    return msgspec.structs.replace(fact, source="", seen_at=datetime.min.replace(tzinfo=UTC), **unsaid)
