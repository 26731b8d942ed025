"""Knowledge bases that cost by the day: prices, tiers, who pays and what was not looked at, worked out by hand.

Of "Manual" (workspace w1, of Research) January has, in Shanghai's days:

    1 Jan   10 documents   1,000 segments   250,000 characters   60,000 tokens
    2 Jan   12             1,200            300,000              70,000
    4 Jan   12             1,200            300,000              70,000    nobody looked on the third

and of "Prices" (workspace w2) 2 Jan 1 document, 50 segments, 900 tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from collector.billing.book_file import parse_book
from collector.billing.cloud_events import cloud_events
from collector.errors import SettingsError
from collector.period import Period
from collector.records import Dataset, DatasetDay, Record
from tests.billing.world import World, at, money, told

BOOK = """
timezone = "Asia/Shanghai"

[[knowledge]]
currency = "CNY"
per = "1k"
segments = 0.5
tokens = 0.01
tiers = [{ above = 100_000, tokens = 0.008 }]

[[knowledge]]
dataset = "Prices"
currency = "USD"
documents = 0.02
from = 2026-01-02

[[discount]]
department = "Research"
percent = 10
"""
PAYERS = '[[payer]]\nworkspace = "w1"\ndepartment = "Research"\n'
COLUMNS = ("day", "department", "dataset_name", "kind", "quantity", "unit_price", "amount")


def a_base(id: str, name: str, workspace: str) -> Dataset:
    return Dataset(id=id, name=name, workspace_id=workspace, source="console", seen_at=at(1, 4))


def a_look(base: str, workspace: str, day: int, *held: int) -> DatasetDay:
    documents, segments, characters, tokens = held
    return DatasetDay(
        id=f"{base}/2026-01-{day:02}",
        dataset_id=base,
        workspace_id=workspace,
        created_at=datetime(2026, 1, day, tzinfo=UTC),
        documents=documents,
        segments=segments,
        words=characters,
        tokens=tokens,
        source="console",
        seen_at=at(1, day),
    )


def shelves() -> Iterator[Record]:
    yield a_base("k1", "Manual", "w1")
    yield a_base("k2", "Prices", "w2")
    yield a_look("k1", "w1", 1, 10, 1000, 250_000, 60_000)
    yield a_look("k1", "w1", 2, 12, 1200, 300_000, 70_000)
    yield a_look("k1", "w1", 4, 12, 1200, 300_000, 70_000)
    yield a_look("k2", "w2", 2, 1, 50, 9_000, 900)


@pytest.fixture
def world() -> Iterator[World]:
    with closing(World(shelves(), book=BOOK, payers=PAYERS)) as made:
        yield made


def test_january_line_by_line(world: World):
    assert told(world.bills.lines("2026-01"), *COLUMNS) == [
        ("2026-01-01", "Research", "Manual", "stored_segments", 1000, "0.0005", "0.45"),
        ("2026-01-01", "Research", "Manual", "stored_tokens", 60_000, "0.00001", "0.54"),
        ("2026-01-02", "Research", "Manual", "stored_segments", 1200, "0.0005", "0.54"),
        ("2026-01-02", "Research", "Manual", "stored_tokens", 30_000, "0.000008", "0.216"),  # above 100,000
        ("2026-01-02", "Research", "Manual", "stored_tokens", 40_000, "0.00001", "0.36"),
        ("2026-01-02", None, "Prices", "stored_documents", 1, "0.02", "0.02"),
        ("2026-01-04", "Research", "Manual", "stored_segments", 1200, "0.0005", "0.54"),
        ("2026-01-04", "Research", "Manual", "stored_tokens", 70_000, "0.000008", "0.504"),
    ]
    # 3,400 segments and 200,000 tokens, less a tenth
    assert money(world.bills.lines("2026-01")) == {"CNY": "3.15", "USD": "0.02"}


def test_the_bill_says_what_nobody_looked_at(world: World):
    (warning,) = world.bills.statement("2026-01").warnings
    assert warning == "1 days of knowledge bases were not looked at: what they held is not charged"


def test_an_entry_that_begins_later_counts_from_its_day(world: World):
    world.put(a_look("k2", "w2", 1, 3, 40, 9_000, 900))
    rows = told(world.bills.lines("2026-01"), "day", "dataset_id", "kind", "currency", "quantity")
    assert [row for row in rows if row[1] == "k2"] == [
        ("2026-01-01", "k2", "stored_segments", "CNY", 40),
        ("2026-01-01", "k2", "stored_tokens", "CNY", 900),
        ("2026-01-02", "k2", "stored_documents", "USD", 1),
    ]


def test_a_book_without_prices_of_storage_has_no_lines_of_it(world: World):
    world.book = parse_book('timezone = "Asia/Shanghai"')
    assert len(world.bills.lines("2026-01")) == 0


def test_what_was_told_after_closing_is_corrected_and_the_measure_says_the_same(world: World):
    closed = world.bills.close("2026-01", "finance")
    world.put(a_look("k1", "w1", 3, 12, 1200, 300_000, 70_000))
    found = told(world.bills.lines("2026-02"), "corrects", "day", "kind", "dataset_name", "quantity", "amount")
    assert found == [
        ("2026-01", "2026-01-03", "stored_segments", "Manual", 1200, "0.54"),
        ("2026-01", "2026-01-03", "stored_tokens", "Manual", 70_000, "0.504"),
    ]
    assert world.bills.is_intact("2026-01")
    assert world.bills.close("2026-01", "again") == closed
    rows = world.asked("rated_cost_cny", by=["dataset_name", "corrects"], since="2026-01", grain="month").rows
    assert [(row["dataset_name"], row["rated_cost_cny"]) for row in rows] == [("Manual", Decimal("3.15"))]


def test_events_name_the_knowledge_base(world: World):
    period = Period.parse(since="2026-01", tz="Asia/Shanghai", now=at(3, 1))
    found = [event["data"] for event in cloud_events(world.bills.lines("2026-01"), period, "Dify")]
    assert {(each["dataset_id"], each["dataset_name"]) for each in found} == {("k1", "Manual"), ("k2", "Prices")}
    assert not any("model_name" in each for each in found)


@pytest.mark.parametrize("column", ["dataset_id", "dataset_name"])
def test_what_was_kept_is_sealed_too(world: World, column: str):
    world.bills.close("2026-01", "finance")
    world.store._writer.run(f"UPDATE bill_line SET {column} = 'other' WHERE kind = 'stored_documents'")  # type: ignore[attr-defined]
    assert not world.bills.is_intact("2026-01")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ('currency = "CNY"', "line 1: costs nothing; wanted at least one of documents, segments, characters, tokens"),
        ('currency = "CNY"\nbytes = 1', "line 3: bytes: is no field of a knowledge"),
        ("documents = 1", "line 1: currency: wanted a code of ISO 4217 such as USD or CNY, missing"),
        (
            'currency = "CNY"\ntokens = 1\ntiers = [{ above = 5, segments = 1 }]',
            "line 4: tiers: above 5: wanted prices",
        ),
        ('currency = "CNY"\nper = "1G"\ntokens = 1', "line 3: per: wanted 1, 1k or 1M tokens, got '1G'"),
    ],
)
def test_mistakes_are_named_with_their_line(wrong: str, said: str):
    with pytest.raises(SettingsError) as error:
        parse_book(f"[[knowledge]]\n{wrong}")
    assert said in str(error.value)
