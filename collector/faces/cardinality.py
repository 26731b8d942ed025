"""How many series the Prometheus families have, and would have with other labels, before anybody changes anything.

In come a family's name and labels, out goes how many series that is. Numbers are of everything stored: a scrape
can come to no more. Nothing here changes what is scraped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from collector.access import Scope
from collector.errors import QueryError
from collector.faces.counting import Histogram, Labels, counted, numbers
from collector.faces.families import FAMILIES, Family
from collector.faces.guard import needs
from collector.faces.problems import PROBLEM_RESPONSES
from collector.faces.shape import Shape
from collector.measures.ask import Moment
from collector.measures.catalogue import CATALOGUE
from collector.measures.measure import Measure
from collector.measures.query import Rows
from collector.period import EARLIEST, Period

MANY = 10**9
"""Values that a label may have where nobody said how many."""

_BY_NAME = {family.name: family for family in FAMILIES}


class Counted(BaseModel):
    """How many series some labels make · 序列数"""

    labels: list[str]
    series: int = Field(description="Label combinations there are.")
    samples: int = Field(description="Lines of a scrape: of a histogram one for each bucket, the count and the sum.")
    values: dict[str, int] = Field(description="Label -> how many values it has.")
    over: int = Field(description="How many of the series are more than the family may have: they would be _OTHER.")


class FamilyBody(BaseModel):
    """A family as it is, and as it would be · 指标族"""

    family: str
    kind: str
    most: int = Field(description="Series it may have.")
    now: Counted
    changed: Counted | None = Field(None, description="With the labels asked for; null where none were.")


class Cardinality(BaseModel):
    """Every family, the biggest first · 序列基数"""

    most_series: int = Field(description="Series a family may have that has no limit of its own in `series_limits`.")
    families: list[FamilyBody]


def router(rows: Rows, clock: Callable[[], datetime], shape: Shape) -> APIRouter:
    """The route. `rows` is a Store's, `shape` says which labels and how many series families have."""
    routes = APIRouter(tags=["service"], responses=PROBLEM_RESPONSES)

    @routes.get(
        "/api/v1/cardinality",
        summary="Series of the Prometheus families · 序列基数",
        dependencies=[needs(Scope.READ)],
    )
    def cardinality(
        family: Annotated[str, Query(description="Only this family; empty: all · 指标族")] = "",
        add: Annotated[str, Query(description="Labels it would have as well, with commas between · 增加的标签")] = "",
        drop: Annotated[str, Query(description="Labels it would not have, with commas between · 去掉的标签")] = "",
        top: Annotated[
            int | None,
            Query(
                description="Values that each label added would have, the others together · 新增标签的取值上限", ge=1
            ),
        ] = None,
    ) -> Cardinality:
        """What there is, and what a change of labels would cost: any dimension of the family's measure can be asked."""
        families = [_named(family)] if family else [*FAMILIES]
        if top is not None and not add:
            raise QueryError("top is of the labels added: name some", field="top", remedy="add=user_id")
        more, fewer = _words(add), _words(drop)
        if (more or fewer) and not family:
            raise QueryError("labels are added to one family: name it", field="family", remedy="family=dify_…")
        look = _Look(rows, clock())

        def body(each: Family) -> FamilyBody:
            labels = shape.labels(each.name, each.labels)
            changed = None
            if more or fewer:
                wanted, asked = _changed(each, labels, more, fewer)
                changed = look.counted(each, wanted, replace(shape, more={each.name: asked}, most_values=top or MANY))
            most, now = shape.limit(each.name), look.counted(each, labels, shape)
            return FamilyBody(family=each.name, kind=each.kind, most=most, now=now, changed=changed)

        found = [body(each) for each in families]
        found.sort(key=lambda body: (-body.now.samples, body.family))
        return Cardinality(most_series=shape.most_series, families=found)

    return routes


class _Look:
    def __init__(self, rows: Rows, now: datetime) -> None:
        self._rows = rows
        self._period = Period(EARLIEST, now.astimezone(UTC), ZoneInfo("UTC"))

    def counted(self, family: Family, labels: Labels, shape: Shape) -> Counted:
        """How many there are, values that the shape puts together being one."""
        measure = _measure(family)
        found = numbers([(measure, labels)], self._rows, self._period, Moment.CREATED)[measure]
        series = {*shape.narrowed(family.name, labels, found, ()).values()}
        each = len(family.buckets) + 3 if family.kind == "histogram" else 1
        return Counted(
            labels=list(labels),
            series=len(series),
            samples=len(series) * each,
            values={name: len({key[place] for key in series}) for place, name in enumerate(labels)},
            over=max(0, len(series) - shape.limit(family.name)),
        )


def _measure(family: Family) -> Measure:
    """What is counted: of a histogram how many facts there are."""
    if family.kind == "histogram":
        return Histogram.of(family).number
    measure = CATALOGUE.measure(family.measure)
    return measure if family.kind == "gauge" else counted(measure, when_final=family.when_final)


def _named(name: str) -> Family:
    if (found := _BY_NAME.get(name)) is None:
        raise QueryError(
            f"no family {name!r}", field="family", remedy="GET /api/v1/cardinality without it lists them all"
        )
    return found


def _changed(family: Family, labels: Labels, add: Iterable[str], drop: Iterable[str]) -> tuple[Labels, Labels]:
    """The labels it would have, the new ones first, and those of them that are none of its own.

    Raises QueryError for one that the family's measure does not know.
    """
    fewer = {CATALOGUE.dimension(name, field="drop").name for name in drop}
    if unknown := sorted(fewer - set(labels)):
        raise QueryError(f"{family.name} has no label {unknown[0]!r}", field="drop", remedy=", ".join(labels))
    more = [CATALOGUE.dimension(name, field="add") for name in add]
    known = {dimension.name for dimension in _measure(family).by}
    for dimension in more:
        if dimension.name not in known:
            raise QueryError(
                f"{family.measure} cannot be split by {dimension.name!r}",
                field="add",
                remedy=f"one of {', '.join(sorted(known))}",
            )
    kept = [name for name in labels if name not in fewer]
    wanted = tuple(dict.fromkeys((*(each.name for each in more if each.name not in kept), *kept)))
    return wanted, tuple(name for name in wanted if name not in family.labels)


def _words(written: str) -> list[str]:
    return [word.strip() for word in written.split(",") if word.strip()]
