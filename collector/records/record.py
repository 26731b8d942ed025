"""What every fact shares: when, and by whom, it was told."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar

import msgspec

Instant = Annotated[datetime, msgspec.Meta(tz=True)]
"""An aware instant, in UTC. What arrives over the wire without a time zone is refused."""

CONSOLE, DATABASE, TAP, FILE, BROKER, PORTAL = "console", "database", "tap", "file", "broker", "portal"
"""The values of `source`."""

SOURCE_RANK = {DATABASE: 3, CONSOLE: 2, TAP: 1, FILE: 0}
"""Who is believed when two sources tell different values of one field: the higher number. (A broker's and a
portal's facts nobody else tells.)"""

STALE = "stale"
"""Our own status of a run or message that stayed open longer than `open_run_max_age`; not final: news replaces it."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What all facts share."""

    table: ClassVar[str]
    source: str  # console, database, tap, file, broker, portal
    seen_at: Instant  # UTC; when this was read
