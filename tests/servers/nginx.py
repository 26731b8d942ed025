"""A real nginx on loopback, as a reverse proxy that holds nothing back: what the relay is compared with.

Its configuration, logs and temporary files lie in a folder the caller gives; it is ended by its process id.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.ports import free_port

CONFIGURATION = """
daemon off;
master_process {master};
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
worker_rlimit_nofile 16384;
events {{ worker_connections 8192; {events} }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000;
    client_max_body_size 0;
    map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
    upstream dify {{ server 127.0.0.1:{upstream}; keepalive 512; keepalive_requests 1000000; }}
    server {{
        listen 127.0.0.1:{port} backlog=2048;
        location / {{
            proxy_pass http://dify;
            proxy_http_version 1.1;
            proxy_buffering off;
            proxy_request_buffering off;
            proxy_read_timeout 60s;
            proxy_set_header Host $http_host;
            proxy_set_header Connection $connection_upgrade;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
        }}
    }}
}}
"""


def program() -> str | None:
    """Where nginx is; None: nowhere."""
    return shutil.which("nginx", path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"]))


@contextmanager
def nginx(binary: str, folder: Path, upstream: int, *, core: int | None = None) -> Iterator[tuple[int, int]]:
    """Start nginx before `upstream`, a port of loopback. Gives its port and its process id (there is one process)."""
    port = free_port()
    written = CONFIGURATION.format(folder=folder, upstream=upstream, port=port, master="off", events="")
    (folder / "nginx.conf").write_text(written)
    cores = sorted(os.sched_getaffinity(0))

    def pin() -> None:
        if core is not None:
            os.sched_setaffinity(0, {cores[core % len(cores)]})

    with (folder / "out.log").open("w") as output:
        running = subprocess.Popen(
            [binary, "-p", str(folder), "-c", str(folder / "nginx.conf")],
            stdout=output,
            stderr=output,
            preexec_fn=pin,
        )
    try:
        _await(port, running, folder)
        yield port, running.pid
    finally:
        running.send_signal(signal.SIGTERM)
        try:
            running.wait(10)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


def _await(port: int, running: subprocess.Popen[bytes], folder: Path) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if running.poll() is not None:
            raise RuntimeError(f"nginx did not start: {(folder / 'out.log').read_text()[-500:]}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)  # a real server's start cannot be awaited otherwise
    raise RuntimeError("nginx does not listen")
