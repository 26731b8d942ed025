"""What `dify-metric report` does: the files of a report, made here or by the service that holds the store.

In come Settings and plain arguments; out go bytes by file name. Nothing here prints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from collector.clock import utc_now
from collector.commands import with_store
from collector.report_post.folder import write
from collector.reporting import report_of, templates_of
from collector.reports.forms import file_name, forms_of, written
from collector.reports.making import TOP
from collector.reports.spans import SPAN, span_of
from collector.reports.spelling import Spelling
from collector.running import Running
from collector.settings import Settings
from collector.store import Store


@dataclass(frozen=True, kw_only=True)
class Wish:
    """Which report. What is "" or () is as the settings say."""

    period: str = ""  # as reports.spans reads it
    since: str = ""
    until: str = ""
    tz: str = ""
    language: str = ""
    forms: Sequence[str] = ()
    top: int = TOP


def files(settings: Settings, wish: Wish) -> Mapping[str, bytes]:
    """File name -> what is in it. Raises QueryError, SettingsError, StoreError."""
    now, tz = utc_now(), wish.tz or settings.report_timezone
    language = Spelling(wish.language or settings.report_language).language
    span = span_of(wish.period, since=wish.since, until=wish.until, tz=tz, now=now)
    forms = forms_of(wish.forms or settings.report_formats)
    templates = templates_of(settings)
    names = {form: file_name(span.label, span.kind, language, form) for form in forms}

    def here(store: Store) -> Mapping[str, bytes]:
        report = report_of(span, store.snapshot, now, top=wish.top)
        return {name: written(report, form, language, templates) for form, name in names.items()}

    def there(running: Running) -> Mapping[str, bytes]:
        asked = [("tz", tz), ("lang", language), ("top", str(wish.top))]
        if span.kind == SPAN:
            # Of one instant, however many files are asked for.
            bounds = (("since", span.period.start), ("until", span.period.end))
            asked += [(name, at.isoformat()) for name, at in bounds]
        path = f"/{quote(SPAN if span.kind == SPAN else span.label, safe='')}"
        return {name: running.report(path, [*asked, ("format", form)]) for form, name in names.items()}

    return with_store(settings, here, there, read_only=True)


def save(found: Mapping[str, bytes], folder: Path) -> list[Path]:
    """Write each file whole into a folder, which is made where it is missing; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in found.items():
        write(folder / name, content)
    return [folder / name for name in found]
