"""One field of a price book's entry -> its value: texts, amounts, units, currencies, days.

What comes in is an entry as TOML has it; what goes out is a value, or Wrong, which names the field and the remedy.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, TypeAlias

from collector.billing.book import SMALLEST, UNITS, one
from collector.billing.currency import CURRENCIES

Entry: TypeAlias = Mapping[str, Any]

DEAREST = Decimal(1_000_000)
"""No token and no call costs as much."""


class Wrong(Exception):
    """A field that cannot be read: its name, and what was wanted."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}" if field else problem)
        self.field = field


def text_of(entry: Entry, field: str, *default: None) -> str | None:
    """A text without blanks around it; None where it may be missing (a third argument) and is. Raises Wrong."""
    if field not in entry:
        if default:
            return None
        raise Wrong(field, "missing")
    value = entry[field]
    if not isinstance(value, str) or not value.strip():
        raise Wrong(field, f"wanted text in quotes, got {value!r}")
    return value.strip()


def amount_of(entry: Entry, field: str, named: str | None = None, dearest: Decimal = DEAREST) -> Decimal:
    """0 or more, below `dearest`; errors name the field `named` where it stands in a list. Raises Wrong."""
    value = entry[field]
    if isinstance(value, str):
        try:
            value = Decimal(value)
        except ArithmeticError:
            value = None
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise Wrong(
            named or field, f"{field}: wanted a number such as 2.50" if named else "wanted a number such as 2.50"
        )
    amount = Decimal(value)
    if not amount.is_finite() or not 0 <= amount < dearest:
        raise Wrong(named or field, f"wanted 0 or more, below {dearest:,}, got {amount}")
    return amount


def check_digits(rate: Decimal | None, field: str, per: int) -> None:
    """Raise Wrong where one of what `rate` is the price of `per` of would cost less than SMALLEST tells apart."""
    if rate is not None and one(rate, per) % SMALLEST:
        raise Wrong(field, f"has too many digits: of one token or call at most {-SMALLEST.adjusted()} are kept")


def unit_of(written: object) -> int:
    """1, 1000 or 1000000. Raises Wrong."""
    found = UNITS.get(str(written)) if isinstance(written, str | int) and not isinstance(written, bool) else None
    found = found or (written if written in UNITS.values() and isinstance(written, int) else None)
    if found is None:
        raise Wrong("per", f"wanted 1, 1k or 1M tokens, got {written!r}")
    return found


def currency_of(written: object, field: str = "currency") -> str:
    """A code of ISO 4217. Raises Wrong."""
    if not isinstance(written, str) or written not in CURRENCIES:
        said = "missing" if written is None else f"got {written!r}"
        raise Wrong(field, f"wanted a code of ISO 4217 such as USD or CNY, {said}")
    return written


def days_of(entry: Entry) -> tuple[date | None, date | None]:
    """`from` and `until`, in order; None where they are missing. Raises Wrong."""
    start, end = day_of(entry, "from"), day_of(entry, "until")
    if start is not None and end is not None and start >= end:
        raise Wrong("until", "wanted later than from; until is not included")
    return start, end


def day_of(entry: Entry, field: str) -> date | None:
    """A day; None where it is missing. Raises Wrong."""
    value = entry.get(field)
    if isinstance(value, str):
        try:
            value = date.fromisoformat(value)
        except ValueError:
            value = 0
    if value is None:
        return None
    if not isinstance(value, date) or isinstance(value, datetime) or not 1970 <= value.year <= 9000:
        raise Wrong(field, f"wanted a day such as 2026-01-31, got {entry[field]!s}; prices change at midnight")
    return value
