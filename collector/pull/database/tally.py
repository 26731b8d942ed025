"""How one stream of a pass went: what it read is counted here and becomes a Pull and one line in the log.

What comes in are counts and at most one error; what goes out is the Pull. Nothing here reads or stores.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import structlog

from collector.errors import DifyMetricError, Forbidden, SettingsError, StoreError, Unauthorized, Unavailable
from collector.records import DATABASE, Pull

log = structlog.get_logger()

_ERROR_CLASSES: tuple[tuple[type[DifyMetricError], str], ...] = (
    (Unauthorized, "unauthorized"),
    (Forbidden, "forbidden"),
    (Unavailable, "unavailable"),
    (StoreError, "store"),
    (SettingsError, "settings"),
)


@dataclass
class Tally:
    """Counts one stream during one pass."""

    stream: str
    began: datetime
    origin: str  # our name for the Dify that is read
    requests: int = 0
    pages: int = 0
    records: int = 0
    parse_failures: int = 0
    error: DifyMetricError | None = None

    def pull(self, ended: datetime) -> Pull:
        """The record of it."""
        return Pull(
            source=DATABASE,
            seen_at=ended,
            id=f"{DATABASE}/{self.origin}/{self.stream}/{self.began.isoformat()}",
            stream=self.stream,
            created_at=self.began,
            seconds=(ended - self.began).total_seconds(),
            requests=self.requests,
            pages=self.pages,
            records=self.records,
            parse_failures=self.parse_failures,
            error_class=_error_class(self.error) if self.error else None,
            is_complete=self.error is None,
            origin=self.origin,
        )

    def tell(self, pull: Pull) -> None:
        """One line; a warning when it failed, only for debugging when there was nothing."""
        said = {
            "source": DATABASE,
            "origin": self.origin,
            "stream": self.stream,
            "records": self.records,
            "pages": self.pages,
        }
        if self.parse_failures:
            log.warning("rows set aside", **said, rows=self.parse_failures)
        if self.error:
            log.warning("pull failed", **said, seconds=round(pull.seconds, 1), problem=str(self.error))
        else:
            (log.info if self.records else log.debug)("pull finished", **said, seconds=round(pull.seconds, 1))


def missed(streams: Iterable[str], error: DifyMetricError, now: datetime, origin: str) -> list[Pull]:
    """Streams that were not come to, because of one error."""
    return [Tally(stream, now, origin, error=error).pull(now) for stream in streams]


def _error_class(error: DifyMetricError) -> str:
    return next((name for kind, name in _ERROR_CLASSES if isinstance(error, kind)), "other")
