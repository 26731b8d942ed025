"""The guard before every route: who asks is known before anything is read, and reads no more than they see.

A route says in its `dependencies` what it takes: `needs(Scope.READ)`, or `open_to_all()`. `seal` refuses an application
with a route that says nothing. `seen` makes of a store's `rows` one that shows each visitor their part, wherever in a
request it is called. Who a visitor is, `collector.faces.admission` decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Annotated, Protocol
from urllib.parse import urlsplit

import structlog
from fastapi import FastAPI, Request, Security
from fastapi.openapi.models import HTTPBase, HTTPBearer
from fastapi.params import Depends
from fastapi.security.base import SecurityBase
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Connection

from collector.access import Scope, Sight, Visitor
from collector.faces.admission import Admission, Refusal
from collector.faces.problems import problem
from collector.measures.query import Rows

log = structlog.get_logger()

_VISITOR: ContextVar[Visitor] = ContextVar("visitor")

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class SeenRows(Protocol):
    """A store's `rows`, which can be told what to show."""

    def __call__(
        self, sql: str, parameters: Mapping[str, object] | Sequence[object] = (), sight: Sight = ...
    ) -> list[tuple[object, ...]]: ...

    def still(self, sight: Sight = ...) -> AbstractContextManager[Rows]: ...


def visitor() -> Visitor:
    """Who asks. LookupError outside a guarded request."""
    return _VISITOR.get()


def seen(rows: SeenRows) -> RowsOfVisitor:
    """`rows` for the routes: it shows each visitor what they see, and nothing where nobody asks."""
    return RowsOfVisitor(rows)


class RowsOfVisitor:
    def __init__(self, rows: SeenRows) -> None:
        self._rows = rows

    def __call__(self, sql: str, parameters: Mapping[str, object] | Sequence[object] = ()) -> list[tuple[object, ...]]:
        return self._rows(sql, parameters, _VISITOR.get().sight)

    def still(self) -> AbstractContextManager[Rows]:
        """Those of one moment."""
        return self._rows.still(_VISITOR.get().sight)


class Guard:
    """ASGI middleware: looks at what a caller shows before anything else does."""

    def __init__(self, app: ASGIApp, admission: Admission) -> None:
        self._app, self._admission = app, admission

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        caller = HTTPConnection(scope)
        try:
            found = self._admission.visitor(caller.headers.get("authorization"), address_of(caller))
            _check_page(scope["method"], caller.headers)
        except Refusal as refusal:
            await _refused(refusal, caller.headers)(scope, receive, send)
            return
        scope["admission"] = self._admission
        before = _VISITOR.set(found)
        try:
            await self._app(scope, receive, send)
        finally:
            _VISITOR.reset(before)


class _Shown(SecurityBase):
    """How a key can be shown, for the OpenAPI document; the guard has looked at it already."""

    def __init__(self, name: str, model: HTTPBase) -> None:
        self.scheme_name, self.model = name, model

    async def __call__(self) -> None:
        return None


_BEARER = _Shown("key", HTTPBearer(description="A key: `dify-metric key create`."))
_BASIC = _Shown("password", HTTPBase(scheme="basic", description="The key as password; any user name."))


class Needs:
    """What a route takes, as its dependency."""

    def __init__(self, scopes: tuple[Scope, ...], *, is_whole: bool, is_noted: bool) -> None:
        self.scopes, self.is_whole, self.is_noted = scopes, is_whole, is_noted

    async def __call__(
        self, request: Request, _key: Annotated[None, Security(_BEARER)], _password: Annotated[None, Security(_BASIC)]
    ) -> None:
        who, admission = visitor(), request.scope["admission"]
        admission.require(who, *self.scopes, is_whole=self.is_whole)
        if self.is_noted and request.method not in SAFE:
            what = f"{request.method} {request.url.path}"
            log.info("asked", what=what, by=who.name, key_id=who.key_id, address=address_of(request))


class OpenToAll:
    """The dependency of a route that takes nothing."""

    def __call__(self) -> None:
        return None


def needs(*scopes: Scope, is_whole: bool = False, is_noted: bool = False) -> Depends:
    """A route for who has one of these scopes. `is_whole`: and sees everything; `is_noted`: changes are logged."""
    call = Needs(scopes, is_whole=is_whole, is_noted=is_noted)
    named = [str(scope) for scope in scopes] if len(scopes) == 1 else []  # a document's list means all of them
    return Security(call, scopes=named)  # type: ignore[no-any-return]


def open_to_all() -> Depends:
    """A route that takes no key."""
    return Depends(OpenToAll())


def guard(app: FastAPI, admission: Admission) -> None:
    """Put the guard before an application."""
    app.add_middleware(Guard, admission=admission)
    app.add_exception_handler(Refusal, _answer)


def seal(app: FastAPI) -> None:
    """Make sure that every route says what it takes. Raises RuntimeError naming one that does not."""
    for route, needed in declared(app.routes):
        if needed is None:
            raise RuntimeError(f"{getattr(route, 'path', route)} says nothing about who may ask: give it needs(…)")


def declared(routes: Iterable[BaseRoute]) -> Iterator[tuple[BaseRoute, Needs | OpenToAll | None]]:
    """Every route, those of included routers too, and what it says it takes; None: nothing."""
    for route in routes:
        if (included := getattr(route, "original_router", None)) is not None:  # newer FastAPI includes lazily
            yield from declared(included.routes)
            continue
        calls = (dependency.dependency for dependency in getattr(route, "dependencies", ()))
        yield route, next((call for call in calls if isinstance(call, Needs | OpenToAll)), None)


def address_of(caller: HTTPConnection) -> str:
    """Where a request comes from."""
    return caller.client.host if caller.client else "unknown"


def _check_page(method: str, headers: Headers) -> None:
    """A page of another site may not do anything here with what its reader's browser knows: the network, a password."""
    if method in SAFE or headers.get("authorization", "").lower().startswith("bearer "):
        return
    origin = headers.get("origin")
    if headers.get("sec-fetch-site") == "cross-site" or (origin and urlsplit(origin).netloc != headers.get("host")):
        raise Refusal(403, "page", "a page of another site may not send this")


async def _answer(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)  # noqa: S101
    return _refused(error, request.headers)


_TITLES = {401: "A key is wanted", 403: "Not with this key", 429: "Too many wrong keys"}


def _refused(refusal: Refusal, headers: Headers) -> Response:
    answer = problem(refusal.status, _TITLES[refusal.status], refusal.detail)
    for challenge in refusal.challenges:
        if challenge.startswith("Basic") and "x-requested-with" in headers:
            continue  # a script asks: told of Basic, the browser would open a window of its own for a password
        answer.headers.append("WWW-Authenticate", challenge)
    if refusal.retry_after_seconds is not None:
        answer.headers["Retry-After"] = str(int(refusal.retry_after_seconds) + 1)
    return answer
