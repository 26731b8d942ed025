"""A bill's totals in another currency, for reading: each by a dated rate that is shown beside it, and never kept.

What comes in are totals and a book's rates; what goes out says of every amount by which rate of which day it was
converted. Converted amounts are rounded, as they are paid. Nothing here changes a line.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal

import msgspec

from collector.billing.book import Rate
from collector.billing.currency import CURRENCIES, EXACT, payable
from collector.billing.statement import Total
from collector.errors import QueryError


class ConvertedTotal(msgspec.Struct, frozen=True, kw_only=True):
    """One currency's total, converted."""

    currency: str
    amount: Decimal  # exact, in its own currency
    rate: Decimal  # of one unit of it
    rate_on: date  # the day the rate is of
    source: str | None  # where the rate was read
    converted: Decimal  # rounded


class Converted(msgspec.Struct, frozen=True, kw_only=True):
    """Every total in one currency."""

    currency: str
    totals: list[ConvertedTotal]
    total: Decimal  # of the rounded amounts


def convert(totals: Iterable[Total], rates: Sequence[Rate], currency: str, day: date) -> Converted:
    """By the newest rates of that day or before. Raises QueryError naming the rate that is missing."""
    if currency not in CURRENCIES:
        raise QueryError(f"in: wanted a code of ISO 4217 such as CNY, got {currency[:20]!r}", field="in")
    found = [_converted(total, rates, currency, day) for total in totals]
    return Converted(currency=currency, totals=found, total=sum((each.converted for each in found), Decimal(0)))


def _converted(total: Total, rates: Sequence[Rate], currency: str, day: date) -> ConvertedTotal:
    if total.currency == currency:
        rate, on, source = Decimal(1), day, None
    else:
        fitting = [each for each in rates if each.fits(total.currency, currency) and each.on <= day]
        if not fitting:
            raise QueryError(
                f"in: the price book has no rate from {total.currency} to {currency} of {day} or before",
                field="in",
                remedy=f'write [[rate]] with currency = "{total.currency}", in = "{currency}", rate and on in the book',
            )
        newest = max(fitting, key=lambda each: each.on)
        rate, on, source = newest.rate, newest.on, newest.source
    return ConvertedTotal(
        currency=total.currency,
        amount=total.amount,
        rate=rate,
        rate_on=on,
        source=source,
        converted=payable(EXACT.multiply(total.amount, rate), currency),
    )
