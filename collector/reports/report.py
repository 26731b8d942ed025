"""What a report says, in no language yet: sections of figures, charts and tables, each number as the catalogue gave it.

Plain data. Counts are int, ratios and seconds float, money Decimal, instants aware datetimes, names text; None is what
is not known. Nothing here asks, writes or translates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from collector.measures.answer import plain, span_of
from collector.period import Grain, Period
from collector.reports.spans import Span


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One number, what it was in the period before, and how much it grew since (0.5: by half)."""

    name: str  # of a measure
    unit: str
    value: Any
    before: Any = None
    change: float | None = None
    is_compared: bool = True  # False: it is of now, or was not asked of the period before


@dataclass(frozen=True, kw_only=True)
class Line:
    """One measure, step by step; `before` are the steps of the period before, beside it."""

    name: str
    unit: str
    values: tuple[Any, ...]
    before: tuple[Any, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Lines over the same steps. `is_stacked`: bars, one on the other, as parts of a whole."""

    name: str
    times: tuple[datetime, ...]  # local starts of the steps
    lines: tuple[Line, ...]
    is_stacked: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not any(value for line in self.lines for value in line.values)


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table: a dimension ("text"), a measure with its unit, or a growth ("growth")."""

    name: str
    unit: str


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows by column; `left_out` more are not shown. `bar`: the column that is drawn too."""

    name: str
    columns: tuple[Column, ...]
    rows: tuple[Mapping[str, Any], ...]
    left_out: int = 0
    bar: str | None = None


@dataclass(frozen=True)
class Note:
    """Something a reader should know: a key of the words, and what stands in them."""

    name: str
    told: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Section:
    """What is said about one subject."""

    name: str
    figures: tuple[Figure, ...] = ()
    charts: tuple[Chart, ...] = ()
    tables: tuple[Table, ...] = ()
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Report:
    """A whole report. `complete_until`: everything before it was read; None where nobody reads Dify."""

    span: Span
    compared: Period
    grain: Grain
    made_at: datetime
    complete_until: datetime | None
    is_compared: bool  # the period before is known
    notes: tuple[Note, ...]
    sections: tuple[Section, ...]

    @property
    def period(self) -> Period:
        """What it is about."""
        return self.span.period

    @property
    def is_complete(self) -> bool:
        """Whether everything of its period was read, as far as is known."""
        return self.complete_until is None or self.complete_until >= self.period.end

    def section(self, name: str) -> Section:
        """The section of that name. Raises KeyError."""
        for section in self.sections:
            if section.name == name:
                return section
        raise KeyError(name)

    def tables(self) -> Iterator[Table]:
        """Every table."""
        for section in self.sections:
            yield from section.tables

    def charts(self) -> Iterator[Chart]:
        """Every chart."""
        for section in self.sections:
            yield from section.charts

    def plain(self) -> dict[str, object]:
        """For JSON: instants as ISO 8601, money as text, so that no digit is lost."""
        told: Any = _plain([asdict(section) for section in self.sections])
        return {
            "report": self.span.name,
            "kind": self.span.kind,
            "label": self.span.label,
            "period": span_of(self.period),
            "compared": span_of(self.compared),
            "is_compared": self.is_compared,
            "timezone": self.period.zone.key,
            "grain": str(self.grain),
            "made_at": plain(self.made_at),
            "complete_until": plain(self.complete_until),
            "is_complete": self.is_complete,
            "notes": _plain([asdict(note) for note in self.notes]),
            "sections": told,
        }


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return plain(value)
