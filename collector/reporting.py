"""Where reports meet the store and the settings: making one of a moment of the store, and sending those that are due.

What comes in are Settings and what a Store offers; what goes out are Reports, files and deliveries. Asks the catalogue
and nothing else; each report sees one moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeAlias

import httpx
import structlog

from collector.errors import SettingsError
from collector.measures.query import Query, Rows, earliest, run, watermark
from collector.measures.sources import State
from collector.reconcile import reconcile
from collector.report_post.folder import Folder
from collector.report_post.mail import Mail
from collector.report_post.parcel import Destination, Parcel
from collector.report_post.rounds import Keep, Rounds
from collector.report_post.webhook import Posting
from collector.reports.forms import Form, forms_of
from collector.reports.making import TOP, Sources, make
from collector.reports.report import Report
from collector.reports.spans import Span, due_at, last_whole
from collector.settings import Settings

log = structlog.get_logger()

Moment: TypeAlias = Callable[[], AbstractContextManager[Rows]]
Clock: TypeAlias = Callable[[], datetime]

LOOK_EVERY = timedelta(minutes=1)
"""How often it is looked what is due."""

PATIENCE = timedelta(hours=2)
"""A report that is due waits so long for what is still being read of its period."""

_READ = ("runs", "messages")
"""What has to be read for a report to be whole."""


def report_of(span: Span, moment: Moment, now: datetime, *, top: int = TOP) -> Report:
    """The report, all of one moment. Raises QueryError, StoreError."""
    with moment() as rows:
        state = State.of(rows)
        sources = Sources(
            ask=lambda query: run(query, rows, now=now, state=state),
            reconcile=lambda period: reconcile(rows, period),
            known_since=earliest(rows),
            now=now,
            has_payers=bool(rows("SELECT 1 FROM payer_span LIMIT 1", ())),
        )
        return make(span, sources, top=top)


def templates_of(settings: Settings) -> Path | None:
    """The site's own templates. Raises SettingsError where the folder is missing."""
    if settings.report_templates is None:
        return None
    folder = Path(settings.report_templates)
    if not folder.is_dir():
        raise SettingsError(f"report_templates: there is no folder {folder}; make it, or unset it to use ours")
    return folder


def destinations(
    settings: Settings, clock: Clock, transport: httpx.BaseTransport | None = None
) -> Iterator[Destination]:
    """Where the settings send reports."""
    if settings.report_folder:
        yield Folder(Path(settings.report_folder))
    if settings.report_recipients and (server := settings.mail_server):
        yield Mail(server, settings.report_from[0], settings.report_recipients, ca=settings.smtp_ca)
    for webhook in settings.webhooks:
        yield Posting(webhook, clock, transport=transport)


class Reporting:
    """Sends the reports of the schedule. Settings that cannot work are said at start, not on Monday at eight."""

    def __init__(
        self,
        settings: Settings,
        moment: Moment,
        rows: Rows,
        keep: Keep,
        clock: Clock,
        *,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Raises SettingsError."""
        self._settings, self._moment, self._rows, self._clock = settings, moment, rows, clock
        self._templates = templates_of(settings)
        self._forms = forms_of(settings.report_formats)
        if settings.report_schedule and Form.PDF in self._forms:
            from collector.reports.pdf import pdf

            pdf("<p>")
        self._rounds = Rounds(
            destinations(settings, clock, transport),
            self._parcel,
            rows,
            keep,
            clock,
            timezone=settings.report_timezone,
        )

    async def turn(self) -> None:
        """Send what is due now, and what could not be sent before."""
        await asyncio.to_thread(self.go)

    def go(self) -> None:
        """The same, here and now."""
        self._rounds.go(list(self._due()))

    async def end(self) -> None:
        """Begin nothing more, and wait for what is being sent."""
        await asyncio.to_thread(self._rounds.end)

    def _parcel(self, span: Span) -> Parcel:
        report = report_of(span, self._moment, self._clock())
        return Parcel(report, self._settings.report_language, self._forms, self._templates)

    def _due(self) -> Iterator[Span]:
        now = self._clock()
        for kind in self._settings.report_schedule:
            span = last_whole(kind, self._settings.report_timezone, now)
            due = due_at(span, self._settings.report_at)
            if now < due or not self._rounds.is_news(span):
                continue
            if now < due + PATIENCE and not self._is_read(span):
                log.info("report waits", report=span.name, next=f"until all is read, {due + PATIENCE} at the latest")
                continue
            yield span

    def _is_read(self, span: Span) -> bool:
        until = watermark(Query.of(_READ, period=span.period), self._rows)
        return until is None or until >= span.period.end
