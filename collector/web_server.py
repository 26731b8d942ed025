"""The web server that the service and the demo run in: where it listens, how it ends.

What comes in are an address and an ASGI application. Nothing here knows what is served.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from collector.errors import SettingsError
from collector.settings.written import Address

ENDINGS = (signal.SIGINT, signal.SIGTERM)
GRACE_SECONDS = 5
"""How long requests under way may go on after we are told to stop."""


def listening(address: Address, field: str) -> socket.socket:
    """A socket that takes connections at once; who serves may come later. Raises SettingsError."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        return socket.create_server(address, family=family)
    except OSError as error:
        why = (error.strerror or str(error)).partition(" (")[0]
        raise SettingsError(f"{field}: cannot listen on {address} ({why}); name another") from None


class Server(uvicorn.Server):
    """A web server that ends on SIGINT and SIGTERM and comes back, so that who called it can close what is open.

    `before_end` is waited for before it takes no more requests; a second signal ends it at once.
    """

    before_end: Callable[[], Awaitable[None]] | None = None
    _ending: asyncio.Task[None] | None = None

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Listen to signals while serving; uvicorn's own raises them once more when it is done."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        for number in ENDINGS:
            loop.add_signal_handler(number, self.end, number)
        try:
            yield
        finally:
            for number in ENDINGS:
                loop.remove_signal_handler(number)

    def end(self, number: int = signal.SIGTERM) -> None:
        """What a signal does."""
        if self.before_end is None or self._ending is not None:
            self.handle_exit(number, None)
        else:
            self._ending = asyncio.create_task(self._end(number, self.before_end()))

    async def _end(self, number: int, before: Awaitable[None]) -> None:
        try:
            await before
        finally:
            self.handle_exit(number, None)


def web_server(app: ASGIApp) -> Server:
    """A server for one application; logs go where ours go."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        server_header=False,
        ws="none",
    )
    return Server(config)
