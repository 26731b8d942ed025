"""Filters: `app:shop`, `!status:failed`, `model^gpt-`, `app_name~help`, `app=~(a|b)`, `status_code>=500` -> tests of a
dimension.

What comes in is what people write; what goes out are Filters whose values have the dimension's type, or a QueryError.
Values are never part of SQL: `collector.measures.sql` binds them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from collector.errors import QueryError
from collector.measures.catalogue import Catalogue
from collector.measures.dimension import Dimension

MOST_VALUES = 1000
"""More values than this in one question are refused."""

LONGEST_VALUE = 1000
"""No name or id is longer, in characters."""

LONGEST_PATTERN = 40_000
"""A pattern may list a thousand ids: Grafana writes the choices of a variable so."""

EVERYTHING = ".*"
"""The pattern of no condition at all: it is Grafana's word for "all", and Prometheus' too."""

_BOOLEANS = {"true": True, "false": False}
_WRITTEN = re.compile(r"\s*(!?)\s*(\w+)\s*(:|\^|=~|~|>=|<=|>|<)(.*)", re.DOTALL)
_FORMS = "dimension:value, such as app:shop; also !app:shop, model^gpt-, app_name~help, app=~(a|b), status_code>=500"


class Match(StrEnum):
    """How a value is held against a dimension."""

    IN = ":"  # is one of the values; nothing after the colon: is not known
    PREFIX = "^"  # begins with one of them
    CONTAINS = "~"  # has one of them in it, small and capital letters alike
    MATCHES = "=~"  # is, as a whole, what the pattern describes (RE2, as in PromQL); what is not known is ""
    AT_LEAST = ">="
    AT_MOST = "<="
    ABOVE = ">"
    BELOW = "<"

    @property
    def is_range(self) -> bool:
        """Whether it compares; then each value is a condition of its own."""
        return self in (Match.AT_LEAST, Match.AT_MOST, Match.ABOVE, Match.BELOW)

    @property
    def is_of_text(self) -> bool:
        """Whether it looks into a text."""
        return self in (Match.PREFIX, Match.CONTAINS, Match.MATCHES)


@dataclass(frozen=True)
class Filter:
    """Keep the facts whose dimension passes the test with one of the values or, negated, with none; None is "not
    known", and passes no test but IN and a pattern that takes an empty text."""

    dimension: Dimension
    values: tuple[object, ...]
    is_negated: bool = False
    match: Match = Match.IN


def filters(written: Mapping[str, object] | Iterable[str], catalogue: Catalogue) -> tuple[Filter, ...]:
    """What people write -> Filters, which all have to hold. Raises QueryError.

    Values of one dimension with one test are alternatives; a range is a condition for each value.
    """
    asked = _spread(written) if isinstance(written, Mapping) else (_taken_apart(each) for each in written if each)
    found: dict[tuple[object, ...], list[object]] = {}
    for place, (is_negated, name, match, value) in enumerate(asked):
        if place >= MOST_VALUES:
            raise QueryError(
                f"more than {MOST_VALUES:,} values to filter by",
                field="where",
                remedy="ask for fewer, or split by the dimension and pick from the answer",
            )
        dimension = catalogue.dimension(name, field="where")
        if match is Match.MATCHES and value == EVERYTHING and not is_negated:
            continue
        key = (dimension, is_negated, match, place if match.is_range else None)
        found.setdefault(key, []).append(_value(value, dimension, match))
    return tuple(
        Filter(dimension, tuple(values), is_negated, match)  # type: ignore[arg-type]
        for (dimension, is_negated, match, _), values in found.items()
    )


def _spread(written: Mapping[str, object]) -> Iterator[tuple[bool, str, Match, object]]:
    for name, values in written.items():
        for value in values if isinstance(values, list | tuple | set | frozenset) else [values]:
            yield name.startswith("!"), name.removeprefix("!"), Match.IN, value


def _taken_apart(written: str) -> tuple[bool, str, Match, str]:
    found = _WRITTEN.fullmatch(written)
    if not found:
        raise QueryError(f"where wants {_FORMS}; got {written[:80]!r}", field="where")
    return bool(found[1]), found[2], Match(found[3]), found[4].strip()


def _value(value: object, dimension: Dimension, match: Match) -> object:
    if value is None or value == "":
        if match is not Match.IN:
            raise QueryError(f"{dimension.name}{match} wants a value behind it", field="where")
        return None
    written = str(value)
    if len(written) > (LONGEST_PATTERN if match is Match.MATCHES else LONGEST_VALUE):
        raise QueryError(f"a value of {dimension.name} has {len(written):,} characters", field="where")
    if match.is_of_text and dimension.kind is not str:
        raise QueryError(f"{dimension.name} is no text: it takes {dimension.name}:value", field="where")
    if match is Match.MATCHES:
        _check_pattern(written, dimension)
    if dimension.kind is bool:
        if written.lower() not in _BOOLEANS or match.is_range:
            raise QueryError(f"{dimension.name} is true or false, got {match}{written[:80]!r}", field="where")
        return _BOOLEANS[written.lower()]
    return _whole(written, dimension) if dimension.kind is int else written


def _whole(written: str, dimension: Dimension) -> int:
    try:
        number = int(written)
    except ValueError:
        raise QueryError(f"{dimension.name} is a whole number, got {written[:80]!r}", field="where") from None
    if abs(number) >= 2**63:
        raise QueryError(f"{dimension.name} is a whole number of at most 18 digits", field="where")
    return number


def _check_pattern(written: str, dimension: Dimension) -> None:
    """Raises QueryError where RE2, which the store looks with, does not understand a pattern."""
    import pyarrow as pa  # as long to load as a question takes to answer, and seldom needed
    import pyarrow.compute

    try:
        pa.compute.match_substring_regex(pa.array([""]), written)
    except pa.ArrowInvalid as error:
        why = str(error).rpartition(": ")[2]
        raise QueryError(
            f"{dimension.name}=~{written[:80]}: no pattern ({why})",
            field="where",
            remedy="patterns are RE2's, as in PromQL: no look-ahead, no back-reference; escape . ( [ with \\",
        ) from None
