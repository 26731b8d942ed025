"""Errors as problem details (RFC 9457): what comes in is an exception, what goes out says what was wrong and where.

Nothing of a request but the names of its parameters, and nothing of a stack, gets into an answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from collector.errors import Misfit, QueryError, StoreError

MEDIA_TYPE = "application/problem+json"


class Problem(BaseModel):
    """What went wrong (RFC 9457) · 错误说明"""

    type: str = Field("about:blank", description="What kind of problem; about:blank: the HTTP status says it.")
    title: str = Field(description="The kind of problem in a few words.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What was wrong, and what to do.")
    field: str | None = Field(None, description="The parameter at fault.")
    choices: list[str] | None = Field(None, description="What could stand there instead.")
    remedy: str | None = Field(None, description="What to do about it.")


REMEDIES = {
    "measure": "GET /api/v1/measures lists every measure with its title and formula",
    "by": "GET /api/v1/measures lists the dimensions of each measure",
    "where": "write dimension:value, dimension^beginning, dimension~part, dimension=~pattern or dimension>=number, "
    "! before it for all but",
    "since": "write a span back (7d), a year, month (2025-06), week (2025-W23), day, instant, or all",
    "until": "write a year, month (2025-06), week (2025-W23), day (each meant whole), an instant, or now",
    "tz": "write an IANA name such as Asia/Shanghai or UTC",
    "order": "write columns of the answer, - before one that goes down",
    "format": "write json, csv, parquet or arrow, or leave it away and send Accept",
}
"""What to do about a parameter, where the error does not know better."""


PROBLEM_RESPONSES: dict[int | str, dict[str, object]] = {
    "4XX": {
        "description": "Wrong question · 请求有误",
        "content": {MEDIA_TYPE: {"schema": Problem.model_json_schema()}},
    },
    "5XX": {
        "description": "No answer now · 暂不可用",
        "content": {MEDIA_TYPE: {"schema": Problem.model_json_schema()}},
    },
}


def problem(
    status: int,
    title: str,
    detail: str,
    *,
    field: str | None = None,
    choices: Iterable[str] = (),
    remedy: str | None = None,
) -> JSONResponse:
    """A problem as an answer."""
    told = Problem(
        type="about:blank",
        title=title,
        status=status,
        detail=detail,
        field=field,
        choices=list(choices) or None,
        remedy=remedy or REMEDIES.get(field or ""),
    )
    return JSONResponse(told.model_dump(exclude_none=True), status_code=status, media_type=MEDIA_TYPE)


def answer_problems(app: FastAPI) -> None:
    """Answer every error of an application as a problem."""
    app.add_exception_handler(QueryError, _query_error)
    app.add_exception_handler(StoreError, _store_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _unforeseen)


async def _query_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, QueryError)  # noqa: S101
    return problem(
        400,
        "The question has no answer",
        str(error),
        field=error.field,
        choices=error.choices,
        remedy=error.remedy,
    )


async def _store_error(_: Request, error: Exception) -> Response:
    if isinstance(error, Misfit):
        return problem(400, "Facts that do not fit", str(error), field=error.field)
    return problem(503, "The store does not answer", str(error))


async def _validation_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    first = error.errors()[0]
    field = str(next((part for part in first["loc"][1:]), first["loc"][0]))
    if first["type"] == "extra_forbidden":
        return problem(400, "The question has no answer", f"no parameter {field[:80]!r}", field=field[:80])
    return problem(400, "The question has no answer", f"{field}: {first['msg']}", field=field)


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    answer = problem(error.status_code, HTTPStatus(error.status_code).phrase, str(error.detail))
    answer.headers.update(error.headers or {})
    return answer


async def _unforeseen(_: Request, error: Exception) -> Response:
    return problem(500, "A fault of ours", f"{type(error).__name__}; the log of this collector says more")
