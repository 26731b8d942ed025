"""The command: parse arguments, call one function, show what it says.

Data goes to stdout, words to stderr. Exit codes: 0 done, 1 failed, 2 misused (a wrong setting, argument or question).
Each command imports what it needs when it is called: help comes at once, and a tap starts while callers wait.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.exceptions import TyperException

import collector
from collector.cli import asking, bills, copying, keys, reading, reports, serving
from collector.errors import DifyMetricError, QueryError, SettingsError

cli = typer.Typer(
    name="dify-metric",
    help="Metrics, metering and reporting for self-hosted Dify.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _part in (serving, reading, asking, reports, keys, bills, copying):
    cli.add_typer(_part.part)


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point; without arguments it takes the command line's."""
    signal.signal(signal.SIGTERM, _end)
    try:
        code = cli(arguments, prog_name="dify-metric", standalone_mode=False) or 0
        sys.stdout.flush()
    except (SettingsError, QueryError) as error:
        code = _failed(error, 2)
    except DifyMetricError as error:
        code = _failed(error, 1)
    except TyperException as error:
        code = _misused(error)
    except BrokenPipeError:  # whoever read our answer has read enough: `dify-metric query … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except OSError as error:
        code = _failed(error, 1)
    sys.exit(code)


def _failed(error: Exception, code: int) -> int:
    from collector import terminal

    terminal.say(f"dify-metric: {error}")
    return code


def _misused(error: TyperException) -> int:
    """An option or argument that is not ours. Without any argument the message is the help, printed already."""
    from collector import terminal

    if said := error.format_message():
        terminal.say(f"dify-metric: {said[0].lower()}{said[1:]}  (dify-metric --help)")
    return error.exit_code


def _end(number: int, _: object) -> None:
    """End as Ctrl-C does: what is open is closed on the way out."""
    raise SystemExit(128 + number)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        sys.stdout.write(f"dify-metric {collector.__version__}\n")
        raise typer.Exit


Version = Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)]


@cli.callback()
def start(version: Version = False) -> None:
    """Metrics, metering and reporting for self-hosted Dify."""
