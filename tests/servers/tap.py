"""A tap of one worker that lets its records go. Run: python -m tests.servers.tap PORT UPSTREAM."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from collector.records import Record
from collector.settings.written import Address
from collector.tap.limits import Limits
from collector.tap.watch import Sink
from collector.tap.workers import Behind, Plan, run


@asynccontextmanager
async def letting_go(_worker: int) -> AsyncIterator[Sink]:
    """A sink that keeps nothing."""

    def sink(records: list[Record]) -> None:
        del records

    yield sink


def main(port: int, upstream: int) -> None:
    plan = Plan(
        listen=Address("127.0.0.1", port),
        upstreams=(Behind(f"http://127.0.0.1:{upstream}"),),
        limits=Limits(drain_seconds=0.1, stop_seconds=0.1),
    )
    run(plan, letting_go, lambda _: print("ready", flush=True))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
