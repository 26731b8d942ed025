"""Real Redis servers for tests: each in a directory of its own, on a socket and a free loopback port, ended by pid."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers.ports import free_port


@dataclass(frozen=True)
class RedisServer:
    """A running Redis. `url` and `socket_url` lead to database 1, Celery's in Dify."""

    process: subprocess.Popen[str]
    directory: Path
    port: int

    @property
    def socket_url(self) -> str:
        return f"unix://{self.directory}/redis.sock?db=1"

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/1"


@contextmanager
def running_redis(directory: Path, *arguments: str, port: int | None = None) -> Iterator[RedisServer]:
    """A Redis that keeps nothing on disk, until the block ends. `--tls`: its port speaks TLS only."""
    port = port or free_port()
    listen = ["--port", "0", "--tls-port", str(port)] if "--tls" in arguments else ["--port", str(port)]
    rest = [argument for argument in arguments if argument != "--tls"]
    command = ["--unixsocket", "redis.sock", "--save", "", "--bind", "127.0.0.1", *listen, *rest]
    with _running(directory, command, ready="Ready to accept connections") as process:
        yield RedisServer(process, directory, port)


@contextmanager
def running_sentinel(directory: Path, master_port: int, *lines: str) -> Iterator[int]:
    """A Sentinel that watches the Redis on `master_port` under the name dify; its port."""
    port = free_port()
    told = ["bind 127.0.0.1", f"port {port}", f"sentinel monitor dify 127.0.0.1 {master_port} 1", *lines]
    (directory / "sentinel.conf").write_text("\n".join(told) + "\n")
    with _running(directory, ["sentinel.conf", "--sentinel"], ready="+monitor master dify"):
        yield port


def stop(process: subprocess.Popen[str]) -> None:
    """End a server now; harmless when it has ended."""
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


@contextmanager
def _running(directory: Path, arguments: Sequence[str], *, ready: str) -> Iterator[subprocess.Popen[str]]:
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("redis-server is not installed: apt-get install redis-server")
    process = subprocess.Popen(
        [binary, *arguments], cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        said = []
        for line in process.stdout or ():
            said.append(line)
            if ready in line:
                break
        else:
            pytest.fail("redis-server ended at start: " + "".join(said))
        yield process
    finally:
        stop(process)
