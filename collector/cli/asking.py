"""`query`, `check` and `payers`: what the store and the settings say."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from collector.cli.options import Config, DifyUrl, Json, Listen, StorePath, Text, settings_of
from collector.errors import SettingsError

part = typer.Typer()


@part.command()
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


@part.command()
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


@part.command()
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
