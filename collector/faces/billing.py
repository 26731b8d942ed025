"""Bills over REST: periods, statements, lines as files, differences; and closing a period.

What comes in are Bills; what goes out is JSON with money as text, digit for digit, or a file. Who is bound to apps,
workspaces or Difys gets the part of a bill that is theirs; closing, differences and budgets are of all who pay
together, and want a key that sees everything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from typing import Annotated, Any, TypeVar

import msgspec
import pyarrow as pa
import structlog
from fastapi import APIRouter, HTTPException, Query, Response
from fastapi import Path as InPath
from pydantic import BaseModel, ConfigDict, Field

from collector.access import EVERYTHING, Scope, Sight
from collector.billing.bills import Bills, Difference
from collector.billing.book_file import parse_book
from collector.billing.exports import Billed, Form, written
from collector.billing.statement import BY, GROUPS
from collector.errors import QueryError, SettingsError
from collector.faces.guard import needs, visitor
from collector.faces.problems import PROBLEM_RESPONSES

log = structlog.get_logger()

MOST_LINES = 10_000
"""Lines of a difference that are told; of more, the first."""

Found = TypeVar("Found")
Month = Annotated[str, InPath(description="A month such as 2026-01.", pattern=r"^\d{4}-\d{2}$")]
Money = Annotated[str, Field(description="Exact, as text.")]


class PeriodBody(BaseModel):
    """One billing period · 账期"""

    period: str
    state: str = Field(description="open, settling (over, late facts still arrive) or closed.")
    starts_at: datetime
    ends_at: datetime = Field(description="Not included.")
    closed_at: datetime | None
    closed_by: str | None
    lines: int | None
    digest: str | None = Field(description="SHA-256 of the kept lines; null: not closed, or a part of them.")


class Periods(BaseModel):
    """Every period, the oldest first · 账期列表"""

    periods: list[PeriodBody]


class TotalBody(BaseModel):
    """One currency's money · 币种合计"""

    currency: str
    usage: Money
    corrections: Money
    amount: Money
    payable: Money = Field(description="The amount in the digits that are paid.")
    list_amount: Money = Field(description="Before discounts.")


class GroupBody(BaseModel):
    """Lines added up · 分组合计"""

    by: dict[str, str | None]
    currency: str
    amount: Money
    payable: Money
    list_amount: Money


class UnpricedBody(BaseModel):
    """Tokens without a price · 未定价 Token"""

    model_provider: str | None
    model_name: str | None
    kind: str
    tokens: int


class ReportedBody(BaseModel):
    """What Dify says it cost · Dify 上报费用"""

    currency: str
    amount: Money


class StatementBody(PeriodBody):
    """One period's bill · 账单"""

    is_part: bool = Field(description="Only the lines that this key sees.")
    lines: int
    timezone: str
    totals: list[TotalBody]
    groups: list[GroupBody]
    unpriced: list[UnpricedBody]
    reported: list[ReportedBody]
    charged_as_reported: list[ReportedBody] = Field(
        description="What has no price in the book and is charged at Dify's own; part of the totals."
    )
    calls: int
    unmeasured: int = Field(description="Calls that told no usage.")
    warnings: list[str] = Field(description="Prices that are hundreds of times Dify's own, or that part of it.")


class ClosedBody(BaseModel):
    """A closed period · 已关账期"""

    period: str
    starts_at: datetime
    ends_at: datetime
    timezone: str
    book: str = Field(description="SHA-256 of the price book.")
    lines: int
    digest: str
    seal: str = Field(description="SHA-256 of all this and of the period closed before.")
    closed_at: datetime
    closed_by: str


class BudgetBody(BaseModel):
    """One budget in the month that lasts · 预算"""

    name: str
    about: dict[str, str] = Field(description="What it is of: key, app, department, …; empty: everything.")
    period: str
    currency: str
    amount: Money
    used: Money
    left: Money
    used_percent: str
    per_day: Money = Field(description="Used by day so far, rounded.")
    projected: Money = Field(description="By the end of the month, if it goes on like this; rounded.")
    state: str = Field(description="within, at risk (more will be used than there is) or exhausted.")
    exhausted_at: datetime | None = Field(description="When it was, or will be, used up; null: not this month.")


class Budgets(BaseModel):
    """Every budget of the price book · 预算列表"""

    budgets: list[BudgetBody]


class ConvertedTotalBody(BaseModel):
    """One currency's total, converted · 换算"""

    currency: str
    amount: Money
    rate: Money = Field(description="Of one unit.")
    rate_on: date
    source: str | None
    converted: Money = Field(description="Rounded.")


class ConvertedBody(BaseModel):
    """A bill's totals in one currency, for reading · 折算"""

    currency: str
    totals: list[ConvertedTotalBody]
    total: Money


class Closing(BaseModel):
    """Who closes."""

    model_config = ConfigDict(extra="forbid")

    by: str | None = Field(None, description="Who closes it; null: the name of the key.")


class Rerating(BaseModel):
    """Another price book."""

    model_config = ConfigDict(extra="forbid")

    book: str = Field(description="The text of a price book in TOML.")


class LineBody(BaseModel):
    """One line, or how it changed · 账单明细"""

    id: str
    period: str
    corrects: str | None
    corrects_line: str | None
    day: str
    workspace_id: str | None
    app_id: str | None
    app_name: str | None
    person: str | None
    department: str | None
    cost_centre: str | None
    model_provider: str | None
    model_name: str | None
    kind: str
    currency: str | None
    per: int | None
    unit_price: Money | None
    tier: int | None
    discount: Money | None
    quantity: int
    list_amount: Money
    amount: Money


class DifferenceBody(BaseModel):
    """What was billed beside what it is rated at · 差异"""

    period: str
    state: str
    is_intact: bool | None = Field(description="Whether the kept lines are those it was closed with.")
    days_gone: int = Field(description="Days that have lost facts to their age: nothing of it is corrected any more.")
    before: list[TotalBody]
    after: list[TotalBody]
    lines: list[LineBody] = Field(description="What came or, below zero, went.")
    lines_left_out: int


def told(difference: Difference) -> Mapping[str, Any]:
    """A difference as plain values."""
    lines = difference.lines
    return {
        "period": difference.period,
        "state": difference.state,
        "is_intact": difference.is_intact,
        "days_gone": difference.days_gone,
        "before": msgspec.to_builtins(difference.before),
        "after": msgspec.to_builtins(difference.after),
        "lines": plain_lines(lines.slice(0, MOST_LINES)),
        "lines_left_out": max(0, len(lines) - MOST_LINES),
    }


def plain_lines(lines: pa.Table) -> list[dict[str, Any]]:
    """Lines as plain values: money as text, digit for digit."""
    found: list[dict[str, Any]] = msgspec.to_builtins(lines.to_pylist())
    return found


def file_of(bills: Bills, period: str, form: Form, account: str, sight: Sight = EVERYTHING) -> bytes:
    """One period's lines as a file, as far as they are seen."""
    bounds, is_closed = bills.bounds(period)
    return written(Billed(bills.lines(period, sight), bounds, account, is_closed), form)


def columns(by: Sequence[str]) -> tuple[str, ...]:
    """Names that may stand with commas between them, each once; of none, those of BY. Raises QueryError."""
    names = tuple(dict.fromkeys(name.strip() for each in by for name in each.split(",") if name.strip()))
    if unknown := [name for name in names if name not in GROUPS]:
        there = ", ".join(GROUPS)
        raise QueryError(
            f"by: no {unknown[0][:80]!r}; there are {there}",
            field="by",
            choices=GROUPS,
            remedy=f"write some of {there}",
        )
    return names or BY


def router(bills: Bills, account: str) -> APIRouter:
    """The routes; `account` is who runs Dify, as exports name it."""
    routes = APIRouter(tags=["billing"], responses=PROBLEM_RESPONSES)
    reading, whole = needs(Scope.READ), needs(Scope.READ, is_whole=True)
    closing = needs(Scope.ADMIN, is_whole=True, is_noted=True)

    @routes.get("/api/v1/billing/periods", summary="Billing periods · 账期列表", dependencies=[reading])
    def periods() -> Periods:
        """Every month from the first facts until now."""
        return Periods.model_validate(
            {"periods": msgspec.to_builtins(_answered(lambda: bills.periods(visitor().sight)))}
        )

    @routes.get("/api/v1/billing/periods/{period}", summary="A bill · 账单", dependencies=[reading])
    def statement(
        period: Month,
        by: Annotated[list[str], Query(description=f"What to add up by: {', '.join(GROUPS)}.")] = [],  # noqa: B006
    ) -> StatementBody:
        """Totals by currency, sums by payer, tokens without a price, and what Dify says it cost."""
        found = _answered(lambda: bills.statement(period, columns(by), visitor().sight))
        return StatementBody.model_validate(msgspec.to_builtins(found))

    @routes.get("/api/v1/billing/budgets", summary="Budgets · 预算", dependencies=[whole])
    def budgets() -> Budgets:
        """How far each budget of the book has gone this month. Budgets advise; nothing is blocked."""
        return Budgets.model_validate({"budgets": msgspec.to_builtins(_answered(bills.budgets))})

    @routes.get(
        "/api/v1/billing/periods/{period}/lines",
        summary="The lines of a bill · 账单明细",
        response_class=Response,
        responses={200: {"content": {form.media_type.partition(";")[0]: {} for form in Form}}},
        dependencies=[reading],
    )
    def lines(
        period: Month,
        format: Annotated[Form, Query(description="As they are, as FOCUS 1.2 wants them, or as events.")] = Form.CSV,
    ) -> Response:
        """Every line as a file."""
        content = _answered(lambda: file_of(bills, period, format, account, visitor().sight))
        named = {"Content-Disposition": f'attachment; filename="bill-{period}-{format}.{format.ending}"'}
        return Response(content, media_type=format.media_type, headers=named)

    @routes.get(
        "/api/v1/billing/periods/{period}/converted", summary="A bill in one currency · 折算", dependencies=[reading]
    )
    def converted(
        period: Month, currency: Annotated[str, Query(alias="in", description="ISO 4217.", max_length=3)]
    ) -> ConvertedBody:
        """The totals by the price book's dated rates: for reading, kept nowhere."""
        found = _answered(lambda: bills.converted(period, currency, visitor().sight))
        return ConvertedBody.model_validate(msgspec.to_builtins(found))

    @routes.post("/api/v1/billing/periods/{period}/close", summary="Close a period · 关账", dependencies=[closing])
    def close(period: Month, who: Closing) -> ClosedBody:
        """Its lines do not change any more; what comes later is corrected in the next one. Twice is once."""
        closed = _answered(lambda: bills.close(period, who.by or visitor().name))
        log.info("period closed", period=period, by=closed.closed_by, lines=closed.lines, digest=closed.digest)
        return ClosedBody.model_validate(msgspec.to_builtins(closed))

    @routes.get(
        "/api/v1/billing/periods/{period}/difference", summary="What changed since · 差异", dependencies=[whole]
    )
    def difference(period: Month) -> DifferenceBody:
        """A closed period beside what it is rated at now, and whether anybody touched its lines."""
        return DifferenceBody.model_validate(told(_answered(lambda: bills.difference(period))))

    @routes.post(
        "/api/v1/billing/periods/{period}/difference",
        summary="Rate with another book · 重新计价",
        dependencies=[whole],
    )
    def rerated(period: Month, other: Rerating) -> DifferenceBody:
        """A period beside what it would be by another price book. Changes nothing."""
        try:
            book = parse_book(other.book, "book")
        except SettingsError as error:
            raise QueryError(str(error), field="book", remedy="mend the book as it says") from None
        return DifferenceBody.model_validate(told(_answered(lambda: bills.difference(period, book))))

    return routes


def _answered(work: Callable[[], Found]) -> Found:
    """What it answers; where there is no price book, or a wrong one, that is the state of this service."""
    try:
        return work()
    except SettingsError as error:
        raise HTTPException(409, str(error)) from None
