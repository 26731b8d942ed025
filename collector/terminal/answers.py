"""An answer of `GET /api/v1/query` -> a table, with what it covers, and how the numbers went, below it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from rich.cells import cell_len

from collector.terminal.tables import BLANK, Column, show_columns
from collector.terminal.words import minute, say
from collector.trend import trends

MOST_TRENDS = 12
"""Lines of blocks below a table; of more than so many nobody sees anything."""


def show_answer(answer: Mapping[str, Any]) -> None:
    """An answer of `GET /api/v1/query` as a table, with what it covers below it."""
    rows: Sequence[Mapping[str, Any]] = answer["rows"]
    units: Mapping[str, str] = answer["units"]
    zone = ZoneInfo(answer["timezone"])
    parts = [("", rows), ("other", answer.get("other", ())), ("total", answer.get("totals", ()))]
    shown = [(label, row) for label, found in parts for row in found]
    names = list(shown[0][1] if shown else units)
    cells = {name: [row[name] for _, row in shown] for name in names}
    show_columns([_labelled(_column(name, units, cells[name], zone), name, shown) for name in names])
    for line in _notes(answer, len(rows), zone):
        say(line)
    for line in _trends(answer):
        say(line)


def _labelled(column: Column, name: str, shown: Sequence[tuple[str, Mapping[str, Any]]]) -> Column:
    """The column with the words that say what a row is, where this is the first column that says nothing of it."""
    cells = [
        label if label and name == next((each for each in row if row[each] is None), None) else cell
        for (label, row), cell in zip(shown, column.cells, strict=True)
    ]
    return column if column.is_number else replace(column, cells=cells)


def _trends(answer: Mapping[str, Any]) -> Iterator[str]:
    """How the numbers went over time, in blocks, where they are few."""
    rows, units = answer["rows"], answer["units"]
    if not rows or "time" not in rows[0]:
        return
    measures = [name for name in units if not name.endswith(("_before", "_change"))]
    found = trends(rows, measures, [name for name in rows[0] if name not in units and name != "time"])
    if len(found) <= MOST_TRENDS:
        width = max((cell_len(each.name) for each in found), default=0)
        for each in found:
            name = plain(each.name) + " " * (width - cell_len(each.name))
            yield f"{name}  {each.line}  {each.lowest:,g} to {each.highest:,g}, last {each.last:,g}"


def _column(name: str, units: Mapping[str, str], values: Sequence[Any], zone: ZoneInfo) -> Column:
    if name not in units:
        shown = _steps(values) if name == "time" else [BLANK if value is None else plain(value) for value in values]
        return Column(name, shown)
    unit = units[name]
    if any(isinstance(value, str) and "T" in value for value in values):
        return Column(name, [BLANK if value is None else minute(value, zone) for value in values])
    says_unit = unit == "currency" or set(unit.split()) <= set(name.split("_"))  # currency has a column of its own
    return Column(name if says_unit else f"{name}\n{unit}", _numbers(values), is_number=True)


def plain(value: object) -> str:
    """A name without what would move the cursor or colour the terminal: anyone may name an app."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in str(value))


def _numbers(values: Sequence[Any]) -> list[str]:
    """Numbers with as many decimals as the column needs, at most six, so that they stand under each other."""
    known = {place: Decimal(str(value)) for place, value in enumerate(values) if value is not None}
    places = max((_decimals(number, type(values[place])) for place, number in known.items()), default=0)
    return [f"{known[place]:,.{places}f}" if place in known else BLANK for place in range(len(values))]


def _decimals(number: Decimal, kind: type) -> int:
    exponent = number.normalize().as_tuple().exponent
    written = -exponent if isinstance(exponent, int) and exponent < 0 else 0
    if kind is float and abs(number) >= Decimal("0.001"):
        return min(written, 3)
    return min(written, 6)


def _steps(values: Sequence[str | None]) -> list[str]:
    """The starts of steps, without the parts that all of them share because they are days, months or years."""
    starts = [datetime.fromisoformat(value) for value in values if value is not None]
    forms = ("%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M %z")
    form = next((form for form in forms if all(_is_told(start, form) for start in starts)), forms[-1])
    shown = [start.strftime(form) for start in starts]
    # Twice an hour in the night the clocks go back: then the distance from UTC tells them apart.
    if len(set(shown)) != len(set(starts)):
        shown = [start.strftime(forms[-1]) for start in starts]
    told = iter(shown)
    return [BLANK if value is None else next(told) for value in values]


def _is_told(start: datetime, form: str) -> bool:
    return datetime.strptime(start.strftime(form), form).replace(tzinfo=start.tzinfo) == start


def _notes(answer: Mapping[str, Any], count: int, zone: ZoneInfo) -> Iterator[str]:
    since, until = (minute(answer["period"][name], zone) for name in ("since", "until"))
    yield f"{count} {'row' if count == 1 else 'rows'} · {since} to {until} · {answer['timezone']}"
    watermark = answer["watermark"]
    yield f"complete until {minute(watermark, zone)}" if watermark else "complete until: not known"
    if compared := answer.get("compared"):
        since, until = (minute(compared[name], zone) for name in ("since", "until"))
        yield f"compared with {since} to {until}"
        if left_out := compared["flags"].get("steps_left_out"):
            yield f"{left_out} steps of that have no counterpart"
    if answer.get("next_cursor"):
        yield f"next page: --cursor {answer['next_cursor']}"
    if flags := {name: number for name, number in answer["flags"].items() if number}:
        yield "flags: " + ", ".join(f"{name} {number:,}" for name, number in flags.items())
