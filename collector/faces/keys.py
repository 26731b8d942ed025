"""Keys over REST: made, listed and revoked by who has the scope admin. A token goes out once, when its key is made."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import structlog
from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from collector.access import Scope, Sight, told
from collector.faces.guard import needs, visitor
from collector.faces.problems import PROBLEM_RESPONSES
from collector.keyring import Keyring

log = structlog.get_logger()


class Wish(BaseModel):
    """The key that is wanted."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(description="Whose it is, or what for.")
    scopes: list[str] = Field(description=f"What it may do: {', '.join(Scope)}.")
    apps: list[str] = Field(default=[], description="It sees only these apps, by id; none: all.")
    workspaces: list[str] = Field(default=[], description="It sees only these workspaces, by id; none: all.")
    origins: list[str] = Field(default=[], description="It sees only these Difys, by our names; none: all.")
    expires_at: datetime | None = Field(None, description="From then on it opens nothing; null: never.")


class KeyBody(BaseModel):
    """One key, without what opens the door · 密钥"""

    id: str
    name: str
    scopes: list[Scope]
    apps: list[str]
    workspaces: list[str]
    origins: list[str]
    state: str = Field(description="active, expired or revoked.")
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None = Field(description="To the minute.")


class Made(KeyBody):
    """A key just made · 新密钥"""

    token: str = Field(description="What its holder shows. Told this once, and kept nowhere.")


class Keys(BaseModel):
    """Every key, the oldest first · 密钥列表"""

    keys: list[KeyBody]


def router(keyring: Keyring, clock: Callable[[], datetime]) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["access"], responses=PROBLEM_RESPONSES)

    @routes.get("/api/v1/keys", summary="List keys · 密钥列表", dependencies=[needs(Scope.ADMIN)])
    def listed() -> Keys:
        """Who may do what, and when they last did."""
        return Keys(keys=[KeyBody.model_validate(told(key, clock())) for key in keyring])

    @routes.post(
        "/api/v1/keys",
        summary="Make a key · 创建密钥",
        status_code=201,
        dependencies=[needs(Scope.ADMIN)],
    )
    def create(wish: Wish, response: Response) -> Made:
        """A key with its token, which nobody can tell again. One bound to apps, workspaces or Difys may only read."""
        sight = Sight(tuple(wish.apps), tuple(wish.workspaces), tuple(wish.origins))
        key, token = keyring.create(wish.name, wish.scopes, now=clock(), sight=sight, expires_at=wish.expires_at)
        log.info("key made", key_id=key.id, name=key.name, scopes=" ".join(key.scopes), by=visitor().name)
        response.headers["Cache-Control"] = "no-store"
        return Made.model_validate({**told(key, clock()), "token": token})

    @routes.delete("/api/v1/keys/{id}", summary="Revoke a key · 吊销密钥", dependencies=[needs(Scope.ADMIN)])
    def revoke(id: str) -> KeyBody:
        """It opens nothing from now on. Revoking again changes nothing."""
        key = keyring.revoke(id, clock())
        log.info("key revoked", key_id=key.id, name=key.name, by=visitor().name)
        return KeyBody.model_validate(told(key, clock()))

    return routes
