"""A tap of one worker in a process of its own. Run: python -m tests.servers.tap PORT UPSTREAM [FILE].

Its records are let go, or written to the file: a line of JSON each, its table before it.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from collector.records import Record
from collector.settings.written import Address
from collector.tap.limits import Limits
from collector.tap.watch import Sink
from collector.tap.workers import Behind, OpenSink, Plan, run


@asynccontextmanager
async def letting_go(_worker: int) -> AsyncIterator[Sink]:
    """A sink that keeps nothing."""

    def sink(records: list[Record]) -> None:
        del records

    yield sink


def writing(file: Path) -> OpenSink:
    """Sinks that append to a file."""

    @asynccontextmanager
    async def opened(_worker: int) -> AsyncIterator[Sink]:
        with file.open("ab", buffering=0) as lines:
            yield lambda records: lines.write(
                b"".join(msgspec.json.encode([record.table, record]) + b"\n" for record in records)
            )

    return opened


def main(port: int, upstream: int, file: str | None = None) -> None:
    plan = Plan(
        listen=Address("127.0.0.1", port),
        upstreams=(Behind(f"http://127.0.0.1:{upstream}"),),
        limits=Limits(stop_seconds=30) if file else Limits(drain_seconds=0.1, stop_seconds=0.1),
    )
    run(plan, writing(Path(file)) if file else letting_go, lambda _: print("ready", flush=True))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
