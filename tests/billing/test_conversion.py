"""A bill read in another currency: by the rate of its last day, shown beside it, and kept nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import pytest

from collector.billing.book_file import parse_book
from collector.billing.statement import digest
from collector.errors import QueryError, SettingsError
from tests.billing.world import BOOK, World, at, january

RATE = """
[[rate]]
currency = "{}"
in = "{}"
rate = {}
on = {}
"""
RATES = (
    RATE.format("USD", "CNY", "7.10", "2025-12-31")
    + RATE.format("USD", "CNY", "7.1234", "2026-01-31")
    + RATE.format("USD", "CNY", "9.99", "2026-02-01")
    + RATE.format("CNY", "JPY", "20.5", "2026-01-02")
)


@pytest.fixture
def world() -> Iterator[World]:
    world = World(january(), book=BOOK + RATES)
    yield world
    world.close()


def test_by_the_rate_of_the_last_day(world: World):
    found = world.bills.converted("2026-01", "CNY")
    yuan, dollars = found.totals
    assert (str(yuan.rate), yuan.rate_on, str(yuan.converted)) == ("1", date(2026, 1, 31), "2.80")
    # 0.01604075 × 7.1234 = 0.114264...
    assert (str(dollars.rate), dollars.rate_on, str(dollars.converted)) == ("7.1234", date(2026, 1, 31), "0.11")
    assert (found.currency, str(found.total)) == ("CNY", "2.91")


def test_of_a_month_that_lasts_by_the_rate_of_today(world: World):
    world.now = at(1, 30)
    _, dollars = world.bills.converted("2026-01", "CNY").totals
    assert (dollars.rate_on, str(dollars.rate)) == (date(2025, 12, 31), "7.10")


def test_a_rate_that_is_missing_is_named(world: World):
    with pytest.raises(QueryError, match="no rate from USD to JPY of 2026-01-31 or before") as raised:
        world.bills.converted("2026-01", "JPY")
    assert raised.value.field == "in"
    with pytest.raises(QueryError, match="wanted a code of ISO 4217"):
        world.bills.converted("2026-01", "yuan")


def test_a_rate_changes_no_line(world: World):
    before = digest(world.bills.lines("2026-01"), at(1, 1), at(2, 1))
    world.book = parse_book(BOOK)
    assert digest(world.bills.lines("2026-01"), at(1, 1), at(2, 1)) == before


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (RATE.format("USD", "CNY", "0", "2026-01-31"), "line 5: rate: wanted more than 0"),
        (RATE.format("USD", "RMB", "7", "2026-01-31"), "line 4: in: wanted a code of ISO 4217"),
        (RATE.format("USD", "CNY", "7", "'May'"), "line 6: on: wanted a day"),
        (
            RATE.format("USD", "CNY", "7", "2026-01-31") * 2,
            "line 2 and line 8 both say what USD is in CNY on 2026-01-31",
        ),
        ('[[rate]]\ncurrency = "USD"\nin = "CNY"\nrate = 7', "line 1: on: missing"),
    ],
)
def test_a_mistake_is_told_with_its_line(written: str, said: str):
    with pytest.raises(SettingsError) as raised:
        parse_book(written)
    assert said in str(raised.value)
