"""What each statistic takes and gives, as types for OpenAPI: made from its row in the table and from the catalogue."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic.fields import FieldInfo

from collector.faces.rest_models import AnswerBody, Asked, Value
from collector.faces.statistics.asking import RANK
from collector.faces.statistics.table import Part, Statistic
from collector.measures.ask import BEFORE, CHANGE, TIME
from collector.measures.catalogue import Catalogue
from collector.measures.dimension import Dimension
from collector.measures.measure import Measure
from collector.period import Grain

EXAMPLE_ID = "0e4b4c1e-6f0c-4a2e-9d5c-3a8f4f1b2c6d"

_EXAMPLES: dict[str, object] = {
    TIME: "2026-11-20T00:00:00+08:00",
    RANK: 1,
    "app_id": EXAMPLE_ID,
    "app_name": "客服助手",
    "app_mode": "advanced-chat",
    "model_provider": "langgenius/tongyi/tongyi",
    "model_name": "qwen-max",
    "user_id": "8d1f9f34-52a5-4a5f-9f3c-0f6f7f5b6a21",
    "user_kind": "end_user",
    "user_name": "alice",
    "dataset_id": "c2d7a5c4-7a0f-4f7e-8a53-7d0d2c1c9b10",
    "dataset_name": "产品手册",
    "broker": "dify",
    "queue": "dataset",
}
_NUMBERS: dict[type, object] = {int: 128, float: 0.875, Decimal: "12.345000000", datetime: "2026-11-20T03:04:05+00:00"}


class Row(BaseModel):
    """A row; dimensions that the request added, costs (`cost_usd`) and comparisons stand in it too."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Value]


@cache
def asked_by(statistic: Statistic) -> type[BaseModel]:
    """The parameters: those of a question without `measure`, with this statistic's defaults; `search` in a list."""
    defaults = {
        "grain": statistic.grain,
        "since": statistic.since,
        "order": [statistic.order] if statistic.order else [],
        "limit": statistic.limit,
        "compare": statistic.compare,
        "totals": statistic.totals,
    }
    fields: dict[str, Any] = {}
    for name, info in Asked.model_fields.items():
        if name != "measure":
            fields[name] = (_like(info), defaults.get(name, info.get_default()))
    if statistic.search:
        about = f"Only rows whose {statistic.search} holds this, in small or capital letters · 搜索"
        fields["search"] = (Annotated[str, Field(description=about, max_length=200)], "")
    return create_model(f"{statistic.name}Asked", __config__=ConfigDict(extra="forbid"), **fields)


@cache
def body_of(statistic: Statistic, catalogue: Catalogue) -> type[BaseModel]:
    """The JSON answer."""
    row: Any = _row(f"{statistic.name}Row", statistic.by, statistic.measures, catalogue, is_ranked=statistic.is_ranked)
    listed: Any = list[row]
    fields: dict[str, Any] = {"rows": (listed, Field(description="Per row: `time`, dimensions, measures."))}
    for name in ("other", "totals"):
        fields[name] = (listed, AnswerBody.model_fields[name])
    for part in statistic.parts:
        words = f"{statistic.name}{''.join(word.capitalize() for word in part.name.split('_'))}Row"
        one: Any = _row(words, part.by, part.measures, catalogue)
        kind: Any = list[one]
        about = f"{part.title} · {part.title_zh}; absent where a filter does not fit it."
        fields[part.name] = (kind, Field([], description=about))
    title = f"{statistic.title} · {statistic.title_zh}"
    return create_model(f"{statistic.name}Answer", __base__=AnswerBody, __doc__=title, **fields)


def example_of(statistic: Statistic, catalogue: Catalogue) -> dict[str, object]:
    """An answer as it may look."""
    grain = Grain(statistic.grain)
    told: dict[str, object] = {
        "rows": [_example(statistic, grain, catalogue)],
        "period": {"since": "2026-10-21T16:00:00+00:00", "until": "2026-11-20T04:00:00+00:00"},
        "timezone": "Asia/Shanghai",
        "grain": statistic.grain,
        "watermark": "2026-11-20T03:59:00+00:00",
        "flags": {},
        "units": {measure.name: measure.unit for measure in _shown(statistic.measures, grain, catalogue)},
    }
    for part in statistic.parts:
        told[part.name] = [_example(part, Grain(part.grain), catalogue)]
    return told


def _like(info: FieldInfo) -> Any:
    """The type of a parameter, with its limits and its words."""
    told: Any = (info.annotation, *info.metadata, Field(description=info.description))
    return Annotated[told]


def _row(
    name: str, by: tuple[str, ...], measures: tuple[str, ...], catalogue: Catalogue, *, is_ranked: bool = False
) -> type[Row]:
    fields: dict[str, Any] = {TIME: (datetime | None, Field(None, description="Start of the step."))}
    if is_ranked:
        fields[RANK] = (int | None, Field(None, description="Place in the whole list, from 1 · 排名"))
    for dimension in map(catalogue.dimension, by):
        fields[dimension.name] = (dimension.kind | None, Field(None, description=_told(dimension)))
    for measure in catalogue.measures(measures):
        kind: Any = str if measure.holds is Decimal else measure.holds
        fields[measure.name] = (kind | None, Field(None, description=_told(measure)))
        fields[measure.name + BEFORE] = (kind | None, Field(None, description="In the period compared with."))
        fields[measure.name + CHANGE] = (float | None, Field(None, description="Its growth since; 0.5 is by half."))
    return create_model(name, __base__=Row, **fields)


def _told(entry: Measure | Dimension) -> str:
    unit = f" ({entry.unit})" if isinstance(entry, Measure) else ""
    return f"{entry.title}{unit} · {entry.title_zh}: {entry.help}"


def _shown(names: tuple[str, ...], grain: Grain, catalogue: Catalogue) -> list[Measure]:
    found = catalogue.measures(names)
    return [measure for measure in found if measure.at is not None or grain is Grain.NONE]


def _example(asked: Statistic | Part, grain: Grain, catalogue: Catalogue) -> dict[str, object]:
    row: dict[str, object] = {RANK: 1} if isinstance(asked, Statistic) and asked.is_ranked else {}
    row |= {TIME: _EXAMPLES[TIME]} if grain is not Grain.NONE else {}
    row |= {name: _EXAMPLES[name] for name in asked.by}
    for measure in _shown(asked.measures, grain, catalogue):
        row[measure.name] = _NUMBERS[measure.holds]
        if isinstance(asked, Statistic) and asked.compare:
            row |= {measure.name + BEFORE: _NUMBERS[measure.holds], measure.name + CHANGE: 0.0}
    if asked.has_money:
        row["cost_usd"] = _NUMBERS[Decimal]
    return row
