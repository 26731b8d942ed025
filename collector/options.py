"""Options that most commands have, and the settings that they make. Nothing here runs a command."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

if TYPE_CHECKING:
    from collector.settings import Settings

Text: TypeAlias = str | None
Config = Annotated[Path | None, typer.Option("--config", help="TOML file with settings.")]
StorePath = Annotated[Text, typer.Option("--store", help="The DuckDB file that keeps the facts.")]
Listen = Annotated[Text, typer.Option("--listen", help="host:port of the service: pages, REST and /metrics.")]
DifyUrl = Annotated[Text, typer.Option("--dify-url", help="Address of Dify, without /console/api.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def settings_of(config: Path | None, *, is_service: bool = False, **overrides: object) -> Settings:
    """What is in force, and logs set up by it. A command that shows what it did needs no log of it as well."""
    from collector.logs import set_up_logs
    from collector.settings import BY_DEFAULT
    from collector.settings.configuration import load_settings

    settings = load_settings(overrides, os.environ, config)
    is_told = is_service or settings.origin("log_level") != BY_DEFAULT
    set_up_logs(settings.log_level if is_told else "warning", settings.log_format, secrets=settings.secrets)
    return settings
