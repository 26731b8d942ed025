"""Every rule of FOCUS 1.2 that applies to usage charges, by column, held against bills with all that a bill can have.

A rule is one sentence of https://focus.finops.org/focus-specification/v1-2/; the table says which hold, and MET what
must be among the rows for them to mean anything. What does not apply: taxes, purchases, credits, commitment discounts,
capacity reservations, regions and zones, invoices of a provider, prices in another currency than that of the bill.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypeAlias

import pyarrow as pa
import pytest

from collector.billing.book import REPORTED
from collector.billing.currency import CURRENCIES
from collector.billing.focus import NO_CURRENCY, focus
from collector.period import Period
from tests.billing import test_fallback, test_storage
from tests.billing.world import BOOK, GPT, MYSTERY, PAYERS, World, asked, at, january

Row: TypeAlias = Mapping[str, Any]
Rule: TypeAlias = Callable[[Row], bool]


def is_usage(row: Row) -> bool:
    """A charge that is no correction."""
    return row["ChargeCategory"] == "Usage" and row["ChargeClass"] is None


def is_correction(row: Row) -> bool:
    return row["ChargeClass"] == "Correction"


def is_decimal(name: str) -> Rule:
    return lambda row: row[name] is None or (isinstance(row[name], Decimal) and row[name].is_finite())


def is_never_null(name: str) -> Rule:
    return lambda row: row[name] is not None and row[name] != ""


def is_told_of_usage(name: str) -> Rule:
    return lambda row: not is_usage(row) or row[name] is not None


def is_one_of(name: str, *allowed: str | None) -> Rule:
    return lambda row: row[name] in allowed


def is_not_negative(name: str) -> Rule:
    return lambda row: row[name] is None or row[name] >= 0


def multiplies(unit: str, cost: str) -> Rule:
    """Corrections of ours multiply as well, though they need not."""
    return lambda row: row[unit] is None or row[unit] * row["PricingQuantity"] == row[cost]


def goes_with(name: str, other: str) -> Rule:
    return lambda row: (row[name] is None) == (row[other] is None)


def is_unit(name: str) -> Rule:
    """`<plural>`, `<singular>-<plural>`, either with a positive whole number before it."""
    pattern = re.compile(r"([1-9]\d* )?([A-Z][a-z]+-)?[A-Z][a-z]+s")
    return lambda row: row[name] is None or pattern.fullmatch(row[name]) is not None


def is_instant(name: str) -> Rule:
    return lambda row: isinstance(row[name], datetime) and row[name].utcoffset() == UTC.utcoffset(None)


COSTS = ("BilledCost", "ContractedCost", "EffectiveCost", "ListCost")
PRICES = ("ContractedUnitPrice", "ListUnitPrice")
QUANTITIES = ("ConsumedQuantity", "PricingQuantity")
UNITS = ("ConsumedUnit", "PricingUnit")
PERIODS = ("BillingPeriodEnd", "BillingPeriodStart", "ChargePeriodEnd", "ChargePeriodStart")
NEVER_NULL = (
    *("BillingAccountId", "BillingCurrency", "ChargeCategory", "ChargeFrequency", "InvoiceIssuerName", "ProviderName"),
    *("PublisherName", "ServiceCategory", "ServiceName", "ServiceSubcategory"),
)
OF_USAGE = ("PricingCategory", "PricingQuantity", "PricingUnit", "SkuId", "SkuPriceId", *PRICES, "ConsumedUnit")

RULES: dict[str, Rule] = {
    **{f"{name}: a number, exact": is_decimal(name) for name in (*COSTS, *PRICES, *QUANTITIES)},
    **{f"{name}: never null": is_never_null(name) for name in (*COSTS, *NEVER_NULL, *PERIODS)},
    **{f"{name}: never null of usage that is no correction": is_told_of_usage(name) for name in OF_USAGE},
    **{f"{name}: not below zero": is_not_negative(name) for name in PRICES},
    **{f"{name}: as UnitFormat says": is_unit(name) for name in UNITS},
    **{f"{name}: an instant in UTC": is_instant(name) for name in PERIODS},
    "BillingCurrency: of ISO 4217": lambda row: row["BillingCurrency"] in CURRENCIES | {NO_CURRENCY},
    "BillingPeriodStart: before BillingPeriodEnd": lambda row: row["BillingPeriodStart"] < row["BillingPeriodEnd"],
    "ChargeCategory: one of those allowed": is_one_of("ChargeCategory", "Usage"),
    "ChargeClass: Correction or null": is_one_of("ChargeClass", None, "Correction"),
    "ChargeClass: Correction of what was billed in an earlier period, and of nothing else": lambda row: (
        is_correction(row) == (row["ChargePeriodStart"] < row["BillingPeriodStart"]) == bool(row["x_CorrectsPeriod"])
    ),
    "ChargeDescription: should not be null": is_never_null("ChargeDescription"),
    "ChargeFrequency: usage is Usage-Based": is_one_of("ChargeFrequency", "Usage-Based"),
    "ChargePeriodStart: before ChargePeriodEnd": lambda row: row["ChargePeriodStart"] < row["ChargePeriodEnd"],
    "ChargePeriod: of usage within the BillingPeriod": lambda row: (
        is_correction(row)
        or row["BillingPeriodStart"] <= row["ChargePeriodStart"] < row["ChargePeriodEnd"] <= row["BillingPeriodEnd"]
    ),
    "ConsumedQuantity: above zero of usage that is no correction": lambda row: (
        is_correction(row) or row["ConsumedQuantity"] > 0
    ),
    "ConsumedQuantity: goes with ConsumedUnit": goes_with("ConsumedQuantity", "ConsumedUnit"),
    "ContractedCost: is ContractedUnitPrice × PricingQuantity": multiplies("ContractedUnitPrice", "ContractedCost"),
    "ContractedUnitPrice: not above ListUnitPrice": lambda row: row["ContractedUnitPrice"] <= row["ListUnitPrice"],
    "EffectiveCost: without prepaid purchases what is billed": lambda row: row["EffectiveCost"] == row["BilledCost"],
    "ListCost: is ListUnitPrice × PricingQuantity": multiplies("ListUnitPrice", "ListCost"),
    "PricingCategory: Standard at agreed rates, Other where none is": lambda row: (
        row["PricingCategory"] == ("Standard" if row["x_PriceSource"] == "book" else "Other")
    ),
    "PricingQuantity: goes with PricingUnit": goes_with("PricingQuantity", "PricingUnit"),
    "PricingUnit: not a currency": lambda row: row["PricingUnit"].split()[-1] not in CURRENCIES,
    "ResourceName: null without ResourceId": lambda row: row["ResourceId"] is not None or row["ResourceName"] is None,
    "ResourceType: goes with ResourceId": goes_with("ResourceType", "ResourceId"),
    "ServiceCategory: one of those allowed": is_one_of("ServiceCategory", "AI and Machine Learning"),
    "ServiceSubcategory: of its ServiceCategory": is_one_of("ServiceSubcategory", "Generative AI"),
    "SkuMeter: goes with SkuId": goes_with("SkuMeter", "SkuId"),
    "SkuPriceId: has one SkuId": lambda row: row["SkuPriceId"].startswith(f"{row['SkuId']}/"),
    "SkuPriceId: without amounts, currency, contract or account": lambda row: (
        row["BillingCurrency"] not in row["SkuPriceId"]
    ),
    "SubAccountName: null without SubAccountId": goes_with("SubAccountName", "SubAccountId"),
    "Tags: an object of text": lambda row: all(isinstance(value, str) for value in json.loads(row["Tags"]).values()),
    "text: no blanks around it, never empty": lambda row: all(
        value == value.strip() != "" for value in row.values() if isinstance(value, str)
    ),
    "accounts: ASCII": lambda row: all(
        (row[name] or "").isascii() for name in ("BillingAccountId", "BillingAccountName", "SubAccountId")
    ),
}

MET: dict[str, Callable[[Row], bool]] = {
    "usage": is_usage,
    "a correction": is_correction,
    "a correction that takes back": lambda row: is_correction(row) and row["BilledCost"] < 0,
    "a reported charge that is taken back": lambda row: (
        is_correction(row) and row["x_PriceSource"] == REPORTED and row["BilledCost"] < 0
    ),
    "a line without a price": lambda row: row["x_PriceSource"] == "none",
    "a tier": lambda row: "/above-" in row["SkuPriceId"],
    "a discount": lambda row: row["ContractedCost"] < row["ListCost"],
    "a price by the call": lambda row: row["PricingUnit"] == "Requests",
    "a price of a thousand": lambda row: row["PricingUnit"].startswith("1000 "),
    "a knowledge base": lambda row: row["ResourceType"] == "Dify Knowledge Base",
    "a name that is not ASCII": lambda row: not row["Tags"].isascii(),
}
"""What must be among the rows."""


def month(name: str) -> Period:
    return Period.parse(since=name, tz="Asia/Shanghai", now=at(4, 1))


def bills() -> Iterator[pa.Table]:
    shelves = test_storage.BOOK.partition("[[discount]]")[0].replace('timezone = "Asia/Shanghai"', "")
    jpy = '[[price]]\nmodel = "drawing"\ncurrency = "JPY"\nper = "1"\ninput = 0.5\nrequest = 2\nimage = 3\n'
    book = BOOK + shelves + jpy
    payers = PAYERS.replace('"CC-2"', '"销售成本中心"')
    with closing(World([*january(), *test_storage.shelves()], book=book, payers=payers)) as world:
        world.put(*asked("pic", "ana", at(1, 30), (GPT[0], "drawing"), input_tokens=1, is_vision=True))
        world.price(shelves, jpy, test_fallback.FALLBACK)
        told = {"input_tokens": 3, "cost": Decimal("0.25"), "currency": "USD"}
        world.put(*asked("told", "bo", at(1, 30), MYSTERY, **told), *asked("more", "bo", at(2, 1), MYSTERY, **told))
        yield focus(world.bills.lines("2026-01"), month("2026-01"), account="Example Ltd")
        world.bills.close("2026-01", "finance")
        world.price(shelves, jpy, '[[refund]]\ncall = "c1"\nreason = "twice"', instead=("input = 2.00", "input = 1.50"))
        world.put(*asked("late", "bo", at(1, 20), GPT, input_tokens=50, output_tokens=10))
        yield focus(world.bills.lines("2026-02"), month("2026-02"), account="Example Ltd")


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return [row for table in bills() for row in table.to_pylist()]


@pytest.mark.parametrize("what", MET)
def test_the_bills_have(rows: list[Row], what: str):
    assert any(MET[what](row) for row in rows)


@pytest.mark.parametrize("rule", RULES)
def test_rule(rows: list[Row], rule: str):
    assert [row["ChargeDescription"] for row in rows if not RULES[rule](row)] == []


@pytest.mark.parametrize(
    ("rule", "broken"),
    [
        ("ListCost: is ListUnitPrice × PricingQuantity", {"ListCost": Decimal(7)}),
        ("ListUnitPrice: not below zero", {"ListUnitPrice": Decimal(-1)}),
        ("BillingCurrency: of ISO 4217", {"BillingCurrency": "usd"}),
        ("PricingUnit: as UnitFormat says", {"PricingUnit": "1,000 tokens"}),
        ("ChargePeriodStart: an instant in UTC", {"ChargePeriodStart": datetime(2026, 1, 1)}),
        ("SkuPriceId: never null of usage that is no correction", {"SkuPriceId": None}),
    ],
)
def test_a_broken_row_is_found(rows: list[Row], rule: str, broken: dict[str, object]):
    row = next(row for row in rows if is_usage(row))
    assert not RULES[rule]({**row, **broken})


def test_one_price_id_has_one_unit_and_every_sku_one_meter(rows: list[Row]):
    units = {(row["SkuPriceId"], row["PricingUnit"]) for row in rows}
    meters = {(row["SkuId"], row["SkuMeter"]) for row in rows}
    assert len({price for price, _ in units}) == len(units)
    assert len({sku for sku, _ in meters}) == len(meters)
