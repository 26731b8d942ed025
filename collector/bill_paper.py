"""Bills as tables on a terminal: plain values as REST would send them come in, tables go to stdout, words to stderr.

Money is shown with every digit it has. Nothing here asks or decides anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeAlias

from collector.terminal import BLANK, say, show_lines

Plain: TypeAlias = Mapping[str, Any]


def show_periods(periods: Sequence[Plain]) -> None:
    """One line for each."""
    lines = [
        (each["period"], each["state"], _minute(each["closed_at"]), each["closed_by"] or BLANK, _count(each["lines"]))
        for each in periods
    ]
    show_lines(("period", "state", "closed", "by", "lines"), lines, numbers=("lines",))


def show_statement(found: Plain, converted: Plain | None = None) -> None:
    """The sums asked for, then the totals, then what somebody should look at."""
    if groups := found["groups"]:
        heads = list(groups[0]["by"])
        lines = [
            (
                *((each["by"][head] or BLANK) for head in heads),
                each["currency"],
                _digits(each["amount"]),
                each["payable"],
            )
            for each in groups
        ]
        show_lines((*heads, "currency", "amount", "payable"), lines, numbers=("amount", "payable"))
        say("")
    totals = [
        (each["currency"], *(_digits(each[name]) for name in ("list_amount", "usage", "corrections", "amount")))
        for each in found["totals"]
    ]
    heads = ["total", "before discounts", "usage", "corrections", "amount"]
    payable = [(*line, each["payable"]) for line, each in zip(totals, found["totals"], strict=True)]
    show_lines((*heads, "payable"), payable, numbers=(*heads[1:], "payable"))
    if converted:
        _show_converted(converted)
    if unpriced := found["unpriced"]:
        say("")
        lines = [(each["model_name"] or BLANK, each["kind"], f"{each['tokens']:,}") for each in unpriced]
        show_lines(("without a price", "kind", "tokens"), lines, numbers=("tokens",))
    closed = f", closed {_minute(found['closed_at'])} by {found['closed_by']}" if found["closed_at"] else ""
    say("")
    say(f"{found['period']} ({found['timezone']}) is {found['state']}{closed}; {found['lines']:,} lines")
    if found["digest"]:
        say(f"digest {found['digest']}")
    reported = ", ".join(f"{_digits(each['amount'])} {each['currency']}" for each in found["reported"])
    say(f"{found['calls']:,} calls, {found['unmeasured']:,} of them told no usage; Dify says {reported or 'no cost'}")
    if charged := found["charged_as_reported"]:
        told = ", ".join(f"{_digits(each['amount'])} {each['currency']}" for each in charged)
        say(f"without a price in the book, and charged at Dify's own: {told}")
    for warning in found["warnings"]:
        say(f"look: {warning}")


def _show_converted(found: Plain) -> None:
    say("")
    lines = [
        (each["currency"], _digits(each["amount"]), _digits(each["rate"]), each["rate_on"], each["converted"])
        for each in found["totals"]
    ]
    lines.append(("all, for reading", "", "", "", found["total"]))
    head = f"in {found['currency']}"
    show_lines(("total", "amount", "rate", "of", head), lines, numbers=("amount", "rate", head))


def show_difference(found: Plain) -> None:
    """What came and what went, line by line, and the totals before and after."""
    heads = ("day", "department", "model", "kind", "currency", "price", "quantity", "amount")
    lines = [
        (
            *(each["day"], each["department"] or BLANK, each["model_name"] or BLANK, each["kind"]),
            *(each["currency"] or BLANK, _price(each), f"{each['quantity']:+,}"),
            _digits(each["amount"]),
        )
        for each in sorted(found["lines"], key=_place)
    ]
    if lines:
        show_lines(heads, lines, numbers=heads[5:])
        say("")
    before, after = ({each["currency"]: each["amount"] for each in found[name]} for name in ("before", "after"))
    totals = [
        (currency, _digits(before.get(currency, "0")), _digits(after.get(currency, "0")))
        for currency in sorted({*before, *after})
    ]
    show_lines(("total", "billed", "rated"), totals, numbers=("billed", "rated"))
    if found["lines_left_out"]:
        say(f"{found['lines_left_out']:,} lines more")
    say(f"{found['period']} is {found['state']}: {f'{len(lines):,} lines differ' if lines else 'nothing differs'}")
    if found["days_gone"]:
        say(f"{found['days_gone']} of its days have lost facts to their age: it is not rated anew, and stays as it is")
    if found["is_intact"] is False:
        say("its lines, or what is known of its closing, are NOT those it was closed with: somebody changed them")


def show_budgets(budgets: Sequence[Plain]) -> None:
    """One line for each."""
    numbers = ("budgeted", "used", "%", "by day", "projected")
    heads = ("budget", "state", "currency", *numbers, "used up")
    lines = [
        (
            *(each["name"], each["state"], each["currency"], _digits(each["amount"]), _digits(each["used"])),
            *(each["used_percent"], each["per_day"], each["projected"], _minute(each["exhausted_at"])),
        )
        for each in budgets
    ]
    if lines:
        show_lines(heads, lines, numbers=numbers)
    else:
        say("the price book has no [[budget]]")


def _place(line: Plain) -> tuple[Any, ...]:
    """By day and payer; what went before what came."""
    names = ("department", "model_name", "kind", "currency")
    return (line["day"], *(line[name] or "" for name in names), line["quantity"])


def _price(line: Plain) -> str:
    """As the book has it: 2.50 per 1,000,000."""
    if line["unit_price"] is None:
        return BLANK
    per = int(line["per"])
    return _digits(str(Decimal(line["unit_price"]) * per)) + (f" per {per:,}" if per > 1 else "")


def _digits(amount: str | None) -> str:
    """Every digit, but no zeros at the end, and at least two behind the point."""
    if amount is None:
        return BLANK
    number = Decimal(amount).normalize()
    exponent = number.as_tuple().exponent
    places = max(2, -exponent) if isinstance(exponent, int) else 2
    return f"{number:,.{places}f}"


def _minute(instant: str | None) -> str:
    return instant[:16].replace("T", " ") if instant else BLANK


def _count(number: int | None) -> str:
    return BLANK if number is None else f"{number:,}"
