"""Numbers, shares, times, money and days as each language writes them."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from collector.errors import QueryError
from collector.period import Grain
from collector.reports.spans import span_of
from collector.reports.spelling import Spelling

AT = datetime(2026, 11, 9, 8, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "unit", "english", "chinese"),
    [
        (0, "calls", "0", "0"),
        (1234567890123456, "tokens", "1,234,567,890,123,456", "1,234,567,890,123,456"),
        (3.0, "messages/conversation", "3", "3"),
        (2.346, "messages/conversation", "2.35", "2.35"),
        (0.00042, "tokens/second", "0.0004", "0.0004"),
        (None, "calls", "–", "–"),
        (0.0, "ratio", "0.0%", "0.0%"),
        (0.1234, "ratio", "12.3%", "12.3%"),
        (0.0004, "ratio", "0.040%", "0.040%"),
        (1.0, "ratio", "100.0%", "100.0%"),
        (0.125, "growth", "+12.5%", "+12.5%"),
        (-0.04, "growth", "−4.0%", "−4.0%"),
        (0.0, "growth", "0.0%", "0.0%"),
        (123.0, "growth", "+12,300%", "+12,300%"),
        (0.37, "seconds", "370 ms", "370毫秒"),
        (0.0, "seconds", "0 sec", "0秒"),
        (0.9996, "seconds", "1 sec", "1秒"),
        (9.367, "seconds", "9.37 sec", "9.37秒"),
        (725.2, "seconds", "12 min 5 sec", "12分钟5秒"),
        (7199.0, "seconds", "119 min 59 sec", "119分钟59秒"),
        (7200.0, "seconds", "2 hr", "2小时"),
        (86_399.5, "seconds", "24 hr", "24小时"),
        (9_000.0, "seconds", "2 hr 30 min", "2小时30分钟"),
        (Decimal("1234567.895"), "USD", "$1,234,567.90", "US$1,234,567.90"),
        (Decimal("18.96"), "CNY", "CN¥18.96", "¥18.96"),
        (Decimal("0.000123456"), "USD", "$0.000123", "US$0.000123"),
        (Decimal("-0.5"), "CNY", "-CN¥0.500", "-¥0.500"),
        (Decimal(0), "USD", "$0.00", "US$0.00"),
        (Decimal("1e30"), "JPY", "¥1" + ",000" * 10, "JP¥1" + ",000" * 10),
        (Decimal("123456789012345678901234567890.123456789"), "USD", None, None),
        ("timeout", "error_class", "Timed out", "超时"),
        ("a class of tomorrow", "error_class", "a class of tomorrow", "a class of tomorrow"),
        (None, "department", "(not assigned)", "（未归属）"),
        ("研发部", "department", "研发部", "研发部"),
        (AT, "instant", "Nov 9, 2026 08:05", "2026年11月9日 08:05"),
    ],
)
def test_a_value(value: Any, unit: str, english: str | None, chinese: str | None):
    for language, wanted in (("en", english), ("zh", chinese)):
        said = Spelling(language).value(value, unit)
        assert said == wanted if wanted else said.endswith("123,456,789,012,345,678,901,234,567,890.12")


def test_growth_of_a_share_is_told_in_points():
    assert Spelling("en").points(0.03, 0.02) == "+1.0 pp"
    assert Spelling("zh").points(0.02, 0.035) == "−1.5 个百分点"


@pytest.mark.parametrize(
    ("name", "asked", "english", "chinese"),
    [
        ("2026-W46", {}, "Nov 9 – 15, 2026", "2026年11月9日至15日"),
        ("2026-11-09", {}, "Nov 9, 2026", "2026年11月9日"),
        ("2026-11", {}, "Nov 1 – 30, 2026", "2026年11月1日至30日"),
        (
            "span",
            {"since": "2026-11-09T08:30", "until": "2026-11-10"},
            "Nov 9, 2026 08:30 – Nov 11, 2026 00:00",
            "2026年11月9日 08:30 – 2026年11月11日 00:00",
        ),
    ],
)
def test_a_period(name: str, asked: dict[str, str], english: str, chinese: str):
    period = span_of(name, tz="Asia/Shanghai", now=AT, **asked).period
    said = [Spelling(language).period(period).replace("\u2009", " ") for language in ("en", "zh")]
    assert said == [english, chinese]


def test_steps_are_as_short_as_they_can_be():
    said = {
        grain: (Spelling("en").step(AT, grain), Spelling("zh").step(AT, grain)) for grain in (Grain.HOUR, Grain.DAY)
    }
    assert said == {Grain.HOUR: ("08:05", "08:05"), Grain.DAY: ("Nov 9", "11月9日")}


def test_another_language_is_refused():
    with pytest.raises(QueryError, match="lang: no 'fr'; there are en, zh"):
        Spelling("fr")
