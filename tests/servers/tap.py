"""One worker of the relay in a process of its own, its records counted and let go. Run: … PORT UPSTREAM_PORT."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import time

import uvloop

from collector.records import Record
from collector.tap.limits import Limits
from collector.tap.relay import Relay
from collector.tap.upstream import Directory, Place, Upstream


async def main(port: int, upstream: int) -> None:
    limits = Limits(drain_seconds=0.1)

    def sink(records: list[Record]) -> None:
        pass

    server = Upstream(f"http://127.0.0.1:{upstream}", limits=limits, clock=time.monotonic)
    relay = Relay(Directory([Place(server)]), sink, limits=limits)
    bound = socket.create_server(("127.0.0.1", port), backlog=4096)
    await relay.listen([bound])
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    print("ready", flush=True)
    await stopped.wait()
    await relay.close()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2])))
