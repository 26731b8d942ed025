"""Records on disk until the collector has them: the sink of a relay, which never waits for it.

In come records; out go their batches, the oldest first, until they are called done. A thread of its own encodes what
came in the last moments and commits it as one batch. Where the file cannot be written (a full disk, a lock), batches
wait in memory, are given out from there, and are written as soon as they can be. What no bound has room for is
dropped, the oldest first, and counted by kind. Nothing here knows where records go.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TypeVar

import structlog

from collector import wire
from collector.records import Record
from collector.tap.spool_file import Batch, SpoolFile, State, first, work_off
from collector.tap.spool_folder import Claim

GATHER_SECONDS = 0.02
"""Records that come so close together are committed together."""

RETRY_SECONDS = 1.0
"""Between two tries to write a file that could not be written."""

MOST_WAITING = 100_000
"""Records taken and not yet encoded: so many come only while the disk does not answer at all."""

MOST_HELD_BYTES = 64 * 1024 * 1024
"""Of batches that wait in memory for a file that cannot be written."""

_RECORDS_A_BATCH = 1_000
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

log = structlog.get_logger()
_T = TypeVar("_T")


@dataclass
class Counts:
    """What became of records since this spool was opened."""

    spooled: int = 0  # records committed to the file
    file_failures: int = 0  # the file could not be written or read
    damaged_files: int = 0
    dropped: Counter[str] = field(default_factory=Counter)  # by kind


class Spool:
    """The spool of one worker. `put` is for the event loop; the rest is for other threads."""

    def __init__(
        self,
        claim: Claim,
        *,
        most_bytes: int,
        now: Callable[[], float] = time.time,
        most_waiting: int = MOST_WAITING,
        most_held_bytes: int = MOST_HELD_BYTES,
        busy_seconds: float = 1.0,
    ) -> None:
        self.counts = Counts()
        self._claim = claim
        self._most_bytes = most_bytes
        self._now = now
        self._most_waiting = most_waiting
        self._most_held_bytes = most_held_bytes
        self._busy_seconds = busy_seconds
        self._incoming: deque[list[Record]] = deque()
        self._put_in = 0  # written by the event loop alone
        self._taken_out = 0  # written by whoever encodes
        self._unheard: Counter[str] = Counter()  # dropped by the event loop
        self._held: deque[tuple[int, Batch]] = deque()  # by numbers below zero
        self._tickets = count(1)
        self._delivered_until = 0
        self._lock = threading.Lock()  # around the file and what is held
        self._wake = threading.Event()
        self._is_ending = False
        self._is_troubled = False
        self._is_closed = False
        self._file: SpoolFile | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to write what is put in. The file is opened now: that waits for the disk, and nobody waits yet."""
        self.state()
        self._thread = threading.Thread(target=self._write_on, name="spool", daemon=True)
        self._thread.start()

    def put(self, records: list[Record]) -> None:
        """Take records. Returns at once, whatever the disk does."""
        self._incoming.append(records)
        self._put_in += len(records)
        if self._put_in - self._taken_out > self._most_waiting:
            self._drop_incoming()
        self._wake.set()

    def commit(self) -> bool:
        """Write everything that came; whether nothing is left in memory."""
        with self._lock:
            self._encode()
            if self._held:
                self._guarded(self._write)
            self._bound_held()
            return not self._held

    def take(self, most_records: int, most_bytes: int) -> list[Batch]:
        """The oldest batches that are not done, at least one where there are any."""
        with self._lock:
            found = self._guarded(lambda file: file.oldest(most_records, most_bytes, self._delivered_until)) or []
            if found or not self._is_troubled:
                return found
            return first((batch for _, batch in self._held), most_records, most_bytes)

    def done(self, batches: list[Batch]) -> None:
        """The oldest batches have arrived, or will never."""
        gone = {batch.number for batch in batches}
        with self._lock:
            self._held = deque((ticket, batch) for ticket, batch in self._held if -ticket not in gone)
            if (until := max(gone, default=0)) > 0:
                self._delivered_until = until
            self._settle()

    def refuse(self, refused: list[tuple[str, str, bytes]]) -> None:
        """Keep records that nobody takes, as (kind, reason, body), for a person to look at."""
        with self._lock:
            self._guarded(lambda file: file.keep_refused(refused, self._now()))

    def state(self) -> State:
        """What stands in the file and in memory."""
        with self._lock:
            found = self._guarded(SpoolFile.state) or State()
            found.records += sum(batch.records for _, batch in self._held)
            found.records += self._put_in - self._taken_out
            return found

    def tidy(self) -> None:
        """Keep the file in shape, without holding up who writes; to be called now and then."""
        try:
            work_off(self._claim.path)
        except (sqlite3.Error, OSError) as error:
            log.debug("spool not tidied, tried again", reason=str(error))

    def dropped(self, kind: str) -> int:
        """Records of a kind that are lost."""
        return self.counts.dropped[kind] + self._unheard[kind]

    def close(self) -> None:
        """Write what came, then let others have the file; an empty one is deleted."""
        self._is_ending = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
        self.commit()
        with self._lock:
            if left := sum(batch.records for _, batch in self._held):
                log.error("records lost: they could not be written before the end", records=left)
            is_empty = bool(self._guarded(lambda file: file.is_empty)) and not self._delivered_until
            self._is_closed = True
            if self._file is not None:
                self._file.close()
            if is_empty:
                self._claim.remove()
            self._claim.release()

    def _write_on(self) -> None:
        while True:
            self._wake.wait(RETRY_SECONDS if self._held else None)
            if not self._is_ending:
                time.sleep(GATHER_SECONDS)
            self._wake.clear()
            is_ending = self._is_ending
            self.commit()
            if is_ending:
                return

    # --- in memory

    def _encode(self) -> None:
        """Make batches of what came in."""
        records: list[Record] = []
        while self._incoming:
            try:
                records += self._incoming.popleft()
            except IndexError:  # dropped in between
                break
            if len(records) >= _RECORDS_A_BATCH:
                self._hold(records)
                records = []
        if records:
            self._hold(records)

    def _hold(self, records: list[Record]) -> None:
        self._taken_out += len(records)
        good, bad = _encoded(records)
        self.counts.dropped.update(bad)
        if good is not None:
            body, kinds = good
            ticket = next(self._tickets)
            batch = Batch.of(body, kinds, self._now())
            self._held.append((ticket, replace(batch, number=-ticket)))

    def _drop_incoming(self) -> None:
        try:
            lost = self._incoming.popleft()
        except IndexError:
            return
        self._put_in -= len(lost)
        self._unheard.update(record.table for record in lost)

    def _bound_held(self) -> None:
        size = sum(len(batch.packed) for _, batch in self._held)
        while size > self._most_held_bytes:
            _, lost = self._held.popleft()
            size -= len(lost.packed)
            self.counts.dropped.update(lost.kinds)

    # --- the file

    def _write(self, file: SpoolFile) -> None:
        self.counts.dropped.update(file.add([batch for _, batch in self._held]))
        self.counts.spooled += sum(batch.records for _, batch in self._held)
        self._held.clear()
        if self._is_troubled:
            self._is_troubled = False
            log.info("spool is written again", path=str(self._claim.path))
        self._settle()

    def _settle(self) -> None:
        """Remove what was delivered; where that fails it is not given out again, and tried again later."""
        if self._delivered_until:
            self._guarded(self._remove)

    def _remove(self, file: SpoolFile) -> None:
        file.remove(self._delivered_until)
        self._delivered_until = 0

    def _guarded(self, use: Callable[[SpoolFile], _T]) -> _T | None:
        """Use the file; None when it cannot be used. A damaged one is set aside, and a fresh one used."""
        for _ in range(0 if self._is_closed else 2):
            try:
                if self._file is None:
                    self._file = SpoolFile(
                        self._claim.path, most_bytes=self._most_bytes, busy_seconds=self._busy_seconds
                    )
                return use(self._file)
            except sqlite3.Error as error:
                if not self._is_damaged(error):
                    self._note_trouble(error)
                    return None
                self._set_aside(error)
            except OSError as error:
                self._note_trouble(error)
                return None
        return None

    def _is_damaged(self, error: sqlite3.Error) -> bool:
        return getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED

    def _set_aside(self, error: sqlite3.Error) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        self._delivered_until = 0
        self.counts.damaged_files += 1
        target = self._claim.set_aside()
        log.error(
            "spool is damaged and was set aside; what it held is lost to the collector until somebody repairs it",
            path=str(self._claim.path),
            kept_as=str(target),
            reason=str(error),
        )

    def _note_trouble(self, error: Exception) -> None:
        self.counts.file_failures += 1
        if not self._is_troubled:
            self._is_troubled = True
            log.error(
                "spool cannot be used; records wait in memory, traffic goes on",
                path=str(self._claim.path),
                reason=str(error),
            )


def _encoded(records: list[Record]) -> tuple[tuple[bytes, Counter[str]] | None, Counter[str]]:
    """(body, kinds) of the records that can be written, and the kinds of those that cannot."""
    try:
        return (wire.encode(records), Counter(record.table for record in records)), Counter()
    except (ValueError, TypeError, OverflowError):  # a text that is no text, a number beyond all bounds
        if len(records) == 1:
            return None, Counter([records[0].table])
    good, bad = [], Counter[str]()
    for record in records:
        found, lost = _encoded([record])
        bad += lost
        if found is not None:
            good.append(record)
    return (_encoded(good)[0] if good else None), bad
