"""Corrections that were worked out once, for as long as nothing they are made of has changed.

To rate every closed month anew takes seconds for each; to see that nothing changed takes a tenth of that. What comes in
is `rows` of a store; what goes out is the table worked out before, or a new one. Nothing here rates.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import TypeAlias

import pyarrow as pa

from collector.measures.query import Rows
from collector.period import Period

State: TypeAlias = tuple[object, ...]

_AROUND = """
SELECT (SELECT sum(CAST(hash(id, user_id) AS HUGEINT)) FROM run),
  (SELECT sum(CAST(hash(id, user_id) AS HUGEINT)) FROM message),
  (SELECT sum(CAST(hash(id, name, workspace_id) AS HUGEINT)) FROM app),
  (SELECT sum(CAST(hash(id, name, workspace_id) AS HUGEINT)) FROM dataset),
  (SELECT sum(CAST(hash(kind, subject, starts_at, ends_at, person, department, cost_centre) AS HUGEINT))
    FROM payer_span),
  (SELECT sum(CAST(hash(run_id, message_id, key_fingerprint, created_at) AS HUGEINT)) FROM request
    WHERE EXISTS (SELECT 1 FROM payer_span WHERE kind = 'key'))
"""
"""All that says whose a call is."""

_FACTS = """
SELECT count(*), sum(CAST(hash(id, created_at, app_id, workspace_id, model_provider, model_name, run_id, message_id,
    is_final, is_debug, is_vision, input_tokens, output_tokens, tokens, cached_input_tokens, reasoning_output_tokens,
    cost, currency) AS HUGEINT)),
  (SELECT sum(CAST(hash(id, created_at, dataset_id, workspace_id, documents, segments, words, tokens) AS HUGEINT))
    FROM dataset_day WHERE created_at >= $since AND created_at < $until),
  (SELECT sum(CAST(hash(bill_line) AS HUGEINT)) FROM bill_line
    WHERE period = $period OR corrects = $period)
FROM model_call WHERE created_at >= $since AND created_at < $until
"""
"""The calls of a period, what knowledge bases held in it, and what was billed for it."""


class Remembered:
    """Tables by period, each with the state of the store that it is of. Safe to use from several threads."""

    def __init__(self, rows: Rows) -> None:
        self._rows, self._lock = rows, Lock()
        self._known: dict[str, tuple[State, pa.Table]] = {}

    def around(self) -> State:
        """The state of what all periods have in common: to be asked once, for several of them."""
        return self._rows(_AROUND, {})[0]

    def facts(self, name: str, period: Period) -> State:
        """The state of what a period is made of."""
        return self._rows(_FACTS, {"period": name, "since": period.start, "until": period.end})[0]

    def get(self, name: str, period: Period, common: State, work_out: Callable[[], pa.Table]) -> pa.Table:
        """The table of a period; `common` is the state around it, and whatever else it depends on."""
        state = (*common, *self.facts(name, period))
        with self._lock:
            known = self._known.get(name)
        if known is not None and known[0] == state:
            return known[1]
        found = work_out()
        with self._lock:
            self._known[name] = (state, found)
        return found
