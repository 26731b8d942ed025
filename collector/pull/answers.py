"""What an HTTP answer means: how long to wait, whether to ask again, and which error it is.

What comes in are httpx responses and failures; what goes out is JSON or one of our errors, with what was asked and
what to do. Nothing here sends a request of its own or knows who is signed in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
from httpx_retries import Retry

from collector.errors import DifyMetricError, Forbidden, NotFound, Rejected, ShapeError, Unauthorized, Unavailable
from collector.fields import NOTHING, Json, decode

NO_ANSWER = "none"
"""The status code under which requests without an answer are counted."""

LOCKED_OUT = "email_code_login_limit"
"""Dify's code for an account locked after wrong passwords; the status beside it is 429."""

_ERRORS: dict[int, tuple[type[DifyMetricError], str]] = {
    401: (Unauthorized, "the key, token or session is not accepted"),
    403: (Forbidden, "the account's role may not read this"),
    404: (NotFound, "not there (any more)"),
}


class Counting(httpx.AsyncBaseTransport):
    """Counts every request that really goes out, by its `endpoint` extension and the answer's status code."""

    def __init__(self, transport: httpx.AsyncBaseTransport, requests: Counter[tuple[str, str]]) -> None:
        self._transport = transport
        self._requests = requests

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        code = NO_ANSWER
        try:
            response = await self._transport.handle_async_request(request)
            code = str(response.status_code)
            return response
        finally:
            self._requests[request.extensions.get("endpoint", ""), code] += 1

    async def aclose(self) -> None:
        await self._transport.aclose()


class _Retry(Retry):
    """Back-off with jitter, and Retry-After up to the longest wait: a longer one is the caller's to plan around."""

    async def asleep(self, response: httpx.Response | Exception) -> None:
        wait = retry_after(response) if isinstance(response, httpx.Response) else None
        if wait is not None and wait > self.max_backoff_wait:
            raise Unavailable("asks to be left alone", retry_after_seconds=wait)
        await super().asleep(response)


class Patience:
    """When to ask again: within one request by `retry`, and between requests by what Retry-After told."""

    def __init__(
        self, retries: int, backoff_seconds: float, longest_wait_seconds: float, clock: Callable[[], float]
    ) -> None:
        self.retry: Retry = _Retry(
            total=retries,
            backoff_factor=backoff_seconds,
            max_backoff_wait=longest_wait_seconds,
            backoff_jitter=0.5,
        )
        self._clock = clock
        self._closed_until = float("-inf")

    def check(self) -> None:
        """Raise Unavailable while Dify has asked to be left alone."""
        left = self._closed_until - self._clock()
        if left > 0:
            raise Unavailable(f"Dify asked to be left alone for {left:.0f} s more", retry_after_seconds=left)

    def heed(self, response: httpx.Response) -> None:
        """Remember how long an answer asks to be left alone."""
        if response.status_code in (429, 503):
            self.close_for(retry_after(response))

    def close_for(self, wait_seconds: float | None) -> None:
        """Send nothing for so long."""
        if wait_seconds:
            self._closed_until = max(self._closed_until, self._clock() + wait_seconds)


@contextmanager
def asked(what: str, where: str, patience: Patience) -> Iterator[None]:
    """Turn a failure to get any answer into Unavailable, with what was asked of whom."""
    try:
        yield
    except Unavailable as error:
        patience.close_for(error.retry_after_seconds)
        raise Unavailable(f"{what}: {where} {error}", retry_after_seconds=error.retry_after_seconds) from None
    except httpx.HTTPError as error:
        raise Unavailable(
            f"{what}: no answer from {where} ({type(error).__name__}); is Dify up, and is dify_url right?"
        ) from None


def read(response: httpx.Response, what: str) -> Json:
    """The JSON object of a good answer. Raises the error a bad one stands for."""
    if not response.is_success:
        raise _error(response, what)
    if not response.content:
        return NOTHING
    try:
        body = decode(response.content)
    except ShapeError:
        kind = "a web page" if _is_page(response) else "text that is no JSON (cut off?)"
        raise Unavailable(
            f"{what}: answered {response.status_code} with {kind}, {len(response.content)} bytes; "
            "if it stays so, check dify_url and dify_path_prefix"
        ) from None
    if not isinstance(body, dict):
        raise ShapeError(f"{what}: body", "an object", body)
    return body


def retry_after(response: httpx.Response) -> float | None:
    """Seconds the answer asks us to wait; None when it does not say."""
    try:
        return Retry().parse_retry_after(response.headers["retry-after"])
    except (KeyError, ValueError):
        return None


def _error(response: httpx.Response, what: str) -> DifyMetricError:
    status = response.status_code
    code, reason = _told(response)
    if code == LOCKED_OUT:
        return Unauthorized(f"{what}: {status} {code}: the account is locked after too many wrong passwords")
    if status in _ERRORS:
        kind, meaning = _ERRORS[status]
        return kind(f"{what}: {status}: {meaning}{reason}")
    if response.is_redirect:
        target = response.headers.get("location", "elsewhere").split("?")[0]
        return Unavailable(f"{what}: {status}: sent on to {target}; set dify_url to where Dify's console really is")
    if 400 <= status < 500 and status not in (408, 425, 429):
        return Rejected(f"{what}: {status}: not a question this version takes{reason}")
    page = " with a web page" if _is_page(response) else ""
    return Unavailable(f"{what}: {status}{page}{reason}", retry_after_seconds=retry_after(response))


def _told(response: httpx.Response) -> tuple[str, str]:
    """Dify's error code and a short form of its message; both empty when the body is no JSON."""
    try:
        body = decode(response.content)
    except ShapeError:
        return "", ""
    if not isinstance(body, dict):
        return "", ""
    code, message = (str(body.get(name) or "") for name in ("code", "message"))
    words = f"{code}: {message[:120]}".strip(": ")
    return code, f" ({words})" if words else ""


def _is_page(response: httpx.Response) -> bool:
    return "html" in response.headers.get("content-type", "")
