"""The tap that a service starts beside itself: a child process, kept running, stopped before the service ends.

What comes in are settings and a token; what goes out are requests that are passed on, and the tap's own numbers as
text. A tap that dies is started again, later and later where it dies at once. It ends with us, even where we are
killed. What it sees comes to us by the same door as from any other tap.
"""

from __future__ import annotations

import asyncio
import http.client
import os
import random
import sys
from collections.abc import Mapping
from contextlib import suppress

import msgspec
import structlog

from collector.errors import SettingsError
from collector.running import url_of
from collector.settings import FIELDS, PREFIX, Settings, variable
from collector.settings.written import Address, spelled

READY_SECONDS = 60.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 30.0
WELL_AFTER_SECONDS = 60.0
"""A tap that lived so long may be started again at once."""

SLACK_SECONDS = 20.0
"""Beside the time for answers on their way: for the last records."""

_ASK_SECONDS = 2.0
_MISUSED = 2

log = structlog.get_logger()


class _Whereabouts(msgspec.Struct):
    listen: str
    admin: str


class Companion:
    """A tap beside this process. `start` returns when it takes callers; `stop` when it has ended."""

    def __init__(self, settings: Settings, token: str) -> None:
        self.listen: str | None = None  # host:port; None: it takes no callers now
        self.starts = 0
        self._settings = settings
        self._token = token
        self._admin: str | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._is_stopping = False

    async def start(self) -> None:
        """Start it, and again whenever it dies. Raises SettingsError when it cannot be started at all."""
        await self._start()
        self._keeping = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """Have it take no more callers, and wait until answers on their way and records have arrived."""
        self._is_stopping = True
        process = self._process
        if process is not None and process.returncode is None:
            with suppress(ProcessLookupError):
                process.terminate()
            try:
                async with asyncio.timeout(self._settings.tap_stop_seconds + SLACK_SECONDS):
                    await process.wait()
            except TimeoutError:
                log.error("tap does not end, it is killed", pid=process.pid)
                process.kill()
                await process.wait()
        if self._keeping is not None:
            self._keeping.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeping
        self.listen = self._admin = None

    async def kill(self) -> None:
        """End it now; nothing when it has ended."""
        self._is_stopping = True
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.kill()
        await self.stop()

    def metrics(self) -> str | None:
        """Its own numbers in Prometheus' text format; None when it cannot be asked. For threads."""
        if self._admin is None:
            return None
        link = http.client.HTTPConnection(self._admin, timeout=_ASK_SECONDS)
        try:
            link.request("GET", "/metrics")
            said = link.getresponse()
            return said.read().decode() if said.status == 200 else None
        except (OSError, http.client.HTTPException, UnicodeDecodeError):
            return None
        finally:
            link.close()

    async def _start(self) -> None:
        process = self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "collector", "tap", "--child-of", str(os.getpid())),
            env=environment(self._settings, self._token),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout  # noqa: S101
        self.starts += 1
        try:
            async with asyncio.timeout(READY_SECONDS):
                told = msgspec.json.decode(await process.stdout.readline(), type=_Whereabouts)
        except (TimeoutError, msgspec.DecodeError):
            with suppress(ProcessLookupError):
                process.kill()
            code = await process.wait()
            raise SettingsError(
                f"tap: it did not start on {self._settings.tap} (exit code {code}); see above"
            ) from None
        self.listen, self._admin = told.listen, told.admin

    async def _keep(self) -> None:
        loop, pause = asyncio.get_running_loop(), FIRST_PAUSE_SECONDS
        while True:
            began, process = loop.time(), self._process
            assert process  # noqa: S101
            code = await process.wait()
            self.listen = self._admin = None
            if self._is_stopping:
                return
            if loop.time() - began > WELL_AFTER_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            log.error("tap died, another takes its place", exit=code, after_seconds=round(pause, 1))
            await asyncio.sleep(pause * (0.5 + random.random() / 2))  # noqa: S311 - no secret
            pause = min(LONGEST_PAUSE_SECONDS, pause * 2)
            with suppress(SettingsError):
                await self._start()


def environment(settings: Settings, token: str) -> Mapping[str, str]:
    """The environment of a tap beside this service: what concerns taps, and no credential but the token."""
    around = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    told = {name: spelled(getattr(settings, name)) for name in FIELDS if name.startswith(("tap_", "log_"))}
    assert settings.tap  # noqa: S101
    listen = Address(settings.listen.host, settings.listen.port)
    told |= {
        "tap_listen": str(settings.tap),
        "tap_admin": "127.0.0.1:0",
        "tap_collector": url_of(listen),
        "tap_upstream": spelled(settings.upstreams),
        "ingest_token": token,
    }
    return {**around, f"{PREFIX}CONFIG": os.devnull, **{variable(name): value for name, value in told.items() if value}}
