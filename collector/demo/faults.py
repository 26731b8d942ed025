"""What can go wrong between the simulated Dify and whoever asks it, set by tests.

What comes in are rules: a pattern of paths, what to do, how often; what goes out is an ASGI app around the real one.
Rules are tried in the order they were made, the first that is due answers. Everything asked is noted in `requests`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

import httpx
import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HTML = b"<html>\r\n<head><title>%d</title></head>\r\n<body><center><h1>%d</h1></center><hr>nginx</body>\r\n</html>\r\n"

EVER = 1_000_000
"""As `times`: for ever."""


class Rule(msgspec.Struct, kw_only=True):
    """One fault: which requests, what happens to them, how often it still will."""

    pattern: re.Pattern[str]
    times: int
    after: int  # so many requests pass before it begins
    respond: Callable[[ASGIApp, Scope, Receive, Send], object]


class Faults:
    """The faults of one simulated Dify. `pattern` is a regular expression searched for in "GET /path?query"."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self._rules: list[Rule] = []
        self._released = asyncio.Event()

    def answer(
        self,
        pattern: str,
        status: int,
        body: bytes | dict[str, object] = b"",
        *,
        headers: dict[str, str] | None = None,
        times: int = 1,
        after: int = 0,
    ) -> None:
        """Answer this instead of the real thing."""
        content = body if isinstance(body, bytes) else msgspec.json.encode(body)
        kind = "text/html" if isinstance(body, bytes) else "application/json"

        async def respond(_: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
            told = {"content-type": kind, "content-length": str(len(content)), **(headers or {})}
            raw = [(name.lower().encode(), value.encode()) for name, value in told.items()]
            await send({"type": "http.response.start", "status": status, "headers": raw})
            await send({"type": "http.response.body", "body": content})

        self._add(pattern, times, after, respond)

    def html_error(self, pattern: str, status: int = 502, *, times: int = 1, after: int = 0) -> None:
        """A reverse proxy's error page."""
        self.answer(pattern, status, _HTML % (status, status), times=times, after=after)

    def refuse(self, pattern: str, status: int, code: str, *, times: int = 1, after: int = 0) -> None:
        """An error in Dify's own shape, such as 401 unauthorized or 403 forbidden."""
        self.answer(pattern, status, {"code": code, "message": f"{code}.", "status": status}, times=times, after=after)

    def too_many(self, pattern: str, retry_after: str | None = "1", *, times: int = 1, after: int = 0) -> None:
        """429, with or without Retry-After."""
        headers = {"Retry-After": retry_after} if retry_after else {}
        body: dict[str, object] = {"code": "too_many_requests", "message": "Too many requests.", "status": 429}
        self.answer(pattern, 429, body, headers=headers, times=times, after=after)

    def truncate(self, pattern: str, *, times: int = 1, after: int = 0) -> None:
        """The real answer with its second half missing, status and length as if nothing was wrong."""
        self.rewrite(pattern, lambda body: body[: len(body) // 2], times=times, after=after)

    def rewrite(self, pattern: str, change: Callable[[bytes], bytes], *, times: int = 1, after: int = 0) -> None:
        """The real answer, changed: unknown words, missing keys."""

        async def respond(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
            head, body = await _heard(app, scope, receive)
            changed = change(body)
            kept = [(name, value) for name, value in head["headers"] if name != b"content-length"]
            head["headers"] = [*kept, (b"content-length", str(len(changed)).encode())]
            await send(head)
            await send({"type": "http.response.body", "body": changed})

        self._add(pattern, times, after, respond)

    def disconnect(self, pattern: str, *, after_bytes: int = 0, times: int = 1, after: int = 0) -> None:
        """The real answer breaks off after so many bytes, and the connection with it."""

        async def respond(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
            left = after_bytes

            async def cut(message: Message) -> None:
                nonlocal left
                body = message.get("body", b"")
                if message["type"] == "http.response.body" and len(body) >= left:
                    if left:
                        await send({"type": "http.response.body", "body": body[:left], "more_body": True})
                    raise httpx.RemoteProtocolError("peer closed connection without sending complete message body")
                left -= len(body)
                await send(message)

            await app(scope, receive, cut)

        self._add(pattern, times, after, respond)

    def unreachable(self, pattern: str = "", *, times: int = 1, after: int = 0) -> None:
        """Nobody answers."""

        async def respond(_: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
            raise httpx.ConnectError("All connection attempts failed")

        self._add(pattern, times, after, respond)

    def stall(self, pattern: str, *, times: int = 1, after: int = 0) -> None:
        """Nothing comes until `release`; then the real answer."""

        async def respond(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
            await self._released.wait()
            await app(scope, receive, send)

        self._add(pattern, times, after, respond)

    def release(self) -> None:
        """Let everything that stalls go on, now and later."""
        self._released.set()

    def before(self, pattern: str, action: Callable[[], object], *, times: int = 1, after: int = 0) -> None:
        """Do something right before the real answer: change a run, delete an app, clean up."""

        async def respond(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
            action()
            await app(scope, receive, send)

        self._add(pattern, times, after, respond)

    def clear(self) -> None:
        """Everything is well again."""
        self._rules.clear()

    def asked(self, pattern: str) -> int:
        """How many requests matched so far."""
        return sum(re.search(pattern, request) is not None for request in self.requests)

    def around(self, app: ASGIApp) -> ASGIApp:
        """The app with these faults."""

        async def faulty(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            query = scope["query_string"].decode()
            asked = f"{scope['method']} {scope['path']}" + (f"?{query}" if query else "")
            self.requests.append(asked)
            rule = self._due(asked)
            await (rule.respond(app, scope, receive, send) if rule else app(scope, receive, send))  # type: ignore[misc]

        return faulty

    def _add(
        self, pattern: str, times: int, after: int, respond: Callable[[ASGIApp, Scope, Receive, Send], object]
    ) -> None:
        self._rules.append(Rule(pattern=re.compile(pattern), times=times, after=after, respond=respond))

    def _due(self, asked: str) -> Rule | None:
        for rule in self._rules:
            if rule.times and rule.pattern.search(asked):
                if rule.after:
                    rule.after -= 1
                    continue
                rule.times -= 1
                return rule
        return None


async def _heard(app: ASGIApp, scope: Scope, receive: Receive) -> tuple[Message, bytes]:
    """An app's whole answer: its first message and its body."""
    messages: list[Message] = []

    async def keep(message: Message) -> None:
        messages.append(message)

    await app(scope, receive, keep)
    return messages[0], b"".join(message.get("body", b"") for message in messages[1:])
