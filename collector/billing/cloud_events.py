"""The lines of a closed month -> CloudEvents 1.0, as OpenMeter takes them, and the same as Lago's events.

A line is one event. Its id is the line's, which is the same on every replay, so that whoever has it already drops it; a
correction is a new id that names the line it corrects (`data.corrects_line`). What was only half a month is not told:
lines of a month that is not closed still change. Amounts are text, digit for digit. Nothing here sends anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa

from collector.period import Period

USAGE, CORRECTION = "dify.llm.usage", "dify.llm.usage.correction"

LAGO_CODE = "dify_llm_usage"
"""The code of the billable metric in Lago."""

NOBODY = "unassigned"
"""The subject of usage that no department, cost centre or person pays for."""

_TOLD = (
    *("period", "corrects", "corrects_line", "kind", "quantity", "model_provider", "model_name", "app_id", "app_name"),
    *("workspace_id", "department", "cost_centre", "person", "currency", "per", "unit_price", "tier", "discount"),
    *("list_amount", "amount", "dataset_id", "dataset_name"),
)


def cloud_events(lines: pa.Table, period: Period, account: str) -> Iterator[dict[str, Any]]:
    """One CloudEvent for each line; `account` is who runs Dify. The time is when the day of the usage began."""
    for row, at in _rows(lines, period):
        yield {
            "specversion": "1.0",
            "type": CORRECTION if row["corrects"] else USAGE,
            "source": f"dify-metric/{account.replace(' ', '-')}",
            "id": row["id"],
            "subject": _subject(row),
            "time": f"{at:%Y-%m-%dT%H:%M:%SZ}",
            "datacontenttype": "application/json",
            "data": _told(row),
        }


def lago_events(lines: pa.Table, period: Period) -> Iterator[dict[str, Any]]:
    """One event of Lago's for each line."""
    for row, at in _rows(lines, period):
        yield {
            "transaction_id": row["id"],
            "external_subscription_id": _subject(row),
            "code": LAGO_CODE,
            "timestamp": str(int(at.timestamp())),
            "properties": _told(row),
        }


def _rows(lines: pa.Table, period: Period) -> Iterator[tuple[dict[str, Any], datetime]]:
    for batch in lines.to_batches(10_000):
        for row in batch.to_pylist():
            yield row, period.day_start(row["day"])


def _subject(row: dict[str, Any]) -> str:
    """Who pays, the largest first: what meters are read for."""
    return str(row["cost_centre"] or row["department"] or row["person"] or NOBODY)


def _told(row: dict[str, Any]) -> dict[str, Any]:
    told = {name: row[name] for name in _TOLD if row[name] is not None}
    return {name: f"{value:f}" if isinstance(value, Decimal) else value for name, value in told.items()}
