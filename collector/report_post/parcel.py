"""What is sent: a report with its files and letters, each made when it is first wanted. And what a destination is.

What comes in is a Report; what goes out are bytes and texts. Nothing here sends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

from collector.reports.forms import Form, file_name, written
from collector.reports.paper import Helping, letter, shortened
from collector.reports.report import Report
from collector.reports.spans import DAY, MONTH
from collector.reports.spelling import UNKNOWN, Spelling

TOP = 5
"""Apps that a message names."""


@dataclass
class Parcel:
    """One report, made once and sent to several."""

    report: Report
    language: str
    forms: Sequence[Form]
    templates: Path | None = None

    @cached_property
    def spelling(self) -> Spelling:
        """How it is written."""
        return Spelling(self.language)

    @cached_property
    def files(self) -> Mapping[str, tuple[Form, bytes]]:
        """File name -> what is in it. Raises SettingsError."""
        span = self.report.span
        return {
            file_name(span.label, span.kind, self.language, form): (
                form,
                written(self.report, form, self.language, self.templates),
            )
            for form in self.forms
        }

    @cached_property
    def letter(self) -> str:
        """The HTML of a mail. Raises SettingsError."""
        return letter(self.report, self.spelling, self.templates)

    @property
    def title(self) -> str:
        """One line: what it is and of when."""
        title = self.spelling.title(self.report)
        is_told = self.report.span.kind in (DAY, MONTH)
        return title if is_told else f"{title} · {self.spelling.period(self.report.period)}"

    @property
    def notes(self) -> list[str]:
        """What a reader should know first."""
        return [Helping(self.report, self.spelling).note(note) for note in self.report.notes]

    @property
    def figures(self) -> list[tuple[str, str, str]]:
        """The headline numbers: what, how much, grown by; "" where that is not known."""
        helping = Helping(self.report, self.spelling)
        told = []
        for figure in self.report.section("overview").figures:
            grown = helping.show_growth(figure)
            value = helping.show(figure.value, figure)
            told.append((helping.figure_title(figure), value, "" if grown == UNKNOWN else grown))
        return told

    @property
    def apps(self) -> list[tuple[str, str]]:
        """The most used apps and their calls."""
        rows = self.report.section("apps").tables[0].rows[:TOP]
        return [
            (shortened(str(row["app_name"] or UNKNOWN), 40), self.spelling.number(row["invocations"])) for row in rows
        ]

    @cached_property
    def text(self) -> str:
        """The same as plain text."""
        lines = [self.title, self.report.period.zone.key, *self.notes, ""]
        lines += [f"{name}: {value}{f' ({grown})' if grown else ''}" for name, value, grown in self.figures]
        if self.apps:
            lines += ["", self.spelling.word("mail.top_apps")]
            lines += [f"{place}. {name}: {calls}" for place, (name, calls) in enumerate(self.apps, 1)]
        return "\n".join(lines)


class Destination(Protocol):
    """Where reports go."""

    name: str
    fingerprint: str

    def send(self, parcel: Parcel) -> str | None:
        """Bring it there; returns once it was taken, with what the record should say beside. Raises Unavailable with a
        message that names no address, SettingsError where it cannot be made."""
