"""What has no price in the book is charged at Dify's own, where the book says so: marked, and to the last digit."""

from __future__ import annotations

from contextlib import closing
from decimal import Decimal

import pytest

from collector.billing.book_file import parse_book
from collector.errors import SettingsError
from tests.billing.world import BOOK, GPT, MYSTERY, World, asked, at, january, money, told

FALLBACK = '\n[fallback]\nuse = "reported"\n'
COLUMNS = (
    "department",
    "model_name",
    "kind",
    "currency",
    "quantity",
    "unit_price",
    "discount",
    "list_amount",
    "amount",
)


def world(book: str) -> World:
    """January, and four calls of a model without a price, of which Dify tells the cost of three."""
    made = World(january(), book=book)
    usd, cny = {"currency": "USD"}, {"currency": "CNY"}
    made.put(
        *asked("r1", "ana", at(1, 20), MYSTERY, input_tokens=10, output_tokens=2, cost=Decimal("0.000000001"), **usd)
    )
    made.put(*asked("r2", "ana", at(1, 20), MYSTERY, input_tokens=5, cost=Decimal("1.234567891"), **usd))
    made.put(*asked("r3", "bo", at(1, 20), MYSTERY, input_tokens=7, cost=Decimal("3.5"), **cny))
    made.put(*asked("r4", "bo", at(1, 20), MYSTERY, input_tokens=9, cost=Decimal(0), **usd))
    made.put(*asked("r5", "bo", at(1, 20), GPT, input_tokens=1000, cost=Decimal(99), **usd))
    return made


def of_the_20th(world: World) -> list[tuple[object, ...]]:
    return [row[1:] for row in told(world.bills.lines("2026-01"), "day", *COLUMNS) if row[0] == "2026-01-20"]


def test_off_unless_the_book_says_so():
    with closing(world(BOOK)) as made:
        assert of_the_20th(made) == [
            ("Research", "mystery", "input", None, 15, None, None, "0", "0"),
            ("Research", "mystery", "output", None, 2, None, None, "0", "0"),
            ("Sales", "gpt-4o", "input", "USD", 1000, "0.000002", "0", "0.002", "0.002"),
            ("Sales", "mystery", "input", None, 16, None, None, "0", "0"),
        ]
        assert made.bills.statement("2026-01").charged_as_reported == []


def test_what_dify_says_is_charged_as_a_line_of_its_own():
    with closing(world(BOOK + FALLBACK)) as made:
        assert of_the_20th(made) == [
            # 0.000000001 + 1.234567891, less 12.5 %
            ("Research", "mystery", "reported", "USD", 17, None, "0.125", "1.234567892", "1.0802469055"),
            ("Sales", "gpt-4o", "input", "USD", 1000, "0.000002", "0", "0.002", "0.002"),  # the book counts
            ("Sales", "mystery", "input", None, 9, None, None, "0", "0"),  # a cost of zero is no price
            ("Sales", "mystery", "reported", "CNY", 7, None, "0", "3.5", "3.5"),
        ]
        found = made.bills.statement("2026-01")
        assert [(each.currency, f"{each.amount.normalize():f}") for each in found.charged_as_reported] == [
            ("CNY", "3.5"),
            ("USD", "1.0802469055"),
        ]
        assert money(made.bills.lines("2026-01"))["USD"] == str(Decimal("0.01604075") + Decimal("1.0822469055"))
        (row,) = made.asked("rated_cost_usd", since="2026-01", by=["charge_kind"], where=["charge_kind:reported"]).rows
        assert row["rated_cost_usd"] == Decimal("1.0802469055")


def test_a_fallback_that_comes_after_closing_is_a_correction():
    with closing(world(BOOK)) as made:
        made.bills.close("2026-01", "finance")
        made.book = parse_book(BOOK + FALLBACK)
        found = told(made.bills.lines("2026-02"), "corrects", "department", "kind", "quantity", "amount")
        assert [row[1:] for row in found if row[0]] == [
            ("Research", "input", -15, "0"),
            ("Research", "output", -2, "0"),
            ("Research", "reported", 17, "1.0802469055"),
            ("Sales", "input", -7, "0"),
            ("Sales", "reported", 7, "3.5"),
        ]


def test_what_stands_below_it_by_mistake_is_named():
    with pytest.raises(SettingsError, match=r"timezone: belongs above \[fallback\]"):
        parse_book(FALLBACK + 'timezone = "UTC"')


@pytest.mark.parametrize("wrong", ['[fallback]\nuse = "dify"', "[fallback]", 'fallback = "reported"'])
def test_a_fallback_is_spelled_one_way(wrong: str):
    with pytest.raises(SettingsError, match='fallback: wanted use = "reported"'):
        parse_book(wrong)
