"""Reports over REST: one of any period in any form, and what became of those that were sent.

What comes in are URL parameters; what goes out is a file, or the same as JSON with every digit. A key that sees some
apps gets the report of these. Nothing here makes or sends a report.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, Protocol

import msgspec
from fastapi import APIRouter, Query, Request
from fastapi import Path as InPath
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from collector.access import Scope
from collector.errors import SettingsError
from collector.faces.answers import accepted
from collector.faces.guard import needs
from collector.faces.problems import PROBLEM_RESPONSES, problem
from collector.faces.rest_models import Covered, Value
from collector.measures.query import Rows
from collector.report_post.rounds import listed
from collector.reports.forms import Form, file_name, written
from collector.reports.making import TOP
from collector.reports.report import Report
from collector.reports.spans import Span, span_of
from collector.reports.spelling import Spelling

CONTENT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"

MOST_ROWS = 10_000

_BY_NAME = {form.media_type.partition(";")[0]: form for form in Form}
_WISHED: Mapping[str, Form] = {
    **_BY_NAME,
    "*/*": Form.JSON,
    "application/*": Form.JSON,
    "text/*": Form.HTML,
    "text/csv": Form.CSV,
}


class Asked(BaseModel):
    """The parameters of a report."""

    model_config = ConfigDict(extra="forbid")

    since: Annotated[
        str, Field(description="With span: 2026-11-01, an instant, a span back (10d) · 开始时间", max_length=60)
    ] = ""
    until: Annotated[str, Field(description="With span: a day (meant whole), an instant · 结束时间", max_length=60)] = (
        ""
    )
    tz: Annotated[str, Field(description="IANA time zone, such as Asia/Shanghai · 时区", max_length=60)] = ""
    lang: Annotated[str, Field(description="en or zh; default: report_language · 语言", max_length=20)] = ""
    top: Annotated[int, Field(ge=1, le=MOST_ROWS, description="Rows of a table · 表格行数")] = TOP
    format: Annotated[
        Literal["", "json", "html", "xlsx", "csv", "pdf"],
        Field(description="json, html, xlsx, csv (in a zip) or pdf; else as Accept says · 格式"),
    ] = ""


class NoteBody(BaseModel):
    """Something to know · 提示"""

    name: str
    told: dict[str, Value]


class FigureBody(BaseModel):
    """One number beside that of the period before · 指标"""

    name: str
    unit: str
    value: Value
    before: Value
    change: float | None
    is_compared: bool


class LineBody(BaseModel):
    """One measure step by step · 折线"""

    name: str
    unit: str
    values: list[Value]
    before: list[Value]


class ChartBody(BaseModel):
    """Lines over the same steps · 图表"""

    name: str
    times: list[datetime]
    lines: list[LineBody]
    is_stacked: bool


class ColumnBody(BaseModel):
    """A column · 列"""

    name: str
    unit: str


class TableBody(BaseModel):
    """Rows by column · 表格"""

    name: str
    columns: list[ColumnBody]
    rows: list[dict[str, Value]]
    left_out: int
    bar: str | None


class SectionBody(BaseModel):
    """One subject · 章节"""

    name: str
    figures: list[FigureBody]
    charts: list[ChartBody]
    tables: list[TableBody]
    notes: list[NoteBody]


class ReportBody(BaseModel):
    """A report · 运营报告"""

    report: str
    kind: str
    label: str
    period: Covered
    compared: Covered
    is_compared: bool = Field(description="The whole period before is known.")
    timezone: str
    grain: str
    made_at: datetime
    complete_until: datetime | None
    is_complete: bool
    notes: list[NoteBody]
    sections: list[SectionBody]


class DeliveryBody(BaseModel):
    """What became of a report on its way · 投递记录"""

    report: str
    destination: str = Field(description="Its name in the settings.")
    fingerprint: str = Field(description="Of its address, which is told nowhere.")
    starts_at: datetime
    ends_at: datetime
    state: Literal["waiting", "delivered", "given up"]
    tries: int
    problem: str | None
    created_at: datetime
    next_at: datetime | None
    delivered_at: datetime | None


class Deliveries(BaseModel):
    """The latest first · 投递列表"""

    deliveries: list[DeliveryBody]


class Make(Protocol):
    """A report of what the visitor sees."""

    def __call__(self, span: Span, now: datetime, *, top: int) -> Report: ...


def router(
    make: Make,
    rows: Rows,
    clock: Callable[[], datetime],
    *,
    timezone: str = "UTC",
    language: str = "en",
    templates: Callable[[], Path | None] = lambda: None,
) -> APIRouter:
    """The routes. `rows` shows the visitor's deliveries; `templates` may raise SettingsError."""
    routes = APIRouter(tags=["reports"], responses=PROBLEM_RESPONSES, dependencies=[needs(Scope.READ)])

    @routes.get("/api/v1/reports/deliveries", summary="What was sent · 报告投递记录", response_model=Deliveries)
    def deliveries(limit: Annotated[int, Query(ge=1, le=10_000)] = 200) -> Response:
        """Every report that was sent or is to be, with its destination and how often it was tried."""
        return Response(msgspec.json.encode({"deliveries": listed(rows, limit)}), media_type="application/json")

    @routes.get(
        "/api/v1/reports/{period}",
        summary="An operations report · 运营报告",
        response_model=ReportBody,
        responses={200: {"content": {name: {"schema": {"type": "string"}} for name in _BY_NAME if "json" not in name}}},
    )
    def report(
        period: Annotated[
            str,
            InPath(
                description="day, week or month: the last whole one; 2026-11-20, 2026-W47, 2026-11; or span with since",
                max_length=40,
            ),
        ],
        asked: Annotated[Asked, Query()],
        request: Request,
    ) -> Response:
        """Headline numbers with growth, trends, top apps, models, users and departments, errors, cost, data quality."""
        form = Form(asked.format) if asked.format else accepted(request.headers.get("accept", ""), _WISHED)
        now, chosen = clock(), Spelling(asked.lang or language).language
        span = span_of(period, since=asked.since, until=asked.until, tz=asked.tz or timezone, now=now)
        try:
            content = written(make(span, now, top=asked.top), form, chosen, templates())
        except SettingsError as error:
            return problem(501, "Not in this form", str(error), field="format", remedy="ask for another format")
        how = "inline" if form in (Form.HTML, Form.JSON, Form.PDF) else "attachment"
        headers = {
            "Content-Disposition": f'{how}; filename="{file_name(span.label, span.kind, chosen, form)}"',
            "Content-Language": chosen,
            "Cache-Control": "no-cache",
            "Vary": "Accept",
        }
        if form is Form.HTML:
            headers["Content-Security-Policy"] = CONTENT_POLICY
        return Response(content, media_type=form.media_type, headers=headers)

    return routes
