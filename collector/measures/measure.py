"""What a measure is: plain data that every face reads, and the functions that make one. Nothing here runs a query.

A measure says how one number is made from facts. Names, titles, units and help stand here once, and Prometheus,
REST, Grafana, reports and the reference page all take them from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from collector.measures.dimensions import Dimension, dimensions_of
from collector.measures.fragments import Facts, qualify
from collector.records import Message, ModelCall, Run


class Kind(StrEnum):
    """How a measure is made and whether its values add up over steps and dimensions."""

    COUNT = "count"  # rows                               adds up
    TOTAL = "total"  # sum of a column                    adds up
    DISTINCT = "distinct"  # different values of a column       does not add up
    MEAN = "mean"  # sum of a column / rows that have it
    BUCKETS = "buckets"  # rows by the first of `bounds` that is not below the column; for faces, not in the catalogue
    QUANTILE = "quantile"  # exact, interpolated (quantile_cont)
    RATIO = "ratio"  # one measure / another, each summed first
    RATE = "rate"  # an additive measure / seconds of the step
    LATEST = "latest"  # newest instant of a column
    EARLIEST = "earliest"  # oldest instant of a column
    SNAPSHOT = "snapshot"  # a column's last value per `key` in the step, summed over keys (of instants: the oldest)


DERIVED = (Kind.RATIO, Kind.RATE)
"""Kinds that are worked out from the answers of their parts."""

INSTANT = "instant"
"""The unit of LATEST and EARLIEST."""

CURRENCY_UNIT = "currency"
"""The unit of money: what it counts stands in the answer's currency column."""

DIFY_USD = "USD as Dify says"
"""The unit of Dify's own sums of money: amounts of all currencies added, and called US dollars."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Flag:
    """Something a reader should know about an answer: how many of its rows are `where`.

    `versions`: only rows that were made by a Dify from the first to the last of these (as numbers) can be.
    """

    name: str
    record: Facts
    where: str
    title: str
    title_zh: str
    help: str
    versions: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "where", qualify(self.where, self.record))


ESTIMATED = Flag(
    name="estimated",
    record=ModelCall,
    where="is_estimate",
    title="Estimated calls",
    title_zh="估算的调用",
    help="Calls that stand for all calls of a run, because its nodes told no usage.",
)
USAGE_UNKNOWN = Flag(
    name="usage_unknown",
    record=ModelCall,
    where="tokens IS NULL",
    title="Calls without usage",
    title_zh="用量未知的调用",
    help="Calls whose tokens nobody told; they are missing from the sum, not counted as zero.",
)
UNPRICED = Flag(
    name="unpriced",
    record=ModelCall,
    where="tokens > 0 AND coalesce(cost, 0) = 0",
    title="Calls without a price",
    title_zh="未定价的调用",
    help="Calls that spent tokens for which Dify has no price, or a price of zero.",
)
STALE_RUNS = Flag(
    name="stale",
    record=Run,
    where="status = 'stale'",
    title="Stale",
    title_zh="长期未结束",
    help="Facts that stayed open longer than they may, and whose end is not known.",
)
STALE_MESSAGES = Flag(
    name="stale",
    record=Message,
    where="status = 'stale'",
    title=STALE_RUNS.title,
    title_zh=STALE_RUNS.title_zh,
    help=STALE_RUNS.help,
)


@dataclass(frozen=True)
class Rounding:
    """To so many digits behind the point: as Python rounds a float, or (`is_decimal`) exactly divided, half to even.

    They differ: 203 / 200 is 1.01 as a float, which is a little less than 1.015, and 1.02 as a decimal.
    """

    digits: int
    is_decimal: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Measure:
    """One number: name, unit, how it is made, and from which facts.

    `record` and `where` say which rows; `column` what is summed, averaged, ranked or told apart (an SQL expression
    over the record's table and `joins`); `at` which instant puts a row into a period, None for what has no period.
    `key` says what a snapshot is of: looks at one thing do not add up over time, things do.
    `parts` are the two measures of a ratio, the one of a rate, or those a union puts together (then `record` is None).
    `by` names the dimensions it can be split by; `always_by` those it must be split by (money: the currency).
    `family` is the name shared by a mean and its quantiles: asking for it asks for them all.
    """

    name: str
    kind: Kind
    title: str
    title_zh: str
    help: str
    unit: str  # tokens, runs, seconds, ratio, requests/second, currency, instant, ...
    record: Facts | None = None
    column: str | None = None
    where: str = "TRUE"
    at: str | None = "created_at"
    joins: tuple[str, ...] = ()
    key: str | None = None
    quantile: float | None = None
    scale: int = 1  # of a ratio or mean: 1000 makes it per mille, or milliseconds
    rounding: Rounding | None = None  # of a ratio or mean; None: as it is
    of_zero: float | None = None  # a ratio whose denominator is zero; None: not known
    bounds: tuple[float, ...] = ()
    parts: tuple[Measure, ...] = ()
    by: tuple[Dimension, ...] = ()
    always_by: tuple[Dimension, ...] = ()
    flags: tuple[Flag, ...] = ()
    family: str | None = None

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        if self.record is not None:
            for field in ("column", "where", "at", "key"):
                if (fragment := getattr(self, field)) is not None:
                    set_(self, field, qualify(fragment, self.record))
            set_(self, "by", self.by or dimensions_of(self.record))
        else:
            first, *others = self.parts
            set_(self, "by", tuple(d for d in first.by if all(d in other.by for other in others)))
            set_(self, "at", first.at)

    @property
    def adds_up(self) -> bool:
        """Whether the values of parts (days, apps) sum to the value of the whole; a snapshot's days do not."""
        return self.kind in (Kind.COUNT, Kind.TOTAL)

    @property
    def is_money(self) -> bool:
        """Whether its values are Decimal amounts of a currency."""
        return self.unit == CURRENCY_UNIT

    @property
    def is_decimal(self) -> bool:
        """Whether its values are Decimal."""
        return self.is_money or self.unit == DIFY_USD

    @property
    def facts(self) -> tuple[Facts, ...]:
        """The kinds of record it is made from, each once."""
        found = [self.record] if self.record else [facts for part in self.parts for facts in part.facts]
        return tuple(dict.fromkeys(found))


def count(
    name: str,
    record: Facts,
    *,
    title: str,
    title_zh: str,
    help: str,
    unit: str,
    where: str = "TRUE",
    at: str = "created_at",
    joins: tuple[str, ...] = (),
    flags: tuple[Flag, ...] = (),
) -> Measure:
    """How many rows there are."""
    return Measure(
        name=name,
        kind=Kind.COUNT,
        title=title,
        title_zh=title_zh,
        help=help,
        unit=unit,
        record=record,
        where=where,
        at=at,
        joins=joins,
        flags=flags,
    )


def total(
    name: str,
    record: Facts,
    column: str,
    *,
    title: str,
    title_zh: str,
    help: str,
    unit: str,
    where: str = "TRUE",
    joins: tuple[str, ...] = (),
    always_by: tuple[Dimension, ...] = (),
    flags: tuple[Flag, ...] = (),
) -> Measure:
    """The sum of a column. Rows that do not know it add nothing; when none knows it, the sum is not known."""
    return Measure(
        name=name,
        kind=Kind.TOTAL,
        title=title,
        title_zh=title_zh,
        help=help,
        unit=unit,
        record=record,
        column=column,
        where=where,
        joins=joins,
        always_by=always_by,
        flags=flags,
    )


def distinct(
    name: str,
    record: Facts,
    column: str,
    *,
    title: str,
    title_zh: str,
    help: str,
    unit: str,
    where: str = "TRUE",
    at: str = "created_at",
    joins: tuple[str, ...] = (),
) -> Measure:
    """How many different values a column has. They do not add up: who came on two days is one visitor."""
    return Measure(
        name=name,
        kind=Kind.DISTINCT,
        title=title,
        title_zh=title_zh,
        help=help,
        unit=unit,
        record=record,
        column=column,
        where=where,
        at=at,
        joins=joins,
    )


def spread(
    name: str,
    record: Facts,
    column: str,
    *,
    title: str,
    title_zh: str,
    help: str,
    where: str = "TRUE",
    unit: str = "seconds",
) -> tuple[Measure, ...]:
    """Mean, median, 95th and 99th percentile of a column; rows that do not know it are left out."""
    shapes = ((Kind.MEAN, "mean", "平均", None), *((Kind.QUANTILE, f"p{p}", f"P{p}", p / 100) for p in (50, 95, 99)))
    return tuple(
        Measure(
            name=f"{name}_{suffix}",
            kind=kind,
            title=f"{title}, {suffix}",
            title_zh=f"{title_zh}（{suffix_zh}）",
            help=help,
            unit=unit,
            record=record,
            column=column,
            where=where,
            quantile=quantile,
            family=name,
        )
        for kind, suffix, suffix_zh, quantile in shapes
    )


def snapshot(
    name: str,
    record: Facts,
    column: str,
    *,
    key: str,
    title: str,
    title_zh: str,
    help: str,
    unit: str,
    where: str = "TRUE",
) -> Measure:
    """What a column said at the last look in the step, summed over the things that `key` tells apart."""
    return Measure(
        name=name,
        kind=Kind.SNAPSHOT,
        title=title,
        title_zh=title_zh,
        help=help,
        unit=unit,
        record=record,
        column=column,
        where=where,
        key=key,
    )


def newest(name: str, record: Facts, column: str, *, title: str, title_zh: str, help: str, where: str) -> Measure:
    """The newest instant of a column."""
    return Measure(
        name=name,
        kind=Kind.LATEST,
        title=title,
        title_zh=title_zh,
        help=help,
        unit=INSTANT,
        record=record,
        column=column,
        where=where,
    )


def union(name: str, *parts: Measure, title: str, title_zh: str, help: str) -> Measure:
    """Rows (or different values) of several tables as if they were one. All parts are of one kind and unit."""
    ((kind, unit),) = {(part.kind, part.unit) for part in parts}
    return Measure(name=name, kind=kind, title=title, title_zh=title_zh, help=help, unit=unit, parts=parts)


def ratio(
    name: str,
    numerator: Measure,
    denominator: Measure,
    *,
    title: str,
    title_zh: str,
    help: str,
    unit: str = "ratio",
    scale: int = 1,
    rounding: Rounding | None = None,
    of_zero: float | None = None,
) -> Measure:
    """Sum over sum; `of_zero` (not known, unless given) where the denominator is zero."""
    return Measure(
        name=name,
        kind=Kind.RATIO,
        title=title,
        title_zh=title_zh,
        help=help,
        unit=unit,
        parts=(numerator, denominator),
        scale=scale,
        rounding=rounding,
        of_zero=of_zero,
        flags=tuple(dict.fromkeys((*numerator.flags, *denominator.flags))),
    )


def rate(name: str, of: Measure, *, title: str, title_zh: str, help: str, unit: str) -> Measure:
    """An additive measure per second of the step, as far as the step lies inside the period."""
    return Measure(
        name=name, kind=Kind.RATE, title=title, title_zh=title_zh, help=help, unit=unit, parts=(of,), flags=of.flags
    )
