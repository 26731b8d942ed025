"""How far a month's money has gone: used, per day, where it will end, and when it is gone. Budgets advise, they block
nothing.

What comes in are a book's budgets and the lines of the month so far; what goes out is the state of each. What was used
is exact; what is foreseen goes on as the month went so far, and is rounded. Nothing here asks a store or a clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from decimal import Decimal

import msgspec
import pyarrow as pa

from collector.billing.book import BUDGETED, Budget
from collector.billing.currency import EXACT, payable
from collector.billing.rating import SPLIT
from collector.billing.statement import sums
from collector.period import Period

WITHIN, AT_RISK, EXHAUSTED = "within", "at risk", "exhausted"

_COLUMNS = {
    "workspace": "workspace_id",
    "app": "app_id",
    "provider": "model_provider",
    "model": "model_name",
    "key": SPLIT,
}
_MICROSECOND = timedelta(microseconds=1)
_A_DAY = timedelta(days=1) // _MICROSECOND


class BudgetState(msgspec.Struct, frozen=True, kw_only=True):
    """One budget in one month."""

    name: str
    about: dict[str, str]  # subject -> what the book says; none: everything
    period: str  # 2026-02
    currency: str
    amount: Decimal
    used: Decimal  # exact; corrections of closed months, billed in this one, included
    left: Decimal  # below zero: so much too much
    used_percent: Decimal  # two digits behind the point
    per_day: Decimal  # used ÷ days so far, as it is paid
    projected: Decimal  # at the end of the month, as it is paid
    state: str  # within; at risk: more will be used than there is; exhausted
    exhausted_at: datetime | None  # UTC; when it was gone (the day on which it was) or will be; None: not this month


def states(budgets: Iterable[Budget], lines: pa.Table, name: str, period: Period, now: datetime) -> list[BudgetState]:
    """The state of every budget, in the order of the book. `lines` are split by SPLIT where a budget is about keys."""
    if SPLIT not in lines.column_names:
        lines = lines.append_column(SPLIT, pa.nulls(len(lines), pa.string()))
    by = [_COLUMNS.get(subject, subject) for subject in BUDGETED]
    found = sums(lines, (*by, "app_name", "day"))
    return [_state(each, _used(each, found), name, period, now) for each in budgets]


def _used(budget: Budget, found: dict[tuple[object, ...], tuple[Decimal, Decimal]]) -> dict[date, Decimal]:
    """What the budget is for, by day."""
    used: dict[date, Decimal] = {}
    for (currency, *values, app_name, day), (amount, _) in found.items():
        known = dict(zip(BUDGETED, values, strict=True))
        if currency == budget.currency and budget.fits(known, app_name) and isinstance(day, date):
            used[day] = EXACT.add(used.get(day, Decimal(0)), amount)
    return dict(sorted(used.items()))


def _state(budget: Budget, by_day: dict[date, Decimal], name: str, period: Period, now: datetime) -> BudgetState:
    used, gone = Decimal(0), None
    for day, amount in by_day.items():
        used = EXACT.add(used, amount)
        if gone is None and used >= budget.amount:
            gone = max(period.day_start(day), period.start)
    whole = Decimal((period.end - period.start) // _MICROSECOND)
    passed = Decimal(max(_MICROSECOND, min(now, period.end) - period.start) // _MICROSECOND)
    projected = EXACT.divide(EXACT.multiply(used, whole), passed)
    is_gone = used >= budget.amount
    return BudgetState(
        name=budget.name,
        about={subject: told for subject in BUDGETED if (told := getattr(budget, subject)) is not None},
        period=name,
        currency=budget.currency,
        amount=budget.amount,
        used=used,
        left=EXACT.subtract(budget.amount, used),
        used_percent=EXACT.divide(used * 100, budget.amount).quantize(Decimal("0.01"), context=EXACT),
        per_day=payable(EXACT.divide(EXACT.multiply(used, Decimal(_A_DAY)), passed), budget.currency),
        projected=payable(projected, budget.currency),
        state=EXHAUSTED if is_gone else AT_RISK if projected > budget.amount else WITHIN,
        exhausted_at=gone if is_gone else _foreseen(budget, used, passed, period),
    )


def _foreseen(budget: Budget, used: Decimal, passed: Decimal, period: Period) -> datetime | None:
    """When it will be gone, to the second, if that is in this month."""
    if used <= 0:
        return None
    until = EXACT.divide(EXACT.multiply(budget.amount, passed), used)
    if until >= (period.end - period.start) // _MICROSECOND:
        return None
    return (period.start + timedelta(microseconds=int(until))).replace(microsecond=0)
