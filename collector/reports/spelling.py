"""Values and names as a reader of one language writes them: numbers, shares, times, money, days, titles.

What comes in are a report's values with their units; what goes out is text, rounded for reading. Nothing here is HTML.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from functools import cache
from typing import Any

from babel import Locale
from babel.dates import format_date, format_datetime, format_interval
from babel.numbers import format_compact_decimal, format_currency, format_decimal, get_currency_precision
from babel.units import format_unit

from collector.errors import QueryError
from collector.measures.ask import BEFORE, CHANGE
from collector.measures.catalogue import CATALOGUE
from collector.measures.measure import INSTANT
from collector.period import Grain, Period
from collector.reconcile.causes import CAUSES
from collector.reports.report import Report
from collector.reports.spans import DAY, SPAN, WEEK
from collector.reports.words import LANGUAGES, LOCALES, WORDS, ZH, word

UNKNOWN = "–"

GROWTH, RATIO, SECONDS, TEXT = "growth", "ratio", "seconds", "text"
"""Units that are written in ways of their own; growth is a share too, with its sign."""

_TIMES = {"day": {"en": "MMM d, y", "zh": "y年M月d日"}, "minute": {"en": "MMM d, y HH:mm", "zh": "y年M月d日 HH:mm"}}
_STEPS = {
    Grain.HOUR: {"en": "HH:mm", "zh": "HH:mm"},
    Grain.DAY: {"en": "MMM d", "zh": "M月d日"},
    Grain.WEEK: {"en": "MMM d", "zh": "M月d日"},
    Grain.MONTH: {"en": "MMM y", "zh": "y年M月"},
}
_FLAGS = {flag.name: flag for measure in CATALOGUE for flag in measure.flags}


def is_money(unit: str) -> bool:
    """Whether a unit is a currency: USD."""
    return len(unit) == 3 and unit.isalpha() and unit.isupper()


@dataclass(frozen=True)
class Spelling:
    """How a language writes."""

    language: str  # of LANGUAGES

    def __post_init__(self) -> None:
        if self.language not in LANGUAGES:
            there = ", ".join(LANGUAGES)
            raise QueryError(f"lang: no {self.language[:20]!r}; there are {there}", field="lang", choices=LANGUAGES)

    @property
    def locale(self) -> Locale:
        """By which numbers and dates are written."""
        return _locale(LOCALES[self.language])

    def word(self, key: str, **told: object) -> str:
        """The words of a key."""
        return word(key, self.language, **told)

    def name(self, name: str) -> str:
        """What a figure or column is called."""
        if name.endswith(CHANGE):
            return self.word("growth")
        if name.endswith(BEFORE):
            return self.word("before")
        if f"name.{name}" in WORDS:
            return self.word(f"name.{name}")
        entry = _entry(name)
        return str(entry.title_zh if self.language == ZH else entry.title)

    def value(self, value: Any, unit: str, row: Mapping[str, Any] | None = None) -> str:
        """A value as it is read; `row` knows the currency of money whose unit says only that it is some."""
        if unit in ("cause", "believe", "flag", "kind") or f"value.{unit}." in WORDS:
            return self._said(value, unit)
        if value is None:
            return UNKNOWN
        if unit == "currency":
            unit = str((row or {}).get("currency") or "")
            return self.money(value, unit)
        if is_money(unit):
            return self.money(value, unit)
        if unit == RATIO:
            return self.share(value)
        if unit == GROWTH:
            return self.growth(value)
        if unit == SECONDS:
            return self.seconds(value)
        if unit == INSTANT or isinstance(value, datetime):
            return self.minute(value)
        return self.number(value) if isinstance(value, int | float | Decimal) else str(value)

    def number(self, value: int | float | Decimal) -> str:
        """Counts whole, what is worked out with up to two digits behind the point."""
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        form = "#,##0" if isinstance(value, int) else "#,##0.##" if abs(float(value)) >= 1 else "#,##0.####"
        return str(format_decimal(value, format=form, locale=self.locale))

    def short(self, value: int | float | Decimal) -> str:
        """For the axis of a chart: 1.2M, 120万."""
        if abs(float(value)) < 1000:
            return self.number(value)
        if abs(float(value)) >= 1e15:
            return f"{float(value):.1e}"
        return str(format_compact_decimal(value, locale=self.locale, fraction_digits=1))

    def share(self, value: float) -> str:
        """12.3%; with more digits where there would be none left."""
        percent = value * 100
        places = 1 if percent == 0 or abs(percent) >= 0.1 else 3
        return f"{self._fixed(percent, places)}%"

    def growth(self, value: float) -> str:
        """+12.3%, −4.0%."""
        return f"{self._signed(value * 100)}%"

    def points(self, value: float, before: float) -> str:
        """How much a share grew: +1.2 pp."""
        return self.word("points", points=self._signed((value - before) * 100))

    def seconds(self, value: float) -> str:
        """370 ms, 9.37 sec, 12 min 5 sec, 3 hr 20 min."""
        if 0 < value < 0.9995:
            return self._unit(round(value * 1000), "millisecond")
        if value < 119.995:
            return self._unit(round(value, 2), "second")
        big, small, length = ("minute", "second", 60) if value < 7200 else ("hour", "minute", 3600)
        whole, rest = divmod(round(value) if length == 60 else round(value / 60) * 60, length)
        said = [self._unit(whole, big)]
        if rest:
            said.append(self._unit(rest * 60 // length, small))
        return (" " if self.language != ZH else "").join(said)

    def money(self, value: Decimal, currency: str) -> str:
        """With the digits that are paid, and more where the amount is smaller than a unit."""
        if not is_money(currency):
            return f"{self.number(value)} {currency}".rstrip()
        places = get_currency_precision(currency)
        if 0 < abs(value) < 1:
            places = max(places, min(9, 2 - value.adjusted()))
        form = f"¤#,##0.{'0' * places}" if places else "¤#,##0"
        with localcontext(prec=60):
            rounded = value.quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN)
            said = format_currency(rounded, currency, format=form, locale=self.locale, currency_digits=False)
        return str(said)

    def minute(self, at: datetime) -> str:
        """A local instant, to the minute."""
        return str(format_datetime(at, _TIMES["minute"][self.language], tzinfo=at.tzinfo, locale=self.locale))

    def day(self, at: datetime) -> str:
        """A local day."""
        return str(format_date(at.date(), _TIMES["day"][self.language], locale=self.locale))

    def step(self, at: datetime, grain: Grain) -> str:
        """A step of a chart, as short as it can be."""
        return str(format_datetime(at, _STEPS[grain][self.language], tzinfo=at.tzinfo, locale=self.locale))

    def period(self, period: Period) -> str:
        """From its first day to its last; with the time of day where it does not begin and end with one."""
        start, end = period.local(period.start), period.local(period.end)
        if (start.hour, start.minute, start.second, end.hour, end.minute, end.second) != (0,) * 6:
            return f"{self.minute(start)} – {self.minute(end)}"
        last = period.local(max(period.start, period.end - timedelta(microseconds=1)))
        if start.date() == last.date():
            return self.day(start)
        return str(format_interval(start.date(), last.date(), "yMMMd", locale=self.locale))

    def title(self, report: Report) -> str:
        """What a report is called: Weekly report, week 47 of 2026."""
        said, start = self.word(f"title.{report.span.kind}"), report.period.local(report.period.start)
        if report.span.kind == SPAN:
            return said
        if report.span.kind == WEEK:
            year, week, _ = start.isocalendar()
            return f"{said} · {self.word('week_of', week=week, year=year)}"
        return f"{said} · {self.day(start) if report.span.kind == DAY else self.step(start, Grain.MONTH)}"

    def _unit(self, value: float, unit: str) -> str:
        return str(format_unit(value, unit, length="short", locale=self.locale))

    def _fixed(self, value: float, places: int) -> str:
        return str(format_decimal(value, format=f"#,##0.{'0' * places}", locale=self.locale))

    def _signed(self, value: float) -> str:
        said = self._fixed(abs(value), 1 if abs(value) < 1000 else 0).removesuffix(".")
        return f"+{said}" if value > 0 else f"−{said}" if value < 0 else said

    def _said(self, value: Any, unit: str) -> str:
        if unit in ("cause", "believe") and value in CAUSES:
            cause = CAUSES[value]
            told = (cause.title, cause.title_zh) if unit == "cause" else (cause.believe, cause.believe_zh)
            return told[LANGUAGES.index(self.language)]
        if unit == "flag" and value in _FLAGS:
            return _FLAGS[value].title_zh if self.language == ZH else _FLAGS[value].title
        key = f"value.{unit}.{'' if value is None else value}"
        return self.word(key) if key in WORDS else str(value)


@cache
def _locale(name: str) -> Locale:
    return Locale.parse(name)


@cache
def _entry(name: str) -> Any:
    try:
        return CATALOGUE.measure(name)
    except QueryError:
        return CATALOGUE.dimension(name)
