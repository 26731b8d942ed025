"""What commands show: tables of answers, settings and pulls, and a progress bar; data to stdout, words to stderr.

What comes in are plain values as REST would send them; what goes out is text. Nothing here asks or decides anything.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from collector.settings import Setting

PAGE_WIDTH = 160
"""Columns of a table that goes into a file or a pipe."""


def out() -> Console:
    """Where data goes."""
    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else PAGE_WIDTH, soft_wrap=False)


def say(words: str) -> None:
    """One line for the person who typed the command."""
    Console(file=sys.stderr, highlight=False, soft_wrap=True).print(words, markup=False)


def show_json(value: object) -> None:
    """One JSON document."""
    encoded = msgspec.json.format(msgspec.json.encode(value), indent=2 if sys.stdout.isatty() else 0)
    sys.stdout.write(encoded.decode() + "\n")


def show_answer(answer: Mapping[str, Any]) -> None:
    """An answer of `GET /api/v1/query` as a table, with what it covers below it."""
    rows: Sequence[Mapping[str, Any]] = answer["rows"]
    units: Mapping[str, str] = answer["units"]
    table = Table(box=None, pad_edge=False, header_style="bold")
    columns = list(rows[0]) if rows else list(units)
    for name in columns:
        unit = units.get(name)
        head = f"{name}\n{unit}" if unit and unit != name else name
        table.add_column(head, justify="right" if name in units else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_shown(row[name], name in units)) for name in columns))
    out().print(table)
    for line in _notes(answer, rows):
        say(line)


def show_settings(settings: Iterable[Setting]) -> None:
    """What is in force, and who said so."""
    _show(("setting", "value", "from", "what it is"), ((s.name, s.value, s.source, s.help) for s in settings))


def show_pulls(pulls: Iterable[Mapping[str, Any]]) -> None:
    """How the passes went, one line per stream, failures apart."""
    merged: dict[tuple[str, str], list[int]] = {}
    for pull in pulls:
        line = merged.setdefault((pull["stream"], pull["error_class"] or ""), [0, 0, 0])
        for place, number in enumerate((1, pull["records"], pull["parse_failures"])):
            line[place] += number
    lines = ((stream, *map(str, numbers), error) for (stream, error), numbers in merged.items())
    _show(("stream", "passes", "records", "set aside", "error"), lines)


def show_reconciliation(found: Mapping[str, Any]) -> None:
    """What nobody can explain, row by row; what has known causes, summed by cause."""
    rows: Sequence[Mapping[str, Any]] = found["rows"]
    words = {cause["name"]: cause for cause in found["causes"]}
    unclear = [row for row in rows if row["state"] == "open"]
    if unclear:
        heads = ("open: day", "app", "Dify's total", "unit", "ours", "Dify's", "difference", "why")
        _show(heads, ([*_compared(row), _reasons(row, words)] for row in unclear))
        say("")
    _show(
        ("cause", "Dify's total", "days", "difference", "what it means"),
        (
            (words[cause]["title"], kind, f"{len(amounts):,}", f"{sum(amounts):+,} {unit}", words[cause]["help"])
            for (cause, kind, unit), amounts in sorted(_by_cause(rows).items())
        ),
    )
    period, states = found["period"], found["states"]
    since, until = (_minute(period[name]) for name in ("since", "until"))
    say(f"{since} to {until} · " + ", ".join(f"{number:,} {state}" for state, number in states.items()))
    if late := sum(not row["is_complete"] for row in rows):
        say(f"{late:,} rows are of days that are not complete yet")


def _compared(row: Mapping[str, Any]) -> list[str]:
    numbers = [f"{row['ours']:,}", f"{row['theirs']:,}", f"{row['difference']:+,}"]
    return [row["day"], row["app_name"] or row["app_id"], row["kind"], row["unit"], *numbers]


def _reasons(row: Mapping[str, Any], words: Mapping[str, Mapping[str, Any]]) -> str:
    return ", ".join(f"{words[each['cause']]['title']} {each['amount']:+,}" for each in row["reasons"])


def _by_cause(rows: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str, str], list[int]]:
    sums: dict[tuple[str, str, str], list[int]] = {}
    for row in rows:
        for reason in row["reasons"]:
            sums.setdefault((reason["cause"], row["kind"], row["unit"]), []).append(reason["amount"])
    return sums


def show_lines(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> None:
    """A plain table."""
    _show(heads, lines)


@contextmanager
def progress() -> Iterator[Any]:
    """A callable (stream, done, total or None) that draws bars while the context lasts, if stderr is a terminal."""
    if not sys.stderr.isatty():
        yield lambda stream, done, total: None
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(file=sys.stderr), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def tell(stream: str, done: int, total: int | None) -> None:
            if stream not in tasks:
                tasks[stream] = bars.add_task(stream, total=total)
            bars.update(tasks[stream], completed=done, total=total)

        yield tell


def _show(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in heads:
        table.add_column(head, overflow="fold")
    for line in lines:
        table.add_row(*(Text(cell) for cell in line))
    out().print(table)


def _shown(value: object, is_measure: bool) -> str:
    if value is None:
        return "–"
    if is_measure and isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, str) and is_measure:
        return value.rstrip("0").rstrip(".") if "." in value else value
    return str(value)


def _notes(answer: Mapping[str, Any], rows: Sequence[object]) -> Iterator[str]:
    period = answer["period"]
    since, until = (_minute(period[name]) for name in ("since", "until"))
    yield f"{len(rows)} rows · {since} to {until} · {answer['timezone']}"
    watermark = answer["watermark"]
    yield f"complete until {_minute(watermark)}" if watermark else "no complete pull yet: what is missing is not known"
    if flags := {name: number for name, number in answer["flags"].items() if number}:
        yield "flags: " + ", ".join(f"{name} {number}" for name, number in flags.items())


def _minute(instant: str) -> str:
    return datetime.fromisoformat(instant).strftime("%Y-%m-%d %H:%M %z")
