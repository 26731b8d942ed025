"""How one stream's pass went: what it read is counted here and becomes a Pull and one line in the log.

What comes in are steps and at most one error; what goes out is the Pull. Nothing here reads or stores.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import structlog

from collector.errors import DifyMetricError, Forbidden, NotFound, StoreError, Unauthorized, Unavailable
from collector.failures import ERROR_CLASSES
from collector.pull.step import Step
from collector.records import CONSOLE, App, Pull

log = structlog.get_logger()

_ERROR_CLASSES: tuple[tuple[type[DifyMetricError], str], ...] = (
    (Unauthorized, "unauthorized"),
    (Forbidden, "forbidden"),
    (NotFound, "not_found"),
    (Unavailable, "unavailable"),
    (StoreError, "store"),
)


@dataclass
class Tally:
    """Counts one stream of one app (None: of the workspace) during one pass."""

    stream: str
    app: App | None
    began: datetime
    origin: str  # our name for the Dify that is asked
    marks: bool = False  # reaching its end sets the stream's watermark
    requests: int = 0
    pages: int = 0
    records: int = 0
    parse_failures: int = 0
    error: DifyMetricError | None = None
    is_interrupted: bool = False  # goes on in the next pass
    missing: int = 0  # that Dify counts and does not list: reading again would not bring them
    ties_lost: bool = False  # more were created at one instant than a page holds

    @property
    def is_complete(self) -> bool:
        return self.error is None and not self.is_interrupted

    @property
    def name(self) -> str | None:
        return (self.app.name or self.app.id) if self.app else None

    def add(self, step: Step) -> None:
        """Count what a step brought."""
        self.requests += step.requests
        self.pages += step.requests > 0
        self.records += len(step.records)
        self.parse_failures += step.parse_failures
        self.ties_lost |= step.ties_lost

    def fail(self, error: DifyMetricError) -> None:
        """Note an error; the first one names the pass's error class."""
        self.requests += 1
        self.error = self.error or error

    def pull(self, ended: datetime) -> Pull:
        """The record of this pass."""
        app_id = self.app.id if self.app else None
        return Pull(
            source=CONSOLE,
            seen_at=ended,
            id=f"{CONSOLE}/{self.origin}/{self.stream}/{app_id or ''}/{self.began.isoformat()}",
            stream=self.stream,
            app_id=app_id,
            created_at=self.began,
            seconds=(ended - self.began).total_seconds(),
            requests=self.requests,
            pages=self.pages,
            records=self.records,
            parse_failures=self.parse_failures,
            error_class=error_name(self.error) if self.error else None,
            is_complete=self.is_complete and not self.missing and not self.ties_lost,
            origin=self.origin,
        )

    def tell(self, pull: Pull, *, again: bool) -> None:
        """One line: a warning when it failed, only for debugging when there was nothing or it failed `again`."""
        about = {"stream": self.stream, "app": self.name, "origin": self.origin}
        counts = {"records": self.records, "pages": self.pages, "seconds": round(pull.seconds, 1)}
        if self.error:
            (log.debug if again else log.warning)("pull failed", **about, problem=str(self.error), **counts)
        elif self.records or self.is_interrupted:
            log.info("pull finished", **about, **counts)
        else:
            log.debug("pull finished", **about, **counts)


def error_name(error: DifyMetricError) -> str:
    """The `error_class` of a Pull."""
    return next((name for kind, name in _ERROR_CLASSES if isinstance(error, kind)), ERROR_CLASSES[-1])
