"""`serve`, `tap` and `demo`: what runs until somebody ends it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from collector.cli.options import Config, DifyUrl, Listen, StorePath, Text, settings_of

if TYPE_CHECKING:
    from collector.tapping import Check

part = typer.Typer()


@part.command()
def serve(
    config: Config = None,
    store: StorePath = None,
    listen: Listen = None,
    dify_url: DifyUrl = None,
    tap: Annotated[
        Text, typer.Option("--tap", metavar="HOST:PORT", help="Start a tap beside it that listens here.")
    ] = None,
) -> None:
    """Pull on a schedule; serve the web page, REST and /metrics."""
    from collector import commands

    commands.serve(settings_of(config, is_service=True, store=store, listen=listen, dify_url=dify_url, tap=tap))


@part.command()
def tap(
    listen: Annotated[Text, typer.Option("--listen", help="host:port where callers ask what they asked Dify.")] = None,
    upstream: Annotated[
        list[str], typer.Option("--upstream", metavar="[HOST][/PREFIX]=URL", help="Where to pass it on to; several.")
    ] = [],  # noqa: B006
    collector: Annotated[Text, typer.Option("--collector", help="The URL of the collector.")] = None,
    ingest_token_file: Annotated[
        Text, typer.Option("--ingest-token-file", help="The file that holds what the collector wants to be shown.")
    ] = None,
    spool: Annotated[Text, typer.Option("--spool", help="The folder that keeps records until they arrived.")] = None,
    workers: Annotated[Text, typer.Option("--workers", help="Processes that share the port.")] = None,
    admin: Annotated[Text, typer.Option("--admin", help="host:port of the tap's own /metrics and /health.")] = None,
    tls_cert: Annotated[Text, typer.Option("--tls-cert", help="Certificate chain that callers are shown.")] = None,
    tls_key: Annotated[Text, typer.Option("--tls-key", help="Its key, where it is in a file of its own.")] = None,
    upstream_ca: Annotated[Text, typer.Option("--upstream-ca", help="Authorities to check upstreams against.")] = None,
    collector_ca: Annotated[
        Text, typer.Option("--collector-ca", help="Authorities to check the collector against.")
    ] = None,
    config: Config = None,
    checks: Annotated[bool, typer.Option("--check", help="Only say whether it would work.")] = False,
    child_of: Annotated[int | None, typer.Option("--child-of", hidden=True)] = None,
) -> None:
    """Pass requests on to Dify and measure them: a proxy that delays no byte."""
    from collector import tapping

    given: dict[str, object] = {"listen": listen, "upstream": upstream or None, "collector": collector}
    given |= {"spool": spool, "workers": workers, "admin": admin, "tls_cert": tls_cert, "tls_key": tls_key}
    given |= {"upstream_ca": upstream_ca, "collector_ca": collector_ca}
    overrides = {f"tap_{name}": value for name, value in given.items()}
    settings = settings_of(config, is_service=True, **overrides, ingest_token_file=ingest_token_file)
    if checks:
        _show_checks(tapping.check(settings))
    else:
        tapping.tap(settings, parent=child_of, tell=_tell if child_of is not None else None)


def _show_checks(found: Sequence[Check]) -> None:
    from collector import terminal

    terminal.show_lines(("check", "result"), [(each.name, each.result) for each in found])
    if not all(each.is_well for each in found):
        raise typer.Exit(1)


def _tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


@part.command()
def demo(
    for_: Annotated[Text, typer.Option("--for", help="Stop after this long, such as 30s; default: on Ctrl-C.")] = None,
    listen: Annotated[str, typer.Option(help="host:port of the collector.")] = "127.0.0.1:9180",
    dify_listen: Annotated[str, typer.Option(help="host:port of the simulated Dify.")] = "127.0.0.1:9182",
    tap_listen: Annotated[str, typer.Option(help="host:port of the tap between callers and Dify.")] = "127.0.0.1:9183",
    store: Annotated[Text, typer.Option(help="Keep the facts here; default: a file that goes at the end.")] = None,
    days: Annotated[int, typer.Option(min=1, max=90, help="Days of simulated past.")] = 7,
) -> None:
    """Run a simulated Dify with traffic, and a collector that measures it. No Dify needed."""
    from collector import demonstration, terminal
    from collector.logs import set_up_logs
    from collector.period import span

    set_up_logs("warning", "auto")
    length = span(for_) if for_ else None
    demonstration.show(
        listen=listen,
        dify_listen=dify_listen,
        tap_listen=tap_listen,
        store=store,
        days=days,
        length=length,
        program=_program(),
        say=terminal.say,
    )


def _program() -> str:
    """What to type to run this program again."""
    typed = Path(sys.argv[0])
    is_command = typed.name == "dify-metric" and shutil.which("dify-metric") != str(typed.absolute())
    return str(typed) if is_command else "dify-metric"
