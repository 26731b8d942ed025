"""A Report as one HTML file that prints well: charts inside, no script, nothing loaded from anywhere.

What comes in is a Report and perhaps a folder of templates that a site has of its own; what goes out is a page. Every
name of an app or user is text that could be anything: templates escape, and run in a sandbox.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import BaseLoader, ChoiceLoader, FileSystemLoader, PackageLoader, StrictUndefined, TemplateError
from jinja2.sandbox import SandboxedEnvironment
from markupsafe import Markup

import collector
from collector.errors import SettingsError
from collector.measures.ask import CHANGE
from collector.measures.measure import INSTANT
from collector.reports import plan
from collector.reports.charts import svg
from collector.reports.report import Chart, Column, Figure, Note, Report, Table
from collector.reports.spelling import RATIO, UNKNOWN, Spelling, is_money
from collector.reports.words import WORDS

LONGEST_NAME = 60
"""Characters of a name that are shown; files have all of them."""

FALLING_IS_GOOD = frozenset(
    {
        *("failed_invocations", "invocation_failure_ratio", "run_failure_ratio", "model_call_failure_ratio"),
        *("response_time_p50", "response_time_p95", "run_elapsed_p50", "run_elapsed_p95", "dislikes"),
    }
)
RISING_IS_GOOD = frozenset(
    {"invocations", "messages", "active_users", "active_apps", "conversations", "satisfaction", "likes"}
)
"""Of all others nobody can say: more tokens may be more use or more waste."""


def page(report: Report, spelling: Spelling, folder: Path | None = None) -> str:
    """The whole file. Raises SettingsError naming a template of the site that fails."""
    return _written("report.html", report, spelling, folder)


def letter(report: Report, spelling: Spelling, folder: Path | None = None) -> str:
    """The body of a mail: what many mail programs can show, without pictures."""
    return _written("mail.html", report, spelling, folder)


def shortened(name: str, longest: int = LONGEST_NAME) -> str:
    """No longer than that."""
    return name if len(name) <= longest else name[: longest - 1].rstrip() + "…"


def _written(template: str, report: Report, spelling: Spelling, folder: Path | None) -> str:
    helping = Helping(report, spelling)
    try:
        found = _environment(folder).get_template(template)
        return found.render(
            report=report, spelling=spelling, lang=spelling.language, version=collector.__version__, **helping.names()
        )
    except TemplateError as error:
        if folder is None:
            raise
        line = getattr(error, "lineno", None)
        where = f"{getattr(error, 'name', None) or template}{f' line {line}' if line else ''}"
        raise SettingsError(
            f"report_templates: {where}: {error.message or type(error).__name__}; deploy/reports.md lists the names "
            "that a template may use"
        ) from None
    except (TypeError, ValueError, KeyError, AttributeError, ArithmeticError) as error:
        if folder is None:
            raise
        raise SettingsError(
            f"report_templates: {template} of {folder} fails ({type(error).__name__}); deploy/reports.md lists the "
            "names that a template may use"
        ) from None


@cache
def _environment(folder: Path | None) -> SandboxedEnvironment:
    own: list[BaseLoader] = [FileSystemLoader(folder)] if folder else []
    loader = ChoiceLoader([*own, PackageLoader("collector.reports", "templates")])
    return SandboxedEnvironment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


@dataclass
class Helping:
    """What templates call. Footnotes are numbered as they are first needed."""

    report: Report
    spelling: Spelling
    feet: list[str] = field(default_factory=list)

    def names(self) -> dict[str, Any]:
        """The names that templates know these by."""
        return {
            "t": self.spelling.word,
            "title": self.title,
            "note": self.note,
            "show": self.show,
            "show_growth": self.show_growth,
            "direction": self.direction,
            "chart": self.chart,
            "chart_title": self.chart_title,
            "columns": self.columns,
            "is_number": self.is_number,
            "bar": self.bar,
            "shortened": shortened,
            "foot": self.foot,
            "feet": self.feet,
            "figure_title": self.figure_title,
        }

    def title(self, name: str) -> str:
        """What a measure or dimension is called."""
        return self.spelling.name(name)

    def figure_title(self, figure: Figure) -> str:
        """What a figure is called; of money, in which currency."""
        if figure.name == "cost" and is_money(figure.unit):
            return self.spelling.name(f"cost_{figure.unit.lower()}")
        return self.title(figure.name)

    def note(self, note: Note) -> str:
        """A note with what stands in it."""
        told = {name: self._told(value) for name, value in note.told.items()}
        return self.spelling.word(f"note.{note.name}", **told)

    def show(self, value: Any, column: Column | Figure, row: Mapping[str, Any] | None = None) -> str:
        """A value as text; what is not known as a dash with a footnote."""
        if isinstance(value, str) and column.name == "model_provider":
            value = value.rpartition("/")[2]  # langgenius/openai/openai: who made the plugin is no news here
        if isinstance(value, str) and column.unit == "text":
            return shortened(value)
        if column.unit == INSTANT and column.name.startswith("app_") and value is not None:
            return self.spelling.day(self._local(value))
        value = self._local(value) if isinstance(value, datetime) else value
        return self.spelling.value(value, column.unit, row)

    def show_growth(self, figure: Figure) -> str:
        """How a figure grew; of shares, in points."""
        if figure.value is None or figure.before is None:
            return UNKNOWN
        if figure.value == figure.before:
            return self.spelling.word("unchanged")
        if figure.unit == RATIO:
            return self.spelling.points(figure.value, figure.before)
        return UNKNOWN if figure.change is None else self.spelling.growth(figure.change)

    def direction(self, name: str, change: float | None) -> str:
        """good, bad or plain: what a growth is for who reads it."""
        name = name.removesuffix(CHANGE)
        if not change or name not in FALLING_IS_GOOD | RISING_IS_GOOD:
            return "plain"
        return "good" if (change > 0) == (name in RISING_IS_GOOD) else "bad"

    def chart(self, chart: Chart) -> Markup:
        """The picture."""
        return Markup(svg(chart, self.report.grain, self.spelling, self.chart_title(chart)))  # noqa: S704

    def chart_title(self, chart: Chart) -> str:
        """What it shows."""
        return self.spelling.word(f"chart.{chart.name}", unit=chart.lines[0].unit)

    def columns(self, table: Table) -> list[Column]:
        """Those that stand on paper."""
        return [column for column in table.columns if column.name not in plan.IDS]

    def is_number(self, column: Column) -> bool:
        """Whether it stands on the right."""
        return not self.is_text(column)

    def is_text(self, column: Column) -> bool:
        """Whether it stands on the left."""
        words = ("text", "cause", "believe", "flag", "kind", INSTANT)
        return column.unit in words or f"value.{column.unit}." in WORDS

    def bar(self, table: Table, row: Mapping[str, Any]) -> float:
        """How long the bar of a row is, 0 to 100."""
        if table.bar is None or not row.get(table.bar):
            return 0.0
        highest = max(float(each[table.bar] or 0) for each in table.rows)
        return round(float(row[table.bar]) / highest * 100, 1) if highest else 0.0

    def foot(self, name: str) -> int:
        """The number of a footnote, from 1."""
        if name not in self.feet:
            self.feet.append(name)
        return self.feet.index(name) + 1

    def _local(self, at: datetime) -> datetime:
        return self.report.period.local(at)

    def _told(self, value: Any) -> str:
        if isinstance(value, datetime):
            return self.spelling.minute(self._local(value))
        return self.spelling.number(value) if isinstance(value, int | float) else str(value)
