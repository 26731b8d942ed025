"""Copies of the store over REST: what comes in is where they shall lie on this machine; what goes out is what lies
there. Knows no table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fastapi import APIRouter
from pydantic import BaseModel, Field

from collector.access import Scope
from collector.errors import StoreError
from collector.faces.guard import needs
from collector.faces.problems import PROBLEM_RESPONSES, problem


class Place(BaseModel):
    """Where a copy shall lie."""

    to: str = Field(description="Absolute path on the collector's machine; nothing may be there yet.", pattern="^/")


class Copied(BaseModel):
    """A copy."""

    path: str
    bytes: int


class Exported(BaseModel):
    """Tables as Parquet files."""

    path: str
    rows: dict[str, int] = Field(description="Table -> rows; each is a file of that name.")


def router(back_up: Callable[[str], int], export: Callable[[str], Mapping[str, int]]) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["service"], responses=PROBLEM_RESPONSES)

    @routes.post(
        "/api/v1/backup",
        summary="Back the store up · 备份",
        response_model=Copied,
        dependencies=[needs(Scope.ADMIN, is_whole=True, is_noted=True)],
    )
    def backup(place: Place) -> object:
        """Write a consistent copy, a store of its own, while everything goes on."""
        try:
            return Copied(path=place.to, bytes=back_up(place.to))
        except StoreError as error:
            return problem(409, "No backup", str(error))

    @routes.post(
        "/api/v1/export",
        summary="Export everything as Parquet · 导出 Parquet",
        response_model=Exported,
        dependencies=[needs(Scope.ADMIN, is_whole=True, is_noted=True)],
    )
    def export_parquet(place: Place) -> object:
        """Write every table as one Parquet file, all of the same moment."""
        try:
            return Exported(path=place.to, rows=dict(export(place.to)))
        except StoreError as error:
            return problem(409, "No export", str(error))

    return routes
