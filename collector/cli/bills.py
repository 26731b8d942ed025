"""`bill`: what a month costs, and who pays."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from collector.cli.options import Config, Json, Listen, StorePath, Text, settings_of

part = typer.Typer(
    name="bill", help="Bills: what a month costs, who pays, closing it, budgets, exports.", no_args_is_help=True
)
BillPeriod = Annotated[str, typer.Argument(metavar="PERIOD", help="A month such as 2026-01.")]
Prices = Annotated[Text, typer.Option("--prices", help="The price book, in TOML; default: the setting prices.")]


@part.command("show")
def show_bill(
    period: Annotated[
        Text, typer.Argument(metavar="PERIOD", help="A month such as 2026-01; without: all months.")
    ] = None,
    by: Annotated[
        list[str], typer.Option(help="department, cost_centre, person, app_name, model_name, kind, day, …")
    ] = [],  # noqa: B006
    currency: Annotated[
        Text, typer.Option("--in", help="Show the totals in this currency too, by the book's rates.")
    ] = None,
    prices: Prices = None,
    config: Config = None,
    store: StorePath = None,
    listen: Listen = None,
    as_json: Json = False,
) -> None:
    """Show a month's bill, or the months there are."""
    from collector import bill_paper, bills, terminal

    settings = settings_of(config, store=store, listen=listen, prices=prices)
    if period is None:
        found = bills.periods(settings)
        terminal.show_json({"periods": found}) if as_json else bill_paper.show_periods(found)
        return
    statement = bills.show(settings, period, by)
    converted = bills.converted(settings, period, currency) if currency else None
    if as_json:
        terminal.show_json({**statement, "converted": converted} if converted else statement)
    else:
        bill_paper.show_statement(statement, converted)


@part.command("budgets")
def show_budgets(
    prices: Prices = None,
    config: Config = None,
    store: StorePath = None,
    listen: Listen = None,
    as_json: Json = False,
) -> None:
    """Show how far each budget of the price book has gone this month. Budgets advise; nothing is blocked."""
    from collector import bill_paper, bills, terminal

    found = bills.budgets(settings_of(config, store=store, listen=listen, prices=prices))
    terminal.show_json({"budgets": found}) if as_json else bill_paper.show_budgets(found)


@part.command("close")
def close_bill(
    period: BillPeriod,
    by: Annotated[str, typer.Option("--by", help="Who closes it.")],
    prices: Prices = None,
    config: Config = None,
    store: StorePath = None,
    listen: Listen = None,
    as_json: Json = False,
) -> None:
    """Close a month: its lines do not change any more. What comes later is corrected in the next one."""
    from collector import bills, terminal

    closed = bills.close(settings_of(config, store=store, listen=listen, prices=prices), period, by)
    if as_json:
        terminal.show_json(closed)
    else:
        terminal.say(f"{period} was closed {closed['closed_at']} by {closed['closed_by']}: {closed['lines']:,} lines")
        terminal.say(f"digest {closed['digest']}")
        terminal.say(f"seal   {closed['seal']}")


@part.command("diff")
def diff_bill(
    period: BillPeriod,
    book: Annotated[Path | None, typer.Option("--book", help="Another price book, to rate with.")] = None,
    prices: Prices = None,
    config: Config = None,
    store: StorePath = None,
    listen: Listen = None,
    as_json: Json = False,
) -> None:
    """Compare a month with what it is rated at now, or by another book; nothing changes. Exit 1 if it was tampered."""
    from collector import bill_paper, bills, terminal

    found = bills.diff(settings_of(config, store=store, listen=listen, prices=prices), period, book)
    terminal.show_json(found) if as_json else bill_paper.show_difference(found)
    if found["is_intact"] is False:
        raise typer.Exit(1)


@part.command("export")
def export_bill(
    period: BillPeriod,
    form: Annotated[
        str, typer.Option("--format", help="csv, parquet, xlsx, focus-csv, focus-parquet; closed: cloudevents, lago.")
    ] = "focus-csv",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write into this file.")] = None,
    prices: Prices = None,
    config: Config = None,
    store: StorePath = None,
    listen: Listen = None,
) -> None:
    """Write the lines of a month as a file: as they are, as FOCUS 1.2 wants them, or as events."""
    from collector import bills, terminal

    terminal.write(bills.export(settings_of(config, store=store, listen=listen, prices=prices), period, form), output)


@part.command("send")
def send_bill(
    period: BillPeriod,
    to: Annotated[str, typer.Option("--to", metavar="URL", help="Where events are taken: …/api/v1/events[/batch].")],
    form: Annotated[str, typer.Option("--as", help="cloudevents (OpenMeter) or lago.")] = "cloudevents",
    token_file: Annotated[
        Path | None, typer.Option("--token-file", help="The file that holds the key to show.")
    ] = None,
    prices: Prices = None,
    config: Config = None,
    store: StorePath = None,
    listen: Listen = None,
    as_json: Json = False,
) -> None:
    """Send the lines of a closed month as events. Sending again changes nothing there: every event has an id."""
    from collector import bills, terminal

    settings = settings_of(config, store=store, listen=listen, prices=prices)
    token = token_file.read_text().strip() if token_file else None
    with terminal.progress() as tell:
        sent = bills.send(settings, period, form, to, token, tell)
    terminal.show_json({"sent": sent}) if as_json else terminal.say(f"{sent:,} events were taken by {to}")
