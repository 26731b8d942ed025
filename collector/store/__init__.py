"""Where facts are kept: the Store protocol and the way to open one.

What comes in are records and watermarks, in batches; what goes out are rows of SQL. A batch is one transaction: all
of it is stored, or nothing. Putting a batch twice changes nothing. Nothing here knows Dify or a measure.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol, TypeAlias, TypeVar

import pyarrow as pa

from collector.access import EVERYTHING, Key, Sight
from collector.bill_lines import ClosedPeriod
from collector.deliveries import Delivery
from collector.errors import StoreError
from collector.payers import PayerSpan
from collector.records import Mark, Record, Stored
from collector.rollups import Drift

Parameters: TypeAlias = Mapping[str, object] | Sequence[object]

Value = TypeVar("Value")

Extent: TypeAlias = Mapping[str, datetime]
"""Tables, and an instant for each: their facts that began before it, or (of a change) not before it."""


class Reads(Protocol):
    """`rows` of one moment."""

    def __call__(self, sql: str, parameters: Parameters = (), /) -> list[tuple[object, ...]]: ...

    def remembered(
        self, key: Hashable, work: Callable[[Reads], tuple[Value, Extent]], /, asked: Hashable = None
    ) -> Value:
        """What `work` makes of these rows; it also says of which facts.

        It is not called again before one of those was told anew, so it may hang on nothing else that `key` and `asked`
        do not name. Of a key only what was asked last is remembered. Readings, access keys and bills are never worth
        remembering: they change beside the batches.
        """


class Rows(Protocol):
    """The way to read."""

    def __call__(self, sql: str, parameters: Parameters = (), sight: Sight = ...) -> list[tuple[object, ...]]:
        """Read; instants come back aware, in UTC. Parameters are ? or $name. Raises StoreError.

        With a `sight` every table holds no more than what it shows, whatever the SQL asks.
        """

    def still(self, sight: Sight = ...) -> AbstractContextManager[Reads]:
        """Rows of one moment: what is stored meanwhile is not seen. Raises StoreError."""


Readings: TypeAlias = Mapping[tuple[str, str], float]
"""What counters said last, by family and labels (as text)."""


class Store(Protocol):
    """What every engine offers. Safe to use from several threads: one writes at a time, readers do not wait."""

    @property
    def counting_since(self) -> datetime:
        """When this store was first opened: facts that finished before are history, not news."""

    def put(self, records: Iterable[Record], watermarks: Iterable[Mark] = ()) -> Stored:
        """Merge records and set watermarks in one transaction. Raises StoreError, and then nothing of it is stored.

        Counts facts, not tellings: a fact told twice in the batch counts once. Watermarks only move forward,
        reaches only grow.
        """

    def put_columns(self, tables: Mapping[type[Record], pa.Table], watermarks: Iterable[Mark] = ()) -> Stored:
        """Like `put`, for bulk: facts as Arrow columns named like the record's fields; absent ones are blank."""

    @property
    def rows(self) -> Rows:
        """How it is read."""

    @property
    def snapshot(self) -> Callable[[], AbstractContextManager[Reads]]:
        """`rows.still` of everything."""

    def arrow(self, sql: str, parameters: Parameters = (), sight: Sight = EVERYTHING) -> pa.Table:
        """Read many rows at once."""

    def watermark(self, source: str, stream: str, app_id: str, origin: str = "") -> datetime | None:
        """Up to when that stream is complete; None before its first complete pass."""

    def readings(self) -> Readings:
        """What the counters said last, as `keep_readings` was told it."""

    def keep_readings(self, readings: Readings) -> None:
        """Replace the readings of these counters; the others stay. Does not wait for a batch. Raises StoreError."""

    def set_payers(self, spans: Iterable[PayerSpan]) -> None:
        """Keep these spans in table `payer_span`, in place of those before: all of them, or nothing."""

    def set_keys(self, keys: Iterable[Key]) -> None:
        """Keep these keys in table `access_key`, in place of those before. Does not wait for a batch."""

    def settle_rollups(self, *, everything: bool = False) -> int:
        """Make rollups (`collector.rollups`) anew where batches have touched their facts; how many steps that were.

        Steps that no batch touched since the last call, or with `everything` all. Batches get their turn in between.
        Until a step is made anew it is read from the facts. Raises StoreError.
        """

    def check_rollups(self, *, repair: bool = False) -> list[Drift]:
        """Work every step out again and compare: the steps that do not say what the facts say. Reads everything.

        With `repair` they are made anew from the facts. Raises StoreError.
        """

    def retire(self, ages: Mapping[str, timedelta], now: datetime) -> dict[str, int]:
        """Remove the facts of days older than the age of their table; how many went, by table. Rollups stay.

        Days that were told of in the last week stay too. Facts of a day that went are not taken in again: they count as
        known. Raises StoreError.
        """

    def close_period(self, closed: ClosedPeriod, lines: pa.Table) -> None:
        """Keep a billing period with its lines (`collector.bill_lines.LINES`): all of it, or nothing.

        Raises StoreError where it is kept already.
        """

    def keep_rated(self, period: str, state: str, lines: pa.Table, rated_at: datetime) -> None:
        """Keep the lines of a period in table `rated_line` (columns of `RatedLine`), in place of those before.

        `state` is what they were rated in, for whoever asks later whether that changed. Does not wait for a batch.
        """

    def keep_delivery(self, delivery: Delivery) -> None:
        """Keep what became of a report, in place of what was known before. Does not wait for a batch."""

    def backup(self, path: str | Path) -> None:
        """Write a consistent copy, a store of its own, while others read and write. `path` must not exist yet."""

    def export_parquet(self, folder: str | Path) -> dict[str, int]:
        """Write every table but that of keys as a Parquet file of its name, all of one moment.

        Others read and write meanwhile. `folder` must not exist yet. Rows by table. Raises StoreError.
        """

    def close(self) -> None:
        """Finish what is being written and let go of the file."""


def open_store(
    url: str | Path,
    *,
    read_only: bool = False,
    now: datetime | None = None,
    memory_limit: str | None = None,
    threads: int | None = None,
    temp_directory: str | Path | None = None,
) -> Store:
    """Open a store, made or brought to today's schema where needed. Raises StoreError saying what to do.

    `url`: a path, `duckdb:///absolute/path`, or `:memory:`. `now`: the instant a new store counts from. `memory_limit`
    ("2GB"), `threads` and `temp_directory` (beside the file) are the engine's own when not given.
    """
    from collector.store.duck import DuckStore

    scheme, separator, rest = str(url).partition("://")
    if separator and scheme != "duckdb":
        raise StoreError(f"no store engine {scheme!r}; wanted a path, duckdb:///path or :memory:")
    return DuckStore(
        rest if separator else scheme,
        read_only=read_only,
        now=now or datetime.now(UTC),
        memory_limit=memory_limit,
        threads=threads,
        temp_directory=temp_directory,
    )
