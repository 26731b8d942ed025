"""How the sources stand, over REST: plain values come in, JSON goes out; and the words for what to do about each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from collector.access import Scope
from collector.faces.guard import needs
from collector.faces.problems import PROBLEM_RESPONSES

REMEDIES: Mapping[str, tuple[str, str]] = {
    "refused": (
        "Dify did not take our credentials, and is not asked again, because wrong passwords lock an account. Put "
        "working ones into the settings, try them with `dify-metric check`, and restart dify-metric.",
        "Dify 拒绝了我们的凭证；为避免账号被锁定，不会再次尝试。请在设置中改为有效凭证，用 `dify-metric check` "
        "验证后重启 dify-metric。",
    ),
    "starting": (
        "The first pass is under way; nothing is to be done.",
        "正在进行首次采集，无需处理。",
    ),
    "partly": (
        "Some streams were not read in the last pass; they are tried again in the next one. If it stays so, the log "
        "says why.",
        "上次采集有部分数据流未能读取，下次会重试。若持续出现，请查看日志中的原因。",
    ),
    "behind": (
        "It answers, but what is stored ends some time ago: there is more to read than one pass may take. Raise "
        "pull_budget_seconds or pull_concurrency, or have the database read (database_url).",
        "数据源有响应，但已存数据滞后：一次采集读不完。请调大 pull_budget_seconds 或 pull_concurrency，或改为读取数据库"
        "（database_url）。",
    ),
    "down": (
        "The last pass failed. `dify-metric check` says whether it answers now; the log has the reason.",
        "上次采集失败。`dify-metric check` 可检查当前是否可用，日志中有具体原因。",
    ),
    "unauthorized": (
        "The credentials were not accepted. Put working ones into the settings and restart dify-metric.",
        "凭证未被接受。请在设置中改为有效凭证并重启 dify-metric。",
    ),
    "forbidden": (
        "The account's role may not read this. Give it the role that deploy/sources.md names, or sign in with the "
        "admin key.",
        "该账号的角色无权读取。请按 deploy/sources.md 授予所需角色，或改用管理员密钥。",
    ),
    "not_found": (
        "The address answers, but not as Dify's console. Check dify_url and dify_path_prefix.",
        "该地址有响应，但不是 Dify 控制台。请检查 dify_url 与 dify_path_prefix。",
    ),
    "unavailable": (
        "It could not be reached or had no answer. Check that it runs and that this machine reaches the address; it is "
        "tried again by itself.",
        "无法连接或没有响应。请确认服务在运行且本机可访问该地址；系统会自动重试。",
    ),
    "store": (
        "The store did not take the facts. Check the space on its disk.",
        "存储未能写入。请检查磁盘空间。",
    ),
    "tap": (
        "The tap beside this service takes no callers; it is started again by itself. If it stays so, the log says "
        "why.",
        "本服务旁的 tap 不接受请求；系统会自动重启它。若持续出现，请查看日志。",
    ),
}
"""What to do, in English and Chinese: by the class of the error, else by the state."""


class StreamBody(BaseModel):
    """One stream in the last pass · 数据流"""

    stream: str
    apps: int = Field(description="Apps in which it was read; 0: it belongs to the whole workspace.")
    records: int
    set_aside: int = Field(description="Records that could not be read.")
    error_class: str | None = Field(description="What went wrong most often.")
    failed: int = Field(description="In how many apps something did.")
    is_complete: bool


class SourceBody(BaseModel):
    """One source · 数据源"""

    name: str = Field(description="Our name for the Dify.")
    way: Literal["console", "database", "broker", "tap"]
    place: str | None = Field(description="Its address, without credentials.")
    state: Literal["up", "starting", "partly", "behind", "down", "refused"]
    last_success: datetime | None = Field(description="Begin of the last pass of seven days that reached its end.")
    complete_until: datetime | None = Field(description="Everything created before this is stored.")
    lag_seconds: float | None = Field(description="How long ago that was.")
    every_seconds: float | None = Field(description="Time between two passes.")
    pulls: int = Field(description="Passes over a stream of an app in the last seven days.")
    failures: int = Field(description="How many of them failed.")
    error_class: str | None
    problem: str | None = Field(description="Why it refused us.")
    remedy: str | None = Field(description="What to do; null: nothing.")
    remedy_zh: str | None
    streams: list[StreamBody] = Field(description="The last pass.")


class SourcesBody(BaseModel):
    """Every source there is · 数据源列表"""

    sources: list[SourceBody]


def router(listed: Callable[[], Sequence[Mapping[str, Any]]]) -> APIRouter:
    """The route."""
    routes = APIRouter(tags=["service"], responses=PROBLEM_RESPONSES)

    @routes.get(
        "/api/v1/sources",
        summary="How the sources stand · 数据源状态",
        dependencies=[needs(Scope.READ, is_whole=True)],
    )
    def sources() -> SourcesBody:
        """When each last answered, how far it lags, what is wrong and what to do. Empty where nothing is set yet."""
        return SourcesBody.model_validate({"sources": listed()})

    return routes
