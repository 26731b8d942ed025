"""Real processes on loopback for stories: a simulated Dify in a thread, and `dify-metric serve` beside it."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from collector.app import utc_now
from collector.demo import Faults, World, make_world, simulated_dify
from tests.servers.ports import free_port
from tests.typing_it import PROGRAM, Said, environment, typed

ADMIN_KEY = "an-admin-key-nobody-may-see"


@dataclass
class Dify:
    """A simulated Dify that listens, and the settings that sign in to it."""

    url: str
    world: World
    faults: Faults

    @property
    def settings(self) -> dict[str, str]:
        """As environment variables."""
        told = {"URL": self.url, "ADMIN_KEY": ADMIN_KEY, "WORKSPACE_ID": self.world.workspace_id}
        return {f"DIFY_METRIC_DIFY_{name}": value for name, value in told.items()}


@contextmanager
def a_dify(days: int = 2, runs_per_day: int = 20) -> Iterator[Dify]:
    """A small simulated Dify behind a real socket, until the context ends; two days, for weekends are quiet."""
    world, faults = make_world(days=days, runs_per_day=runs_per_day, seed=5, now=utc_now()), Faults()
    app = simulated_dify(world, clock=utc_now, admin_key=ADMIN_KEY, faults=faults)
    with socket.create_server(("127.0.0.1", 0)) as door:
        config = uvicorn.Config(app, lifespan="off", ws="none", log_config=None, timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=asyncio.run, args=(server.serve(sockets=[door]),))
        thread.start()
        try:
            yield Dify(f"http://127.0.0.1:{door.getsockname()[1]}", world, faults)
        finally:
            server.should_exit = True
            thread.join()


@dataclass
class Serving:
    """A `dify-metric serve` that listens. `words` fills with what it logged once it ended."""

    process: subprocess.Popen[str]
    folder: Path
    port: int
    env: dict[str, str] = field(default_factory=dict)
    words: str = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def store(self) -> Path:
        return self.folder / "dify-metric.duckdb"

    def ask(self, path: str, token: str | None = None) -> httpx.Response:
        shown = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.get(f"{self.url}{path}", headers=shown, trust_env=False, timeout=60)

    def typed(self, *arguments: object, **env: str) -> Said:
        """A command beside it, with the same settings."""
        return typed(*arguments, at=self.folder, **{**self.env, **env})

    def end(self, how: int) -> int:
        """Send it a signal and wait; its exit code."""
        self.process.send_signal(how)
        _, rest = self.process.communicate(timeout=60)
        self.words += rest
        return self.process.returncode

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Its log, which is JSON where no terminal is."""
        return [json.loads(line) for line in self.words.splitlines()]


@contextmanager
def a_service(folder: Path, port: int, **env: str) -> Iterator[Serving]:
    """`dify-metric serve` in a folder, ready when the context begins and ended with it."""
    env = {"DIFY_METRIC_LISTEN": f"127.0.0.1:{port}", "DIFY_METRIC_RETRIES": "0", **env}
    process = subprocess.Popen(
        [*PROGRAM, "serve"], cwd=folder, env=environment(**env), stderr=subprocess.PIPE, text=True
    )
    serving = Serving(process, folder, port, env)
    assert process.stderr is not None
    try:
        for line in process.stderr:
            serving.words += line
            if "startup complete" in line:
                break
        yield serving
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


class Failing:
    """A service that is killed and started again until it is told to `stay`. Its `with` ends it."""

    def __init__(self, folder: Path, up: Callable[[], float], down: Callable[[], float]) -> None:
        self.port = free_port()
        self._folder, self._up, self._down = folder, up, down
        self._enough, self._over, self._is_up = threading.Event(), threading.Event(), threading.Event()
        self._outages = 0
        self._thread = threading.Thread(target=self._flicker)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def store(self) -> Path:
        return self._folder / "dify-metric.duckdb"

    def stay(self) -> int:
        """Have it fail no more. How often it did."""
        self._enough.set()
        if not self._is_up.wait(120):
            raise TimeoutError("the service does not come up")
        return self._outages

    def __enter__(self) -> Failing:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._over.set()
        self._thread.join()

    def _flicker(self) -> None:
        while not self._enough.wait(self._down()):
            with a_service(self._folder, self.port):
                self._enough.wait(self._up())
            self._outages += 1
        with a_service(self._folder, self.port) as serving:
            self._is_up.set()
            self._over.wait()
            serving.end(signal.SIGTERM)
