"""What `dify-metric bill` does: bills shown, closed, compared and exported, here or by the service that holds them.

In come Settings and plain arguments; out go plain values as REST gives them, or bytes. Nothing here prints.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, TypeVar
from urllib.parse import quote

import msgspec

from collector.access import Scope
from collector.billing.bills import Bills
from collector.billing.book_file import read_book
from collector.billing.exports import Form
from collector.commands import with_store
from collector.errors import QueryError
from collector.running import Running
from collector.settings import Settings
from collector.store import Store

Plain: TypeAlias = Mapping[str, Any]
Result = TypeVar("Result")


def periods(settings: Settings) -> Sequence[Plain]:
    """Every billing period."""

    def here(bills: Bills) -> Sequence[Plain]:
        found: Sequence[Plain] = msgspec.to_builtins(bills.periods())
        return found

    return _with_bills(settings, here, lambda running: running.bill()["periods"])


def show(settings: Settings, period: str, by: Sequence[str]) -> Plain:
    """One period's bill. Raises QueryError."""
    from collector.faces.billing import columns

    names = columns(by)

    def here(bills: Bills) -> Plain:
        found: Plain = msgspec.to_builtins(bills.statement(period, names))
        return found

    return _with_bills(settings, here, lambda running: running.bill(_of(period), [("by", name) for name in names]))


def converted(settings: Settings, period: str, currency: str) -> Plain:
    """One period's totals in a currency. Raises QueryError where a rate is missing."""

    def here(bills: Bills) -> Plain:
        found: Plain = msgspec.to_builtins(bills.converted(period, currency))
        return found

    return _with_bills(settings, here, lambda running: running.bill(f"{_of(period)}/converted", [("in", currency)]))


def budgets(settings: Settings) -> Sequence[Plain]:
    """How far each budget of the price book has gone this month."""

    def here(bills: Bills) -> Sequence[Plain]:
        found: Sequence[Plain] = msgspec.to_builtins(bills.budgets())
        return found

    return _with_bills(settings, here, lambda running: running.budgets())


def close(settings: Settings, period: str, by: str) -> Plain:
    """Close a period. Raises QueryError where it cannot be closed."""

    def here(bills: Bills) -> Plain:
        found: Plain = msgspec.to_builtins(bills.close(period, by))
        return found

    there = lambda running: running.bill_change(f"{_of(period)}/close", {"by": by})  # noqa: E731
    return _with_bills(settings, here, there, scope=Scope.ADMIN)


def diff(settings: Settings, period: str, book: Path | None) -> Plain:
    """What a period was billed at beside what it is rated at, now or by another book. Raises QueryError."""
    from collector.faces.billing import told

    other = read_book(book) if book else None

    def there(running: Running) -> Plain:
        path = f"{_of(period)}/difference"
        if book is None:
            return running.bill(path)
        return running.bill_change(path, {"book": book.read_text("utf-8-sig")})

    return _with_bills(settings, lambda bills: told(bills.difference(period, other)), there)


def export(settings: Settings, period: str, form: str) -> bytes:
    """The lines of a period as a file. Raises QueryError."""
    from collector.faces.billing import file_of

    wanted = Form.named(form)
    return _with_bills(
        settings,
        lambda bills: file_of(bills, period, wanted, settings.billing_account),
        lambda running: running.bill_file(period, wanted),
    )


def send(
    settings: Settings,
    period: str,
    form: str,
    url: str,
    token: str | None,
    tell: Callable[[str, int, int | None], None],
) -> int:
    """Send the lines of a closed period as events; how many. Sending again changes nothing there. Raises QueryError."""
    from collector.bill_post import KINDS, deliver

    if form not in KINDS:
        raise QueryError(f"--as: wanted {' or '.join(KINDS)}, got {form[:80]!r}", field="as", choices=KINDS)
    return deliver(export(settings, period, form), form, url, token, tell)


def _of(period: str) -> str:
    return f"/{quote(period, safe='')}"


def _with_bills(
    settings: Settings,
    here: Callable[[Bills], Result],
    there: Callable[[Running], Result],
    *,
    scope: Scope = Scope.READ,
) -> Result:
    """Who pays is read anew where we hold the store: a file changed since counts."""
    from collector import money
    from collector.clock import utc_now

    def with_payers(store: Store) -> Result:
        money.payers_in(settings, store)
        return here(money.bills_in(settings, store, utc_now))

    return with_store(settings, with_payers, there, scope=scope)
