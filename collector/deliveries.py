"""What became of a report on its way to one destination: reporting makes these, the store keeps them.

A destination is told by a name and a fingerprint; its address, which may hold a secret, stands in the settings alone.
Nothing here sends, reads or writes.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

WAITING, DELIVERED, GIVEN_UP = "waiting", "delivered", "given up"
"""States of a delivery: it is tried again; it was acknowledged and is never sent again; it is not tried any more."""


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One report for one destination. `report` and `fingerprint` together are the key."""

    report: str  # week 2026-W47: what it is about
    fingerprint: str  # of where it goes: the first 16 hex digits of a SHA-256
    destination: str  # its name in the settings: mail, folder, wecom
    starts_at: datetime  # UTC, of the report's period
    ends_at: datetime  # UTC, not included
    state: str  # WAITING, DELIVERED, GIVEN_UP
    tries: int
    problem: str | None  # of the last try that failed, without any address
    created_at: datetime  # UTC: when it was due and first tried
    next_at: datetime | None  # UTC: when it is tried again; None: it is not
    delivered_at: datetime | None  # UTC: when it was acknowledged
