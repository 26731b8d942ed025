"""Where numbers that should agree do not: ours and Dify's, rollups and facts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from collector.terminal.tables import show_lines
from collector.terminal.words import minute, say


def show_reconciliation(found: Mapping[str, Any]) -> None:
    """What nobody can explain, row by row; what has known causes, summed by cause."""
    rows: Sequence[Mapping[str, Any]] = found["rows"]
    words = {cause["name"]: cause for cause in found["causes"]}
    unclear = [row for row in rows if row["state"] == "open"]
    if unclear:
        heads = ("open: day", "app", "Dify's total", "unit", "ours", "Dify's", "difference", "why")
        lines = [[*_compared(row), _reasons(row, words)] for row in unclear]
        show_lines(heads, lines, numbers=("ours", "Dify's", "difference"))
        say("")
    lines = [
        [words[cause]["title"], kind, f"{len(amounts):,}", f"{sum(amounts):+,} {unit}", words[cause]["help"]]
        for (cause, kind, unit), amounts in sorted(_by_cause(rows).items())
    ]
    show_lines(("cause", "Dify's total", "days", "difference", "what it means"), lines, numbers=("days",))
    period, states = found["period"], found["states"]
    zone = ZoneInfo(rows[0]["timezone"] if rows else "UTC")
    since, until = (minute(period[name], zone) for name in ("since", "until"))
    say(f"{since} to {until} · " + ", ".join(f"{number:,} {state}" for state, number in states.items()))
    if late := sum(not row["is_complete"] for row in rows):
        say(f"{late:,} rows are of days that are not complete yet")


def show_proof(proof: Mapping[str, Any]) -> None:
    """Where rollups and facts differ, step by step."""
    found = proof["differences"]
    if not found:
        say("every rollup says what the facts say")
        return
    heads = ("rollup", "step from (UTC)", "rows that differ", "facts in the rollup", "facts there are")
    lines = [
        [
            each["table"],
            minute(each["at"], ZoneInfo("UTC")),
            *(f"{each[name]:,}" for name in ("rows", "kept", "there")),
        ]
        for each in found
    ]
    show_lines(heads, lines, numbers=heads[2:])
    said = (
        "made anew from the facts" if proof["is_repaired"] else "dify-metric check --rollups --repair makes them anew"
    )
    say(f"{len(found):,} {'steps differ' if len(found) > 1 else 'step differs'}; {said}")


def _compared(row: Mapping[str, Any]) -> list[str]:
    ours, theirs, difference = (_amount(row[name]) for name in ("ours", "theirs", "difference"))
    numbers = [f"{ours:,}", f"{theirs:,}", f"{difference:+,}"]
    return [row["day"], row["app_name"] or row["app_id"], row["kind"], row["unit"], *numbers]


def _reasons(row: Mapping[str, Any], words: Mapping[str, Mapping[str, Any]]) -> str:
    return ", ".join(f"{words[each['cause']]['title']} {_amount(each['amount']):+,}" for each in row["reasons"])


def _amount(value: object) -> int | Decimal:
    """A count as it is; money, which comes as text, without the zeros that say nothing."""
    return value if isinstance(value, int) else Decimal(f"{Decimal(str(value)).normalize():f}")


def _by_cause(rows: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str, str], list[int | Decimal]]:
    sums: dict[tuple[str, str, str], list[int | Decimal]] = {}
    for row in rows:
        for reason in row["reasons"]:
            sums.setdefault((reason["cause"], row["kind"], row["unit"]), []).append(_amount(reason["amount"]))
    return sums
