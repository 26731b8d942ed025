"""One store in memory for all examples of a property, emptied before each: opening one takes longer than most."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from collector.store import Store, open_store

LASTING = ("schema_version", "milestone", "rollup_kept")
"""What a store has from its beginning."""


@contextmanager
def a_store_to_empty(now: datetime | None = None) -> Iterator[Callable[[], Store]]:
    """Gives what hands it over, empty."""
    store = open_store(":memory:", now=now)

    def emptied() -> Store:
        empty(store)
        return store

    yield emptied
    store.close()


def empty(store: Store) -> None:
    """As it was when it was new, its beginning included."""
    for (table,) in store.rows("SELECT table_name FROM duckdb_tables() WHERE NOT internal"):
        if table not in LASTING:
            store.rows(f"TRUNCATE {table}")
    store.rows.memory.now = {}  # type: ignore[attr-defined]
    store._rollups.prepare(store._writer, read_only=False)  # type: ignore[attr-defined]
