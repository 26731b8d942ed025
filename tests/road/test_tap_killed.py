"""kill -9 of the tap, of the collector, of both, again and again: what had been heard 100 ms before is stored, once."""

from __future__ import annotations

import json
import os
import random
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.request import urlopen

import pytest

from collector.store import open_store
from tests.servers.ports import free_port
from tests.servers.process import Child, child, python

KILLS = 25
SAFE_SECONDS = 0.1
CALLERS = 3
EVENTS = 4

_MESSAGE = re.compile(rb'"event":"message_end".*?"message_id":"([0-9a-f-]{36})"')


class Callers:
    """Threads that ask for one stream after the other. `heard`: when each began and had come whole, by message id."""

    def __init__(self, port: int) -> None:
        self.heard: dict[str, tuple[float, float]] = {}
        self._port = port
        self._is_ending = False
        self._threads = [threading.Thread(target=self._call_on) for _ in range(CALLERS)]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._is_ending = True
        for thread in self._threads:
            thread.join()

    def _call_on(self) -> None:
        while not self._is_ending:
            began = time.monotonic()
            try:
                answer = self._answer()
            except OSError:
                time.sleep(0.005)  # nobody listens while the tap is dead
                continue
            if (found := _MESSAGE.search(answer)) and answer.endswith(b"0\r\n\r\n"):
                self.heard[found[1].decode()] = began, time.monotonic()

    def _answer(self) -> bytes:
        ask = b"POST /v1/chat-messages?events=%d&rate=400 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" % EVENTS
        with socket.create_connection(("127.0.0.1", self._port), 30) as link:
            link.sendall(ask + b"Content-Length: 0\r\n\r\n")
            parts = []
            while part := link.recv(65536):
                parts.append(part)
        return b"".join(parts)


class Stage:
    """A tap and a collector that are killed and come back."""

    def __init__(self, nursery: Child, folder: Path, spool: Path, upstream: int) -> None:
        self.nursery, self.spool = nursery, spool
        self.port, self.collector_port = free_port(), free_port()
        self.store = folder / "facts.duckdb"
        self.settings: dict[str, dict[str, Any]] = {
            "collector": {"store": str(self.store), "listen": f"127.0.0.1:{self.collector_port}"},
            "tap": {
                "tap_listen": f"127.0.0.1:{self.port}",
                "tap_upstream": f"http://127.0.0.1:{upstream}",
                "tap_collector": f"http://127.0.0.1:{self.collector_port}",
                "tap_spool": str(spool),
                "tap_admin": "127.0.0.1:0",
                "tap_stop_seconds": 30,
            },
        }
        self.pids = {kind: self._begin(kind) for kind in ("collector", "tap")}

    def _begin(self, kind: str) -> int:
        return int(self.nursery.say(f"{kind} {json.dumps(self.settings[kind])}"))

    def kill(self, kinds: tuple[str, ...]) -> None:
        for kind in kinds:
            assert self.nursery.say(f"kill {self.pids[kind]}") == "killed"

    def begin(self, kinds: tuple[str, ...]) -> None:
        for kind in kinds:
            self.pids[kind] = self._begin(kind)

    def end(self) -> None:
        """End both, the tap first: it delivers what is left."""
        for _ in range(6000):
            try:
                socket.create_connection(("127.0.0.1", self.collector_port), 30).close()
                break
            except ConnectionError:
                time.sleep(0.005)
        with urlopen(f"http://127.0.0.1:{self.collector_port}/healthz", timeout=60) as answer:
            assert answer.status == 200
        assert self.nursery.say(f"end {self.pids['tap']}") == "0"
        assert self.nursery.say(f"end {self.pids['collector']}") == "0"

    def starved_seconds(self) -> float:
        """How long the tap was ready to run and got no processor."""
        total, folder = 0, Path(f"/proc/{self.pids['tap']}/task")
        for thread in folder.iterdir():
            total += int((thread / "schedstat").read_text().split()[1])
        return total / 1e9


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A folder that no busy disk makes wait, where the machine has one."""
    shared = Path("/dev/shm")  # noqa: S108
    with TemporaryDirectory(dir=shared if os.access(shared, os.W_OK) else tmp_path) as folder:
        yield Path(folder)


@pytest.mark.parametrize("seed", range(4))
def test_a_stream_that_had_ended_is_stored_once(seed: int, tmp_path: Path, memory: Path):
    dice, upstream = random.Random(seed), free_port()
    unsafe: list[tuple[float, float]] = []  # what ended then may be lost
    with (
        child(python("tests.servers.streaming", str(upstream))),
        child(python("tests.servers.nursery"), NURSERY_LOG=str(tmp_path / "log")) as nursery,
    ):
        stage = Stage(nursery, tmp_path, memory / "spool", upstream)
        callers = Callers(stage.port)
        try:
            for _ in range(KILLS):
                kinds = dice.choice((("tap",), ("collector",), ("tap", "collector"), ("collector", "tap")))
                wait_for_one_more(callers)
                starved = stage.starved_seconds()
                late = napped(dice.uniform(2 * SAFE_SECONDS, 3 * SAFE_SECONDS))
                starved = stage.starved_seconds() - starved + late  # what the machine took from it is not its delay
                # Who reads and who writes may have waited for it one after the other.
                safe_until = time.monotonic() - SAFE_SECONDS - 2 * starved
                stage.kill(kinds)
                if "tap" in kinds:
                    unsafe.append((safe_until, time.monotonic()))
                stage.begin(kinds)
            wait_for_one_more(callers)
        finally:
            callers.end()
        stage.end()
    due = {
        key: ended
        for key, (began, ended) in callers.heard.items()
        if not any(began <= end and start <= ended for start, end in unsafe)
    }
    assert len(due) > KILLS
    check(stage.store, due, [start for start, _ in unsafe])
    assert [path.name for path in stage.spool.iterdir()] == ["spool-0.lock"]


def napped(seconds: float) -> float:
    """Sleep, a little at a time; by how much the machine let us sleep too long at its worst."""
    worst, until = 0.0, time.monotonic() + seconds
    while (began := time.monotonic()) < until:
        time.sleep(0.005)
        worst = max(worst, time.monotonic() - began - 0.005)
    return worst


def wait_for_one_more(callers: Callers) -> None:
    before = len(callers.heard)
    for _ in range(6000):
        if len(callers.heard) > before:
            return
        time.sleep(0.005)
    raise AssertionError("no stream comes through any more")


def check(path: Path, due: dict[str, float], kills: list[float]) -> None:
    with closing(open_store(path, read_only=True)) as store:
        messages = Counter(str(key) for (key,) in store.rows("SELECT id FROM message"))
        requests = Counter(str(key) for (key,) in store.rows("SELECT message_id FROM request WHERE message_id <> ''"))
        tokens = dict(store.rows("SELECT message_id, tokens FROM model_call"))
    missing = {key: due[key] for key in due.keys() - (messages.keys() & requests.keys())}
    assert not [min((kill - at for kill in kills if kill > at), default=None) for at in missing.values()]
    assert {messages[key] for key in due} | {requests[key] for key in due} == {1}
    assert {tokens[key] for key in due} == {10 + EVENTS}
