"""Checks over REST: has the sources tried, or one that is not set yet; goes out what each said. Keeps nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from collector.access import Scope
from collector.faces.guard import needs
from collector.faces.problems import PROBLEM_RESPONSES

Check: TypeAlias = Callable[[Mapping[str, object] | None], Awaitable[Sequence[Mapping[str, Any]]]]


class Wish(BaseModel):
    """A Dify that is not set yet: as the settings of one would be."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    url: str = Field(max_length=2000, description="Where Dify is.")
    path_prefix: str | None = Field(None, max_length=200, description="What stands before /console/api.")
    admin_key: SecretStr | None = Field(None, description="Dify's ADMIN_API_KEY; with workspace_id.")
    workspace_id: str | None = Field(None, max_length=200)
    email: str | None = Field(None, max_length=200, description="An account; with password.")
    password: SecretStr | None = None
    token: SecretStr | None = Field(None, description="A console token.")


class CheckBody(BaseModel):
    """What was found · 检查结果"""

    check: str = Field(description="store, or dify, database, broker with the name of the Dify.")
    is_well: bool
    result: str = Field(description="What answered, or what is wrong. Never a credential.")


class Checks(BaseModel):
    """Every check · 检查列表"""

    checks: list[CheckBody]


def router(check: Check, *, is_set: bool) -> APIRouter:
    """The route. `is_set`: there is a Dify already, and no other is tried."""
    routes = APIRouter(tags=["service"], responses=PROBLEM_RESPONSES)
    one_at_a_time = asyncio.Lock()

    @routes.post(
        "/api/v1/check",
        summary="Try the sources · 检查连接",
        dependencies=[needs(Scope.ADMIN, is_noted=True)],
    )
    async def try_sources(wish: Wish | None = None) -> Checks:
        """Whether each source answers and takes our credentials. Where no Dify is set yet, one in the body is tried."""
        if wish is not None and is_set:
            raise HTTPException(409, "a Dify is set already; change the settings, and ask without a body")
        given = wish.model_dump(exclude_none=True) if wish else None
        async with one_at_a_time:  # looks sign in: nobody shall try passwords out here at speed
            return Checks.model_validate({"checks": await check(given)})

    return routes
