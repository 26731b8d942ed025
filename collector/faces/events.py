"""Portal events over REST: CloudEvents come in, what became of them goes out. Reading them is `cloud_events`'s.

They are stored before they are acknowledged, and may be sent again at will: an event is known by its source and id.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import structlog
from fastapi import APIRouter, HTTPException, Request
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from collector.access import Scope
from collector.faces import cloud_events
from collector.faces.bodies import body_of
from collector.faces.guard import needs
from collector.faces.problems import PROBLEM_RESPONSES, problem
from collector.records import Record, Stored

log = structlog.get_logger()

MOST_BYTES = 8 * 1024 * 1024
MOST_TOLD = 20
"""Misfits that an answer tells of, one by one."""


class MisfitBody(BaseModel):
    """An event that was set aside · 未接收的事件"""

    place: int = Field(description="In the batch, from 0.")
    field: str
    detail: str


class TakenEvents(BaseModel):
    """What became of the events · 接收结果"""

    accepted: int = Field(description="Events that are stored now, those known before included.")
    rejected: int = Field(description="Events that were set aside.")
    new: int = Field(description="Events, and numbers of events, that were not known.")
    known: int = Field(description="Events, and numbers of events, that were known.")
    misfits: list[MisfitBody] = Field(description=f"What was wrong with the first {MOST_TOLD} of the rejected.")


_EXAMPLE = {
    "specversion": "1.0",
    "id": "7f1c3a52-1",
    "source": "https://portal.example.com/ide",
    "type": "com.example.portal.code.accepted",
    "time": "2026-11-20T12:00:00Z",
    "data": {"app_id": "a9b8c7d6-0000-4000-8000-000000000001", "user": "li.lei", "lines": 12},
}
_EVENT: dict[str, object] = {
    "type": "object",
    "required": ["specversion", "id", "source", "type"],
    "properties": {
        "specversion": {"const": "1.0"},
        "id": {"type": "string", "description": "With source, tells this event from every other."},
        "source": {"type": "string"},
        "type": {"type": "string", "description": "What happened: it is counted by this."},
        "time": {"type": "string", "format": "date-time", "description": "When; left out: now."},
        "data": {
            "type": "object",
            "description": "app_id, workspace_id, user_id, user say whose it is; numbers are added up; texts dropped.",
        },
    },
}
_BODY = {
    "required": True,
    "content": {
        cloud_events.SINGLE: {"schema": _EVENT, "example": _EXAMPLE},
        cloud_events.BATCH: {"schema": {"type": "array", "items": _EVENT}, "example": [_EXAMPLE]},
        cloud_events.JSON: {"schema": {"description": "Either of these; or the data, with the rest in ce- headers."}},
    },
}


def router(
    put: Callable[[Sequence[Record]], Stored], clock: Callable[[], datetime], counted: Counter[str]
) -> APIRouter:
    """The route. `counted` gets the number of rejected events by the field at fault."""
    routes = APIRouter(tags=["events"], responses=PROBLEM_RESPONSES)

    @routes.post(
        "/api/v1/events",
        summary="Send portal events · 上报门户事件",
        response_model=TakenEvents,
        openapi_extra={"requestBody": _BODY},
        dependencies=[needs(Scope.INGEST)],
    )
    async def take(request: Request) -> Response:
        """CloudEvents 1.0: one, a batch, or one in headers. A bad one is set aside, the rest of a batch is kept."""
        body = await body_of(request, MOST_BYTES)
        try:
            heard = await run_in_threadpool(cloud_events.read, _headers(request), body, clock())
        except cloud_events.NoCloudEvent as error:
            counted["body"] += 1
            raise HTTPException(error.status, str(error)) from None
        counted.update(misfit.field for misfit in heard.misfits)
        if heard.misfits:
            first = heard.misfits[0]
            log.warning("events set aside", events=len(heard.misfits), first=first.detail, next="see to who sends them")
            if not heard.events:
                return problem(400, "No event that fits", first.detail, field=first.field)
        stored = await run_in_threadpool(put, heard.facts)
        told = TakenEvents(
            accepted=heard.events,
            rejected=len(heard.misfits),
            new=stored.new,
            known=stored.known + stored.changed,
            misfits=[
                MisfitBody(place=each.place, field=each.field, detail=each.detail) for each in heard.misfits[:MOST_TOLD]
            ],
        )
        return JSONResponse(told.model_dump())

    return routes


def _headers(request: Request) -> Mapping[str, str]:
    return {name.lower(): value for name, value in request.headers.items()}
