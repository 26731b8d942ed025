"""`report`: what happened in a day, week or month, as files for who reads it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from collector.cli.options import Config, Json, Listen, StorePath, Text, settings_of

part = typer.Typer()


@part.command()
def report(
    period: Annotated[
        str,
        typer.Argument(
            metavar="PERIOD",
            help="day, week or month: the last whole one; 2026-11-20, 2026-W47, 2026-11; without: --since.",
        ),
    ] = "",
    since: Annotated[Text, typer.Option(help="A report from here on: 10d, 2026-11-01, an instant.")] = None,
    until: Annotated[Text, typer.Option(help="With --since: to here; default: now.")] = None,
    to: Annotated[Path, typer.Option("--to", metavar="FOLDER", help="Where the files go.")] = Path(),
    lang: Annotated[Text, typer.Option("--lang", help="en or zh; default: report_language.")] = None,
    form: Annotated[
        Text, typer.Option("--format", help="html, xlsx, csv, pdf, json, several with commas; default: report_formats.")
    ] = None,
    tz: Annotated[Text, typer.Option("--tz", help="Time zone of its days; default: report_timezone.")] = None,
    top: Annotated[int, typer.Option(min=1, max=10_000, help="Rows of a table.")] = 10,
    config: Config = None,
    store: StorePath = None,
    listen: Listen = None,
    as_json: Json = False,
) -> None:
    """Write an operations report: headline numbers with growth, trends, rankings, errors, cost, quality of the data."""
    from collector import report_files, terminal

    settings = settings_of(config, store=store, listen=listen)
    wish = report_files.Wish(
        period=period or ("" if since or until else "week"),
        since=since or "",
        until=until or "",
        tz=tz or "",
        language=lang or "",
        forms=["json"] if as_json else (form or "").split(",") if form else (),
        top=top,
    )
    found = report_files.files(settings, wish)
    if as_json:
        sys.stdout.write("".join(content.decode() for content in found.values()) + "\n")
        return
    for path in report_files.save(found, to):
        terminal.say(f"wrote {path}")
