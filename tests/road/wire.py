"""A simulated Dify on a real socket, and the command in a process of its own before it.

What comes in is a world; what goes out are addresses, processes and their exit codes. Nobody waits for time to pass: a
gate in front of Dify says when a request has come that it holds back.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from collector.app import utc_now
from collector.demo import Faults, Life, World, simulated_dify
from tests.conftest import ROOT
from tests.demo.conftest import ADMIN_KEY, CALM, at_once

PAGE = b"limit=7"
"""What the gate makes of `limit=100`, so that small worlds have many pages."""


class Gate:
    """Before a Dify: counts requests, makes its pages small, and holds back those from the `shut_at`-th on."""

    def __init__(self, app: ASGIApp) -> None:
        self.count = 0
        self.shut_at: int | None = None
        self.reached = threading.Event()
        self._app = app

    def shut_after(self, requests: int) -> None:
        """Hold back every request but so many more."""
        self.reached.clear()
        self.shut_at = self.count + requests + 1

    def open(self) -> None:
        self.shut_at = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.count += 1
        if self.shut_at is not None and self.count >= self.shut_at:
            self.reached.set()
            while (await receive())["type"] != "http.disconnect":
                pass
            return
        scope["query_string"] = scope["query_string"].replace(b"limit=100", PAGE)
        await self._app(scope, receive, send)


class Site:
    """A Dify at an address, and a store that a command fills from it."""

    def __init__(self, world: World, gate: Gate, faults: Faults, url: str, folder: Path) -> None:
        self.world, self.gate, self.faults, self.url, self.folder = world, gate, faults, url, folder

    def env(self, **more: str) -> dict[str, str]:
        """The environment of a command: ours, without our variables, and what signs in to this Dify."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("DIFY_METRIC_")}
        given = {
            "PYTHONPATH": str(ROOT),
            "NO_PROXY": "127.0.0.1",
            "DIFY_METRIC_DIFY_URL": self.url,
            "DIFY_METRIC_DIFY_ADMIN_KEY": ADMIN_KEY,
            "DIFY_METRIC_DIFY_WORKSPACE_ID": self.world.workspace_id,
            "DIFY_METRIC_READ_COMPLETIONS": "true",
            "DIFY_METRIC_OPEN_RUN_MAX_AGE": "30d",
            "DIFY_METRIC_RETRIES": "0",
        }
        return {name: value for name, value in {**kept, **given, **more}.items() if value}

    def begin(self, *arguments: str, **how: object) -> subprocess.Popen[str]:
        """A command, running. `env` adds to its environment; the rest is Popen's."""
        more = how.pop("env", {})
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **how}
        return subprocess.Popen(
            [sys.executable, "-m", "collector", *arguments],
            cwd=self.folder,
            env=self.env(**more),  # type: ignore[arg-type]
            text=True,
            **streams,  # type: ignore[call-overload]
        )

    def run(self, *arguments: str, **env: str) -> tuple[int, str, str]:
        """A command, run to its end: exit code, stdout, stderr."""
        with self.begin(*arguments, env=env) as command:
            out, err = command.communicate(timeout=100)
        return command.returncode, out, err


@contextmanager
def a_site(
    world: World, folder: Path, *, clock: Callable[[], datetime] = utc_now, life: Life | None = None
) -> Iterator[Site]:
    """A Dify that answers on loopback while the context lasts."""
    faults = Faults()
    dify = simulated_dify(world, clock=clock, life=life, admin_key=ADMIN_KEY, faults=faults, pace=at_once, habits=CALM)
    gate = Gate(dify)
    config = uvicorn.Config(
        gate, lifespan="off", ws="none", log_config=None, access_log=False, timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as door:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [door]})
        thread.start()
        try:
            yield Site(world, gate, faults, f"http://127.0.0.1:{door.getsockname()[1]}", folder)
        finally:
            server.should_exit = True
            thread.join()
