"""Users nobody pays for, over REST: the report of the payers' file comes in, JSON goes out. Knows no file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, Field

from collector.access import Scope
from collector.faces.guard import needs
from collector.faces.problems import PROBLEM_RESPONSES


class Unmapped(BaseModel):
    """A user that the payers' file does not name."""

    id: str
    kind: str = Field(description="end_user or account.")
    session_id: str | None = Field(description="What callers send as `user`.")
    name: str | None = Field(description="Of an account.")
    requests: int = Field(description="Runs, and messages of apps without runs; test runs left out.")
    last_at: str | None


class Reach(BaseModel):
    """How far the payers' file reaches."""

    file: str
    entries: int
    users: int
    unmapped: list[Unmapped] = Field(description="Those who ask most first.")


def router(report: Callable[[], Mapping[str, Any]] | None) -> APIRouter:
    """The route; `report` is None where there is no payers' file."""
    routes = APIRouter(tags=["service"], responses=PROBLEM_RESPONSES, dependencies=[needs(Scope.READ, is_whole=True)])

    @routes.get("/api/v1/payers", summary="Users nobody pays for · 未归属用户")
    def payers() -> Reach:
        """The payers' file in short, and the users without an entry of their own now."""
        if report is None:
            raise HTTPException(409, "no payers' file; set payers to its path")
        return Reach.model_validate(report())

    return routes
