"""What a measure and a dimension are: plain data that every face reads. Nothing here runs a query.

A measure says how one number is made from facts; a dimension, by what it may be split. Names, titles, units and help
stand here once, and Prometheus, REST, Grafana, reports and the reference page all take them from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from collector.records import Record


class Kind(StrEnum):
    """How a measure is made and whether its values add up over steps and dimensions."""

    COUNT = "count"  # rows                               adds up
    TOTAL = "total"  # sum of a column                    adds up
    DISTINCT = "distinct"  # different values of a column       does not add up
    MEAN = "mean"  # sum of a column / rows that have it
    QUANTILE = "quantile"  # exact, interpolated (quantile_cont)
    RATIO = "ratio"  # one additive measure / another
    RATE = "rate"  # an additive measure / seconds of the step
    LATEST = "latest"  # newest instant of a column


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """A column to split by.

    `columns` gives the SQL expression per record class, over that class's table under its own name; it may use a
    table named in `joins` (LEFT JOINed on the SQL given there, many facts to one row).
    `is_label`: its values are few enough for a Prometheus label.
    """

    name: str
    title: str
    title_zh: str
    help: str
    columns: Mapping[type[Record], str]
    joins: Mapping[type[Record], tuple[str, ...]]
    is_label: bool = False


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One number: name, unit, how it is made, and from which facts.

    `record` and `where` say which rows; `column` what is summed, averaged, ranked or told apart (an SQL expression);
    `at` which instant puts a row into a period; `parts` are the two measures of a ratio, or the one of a rate.
    `by` names the dimensions it can be split by; `always_by` those it must be split by (money: the currency).
    `prometheus` is the family's name without suffix-mangling, None where the measure is for REST only.
    """

    name: str
    kind: Kind
    title: str
    title_zh: str
    help: str
    unit: str  # tokens, runs, seconds, ratio, requests/second, currency, ...
    record: type[Record] | None = None
    column: str | None = None
    where: str = "TRUE"
    at: str = "created_at"
    quantile: float | None = None
    scale: float = 1.0  # of a ratio: 1000 makes it per mille
    parts: tuple[Measure, ...] = ()
    by: tuple[Dimension, ...] = ()
    always_by: tuple[Dimension, ...] = ()

    @property
    def adds_up(self) -> bool:
        """Whether the values of parts (days, apps) sum to the value of the whole."""
        return self.kind in (Kind.COUNT, Kind.TOTAL)
