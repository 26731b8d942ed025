"""The REST face: questions as URL parameters in, answers in the wanted format out; and whether we are alive and ready.

It reads no table itself: every number is a query to the catalogue, run in the thread pool so that a slow one holds up
nobody. Errors are problem details (RFC 9457) that name the field and what could stand there instead.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated

import msgspec
from fastapi import APIRouter, FastAPI, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.types import Lifespan

import collector
from collector.access import Scope
from collector.errors import StoreError
from collector.faces import rest_models as models
from collector.faces.admission import Admission
from collector.faces.answers import ANSWER_RESPONSES, respond, tagged
from collector.faces.asking import Asker
from collector.faces.guard import guard, needs, open_to_all, visitor
from collector.faces.problems import PROBLEM_RESPONSES, answer_problems, problem
from collector.faces.rest_page import CONTENT_POLICY, page
from collector.faces.statistics import routes as statistics
from collector.measures.answer import plain
from collector.measures.catalogue import CATALOGUE, Catalogue
from collector.measures.query import Query as Question
from collector.measures.query import Rows, run
from collector.period import Period, zone

Clock = Callable[[], datetime]


def application(
    rows: Rows,
    clock: Clock,
    *,
    timezone: str = "UTC",
    catalogue: Catalogue = CATALOGUE,
    lifespan: Lifespan[FastAPI] | None = None,
    admission: Admission | None = None,
) -> FastAPI:
    """The REST face as an application of its own: routes, problem details and the reference page at /docs.

    `admission` says who may ask; without one, everyone may.
    """
    app = FastAPI(
        lifespan=lifespan,
        title="dify-metric",
        version=collector.__version__,
        description="Metrics, metering and reporting for self-hosted Dify · Dify 指标、计量与统计报表",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
    )
    guard(app, admission or Admission(clock=clock))
    app.include_router(router(rows, clock, timezone=timezone, catalogue=catalogue))
    app.include_router(statistics.router(rows, clock, timezone=timezone, catalogue=catalogue))
    answer_problems(app)

    @app.get("/openapi.json", include_in_schema=False, dependencies=[needs(Scope.READ)])
    async def document() -> JSONResponse:
        return JSONResponse(app.openapi())

    @app.get("/docs", include_in_schema=False, dependencies=[needs(Scope.READ)])
    async def docs() -> HTMLResponse:
        return HTMLResponse(page(app.openapi(), catalogue), headers={"Content-Security-Policy": CONTENT_POLICY})

    return app


def router(rows: Rows, clock: Clock, *, timezone: str = "UTC", catalogue: Catalogue = CATALOGUE) -> APIRouter:
    """The routes. `rows` is a Store's; `timezone` the zone of questions that name none (QueryError if it is none)."""
    zone(timezone)
    routes = APIRouter()
    listing = msgspec.json.encode(models.listing(catalogue))

    @routes.get(
        "/api/v1/query",
        summary="Ask the catalogue · 查询指标",
        response_model=models.AnswerBody,
        responses={**PROBLEM_RESPONSES, **ANSWER_RESPONSES},
        tags=["measures"],
        dependencies=[needs(Scope.READ)],
    )
    def query(asked: Annotated[models.Asked, Query()], request: Request) -> Response:
        """Measures over a period, by step and dimension. What is not known is null; money is text with every digit."""
        return respond(Asker(rows, clock(), timezone, catalogue).answered(asked), request, asked.format)

    @routes.get(
        "/api/v1/measures",
        summary="What can be asked · 指标目录",
        response_model=models.Listing,
        responses=PROBLEM_RESPONSES,
        tags=["measures"],
        dependencies=[needs(Scope.READ)],
    )
    async def measures(request: Request) -> Response:
        """Every measure and dimension with title, unit and help, in English and Chinese."""
        return tagged(listing, request)

    @routes.get(
        "/healthz",
        summary="Alive · 存活检查",
        response_model=models.Alive,
        responses=PROBLEM_RESPONSES,
        tags=["health"],
        dependencies=[open_to_all()],
    )
    async def alive() -> JSONResponse:
        """200 as long as the process answers at all."""
        return JSONResponse({"status": "alive", "version": collector.__version__})

    @routes.get(
        "/readyz",
        summary="Ready · 就绪检查",
        response_model=models.Ready,
        responses=PROBLEM_RESPONSES,
        tags=["health"],
        dependencies=[open_to_all()],
    )
    def ready() -> Response:
        """200 when the store answers, with what was pulled in the last seven days for who may read; 503 when not."""
        now = clock()
        pulls = Question.of(
            ("last_complete_pull", "pulls", "pull_failures"),
            by="stream",
            period=Period(now - timedelta(days=7), now, zone(timezone)),
            catalogue=catalogue,
        )
        try:
            found = run(pulls, rows, now=now).rows
        except StoreError as error:
            return problem(503, "The store does not answer", str(error))
        may_read = visitor().may(Scope.READ)
        lines = [{name: plain(value) for name, value in row.items()} for row in found if may_read]
        return JSONResponse({"status": "ready", "pulls": lines})

    return routes
