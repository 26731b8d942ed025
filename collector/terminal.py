"""What commands show: tables of answers, settings and pulls, and a progress bar; data to stdout, words to stderr.

What comes in are plain values as REST would send them; what goes out is text that fits the terminal, or as wide as it
likes where it goes into a file or a pipe. Nothing here asks or decides anything.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from time import monotonic
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from rich.cells import cell_len
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from collector.errors import SettingsError
from collector.settings import Setting
from collector.trend import trends

UNBOUNDED = 100_000
"""Columns of a table that goes into a file or a pipe: nothing there is folded or cut."""

ROOM_FOR_HELP = 140
"""Columns a terminal needs to show what every setting is for."""

NARROWEST = 16
"""To this width a column of text may be folded before a table becomes a list of records."""

BLANK = "–"

MOST_TRENDS = 12
"""Lines of blocks below a table; of more than so many nobody sees anything."""


@dataclass(frozen=True)
class Column:
    """A column: its head, its cells, and whether they are numbers."""

    head: str
    cells: Sequence[str]
    is_number: bool = False

    @property
    def width(self) -> int:
        """Of its widest line."""
        return max(cell_len(line) for text in (self.head, *self.cells) for line in text.split("\n"))

    @property
    def is_solid(self) -> bool:
        """Whether folding would break what a person copies or reads as one: numbers, ids, names of models."""
        return self.is_number or all((cell.isascii() and " " not in cell) or cell == BLANK for cell in self.cells)


def say(words: str) -> None:
    """One line for the person who typed the command."""
    Console(file=sys.stderr, highlight=False, soft_wrap=True).print(words, markup=False)


def show_json(value: object) -> None:
    """One JSON document."""
    encoded = msgspec.json.format(msgspec.json.encode(value), indent=2 if sys.stdout.isatty() else 0)
    sys.stdout.write(encoded.decode() + "\n")


def write(content: bytes, path: Path | None) -> None:
    """Bytes into a file, or to stdout; never onto a terminal that cannot show them."""
    if path is not None:
        path.write_bytes(content)
        say(f"wrote {path}")
        return
    if sys.stdout.isatty() and b"\0" in content:
        raise SettingsError("--format: a terminal cannot show it; name a file with --output, or redirect it")
    sys.stdout.flush()
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


def show_answer(answer: Mapping[str, Any]) -> None:
    """An answer of `GET /api/v1/query` as a table, with what it covers below it."""
    rows: Sequence[Mapping[str, Any]] = answer["rows"]
    units: Mapping[str, str] = answer["units"]
    zone = ZoneInfo(answer["timezone"])
    parts = [("", rows), ("other", answer.get("other", ())), ("total", answer.get("totals", ()))]
    shown = [(label, row) for label, found in parts for row in found]
    names = list(shown[0][1] if shown else units)
    cells = {name: [row[name] for _, row in shown] for name in names}
    _show([_labelled(_column(name, units, cells[name], zone), name, shown) for name in names])
    for line in _notes(answer, len(rows), zone):
        say(line)
    for line in _trends(answer):
        say(line)


def show_settings(settings: Iterable[Setting]) -> None:
    """What is in force, and who said so; what each is for where there is room."""
    heads = ("setting", "value", "from", "what it is")
    shown = heads if _width() >= ROOM_FOR_HELP else heads[:-1]
    show_lines(shown, [(s.name, s.value or BLANK, s.source, s.help)[: len(shown)] for s in settings])


def show_pulls(pulls: Iterable[Mapping[str, Any]]) -> None:
    """How the passes went, one line per stream, failures apart."""
    merged: dict[tuple[str, str], list[int]] = {}
    for pull in pulls:
        line = merged.setdefault((pull["stream"], pull["error_class"] or ""), [0, 0, 0])
        for place, number in enumerate((1, pull["records"], pull["parse_failures"])):
            line[place] += number
    lines = [(stream, *(f"{number:,}" for number in numbers), error) for (stream, error), numbers in merged.items()]
    show_lines(("stream", "apps", "records", "set aside", "error"), lines, numbers=("apps", "records", "set aside"))


def show_token(made: Mapping[str, Any]) -> None:
    """The token of a new key alone, so that it can go into a file; what it is for beside it."""
    sys.stdout.write(f"{made['token']}\n")
    say(f"key {made['id']} ({made['name']}): {_may(made)}; this is the only time its token is shown")


def show_keys(keys: Sequence[Mapping[str, Any]]) -> None:
    """One line for each key."""
    heads = ("id", "name", "may", "state", "made", "ends", "last used")
    lines = [
        (
            *(each["id"], each["name"], _may(each), each["state"]),
            *((each[name] or BLANK)[:16].replace("T", " ") for name in ("created_at", "expires_at", "last_used_at")),
        )
        for each in keys
    ]
    show_lines(heads, lines)


def _may(key: Mapping[str, Any]) -> str:
    bounds = {"apps": "app", "workspaces": "workspace", "origins": "Dify"}
    only = [f"{word} {', '.join(key[name])}" for name, word in bounds.items() if key[name]]
    return ", ".join(key["scopes"]) + (f" of {' and '.join(only)}" if only else "")


def show_payers(found: Mapping[str, Any]) -> None:
    """The users nobody pays for, those who ask most first."""
    lines = [
        (each["session_id"] or each["name"] or "", each["kind"], each["id"], f"{each['requests']:,}")
        for each in found["unmapped"]
    ]
    if lines:
        show_lines(("user", "kind", "id", "requests"), lines, numbers=("requests",))
    say(f"{found['file']}: {found['entries']:,} entries; {len(lines):,} of {found['users']:,} users have none")


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
    since, until = (_minute(period[name], zone) for name in ("since", "until"))
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
            _minute(each["at"], ZoneInfo("UTC")),
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


def show_lines(heads: Sequence[str], lines: Sequence[Sequence[str]], *, numbers: Sequence[str] = ("number",)) -> None:
    """A plain table; the columns named in `numbers` are set to the right."""
    _show([Column(head, [line[place] for line in lines], head in numbers) for place, head in enumerate(heads)])


LINE_EVERY_SECONDS = 30.0


class Lines:
    """Progress in words, for logs and pipes: a line for each stream now and then, none for what is quick."""

    def __init__(self, clock: Callable[[], float], say: Callable[[str], None]) -> None:
        self._clock, self._say = clock, say
        self._began: dict[str, tuple[float, int]] = {}  # by stream: when, and with how much done
        self._said: dict[str, float] = {}

    def tell(self, stream: str, done: int, total: int | None) -> None:
        """So much is done."""
        now = self._clock()
        began, at_first = self._began.setdefault(stream, (now, done))
        if now - self._said.setdefault(stream, now) < LINE_EVERY_SECONDS:
            return
        self._said[stream] = now
        rate = (done - at_first) / (now - began)
        words = f"{stream}: {done:,}" + (f" of {total:,}" if total else "") + f", {rate:,.1f}/s"
        if total and rate > 0:
            words += f", {_lasting(max(total - done, 0) / rate)} left"
        self._say(words)


def _lasting(seconds: float) -> str:
    minutes = round(seconds / 60)
    return (
        f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min" if minutes else "1 min or less"
    )


@contextmanager
def progress() -> Iterator[Callable[[str, int, int | None], None]]:
    """A callable (stream, done, total or None): bars while the context lasts, or, where stderr is no terminal, a line
    now and then."""
    if not sys.stderr.isatty():
        yield Lines(monotonic, say).tell
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TaskProgressColumn(show_speed=True),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(file=sys.stderr), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def tell(stream: str, done: int, total: int | None) -> None:
            if stream not in tasks:
                tasks[stream] = bars.add_task(stream, total=total)
            bars.update(tasks[stream], completed=done, total=total)

        yield tell


def _width() -> int:
    return Console(file=sys.stdout).width if sys.stdout.isatty() else UNBOUNDED


def _show(columns: Sequence[Column]) -> None:
    width = _width()
    least = sum(column.width if column.is_solid else min(column.width, NARROWEST) for column in columns)
    has_room = least + 2 * len(columns) <= width
    console = Console(file=sys.stdout, width=width, highlight=False)
    with console.capture() as drawn:
        console.print(_table(columns) if has_room else _records(columns))
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in drawn.get().splitlines()))


def _table(columns: Sequence[Column]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        justify = "right" if column.is_number else "left"
        table.add_column(Text(column.head), justify=justify, overflow="fold", no_wrap=column.is_solid)  # type: ignore[arg-type]
    for cells in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*map(Text, cells))
    return table


def _records(columns: Sequence[Column]) -> Table:
    """Every row as lines of its own, for tables wider than the terminal: a number that is cut would be a wrong one."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for place, cells in enumerate(zip(*(column.cells for column in columns), strict=True)):
        if place:
            table.add_row("", "")
        for column, cell in zip(columns, cells, strict=True):
            table.add_row(Text(column.head.replace("\n", ", ")), Text(cell))
    return table


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
            name = _plain(each.name) + " " * (width - cell_len(each.name))
            yield f"{name}  {each.line}  {each.lowest:,g} to {each.highest:,g}, last {each.last:,g}"


def _column(name: str, units: Mapping[str, str], values: Sequence[Any], zone: ZoneInfo) -> Column:
    if name not in units:
        shown = _steps(values) if name == "time" else [BLANK if value is None else _plain(value) for value in values]
        return Column(name, shown)
    unit = units[name]
    if any(isinstance(value, str) and "T" in value for value in values):
        return Column(name, [BLANK if value is None else _minute(value, zone) for value in values])
    says_unit = unit == "currency" or set(unit.split()) <= set(name.split("_"))  # currency has a column of its own
    return Column(name if says_unit else f"{name}\n{unit}", _numbers(values), is_number=True)


def _plain(value: object) -> str:
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
    since, until = (_minute(answer["period"][name], zone) for name in ("since", "until"))
    yield f"{count} {'row' if count == 1 else 'rows'} · {since} to {until} · {answer['timezone']}"
    watermark = answer["watermark"]
    yield f"complete until {_minute(watermark, zone)}" if watermark else "complete until: not known"
    if compared := answer.get("compared"):
        since, until = (_minute(compared[name], zone) for name in ("since", "until"))
        yield f"compared with {since} to {until}"
        if left_out := compared["flags"].get("steps_left_out"):
            yield f"{left_out} steps of that have no counterpart"
    if answer.get("next_cursor"):
        yield f"next page: --cursor {answer['next_cursor']}"
    if flags := {name: number for name, number in answer["flags"].items() if number}:
        yield "flags: " + ", ".join(f"{name} {number:,}" for name, number in flags.items())


def _minute(instant: str, zone: ZoneInfo) -> str:
    return datetime.fromisoformat(instant).astimezone(zone).strftime("%Y-%m-%d %H:%M")
