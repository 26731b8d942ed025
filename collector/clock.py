"""The clock of every process that serves people; everywhere else it is an argument."""

from __future__ import annotations

from datetime import UTC, datetime


def utc_now() -> datetime:
    """What time it is."""
    return datetime.now(UTC)
