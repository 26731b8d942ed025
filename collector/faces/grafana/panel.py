"""What a dashboard is made of, before it is JSON: boards of rows of panels, each with what it asks and in which words.

Every word a reader sees is said in English and Chinese, side by side, so that both dashboards come from one source.
Nothing here knows how Grafana writes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal, TypeAlias

Said: TypeAlias = tuple[str, str]
"""English, Chinese."""


class Language(IntEnum):
    """Which of the two."""

    ENGLISH = 0
    CHINESE = 1

    @property
    def tag(self) -> str:
        """en or zh."""
        return ("en", "zh")[self]


Kind: TypeAlias = Literal["stat", "timeseries", "bargauge", "table"]


@dataclass(frozen=True)
class Live:
    """What Prometheus is asked. The legend is a text for both languages, or one for each; empty: the labels.

    `has_exemplars`: single runs are shown as dots, which lead to Dify.
    """

    legend: str | Said
    expression: str
    has_exemplars: bool = False


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of an answer that is no measure or dimension of the catalogue."""

    name: str
    title: Said
    kind: Literal["string", "number", "timestamp"] = "string"
    unit: str = ""  # as Grafana calls it


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What REST is asked, over the time shown: `path` below /api/v1/, which may be one of the statistics.

    Measures and dimensions that are not named are the statistic's; `shown` are those of its measures that the panel
    shows (none: all). `of` are the variables that limit the facts, by the
    dimension each is about. `more` are parameters as they stand.
    """

    path: str = "query"
    measures: tuple[str, ...] = ()
    by: tuple[str, ...] = ()
    grain: str = ""
    of: tuple[tuple[str, str], ...] = ()
    more: tuple[tuple[str, str], ...] = ()
    shown: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    has_period: bool = True
    root: str = "rows"


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One panel: what it asks, Prometheus or REST, and how wide and tall it is.

    `measure` is of the catalogue and is the description, with the note behind it. `repeat` names the variable whose
    every value gets a panel of its own; such a panel stands alone in its line.
    """

    title: Said
    unit: str  # as Grafana calls it
    targets: tuple[Live | Asked, ...]
    measure: str = ""
    kind: Kind = "timeseries"
    width: int = 8
    height: int = 8
    is_stacked: bool = False
    thresholds: tuple[tuple[str, float], ...] = ()
    words: tuple[tuple[int, Said], ...] = ()  # shown instead of a number
    most: float | None = None  # the scale's end
    repeat: str | None = None
    note: Said = ("", "")
    opens: str = ""  # the board that a click opens


Row: TypeAlias = tuple[Said, tuple[Panel, ...]]


@dataclass(frozen=True, kw_only=True)
class Board:
    """One dashboard. `name` is its file's and part of its address; `since` the time shown at first."""

    name: str
    title: Said
    about: Said
    rows: tuple[Row, ...]
    since: str = "now-6h"
    refresh: str = "30s"


PER_TOKEN, PER_SECOND, PER_HOUR = "suffix: tok/s", "reqps", "suffix: /h"
EACH_SECOND, EACH_MINUTE = "suffix: /s", "suffix: /min"
RED = (("text", 0.0), ("orange", 0.02), ("red", 0.1))
"""A share of what failed."""

UNWANTED = (("text", 0.0), ("orange", 1.0))
"""Better none at all."""

SLOW = (("text", 0.0), ("orange", 10.0), ("red", 30.0))
"""Seconds that a person waits."""

BEHIND = (("green", 0.0), ("orange", 900.0), ("red", 3600.0))
"""Seconds that we know nothing of."""

FINAL_ONLY = ("Counted when it is known to have ended.", "得知其已结束时才计数。")
ALL_APPS = (
    "Of all apps: the families behind it do not tell them apart.",
    "涵盖所有应用：其背后的指标不区分应用。",
)
IN_EVENT_TIME = (
    "From REST: each fact stands when it happened, history and what came late included.",
    "来自 REST：每条记录按实际发生时间统计，包括历史数据与迟到的数据。",
)

NO_GAPS = (("fill", "zero"),)
"""A day on which nothing happened is a day with none of it."""


def stat(title: Said, unit: str, measure: str, *targets: Live | Asked, width: int = 4, **more: object) -> Panel:
    """A number with its name."""
    return Panel(
        title=title,
        unit=unit,
        targets=targets,
        measure=measure,
        kind="stat",
        width=width,
        height=4,
        **more,  # type: ignore[arg-type]
    )
