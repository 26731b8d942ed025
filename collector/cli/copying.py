"""`backup`, `restore`, `export` and `generate`: what is written into files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from collector.cli.options import Config, Json, Listen, StorePath, settings_of

part = typer.Typer()


@part.command()
def backup(
    to: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write; it must not exist yet.")],
    config: Config = None,
    store: StorePath = None,
    listen: Listen = None,
    as_json: Json = False,
) -> None:
    """Write a consistent copy of the store, also while the service serves."""
    from collector import copies, terminal

    made = copies.backup(settings_of(config, store=store, listen=listen), to)
    terminal.show_json(made) if as_json else terminal.say(f"wrote {made['path']} ({made['bytes']:,} bytes)")


@part.command()
def restore(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="A backup.")],
    config: Config = None,
    store: StorePath = None,
    as_json: Json = False,
) -> None:
    """Make the store from a backup. One that is there is never replaced."""
    from collector import copies, terminal

    made = copies.restore(settings_of(config, store=store), source)
    terminal.show_json(made) if as_json else terminal.say(f"wrote {made['path']} ({made['bytes']:,} bytes)")


export = typer.Typer(help="Write what is stored in the formats of others.", no_args_is_help=True)
part.add_typer(export, name="export")


@export.command("parquet")
def export_parquet(
    to: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder to write; it must not exist yet.")],
    config: Config = None,
    store: StorePath = None,
    listen: Listen = None,
    as_json: Json = False,
) -> None:
    """Write every table as a Parquet file, all of the same moment."""
    from collector import copies, terminal

    made = copies.export_parquet(settings_of(config, store=store, listen=listen), to)
    if as_json:
        terminal.show_json(made)
        return
    terminal.show_lines(
        ("table", "rows"), [(name, f"{rows:,}") for name, rows in made["rows"].items()], numbers=("rows",)
    )
    terminal.say(f"wrote {made['path']}")


@export.command("openmetrics")
def export_openmetrics(
    to: Annotated[Path, typer.Option(help="The file to write.")] = Path("history.txt"),
    since: Annotated[str, typer.Option(help="30d, 2026-10, an instant, or all.")] = "30d",
    step: Annotated[str, typer.Option(help="Between two samples of a series, in whole minutes.")] = "5m",
    config: Config = None,
    store: StorePath = None,
    listen: Listen = None,
) -> None:
    """Write what the counters would have said before counting began: history for Prometheus.

    `promtool tsdb create-blocks-from openmetrics FILE DIR` makes blocks of it for Prometheus' data directory.
    """
    from collector import commands, terminal

    written = commands.export_openmetrics(settings_of(config, store=store, listen=listen), to, since, step)
    terminal.say(f"wrote {to} ({written:,} bytes)")


@part.command()
def generate(
    to: Annotated[Path, typer.Option(help="Where the files go.")] = Path("dashboards"),
) -> None:
    """Write dashboards and the reference page anew from the catalogue."""
    from collector import commands, terminal

    for path in commands.generate(to):
        terminal.say(f"wrote {path}")
