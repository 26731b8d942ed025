"""Batches of records in one SQLite file, in the order they came, until they are taken away.

In come encoded batches and the numbers of those that were delivered; out go the oldest. The file keeps a bound in
bytes: where a new batch does not fit, the oldest go, and are told by kind. Who writes when is not known here, and a
file that cannot be used raises sqlite3.Error.

Written ahead (WAL) and not waited for: what was added outlives the process at once, and a power cut as soon as the
kernel has written it. Disks are waited for when the log is worked off, which `work_off` does beside the writer.
"""

from __future__ import annotations

import json
import os
import sqlite3
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

SCHEMA = 1
MOST_REFUSED = 1_000
"""Records kept that the collector did not take; of more, the oldest go."""

MOST_LOG_BYTES = 16 * 1024 * 1024
"""Written ahead of the file itself, before it is worked off."""

_ROW_BYTES = 64
_SPARE_PAGES = 256
"""Empty pages that a file keeps for what is to come."""

_TABLES = """
CREATE TABLE batch (
  number INTEGER PRIMARY KEY AUTOINCREMENT, kept_at REAL NOT NULL, records INTEGER NOT NULL, kinds TEXT NOT NULL,
  size INTEGER NOT NULL, body BLOB NOT NULL
);
CREATE TABLE refused (
  number INTEGER PRIMARY KEY AUTOINCREMENT, refused_at REAL NOT NULL, kind TEXT NOT NULL, reason TEXT NOT NULL,
  body BLOB NOT NULL
);
"""


@dataclass(frozen=True)
class Batch:
    """Records as `collector.wire` writes them, packed.

    `size`: bytes when unpacked; `kinds`: how many of each kind; `kept_at`: seconds since 1970.
    """

    packed: bytes
    size: int
    kinds: Counter[str]
    kept_at: float
    number: int = 0  # of those in a file

    @classmethod
    def of(cls, body: bytes, kinds: Counter[str], kept_at: float) -> Batch:
        """A batch of an encoded body."""
        return cls(zlib.compress(body, 1), len(body), kinds, kept_at)

    @property
    def body(self) -> bytes:
        """Raises zlib.error when it was damaged."""
        return zlib.decompress(self.packed)

    @property
    def records(self) -> int:
        return self.kinds.total()


@dataclass
class State:
    """What a file holds. `oldest_at`: when its first batch was kept, seconds since 1970; None: it is empty."""

    bytes: int = 0
    records: int = 0
    oldest_at: float | None = None


def first(batches: Iterable[Batch], most_records: int, most_bytes: int) -> list[Batch]:
    """As many as fit unpacked, and at least one where there are any."""
    found: list[Batch] = []
    records = size = 0
    for batch in batches:
        records += batch.records
        size += batch.size
        if found and (records > most_records or size > most_bytes):
            break
        found.append(batch)
    return found


def work_off(path: Path, most_bytes: int = MOST_LOG_BYTES) -> None:
    """Bring what was written ahead into the file itself, where it is much. For any thread; raises sqlite3.Error.

    Most of it is done while others write, only the end makes them wait.
    """
    log = path.with_name(f"{path.name}-wal")
    if not log.exists() or log.stat().st_size <= most_bytes:
        return
    with closing(sqlite3.connect(path, timeout=10.0, isolation_level=None)) as link:
        for mode in ("PASSIVE", "TRUNCATE"):
            link.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()


class OfLater(sqlite3.Error):
    """The file was written by a newer program."""


class SpoolFile:
    """One file, one writer. Not thread-safe; usable from any thread in turn."""

    def __init__(self, path: Path, *, most_bytes: int, busy_seconds: float = 1.0) -> None:
        self.path = path
        self.most_bytes = most_bytes
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
        self._link = sqlite3.connect(path, timeout=busy_seconds, isolation_level=None, check_same_thread=False)
        try:
            self._set_up()
            (self._records,) = self._one("SELECT coalesce(sum(records), 0) FROM batch")
        except BaseException:
            self._link.close()
            raise

    def _set_up(self) -> None:
        (found,) = self._one("PRAGMA user_version")
        if found > SCHEMA:
            raise OfLater(f"{self.path}: written by a newer dify-metric")
        if found == 0:
            self._link.execute("PRAGMA auto_vacuum = INCREMENTAL")
        self._link.execute("PRAGMA journal_mode = WAL")
        self._link.execute("PRAGMA synchronous = NORMAL")
        self._link.execute("PRAGMA wal_autocheckpoint = 0")
        if found == 0:
            with self._transaction():
                for statement in _TABLES.split(";")[:-1]:
                    self._link.execute(statement)
                self._link.execute(f"PRAGMA user_version = {SCHEMA}")
        (self._page_bytes,) = self._one("PRAGMA page_size")

    def add(self, batches: Sequence[Batch]) -> Counter[str]:
        """Keep batches, all or none. Returns what was dropped to make room, by kind."""
        with self._transaction():
            dropped = self._make_room(sum(len(batch.packed) + _ROW_BYTES for batch in batches))
            self._link.executemany(
                "INSERT INTO batch (kept_at, records, kinds, size, body) VALUES (?, ?, ?, ?, ?)",
                [(each.kept_at, each.records, json.dumps(each.kinds), each.size, each.packed) for each in batches],
            )
        self._records += sum(batch.records for batch in batches) - dropped.total()
        return dropped

    def oldest(self, most_records: int, most_bytes: int, after: int = 0) -> list[Batch]:
        """The first batches behind number `after`, as `first` chooses them."""
        rows = self._link.execute(
            "SELECT body, size, kinds, kept_at, number FROM batch WHERE number > ? ORDER BY number", (after,)
        )
        batches = (Batch(packed, size, Counter(json.loads(kinds)), *rest) for packed, size, kinds, *rest in rows)
        found = first(batches, most_records, most_bytes)
        rows.close()
        return found

    def remove(self, until: int) -> None:
        """Take away all batches up to a number, and give pages back where many are empty."""
        with self._transaction():
            (gone,) = self._one("SELECT coalesce(sum(records), 0) FROM batch WHERE number <= ?", until)
            self._link.execute("DELETE FROM batch WHERE number <= ?", (until,))
        self._records -= gone
        (empty,) = self._one("PRAGMA freelist_count")
        if empty > 2 * _SPARE_PAGES:
            # as a script: a statement without columns is left after its first page
            self._link.executescript(f"PRAGMA incremental_vacuum({min(empty - _SPARE_PAGES, 4 * _SPARE_PAGES)})")

    def keep_refused(self, refused: Iterable[tuple[str, str, bytes]], now: float) -> None:
        """Keep records that nobody takes, as (kind, reason, body): to be looked at by a person."""
        with self._transaction():
            self._link.executemany(
                "INSERT INTO refused (refused_at, kind, reason, body) VALUES (?, ?, ?, ?)",
                [(now, *each) for each in refused],
            )
            self._link.execute(
                "DELETE FROM refused WHERE number <= (SELECT max(number) FROM refused) - ?", (MOST_REFUSED,)
            )

    @property
    def refused(self) -> list[tuple[str, str, bytes]]:
        """The records that nobody took, oldest first."""
        return self._link.execute("SELECT kind, reason, body FROM refused ORDER BY number").fetchall()

    def state(self) -> State:
        """What it holds now."""
        row = self._link.execute("SELECT kept_at FROM batch ORDER BY number LIMIT 1").fetchone()
        return State(bytes=self._used_bytes(), records=self._records, oldest_at=row[0] if row else None)

    @property
    def is_empty(self) -> bool:
        """Whether neither batches nor refused records are left."""
        (left,) = self._one("SELECT EXISTS (SELECT 1 FROM batch) OR EXISTS (SELECT 1 FROM refused)")
        return not left

    def close(self) -> None:
        self._link.close()

    def limit_pages(self, most: int) -> None:
        """Let the file grow no further than so many pages, as on a disk that is full."""
        self._one(f"PRAGMA max_page_count = {int(most)}")

    def _make_room(self, wanted: int) -> Counter[str]:
        dropped: Counter[str] = Counter()
        excess = self._used_bytes() + wanted - self.most_bytes
        if excess <= 0:
            return dropped
        excess += self.most_bytes // 50  # not for each batch again
        last = 0
        for number, kinds, size in self._link.execute("SELECT number, kinds, length(body) FROM batch ORDER BY number"):
            if excess <= 0:
                break
            excess -= size + _ROW_BYTES
            dropped.update(json.loads(kinds))
            last = number
        self._link.execute("DELETE FROM batch WHERE number <= ?", (last,))
        return dropped

    def _used_bytes(self) -> int:
        (pages,), (empty,) = self._one("PRAGMA page_count"), self._one("PRAGMA freelist_count")
        return int(pages - empty) * int(self._page_bytes)

    def _one(self, sql: str, *parameters: object) -> tuple[int]:
        found: tuple[int] = self._link.execute(sql, parameters).fetchone()
        return found

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._link.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self._link.in_transaction:
                self._link.execute("ROLLBACK")
            raise
        try:
            self._link.execute("COMMIT")
        except sqlite3.Error:
            if self._link.in_transaction:
                self._link.execute("ROLLBACK")
            raise
