"""Records that could not be read, over REST: the list comes in, JSON goes out. Knows no table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel, Field

from collector.access import Scope
from collector.faces.guard import needs
from collector.faces.problems import PROBLEM_RESPONSES


class Record(BaseModel):
    """One record of Dify, or row of its database, that could not be read. Nothing of what it says is kept."""

    origin: str = Field(description="Our name for the Dify.")
    stream: str
    app_id: str = Field(description="Empty for what belongs to the whole workspace.")
    key: str = Field(description="Dify's id of it; of nodes their run's; empty where even that cannot be read.")
    problem: str = Field(description="The field, and what was wanted there; of a row its table, too, and what to do.")
    tried_by: str = Field(description="The versions of dify-metric and of Dify that met.")
    seen_at: datetime = Field(description="When it was last tried.")


class SetAside(BaseModel):
    """What is set aside now, the latest first."""

    records: list[Record]


def router(listed: Callable[[], Sequence[Mapping[str, object]]]) -> APIRouter:
    """The route."""
    routes = APIRouter(tags=["service"], responses=PROBLEM_RESPONSES)

    @routes.get(
        "/api/v1/set-aside",
        summary="Records that could not be read · 未能解析的记录",
        dependencies=[needs(Scope.READ)],
    )
    def set_aside() -> SetAside:
        """They are tried again by other versions of dify-metric or Dify, and go once they were read. Rows of Dify's
        database are tried again in every pass or at the next start, and go once they are gone there."""
        return SetAside.model_validate({"records": listed()})

    return routes
