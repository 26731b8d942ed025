"""Reports as files: which forms there are, what they are called, and a Report in one of them.

What comes in is a Report, a language and the site's templates; what goes out are bytes. Nothing here writes a file.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path

import msgspec

from collector.errors import QueryError
from collector.reports.report import Report
from collector.reports.spelling import Spelling

_MEDIA = {
    "json": "application/json",
    "html": "text/html; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "csv": "application/zip",
    "pdf": "application/pdf",
}


class Form(StrEnum):
    """How a report is written."""

    JSON = "json"
    HTML = "html"
    XLSX = "xlsx"
    CSV = "csv"  # several of them, in a zip
    PDF = "pdf"

    @property
    def media_type(self) -> str:
        """As Content-Type names it."""
        return _MEDIA[self]

    @property
    def ending(self) -> str:
        """How a file of this form ends."""
        return "zip" if self is Form.CSV else str(self)


def forms_of(names: Iterable[str]) -> tuple[Form, ...]:
    """The forms of those names, each once. Raises QueryError listing the names there are."""
    found: list[Form] = []
    for name in names:
        try:
            found.append(Form(name.strip().lower()))
        except ValueError:
            there = ", ".join(Form)
            raise QueryError(f"format: no {name[:40]!r}; there are {there}", field="format", choices=Form) from None
    return tuple(dict.fromkeys(found))


def file_name(label: str, kind: str, language: str, form: Form) -> str:
    """What a report's file is called: dify-report-week-2026-W47-zh.html."""
    return f"dify-report-{kind}-{label}-{language}.{form.ending}"


def written(report: Report, form: Form, language: str, folder: Path | None = None) -> bytes:
    """The whole file. Raises SettingsError where a template of the site fails, or PDF cannot be made here."""
    spelling = Spelling(language)
    if form is Form.JSON:
        return msgspec.json.encode(report.plain())
    if form is Form.XLSX:
        from collector.reports.workbook import workbook  # each form needs a library that the others do not

        return workbook(report, spelling)
    if form is Form.CSV:
        from collector.reports.tables import bundle

        return bundle(report, spelling)
    from collector.reports.paper import page

    html = page(report, spelling, folder)
    if form is Form.PDF:
        from collector.reports.pdf import pdf

        return pdf(html)
    return html.encode()
