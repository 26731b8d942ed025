"""Several workers on one port, as real processes: started, told to stop, and started again when one dies."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from collector.errors import SettingsError
from collector.settings.written import Address
from collector.tap.workers import Behind, Plan, listeners, run
from tests.conftest import ROOT
from tests.servers.ports import free_port
from tests.servers.process import Child, child, python
from tests.tap.streams import message_end, piece, usage, wire

PROGRAM = """
import contextlib, json, os, sys
import msgspec
from collector.settings.written import Address
from collector.tap.workers import Behind, Plan, run

@contextlib.asynccontextmanager
async def open_sink(number):
    with open(f"{sys.argv[3]}/{os.getpid()}", "ab", buffering=0) as file:
        yield lambda records: [file.write(msgspec.json.encode([type(r).__name__, r]) + b"\\n") for r in records]

def ready(address):
    print(address.port, flush=True)

plan = Plan(listen=Address("127.0.0.1", 0), upstreams=(Behind(sys.argv[1]),), workers=int(sys.argv[2]))
run(plan, open_sink, ready)
"""


class Tap:
    def __init__(self, popen: subprocess.Popen[str], folder: Path) -> None:
        self.popen, self.folder = popen, folder
        assert popen.stdout
        self.port = int(popen.stdout.readline())

    def records(self, kind: str) -> list[dict]:
        lines = [line for file in self.folder.iterdir() for line in file.read_text().splitlines()]
        return [record for name, record in map(json.loads, lines) if name == kind]

    def pids(self) -> set[int]:
        return {int(file.name) for file in self.folder.iterdir()}

    def ask(self, request: bytes) -> bytes:
        """An answer, whole. What a worker that dies had accepted is asked again."""
        for _ in range(50):
            try:
                with socket.create_connection(("127.0.0.1", self.port), 20) as connection:
                    connection.sendall(request)
                    found = b""
                    while more := connection.recv(65536):
                        found += more
                    if found:
                        return found
            except ConnectionError:
                continue
        raise AssertionError("nobody answers")


@contextmanager
def tap(upstream: int, workers: int, folder: Path) -> Iterator[Tap]:
    program = [sys.executable, "-c", PROGRAM, f"http://127.0.0.1:{upstream}", str(workers), str(folder)]
    popen = subprocess.Popen(
        program,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        yield Tap(popen, folder)
    finally:
        popen.terminate()
        popen.wait(60)
        if popen.stdout:
            popen.stdout.close()


@pytest.fixture
def upstream() -> Iterator[int]:
    port = free_port()
    with child(python("tests.servers.streaming", str(port))):
        yield port


ASK = b"GET /v1/info HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize("workers", [1, 3])
def test_they_serve_until_told_to_stop_and_every_request_is_recorded(upstream: int, workers: int, tmp_path: Path):
    with tap(upstream, workers, tmp_path) as running:
        for _ in range(30):
            assert b"success" in running.ask(ASK)
        running.popen.send_signal(signal.SIGTERM)
        assert running.popen.wait(60) == 0
        assert len(running.records("Request")) == 30
        assert len({record["id"] for record in running.records("Request")}) == 30
        assert len(running.pids()) == workers
        with pytest.raises(ConnectionError):
            socket.create_connection(("127.0.0.1", running.port), 5)


def test_a_worker_that_dies_is_replaced(upstream: int, tmp_path: Path):
    with tap(upstream, 2, tmp_path) as running:
        assert b"success" in running.ask(ASK)
        first = running.pids()
        os.kill(min(first), signal.SIGKILL)
        until = time.monotonic() + 60
        while len(running.pids()) == len(first) and time.monotonic() < until:
            running.ask(ASK)
        assert len(running.pids() - first) >= 1
        assert running.popen.poll() is None


def test_a_stop_seen_by_any_worker_is_known_to_the_one_that_streams(tmp_path: Path):
    port = free_port()
    streams = wire([piece("a", message="m1")]), wire([message_end(usage(0, 0))])
    with stopping_upstream(port, streams), tap(port, 4, tmp_path) as running:
        stream = b"POST /v1/chat-messages HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        stop = b"POST /v1/chat-messages/t1/stop HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        connections = []
        for _ in range(12):
            connection = socket.create_connection(("127.0.0.1", running.port), 20)
            connection.sendall(stream)
            assert connection.recv(65536)
            connections.append(connection)
        assert b"success" in running.ask(stop)
        for connection in connections:
            while connection.recv(65536):
                pass
            connection.close()
        running.popen.send_signal(signal.SIGTERM)
        assert running.popen.wait(60) == 0
        assert {record["status"] for record in running.records("Message")} == {"stopped"}
        assert len(running.records("Message")) == 12


@contextmanager
def stopping_upstream(port: int, events: tuple[bytes, bytes]) -> Iterator[Child]:
    """Streams that end when a stop request came."""
    with child([sys.executable, "-c", _STOPPING, str(port), events[0].hex(), events[1].hex()]) as running:
        yield running


_STOPPING = """
import asyncio, sys
first, last = map(bytes.fromhex, sys.argv[2:])
stopped = asyncio.Event()

def chunk(event):
    return b"%x\\r\\n%b\\r\\n" % (len(event), event)

async def serve(reader, writer):
    while head := await reader.readuntil(b"\\r\\n\\r\\n"):
        if b"/stop" in head:
            writer.write(b'HTTP/1.1 200 OK\\r\\nContent-Length: 20\\r\\n\\r\\n{"result":"success"}')
            asyncio.get_running_loop().call_later(0.05, stopped.set)
            continue
        head = b"HTTP/1.1 200 OK\\r\\nContent-Type: text/event-stream\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n"
        writer.write(head + chunk(first))
        await stopped.wait()
        writer.write(chunk(last) + b"0\\r\\n\\r\\n")

async def main():
    await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]))
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def test_a_port_that_is_taken_is_said_so(free_port: int):
    with socket.create_server(("127.0.0.1", free_port)), pytest.raises(SettingsError, match="another tap"):
        listeners(Address("127.0.0.1", free_port), 1)


def test_a_plan_that_cannot_work_is_refused_before_anything_starts(tmp_path: Path):
    for plan in (
        Plan(listen=Address("127.0.0.1", 0), upstreams=()),
        Plan(listen=Address("127.0.0.1", 0), upstreams=(Behind("dify.example"),)),
        Plan(listen=Address("127.0.0.1", 0), upstreams=(Behind("http://x"),), certificate=tmp_path / "none.pem"),
        Plan(listen=Address("127.0.0.1", 0), upstreams=(Behind("https://x"),), authorities=tmp_path / "none.pem"),
    ):
        with pytest.raises(SettingsError):
            run(plan, lambda number: pytest.fail("started"))
