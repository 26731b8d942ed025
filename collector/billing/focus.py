"""Lines -> FOCUS, the FinOps Open Cost and Usage Specification: one row for each line.

What comes in are lines of `collector.bill_lines` and their billing period; what goes out is an Arrow table whose
columns are those of VERSIONS, in that order: a later version of the specification is another entry there. Amounts keep
every digit. Nothing here writes a file.

A line without a price is a row that costs nothing and says so, in the currency that most lines of the bill have. What
is charged at Dify's own price has no price of one token: its row is one charge of that amount.

Source: https://focus.finops.org/focus-specification/v1-2/
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from functools import cache
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from collector.bill_lines import AMOUNT
from collector.billing.book import CALL_KINDS, REPORTED, STORED_KINDS, UNITS
from collector.billing.rating import TOTAL_ONLY
from collector.errors import QueryError
from collector.period import Period

INSTANT = pa.timestamp("us", tz="UTC")
QUANTITY = pa.decimal128(38, 6)
PRICE = pa.decimal128(38, 16)

CORRECTION = "Correction"

PIECE = 50_000
"""Rows that are made at once."""

NO_CURRENCY = "XXX"
"""ISO 4217's code for where no currency is involved: of a bill on which nothing has a price."""

MAKER = "langgenius"
"""Who makes Dify, as its own plugins name it."""

BOOK, NOBODY = "book", "none"
"""Where a price is from, as x_PriceSource says; or REPORTED."""


@dataclass(frozen=True)
class Charges:
    """Lines of one billing period, and what a row says beside them."""

    lines: pa.Table
    period: Period
    account: str  # who runs Dify, in ASCII
    currency: str  # of rows that cost nothing

    def __getitem__(self, name: str) -> Any:
        return self.lines[name]

    def all(self, value: object, kind: pa.DataType) -> pa.Array:
        """The same in every row."""
        return pa.repeat(pa.scalar(value, kind), len(self.lines))

    @property
    def are_reported(self) -> Any:
        """Which rows are charged at Dify's own price."""
        return pc.equal(self.lines["kind"], REPORTED)

    def each(self, made: Callable[..., object], kind: pa.DataType, *names: str) -> pa.Array:
        """One value for each row, worked out once for the same of these columns."""
        known = cache(made)
        columns = (self.lines[name].to_pylist() for name in names)
        return pa.array([known(*values) for values in zip(*columns, strict=True)], kind)


Filled: TypeAlias = Callable[[Charges], Any]


@dataclass(frozen=True)
class Column:
    """One column: its name, its type, whether it may be null, and what stands in it."""

    name: str
    kind: pa.DataType
    is_nullable: bool
    filled: Filled


def _always(value: str) -> Filled:
    return lambda charges: charges.all(value, pa.string())


def _account(charges: Charges) -> pa.Array:
    return charges.all(charges.account, pa.string())


def _day(number: int) -> Filled:
    """The instant at which the line's day (or, 1, the day after it) begins."""

    def filled(charges: Charges) -> pa.Array:
        start = charges.period.day_start
        return charges.each(lambda day: start(day + timedelta(days=number)), INSTANT, "day")

    return filled


def _source(kind: str, currency: str | None) -> str:
    return NOBODY if currency is None else REPORTED if kind == REPORTED else BOOK


def _description(kind: str, currency: str | None, corrects: str | None, *names: str | None) -> str:
    """`names` are those of provider, model and knowledge base."""
    source, (provider, model, base) = _source(kind, currency), names
    of = base or "a knowledge base" if kind in STORED_KINDS else model or "unknown model"
    told = f"{_noun(kind)} of {of}" + (f" ({provider})" if provider else "")
    told += {NOBODY: ", without a price: costs nothing", REPORTED: ", at the price that Dify tells"}.get(source, "")
    return f"Correction of {corrects}: {told}" if corrects else told


def _noun(kind: str) -> str:
    """input -> Input tokens."""
    if kind in (REPORTED, TOTAL_ONLY):
        return "Tokens"
    words = kind.replace("_", " ").capitalize()
    if kind in STORED_KINDS:
        return words
    return f"{words}s" if kind in CALL_KINDS else f"{words} tokens"


def _sku(provider: str | None, model: str | None, kind: str) -> str:
    return f"knowledge/{kind}" if kind in STORED_KINDS else f"{provider or 'unknown'}/{model or 'unknown'}/{kind}"


def _sku_price(
    provider: str | None, model: str | None, kind: str, currency: str | None, per: int | None, tier: int | None
) -> str:
    sku, source = _sku(provider, model, kind), _source(kind, currency)
    if source != BOOK:
        return f"{sku}/{'unpriced' if source == NOBODY else 'per-charge'}"
    return f"{sku}/per-{per}" + (f"/above-{tier}" if tier else "")


def _unit(kind: str) -> str:
    if kind in STORED_KINDS:
        return f"{kind.removeprefix('stored_').removesuffix('s').capitalize()}-Days"
    return {"request": "Requests", "image": "Images"}.get(kind, "Tokens")


def _pricing_unit(kind: str, per: int | None) -> str:
    if kind == REPORTED:
        return "Charges"
    return _unit(kind) if per in (None, 1) else f"{per} {_unit(kind)}"


def _publisher(provider: str | None, kind: str) -> str:
    if kind in STORED_KINDS:
        return MAKER
    return (provider or "unknown").rpartition("/")[2] or "unknown"


def _sub_account(cost_centre: str | None, department: str | None) -> str | None:
    """Who pays, in ASCII: a name that is not is told by its hash here, and spelled out among the tags."""
    name = cost_centre or department
    if name is None or name.isascii():
        return name
    return f"payer-{hashlib.sha256(name.encode()).hexdigest()[:12]}"


_TAGS = ("department", "cost_centre", "person", "workspace_id", "app_name")


def _tags(*values: str | None) -> str:
    told = {name: value for name, value in zip(_TAGS, values, strict=True) if value is not None}
    return json.dumps(told, ensure_ascii=False, sort_keys=True)


_PARTS = {per: Decimal(1).scaleb(1 - len(str(per))) for per in UNITS.values()}


def _quantity(charges: Charges) -> Any:
    """In pricing units: exact, since these are powers of ten. What is reported is one charge, or takes one back."""
    part = charges.each(lambda per: _PARTS[per or 1], pa.decimal128(7, 6), "per")
    found = pc.multiply(charges["quantity"].cast(pa.decimal128(19, 0)), part).cast(QUANTITY)
    one = pc.if_else(pc.less(charges["list_amount"], pa.scalar(Decimal(0), AMOUNT)), -1, 1).cast(QUANTITY)
    return pc.if_else(charges.are_reported, one, found)


def _price(charges: Charges, unit: Any, amount: str) -> Any:
    """A price of one as the price of a pricing unit; of what is reported, the amount; of what has no price, zero."""
    found = pc.multiply(unit, charges.each(lambda per: Decimal(per or 1), pa.decimal128(7, 0), "per")).cast(PRICE)
    found = pc.if_else(charges.are_reported, pc.abs(charges[amount]).cast(PRICE), found)
    return pc.fill_null(found, pa.scalar(Decimal(0), PRICE))


def _list_price(charges: Charges) -> Any:
    return _price(charges, charges["unit_price"], "list_amount")


def _contracted_price(charges: Charges) -> Any:
    rest = pc.subtract(pa.scalar(Decimal("1.0000"), pa.decimal128(5, 4)), charges["discount"])
    return _price(charges, pc.multiply(charges["unit_price"], rest.cast(pa.decimal128(5, 4))), "amount")


def _same(name: str) -> Filled:
    return lambda charges: charges[name]


def _each(made: Callable[..., object], *names: str) -> Filled:
    return lambda charges: charges.each(made, pa.string(), *names)


_MODEL = ("model_provider", "model_name", "kind")


def _currency(charges: Charges) -> Any:
    return pc.fill_null(charges["currency"], charges.currency)


def _category(kind: str, currency: str | None) -> str:
    return "Standard" if _source(kind, currency) == BOOK else "Other"


def _either(first: str | None, second: str | None) -> str | None:
    return first if first is not None else second


def _resource(app: str | None, base: str | None) -> str | None:
    return "Dify App" if app else "Dify Knowledge Base" if base else None


FOCUS_1_2 = (
    Column("BilledCost", AMOUNT, False, _same("amount")),
    Column("BillingAccountId", pa.string(), False, _account),
    Column("BillingAccountName", pa.string(), True, _account),
    Column("BillingCurrency", pa.string(), False, _currency),
    Column("BillingPeriodEnd", INSTANT, False, lambda charges: charges.all(charges.period.end, INSTANT)),
    Column("BillingPeriodStart", INSTANT, False, lambda charges: charges.all(charges.period.start, INSTANT)),
    Column("ChargeCategory", pa.string(), False, _always("Usage")),
    Column("ChargeClass", pa.string(), True, _each(lambda corrects: CORRECTION if corrects else None, "corrects")),
    Column(
        "ChargeDescription",
        pa.string(),
        True,
        _each(_description, "kind", "currency", "corrects", "model_provider", "model_name", "dataset_name"),
    ),
    Column("ChargeFrequency", pa.string(), False, _always("Usage-Based")),
    Column("ChargePeriodEnd", INSTANT, False, _day(1)),
    Column("ChargePeriodStart", INSTANT, False, _day(0)),
    Column("ConsumedQuantity", QUANTITY, True, _same("quantity")),
    Column("ConsumedUnit", pa.string(), True, _each(_unit, "kind")),
    Column("ContractedCost", AMOUNT, False, _same("amount")),
    Column("ContractedUnitPrice", PRICE, True, _contracted_price),
    Column("EffectiveCost", AMOUNT, False, _same("amount")),
    Column("InvoiceIssuerName", pa.string(), False, _account),
    Column("ListCost", AMOUNT, False, _same("list_amount")),
    Column("ListUnitPrice", PRICE, True, _list_price),
    Column("PricingCategory", pa.string(), True, _each(_category, "kind", "currency")),
    Column("PricingQuantity", QUANTITY, True, _quantity),
    Column("PricingUnit", pa.string(), True, _each(_pricing_unit, "kind", "per")),
    Column("ProviderName", pa.string(), False, _account),
    Column("PublisherName", pa.string(), False, _each(_publisher, "model_provider", "kind")),
    Column("ResourceId", pa.string(), True, _each(_either, "app_id", "dataset_id")),
    Column("ResourceName", pa.string(), True, _each(_either, "app_name", "dataset_name")),
    Column("ResourceType", pa.string(), True, _each(_resource, "app_id", "dataset_id")),
    Column("ServiceCategory", pa.string(), False, _always("AI and Machine Learning")),
    Column("ServiceName", pa.string(), False, _always("Dify")),
    Column("ServiceSubcategory", pa.string(), False, _always("Generative AI")),
    Column("SkuId", pa.string(), True, _each(_sku, *_MODEL)),
    Column("SkuMeter", pa.string(), True, _each(_noun, "kind")),
    Column("SkuPriceId", pa.string(), True, _each(_sku_price, *_MODEL, "currency", "per", "tier")),
    Column("SubAccountId", pa.string(), True, _each(_sub_account, "cost_centre", "department")),
    Column("SubAccountName", pa.string(), True, _each(_sub_account, "cost_centre", "department")),
    Column("Tags", pa.string(), True, _each(_tags, *_TAGS)),
    Column("x_CorrectsLine", pa.string(), True, _same("corrects_line")),
    Column("x_CorrectsPeriod", pa.string(), True, _same("corrects")),
    Column("x_Line", pa.string(), False, _same("id")),
    Column("x_Model", pa.string(), True, _same("model_name")),
    Column("x_PriceSource", pa.string(), False, _each(_source, "kind", "currency")),
)
"""FOCUS 1.2: the columns it demands and those we can fill, in its order; ours after them."""

VERSIONS: Mapping[str, tuple[Column, ...]] = {"1.2": FOCUS_1_2}


def focus(lines: pa.Table, period: Period, *, account: str, version: str = "1.2") -> pa.Table:
    """A row for each of these lines. Raises QueryError for a version there is none of, or an account not in ASCII."""
    return pa.concat_tables(pieces(lines, period, account=account, version=version))


def pieces(lines: pa.Table, period: Period, *, account: str, version: str = "1.2") -> Iterator[pa.Table]:
    """The same, a part after the other: one at least. Raises QueryError."""
    if version not in VERSIONS:
        raise QueryError(f"focus {version[:20]!r}: there are {', '.join(VERSIONS)}", field="focus", choices=VERSIONS)
    if not account.strip() or not account.isascii() or not account.isprintable():
        raise QueryError("account: wanted a name in ASCII letters", field="account")
    return _pieces(lines, period, account, version)


def _pieces(lines: pa.Table, period: Period, account: str, version: str) -> Iterator[pa.Table]:
    columns, currency = VERSIONS[version], _usual(lines["currency"])
    unpriced = str(lines["currency"].null_count)
    schema = pa.schema(
        [pa.field(each.name, each.kind, nullable=each.is_nullable) for each in columns],
        metadata={"focus_version": version, "unpriced_lines": unpriced},
    )
    for start in range(0, max(1, len(lines)), PIECE):
        charges = Charges(lines.slice(start, PIECE), period, account, currency)
        yield pa.Table.from_arrays([_column(each, charges) for each in columns], schema=schema)


def _usual(currencies: pa.ChunkedArray) -> str:
    """The currency of most lines; of several the first by its code."""
    counts = sorted((-each["counts"], each["values"]) for each in pc.value_counts(currencies.drop_null()).to_pylist())
    return counts[0][1] if counts else NO_CURRENCY


def _column(column: Column, charges: Charges) -> pa.ChunkedArray:
    found = column.filled(charges)
    return found if found.type == column.kind else found.cast(column.kind)
