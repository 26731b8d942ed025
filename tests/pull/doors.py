"""A Dify that only has doors: sign-in, sessions and one page behind them, in every way Dify ever did it.

The shapes are those of tests/recorded/login*.json, refresh_token*.json and error_401_*.json.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import httpx

from collector.pull.console import Access, Console

EMAIL, PASSWORD = "metrics@example.com", "pässword"


class Doors:
    """Answers as an ASGI-less transport; a test bends it by its fields."""

    def __init__(self, version: str | None = "1.11.1", *, cookie_prefix: str = "") -> None:
        self.version = version
        self.cookie_prefix = cookie_prefix
        self.live: set[str] = set()  # access tokens that are good now
        self.refresh: set[str] = set()
        self.logins = self.refreshes = self.wrong = self.made = 0
        self.most_at_once = self.at_once = 0
        self.behind: Callable[[httpx.Request], httpx.Response] = lambda request: answer({"data": [], "has_more": False})

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        response = await self._route(request)
        if self.version:
            response.headers["X-Version"] = self.version
        return response

    async def _route(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.partition("/console/api")[2]
        if path == "/setup":
            return answer({"step": "finished"})
        if path == "/login":
            return self._login(json.loads(request.content))
        if path == "/refresh-token":
            return self._renew(request)
        if self._token(request) not in self.live:
            return answer({"code": "unauthorized", "message": "Token has expired.", "status": 401}, 401)
        return self.behind(request)

    def expire(self) -> None:
        self.live.clear()

    @property
    def _numbers(self) -> tuple[int, ...]:
        return tuple(int(part) for part in (self.version or "1.11.1").split("."))

    def _login(self, body: dict[str, Any]) -> httpx.Response:
        self.logins += 1
        if self.wrong >= 5:
            return answer({"code": "email_code_login_limit", "message": "Too many …", "status": 429}, 429)
        coded = self._numbers >= (1, 11, 1)
        wanted = base64.b64encode(PASSWORD.encode()).decode() if coded else PASSWORD
        if (body["email"], body["password"]) != (EMAIL, wanted):
            self.wrong += 1
            return answer(
                {"code": "authentication_failed", "message": "Invalid email or password.", "status": 401}, 401
            )
        return self._session()

    def _renew(self, request: httpx.Request) -> httpx.Response:
        self.refreshes += 1
        if self._numbers >= (1, 9, 2):
            assert "X-CSRF-Token" not in request.headers
            token = request.headers.get("Cookie", "").partition(f"{self.cookie_prefix}refresh_token=")[2]
        else:
            token = json.loads(request.content)["refresh_token"]
        if token not in self.refresh:
            return answer({"result": "fail", "message": "Invalid refresh token"}, 401)
        self.refresh.remove(token)
        return self._session()

    def _session(self) -> httpx.Response:
        self.made += 1
        access, refresh, csrf = (f"{kind}{self.made}" for kind in ("access", "refresh", "csrf"))
        self.live.add(access)
        self.refresh.add(refresh)
        if self._numbers >= (1, 9, 2):
            response = answer({"result": "success"})
            for name, value in (("access_token", access), ("refresh_token", refresh), ("csrf_token", csrf)):
                cookie = f"{self.cookie_prefix}{name}={value}; Max-Age=3600; Secure; HttpOnly; Path=/; SameSite=Lax"
                response.headers = httpx.Headers([*response.headers.multi_items(), ("Set-Cookie", cookie)])
            return response
        if self._numbers >= (0, 9):
            return answer({"result": "success", "data": {"access_token": access, "refresh_token": refresh}})
        return answer({"result": "success", "data": access})

    def _token(self, request: httpx.Request) -> str | None:
        if self._numbers < (1, 9, 2):
            return request.headers.get("Authorization", "").removeprefix("Bearer ")
        pairs = [part.partition("=") for part in request.headers.get("Cookie", "").split("; ")]
        cookies = {name.removeprefix(self.cookie_prefix): value for name, _, value in pairs}
        if not cookies.get("csrf_token") or cookies["csrf_token"] != request.headers.get("X-CSRF-Token"):
            return None
        return cookies.get("access_token")


def answer(body: object, status: int = 200, **headers: str) -> httpx.Response:
    return httpx.Response(status, json=body, headers={name.replace("_", "-"): value for name, value in headers.items()})


def page(status: int) -> httpx.Response:
    return httpx.Response(status, html=f"<html><title>{status}</title></html>")


def a_console(asked: Any, **options: Any) -> Console:
    """A console that knows the password and does not wait."""
    access = options.pop("access", None) or Access(url="http://dify.test", email=EMAIL, password=PASSWORD)
    quick = {"retries": 2, "backoff_seconds": 0.0, "transport": httpx.MockTransport(asked)}
    return Console(access, **(quick | options))
