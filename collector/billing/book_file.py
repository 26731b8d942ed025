"""The price book's file -> Book. Kept by people, so every mistake is named with its line and its remedy, all at once.

What comes in is the path of a TOML file, or its text; what goes out is a Book. Numbers are read as decimals, digit for
digit. Opens nothing but that file.

    timezone = "Asia/Shanghai"      # of the days below, and of billing periods; default UTC
    as_of = 2026-11-01              # when these prices were looked up

    [[price]]                       # provider, model: exact or patterns; from: first day; until: not included
    provider = "openai"
    model = "gpt-4o-mini*"
    currency = "USD"
    per = "1M"                      # tokens: 1, 1k, 1M
    input = 0.15                    # also cached_input, output, reasoning_output; request and image per call
    output = 0.60
    tiers = [{ above = 1_000_000_000, input = 0.12 }]
    from = 2026-01-01

    [fallback]                      # off unless it stands here
    use = "reported"                # a call of a model without a price costs what Dify says it cost

    [[knowledge]]                   # dataset: id, name or pattern; workspace: id or pattern; of none: all
    currency = "CNY"
    per = "1k"                      # of these: 1, 1k, 1M
    tokens = 0.002                  # for one day; also documents, segments, characters
    tiers = [{ above = 1_000_000, tokens = 0.001 }]

    [[discount]]                    # person, department, cost_centre, workspace, app, provider, model; the first counts
    department = "Research"
    percent = 12.5

    [[budget]]                      # the same subjects, and key; of none: all. It advises, and blocks nothing
    name = "research"
    amount = 500
    currency = "USD"
    department = "Research"

    [[rate]]                        # only for reading a bill in another currency
    currency = "USD"
    in = "CNY"
    rate = 7.1234
    on = 2026-01-31

    [[refund]]                      # nobody pays for this call
    call = "7f0c…"
    reason = "answered twice"
"""

from __future__ import annotations

import difflib
import hashlib
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

from collector.billing.book import (
    BUDGETED,
    CALL_KINDS,
    KINDS,
    REPORTED,
    STORED_KINDS,
    SUBJECTS,
    TOKEN_KINDS,
    Book,
    Budget,
    Discount,
    Price,
    Rate,
    Refund,
    StoragePrice,
    Tier,
)
from collector.billing.book_fields import (
    Entry,
    Wrong,
    amount_of,
    check_digits,
    currency_of,
    day_of,
    days_of,
    text_of,
    unit_of,
)
from collector.errors import QueryError, SettingsError
from collector.period import zone

Made = TypeVar("Made")

_TABLES = ("price", "knowledge", "discount", "budget", "rate", "refund")
_SHELVES = {kind: kind.removeprefix("stored_") for kind in STORED_KINDS}
"""A kind of line -> the field that prices it."""

_FIELDS = {
    "price": ("provider", "model", "currency", "per", *KINDS, "tiers", "cached", "from", "until", "source", "note"),
    "knowledge": ("dataset", "workspace", "currency", "per", *_SHELVES.values(), "tiers", "from", "until", "note"),
    "discount": (*SUBJECTS, "percent", "from", "until", "note"),
    "budget": (*BUDGETED, "name", "amount", "currency", "note"),
    "rate": ("currency", "in", "rate", "on", "source", "note"),
    "refund": ("call", "reason"),
}
_HEADER = re.compile(r"^[ \t]*\[\[[ \t]*(price|knowledge|discount|budget|rate|refund)[ \t]*\]\]", re.MULTILINE)
_CACHED = {"within": False, "extra": True}
_MOST_MISTAKES = 20
_LARGEST_BUDGET = Decimal(1_000_000_000_000)


def read_book(path: Path) -> Book:
    """The book in a file. Raises SettingsError naming the file and every mistake in it."""
    try:
        written = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path}: is not UTF-8") from None
    return parse_book(written, str(path))


def parse_book(written: str, name: str = "prices.toml") -> Book:
    """The book in a TOML text; `name` is what errors call it."""
    try:
        content = tomllib.loads(written, parse_float=Decimal)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise SettingsError(f"{name}: is no TOML: {error}") from None
    mistakes = list(_wrong_heads(content))
    if mistakes:
        raise SettingsError(f"{name}: " + "; ".join(mistakes))
    lines = written.splitlines()
    prices = _read(content, "price", _price, written, lines, mistakes)
    shelves = _read(content, "knowledge", _storage, written, lines, mistakes)
    discounts = _read(content, "discount", _discount, written, lines, mistakes)
    budgets = _read(content, "budget", _budget, written, lines, mistakes)
    rates = _read(content, "rate", _rate, written, lines, mistakes)
    refunds = _read(content, "refund", _refund, written, lines, mistakes)
    if mistakes:
        more = len(mistakes) - _MOST_MISTAKES
        rest = [f"and {more} more"] if more > 0 else []
        raise SettingsError(f"{name}: " + "; ".join(mistakes[:_MOST_MISTAKES] + rest))
    try:
        return Book(
            prices,
            timezone=content.get("timezone", "UTC"),
            storage=shelves,
            is_reported_used="fallback" in content,
            discounts=discounts,
            refunds=refunds,
            budgets=budgets,
            rates=rates,
            as_of=content.get("as_of"),
            digest=hashlib.sha256(written.encode()).hexdigest(),
        )
    except SettingsError as error:
        raise SettingsError(f"{name}: {error}") from None


def _wrong_heads(content: Entry) -> Iterator[str]:
    if unknown := sorted(content.keys() - {"timezone", "as_of", "fallback", *_TABLES}):
        tables = ", ".join(f"[[{table}]]" for table in _TABLES)
        yield f"{unknown[0]}: wanted timezone, as_of, [fallback], and entries, each under one of {tables}"
    fallback = content.get("fallback", {"use": REPORTED})
    heads = {"timezone", "as_of"} & (fallback.keys() if isinstance(fallback, dict) else set())
    yield from (f"{head}: belongs above [fallback]" for head in sorted(heads))
    if not heads and fallback != {"use": REPORTED}:
        yield f'fallback: wanted use = "{REPORTED}" (what has no price costs what Dify says), or no [fallback]'
    for table in _TABLES:
        entries = content.get(table, [])
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            yield f"{table}: wanted entries, each under [[{table}]]"
    try:
        timezone = content.get("timezone", "UTC")
        zone(timezone if isinstance(timezone, str) else repr(timezone))
    except QueryError as error:
        yield f"timezone: {error}"
    as_of = content.get("as_of")
    if as_of is not None and (not isinstance(as_of, date) or isinstance(as_of, datetime)):
        yield f"as_of: wanted a day such as 2026-01-31, got {as_of!s}"


def _read(
    content: Entry,
    table: str,
    made: Callable[[Entry, str], Made],
    written: str,
    lines: list[str],
    mistakes: list[str],
) -> list[Made]:
    """The entries of one table; what is wrong with the others is added to `mistakes`."""
    entries = content.get(table, [])
    places = [written.count("\n", 0, found.start()) + 1 for found in _HEADER.finditer(written) if found[1] == table]
    known = len(places) == len(entries)  # else they are written as inline tables
    found = []
    for number, entry in enumerate(entries):
        place = f"line {places[number]}" if known else f"{table} {number + 1}"
        try:
            if unknown := sorted(entry.keys() - set(_FIELDS[table])):
                close = difflib.get_close_matches(unknown[0], _FIELDS[table], 1)
                hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(_FIELDS[table])}"
                raise Wrong(unknown[0], f"is no field of a {table}; {hint}")
            found.append(made(entry, place))
        except Wrong as wrong:
            at = _line_of(wrong.field, places[number], lines) if known else None
            mistakes.append(f"{f'line {at}' if at else place}: {wrong}")
    return found


def _line_of(field: str, header: int, lines: list[str]) -> int:
    """The line on which a field of the entry stands; the entry's own where it is missing."""
    wanted = re.compile(rf"""\s*["']?{re.escape(field)}["']?\s*=""")
    for number in range(header, len(lines)):
        if lines[number].lstrip().startswith("["):
            break
        if field and wanted.match(lines[number]):
            return number + 1
    return header


def _price(entry: Entry, place: str) -> Price:
    rates = {kind: amount_of(entry, kind) for kind in KINDS if kind in entry}
    if not rates:
        raise Wrong("", f"costs nothing; wanted at least one of {', '.join(KINDS)} (0 where it is free)")
    needs_unit = any(kind in rates for kind in TOKEN_KINDS)
    if needs_unit and "per" not in entry:
        raise Wrong("per", "missing; wanted how many tokens a price is of: 1, 1k or 1M")
    per = unit_of(entry.get("per", "1"))
    for kind in TOKEN_KINDS:
        check_digits(rates.get(kind), kind, per)
    for kind in CALL_KINDS:
        check_digits(rates.get(kind), kind, 1)
    cached = entry.get("cached")
    if cached is not None and cached not in _CACHED:
        raise Wrong("cached", f"wanted within (cached tokens are part of the input's) or extra, got {cached!r}")
    start, end = days_of(entry)
    return Price(
        provider=text_of(entry, "provider", None),
        model=text_of(entry, "model") or "",
        currency=currency_of(entry.get("currency")),
        per=per,
        rates=rates,
        tiers=tuple(_tiers(entry.get("tiers", []), {kind: kind for kind in rates}, per)),
        is_cache_extra=_CACHED[cached] if cached is not None else None,
        start=start,
        end=end,
        source=text_of(entry, "source", None),
        place=place,
    )


def _storage(entry: Entry, place: str) -> StoragePrice:
    rates = {kind: amount_of(entry, field) for kind, field in _SHELVES.items() if field in entry}
    if not rates:
        there = ", ".join(_SHELVES.values())
        raise Wrong("", f"costs nothing; wanted at least one of {there}: what keeping `per` of them for a day costs")
    per = unit_of(entry.get("per", "1"))
    for kind in rates:
        check_digits(rates[kind], _SHELVES[kind], per)
    start, end = days_of(entry)
    return StoragePrice(
        dataset=text_of(entry, "dataset", None),
        workspace=text_of(entry, "workspace", None),
        currency=currency_of(entry.get("currency")),
        per=per,
        rates=rates,
        tiers=tuple(_tiers(entry.get("tiers", []), {_SHELVES[kind]: kind for kind in rates}, per)),
        start=start,
        end=end,
        place=place,
    )


def _tiers(written: object, kinds: Mapping[str, str], per: int) -> Iterator[Tier]:
    """`kinds` are the fields that are priced without tiers, and what their kinds are called."""
    wanted = "wanted a list such as [{ above = 1_000_000, input = 0.12 }]"
    if not isinstance(written, list):
        raise Wrong("tiers", wanted)
    last = 0
    for each in written:
        if not isinstance(each, dict) or not isinstance(above := each.get("above"), int) or isinstance(above, bool):
            raise Wrong("tiers", wanted)
        if above <= last:
            raise Wrong("tiers", f"above: wanted more than {last}, got {above}; write the tiers in order")
        last = above
        fields = each.keys() - {"above"}
        if not fields or not fields <= kinds.keys():
            there = ", ".join(kinds)
            raise Wrong("tiers", f"above {above}: wanted prices of what is priced without tiers too ({there})")
        found = {kinds[field]: amount_of(each, field, "tiers") for field in sorted(fields)}
        for kind, rate in found.items():
            check_digits(rate, "tiers", 1 if kind in CALL_KINDS else per)
        yield Tier(above=above, rates=found)


def _discount(entry: Entry, place: str) -> Discount:
    subjects = {subject: text_of(entry, subject) for subject in SUBJECTS if subject in entry}
    if not subjects:
        raise Wrong("", f'is for nobody; wanted at least one of {", ".join(SUBJECTS)} ("*" for all)')
    if "percent" not in entry:
        raise Wrong("percent", "missing; wanted 0 to 100")
    percent = amount_of(entry, "percent")
    if percent > 100 or percent != percent.quantize(Decimal("0.01")):
        raise Wrong("percent", f"wanted 0 to 100 with at most two digits behind the point, got {percent}")
    start, end = days_of(entry)
    return Discount(percent=percent, start=start, end=end, place=place, **subjects)


def _budget(entry: Entry, place: str) -> Budget:
    subjects = {subject: text_of(entry, subject) for subject in BUDGETED if subject in entry}
    name = text_of(entry, "name") or ""
    if not name.isprintable() or len(name) > 100:
        raise Wrong("name", "wanted 1 to 100 printable characters")
    if "amount" not in entry:
        raise Wrong("amount", "missing; wanted what may be used in a month")
    amount = amount_of(entry, "amount", dearest=_LARGEST_BUDGET)
    if not amount:
        raise Wrong("amount", "wanted more than 0")
    return Budget(name=name, amount=amount, currency=currency_of(entry.get("currency")), place=place, **subjects)


def _rate(entry: Entry, place: str) -> Rate:
    if "rate" not in entry:
        raise Wrong("rate", "missing; wanted what one unit is worth")
    rate, on = amount_of(entry, "rate", dearest=_LARGEST_BUDGET), day_of(entry, "on")
    if not rate:
        raise Wrong("rate", "wanted more than 0")
    if on is None:
        raise Wrong("on", "missing; wanted the day the rate is of")
    currency, into = currency_of(entry.get("currency")), currency_of(entry.get("in"), "in")
    return Rate(currency=currency, into=into, rate=rate, on=on, source=text_of(entry, "source", None), place=place)


def _refund(entry: Entry, place: str) -> Refund:
    return Refund(call=text_of(entry, "call") or "", reason=text_of(entry, "reason") or "", place=place)


class BookFile:
    """The book in a file, read again where the file changed. Safe to call from several threads."""

    def __init__(self, path: str | None) -> None:
        """`path` is None where no book is set."""
        self._path = Path(path) if path else None
        self._read: tuple[tuple[int, int], Book] | None = None

    def __call__(self) -> Book:
        """Raises SettingsError where there is no book, or a wrong one."""
        if self._path is None:
            raise SettingsError(
                "prices: no price book; set it to the path of a .toml file (deploy/prices.example.toml)"
            )
        try:
            about = self._path.stat()
        except OSError as error:
            raise SettingsError(f"{self._path}: cannot be read: {error.strerror}") from None
        state = (about.st_mtime_ns, about.st_size)
        if self._read is None or self._read[0] != state:
            self._read = (state, read_book(self._path))
        return self._read[1]
