"""When facts go."""

from __future__ import annotations

from typing import Any

from collector.settings.group import Group, field
from collector.settings.written import Span


def kept(facts: str) -> Any:
    """The field that says when facts of a kind go."""
    return field(
        None,
        "span",
        f"Age at which {facts} go; default: never. Totals by quarter hour, and users, stay for ever; percentiles, and "
        "what is asked by user, conversation or payer, know only what is still there. With `prices`, what is "
        "rated stays until its month is closed.",
        example="400d",
    )


class Keeping(Group):
    """The age of facts, by kind."""

    keep_runs: Span | None = kept("runs")
    keep_node_executions: Span | None = kept("node executions")
    keep_model_calls: Span | None = kept("model calls")
    keep_messages: Span | None = kept("messages")
    keep_requests: Span | None = kept("requests the tap saw")
    keep_retrievals: Span | None = kept("retrievals")
    keep_portal_events: Span | None = kept("portal events")
    keep_pulls: Span | None = kept("our own pulls")
