"""FOCUS 1.2: its rules, checked on a bill with corrections, tiers, discounts, two currencies and Chinese names.

The rules are those of https://focus.finops.org/focus-specification/v1-2/ that apply to usage charges.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from collector.billing.book_file import parse_book
from collector.billing.exports import Billed, Form, written
from collector.billing.focus import VERSIONS, focus
from collector.billing.statement import totals
from collector.errors import QueryError
from collector.period import Period
from tests.billing.world import BOOK, GPT, PAYERS, World, asked, at, january

MANDATORY = frozenset(
    {
        "BilledCost",
        "BillingAccountId",
        "BillingAccountName",
        "BillingCurrency",
        "BillingPeriodEnd",
        "BillingPeriodStart",
        "ChargeCategory",
        "ChargeClass",
        "ChargeDescription",
        "ChargePeriodEnd",
        "ChargePeriodStart",
        "ContractedCost",
        "EffectiveCost",
        "InvoiceIssuerName",
        "ListCost",
        "PricingQuantity",
        "PricingUnit",
        "ProviderName",
        "PublisherName",
        "ServiceCategory",
        "ServiceName",
    }
)
NOT_NULL = frozenset(
    {
        "BilledCost",
        "BillingAccountId",
        "BillingCurrency",
        "BillingPeriodEnd",
        "BillingPeriodStart",
        "ChargeCategory",
        "ChargeFrequency",
        "ChargePeriodEnd",
        "ChargePeriodStart",
        "ContractedCost",
        "EffectiveCost",
        "InvoiceIssuerName",
        "ListCost",
        "ProviderName",
        "PublisherName",
        "ServiceCategory",
        "ServiceName",
        "ServiceSubcategory",
    }
)
NOT_NULL_OF_USAGE = frozenset(
    {
        "ConsumedQuantity",
        "ConsumedUnit",
        "ContractedUnitPrice",
        "ListUnitPrice",
        "PricingCategory",
        "PricingQuantity",
        "PricingUnit",
        "SkuId",
        "SkuMeter",
        "SkuPriceId",
    }
)
"""May be null in corrections only."""
COSTS = ("BilledCost", "ContractedCost", "EffectiveCost", "ListCost")
DECIMALS = (*COSTS, "ConsumedQuantity", "PricingQuantity", "ListUnitPrice", "ContractedUnitPrice")
ALLOWED = {
    "ChargeCategory": {"Usage", "Purchase", "Tax", "Credit", "Adjustment"},
    "ChargeClass": {None, "Correction"},
    "ChargeFrequency": {"One-Time", "Recurring", "Usage-Based"},
    "PricingCategory": {"Standard", "Dynamic", "Committed", "Other"},
    "ServiceCategory": {"AI and Machine Learning"},
    "ServiceSubcategory": {"Generative AI"},
}
Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def february() -> Iterator[tuple[pa.Table, pa.Table, Period]]:
    """Lines, FOCUS and period of a February that corrects January."""
    world = World(january(), payers=PAYERS.replace('"CC-2"', '"销售成本中心"'))
    world.bills.close("2026-01", "finance")
    world.put(*asked("late", "bo", at(1, 20), GPT, input_tokens=50, output_tokens=10))
    world.price('[[refund]]\ncall = "c1"\nreason = "answered twice"', instead=("input = 2.00", "input = 1.50"))
    lines = world.bills.lines("2026-02")
    period = Period.parse(since="2026-02", tz="Asia/Shanghai", now=at(3, 1))
    yield lines, focus(lines, period, account="Example Ltd"), period
    world.close()


@pytest.fixture(scope="module")
def usage() -> Iterator[pa.Table]:
    """January, with every kind of price."""
    more = '[[price]]\nmodel = "mystery"\ncurrency = "JPY"\nper = "1"\ninput = 0.5\nrequest = 2\nimage = 3'
    world = World(january(), book=BOOK + more)
    world.put(*asked("pic", "ana", at(1, 30), (GPT[0], "mystery"), input_tokens=1, is_vision=True))
    period = Period.parse(since="2026-01", tz="Asia/Shanghai", now=at(3, 1))
    yield focus(world.bills.lines("2026-01"), period, account="Example Ltd")
    world.close()


@pytest.fixture(params=["february", "usage"])
def table(request: pytest.FixtureRequest, february: tuple[pa.Table, pa.Table, Period], usage: pa.Table) -> pa.Table:
    return february[1] if request.param == "february" else usage


def test_names_and_order(table: pa.Table):
    names = table.column_names
    own = [name for name in names if name.startswith("x_")]
    assert not set(MANDATORY) - set(names)
    assert names == [*sorted(set(names) - set(own)), *sorted(own)], "alphabetical, own columns last"
    assert all(re.fullmatch(r"(x_)?([A-Z][a-z]+)+", name) and len(name) <= 50 for name in names), "Pascal case"


def test_types(table: pa.Table):
    for field in table.schema:
        wanted = pa.types.is_string
        if field.name in DECIMALS:
            wanted = pa.types.is_decimal
        elif field.name.endswith(("PeriodStart", "PeriodEnd")):
            wanted = pa.types.is_timestamp
        assert wanted(field.type), field


def test_nulls(table: pa.Table):
    assert {name for name in NOT_NULL if table[name].null_count} == set()
    is_usage = [value is None for value in table["ChargeClass"].to_pylist()]
    of_usage = table.filter(pa.array(is_usage))
    assert {name for name in NOT_NULL_OF_USAGE if of_usage[name].null_count} == set()
    assert {field.name for field in table.schema if not field.nullable} >= set(NOT_NULL)
    for row in table.to_pylist():
        assert (row["SubAccountId"] is None) == (row["SubAccountName"] is None)
        assert (row["ResourceId"] is None) == (row["ResourceType"] is None)
        assert not [name for name, value in row.items() if isinstance(value, str) and not value.strip()]


def test_allowed_values(table: pa.Table):
    for name, allowed in ALLOWED.items():
        assert set(table[name].to_pylist()) <= allowed
    assert all(re.fullmatch("[A-Z]{3}", code) for code in table["BillingCurrency"].to_pylist())
    units = set(table["PricingUnit"].to_pylist()) | set(table["ConsumedUnit"].to_pylist())
    assert units <= {"Tokens", "1000 Tokens", "1000000 Tokens", "Requests", "Images"}


def test_periods_are_half_open_in_utc(table: pa.Table):
    for row in table.to_pylist():
        begins, ends = row["ChargePeriodStart"], row["ChargePeriodEnd"]
        assert begins.utcoffset() == timedelta(0)
        assert ends - begins == timedelta(days=1)
        inside = row["BillingPeriodStart"] <= begins and ends <= row["BillingPeriodEnd"]
        assert inside == (row["ChargeClass"] is None), "a correction is of an earlier period"


def test_arithmetic_between_costs(table: pa.Table):
    for row in table.to_pylist():
        assert row["ListCost"] == row["ListUnitPrice"] * row["PricingQuantity"]
        assert row["ContractedCost"] == row["ContractedUnitPrice"] * row["PricingQuantity"]
        assert row["BilledCost"] == row["EffectiveCost"] == row["ContractedCost"]
        per = int((row["PricingUnit"].split() if " " in row["PricingUnit"] else ["1"])[0])
        assert row["ConsumedQuantity"] == row["PricingQuantity"] * per
        assert row["SkuPriceId"].startswith(f"{row['SkuId']}/")


def test_corrections_say_so_and_name_their_line(february: tuple[pa.Table, pa.Table, Period]):
    rows = february[1].to_pylist()
    found = [row for row in rows if row["ChargeClass"] == "Correction"]
    assert {row["x_CorrectsPeriod"] for row in found} == {"2026-01"}
    assert all(
        row["ChargeDescription"].startswith("Correction of 2026-01: ") and row["x_CorrectsLine"] for row in found
    )
    assert any(row["BilledCost"] < 0 for row in found)
    assert all(row["x_CorrectsPeriod"] is None for row in rows if row not in found)


def test_the_sums_are_those_of_the_statement(february: tuple[pa.Table, pa.Table, Period]):
    lines, table, _ = february
    sums: dict[str, Decimal] = {}
    for row in table.to_pylist():
        sums[row["BillingCurrency"]] = sums.get(row["BillingCurrency"], Decimal(0)) + row["BilledCost"]
    assert sums == {total.currency: total.amount for total in totals(lines)}


def test_accounts_are_ascii_and_names_stand_in_the_tags(february: tuple[pa.Table, pa.Table, Period]):
    rows = february[1].to_pylist()
    assert all((row["SubAccountName"] or "").isascii() and row["BillingAccountName"].isascii() for row in rows)
    tags = [json.loads(row["Tags"]) for row in rows]
    assert {tag["cost_centre"] for tag in tags} == {"销售成本中心"}
    (account,) = {row["SubAccountId"] for row in rows}
    assert re.fullmatch("payer-[0-9a-f]{12}", account)
    assert all(tag["department"] == "Sales" and tag["app_name"] == "Desk" for tag in tags)


def test_a_line_without_a_price_costs_nothing_and_says_so():
    world = World(january())
    period = Period.parse(since="2026-01", tz="Asia/Shanghai", now=at(3, 1))
    table = focus(world.bills.lines("2026-01"), period, account="x")
    found = [row for row in table.to_pylist() if row["x_Model"] == "mystery"]
    assert [(row["ConsumedQuantity"], row["ChargeDescription"]) for row in found] == [
        (123, "Input tokens of mystery (langgenius/openai/openai), without a price: costs nothing"),
        (45, "Output tokens of mystery (langgenius/openai/openai), without a price: costs nothing"),
    ]
    assert {(row[name], row["BillingCurrency"]) for row in found for name in COSTS} == {(Decimal(0), "USD")}
    assert {(row["x_PriceSource"], row["PricingCategory"]) for row in found} == {("none", "Other")}
    assert table.schema.metadata[b"unpriced_lines"] == b"2"
    world.book = parse_book('timezone = "Asia/Shanghai"')
    of_nothing = focus(world.bills.lines("2026-01"), period, account="x")
    assert set(of_nothing["BillingCurrency"].to_pylist()) == {"XXX"}, "no currency is involved"
    world.close()


def test_a_long_bill_is_made_piece_by_piece(
    february: tuple[pa.Table, pa.Table, Period], monkeypatch: pytest.MonkeyPatch
):
    lines, whole, period = february
    before = {form: written(Billed(lines, period, "Example Ltd", False), form) for form in (Form.FOCUS_CSV, Form.CSV)}
    monkeypatch.setattr("collector.billing.focus.PIECE", 2)
    monkeypatch.setattr("collector.billing.exports.BATCH", 3)
    billed = Billed(lines, period, "Example Ltd", False)
    assert {form: written(billed, form) for form in before} == before
    assert pq.read_table(io.BytesIO(written(billed, Form.FOCUS_PARQUET))).equals(whole)


def test_csv_has_plain_numbers_and_parquet_the_same(february: tuple[pa.Table, pa.Table, Period]):
    lines, table, period = february
    billed = Billed(lines, period, "Example Ltd", False)
    rows = list(csv.DictReader(io.StringIO(written(billed, Form.FOCUS_CSV).decode())))
    assert [row["x_Line"] for row in rows] == table["x_Line"].to_pylist()
    for name in DECIMALS:
        assert all(re.fullmatch(r"-?\d+(\.\d+)?", row[name]) for row in rows), name
        assert [Decimal(row[name]) for row in rows] == table[name].to_pylist()
    for name in ("ChargePeriodStart", "BillingPeriodEnd"):
        assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", row[name]) for row in rows)
        assert [datetime.fromisoformat(row[name]) for row in rows] == table[name].to_pylist()
    read = pq.read_table(io.BytesIO(written(billed, Form.FOCUS_PARQUET)))
    assert read.equals(table)
    assert read.schema.metadata[b"focus_version"] == b"1.2"


def test_lines_as_they_are(february: tuple[pa.Table, pa.Table, Period]):
    lines, _, period = february
    billed = Billed(lines, period, "x", False)
    assert pq.read_table(io.BytesIO(written(billed, Form.PARQUET))).equals(lines)
    rows = list(csv.DictReader(io.StringIO(written(billed, Form.CSV).decode())))
    assert [Decimal(row["amount"]) for row in rows] == lines["amount"].to_pylist()


def test_a_workbook_adds_up_and_keeps_every_digit(february: tuple[pa.Table, pa.Table, Period]):
    lines, _, period = february
    content = written(Billed(lines, period, "x", False), Form.XLSX)
    assert written(Billed(lines, period, "x", False), Form.XLSX) == content
    book = openpyxl.load_workbook(io.BytesIO(content))
    bill, sheet = (list(book[name].values) for name in ("账单 Bill", "明细 Lines"))
    assert bill[0][:5] == ("period", "department", "cost_centre", "person", "currency")
    assert bill[1][:5] == ("2026-02", "Sales", "销售成本中心", None, "USD")
    (total,) = totals(lines)
    assert bill[-1][1] == "total"
    assert Decimal(bill[-1][7]) == total.amount
    assert bill[-1][5] == pytest.approx(float(total.payable))
    assert [row[-1] for row in sheet[1:]] == [f"{amount:f}" for amount in lines["amount"].to_pylist()]
    quantity, paid = sheet[0].index("quantity"), sheet[0].index("amount")
    assert [row[quantity] for row in sheet[1:]] == lines["quantity"].to_pylist()
    assert sum(row[paid] for row in sheet[1:]) == pytest.approx(float(total.amount))


def test_a_workbook_runs_no_name(february: tuple[pa.Table, pa.Table, Period]):
    lines, _, period = february
    place = lines.schema.get_field_index("app_name")
    named = lines.set_column(place, "app_name", pa.array(["=1+1"] * len(lines)))
    book = openpyxl.load_workbook(io.BytesIO(written(Billed(named, period, "x", False), Form.XLSX)))
    names = next(book["明细 Lines"].iter_cols(min_col=8, max_col=8))[1:]
    assert {(cell.value, cell.data_type) for cell in names} == {("=1+1", "s")}


def test_an_app_called_like_a_formula_stays_a_name(february: tuple[pa.Table, pa.Table, Period]):
    lines, _, period = february
    place = lines.schema.get_field_index("app_name")
    named = lines.set_column(place, "app_name", pa.array(["=1+1"] * len(lines)))
    assert b"'=1+1" in written(Billed(named, period, "x", False), Form.CSV)


@pytest.mark.parametrize(("more", "said"), [({"version": "9"}, "there are 1.2"), ({"account": "公司"}, "ASCII")])
def test_what_cannot_be_written_says_why(february: tuple[pa.Table, pa.Table, Period], more: dict[str, str], said: str):
    with pytest.raises(QueryError, match=said):
        focus(february[0], february[2], **({"account": "x"} | more))
    assert "1.2" in VERSIONS


def test_a_bill_of_nothing_has_its_columns():
    world = World(book='timezone = "Asia/Shanghai"')
    assert parse_book("").prices == ()
    period = Period.parse(since="2026-01", tz="Asia/Shanghai", now=at(3, 1))
    table = focus(world.bills.lines("2026-01"), period, account="x")
    assert (len(table), set(MANDATORY) <= set(table.column_names)) == (0, True)
    world.close()
