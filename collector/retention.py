"""How long facts stay: what the settings say, and that what is rated stays until its month is closed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from collector.billing.bills import RATED
from collector.settings import Settings

KEEPING = {
    "run": "keep_runs",
    "node_execution": "keep_node_executions",
    "model_call": "keep_model_calls",
    "message": "keep_messages",
    "request": "keep_requests",
    "retrieval": "keep_retrievals",
    "portal_event": "keep_portal_events",
    "portal_value": "keep_portal_events",
    "pull": "keep_pulls",
}
"""Table of facts -> the setting that says how long they stay."""


def is_kept_for_a_while(settings: Settings) -> bool:
    """Whether any facts are to go by their age."""
    return any(getattr(settings, setting) for setting in KEEPING.values())


def ages(settings: Settings, closed_until: Callable[[], datetime | None], now: datetime) -> dict[str, timedelta]:
    """Table -> the age at which its facts go; those that stay for ever are not named.

    `closed_until` is the end of the last closed billing period; it is asked where there is a price book.
    """
    kept = {facts: getattr(settings, setting) for facts, setting in KEEPING.items()}
    found = {facts: age for facts, age in kept.items() if age is not None}
    if settings.prices is None:
        return found
    until = closed_until()
    billed = now - until if until else None
    return {
        facts: max(age, billed) if billed and facts in RATED else age
        for facts, age in found.items()
        if billed or facts not in RATED
    }
