"""What REST takes and gives, as types: the OpenAPI document is made from these. Nothing here asks anything."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from collector.measures.ask import Fill
from collector.measures.catalogue import Catalogue
from collector.measures.dimensions import ALIASES, Dimension
from collector.measures.measure import Flag, Measure
from collector.period import Grain

Value = int | float | str | bool | None


ALL = "all"
"""The period from the first stored fact on."""


class Asked(BaseModel):
    """The parameters of a question. One that is not here is refused: a misspelt filter must not be ignored."""

    model_config = ConfigDict(extra="forbid")

    measure: Annotated[
        list[str], Field(min_length=1, description="What to count; several with commas or repeated · 指标")
    ]
    by: Annotated[list[str], Field(description="Dimensions to split by, such as app,model · 维度")] = []
    grain: Annotated[str, Field(description=f"Step: {', '.join(Grain)} · 时间粒度")] = Grain.NONE.value
    since: Annotated[
        str, Field(description="Start: a span back (7d), a year, month (2025-06), day, instant, or all · 开始时间")
    ] = ALL
    until: Annotated[
        str, Field(description="End: a year, month or day (meant whole), an instant, or now · 结束时间")
    ] = ""
    tz: Annotated[str, Field(description="IANA time zone that days are cut in, such as Asia/Shanghai · 时区")] = ""
    where: Annotated[
        list[str],
        Field(
            description="Filter dimension:value. Repeated for one dimension: either; !dimension:value: any but this; "
            "nothing after the colon: not known · 过滤条件"
        ),
    ] = []
    fill: Annotated[str, Field(description=f"Steps without facts: {', '.join(Fill)} · 补齐空档")] = Fill.NONE.value
    order: Annotated[list[str], Field(description="Columns to sort by, - before one that goes down · 排序")] = []
    limit: Annotated[int | None, Field(ge=1, description="At most this many rows · 返回行数上限")] = None
    top: Annotated[
        int | None,
        Field(ge=1, description="Only the groups biggest in the first measure over the whole period · 前 N 名"),
    ] = None
    include_debug: Annotated[bool, Field(description="Count the console's test runs too · 包含调试")] = False
    format: Annotated[Literal["", "json", "csv"], Field(description="json, or csv · 返回格式")] = ""


class Covered(BaseModel):
    """The half-open period [since, until), in UTC."""

    since: datetime
    until: datetime


class AnswerBody(BaseModel):
    """An answer · 查询结果"""

    rows: list[dict[str, Value]] = Field(description="Per row: `time` (start of the step), dimensions, measures.")
    period: Covered
    timezone: str = Field(description="IANA zone that days were cut in.")
    grain: Grain
    watermark: datetime | None = Field(description="Everything created before this is in; null before the first pull.")
    flags: dict[str, int] = Field(description="How many facts a reader should know about; see /api/v1/measures.")
    units: dict[str, str] = Field(description="Measure -> unit; of `currency`, see the row's currency.")
    read_from: Literal["rollups", "facts", "both"] = Field(
        alias="from", description="Where the numbers were read; all say the same, rollups say it sooner."
    )


class MeasureEntry(BaseModel):
    """A measure · 指标"""

    name: str
    title: str
    title_zh: str
    help: str
    unit: str
    kind: str
    adds_up: bool = Field(description="Whether days and apps sum to the whole.")
    dimensions: list[str]
    always_by: list[str]
    flags: list[str]
    family: str | None = Field(description="Name that asks for the mean and all percentiles.")


class DimensionEntry(BaseModel):
    """A dimension · 维度"""

    name: str
    title: str
    title_zh: str
    help: str
    kind: str
    aliases: list[str]


class FlagEntry(BaseModel):
    """A flag of an answer · 质量标记"""

    name: str
    title: str
    title_zh: str
    help: str


class Listing(BaseModel):
    """The catalogue · 指标目录"""

    measures: list[MeasureEntry]
    dimensions: list[DimensionEntry]
    flags: list[FlagEntry]
    grains: list[str]
    fills: list[str]


class Alive(BaseModel):
    """The process answers · 存活"""

    status: Literal["alive"]
    version: str


class StreamPulls(BaseModel):
    """Pulls of one stream in the last seven days · 采集情况"""

    stream: str | None
    last_complete_pull: datetime | None
    pulls: int
    pull_failures: int


class Ready(BaseModel):
    """The store answers · 就绪"""

    status: Literal["ready"]
    pulls: list[StreamPulls]


def listing(catalogue: Catalogue) -> dict[str, object]:
    """The catalogue as GET /api/v1/measures tells it."""
    flags = {flag.name: flag for measure in catalogue for flag in measure.flags}
    return {
        "measures": [_measure(measure) for measure in catalogue],
        "dimensions": [_dimension(dimension) for dimension in catalogue.dimensions],
        "flags": [_titles(flag) for flag in flags.values()],
        "grains": list(Grain),
        "fills": list(Fill),
    }


def _measure(measure: Measure) -> dict[str, object]:
    return {
        **_titles(measure),
        "unit": measure.unit,
        "kind": measure.kind,
        "adds_up": measure.adds_up,
        "dimensions": [dimension.name for dimension in measure.by],
        "always_by": [dimension.name for dimension in measure.always_by],
        "flags": list(dict.fromkeys(flag.name for flag in measure.flags)),
        "family": measure.family,
    }


def _dimension(dimension: Dimension) -> dict[str, object]:
    aliases = [alias for alias, name in ALIASES.items() if name == dimension.name]
    return {**_titles(dimension), "kind": dimension.kind.__name__, "aliases": aliases}


def _titles(entry: Measure | Dimension | Flag) -> dict[str, object]:
    return {"name": entry.name, "title": entry.title, "title_zh": entry.title_zh, "help": entry.help}
