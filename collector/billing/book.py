"""The price book: prices by model, discounts by payer, calls that were refunded; and which of them counts when.

What comes in are the entries of a file (see `collector.billing.book_file`); what goes out is the price of a model on a
day, the same as rows for a join. Entries that contradict each other are refused before anything is answered. Nothing
here reads a file or a clock.

Which price counts when several fit a model:

1. of a named provider before one of any provider; of these an exact model before a pattern; of patterns the first;
2. of entries with the same provider and model the one that starts last, within its days.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from itertools import pairwise
from typing import TypeAlias

import msgspec

from collector.errors import SettingsError

TOKEN_KINDS = ("input", "cached_input", "output", "reasoning_output")
"""What a model call is charged for by the token."""
CALL_KINDS = ("request", "image")
"""What is charged by the call: each call, and each that shows the model an image."""
KINDS = (*TOKEN_KINDS, *CALL_KINDS)
STORED_KINDS = ("stored_documents", "stored_segments", "stored_characters", "stored_tokens")
"""What a knowledge base is charged for by the day: so many kept for one day."""
REPORTED = "reported"
"""The kind of what costs as much as Dify says it cost, since the book has no price for it."""

SUBJECTS = ("person", "department", "cost_centre", "workspace", "app", "provider", "model")
"""What a discount can be about."""
BUDGETED = (*SUBJECTS, "key")
"""What a budget can be about."""

UNITS = {"1": 1, "1k": 1_000, "1K": 1_000, "1M": 1_000_000, "1m": 1_000_000}
"""So many tokens a price may be of."""

SMALLEST = Decimal("0.000000000001")
"""The smallest step of a price of one token: a millionth of a millionth."""

EXTRA_CACHE = ("anthropic", "bedrock")
"""Providers that tell cached tokens beside the prompt's, not within (their names hold one of these)."""

Model: TypeAlias = tuple[str | None, str]
"""Provider as org/plugin/name (None: not told), and name."""


class Tier(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a period's quantity above `above` costs this; the part below is not changed by it."""

    above: int  # tokens (or calls) of one kind, priced by this entry in one period
    rates: dict[str, Decimal]  # kind -> price of `per` tokens, or of one call


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """What a model costs from a day on."""

    provider: str | None  # org/plugin/name, its last part alone, or a pattern; None: any
    model: str  # name or pattern
    currency: str  # ISO 4217
    per: int  # tokens that a price of tokens is of
    rates: dict[str, Decimal]  # kind -> price
    tiers: tuple[Tier, ...] = ()  # by `above`
    is_cache_extra: bool | None = None  # cached tokens come on top of the input's; None: as the provider's name says
    start: date | None = None  # first day; None: since ever
    end: date | None = None  # not included; None: for ever
    source: str | None = None  # where the price was read
    place: str  # "line 12"

    def covers(self, day: date) -> bool:
        """Whether it holds on a day."""
        return (self.start is None or self.start <= day) and (self.end is None or day < self.end)

    def is_extra(self, provider: str | None) -> bool:
        """Whether this provider tells cached tokens beside the input, not within."""
        if self.is_cache_extra is not None:
            return self.is_cache_extra
        return any(name in (provider or "").lower() for name in EXTRA_CACHE)


class StoragePrice(msgspec.Struct, frozen=True, kw_only=True):
    """What keeping a knowledge base costs by the day, from a day on. Texts may be patterns."""

    dataset: str | None = None  # id or name; None: any
    workspace: str | None = None  # id; None: any
    currency: str  # ISO 4217
    per: int  # documents, segments, characters or tokens that a price is of
    rates: dict[str, Decimal]  # of STORED_KINDS -> price of `per` of them for one day
    tiers: tuple[Tier, ...] = ()  # by `above`: so many times a day in one period
    start: date | None = None  # first day; None: since ever
    end: date | None = None  # not included; None: for ever
    place: str


def steps(price: Price | StoragePrice) -> Iterator[tuple[str, int, int, int | None, Decimal]]:
    """Every kind, what its price is of, from how much on, until how much (None: no end), and what one costs there."""
    for kind in (*KINDS, *STORED_KINDS):
        steps = [(0, price.rates[kind])] if kind in price.rates else []
        steps += [(tier.above, tier.rates[kind]) for tier in price.tiers if kind in tier.rates]
        per = 1 if kind in CALL_KINDS else price.per
        for (above, rate), following in pairwise([*steps, None]):  # type: ignore[misc]
            yield kind, per, above, following[0] if following else None, one(rate, per)


class Discount(msgspec.Struct, frozen=True, kw_only=True):
    """Who pays so many per cent less; of several that fit a line the first counts. Texts may be patterns."""

    percent: Decimal  # 0 to 100
    person: str | None = None
    department: str | None = None
    cost_centre: str | None = None
    workspace: str | None = None  # id
    app: str | None = None  # id or name
    provider: str | None = None
    model: str | None = None
    start: date | None = None
    end: date | None = None  # not included
    place: str


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """So much may be used in a month by whom its texts fit; of none, by all. Texts may be patterns."""

    name: str
    amount: Decimal  # more than 0
    currency: str  # ISO 4217
    person: str | None = None
    department: str | None = None
    cost_centre: str | None = None
    workspace: str | None = None  # id
    app: str | None = None  # id or name
    provider: str | None = None
    model: str | None = None
    key: str | None = None  # fingerprint of the app key that asked, as a tap saw it
    place: str

    def fits(self, known: Mapping[str, object], app_name: object) -> bool:
        """Whether it is about a line; `known` has the line's value for each of BUDGETED."""
        for subject in BUDGETED:
            wanted: str | None = getattr(self, subject)
            if wanted is None:
                continue
            told = str(known[subject] or "")
            others = {"app": str(app_name or ""), "provider": told.rpartition("/")[2]}
            if not any(fnmatch.fnmatchcase(each, wanted) for each in (told, others.get(subject, told))):
                return False
        return True


class Refund(msgspec.Struct, frozen=True, kw_only=True):
    """A call that nobody pays for."""

    call: str  # id: of the node execution, or the message
    reason: str
    place: str


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """What one unit of a currency was worth in another on a day: for reading bills, not for making them."""

    currency: str
    into: str
    rate: Decimal  # more than 0
    on: date
    source: str | None
    place: str

    def fits(self, currency: str, into: str) -> bool:
        """Whether it is of these two."""
        return (self.currency, self.into) == (currency, into)


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """One model's price within [start, end). The spans of one model do not overlap."""

    model: Model
    start: date
    end: date
    price: Price


class Book:
    """The entries, ready to answer. Raises SettingsError naming every pair that contradicts each other."""

    def __init__(
        self,
        prices: Iterable[Price] = (),
        *,
        timezone: str = "UTC",
        storage: Iterable[StoragePrice] = (),
        is_reported_used: bool = False,
        discounts: Iterable[Discount] = (),
        refunds: Iterable[Refund] = (),
        budgets: Iterable[Budget] = (),
        rates: Iterable[Rate] = (),
        as_of: date | None = None,
        digest: str = "",
    ) -> None:
        """`is_reported_used`: a call of a model without a price costs what Dify says it cost."""
        self.storage, self.is_reported_used = tuple(storage), is_reported_used
        self.prices, self.discounts, self.refunds = tuple(prices), tuple(discounts), tuple(refunds)
        self.budgets, self.rates = tuple(budgets), tuple(rates)
        self.timezone, self.as_of, self.digest = timezone, as_of, digest
        self._groups: dict[tuple[str | None, str], list[Price]] = {}
        for price in self.prices:
            self._groups.setdefault((price.provider, price.model), []).append(price)
        mistakes = [mistake for group in self._groups.values() for mistake in _contradictions(group)]
        places = {each.name: each.place for each in reversed(self.budgets)}
        mistakes += [
            f"{places[each.name]} and {each.place} are both called {each.name!r}; call one of them otherwise"
            for each in self.budgets
            if each.place != places[each.name]
        ]
        days = {(each.currency, each.into, each.on): each.place for each in reversed(self.rates)}
        mistakes += [
            f"{first} and {each.place} both say what {each.currency} is in {each.into} on {each.on}; remove one"
            for each in self.rates
            if (first := days[each.currency, each.into, each.on]) != each.place
        ]
        if mistakes:
            raise SettingsError("; ".join(mistakes))
        for group in self._groups.values():
            group.sort(key=lambda price: price.start or date.min, reverse=True)

    def price(self, model: Model, day: date) -> Price | None:
        """What counts for a model on a day; None: it has no price."""
        return next((price for group in self._fitting(model) for price in group if price.covers(day)), None)

    def spans(self, models: Iterable[Model], start: date, end: date) -> list[Span]:
        """The same as rows, for the days of [start, end): none where there is no price."""
        return [span for model in models for span in self._spans(model, start, end)]

    def _spans(self, model: Model, start: date, end: date) -> Iterator[Span]:
        groups = list(self._fitting(model))
        bounds = {day for group in groups for price in group for day in (price.start, price.end) if day}
        days = sorted({start, end, *(day for day in bounds if start < day < end)})
        for first, following in pairwise(days):
            price = next((price for group in groups for price in group if price.covers(first)), None)
            if price is not None:
                yield Span(model=model, start=first, end=following, price=price)

    def _fitting(self, model: Model) -> list[list[Price]]:
        """The groups that fit, the best first."""
        provider, name = model
        found = [
            (named is None, is_pattern(pattern), group)
            for (named, pattern), group in self._groups.items()
            if fnmatch.fnmatchcase(name, pattern) and _is_of(provider, named)
        ]
        return [group for *_, group in sorted(found, key=lambda each: each[:2])]


def one(rate: Decimal, per: int) -> Decimal:
    """What one costs: exact, as `per` is a power of ten."""
    return rate.scaleb(-(len(str(per)) - 1))


def is_pattern(text: str) -> bool:
    """Whether a text stands for many."""
    return any(sign in text for sign in "*?[")


def _is_of(provider: str | None, named: str | None) -> bool:
    if named is None:
        return True
    told = provider or ""
    return fnmatch.fnmatchcase(told, named) or fnmatch.fnmatchcase(told.rpartition("/")[2], named)


def _contradictions(group: Sequence[Price]) -> Iterator[str]:
    known: dict[date | None, Price] = {}
    for price in group:
        if (earlier := known.setdefault(price.start, price)) is not price:
            whose = f"{price.provider} {price.model}" if price.provider else price.model
            since = f"from {price.start}" if price.start else "without a from"
            yield (
                f"{earlier.place} and {price.place} both price {whose} {since}; "
                "give the newer one the day it counts from, or remove one"
            )
