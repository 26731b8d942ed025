"""The routes of the statistics: parameters in, an answer in the wanted format out; an app that never was is a 404."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel

from collector.access import Scope
from collector.errors import QueryError
from collector.faces.answers import ANSWER_RESPONSES, respond
from collector.faces.asking import Asker
from collector.faces.guard import needs
from collector.faces.problems import PROBLEM_RESPONSES, problem
from collector.faces.rest_models import Asked
from collector.faces.statistics.asking import Wish, answered, is_known, part_of
from collector.faces.statistics.shapes import EXAMPLE_ID, asked_by, body_of, example_of
from collector.faces.statistics.table import STATISTICS, Statistic
from collector.measures.answer import Answer
from collector.measures.catalogue import CATALOGUE, Catalogue
from collector.measures.query import Rows

PREFIX = "/api/v1"
TAG = "statistics"


def router(
    rows: Rows, clock: Callable[[], datetime], *, timezone: str = "UTC", catalogue: Catalogue = CATALOGUE
) -> APIRouter:
    """One route for each statistic. `rows` is a Store's; `timezone` the zone of requests that name none."""
    routes = APIRouter(prefix=PREFIX)

    def asker() -> Asker:
        return Asker(rows, clock(), timezone, catalogue)

    for statistic in STATISTICS:
        routes.add_api_route(
            f"/{statistic.path}",
            _of_app(statistic, asker) if statistic.is_of_app else _of_all(statistic, asker),
            methods=["GET"],
            dependencies=[needs(Scope.READ)],
            summary=f"{statistic.title} · {statistic.title_zh}",
            description=_description(statistic),
            operation_id=f"get{statistic.name}",
            response_model=body_of(statistic, catalogue),
            responses=_responses(statistic, catalogue),
            tags=[TAG],
        )
    return routes


def _of_all(statistic: Statistic, asker: Callable[[], Asker]) -> Callable[..., Response]:
    kind = asked_by(statistic)

    def endpoint(asked: Annotated[kind, Query()], request: Request) -> Response:  # type: ignore[valid-type]
        with asker().still() as now:
            return _answered(statistic, _wish(asked, None), now, request)

    return _open(endpoint, kind)


def _of_app(statistic: Statistic, asker: Callable[[], Asker]) -> Callable[..., Response]:
    kind = asked_by(statistic)

    def endpoint(
        id: Annotated[str, Path(description="Dify's id of the app · 应用 ID", examples=[EXAMPLE_ID])],
        asked: Annotated[kind, Query()],  # type: ignore[valid-type]
        request: Request,
    ) -> Response:
        with asker().still() as now:
            if is_known(id, now):
                return _answered(statistic, _wish(asked, id), now, request)
        return problem(
            404,
            "No such app",
            f"no app {id[:80]!r} was ever seen",
            field="id",
            remedy=f"GET {PREFIX}/apps lists the apps there are",
        )

    return _open(endpoint, kind)


def _open(endpoint: Callable[..., Response], kind: type[BaseModel]) -> Callable[..., Response]:
    """The types themselves in place of their names, which nobody could look up: FastAPI reads them."""
    endpoint.__annotations__["asked"] = Annotated[kind, Query()]
    return endpoint


def _wish(asked: BaseModel, app_id: str | None) -> Wish:
    told: dict[str, Any] = asked.model_dump()
    search = told.pop("search", "")
    return Wish(Asked.model_construct(measure=[], **told), frozenset(asked.model_fields_set), search, app_id)


def _answered(statistic: Statistic, wish: Wish, asker: Asker, request: Request) -> Response:
    answer = answered(statistic, wish, asker)
    return respond(answer, request, wish.asked.format, lambda: _with_parts(answer, statistic, wish, asker))


def _with_parts(answer: Answer, statistic: Statistic, wish: Wish, asker: Asker) -> bytes:
    told = answer.plain()
    for part in statistic.parts:
        with suppress(QueryError):  # a filter that fits the statistic need not fit what stands beside it
            told[part.name] = part_of(statistic, part, wish, asker).plain()["rows"]
    return msgspec.json.encode(told)


def _description(statistic: Statistic) -> str:
    told = f"`GET {PREFIX}/{statistic.path}?{statistic.example}`. The measures are those of `GET {PREFIX}/measures`; "
    told += f"what is not asked for is as it stands below. Without since: {statistic.since}, and whole steps."
    if statistic.has_money:
        told += " A column of cost for each currency: cost_usd, cost_cny."
    return told


def _responses(statistic: Statistic, catalogue: Catalogue) -> dict[int | str, dict[str, Any]]:
    ok = ANSWER_RESPONSES[200]
    content = {"application/json": {"example": example_of(statistic, catalogue)}, **ok["content"]}
    found = {**PROBLEM_RESPONSES, **ANSWER_RESPONSES, 200: {**ok, "content": content}}
    if statistic.is_of_app:
        found[404] = {**PROBLEM_RESPONSES["4XX"], "description": "No such app · 应用不存在"}
    return found
