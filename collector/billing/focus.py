"""Lines -> FOCUS, the FinOps Open Cost and Usage Specification: one row for each line that has a price.

What comes in are lines of `collector.bill_lines` and their billing period; what goes out is an Arrow table whose
columns are those of VERSIONS, in that order: a later version of the specification is another entry there. Amounts keep
every digit. Lines without a price are no charges, so they are left out. Nothing here writes a file.

Source: https://focus.finops.org/focus-specification/v1-2/
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from functools import cache
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from collector.bill_lines import AMOUNT
from collector.billing.book import TOKEN_KINDS, UNITS
from collector.errors import QueryError
from collector.period import Period

INSTANT = pa.timestamp("us", tz="UTC")
QUANTITY = pa.decimal128(38, 6)
PRICE = pa.decimal128(38, 16)

CORRECTION = "Correction"


@dataclass(frozen=True)
class Charges:
    """The lines of one billing period that have a price, and what a row says beside them."""

    lines: pa.Table
    period: Period
    account: str  # who runs Dify, in ASCII

    def __getitem__(self, name: str) -> Any:
        return self.lines[name]

    def all(self, value: object, kind: pa.DataType) -> pa.Array:
        """The same in every row."""
        return pa.repeat(pa.scalar(value, kind), len(self.lines))

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


def _description(provider: str | None, model: str | None, kind: str, corrects: str | None) -> str:
    told = f"{_noun(kind)} of {model or 'unknown model'}" + (f" ({provider})" if provider else "")
    return f"Correction of {corrects}: {told}" if corrects else told


def _noun(kind: str) -> str:
    """input -> Input tokens."""
    words = kind.replace("_", " ").capitalize()
    return f"{words} tokens" if kind in TOKEN_KINDS else f"{words}s"


def _sku(provider: str | None, model: str | None, kind: str) -> str:
    return f"{provider or 'unknown'}/{model or 'unknown'}/{kind}"


def _sku_price(provider: str | None, model: str | None, kind: str, per: int, tier: int) -> str:
    above = f"/above-{tier}" if tier else ""
    return f"{_sku(provider, model, kind)}/per-{per}{above}"


def _unit(kind: str, per: int = 1) -> str:
    noun = "Tokens" if kind in TOKEN_KINDS else {"request": "Requests", "image": "Images"}[kind]
    return noun if per == 1 else f"{per} {noun}"


def _publisher(provider: str | None) -> str:
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
    """In pricing units: exact, since these are powers of ten."""
    part = charges.each(_PARTS.__getitem__, pa.decimal128(7, 6), "per")
    return pc.multiply(charges["quantity"].cast(pa.decimal128(19, 0)), part)


def _priced(charges: Charges, unit: Any) -> Any:
    """A price of one as the price of a pricing unit."""
    return pc.multiply(unit, charges.each(Decimal, pa.decimal128(7, 0), "per"))


def _list_price(charges: Charges) -> Any:
    return _priced(charges, charges["unit_price"])


def _contracted_price(charges: Charges) -> Any:
    rest = pc.subtract(pa.scalar(Decimal("1.0000"), pa.decimal128(5, 4)), charges["discount"])
    return _priced(charges, pc.multiply(charges["unit_price"], rest.cast(pa.decimal128(5, 4))))


def _same(name: str) -> Filled:
    return lambda charges: charges[name]


def _each(made: Callable[..., object], *names: str) -> Filled:
    return lambda charges: charges.each(made, pa.string(), *names)


_MODEL = ("model_provider", "model_name", "kind")

FOCUS_1_2 = (
    Column("BilledCost", AMOUNT, False, _same("amount")),
    Column("BillingAccountId", pa.string(), False, _account),
    Column("BillingAccountName", pa.string(), True, _account),
    Column("BillingCurrency", pa.string(), False, _same("currency")),
    Column("BillingPeriodEnd", INSTANT, False, lambda charges: charges.all(charges.period.end, INSTANT)),
    Column("BillingPeriodStart", INSTANT, False, lambda charges: charges.all(charges.period.start, INSTANT)),
    Column("ChargeCategory", pa.string(), False, _always("Usage")),
    Column("ChargeClass", pa.string(), True, _each(lambda corrects: CORRECTION if corrects else None, "corrects")),
    Column("ChargeDescription", pa.string(), True, _each(_description, *_MODEL, "corrects")),
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
    Column("PricingCategory", pa.string(), True, _always("Standard")),
    Column("PricingQuantity", QUANTITY, True, _quantity),
    Column("PricingUnit", pa.string(), True, _each(_unit, "kind", "per")),
    Column("ProviderName", pa.string(), False, _account),
    Column("PublisherName", pa.string(), False, _each(_publisher, "model_provider")),
    Column("ResourceId", pa.string(), True, _same("app_id")),
    Column("ResourceName", pa.string(), True, _same("app_name")),
    Column("ResourceType", pa.string(), True, _each(lambda app: "Dify App" if app else None, "app_id")),
    Column("ServiceCategory", pa.string(), False, _always("AI and Machine Learning")),
    Column("ServiceName", pa.string(), False, _always("Dify")),
    Column("ServiceSubcategory", pa.string(), False, _always("Generative AI")),
    Column("SkuId", pa.string(), True, _each(_sku, *_MODEL)),
    Column("SkuMeter", pa.string(), True, _each(_noun, "kind")),
    Column("SkuPriceId", pa.string(), True, _each(_sku_price, *_MODEL, "per", "tier")),
    Column("SubAccountId", pa.string(), True, _each(_sub_account, "cost_centre", "department")),
    Column("SubAccountName", pa.string(), True, _each(_sub_account, "cost_centre", "department")),
    Column("Tags", pa.string(), True, _each(_tags, *_TAGS)),
    Column("x_CorrectsLine", pa.string(), True, _same("corrects_line")),
    Column("x_CorrectsPeriod", pa.string(), True, _same("corrects")),
    Column("x_Line", pa.string(), False, _same("id")),
    Column("x_Model", pa.string(), True, _same("model_name")),
)
"""FOCUS 1.2: the columns it demands and those we can fill, in its order; ours after them."""

VERSIONS: Mapping[str, tuple[Column, ...]] = {"1.2": FOCUS_1_2}


def focus(lines: pa.Table, period: Period, *, account: str, version: str = "1.2") -> pa.Table:
    """The charges among these lines. Raises QueryError for a version there is none of, or an account not in ASCII."""
    if version not in VERSIONS:
        raise QueryError(f"focus {version[:20]!r}: there are {', '.join(VERSIONS)}", field="focus", choices=VERSIONS)
    if not account.strip() or not account.isascii() or not account.isprintable():
        raise QueryError("account: wanted a name in ASCII letters", field="account")
    charges = Charges(lines.filter(pc.is_valid(lines["currency"])), period, account)
    columns = VERSIONS[version]
    schema = pa.schema(
        [pa.field(each.name, each.kind, nullable=each.is_nullable) for each in columns],
        metadata={"focus_version": version, "unpriced_lines_left_out": str(len(lines) - len(charges.lines))},
    )
    return pa.Table.from_arrays([_column(each, charges) for each in columns], schema=schema)


def _column(column: Column, charges: Charges) -> pa.ChunkedArray:
    found = column.filled(charges)
    return found if found.type == column.kind else found.cast(column.kind)
