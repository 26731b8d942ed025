"""Proof of the rollups over REST: what comes in is the wish to compare or repair; what goes out are the steps that
differ. Knows no table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from collector.access import Scope
from collector.faces.guard import needs
from collector.faces.problems import PROBLEM_RESPONSES
from collector.rollups import Drift


class Different(BaseModel):
    """A step of a rollup that does not say what the facts say."""

    facts: str = Field(description="The table of the facts.")
    level: str = Field(description="quarter, hour or day.")
    table: str = Field(description="The table of the rollup.")
    at: datetime = Field(description="Start of the step.")
    rows: int = Field(description="Rows that differ.")
    kept: int = Field(description="Facts that the rollup counts in those rows.")
    there: int = Field(description="Facts that there are.")


class Proof(BaseModel):
    """What comparing found."""

    differences: list[Different] = Field(description="None: every rollup says what the facts say.")
    is_repaired: bool = Field(description="Whether they were made anew.")


def router(check: Callable[[bool], Sequence[Drift]]) -> APIRouter:
    """The routes. `check` compares, and repairs where it is told to."""
    routes = APIRouter(tags=["service"], responses=PROBLEM_RESPONSES)

    @routes.get(
        "/api/v1/rollups",
        summary="Compare rollups with the facts · 校验汇总数据",
        dependencies=[needs(Scope.ADMIN, is_whole=True)],
    )
    def compare() -> Proof:
        """Work every step out again; reads everything that is stored."""
        return Proof.model_validate(proof(check(False), is_repaired=False))

    @routes.post(
        "/api/v1/rollups/repair",
        summary="Make wrong rollups anew · 修复汇总数据",
        dependencies=[needs(Scope.ADMIN, is_whole=True, is_noted=True)],
    )
    def repair() -> Proof:
        """The same, and what differs is made anew from the facts."""
        return Proof.model_validate(proof(check(True), is_repaired=True))

    return routes


def proof(found: Sequence[Drift], *, is_repaired: bool) -> dict[str, Any]:
    """As JSON."""
    names = Different.model_fields
    rows = [{name: getattr(drift, name) for name in names} for drift in found]
    told = [row | {"level": str(row["level"]), "at": row["at"].isoformat()} for row in rows]
    return {"differences": told, "is_repaired": is_repaired and bool(found)}
