"""Reconciliation as REST, CSV and a metric: Differences in, plain values out.

What comes in are URL parameters and `rows`; what goes out says of every app and day which of Dify's totals differs from
ours, by how much and why. Nothing here compares.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from datetime import date, datetime, timedelta
from threading import Lock
from typing import Annotated, Literal, TypeAlias
from zoneinfo import ZoneInfo

import msgspec
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from collector.access import Scope
from collector.faces.guard import needs
from collector.faces.problems import PROBLEM_RESPONSES
from collector.faces.rest_models import ALL, Covered
from collector.measures.answer import plain
from collector.measures.cells import cell
from collector.measures.query import Rows, earliest
from collector.period import Grain, Period, floor
from collector.reconcile import Difference, Kind, State, reconcile
from collector.reconcile.causes import CAUSES, UNEXPLAINED
from collector.reconcile.figures import Amount, size

Only: TypeAlias = Literal["open", "explained", "all"]

_OVER = (
    "differ from ours, Dify's less ours, by cause, over the complete days of the last seven. What is unexplained is "
    "added up without signs, so that it cannot cancel."
)
METRICS: Mapping[str, tuple[str, Callable[[Kind], bool]]] = {
    "dify_metric_reconciliation_difference_tokens": (
        f"Tokens by which Dify's totals (kind) {_OVER}",
        lambda kind: kind.unit == "tokens",
    ),
    "dify_metric_reconciliation_difference_usd": (
        f"Money by which Dify's totals (kind), which call every currency US dollars, {_OVER}",
        lambda kind: kind is Kind.MESSAGE_COST,
    ),
    "dify_metric_reconciliation_difference_facts": (
        f"Runs, messages, conversations, users and requests (kind) by which Dify's daily counts {_OVER}",
        lambda kind: not kind.needs_calls and kind.unit != "tokens",
    ),
}
"""Names of the metrics, what they say, and of which kinds."""

METRIC_LABELS = ("workspace_id", "kind", "cause")
WATCHED = timedelta(days=7)


class Asked(BaseModel):
    """The parameters of a reconciliation."""

    model_config = ConfigDict(extra="forbid")

    since: Annotated[
        str, Field(description="Start: a span back (7d), a year, month (2025-06), day, or all · 开始时间")
    ] = "7d"
    until: Annotated[str, Field(description="End: a year, month or day (meant whole), or now · 结束时间")] = ""
    app: Annotated[list[str], Field(description="Only these apps, by id · 应用 ID")] = []
    kind: Annotated[list[Kind], Field(description="Only these totals of Dify · 对账项")] = []
    only: Annotated[
        Only, Field(description="open: what nobody can explain; explained: known causes; all: equal ones too · 状态")
    ] = "all"
    format: Annotated[Literal["", "json", "csv"], Field(description="json, or csv · 返回格式")] = ""


class ReasonBody(BaseModel):
    """One cause and how much of the difference it makes up for · 差异原因"""

    cause: str
    amount: Amount = Field(description="Of money: decimal digits as text.")
    facts: int = Field(description="In how many runs, messages or requests; 0: not known.")


class DifferenceBody(BaseModel):
    """One app, day and total · 对账行"""

    day: date = Field(description="On the calendar of `timezone`.")
    app_id: str
    app_name: str | None
    workspace_id: str | None
    timezone: str = Field(description="Of the Dify account, so that days are those of Dify's statistics.")
    kind: Kind
    unit: str
    ours: Amount = Field(description="Of money, which all currencies together are: decimal digits as text.")
    theirs: Amount
    difference: Amount = Field(description="Theirs less ours; what the reasons add up to.")
    share: float | None = Field(description="Of ours, 0 to 1; null where ours is nothing.")
    unexplained: Amount
    state: State
    is_complete: bool = Field(description="The day is over, and was read to its end on both sides.")
    reasons: list[ReasonBody]


class CauseBody(BaseModel):
    """What a cause means · 原因说明"""

    name: str
    title: str
    title_zh: str
    help: str
    help_zh: str
    issues: list[int] = Field(description="Issues of langgenius/dify.")
    believe: str
    believe_zh: str
    is_settled: bool = Field(description="Nothing is left to look into.")


class ReconciliationBody(BaseModel):
    """A reconciliation · 对账结果"""

    rows: list[DifferenceBody]
    causes: list[CauseBody] = Field(description="The causes that stand in these rows.")
    states: dict[State, int] = Field(description="How many rows of the period are in each state.")
    period: Covered


def router(rows: Rows, clock: Callable[[], datetime], *, timezone: str = "UTC") -> APIRouter:
    """The route. `timezone`: of apps whose statistics nobody has read."""
    routes = APIRouter(tags=["reconciliation"], responses=PROBLEM_RESPONSES, dependencies=[needs(Scope.READ)])

    @routes.get(
        "/api/v1/reconciliation",
        summary="Our tokens beside Dify's totals · 对账",
        response_model=ReconciliationBody,
        responses={**PROBLEM_RESPONSES, 200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
    )
    def reconciliation(asked: Annotated[Asked, Query()], request: Request) -> Response:
        """By app and day: what the model calls add up to, what Dify says, and why the two differ, to the token."""
        found = reconciled(asked, rows, clock(), timezone=timezone)
        if asked.format == "csv" or (not asked.format and "text/csv" in request.headers.get("accept", "")):
            return Response(_as_csv(found), media_type="text/csv; charset=utf-8")
        return Response(msgspec.json.encode(found), media_type="application/json")

    return routes


def reconciled(asked: Asked, rows: Rows, now: datetime, *, timezone: str = "UTC") -> dict[str, object]:
    """A reconciliation as plain values, wherever it was asked for. Raises QueryError."""
    since = (earliest(rows) or now).isoformat() if asked.since == ALL else asked.since
    period = Period.parse(since=since, until=asked.until or None, tz=timezone, now=now)
    found = reconcile(rows, period, apps=asked.app or None, kinds=asked.kind or Kind)
    shown = [one for one in found if asked.only == "all" or one.state == asked.only]
    states = Counter(one.state for one in found)
    return {
        "rows": [_row(one) for one in shown],
        "causes": [_cause(name) for name in CAUSES if name in {r.cause for one in shown for r in one.reasons}],
        "states": {str(state): states[state] for state in State},
        "period": {"since": period.start.isoformat(), "until": period.end.isoformat()},
    }


class Watch:
    """The metrics: reconciles at most every so often, so that a scrape costs nothing."""

    def __init__(self, rows: Rows, *, clock: Callable[[], datetime], every: timedelta, timezone: str = "UTC") -> None:
        self._rows, self._clock, self._every, self._zone = rows, clock, every, ZoneInfo(timezone)
        self._values: dict[str, Mapping[tuple[str, ...], float]] = {}
        self._at: datetime | None = None
        self._lock = Lock()

    def values(self, metric: str) -> Mapping[tuple[str, ...], float]:
        """Values of one of METRICS by METRIC_LABELS."""
        with self._lock:
            now = self._clock()
            if self._at is None or now - self._at >= self._every:
                today = floor(now, Grain.DAY, self._zone)
                found = reconcile(self._rows, Period(today - WATCHED, now, self._zone))
                self._values = {name: _summed(found, wanted) for name, (_, wanted) in METRICS.items()}
                self._at = now
            return self._values[metric]


def _summed(found: Iterable[Difference], wanted: Callable[[Kind], bool]) -> dict[tuple[str, ...], float]:
    sums: dict[tuple[str, ...], float] = {}
    for one in found:
        if not wanted(one.kind) or not one.is_complete:
            continue
        here = (one.workspace_id or "", str(one.kind))
        sums.setdefault((*here, UNEXPLAINED), 0.0)
        for reason in one.reasons:
            amount = float(reason.amount if CAUSES[reason.cause].is_settled else size(reason.amount))
            sums[*here, reason.cause] = sums.get((*here, reason.cause), 0.0) + amount
    return sums


def _row(one: Difference) -> dict[str, object]:
    plain = {name: getattr(one, name) for name in DifferenceBody.model_fields}
    return plain | {"day": one.day.isoformat(), "reasons": [asdict(reason) for reason in one.reasons]}


def _cause(name: str) -> dict[str, object]:
    return asdict(CAUSES[name])


def _as_csv(found: Mapping[str, object]) -> str:
    """One line per row; its reasons as cause=amount."""
    text = io.StringIO(newline="")
    lines = csv.writer(text)
    names = list(DifferenceBody.model_fields)
    lines.writerow(names)
    rows = found["rows"]
    for row in rows if isinstance(rows, list) else ():
        reasons = " ".join(f"{each['cause']}={plain(each['amount'])}" for each in row["reasons"])
        lines.writerow([cell(reasons if name == "reasons" else row[name]) for name in names])
    return text.getvalue()
