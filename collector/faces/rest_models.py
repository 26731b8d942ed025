"""What REST takes and gives, as types: the OpenAPI document is made from these. Nothing here asks anything."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from collector.measures.ask import Fill
from collector.measures.catalogue import Catalogue
from collector.measures.chinese import help_zh
from collector.measures.dimension import Dimension
from collector.measures.dimensions import ALIASES
from collector.measures.flags import Flag
from collector.measures.formula import formula, sources
from collector.measures.measure import Measure
from collector.period import Compare, Grain

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
            description="Filter dimension:value; repeated for one dimension: either; nothing after it: not known. "
            "Also dimension^beginning, dimension~part of it, dimension=~pattern (RE2), dimension>=number; "
            "! before it: all but these · 过滤条件"
        ),
    ] = []
    fill: Annotated[str, Field(description=f"Steps without facts: {', '.join(Fill)} · 补齐空档")] = Fill.NONE.value
    order: Annotated[list[str], Field(description="Columns to sort by, - before one that goes down · 排序")] = []
    limit: Annotated[int | None, Field(ge=1, description="At most this many rows · 返回行数上限")] = None
    top: Annotated[
        int | None,
        Field(ge=1, description="Only the groups biggest in the first measure over the whole period · 前 N 名"),
    ] = None
    other: Annotated[
        bool, Field(description="With top: sum up the groups it leaves out, where they add up · 其余合计")
    ] = False
    totals: Annotated[bool, Field(description="The whole period without by and grain as well · 总计")] = False
    compare: Annotated[str, Field(description=f"Set an earlier period beside: {', '.join(Compare)} · 同比、环比")] = ""
    cursor: Annotated[
        str, Field(description="next_cursor of the page before; everything else as it was asked then · 翻页游标")
    ] = ""
    include_debug: Annotated[bool, Field(description="Count the console's test runs too · 包含调试")] = False
    moment: Annotated[
        Literal["created", "finished"],
        Field(description="What puts a fact into the period: when it began, or, as in Prometheus, ended · 计入时刻"),
    ] = "created"
    format: Annotated[
        Literal["", "json", "csv", "parquet", "arrow"],
        Field(description="json, csv, parquet or arrow; else as Accept says · 返回格式"),
    ] = ""


class Covered(BaseModel):
    """The half-open period [since, until), in UTC."""

    since: datetime
    until: datetime


class ComparedWith(Covered):
    """The earlier period of a comparison · 对比区间"""

    compare: Compare
    flags: dict[str, int] = Field(description="As `flags`, of its facts; steps_left_out have no counterpart.")


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
    other: list[dict[str, Value]] = Field([], description="The groups that top left out, summed, for each step.")
    totals: list[dict[str, Value]] = Field([], description="The whole period without by and grain.")
    compared: ComparedWith | None = Field(None, description="What <measure>_before and <measure>_change are about.")
    next_cursor: str | None = Field(None, description="Send it as cursor for the next page; absent on the last.")


class MeasureEntry(BaseModel):
    """A measure · 指标"""

    name: str
    title: str
    title_zh: str
    help: str
    help_zh: str | None
    unit: str
    kind: str
    formula: str = Field(description="How it is worked out; tables are the kinds of fact.")
    sources: list[str] = Field(description="Who can bring what it needs: any of them.")
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
    help_zh: str | None
    kind: str
    adds_up: bool = Field(description="Whether a fact has one value; of several it counts under each.")
    aliases: list[str]


class FlagEntry(BaseModel):
    """A flag of an answer · 质量标记"""

    name: str
    title: str
    title_zh: str
    help: str
    help_zh: str | None


class Listing(BaseModel):
    """The catalogue · 指标目录"""

    measures: list[MeasureEntry]
    dimensions: list[DimensionEntry]
    flags: list[FlagEntry]
    grains: list[str]
    fills: list[str]
    comparisons: list[str]


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
        "measures": [_measure(measure, catalogue) for measure in catalogue],
        "dimensions": [_dimension(dimension) for dimension in catalogue.dimensions],
        "flags": [{**_titles(flag), "help_zh": help_zh(flag)} for flag in flags.values()],
        "grains": list(Grain),
        "fills": list(Fill),
        "comparisons": list(Compare),
    }


def _measure(measure: Measure, catalogue: Catalogue) -> dict[str, object]:
    return {
        **_titles(measure),
        "help_zh": help_zh(measure),
        "unit": measure.unit,
        "kind": measure.kind,
        "formula": formula(measure, catalogue),
        "sources": sources(measure),
        "adds_up": measure.adds_up,
        "dimensions": [dimension.name for dimension in measure.by],
        "always_by": [dimension.name for dimension in measure.always_by],
        "flags": list(dict.fromkeys(flag.name for flag in measure.flags)),
        "family": measure.family,
    }


def _dimension(dimension: Dimension) -> dict[str, object]:
    aliases = [alias for alias, name in ALIASES.items() if name == dimension.name]
    return {
        **_titles(dimension),
        "help_zh": help_zh(dimension),
        "kind": dimension.kind.__name__,
        "adds_up": dimension.members is None,
        "aliases": aliases,
    }


def _titles(entry: Measure | Dimension | Flag) -> dict[str, object]:
    return {"name": entry.name, "title": entry.title, "title_zh": entry.title_zh, "help": entry.help}
