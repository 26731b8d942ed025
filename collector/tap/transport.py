"""The tap inside a Python program: httpx transports that tell what the program sends to Dify.

In goes any other transport (httpx's own, by default) and a sink; out come its answers, unchanged and not an instant
later, and to the sink the records that the relay tells of the same exchanges. What has to be decoded of a piece is
decoded when the program has it and asks for the next one. A failure of ours is counted, logged, and never reaches it.

    dify = httpx.Client(base_url="https://dify.example.com/v1", transport=TapTransport(sink))
    dify = httpx.AsyncClient(base_url="https://dify.example.com/v1", transport=AsyncTapTransport(sink))

Clients of others take it where they take an httpx client: `SomeClient(http_client=httpx.Client(transport=…))`. One that
talks to others than Dify mounts it: `httpx.Client(mounts={"https://dify.example.com": TapTransport(sink)})`.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime
from types import TracebackType
from typing import Self, cast

import httpx

from collector.tap.limits import Limits
from collector.tap.overheard import Overheard, Overhearing
from collector.tap.watch import Counts, Seen, Sink, utc_now


def _counted(request: httpx.Request, seen: Seen) -> httpx.Request:
    """The request to send on: the same, with its body counted where nothing tells how long it is."""
    if "content-length" in request.headers or isinstance(request.stream, httpx.ByteStream):
        return request
    body = _CountedBody(request.stream, seen)
    return httpx.Request(
        request.method, request.url, headers=request.headers, stream=body, extensions=request.extensions
    )


def _tapped(response: httpx.Response, overheard: Overheard) -> httpx.Response:
    """The answer, with a body that is overheard; some transports bring it whole."""
    overheard.answered(response)
    stream = response.stream
    if isinstance(stream, httpx.ByteStream):
        for piece in stream:
            overheard.came(piece)
        overheard.whole()
        overheard.ended()
    elif isinstance(stream, httpx.SyncByteStream):
        response.stream = _Answer(stream, overheard)
    else:
        response.stream = _AsyncAnswer(stream, overheard)
    return response


class _CountedBody(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A request's body of unknown length, on its way out."""

    def __init__(self, inner: httpx.SyncByteStream | httpx.AsyncByteStream, seen: Seen) -> None:
        self._inner, self._seen = cast(_Body, inner), seen

    def __iter__(self) -> Iterator[bytes]:
        self._seen.request_bytes = 0  # transports that try again send it again
        for piece in self._inner:
            self._seen.request_bytes += len(piece)
            yield piece

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._seen.request_bytes = 0
        async for piece in self._inner:
            self._seen.request_bytes += len(piece)
            yield piece

    def close(self) -> None:
        self._inner.close()

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Body(httpx.SyncByteStream, httpx.AsyncByteStream):
    """Whichever of both a body is: a client asks only for what it can take."""


class _Answer(httpx.SyncByteStream):
    """An answer's body on its way to the program."""

    def __init__(self, inner: httpx.SyncByteStream, overheard: Overheard) -> None:
        self._inner, self._overheard = inner, overheard

    def __iter__(self) -> Iterator[bytes]:
        overheard = self._overheard
        try:
            for piece in self._inner:
                overheard.came(piece)
                yield piece
                overheard.handed_over()
            overheard.whole()
        except Exception as error:
            overheard.broke(error)
            raise
        finally:
            overheard.ended()

    def close(self) -> None:
        try:
            self._inner.close()
        finally:
            self._overheard.ended()


class _AsyncAnswer(httpx.AsyncByteStream):
    """The same for an asynchronous program."""

    def __init__(self, inner: httpx.AsyncByteStream, overheard: Overheard) -> None:
        self._inner, self._overheard = inner, overheard

    async def __aiter__(self) -> AsyncIterator[bytes]:
        overheard = self._overheard
        try:
            async for piece in self._inner:
                overheard.came(piece)
                yield piece
                overheard.handed_over()
            overheard.whole()
        except Exception as error:
            overheard.broke(error)
            raise
        finally:
            overheard.ended()

    async def aclose(self) -> None:
        try:
            await self._inner.aclose()
        finally:
            self._overheard.ended()


class TapTransport(httpx.BaseTransport):
    """Taps what goes through `transport`, in any number of threads.

    `sink` is called with the records of each exchange when it has ended, in the program's own thread: it takes them and
    returns at once. `prefix` is what stands before Dify's paths (/v1, /api, /console) where a portal has put something;
    what is asked for elsewhere goes by untapped. An answer counts as interrupted by the client when the program closes
    it before its end; what was not read then is not known.
    """

    def __init__(
        self,
        sink: Sink,
        transport: httpx.BaseTransport | None = None,
        *,
        prefix: str = "",
        limits: Limits | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._inner = httpx.HTTPTransport() if transport is None else transport
        self._tap = Overhearing(sink, prefix=prefix, limits=limits, clock=clock, now=now)

    @property
    def counts(self) -> Counts:
        """What went by, and what of it could not be read."""
        return self._tap.watch.counts

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        overheard = self._tap.begin(request)
        if overheard is None:
            return self._inner.handle_request(request)
        try:
            response = self._inner.handle_request(_counted(request, overheard.seen))
        except BaseException as error:
            overheard.broke(error)
            overheard.ended()
            raise
        return _tapped(response, overheard)

    def __enter__(self) -> Self:
        self._inner.__enter__()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        self._inner.__exit__(exc_type, exc_value, traceback)

    def close(self) -> None:
        self._inner.close()


class AsyncTapTransport(httpx.AsyncBaseTransport):
    """The same for asynchronous programs. `sink` is called in the program's loop."""

    def __init__(
        self,
        sink: Sink,
        transport: httpx.AsyncBaseTransport | None = None,
        *,
        prefix: str = "",
        limits: Limits | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._inner = httpx.AsyncHTTPTransport() if transport is None else transport
        self._tap = Overhearing(sink, prefix=prefix, limits=limits, clock=clock, now=now)

    @property
    def counts(self) -> Counts:
        """What went by, and what of it could not be read."""
        return self._tap.watch.counts

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        overheard = self._tap.begin(request)
        if overheard is None:
            return await self._inner.handle_async_request(request)
        try:
            response = await self._inner.handle_async_request(_counted(request, overheard.seen))
        except BaseException as error:
            overheard.broke(error)
            overheard.ended()
            raise
        return _tapped(response, overheard)

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self._inner.__aexit__(exc_type, exc_value, traceback)

    async def aclose(self) -> None:
        await self._inner.aclose()
