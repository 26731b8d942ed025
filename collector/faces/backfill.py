"""A back-fill over REST: begun, looked at and stopped. What comes in are wishes; what goes out is how far it is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import datetime
from typing import Any

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, Field

from collector.access import Scope
from collector.faces.guard import needs
from collector.faces.intake import Passed, Way, chosen
from collector.faces.problems import PROBLEM_RESPONSES


class Wish(BaseModel):
    """What a back-fill is to read."""

    since: datetime = Field(description="Back to this instant.")
    only: list[str] = Field(default=[], description="Only these streams; none: all.")
    source: Way | None = Field(default=None, description="Only by this way in; none: the database where there is one.")


class Stage(BaseModel):
    """How far one stream is."""

    stream: str
    done: int
    total: int | None = Field(description="null: not known.")


class State(BaseModel):
    """How far a back-fill is."""

    state: str = Field(description="none, running, done, stopped or failed.")
    problem: str | None
    progress: list[Stage]
    pulls: list[Passed] = Field(description="How each stream went, once it is done.")


def router(
    begin: Callable[[datetime, frozenset[str] | None, str | None], bool] | None,
    look: Callable[[], Mapping[str, Any]],
    stop: Callable[[], Awaitable[None]],
    *,
    streams: tuple[str, ...],
    ways: Collection[str] = (),
) -> APIRouter:
    """The routes. `begin` is None where no Dify is set."""
    routes = APIRouter(tags=["service"], responses=PROBLEM_RESPONSES, dependencies=[needs(Scope.INGEST, is_noted=True)])

    @routes.post("/api/v1/backfill", summary="Read history · 回填历史", status_code=202)
    async def start(wish: Wish) -> State:
        """Begin to read history back to `since`; it goes on while the service serves."""
        if begin is None:
            raise HTTPException(409, "no Dify to pull from; set dify_url and a way to sign in, or database_url")
        if unknown := sorted(set(wish.only) - set(streams)):
            raise HTTPException(400, f"no stream {unknown[0]!r}; there are {', '.join(streams)}")
        if wish.since.tzinfo is None:
            raise HTTPException(400, "since: wanted an instant with its time zone")
        if not begin(wish.since, frozenset(wish.only) or None, chosen(wish.source, ways)):
            raise HTTPException(409, "a back-fill is going on; look at it, or stop it first")
        return State.model_validate(look())

    @routes.get("/api/v1/backfill", summary="How far it is · 回填进度")
    async def progress() -> State:
        """The back-fill that goes on, or the last one."""
        return State.model_validate(look())

    @routes.delete("/api/v1/backfill", summary="Stop it · 停止回填")
    async def end() -> State:
        """Stop it; the next one goes on where this one stopped."""
        await stop()
        return State.model_validate(look())

    return routes
