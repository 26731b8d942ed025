"""The price book: which price counts when, and what is wrong in a file with its line."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from collector.billing.book import Book, Price
from collector.billing.book import steps as steps_of
from collector.billing.book_file import parse_book, read_book
from collector.billing.currency import payable
from collector.errors import SettingsError
from tests.conftest import ROOT

OPENAI = "langgenius/openai/openai"
DAY = date(2026, 6, 15)


def a_price(written: str) -> str:
    return f'[[price]]\nmodel = "m"\ncurrency = "USD"\nper = "1M"\ninput = 1\n{written}\n'


def steps(price: Price) -> dict[tuple[str, int], Decimal]:
    return {(kind, above): unit for kind, _, above, _, unit in steps_of(price)}


def test_numbers_are_read_digit_for_digit():
    book = parse_book(a_price("cached_input = 0.1\noutput = '2.30'\nrequest = 0.000000000001"))
    (price,) = book.prices
    assert steps(price) == {
        ("input", 0): Decimal("0.000001"),
        ("cached_input", 0): Decimal("0.0000001"),
        ("output", 0): Decimal("0.0000023"),
        ("request", 0): Decimal("0.000000000001"),
    }
    assert all(isinstance(rate, Decimal) for rate in price.rates.values())


@pytest.mark.parametrize(("per", "unit"), [('"1"', "1"), ('"1k"', "0.001"), ('"1M"', "0.000001"), ("1000", "0.001")])
def test_a_price_is_of_so_many_tokens(per: str, unit: str):
    (price,) = parse_book(a_price("").replace('"1M"', per)).prices
    assert steps(price) == {("input", 0): Decimal(unit)}


def test_tiers_of_a_kind_follow_each_other():
    (price,) = parse_book(a_price("output = 4\ntiers = [{above = 10, input = 0.5}, {above = 20, output = 3}]")).prices
    assert list(steps_of(price)) == [
        ("input", 1_000_000, 0, 10, Decimal("0.000001")),
        ("input", 1_000_000, 10, None, Decimal("0.0000005")),
        ("output", 1_000_000, 0, 20, Decimal("0.000004")),
        ("output", 1_000_000, 20, None, Decimal("0.000003")),
    ]


def written_price(model: str, input_: str, more: str = "") -> str:
    return f'[[price]]\nmodel = "{model}"\ncurrency = "USD"\nper = "1"\ninput = {input_}\n{more}\n'


def priced(book: Book, provider: str | None, model: str, day: date = DAY) -> Decimal | None:
    found = book.price((provider, model), day)
    return found.rates["input"] if found else None


def test_a_named_provider_counts_before_any_and_a_name_before_a_pattern():
    book = parse_book(
        written_price("gpt-*", "1")
        + written_price("gpt-4o", "2")
        + written_price("gpt-*", "3", 'provider = "openai"')
        + written_price("gpt-5", "4", f'provider = "{OPENAI}"')
        + written_price("gpt-?", "5", 'provider = "openai"')
    )
    assert priced(book, OPENAI, "gpt-4o") == 3
    assert priced(book, OPENAI, "gpt-5") == 4
    assert priced(book, OPENAI, "gpt-6") == 3, "the pattern that stands first"
    assert priced(book, "langgenius/azure_openai/azure_openai", "gpt-4o") == 2
    assert priced(book, None, "gpt-7") == 1
    assert priced(book, OPENAI, "claude") is None


def test_a_price_counts_from_its_day_until_the_next_ones():
    book = parse_book(
        written_price("m", "1")
        + written_price("m", "2", "from = 2026-06-15")
        + written_price("m", "3", "from = 2026-07-01\nuntil = 2026-08-01")
    )
    days = {date(2026, 6, 14): 1, date(2026, 6, 15): 2, date(2026, 7, 1): 3, date(2026, 8, 1): 2}
    assert {day: priced(book, None, "m", day) for day in days} == days
    spans = book.spans([(None, "m")], date(2026, 6, 1), date(2026, 9, 1))
    assert [(span.start, span.price.rates["input"]) for span in spans] == [
        (date(2026, 6, 1), 1),
        (date(2026, 6, 15), 2),
        (date(2026, 7, 1), 3),
        (date(2026, 8, 1), 2),
    ]


@pytest.mark.parametrize(
    ("provider", "cached", "is_extra"),
    [
        (OPENAI, "", False),
        ("langgenius/anthropic/anthropic", "", True),
        ("langgenius/bedrock/bedrock", "", True),
        ("langgenius/anthropic/anthropic", 'cached = "within"', False),
        (OPENAI, 'cached = "extra"', True),
        (None, "", False),
    ],
)
def test_where_cached_tokens_stand_is_up_to_the_provider(provider: str | None, cached: str, is_extra: bool):
    (price,) = parse_book(a_price(cached)).prices
    assert price.is_extra(provider) is is_extra


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (a_price("imput = 2"), "line 6: imput: is no field of a price; did you mean 'input'?"),
        (a_price("output = -1"), "line 6: output: wanted 0 or more, below 1,000,000, got -1"),
        (a_price("output = true"), "line 6: output: wanted a number"),
        (a_price("output = nan"), "line 6: output: wanted 0 or more"),
        (a_price("output = '1,5'"), "line 6: output: wanted a number"),
        (
            a_price("output = 0.0000001"),
            "line 6: output: has too many digits: of one token or call at most 12 are kept",
        ),
        (a_price("\nfrom = 2026-02-01\nuntil = 2026-02-01"), "line 8: until: wanted later than from"),
        (a_price("from = 2026-02-01T12:00:00Z"), "line 6: from: wanted a day such as 2026-01-31"),
        (a_price("cached = 'no'"), "line 6: cached: wanted within"),
        (a_price("tiers = 3"), "line 6: tiers: wanted a list"),
        (
            a_price("tiers = [{above = 5, input = 1}, {above = 5, input = 2}]"),
            "line 6: tiers: above: wanted more than 5",
        ),
        (a_price("tiers = [{above = 5, output = 1}]"), "line 6: tiers: above 5: wanted prices of what is priced"),
        (
            a_price("").replace("USD", "usd"),
            "line 3: currency: wanted a code of ISO 4217 such as USD or CNY, got 'usd'",
        ),
        (a_price("").replace("USD", "RMB"), "line 3: currency: wanted a code of ISO 4217"),
        (a_price("").replace('"1M"', '"10k"'), "line 4: per: wanted 1, 1k or 1M tokens, got '10k'"),
        (a_price("").replace('per = "1M"\n', ""), "line 1: per: missing"),
        (a_price("").replace("input = 1\n", ""), "line 1: costs nothing; wanted at least one of input"),
        (a_price("").replace('model = "m"\n', ""), "line 1: model: missing"),
        (a_price("") + a_price(""), "line 1 and line 7 both price m without a from"),
        (a_price("from = 2026-01-01") * 2, "line 1 and line 7 both price m from 2026-01-01"),
        ("\n[[discount]]\npercent = 10", "line 2: is for nobody; wanted at least one of person"),
        ("[[discount]]\ndepartment = 'R'\npercent = 101", "line 3: percent: wanted 0 to 100"),
        ("[[discount]]\ndepartment = 'R'\npercent = 0.001", "line 3: percent: wanted 0 to 100 with at most two digits"),
        ("[[discount]]\ndepartment = 'R'", "line 1: percent: missing"),
        ("[[refund]]\ncall = 'x'", "line 1: reason: missing"),
        ("[price]\nmodel = 'm'", "price: wanted entries, each under [[price]]"),
        ("currency = 'USD'", "currency: wanted timezone, as_of, [fallback], and entries"),
        ("timezone = 'Beijing'", "timezone: no time zone 'Beijing'"),
        ("as_of = 'May'", "as_of: wanted a day"),
        ("[[price]", "is no TOML"),
    ],
)
def test_a_mistake_is_told_with_its_line(written: str, said: str):
    with pytest.raises(SettingsError) as raised:
        parse_book(written)
    assert f"prices.toml: {said}" in str(raised.value)


def test_all_mistakes_are_told_at_once():
    with pytest.raises(SettingsError) as raised:
        parse_book(a_price("output = -1") + a_price("output = -2") + "[[refund]]\nreason = 'x'")
    assert all(place in str(raised.value) for place in ("line 6:", "line 12:", "line 13: call: missing"))


def test_the_same_text_has_the_same_digest():
    assert parse_book(a_price("")).digest == parse_book(a_price(""), "other.toml").digest
    assert parse_book(a_price("")).digest != parse_book(a_price("# dearer")).digest


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path):
    with pytest.raises(SettingsError, match="cannot be read"):
        read_book(tmp_path / "none.toml")
    wrong = tmp_path / "gbk.toml"
    wrong.write_bytes("# 价格".encode("gbk"))
    with pytest.raises(SettingsError, match="is not UTF-8"):
        read_book(wrong)


def test_the_starter_is_dated_sourced_and_sound():
    book = read_book(ROOT / "deploy" / "prices.example.toml")
    assert book.as_of is not None
    assert all(price.source and price.source.startswith("https://") for price in book.prices)
    mini = book.price((OPENAI, "gpt-4o-mini-2024-07-18"), DAY)
    assert mini is not None
    assert steps(mini)["output", 0] == Decimal("0.0000006")
    # The part that is commented out is an example, too: it has to be true.
    own = (ROOT / "deploy" / "prices.example.toml").read_text().partition("by the call\n#\n")[2]
    example = parse_book("\n".join(line.removeprefix("#").removeprefix(" ") for line in own.splitlines()))
    assert (len(example.prices), len(example.discounts), len(example.refunds)) == (1, 1, 1)


@pytest.mark.parametrize(
    ("amount", "currency", "paid"),
    [
        ("0.005", "USD", "0.01"),
        ("-0.005", "USD", "-0.01"),
        ("2.675", "CNY", "2.68"),
        ("1.4999999999999999", "JPY", "1"),
        ("0.0005", "KWD", "0.001"),
        ("123456789012345678901.005", "USD", "123456789012345678901.01"),
    ],
)
def test_what_is_paid_is_rounded_as_merchants_do(amount: str, currency: str, paid: str):
    assert str(payable(Decimal(amount), currency)) == paid
