"""Where facts are kept: the Store protocol and the way to open one.

What comes in are records and watermarks, in batches; what goes out are rows of SQL. A batch is one transaction: all
of it is stored, or nothing. Putting a batch twice changes nothing. Nothing here knows Dify or a measure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol, TypeAlias

import pyarrow as pa

from collector.records import Record, Stored, Watermark

Parameters: TypeAlias = Mapping[str, object] | Sequence[object]


class Store(Protocol):
    """What every engine offers. Safe to use from several threads: one writes at a time, readers do not wait."""

    def put(self, records: Iterable[Record], watermarks: Iterable[Watermark] = ()) -> Stored:
        """Merge records and set watermarks in one transaction. Raises StoreError, and then nothing of it is stored."""

    def rows(self, sql: str, parameters: Parameters = ()) -> list[tuple[object, ...]]:
        """Read; instants come back aware, in UTC. Raises StoreError."""

    def arrow(self, sql: str, parameters: Parameters = ()) -> pa.Table:
        """Read many rows at once."""

    def watermark(self, source: str, stream: str, app_id: str) -> datetime | None:
        """Up to when that stream is complete; None before its first complete pass."""

    def close(self) -> None:
        """Finish what is being written and let go of the file."""
