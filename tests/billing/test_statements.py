"""Bills worked out by hand, to the last digit: usage, closing, what comes late, and prices put right."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal

import pytest

from collector.billing.statement import Statement
from collector.errors import QueryError
from tests.billing.world import BOOK, GPT, MYSTERY, PAYERS, QWEN_MAX, World, asked, at, january, money, told
from tests.builders import a_call, a_request

JANUARY = [
    # day, department, model, kind, quantity, unit price, amount after discount
    ("2026-01-03", "Research", "qwen-max", "input", 600_000, "0.0000024", "1.26"),
    ("2026-01-03", "Research", "qwen-max", "output", 1000, "0.0000096", "0.0084"),
    ("2026-01-04", "Sales", "qwen-max", "input", 200_000, "0.000002", "0.4"),  # above a million
    ("2026-01-04", "Sales", "qwen-max", "input", 400_000, "0.0000024", "0.96"),
    ("2026-01-05", "Research", "gpt-4o", "cached_input", 400, "0.00000125", "0.0004375"),
    ("2026-01-05", "Research", "gpt-4o", "input", 600, "0.0000025", "0.0013125"),
    ("2026-01-05", "Research", "gpt-4o", "output", 200, "0.00001", "0.00175"),
    ("2026-01-07", "Research", "qwen-max", "input", 100_000, "0.000002", "0.175"),
    ("2026-01-08", "Sales", "claude-sonnet-4", "cached_input", 5000, "0.0000003", "0.0015"),
    ("2026-01-08", "Sales", "claude-sonnet-4", "input", 1000, "0.000003", "0.003"),
    ("2026-01-08", "Sales", "claude-sonnet-4", "output", 300, "0.000015", "0.0045"),
    ("2026-01-09", "Research", "mystery", "input", 123, None, "0"),
    ("2026-01-09", "Research", "mystery", "output", 45, None, "0"),
    ("2026-01-10", "Research", "gpt-4o", "input", 100, "0.0000025", "0.00021875"),  # nested: once
    ("2026-01-10", "Research", "gpt-4o", "output", 50, "0.00001", "0.0004375"),
    ("2026-01-15", "Sales", "gpt-4o", "input", 333, "0.0000025", "0.0008325"),
    ("2026-01-15", "Sales", "gpt-4o", "output", 77, "0.00001", "0.00077"),
    ("2026-01-16", "Sales", "gpt-4o", "input", 333, "0.000002", "0.000666"),  # the cheaper price
    ("2026-01-16", "Sales", "gpt-4o", "output", 77, "0.000008", "0.000616"),
]


@pytest.fixture
def world() -> Iterator[World]:
    world = World(january())
    yield world
    world.close()


def by_department(statement: Statement) -> dict[tuple[str | None, str], str]:
    return {(group.by["department"], group.currency): f"{group.amount.normalize():f}" for group in statement.groups}


def test_january_line_by_line(world: World):
    assert told(world.bills.lines("2026-01")) == JANUARY


def test_january_as_a_statement(world: World):
    found = world.bills.statement("2026-01")
    assert (found.state, found.starts_at, found.ends_at) == ("settling", at(1, 1, 0), at(2, 1, 0))
    assert [(each.currency, str(each.amount.normalize()), str(each.payable)) for each in found.totals] == [
        ("CNY", "2.8034", "2.80"),
        ("USD", "0.01604075", "0.02"),
    ]
    assert [f"{each.list_amount.normalize():f}" for each in found.totals] == ["3.0096", "0.0166345"]
    assert by_department(found) == {
        ("Research", "CNY"): "1.4434",
        ("Sales", "CNY"): "1.36",
        ("Research", "USD"): "0.00415625",
        ("Sales", "USD"): "0.0118845",
    }
    assert [(each.model_name, each.kind, each.tokens) for each in found.unpriced] == [
        ("mystery", "input", 123),
        ("mystery", "output", 45),
    ]
    assert (found.calls, found.unmeasured) == (9, 0)


def test_february_begins_at_midnight_in_shanghai(world: World):
    assert told(world.bills.lines("2026-02")) == [
        ("2026-02-01", "Sales", "gpt-4o", "input", 1000, "0.000002", "0.002"),
    ]


def test_a_late_fact_is_billed_where_it_is_open_and_says_what_it_corrects(world: World):
    world.bills.close("2026-01", "finance")
    world.put(*asked("late", "bo", at(1, 20), GPT, input_tokens=50, output_tokens=10))

    assert told(world.bills.lines("2026-01")) == JANUARY, "closed is closed"
    february = world.bills.lines("2026-02")
    assert told(february, "period", "corrects", "day", "kind", "quantity", "amount") == [
        ("2026-02", "2026-01", "2026-01-20", "input", 50, "0.0001"),
        ("2026-02", "2026-01", "2026-01-20", "output", 10, "0.00008"),
        ("2026-02", None, "2026-02-01", "input", 1000, "0.002"),
    ]
    (total,) = world.bills.statement("2026-02").totals
    assert (total.usage, total.corrections, total.amount) == (Decimal("0.002"), Decimal("0.00018"), Decimal("0.00218"))


def test_a_late_call_that_fills_a_tier_moves_those_after_it(world: World):
    world.bills.close("2026-01", "finance")
    world.put(*asked("late", "bo", at(1, 2), QWEN_MAX, input_tokens=100_000))
    assert told(world.bills.lines("2026-02"), "corrects", "day", "quantity", "unit_price", "amount")[1:] == [
        ("2026-01", "2026-01-04", -100_000, "0.0000024", "-0.24"),
        ("2026-01", "2026-01-04", 100_000, "0.000002", "0.2"),
        (None, "2026-02-01", 1000, "0.000002", "0.002"),
    ]
    assert money(world.bills.lines("2026-02")) == {"CNY": "0.2", "USD": "0.002"}


def test_a_refunded_call_is_taken_back_to_the_digit(world: World):
    world.bills.close("2026-01", "finance")
    lines = {(row[0], row[1]): row[2] for row in told(world.bills.lines("2026-01"), "day", "kind", "id")}
    world.price('[[refund]]\ncall = "m2"\nreason = "answered twice"')
    assert told(world.bills.lines("2026-02"), "corrects", "day", "kind", "quantity", "amount", "corrects_line")[:2] == [
        ("2026-01", "2026-01-15", "input", -333, "-0.0008325", lines["2026-01-15", "input"]),
        ("2026-01", "2026-01-15", "output", -77, "-0.00077", lines["2026-01-15", "output"]),
    ]


def test_a_call_that_is_no_more_is_taken_back_too(world: World):
    world.bills.close("2026-01", "finance")
    world.forget("c1")
    found = [row for row in told(world.bills.lines("2026-02"), "corrects", "kind", "amount") if row[0]]
    assert found == [
        ("2026-01", "cached_input", "-0.0015"),
        ("2026-01", "input", "-0.003"),
        ("2026-01", "output", "-0.0045"),
    ]


def test_a_price_put_right_bills_the_difference(world: World):
    world.bills.close("2026-01", "finance")
    world.price(instead=("input = 2.00", "input = 1.50"))
    assert told(world.bills.lines("2026-02"), "corrects", "day", "quantity", "unit_price", "amount") == [
        ("2026-01", "2026-01-16", -333, "0.000002", "-0.000666"),
        ("2026-01", "2026-01-16", 333, "0.0000015", "0.0004995"),
        (None, "2026-02-01", 1000, "0.0000015", "0.0015"),
    ]


def test_a_price_found_later_bills_what_had_none(world: World):
    world.bills.close("2026-01", "finance")
    world.price('[[price]]\nmodel = "mystery"\ncurrency = "EUR"\nper = "1"\ninput = 0.01\nrequest = 0.5')
    found = told(world.bills.lines("2026-02"), "corrects", "kind", "currency", "quantity", "amount")
    assert found[:3] == [
        ("2026-01", "input", "EUR", 123, "1.07625"),  # 1.23 less 12.5 %
        ("2026-01", "input", None, -123, "0"),
        ("2026-01", "request", "EUR", 1, "0.4375"),
    ]
    assert world.bills.statement("2026-02").unpriced == [], "the output stays in January's list"


def test_who_pays_put_right_moves_the_money_and_changes_no_sum(world: World):
    world.bills.close("2026-01", "finance")
    before = money(world.bills.lines("2026-02"))
    world.pay(PAYERS.replace('"Sales"', '"Support"'))
    found = world.bills.statement("2026-02")
    assert by_department(found) == {
        ("Sales", "CNY"): "-1.36",
        ("Support", "CNY"): "1.36",
        ("Sales", "USD"): "-0.0118845",
        ("Support", "USD"): "0.0138845",
    }
    assert money(world.bills.lines("2026-02")) == before | {"CNY": "0"}


def test_corrections_are_billed_once(world: World):
    world.bills.close("2026-01", "finance")
    world.put(*asked("late", "bo", at(1, 20), GPT, input_tokens=50, output_tokens=10))
    world.now = at(3, 2)
    world.bills.close("2026-02", "finance")
    assert told(world.bills.lines("2026-03")) == []
    world.put(*asked("later", "bo", at(1, 20, 13), GPT, input_tokens=7))
    world.put(*asked("latest", "bo", at(2, 2), GPT, input_tokens=3))
    assert told(world.bills.lines("2026-03"), "corrects", "day", "quantity") == [
        ("2026-01", "2026-01-20", 7),
        ("2026-02", "2026-02-02", 3),
    ]


def test_only_the_first_period_that_is_not_closed_bills_corrections(world: World):
    world.bills.close("2026-01", "finance")
    world.put(*asked("late", "bo", at(1, 20), GPT, input_tokens=50))
    world.now = at(3, 2)
    assert [row[0] for row in told(world.bills.lines("2026-02"), "corrects")] == ["2026-01", None]
    assert told(world.bills.lines("2026-03")) == []


def test_closing_twice_is_closing_once(world: World):
    first = world.bills.close("2026-01", "finance")
    world.put(*asked("late", "bo", at(1, 20), GPT, input_tokens=50))
    world.now += timedelta(days=1)
    assert world.bills.close("2026-01", "somebody else") == first
    assert told(world.bills.lines("2026-01")) == JANUARY
    assert world.store.rows("SELECT count(*) FROM bill_period") == [(1,)]


@pytest.mark.parametrize(
    ("period", "said"),
    [
        ("2026-02", "2026-02 is not over; it can be closed from 2026-02-28T16:00:00"),
        ("2025-12", "2026-01 is closed already"),
        ("2026-13", "wanted a month such as 2026-01"),
        ("all", "wanted a month such as 2026-01"),
    ],
)
def test_a_period_that_cannot_be_closed_says_why(world: World, period: str, said: str):
    world.bills.close("2026-01", "finance")
    with pytest.raises(QueryError, match=said):
        world.bills.close(period, "finance")


def test_no_period_is_left_out(world: World):
    world.bills.close("2026-01", "finance")
    world.now = at(4, 2)
    with pytest.raises(QueryError, match="2026-01 was closed last; close the periods between it and 2026-03 first"):
        world.bills.close("2026-03", "finance")


def test_the_list_of_periods(world: World):
    world.bills.close("2026-01", "finance")
    found = world.bills.periods()
    assert [(each.period, each.state, each.closed_by) for each in found] == [
        ("2026-01", "closed", "finance"),
        ("2026-02", "open", None),
    ]
    world.now = at(3, 1)
    assert [each.state for each in world.bills.periods()] == ["closed", "settling", "open"]


def test_a_call_that_told_a_total_only_is_listed_and_one_that_told_nothing_is_counted(world: World):
    nothing = dict.fromkeys(("input_tokens", "output_tokens", "tokens"))
    world.put(a_call(**{**nothing, "id": "v1", "created_at": at(2, 2), "run_id": None, "cost": None, "currency": None}))
    world.put(a_call(**{**nothing, "id": "v2", "created_at": at(2, 2), "run_id": None, "tokens": 70}))
    found = world.bills.statement("2026-02")
    assert [(each.kind, each.tokens) for each in found.unpriced] == [("tokens", 70)]
    assert (found.calls, found.unmeasured) == (3, 1)
    assert [(each.currency, str(each.amount)) for each in found.reported] == [("USD", "0.000100000")]


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_a_total_holds_its_parts(world: World, provider: str):
    parts = {"cached_input_tokens": 40, "reasoning_output_tokens": 20, "input_tokens": None, "output_tokens": None}
    model = {"model_provider": f"langgenius/{provider}/{provider}", "model_name": "claude-x", "tokens": 70}
    world.put(a_call(**{**parts, **model, "id": "v1", "created_at": at(2, 2), "run_id": None}))
    assert told(world.bills.lines("2026-02"), "day", "kind", "quantity")[1:] == [("2026-02-02", "tokens", 70)]


def test_half_of_the_usage_and_the_total_tell_the_other_half(world: World):
    world.put(
        a_call(id="h", created_at=at(2, 2), run_id=None, model_name="gpt-4o", input_tokens=60, output_tokens=None)
    )
    assert told(world.bills.lines("2026-02"), "day", "kind", "quantity")[1:] == [
        ("2026-02-02", "input", 60),
        ("2026-02-02", "output", 40),
    ]


@pytest.mark.parametrize(("cost", "doubted"), [("0.0000025", True), ("2.5", True), ("0.0025", False), ("0.004", False)])
def test_a_unit_taken_for_another_is_doubted(world: World, cost: str, doubted: bool):
    world.put(*asked("u1", "bo", at(3, 2), GPT, input_tokens=1250, cost=Decimal(cost), currency="USD"))
    warnings = world.bills.statement("2026-03").warnings
    assert bool(warnings) is doubted
    assert all(each.startswith("gpt-4o: the book asks hundreds of times") for each in warnings)


def test_another_book_shows_its_difference_and_changes_nothing(world: World):
    world.bills.close("2026-01", "finance")
    before = world.store.rows("SELECT * FROM bill_line ORDER BY id")
    mine, world_book = world.book, world.book
    world.price(instead=("input = 3.00", "input = 4.00"))
    other, world.book = world.book, world_book
    for period in ("2026-01", "2026-02"):
        assert len(world.bills.difference(period, mine).lines) == 0, "the same book changes nothing"
    found = world.bills.difference("2026-01", other)
    assert told(found.lines, "model_name", "quantity", "unit_price", "amount") == [
        ("claude-sonnet-4", -1000, "0.000003", "-0.003"),
        ("claude-sonnet-4", 1000, "0.000004", "0.004"),
    ]
    assert [f"{total.amount.normalize():f}" for total in found.before] == ["2.8034", "0.01604075"]
    assert [f"{total.amount.normalize():f}" for total in found.after] == ["2.8034", "0.01704075"]
    assert world.store.rows("SELECT * FROM bill_line ORDER BY id") == before


def test_another_book_of_an_open_period(world: World):
    mine = world.book
    world.price(instead=("input = 2.00", "input = 1.00"))
    other, world.book = world.book, mine
    assert told(world.bills.difference("2026-02", other).lines, "quantity", "amount") == [
        (-1000, "-0.002"),
        (1000, "0.001"),
    ]


PARTS = """
timezone = "Asia/Shanghai"
[[price]]
provider = "openai"
model = "all"
currency = "USD"
per = "1k"
input = 1
cached_input = 0.1
output = 2
reasoning_output = 3
[[price]]
model = "whole"
currency = "USD"
per = "1k"
input = 1
output = 2
[[price]]
model = "out"
currency = "USD"
per = "1k"
output = 2
"""
"""Prices of a thousand: of every part, of the whole, of the output alone."""


@pytest.mark.parametrize(
    ("provider", "model", "wanted"),
    [
        ("openai", "all", {"input": (600, "0.6"), "cached_input": (400, "0.04"), "output": (50, "0.1")}),
        ("openai", "whole", {"input": (1000, "1"), "output": (200, "0.4")}),
        ("openai", "out", {"input": (1000, None), "output": (200, "0.4")}),
        ("anthropic", "whole", {"input": (1000, "1"), "cached_input": (400, None), "output": (200, "0.4")}),
        ("anthropic", "none", {"input": (1000, None), "cached_input": (400, None), "output": (200, None)}),
        ("openai", "none", {"input": (1000, None), "output": (200, None)}),
        ("bedrock", "out", {"input": (1000, None), "cached_input": (400, None), "output": (200, "0.4")}),
    ],
)
def test_parts_of_the_tokens_count_once(provider: str, model: str, wanted: dict[str, tuple[int, str | None]]):
    """1,000 in, 400 of them (or beside them) cached; 200 out, 150 of them to reason."""
    world = World(book=PARTS, payers="")
    tokens = {"input_tokens": 1000, "cached_input_tokens": 400, "output_tokens": 200, "reasoning_output_tokens": 150}
    world.put(*asked("p", "cy", at(2, 2), (f"langgenius/{provider}/{provider}", model), **tokens))
    if (provider, model) == ("openai", "all"):
        wanted = {**wanted, "reasoning_output": (150, "0.45")}
    found = told(world.bills.lines("2026-02"), "kind", "quantity", "amount", "currency")
    assert {kind: (quantity, amount if currency else None) for kind, quantity, amount, currency in found} == wanted
    world.close()


def test_more_cached_than_asked_is_never_below_nothing():
    world = World(book=PARTS, payers="")
    world.put(*asked("p", "cy", at(2, 2), ("openai", "all"), input_tokens=10, cached_input_tokens=30, output_tokens=0))
    assert told(world.bills.lines("2026-02"), "kind", "quantity") == [("cached_input", 10)]
    world.close()


def test_the_first_discount_that_fits_counts_in_its_days():
    more = """
[[discount]]
app = "Desk"
model = "gpt-*"
percent = 50
from = 2026-02-03
until = 2026-02-04
[[discount]]
model = "*"
percent = 10
"""
    world = World(january(), book=BOOK.replace('[[discount]]\ndepartment = "Research"\npercent = 12.5', more))
    for day in (2, 3, 4):
        world.put(*asked(f"d{day}", "ana", at(2, day), GPT, input_tokens=1000))
    found = told(world.bills.lines("2026-02"), "day", "discount", "amount")
    assert found[1:] == [
        ("2026-02-02", "0.1", "0.0018"),
        ("2026-02-03", "0.5", "0.001"),
        ("2026-02-04", "0.1", "0.0018"),
    ]
    world.close()


def test_tiers_begin_anew_each_month_and_a_call_may_cross_two():
    book = """
timezone = "Asia/Shanghai"
[[price]]
model = "*"
currency = "CNY"
per = "1"
input = 3
tiers = [{ above = 10, input = 2 }, { above = 20, input = 1 }]
"""
    world = World(book=book, payers="")
    for id_, when, tokens in (("a", at(2, 2), 25), ("b", at(2, 2, 13), 5), ("c", at(3, 1), 11)):
        world.put(*asked(id_, "cy", when, GPT, input_tokens=tokens))
    columns = ("tier", "quantity", "amount")
    assert told(world.bills.lines("2026-02"), *columns) == [(0, 10, "30"), (10, 10, "20"), (20, 10, "10")]
    assert told(world.bills.lines("2026-03"), *columns) == [(0, 10, "30"), (10, 1, "2")]
    world.close()


def test_a_key_pays_where_its_user_has_no_payer(world: World):
    world.put(*asked("k1", "cy", at(2, 2), GPT, input_tokens=500), *asked("k2", "bo", at(2, 2), GPT, input_tokens=300))
    for message in ("k1", "k2"):
        told = {"message_id": message, "key_fingerprint": "0123456789abcdef", "created_at": at(2, 2)}
        world.put(a_request(id=message, app_id="desk", **told))
    world.pay(PAYERS + '[[payer]]\nkey = "0123456789abcdef"\ndepartment = "Portal"\n')
    assert by_department(world.bills.statement("2026-02")) == {("Portal", "USD"): "0.001", ("Sales", "USD"): "0.0026"}


def test_prices_by_the_call_and_by_the_image():
    book = '[[price]]\nmodel = "*"\ncurrency = "CNY"\nrequest = 0.01\nimage = 0.2\n'
    world = World(book=book)
    world.now = at(2, 3)
    world.put(*asked("v1", "bo", at(2, 2), GPT, input_tokens=5, is_vision=True))
    world.put(*asked("v2", "bo", at(2, 2), MYSTERY, input_tokens=5, is_vision=False))
    assert told(world.bills.lines("2026-02"), "kind", "model_name", "quantity", "amount") == [
        ("image", "gpt-4o", 1, "0.2"),
        ("input", "gpt-4o", 5, "0"),
        ("input", "mystery", 5, "0"),
        ("request", "gpt-4o", 1, "0.01"),
        ("request", "mystery", 1, "0.01"),
    ]
    world.close()


def test_amounts_may_be_large():
    book = BOOK + '[[price]]\nmodel = "gold"\ncurrency = "CNY"\nper = "1"\ninput = 999_999.5\nrequest = 123_456.789\n'
    world = World(january(), book=book)
    world.put(*asked("big", "ana", at(1, 20), GPT, input_tokens=3_000_000_000_000))
    world.put(*asked("gold", "ana", at(1, 21), (GPT[0], "gold"), input_tokens=8_000_000))
    found = told(world.bills.lines("2026-01"), "day", "kind", "list_amount", "amount")
    assert [row for row in found if str(row[0]) >= "2026-01-20"] == [
        ("2026-01-20", "input", "6000000", "5250000"),  # 3,000,000 million at 2.00, less 12.5 %
        ("2026-01-21", "input", "7999996000000", "6999996500000"),
        ("2026-01-21", "request", "123456.789", "108024.690375"),
    ]
    world.close()
