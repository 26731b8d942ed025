"""Tables that fit the terminal: columns, or a record after the other where they have no room."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

UNBOUNDED = 100_000
"""Columns of a table that goes into a file or a pipe: nothing there is folded or cut."""

NARROWEST = 16
"""To this width a column of text may be folded before a table becomes a list of records."""

BLANK = "–"


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


def show_lines(heads: Sequence[str], lines: Sequence[Sequence[str]], *, numbers: Sequence[str] = ("number",)) -> None:
    """A plain table; the columns named in `numbers` are set to the right."""
    show_columns([Column(head, [line[place] for line in lines], head in numbers) for place, head in enumerate(heads)])


def stdout_width() -> int:
    return Console(file=sys.stdout).width if sys.stdout.isatty() else UNBOUNDED


def show_columns(columns: Sequence[Column]) -> None:
    width = stdout_width()
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
