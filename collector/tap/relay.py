"""One worker of the tap: it listens, and keeps what its connections share.

In come sockets and a sink; out go exchanges, and records to the sink. `sweep` ends what has taken too long and is
called once a second; `stop` lets answers on their way arrive, for a while. What travels is not looked at here.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from datetime import datetime

import structlog

from collector.tap.caller import Caller
from collector.tap.exchange import Exchange
from collector.tap.limits import Limits
from collector.tap.upstream import Directory
from collector.tap.watch import Sink, Watch, utc_now

SWEEP_SECONDS = 1.0
_BACKLOG = 2048

log = structlog.get_logger()


class Relay:
    """Callers on one side, upstreams on the other."""

    def __init__(
        self,
        directory: Directory,
        sink: Sink,
        *,
        limits: Limits,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = utc_now,
        tell_stop: Callable[[str], None] | None = None,
    ) -> None:
        self.directory = directory
        self.limits = limits
        self.clock = clock
        self.watch = Watch(sink, limits=limits, clock=clock, now=now, tell_stop=tell_stop)
        self.callers: set[Caller] = set()
        self.draining: set[Exchange] = set()  # exchanges whose caller has gone
        self.is_stopping = False
        self._servers: list[asyncio.Server] = []
        self._sweeping: asyncio.TimerHandle | None = None

    @property
    def is_idle(self) -> bool:
        """Whether nothing is on its way."""
        return not self.callers and not self.draining

    async def listen(self, sockets: Sequence[socket.socket], tls: ssl.SSLContext | None = None) -> None:
        """Take callers on bound sockets, from now on."""
        loop = asyncio.get_running_loop()
        for bound in sockets:
            self._servers.append(await loop.create_server(lambda: Caller(self), sock=bound, ssl=tls, backlog=_BACKLOG))
        self._sweep_on()

    def _sweep_on(self) -> None:
        self.sweep(self.clock())
        self._sweeping = asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._sweep_on)

    def sweep(self, now: float) -> None:
        """End what has taken too long by `now`."""
        for caller in list(self.callers):
            caller.sweep(now)
        for exchange in list(self.draining):
            if not exchange.is_over:
                exchange.sweep(now)
            if exchange.is_over:
                self.draining.discard(exchange)
        for upstream in self.directory.upstreams:
            upstream.sweep(now)

    async def stop(self) -> None:
        """Take no more callers, let answers on their way arrive, hand over what was seen."""
        self.is_stopping = True
        for server in self._servers:
            server.close()
        until = self.clock() + self.limits.stop_seconds
        self.sweep(self.clock())
        while not self.is_idle and self.clock() < until:
            await asyncio.sleep(_LOOK_SECONDS)
            self.sweep(self.clock())
        if not self.is_idle:
            log.warning("answers cut off at the end of the drain time", callers=len(self.callers))
        await self.close()

    async def close(self) -> None:
        """End everything now."""
        self.is_stopping = True
        for server in self._servers:
            server.close()
        if self._sweeping is not None:
            self._sweeping.cancel()
        for caller in list(self.callers):
            caller.cut_off()
        for exchange in list(self.draining):
            exchange.end()
        self.draining.clear()
        for upstream in self.directory.upstreams:
            upstream.close()
        while self.callers:  # noqa: ASYNC110 - until each has been told, at the loop's next turn
            await asyncio.sleep(0)
        self.watch.flush()


_LOOK_SECONDS = 0.05
