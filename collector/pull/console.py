"""Dify's console API, signed in: paths and parameters in, JSON out.

Keeps at most `concurrency` requests in flight, waits out short outages, renews the session when it ran out, and says
by the error's class what a caller should do next. A refused login is never tried again: Dify locks the account for a
day after six. This file reads no record; it does not know what the JSON means.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from time import monotonic
from types import TracebackType
from typing import NoReturn
from urllib.parse import quote

import httpx
from httpx_retries import RetryTransport

from collector.errors import Forbidden, NotFound, Rejected, SettingsError, ShapeError, Unauthorized
from collector.fields import Json, items, text
from collector.pull.answers import Counting, Patience, asked, read
from collector.pull.signin import (
    Access,
    Session,
    Version,
    fixed_session,
    login_body,
    read_session,
    read_version,
    refresh_request,
)

__all__ = ["Access", "Console"]

FRUITLESS_SESSIONS = 3
"""Sessions in a row that Dify gave and then refused: after so many we stop asking."""

Ids = Mapping[str, str]
Parameters = Mapping[str, str]


class Console:
    """A signed-in client. Use it in one event loop; `async with` closes it.

    `requests` counts what was sent, retries included, by (endpoint, status code). `refused` says why nothing will be
    sent any more, None while all is well. `version` is Dify's, known after the first answer.
    """

    def __init__(
        self,
        access: Access,
        *,
        concurrency: int = 4,
        timeout_seconds: float = 60.0,
        retries: int = 4,
        backoff_seconds: float = 0.5,
        longest_wait_seconds: float = 30.0,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.access = access
        self.concurrency = concurrency
        self.requests: Counter[tuple[str, str]] = Counter()
        self.version: Version | None = read_version(access.version)
        self.refused: str | None = None
        self._session = None if access.has_login else fixed_session(access)
        self._fruitless = 0
        self._renewing = asyncio.Lock()
        self._slots = asyncio.Semaphore(concurrency)
        self._patience = Patience(retries, backoff_seconds, longest_wait_seconds, clock)
        limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
        counting = Counting(transport or httpx.AsyncHTTPTransport(limits=limits), self.requests)
        self._client = httpx.AsyncClient(
            transport=RetryTransport(counting, self._patience.retry),
            timeout=httpx.Timeout(timeout_seconds, connect=min(10.0, timeout_seconds)),
            # The Session carries the cookies: a jar would hold back Secure ones from a plain http address.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            headers={"Accept": "application/json", "User-Agent": "dify-metric"},
        )

    async def __aenter__(self) -> Console:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def get(self, path: str, params: Parameters | None = None, **ids: str) -> Json:
        """GET a console path such as `/apps/{app_id}`, its braces filled from `ids`.

        Raises Unauthorized, Forbidden, NotFound, Rejected, Unavailable, or ShapeError when the body is no object.
        """
        return await self._signed_in("GET", path, params, ids)

    async def post(self, path: str, **ids: str) -> Json:
        """POST without a body: the few reads that Dify spells so. Raises as `get` does; is never repeated."""
        return await self._signed_in("POST", path, None, ids)

    async def service(self, path: str, params: Parameters, key: str) -> Json:
        """GET a path of an app's service API, shown a key of that app. Raises as `get` does."""
        headers = {"Authorization": f"Bearer {key}"}
        response = await self._send("GET", f"/v1{path}", path, to=self.access.service, params=params, headers=headers)
        return read(response, f"GET /v1{path}")

    async def workspace_id(self) -> str | None:
        """The workspace all answers are about; None where this version or role does not tell."""
        if self.access.workspace_id:
            return self.access.workspace_id
        try:
            return text(await self.post("/workspaces/current"), "id")
        except (NotFound, Rejected, Forbidden, ShapeError):
            pass  # before 1.11 there was only the list
        try:
            workspaces = items(await self.get("/workspaces"), "workspaces")
        except (NotFound, Rejected, Forbidden, ShapeError):
            return None
        return next((text(workspace, "id") for workspace in workspaces if workspace.get("current")), None)

    async def _signed_in(self, method: str, path: str, params: Parameters | None, ids: Ids) -> Json:
        session = self._session or await self._renewed(None)
        try:
            return await self._ask(method, path, params, ids, session)
        except Unauthorized:
            if not self.access.has_login or self.refused:
                raise
        return await self._ask(method, path, params, ids, await self._renewed(session))

    async def _ask(self, method: str, path: str, params: Parameters | None, ids: Ids, session: Session) -> Json:
        url = path.format_map({name: quote(value, safe="") for name, value in ids.items()})
        response = await self._send(method, path, url, params=params, headers=session.headers)
        answer = read(response, f"{method} {url}")
        self._fruitless = 0
        return answer

    async def _send(
        self,
        method: str,
        endpoint: str,
        url: str,
        *,
        to: str | None = None,
        params: Parameters | None = None,
        headers: Mapping[str, str] | None = None,
        json: Json | None = None,
    ) -> httpx.Response:
        """One request, repeated by the transport where that may help. Raises Unavailable when no answer came."""
        async with self._slots:
            if self.refused:
                raise Unauthorized(self.refused)
            self._patience.check()
            request = self._client.build_request(
                method,
                (to or self.access.api) + url,
                params=params,
                headers=headers,
                json=json,
                extensions={"endpoint": endpoint},
            )
            with asked(f"{method} {url}", self.access.url, self._patience):
                response = await self._client.send(request)
        self._patience.heed(response)
        if self.access.version is None:  # told anew by every answer: Dify may be upgraded while we run
            self.version = read_version(response.headers.get("x-version")) or self.version
        return response

    async def _renewed(self, worn: Session | None) -> Session:
        """The session after `worn`: one request renews it, the others wait and share what it got."""
        async with self._renewing:
            if self._session is not None and self._session is not worn:
                return self._session
            if self._fruitless >= FRUITLESS_SESSIONS:
                self._stop("Dify accepts the login and then refuses its session; does a proxy drop cookies or headers?")
            self._session = (await self._refreshed(worn) if worn else None) or await self._login()
            self._fruitless += 1
            return self._session

    async def _refreshed(self, worn: Session) -> Session | None:
        """A new session for the refresh token, which is good for one use; None when Dify does not take it."""
        if worn.refresh_token is None:
            return None
        headers, body = refresh_request(worn)
        response = await self._send("POST", "/refresh-token", "/refresh-token", headers=headers, json=body)
        try:
            answer = read(response, "POST /refresh-token")
            return read_session(response.headers.get_list("set-cookie"), answer)
        except (Unauthorized, Forbidden, NotFound, Rejected, ShapeError):
            return None

    async def _login(self) -> Session:
        body = login_body(self.access, self.version or await self._asked_version())
        response = await self._send("POST", "/login", "/login", json=body)
        try:
            answer = read(response, "POST /login")
        except (Unauthorized, Forbidden, Rejected) as error:
            self._stop(str(error))
        if answer.get("result") == "fail":
            self._stop("POST /login: result fail")
        return read_session(response.headers.get_list("set-cookie"), answer)

    async def _asked_version(self) -> Version:
        response = await self._send("GET", "/setup", "/setup")
        if self.version is None:
            read(response, "GET /setup")
            raise SettingsError(
                f"dify_version: {self.access.url} tells no X-Version header, and how a password is sent depends on it; "
                "set dify_version, or sign in with dify_admin_key or dify_token"
            )
        return self.version

    def _stop(self, reason: str) -> NoReturn:
        self.refused = (
            f"signing in to {self.access.url} was refused ({reason}). It is not tried again, because six wrong "
            "passwords lock the account for 24 hours: correct dify_email and dify_password, then start again"
        )
        raise Unauthorized(self.refused) from None
