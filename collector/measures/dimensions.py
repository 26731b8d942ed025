"""Every dimension, in the order in which they are listed, and the short names people may write for them.

What comes in are the dimensions of the subjects (`by_*.py`); what goes out is plain data that the catalogue, REST and
dashboards read.
"""

from __future__ import annotations

from collector.measures import by_app, by_bill, by_call, by_event, by_knowledge, by_user
from collector.measures.dimension import Dimension
from collector.measures.fragments import Facts

DIMENSIONS: tuple[Dimension, ...] = (
    *by_app.DIMENSIONS,
    *by_call.DIMENSIONS,
    *by_user.DIMENSIONS,
    *by_knowledge.DIMENSIONS,
    *by_event.DIMENSIONS,
    *by_bill.DIMENSIONS,
)
"""Every dimension, by subject and then as they stand there."""

ALIASES = {
    "app": "app_id",
    "model": "model_name",
    "provider": "model_provider",
    "workspace": "workspace_id",
    "mode": "app_mode",
    "user": "user_id",
    "session": "session_id",
    "conversation": "conversation_id",
    "run": "run_id",
    "dataset": "dataset_id",
    "tag": "app_tag",
    "key": "key_fingerprint",
    "vision": "is_vision",
    "cost_center": "cost_centre",
}
"""Short names people may write for a dimension."""


def dimensions_of(facts: Facts) -> tuple[Dimension, ...]:
    """What these facts can be split by."""
    return tuple(dimension for dimension in DIMENSIONS if facts in dimension.columns)
