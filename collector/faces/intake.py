"""The way in over REST: facts and the wish for a pull come in, what became of them goes out.

Facts are stored before they are acknowledged, and may be sent again at will. Nothing here knows a table or Dify.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Literal, TypeAlias

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from collector import wire
from collector.access import Scope
from collector.errors import ShapeError
from collector.faces.bodies import body_of
from collector.faces.guard import needs
from collector.faces.problems import PROBLEM_RESPONSES, problem
from collector.records import CONSOLE, DATABASE, Pull, Record, Stored

MOST_BYTES = 64 * 1024 * 1024
"""Of one batch: larger ones are refused, so that a sender cannot fill the memory."""


class Service(BaseModel):
    """Which collector this is."""

    version: str
    store: str = Field(description="Absolute path of the store this service holds.")


class Taken(BaseModel):
    """What became of a batch of facts."""

    new: int = Field(description="Facts that were not known.")
    changed: int = Field(description="Facts that are known better now.")
    known: int = Field(description="Facts that were known already.")


class Passed(BaseModel):
    """One pass over one stream of one app."""

    origin: str | None = Field(description="Our name for the Dify it asked.")
    source: str = Field(description="How it asked: console or database.")
    stream: str
    app_id: str | None
    records: int
    parse_failures: int
    error_class: str | None
    is_complete: bool


class Passes(BaseModel):
    """What a pull did."""

    pulls: list[Passed]


Way: TypeAlias = Literal["api", "database"]
"""What people call the ways in to a Dify."""

WAYS: Mapping[str, str] = {"api": CONSOLE, "database": DATABASE}


def chosen(asked: Way | None, ways: Collection[str]) -> str | None:
    """The way in that was asked for; None: all. Raises the HTTP error where no Dify has it."""
    if asked is not None and WAYS[asked] not in ways:
        needed = "database_url" if asked == "database" else "dify_url and a way to sign in"
        raise HTTPException(409, f"no Dify is read by {asked} here; set {needed}")
    return WAYS[asked] if asked else None


def router(
    service: Service,
    put: Callable[[Sequence[Record]], Stored],
    pull: Callable[[str | None], Awaitable[Sequence[Pull]]] | None,
    *,
    ways: Collection[str] = (),
) -> APIRouter:
    """The routes. `pull` is None where no Dify is set, and takes one of the `ways` in, or None for all."""
    routes = APIRouter(tags=["service"], responses=PROBLEM_RESPONSES)

    @routes.get("/api/v1/service", summary="Which collector this is · 服务信息", dependencies=[needs(*Scope)])
    async def about() -> Service:
        """Its version and the store it holds: what a command compares before it trusts the answers."""
        return service

    @routes.post(
        "/api/v1/ingest", summary="Send facts · 写入事实", response_model=Taken, dependencies=[needs(Scope.INGEST)]
    )
    async def ingest(request: Request) -> JSONResponse:
        """A JSON object of tables, each a list of facts. Stored once acknowledged; sending again changes nothing."""
        body = await body_of(request, MOST_BYTES)
        try:
            records = await run_in_threadpool(wire.decode, body)
        except ShapeError as error:
            return problem(400, "Facts that do not fit", str(error), field=error.field)
        stored = await run_in_threadpool(put, records)
        return JSONResponse({"new": stored.new, "changed": stored.changed, "known": stored.known})

    @routes.post(
        "/api/v1/pull", summary="Pull from Dify now · 立即采集", dependencies=[needs(Scope.INGEST, is_noted=True)]
    )
    async def pull_now(source: Way | None = None) -> Passes:
        """One pass over every stream of every app; answers when it is done. `source` is one way in, for that alone."""
        if pull is None:
            raise HTTPException(409, "no Dify to pull from; set dify_url and a way to sign in, or database_url")
        way = chosen(source, ways)
        names = Passed.model_fields
        return Passes(pulls=[Passed(**{name: getattr(each, name) for name in names}) for each in await pull(way)])

    return routes
