"""Budgets as metrics and as news: what was foreseen at the last look, and what somebody should hear of.

What comes in are the states of budgets; what goes out are gauges and messages for a webhook, each once for every month,
budget and state. Nothing here sends, and nothing is ever blocked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import structlog

from collector.billing.budgets import AT_RISK, EXHAUSTED, BudgetState
from collector.errors import SettingsError, StoreError

log = structlog.get_logger()

LABELS = ("budget", "currency")
METRICS: Mapping[str, tuple[str, Callable[[BudgetState], float | None]]] = {
    "dify_budget_used_ratio": (
        "What was used of a budget this month, 0 to 1 and above.",
        lambda state: float(state.used / state.amount),
    ),
    "dify_budget_projected_ratio": (
        "What will be used of a budget by the end of the month, if it goes on like this; above 1: too much.",
        lambda state: float(state.projected / state.amount),
    ),
    "dify_budget_exhausted_timestamp_seconds": (
        "When a budget was or will be used up this month; no sample where it will last.",
        lambda state: state.exhausted_at.timestamp() if state.exhausted_at else None,
    ),
}
"""Family -> what it says, and its value of a budget."""

_WORSE = {AT_RISK: 1, EXHAUSTED: 2}


class Watch:
    """The states at the last look, and what was told of them."""

    def __init__(self, look: Callable[[], Sequence[BudgetState]]) -> None:
        """`look` raises SettingsError where there is no price book, or a wrong one."""
        self._look = look
        self._states: tuple[BudgetState, ...] = ()
        self._told: dict[tuple[str, str], int] = {}

    def refresh(self) -> list[Mapping[str, Any]]:
        """Look again; the messages about budgets that are worse off than was told this month."""
        try:
            self._states = tuple(self._look())
        except (SettingsError, StoreError) as error:
            log.warning("budgets not looked at", problem=str(error), next="the states of the last look stay")
            return []
        return [_message(state) for state in self._states if self._is_news(state)]

    def values(self, metric: str) -> dict[tuple[str, ...], float]:
        """Values of one of METRICS by LABELS."""
        of = METRICS[metric][1]
        found = {(state.name, state.currency): of(state) for state in self._states}
        return {labels: value for labels, value in found.items() if value is not None}

    def _is_news(self, state: BudgetState) -> bool:
        key, now = (state.period, state.name), _WORSE.get(state.state, 0)
        is_news = now > self._told.get(key, 0)
        self._told[key] = max(now, self._told.get(key, 0))
        return is_news


def _message(state: BudgetState) -> Mapping[str, Any]:
    """What a webhook is told; the id is the same should it be told again."""
    told: dict[str, Any] = msgspec.to_builtins(state)
    words = "is used up" if state.state == EXHAUSTED else "will not last the month"
    said = f"Budget {state.name} {words}: {state.used:f} of {state.amount:f} {state.currency} used in {state.period}"
    return {"id": f"{state.period}/{state.name}/{state.state}", "text": said, **told}
