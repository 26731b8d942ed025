"""`pull` and `ingest`: what brings facts into the store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from collector.cli.options import Config, DifyUrl, Json, Listen, StorePath, Text, settings_of
from collector.errors import SettingsError

part = typer.Typer()


@part.command()
def pull(
    since: Annotated[
        Text, typer.Option(help="Read history too, back to 2025-01, 2025-01-31, 90d; stopped, it goes on next time.")
    ] = None,
    only: Annotated[list[str], typer.Option(help="With --since: only these streams: runs,messages,…")] = [],  # noqa: B006
    source: Annotated[
        Text, typer.Option(help="api or database: that way in alone; default: all, and of history the database.")
    ] = None,
    config: Config = None,
    store: StorePath = None,
    listen: Listen = None,
    dify_url: DifyUrl = None,
    as_json: Json = False,
) -> None:
    """Pull once from Dify: everything new since the last pull, and with --since the history behind it."""
    import asyncio

    from collector import commands, terminal

    if only and since is None:
        raise SettingsError("--only: wanted beside --since")
    settings = settings_of(config, store=store, listen=listen, dify_url=dify_url)
    with terminal.progress() as tell:
        if since is None:
            pulls = asyncio.run(commands.pull(settings, tell, source))
        else:
            streams = [name for each in only for name in each.split(",") if name]
            pulls = asyncio.run(commands.back_fill(settings, since, streams, tell, source))
    if as_json:
        terminal.show_json({"pulls": pulls})
    else:
        terminal.show_pulls(pulls)
    if not pulls or any(each["error_class"] for each in pulls):
        raise typer.Exit(1)


@part.command()
def ingest(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE…", help="Captured streams (SSE) or saved JSON answers of Dify.")
    ],
    config: Config = None,
    store: StorePath = None,
    app_id: Annotated[Text, typer.Option(help="The app, where the files do not say it.")] = None,
    run_id: Annotated[Text, typer.Option(help="The run, for a list of node executions.")] = None,
    workspace_id: Annotated[Text, typer.Option(help="The workspace, where the files do not say it.")] = None,
    mode: Annotated[Text, typer.Option(help="The app's mode, for answers that do not say it.")] = None,
    debug: Annotated[bool, typer.Option("--debug", help="The files are of console test runs.")] = False,
    listen: Listen = None,
    as_json: Json = False,
) -> None:
    """Read captured streams and saved answers into the store. Reading a file again changes nothing."""
    from collector import commands, terminal

    hints: dict[str, Any] = {"app_id": app_id, "run_id": run_id, "workspace_id": workspace_id, "mode": mode}
    settings = settings_of(config, store=store, listen=listen)
    with terminal.progress() as tell:
        outcome = commands.ingest(settings, files, {**hints, "is_debug": debug or None}, tell)
    if as_json:
        terminal.show_json(outcome)
    else:
        terminal.show_lines(("facts", "number"), [(name, f"{outcome[name]:,}") for name in ("new", "changed", "known")])
    for field, number in outcome["failures"].items():
        terminal.say(f"set aside: {field} ({number} times)")
    if outcome["failures"]:
        raise typer.Exit(1)
