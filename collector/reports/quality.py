"""How far a report can be trusted, as tables: what Dify's own totals say beside ours and why, and flags of the facts.

What comes in are Differences and Answers; what goes out are Tables. Nothing here asks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from collector.measures.answer import Answer
from collector.reconcile import Difference, Kind, State
from collector.reconcile.causes import CAUSES
from collector.reports.report import Column, Table

_UNTOLD = frozenset({"groups_left_out", "rows_left_out", "steps_left_out"})
"""What was left out of a table is told beside it."""


def compared_tables(found: Sequence[Difference]) -> tuple[Table, Table]:
    """What was reconciled, by what is compared; and every cause of a difference."""
    kinds = [kind for kind in Kind if any(one.kind is kind for one in found)]
    totals = [_total(kind, [one for one in found if one.kind is kind]) for kind in kinds]
    columns = (
        Column(name="kind", unit="kind"),
        *(Column(name=name, unit="number") for name in ("ours", "theirs", "difference", "unexplained")),
        *(Column(name=name, unit="rows") for name in ("rows_equal", "rows_explained", "rows_open")),
    )
    return Table(name="reconciled", columns=columns, rows=tuple(totals)), _causes(found)


def _total(kind: Kind, found: Iterable[Difference]) -> dict[str, Any]:
    rows = list(found)
    states = Counter(one.state for one in rows)
    return {
        "kind": str(kind),
        "ours": sum(one.ours for one in rows),
        "theirs": sum(one.theirs for one in rows),
        "difference": sum(one.difference for one in rows),
        "unexplained": sum(one.unexplained for one in rows),
        "rows_equal": states[State.EQUAL],
        "rows_explained": states[State.EXPLAINED],
        "rows_open": states[State.OPEN],
    }


def _causes(found: Iterable[Difference]) -> Table:
    amounts: dict[tuple[str, str], Any] = {}
    rows: Counter[tuple[str, str]] = Counter()
    for one in found:
        for reason in one.reasons:
            key = (reason.cause, str(one.kind))
            amounts[key] = amounts.get(key, 0) + reason.amount
            rows[key] += 1
    order = list(CAUSES)
    columns = (
        *(Column(name=name, unit=name) for name in ("cause", "kind")),
        Column(name="difference", unit="number"),
        Column(name="rows_concerned", unit="rows"),
        Column(name="believe", unit="believe"),
    )
    return Table(
        name="causes",
        columns=columns,
        rows=tuple(
            {"cause": cause, "kind": kind, "difference": amount, "rows_concerned": rows[cause, kind], "believe": cause}
            for (cause, kind), amount in sorted(amounts.items(), key=lambda each: (order.index(each[0][0]), each[0][1]))
        ),
    )


def flags_table(answers: Iterable[Answer]) -> Table:
    """What a reader should know of the facts, by flag: the most that any answer told."""
    most: dict[str, int] = {}
    for answer in answers:
        for name, how_many in answer.flags.items():
            if name not in _UNTOLD:
                most[name] = max(most.get(name, 0), how_many)
    columns = (Column(name="flag", unit="flag"), Column(name="facts", unit="facts"))
    return Table(
        name="flags",
        columns=columns,
        rows=tuple({"flag": name, "facts": how_many} for name, how_many in sorted(most.items())),
    )
