"""The simulated Dify as an ASGI app: console API, service API, health, one world behind them.

What comes in are HTTP requests, through uvicorn or httpx.ASGITransport; what goes out is what Dify of that version
would say. It knows its world, a clock and how time passes in streams, all handed over; it keeps nothing on disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from random import Random
from typing import Protocol

import msgspec
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from collector.demo import console, conversations, service, workspace
from collector.demo.asking import Ask, Endpoint, Refusal
from collector.demo.drawing import Drawing
from collector.demo.faults import Faults
from collector.demo.plan import Habits
from collector.demo.rows import Account, App
from collector.demo.service import Pace, Service
from collector.demo.signin import Door, Tokens, refresh_cookie, set_cookies
from collector.demo.world import World

_NOT_FOUND = (
    "<!doctype html>\n<html lang=en>\n<title>404 Not Found</title>\n<h1>Not Found</h1>\n"
    "<p>The requested URL was not found on the server. If you entered the URL manually please check your spelling "
    "and try again.</p>\n"
)


class Advances(Protocol):
    """Something that goes on as the clock does."""

    def advance(self, now: datetime) -> None:
        """Let happen what is due by now."""


def simulated_dify(
    world: World,
    *,
    clock: Callable[[], datetime],
    version: str = "1.11.1",
    prefix: str = "",
    admin_key: str | None = None,
    faults: Faults | None = None,
    life: Advances | None = None,
    pace: Pace = asyncio.sleep,
    habits: Habits | None = None,
    seed: int = 7,
) -> ASGIApp:
    """A Dify of that version over this world.

    `prefix`: a path before `/console/api` and `/v1`. `life` appends to the world before each request. `pace` waits
    between the events of a stream; `habits` and `seed` are those of requests to the service API.
    """
    drawing = Drawing(Random(f"{seed}/service"), habits or Habits(), lambda name: _named(world, name))
    house = _House(world, clock, version, Door(world, clock, version, admin_key), drawing, pace)
    app = Starlette(
        routes=house.routes(prefix),
        exception_handlers={Refusal: _refused, 404: _missing, 405: _wrong_method},
    )
    app.router.redirect_slashes = False
    around: ASGIApp = _told_version(app, version)
    if life:
        around = _living(around, life, clock)
    return faults.around(around) if faults else around


class _House:
    """The routes of one simulated Dify and what they share."""

    def __init__(
        self, world: World, clock: Callable[[], datetime], version: str, door: Door, drawing: Drawing, pace: Pace
    ) -> None:
        self.door = door
        self._world = world
        self._clock = clock
        self._version = version
        self._numbers = tuple(int(part) for part in version.split(".")[:3])
        self._service = Service(world, drawing, pace, is_compact=self._numbers >= (1, 9))

    def routes(self, prefix: str) -> list[BaseRoute]:
        """Every route there is."""
        old = self._numbers < (1, 11, 1)
        signed = [*console.ROUTES, *conversations.ROUTES, *workspace.ROUTES]
        if old:
            signed.append(("GET", "/workspaces/current", workspace.current_workspace))
        if self._numbers < (1, 10):
            signed = [route for route in signed if not route[1].endswith("/count")]
        at = f"{prefix}/console/api"
        return [
            Route(f"{prefix}/health", self._health),
            Route(f"{at}/version", self._told, methods=["GET"]),
            Route(f"{at}/login", self._log_in, methods=["POST"]),
            Route(f"{at}/refresh-token", self._refresh, methods=["POST"]),
            Route(f"{at}/all-workspaces", self._open(workspace.all_workspaces, is_admin=True)),
            *(
                Route(at + path, self._open(endpoint), methods=[method])
                for method, path, endpoint in workspace.OPEN_ROUTES
            ),
            *(Route(at + path, self._signed(endpoint), methods=[method]) for method, path, endpoint in signed),
            *self._service_routes(f"{prefix}/v1"),
        ]

    def _service_routes(self, at: str) -> list[BaseRoute]:
        return [
            *(Route(at + path, self._run(modes, code), methods=["POST"]) for path, modes, code in service.RUN_PATHS),
            *(Route(at + path, self._keyed(self._service.stop), methods=["POST"]) for path in service.STOP_PATHS),
            *(Route(at + path, self._keyed(endpoint), methods=[method]) for method, path, endpoint in service.ROUTES),
            *(
                Route(at + path, self._shared(endpoint), methods=[method])
                for method, path, endpoint in service.DATASET_ROUTES
            ),
        ]

    # Doors

    def _open(self, endpoint: Endpoint, *, is_admin: bool = False) -> Callable[[Request], Awaitable[Response]]:
        async def respond(request: Request) -> Response:
            if is_admin and not self.door.holds_admin_key(request.headers):
                raise Refusal(401, "unauthorized", "Invalid token.")
            return _json(endpoint(await self._ask(request)))

        return respond

    def _signed(self, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
        async def respond(request: Request) -> Response:
            account = self.door.account(request.headers, request.cookies)
            return _json(endpoint(await self._ask(request, account=account)))

        return respond

    def _keyed(self, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
        async def respond(request: Request) -> Response:
            return _json(endpoint(await self._ask(request, key_app=self._key_app(request))))

        return respond

    def _shared(self, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
        async def respond(request: Request) -> Response:
            if _key(request) != self._world.dataset_key:
                raise Refusal(401, "unauthorized", "Access token is invalid")
            return _json(endpoint(await self._ask(request)))

        return respond

    def _run(self, modes: tuple[str, ...], refusal: str) -> Callable[[Request], Awaitable[Response]]:
        async def respond(request: Request) -> Response:
            ask = await self._ask(request, key_app=self._key_app(request))
            plan = self._service.accept(ask, *modes, refusal=refusal)
            user = str(ask.body.get("user"))
            if ask.body.get("response_mode") != "streaming":
                return _json(await self._service.answer(plan, user))
            return StreamingResponse(self._service.stream(plan, user), media_type="text/event-stream")

        return respond

    def _key_app(self, request: Request) -> App:
        key = _key(request)
        app = next((app for app in self._world.apps.values() if app.key == key), None)
        if app is None:
            raise Refusal(401, "unauthorized", "Access token is invalid")
        app.key_used_at = self._clock()
        if not app.enable_api:
            raise Refusal(403, "forbidden", "The app's API service has been disabled.")
        return app

    async def _ask(self, request: Request, *, account: Account | None = None, key_app: App | None = None) -> Ask:
        return Ask(
            world=self._world,
            now=self._clock(),
            path=request.url.path,
            address=f"{request.url.scheme}://{request.url.netloc}",
            version=self._numbers,
            path_values={name: str(value) for name, value in request.path_params.items()},
            query=dict(request.query_params),
            body=await _body(request),
            account=account,
            key_app=key_app,
        )

    # Signing in

    async def _log_in(self, request: Request) -> Response:
        return self._let_in(self.door.log_in(await _body(request)), request)

    async def _refresh(self, request: Request) -> Response:
        given = refresh_cookie(request.cookies)
        if not self.door.dialect.has_cookies:
            given = str((await _body(request)).get("refresh_token") or "")
        found = self.door.refresh(given)
        if isinstance(found, str):
            return _json({"result": "fail", "message": found}, 401)
        return self._let_in(found, request)

    def _let_in(self, tokens: Tokens, request: Request) -> Response:
        dialect = self.door.dialect
        if dialect.has_cookies:
            response = _json({"result": "success"})
            for cookie in set_cookies(tokens, is_secure=request.url.scheme == "https"):
                response.headers.append("set-cookie", cookie)
            return response
        pair = {"access_token": tokens.access, "refresh_token": tokens.refresh}
        return _json({"result": "success", "data": pair if dialect.has_pair else tokens.access})

    async def _health(self, _: Request) -> Response:
        return _json({"pid": 1, "status": "ok", "version": self._version})

    async def _told(self, _: Request) -> Response:
        features = {"can_replace_logo": False, "model_load_balancing_enabled": False}
        empty = {"release_date": "", "release_notes": "", "can_auto_update": False}
        return _json({"version": self._version, **empty, "features": features})


def _told_version(app: ASGIApp, version: str) -> ASGIApp:
    async def told(scope: Scope, receive: Receive, send: Send) -> None:
        async def with_version(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Version"], headers["X-Env"] = version, "PRODUCTION"
            await send(message)

        await app(scope, receive, with_version)

    return told


def _living(app: ASGIApp, life: Advances, clock: Callable[[], datetime]) -> ASGIApp:
    async def living(scope: Scope, receive: Receive, send: Send) -> None:
        life.advance(clock())
        await app(scope, receive, send)

    return living


def _json(body: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/json")


async def _refused(_: Request, error: Exception) -> Response:
    if not isinstance(error, Refusal):
        raise error
    response = _json({"code": error.code, "message": error.message, "status": error.status}, error.status)
    if error.status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="api"'
    return response


async def _missing(_: Request, error: Exception) -> Response:
    return HTMLResponse(_NOT_FOUND, 404)


async def _wrong_method(_: Request, error: Exception) -> Response:
    said = "The method is not allowed for the requested URL."
    headers = error.headers if isinstance(error, HTTPException) else None
    response = _json({"code": "method_not_allowed", "message": said, "status": 405}, 405)
    response.headers.update(headers or {})
    return response


async def _body(request: Request) -> dict[str, object]:
    raw = await request.body()
    if not raw:
        return {}
    try:
        found = msgspec.json.decode(raw)
    except msgspec.DecodeError:
        raise Refusal(
            400, "bad_request", "The browser (or proxy) sent a request that this server could not understand."
        ) from None
    return found if isinstance(found, dict) else {}


def _key(request: Request) -> str:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise Refusal(401, "unauthorized", "Authorization header must be provided and start with 'Bearer'")
    return key.strip()


def _named(world: World, name: str) -> App | None:
    return next((app for app in world.apps.values() if app.name == name), None)
