"""Rated cost as a measure: what it says is what bills say, to the last digit, whatever happened before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.access import Sight
from collector.billing.book_file import parse_book
from collector.billing.rated import Rated
from collector.errors import QueryError, SettingsError
from tests.billing.test_promises import BOOKS, PAY, changes, made
from tests.billing.world import GPT, MYSTERY, World, asked, at, january
from tests.conftest import examples

BY = ("department", "cost_centre", "app_id", "model_name", "charge_kind", "currency")
_COLUMNS = {"charge_kind": "kind"}


@pytest.fixture
def world() -> Iterator[World]:
    world = World(january())
    yield world
    world.close()


def answered(world: World, month: str) -> dict[tuple[Any, ...], Decimal]:
    """What the measure says of a month, by BY; what is zero left out."""
    rows = world.asked("rated_cost", by=BY, since=month).rows
    return {tuple(row[name] for name in BY): row["rated_cost"] for row in rows if row["rated_cost"]}


def billed(world: World, month: str) -> dict[tuple[Any, ...], Decimal]:
    """The same of the bill's lines."""
    found: Counter[tuple[Any, ...]] = Counter()
    for line in world.bills.lines(month).to_pylist():
        found[tuple(line[_COLUMNS.get(name, name)] for name in BY)] += line["amount"]
    return {key: amount for key, amount in found.items() if amount}


@given(changes, st.booleans())
@examples(0.08)
def test_the_measure_is_the_bill_to_the_last_digit_whatever_happened(
    story: Sequence[tuple[Any, ...]], is_asked_often: bool
):
    names = iter(range(1_000_000))
    with closing(World(january())) as world:
        world.now = at(4, 2)
        months = ["2026-01", "2026-02", "2026-03"]
        unclosed = iter(months)
        for drawn, gone, book, is_moved, is_closed in story:
            world.put(*made(drawn, names))
            for (id_,) in world.store.rows(f"SELECT id FROM model_call ORDER BY id LIMIT {gone}"):
                world.forget(str(id_))
            world.book = parse_book(BOOKS[book])
            world.pay('[[payer]]\nuser_id = "bo"\ndepartment = "Support"\n' if is_moved else PAY)
            if is_closed and (month := next(unclosed, None)):
                world.bills.close(month, "finance")
            if is_asked_often:
                world.rated.refresh()
        for month in months:
            assert answered(world, month) == billed(world, month)


def test_january_by_payer_and_currency_beside_what_dify_says(world: World):
    world.put(*asked("told", "ana", at(1, 12), GPT, input_tokens=4, cost=Decimal("0.5"), currency="USD"))
    found = world.asked("rated_cost", "rated_list_cost", "cost", by=["department", "currency"], since="2026-01")
    said = {(row["department"], row["currency"]): row for row in found.rows}
    assert said["Research", "CNY"]["rated_cost"] == Decimal("1.4434")
    assert said["Sales", "USD"]["rated_cost"] == Decimal("0.0118845")
    assert said["Research", "USD"]["rated_cost"] == Decimal("0.00415625") + 4 * Decimal("0.0000025") * Decimal("0.875")
    assert said["Research", "USD"]["cost"] == Decimal("0.5")
    assert said["Research", "CNY"]["rated_list_cost"] == Decimal("1.6496")
    assert found.flags["unrated"] == 2, "lines of the model that nobody knows"
    assert said["Research", None]["rated_cost"] is None, "what has no price is not free"


def test_what_has_no_price_is_listed(world: World):
    found = world.asked("unrated_tokens", by=["model_name", "charge_kind"])
    assert [tuple(row.values()) for row in found.rows] == [("mystery", "input", 123), ("mystery", "output", 45)]


def test_one_currency_by_app_and_month(world: World):
    rows = world.asked("rated_cost_usd", by=["app_name"], grain="month").rows
    told = [(f"{row['time']:%Y-%m}", row["app_name"], f"{row['rated_cost_usd'].normalize():f}") for row in rows]
    assert told == [
        ("2026-01", "Desk", "0.0153845"),
        ("2026-01", "Tool", "0.00065625"),
        ("2026-02", "Desk", "0.002"),
    ]


def test_a_closed_month_stays_and_the_book_counts_for_the_open_one(world: World):
    before = answered(world, "2026-01")
    world.bills.close("2026-01", "finance")
    world.price(instead=("input = 2.00", "input = 4.00"))
    assert answered(world, "2026-01") == before
    rows = world.asked("rated_cost", by=["corrects", "currency", "model_name"], since="2026-02", grain="month").rows
    assert {row["corrects"]: (row["currency"], row["rated_cost"]) for row in rows} == {
        None: ("USD", Decimal("0.004")),
        "2026-01": ("USD", Decimal("0.000666")),  # 333 tokens of the second half of January
    }


def test_whoever_sees_one_app_sees_what_that_app_cost(world: World):
    world.rated.refresh()
    sql = "SELECT DISTINCT app_id FROM rated_line WHERE rated_line.amount > 0"
    assert world.rated.rows(sql, {}, Sight(apps=("tool",))) == [("tool",)]
    assert world.rated.rows("SELECT * FROM rated_period", {}, Sight(apps=("tool",))) == []


def test_only_what_changed_is_rated_anew(world: World):
    assert world.rated.refresh() == 2
    assert world.rated.refresh() == 0
    world.put(*asked("more", "bo", at(2, 2), MYSTERY, input_tokens=7))
    assert world.rated.refresh() == 2, "its message may say whose another call is"
    world.store._writer.run("UPDATE model_call SET output_tokens = 8 WHERE id = 'more'")  # type: ignore[attr-defined]
    assert world.rated.refresh() == 1
    world.price("# another text")
    assert world.rated.refresh() == 2


def test_lines_of_one_answer_are_of_one_moment(world: World):
    sql = "SELECT sum(rated_line.amount) FROM rated_line WHERE currency = 'USD'"
    with world.rated.rows.still() as rows:
        assert rows(sql) == [(Decimal("0.01804075"),)], "brought up to date in the middle of a moment of facts"
        world.put(*asked("more", "bo", at(2, 2), GPT, input_tokens=1000))
        assert world.rated.refresh() == 2
        assert rows(sql) == [(Decimal("0.01804075"),)]
    with world.rated.rows.still() as rows:
        assert rows(sql) == [(Decimal("0.02004075"),)]


def test_where_rating_takes_long_a_question_does_not_wait(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("collector.billing.rated.PATIENCE", timedelta(0))
    kept_up = Rated(world.bills, world.store.rows, world.store.keep_rated, lambda: world.now, is_kept_up=True)
    sql = "SELECT sum(rated_line.amount) FROM rated_line WHERE currency = 'USD'"
    assert kept_up.rows(sql) == [(Decimal("0.01804075"),)], "the first question has to"
    world.put(*asked("more", "bo", at(2, 2), GPT, input_tokens=1000))
    assert kept_up.rows(sql) == [(Decimal("0.01804075"),)]
    assert kept_up.refresh() == 2
    assert kept_up.rows(sql) == [(Decimal("0.02004075"),)]
    assert kept_up.looked_at == world.now
    assert kept_up.pause >= timedelta(seconds=60)


def test_without_a_book_the_question_is_refused_and_others_are_not(world: World, monkeypatch: pytest.MonkeyPatch):
    def no_book() -> None:
        raise SettingsError("prices: no price book; set it")

    monkeypatch.setattr(world.bills, "_book", no_book)
    with pytest.raises(QueryError, match="nothing is rated: prices: no price book; set it"):
        world.asked("rated_cost", by=["currency"])
    assert world.asked("model_calls").rows == [{"model_calls": 10}]


def test_a_day_of_the_book_is_asked_for_from_its_first_instant(world: World):
    (row,) = world.asked("rated_cost_usd", since="2026-01-15", until="2026-01-15").rows
    assert row["rated_cost_usd"] == Decimal("0.0016025"), "one second before midnight is of that day"
