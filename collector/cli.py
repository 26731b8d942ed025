"""The command: parse arguments, call one function, show what it says.

Data goes to stdout, words to stderr. Exit codes: 0 done, 1 failed, 2 misused (a wrong setting, argument or question).
Each command imports what it needs when it is called: help comes at once, and a tap starts while callers wait.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.exceptions import TyperException

import collector
from collector.cli_bill import bill
from collector.errors import DifyMetricError, QueryError, SettingsError
from collector.options import Config, DifyUrl, Json, Listen, StorePath, Text, settings_of

if TYPE_CHECKING:
    from collector.tapping import Check

cli = typer.Typer(
    name="dify-metric",
    help="Metrics, metering and reporting for self-hosted Dify.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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


@cli.command()
def serve(
    config: Config = None,
    store: StorePath = None,
    listen: Listen = None,
    dify_url: DifyUrl = None,
    tap: Annotated[
        Text, typer.Option("--tap", metavar="HOST:PORT", help="Start a tap beside it that listens here.")
    ] = None,
) -> None:
    """Pull on a schedule; serve REST, /metrics and the reference page."""
    from collector import commands

    commands.serve(settings_of(config, is_service=True, store=store, listen=listen, dify_url=dify_url, tap=tap))


@cli.command()
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


@cli.command()
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


@cli.command()
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


@cli.command()
def query(
    measures: Annotated[
        list[str], typer.Argument(metavar="MEASURE…", help="What to count: tokens, or runs,failed_runs.")
    ],
    by: Annotated[list[str], typer.Option(help="Dimensions to split by: app, model, …")] = [],  # noqa: B006
    grain: Annotated[str, typer.Option(help="none, minute, 15m, hour, day, week, month, year.")] = "none",
    since: Annotated[Text, typer.Option(help="7d, 2025-06, 2025-06-03, an instant; default: all.")] = None,
    until: Annotated[Text, typer.Option(help="A month, day or instant; default: now.")] = None,
    tz: Annotated[Text, typer.Option(help="Time zone of days and months; default: report_timezone.")] = None,
    where: Annotated[
        list[str],
        typer.Option(help="app:ID, !status:failed, model^gpt-, app_name~help, status_code>=500; again: more."),
    ] = [],  # noqa: B006
    order: Annotated[list[str], typer.Option(help="Columns to sort by; -tokens for descending.")] = [],  # noqa: B006
    top: Annotated[int | None, typer.Option(help="Only the biggest groups.")] = None,
    other: Annotated[bool, typer.Option("--other", help="With --top: a row for all the others.")] = False,
    totals: Annotated[bool, typer.Option("--totals", help="A row for the whole period and everybody.")] = False,
    compare: Annotated[
        Text, typer.Option(help="Beside an earlier period: previous, last_week, last_month, last_year.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Only the first rows.")] = None,
    cursor: Annotated[Text, typer.Option(help="Go on after a page; the page before says how.")] = None,
    fill: Annotated[str, typer.Option(help="none; zero or null: a row for every step.")] = "none",
    debug: Annotated[bool, typer.Option("--include-debug", help="Count console test runs too.")] = False,
    at: Annotated[Text, typer.Option(help="Ask the collector at this address, whatever it keeps.")] = None,
    config: Config = None,
    store: StorePath = None,
    listen: Listen = None,
    form: Annotated[Text, typer.Option("--format", help="json, csv, parquet or arrow instead of a table.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write into this file.")] = None,
    as_json: Json = False,
) -> None:
    """Ask for measures over a period; by a grain, lines of blocks show how they went."""
    from collector import commands, terminal

    asked: dict[str, Any] = {
        "measure": measures,
        "by": by,
        "where": where,
        "order": order,
        "grain": grain,
        "since": since,
    }
    asked |= {"until": until, "tz": tz, "top": top, "limit": limit, "fill": fill, "include_debug": debug or None}
    asked |= {"other": other or None, "totals": totals or None, "compare": compare, "cursor": cursor}
    settings = settings_of(config, store=store, listen=listen)
    if form or output:
        terminal.write(commands.query_file(settings, {**asked, "format": form or "json"}, at), output)
        return
    answer = commands.query(settings, asked, at)
    terminal.show_json(answer) if as_json else terminal.show_answer(answer)


@cli.command()
def check(
    reconcile: Annotated[
        bool,
        typer.Option("--reconcile", help="Compare our tokens with Dify's totals instead, and say why they differ."),
    ] = False,
    since: Annotated[str, typer.Option(help="With --reconcile: 7d, 2025-06, 2025-06-03, all.")] = "7d",
    until: Annotated[Text, typer.Option(help="With --reconcile: a month or day; default: now.")] = None,
    app: Annotated[list[str], typer.Option(help="With --reconcile: only these apps, by id.")] = [],  # noqa: B006
    rollups: Annotated[
        bool, typer.Option("--rollups", help="Work every rollup out again from the facts, and compare.")
    ] = False,
    repair: Annotated[bool, typer.Option("--repair", help="With --rollups: make anew what differs.")] = False,
    config: Config = None,
    store: StorePath = None,
    listen: Listen = None,
    dify_url: DifyUrl = None,
    as_json: Json = False,
) -> None:
    """Show the settings in force, secrets masked, and whether Dify and the store answer.

    With --reconcile: exit 1 when a difference from Dify's totals has no known cause. With --rollups: exit 1 when a
    rollup does not say what the facts say, unless it was repaired.
    """
    if repair and not rollups:
        raise SettingsError("--repair: wanted beside --rollups")
    import asyncio

    from collector import commands, terminal

    settings = settings_of(config, store=store, listen=listen, dify_url=dify_url)
    if reconcile:
        found = commands.reconcile(settings, {"since": since, "until": until, "app": app})
        terminal.show_json(found) if as_json else terminal.show_reconciliation(found)
        if found["states"]["open"]:
            raise typer.Exit(1)
        return
    if rollups:
        proof = commands.check_rollups(settings, repair=repair)
        terminal.show_json(proof) if as_json else terminal.show_proof(proof)
        if proof["differences"] and not proof["is_repaired"]:
            raise typer.Exit(1)
        return
    report = asyncio.run(commands.check(settings))
    if as_json:
        terminal.show_json(report)
    else:
        terminal.show_settings(commands.in_force(settings))
        terminal.show_lines(("check", "result"), [(each["check"], each["result"]) for each in report["checks"]])
    if not all(each["is_well"] for each in report["checks"]):
        raise typer.Exit(1)


@cli.command()
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


@cli.command()
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
cli.add_typer(export, name="export")


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


@cli.command()
def payers(
    config: Config = None,
    store: StorePath = None,
    listen: Listen = None,
    file: Annotated[Text, typer.Option("--file", help="The TOML or CSV file; default: the setting payers.")] = None,
    as_json: Json = False,
) -> None:
    """Check the payers' file and list the users it does not name."""
    from collector import commands, terminal

    found = commands.payers(settings_of(config, store=store, listen=listen, payers=file))
    terminal.show_json(found) if as_json else terminal.show_payers(found)


key = typer.Typer(help="Keys: who may ask what.", no_args_is_help=True)
cli.add_typer(key, name="key")
cli.add_typer(bill, name="bill")


@key.command("create")
def create_key(
    name: Annotated[str, typer.Option(help="Whose the key is, or what for.")],
    scope: Annotated[list[str], typer.Option(help="read, ingest, metrics or admin; again for more.")] = ["read"],  # noqa: B006
    app: Annotated[list[str], typer.Option(help="It sees only this app, by id; again for more.")] = [],  # noqa: B006
    workspace: Annotated[list[str], typer.Option(help="It sees only this workspace, by id; again for more.")] = [],  # noqa: B006
    origin: Annotated[list[str], typer.Option(help="It sees only this Dify, by our name; again for more.")] = [],  # noqa: B006
    expires: Annotated[Text, typer.Option(help="90d, 2027-01-31, an instant; default: never.")] = None,
    config: Config = None,
    store: StorePath = None,
    listen: Listen = None,
    as_json: Json = False,
) -> None:
    """Make a key, and print its token: it is told this once, and kept nowhere."""
    from collector import keys, terminal

    wish = {"name": name, "scopes": scope, "apps": app, "workspaces": workspace, "origins": origin}
    made = keys.create(settings_of(config, store=store, listen=listen), wish, expires)
    if as_json:
        terminal.show_json(made)
    else:
        terminal.show_token(made)


@key.command("list")
def list_keys(config: Config = None, store: StorePath = None, listen: Listen = None, as_json: Json = False) -> None:
    """List keys: what they may do and see, and when they were last used."""
    from collector import keys, terminal

    found = keys.listed(settings_of(config, store=store, listen=listen))
    terminal.show_json({"keys": found}) if as_json else terminal.show_keys(found)


@key.command("revoke")
def revoke_key(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As `dify-metric key list` shows it.")],
    config: Config = None,
    store: StorePath = None,
    listen: Listen = None,
    as_json: Json = False,
) -> None:
    """Let a key open nothing any more, from now on."""
    from collector import keys, terminal

    revoked = keys.revoke(settings_of(config, store=store, listen=listen), key_id)
    terminal.show_json(revoked) if as_json else terminal.say(f"key {revoked['id']} ({revoked['name']}) is revoked")


@cli.command()
def generate(
    to: Annotated[Path, typer.Option(help="Where the files go.")] = Path("dashboards"),
) -> None:
    """Write dashboards and the reference page anew from the catalogue."""
    from collector import commands, terminal

    for path in commands.generate(to):
        terminal.say(f"wrote {path}")


@cli.command()
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
