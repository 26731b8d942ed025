"""Lines -> what people read: totals by currency and payer, tokens without a price, doubts about prices.

What comes in are Arrow tables of `collector.bill_lines`; what goes out are plain structs with Decimals. Sums are exact;
`payable` alone is rounded, to the digits its currency is paid in. Nothing here asks a store.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeAlias

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from collector.bill_lines import AMOUNT, FIRST_NAMES, KEY, LINES, ClosedPeriod
from collector.billing.book import REPORTED
from collector.billing.currency import EXACT, payable
from collector.errors import QueryError

Row: TypeAlias = Mapping[str, Any]

GROUPS = (
    *("department", "cost_centre", "person", "workspace_id", "app_id", "app_name", "model_provider", "model_name"),
    *("kind", "day", "corrects", "dataset_id", "dataset_name"),
)
"""What lines can be added up by, beside their currency."""
BY = ("department", "cost_centre")

OFF_BY = Decimal(300)
"""So many times Dify's own price, or that part of it, is no discount: somebody took thousands for millions."""


class Total(msgspec.Struct, frozen=True, kw_only=True):
    """One currency's money."""

    currency: str
    usage: Decimal  # of the period itself
    corrections: Decimal  # of closed periods, billed in this one
    amount: Decimal  # both
    payable: Decimal  # the amount in the digits that are paid
    list_amount: Decimal  # the amount before discounts


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Lines of one payer (or app, model, day: as asked) in one currency."""

    by: dict[str, str | None]
    currency: str
    amount: Decimal
    payable: Decimal
    list_amount: Decimal


class Unpriced(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens that nobody pays for, since the book has no price for them."""

    model_provider: str | None
    model_name: str | None  # None: not told which
    kind: str  # input, output, …; tokens: not told which way they went
    tokens: int


class Reported(msgspec.Struct, frozen=True, kw_only=True):
    """What Dify says the calls of the period cost."""

    currency: str
    amount: Decimal


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """One period's bill."""

    period: str  # 2026-01
    state: str  # open, settling, closed
    starts_at: datetime  # UTC
    ends_at: datetime  # UTC, not included
    timezone: str
    closed_at: datetime | None
    closed_by: str | None
    digest: str | None  # of all lines; None: not closed, or a part of them
    is_part: bool  # only what somebody sees who does not see everything
    lines: int
    totals: list[Total]
    groups: list[Group]
    unpriced: list[Unpriced]
    reported: list[Reported]
    charged_as_reported: list[Reported]  # what has no price in the book and is charged at Dify's own; part of totals
    calls: int
    unmeasured: int  # calls that told no usage
    warnings: list[str]


def totals(lines: pa.Table) -> list[Total]:
    """One for each currency, by its code."""
    is_usage = pc.is_null(lines["corrects"])
    usage, corrections = (sums(lines.filter(each), ()) for each in (is_usage, pc.invert(is_usage)))
    found = []
    for (currency,), (amount, listed) in sorted(sums(lines, ()).items()):
        found.append(
            Total(
                currency=currency,
                usage=usage.get((currency,), _NOTHING)[0],
                corrections=corrections.get((currency,), _NOTHING)[0],
                amount=amount,
                payable=payable(amount, currency),
                list_amount=listed,
            )
        )
    return found


def groups(lines: pa.Table, by: Sequence[str] = BY) -> list[Group]:
    """Sums by these columns and currency. Raises QueryError for a column there is none of."""
    if unknown := [name for name in by if name not in GROUPS]:
        there = ", ".join(GROUPS)
        raise QueryError(f"by: no {unknown[0][:80]!r}; there are {there}", field="by", choices=GROUPS)
    found = [
        Group(
            by={name: None if value is None else str(value) for name, value in zip(by, values, strict=True)},
            currency=currency,
            amount=amount,
            payable=payable(amount, currency),
            list_amount=listed,
        )
        for (currency, *values), (amount, listed) in sums(lines, by).items()
    ]
    return sorted(
        found, key=lambda group: (group.currency, -group.amount, [value or "" for value in group.by.values()])
    )


def unpriced(lines: pa.Table) -> list[Unpriced]:
    """Tokens without a price, most first; what lost that name since (a price was found) is no entry."""
    without = lines.filter(pc.is_null(lines["currency"]))
    keys = ["model_provider", "model_name", "kind"]
    found = without.group_by(keys).aggregate([("quantity", "sum")]).to_pylist()
    listed = [
        Unpriced(tokens=row["quantity_sum"], **{name: row[name] for name in keys})
        for row in found
        if row["quantity_sum"] > 0
    ]
    return sorted(listed, key=lambda each: (-each.tokens, each.model_name or "", each.kind))


def price_doubts(lines: pa.Table, told: Iterable[Row]) -> Iterator[str]:
    """Models whose price is hundreds of times Dify's own, or that part of it: a unit taken for another."""
    ours = {
        (provider, model, currency): listed
        for (currency, provider, model), (_, listed) in sums(
            lines.filter(pc.is_null(lines["corrects"])), ("model_provider", "model_name")
        ).items()
    }
    for row in told:
        dify = row["reported"] or Decimal(0)
        listed = ours.get((row["model_provider"], row["model_name"], row["currency"]), Decimal(0))
        if dify <= 0 or listed <= 0:
            continue
        if listed > dify * OFF_BY or listed * OFF_BY < dify:
            more = "more" if listed > dify else "less"
            yield (
                f"{row['model_name']}: the book asks hundreds of times {more} than Dify's own price "
                f"({listed.normalize(EXACT):f} {row['currency']} beside {dify.normalize(EXACT):f}); "
                "is `per` meant per 1k or per 1M?"
            )


def by_model(told: pa.Table) -> list[Row]:
    """What `rating.reported` tells of apps, added up by model and currency."""
    keys, numbers = ["model_provider", "model_name", "currency"], ["reported", "calls", "unmeasured"]
    found = told.group_by(keys).aggregate([(name, "sum") for name in numbers])
    rows: list[Row] = found.rename_columns([name.removesuffix("_sum") for name in found.column_names]).to_pylist()
    return rows


def reported(told: Iterable[Row]) -> list[Reported]:
    """What Dify says, by currency."""
    found: dict[str, Decimal] = {}
    for row in told:
        if row["reported"] is not None and row["currency"] is not None:
            found[row["currency"]] = EXACT.add(found.get(row["currency"], Decimal(0)), row["reported"])
    return [Reported(currency=currency, amount=amount) for currency, amount in sorted(found.items())]


def charged_as_reported(lines: pa.Table) -> list[Reported]:
    """What lines charge at Dify's own price, by currency, after discounts."""
    found = sums(lines.filter(pc.equal(lines["kind"], REPORTED)), ())
    return [Reported(currency=currency, amount=amount) for (currency,), (amount, _) in sorted(found.items())]


def between(before: pa.Table, after: pa.Table) -> pa.Table:
    """The lines that make `after` of `before`: quantities and amounts that came (or, below zero, went), by key."""
    both = pa.concat_tables([after, _negated(before)])
    added = [("quantity", "sum"), ("list_amount", "sum"), ("amount", "sum")]
    rest = [(name, "max") for name in ("id", "period", "corrects", "corrects_line", "app_name", "dataset_name")]
    found = both.group_by([*KEY], use_threads=False).aggregate([*added, *rest])
    found = found.rename_columns([name.removesuffix("_sum").removesuffix("_max") for name in found.column_names])
    found = found.select(LINES.names).cast(LINES)
    changed = pc.or_(pc.not_equal(found["quantity"], 0), pc.not_equal(found["list_amount"], Decimal(0)))
    return found.filter(pc.or_(changed, pc.not_equal(found["amount"], Decimal(0)))).sort_by("id")


def digest(lines: pa.Table, starts_at: datetime, ends_at: datetime) -> str:
    """SHA-256 over the bounds and the lines, in the order of what they correct and their ids, one text for each.

    Every column of FIRST_NAMES in their order, divided by U+001F; null is U+001E; decimals with all their digits. Then,
    of the columns that came later, those that are not null, each as U+001F, name=value: what was closed before there
    were any has the digest it had.
    """
    ordered = lines.sort_by([("corrects", "ascending"), ("id", "ascending")])
    columns = [[_text(value) for value in ordered[name].to_pylist()] for name in FIRST_NAMES]
    for name in LINES.names[len(FIRST_NAMES) :]:
        told = ordered[name].to_pylist()
        if any(value is not None for value in told):
            last = columns[-1]
            columns[-1] = [
                before if value is None else f"{before}\x1f{name}={value}"
                for before, value in zip(last, told, strict=True)
            ]
    found = hashlib.sha256(f"{starts_at.isoformat()}\x1f{ends_at.isoformat()}".encode())
    for row in zip(*columns, strict=True):
        found.update(("\n" + "\x1f".join(row)).encode())
    return found.hexdigest()


def seal(closed: ClosedPeriod, before: str) -> str:
    """SHA-256 over what is known of a closed period and the seal of the one before: no link can be changed alone."""
    told = (closed.period, closed.timezone, closed.book, str(closed.lines), closed.digest)
    who = (closed.closed_at.isoformat(), closed.closed_by, before)
    return hashlib.sha256("\x1f".join((*told, *who)).encode()).hexdigest()


_NOTHING = (Decimal(0), Decimal(0))


def sums(lines: pa.Table, by: Sequence[str]) -> dict[tuple[Any, ...], tuple[Decimal, Decimal]]:
    """(currency, *by) -> amount and list amount; lines without a price have neither."""
    priced = lines.filter(pc.is_valid(lines["currency"]))
    keys = ["currency", *by]
    found = priced.group_by(keys).aggregate([("amount", "sum"), ("list_amount", "sum")])
    columns = [found[name].to_pylist() for name in (*keys, "amount_sum", "list_amount_sum")]
    return {row[:-2]: (row[-2], row[-1]) for row in zip(*columns, strict=True)}


def _negated(lines: pa.Table) -> pa.Table:
    for name in ("quantity", "list_amount", "amount"):
        place = lines.schema.get_field_index(name)
        kind = AMOUNT if name != "quantity" else pa.int64()
        lines = lines.set_column(place, lines.schema.field(place), pc.negate(lines[name]).cast(kind))
    return lines


def _text(value: object) -> str:
    if value is None:
        return "\x1e"
    return f"{value:f}" if isinstance(value, Decimal) else str(value)
