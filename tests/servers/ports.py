"""Ports of loopback for servers that are begun later, or begun again: nobody else is given them meanwhile.

The kernel draws the ports of callers, and of who binds to port 0, from a range of its own. A port from there may be
somebody's by the time its server is begun, and who asks a dead server there again and again will once be connected to
itself. So these are below that range; each worker of pytest has a part of them and gives none twice.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from functools import cache
from itertools import cycle
from pathlib import Path

LOWEST, USUAL_END = 10_000, 32_768
_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    ports = _ports(os.getpid())
    for _ in range(USUAL_END):
        with socket.socket() as tried:
            port = next(ports)
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:  # a server that is none of ours
                continue
            return port
    raise OSError(f"no port of loopback is free from {LOWEST} on")


@cache
def _ports(process: int) -> Iterator[int]:
    """Those of this worker, in turn. They begin where other processes without workers hardly do."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    mine = range(LOWEST + worker, _end(), workers)
    begin = process * 97 % len(mine)
    return cycle([*mine[begin:], *mine[:begin]])


def _end() -> int:
    """Where the kernel's range begins; where it leaves no room below, the usual one is taken."""
    try:
        begin = int(_RANGE.read_text().split()[0])
    except (OSError, ValueError):
        return USUAL_END
    return begin if begin > LOWEST + 1000 else USUAL_END
