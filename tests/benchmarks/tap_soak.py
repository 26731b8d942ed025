"""A tap under streams that come and go: nothing lost, nothing told twice, nothing left in memory.

Run: python -m tests.benchmarks.tap_soak [--streams 1000] [--seconds 60]. Callers leave, upstreams break off and the
collector is killed at random; afterwards every stream that was told to its end must stand in the store once, with the
tokens that were sent.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from statistics import median

import uvloop

from collector.store import open_store
from tests.benchmarks.figure import Figure
from tests.servers.churn import Churn, tokens
from tests.servers.process import resident_kb
from tests.serving import Failing
from tests.tapping import Tap, a_tap

STORED = {
    "model_call": ("id", "input_tokens", "output_tokens"),
    "message": ("id", "status"),
    "request": ("id",),
}
"""What is compared: tables of the store and their columns."""


@dataclass
class Soaked:
    """What a soak showed."""

    churn: Churn
    records: dict[str, list[dict]]
    idle_kb: int
    resident: list[int] = field(default_factory=list)  # KB, once a second, all streams open
    open_streams: int = 0
    outages: int = 0  # of the collector

    def faults(self) -> list[str]:
        """What should not be; empty when all is well."""
        churn, calls = self.churn, self.records.get("model_call", [])
        told = Counter(call["id"] for call in calls)
        spent = {int(call["id"][1:]): (call["input_tokens"], call["output_tokens"]) for call in calls}
        ended = {int(one["id"][1:]) for one in self.records.get("message", []) if one["status"] == "succeeded"}
        requests = len(self.records.get("request", []))
        return [
            *(f"call {name} told {count} times" for name, count in told.items() if count > 1),
            *(f"stream {number} lost" for number in sorted(churn.sent - ended)),
            *(f"stream {number} ended, and did not" for number in sorted(ended - churn.sent)),
            *(
                f"tokens of {number}: {spent.get(number)}"
                for number in churn.sent
                if spent.get(number) != tokens(number)
            ),
            *(f"bytes of {number} are not those sent" for number in churn.garbled),
            *([f"{requests} requests told"] if not len(churn.asked) <= requests <= churn.begun else []),
        ]

    @property
    def kb_per_stream(self) -> float:
        return (median(self.resident) - self.idle_kb) / self.open_streams

    @property
    def growth_kb(self) -> float:
        """Of memory from the second sixth of the time, when all is warm, to the last."""
        sixth = max(1, len(self.resident) // 6)
        return median(self.resident[-sixth:]) - median(self.resident[sixth : 2 * sixth])


async def soak(
    streams: int,
    seconds: float,
    folder: Path,
    *,
    seed: int = 1,
    pause_seconds: float = 0.1,
    up_seconds: tuple[float, float] = (3, 8),
    down_seconds: tuple[float, float] = (0.5, 3),
) -> Soaked:
    """Run a tap under so many streams for so long, before a collector that stays up, and then down, so long."""
    churn, dice = Churn(seed=seed, pause_seconds=pause_seconds), Random(seed)
    upstream = await churn.listen()
    collector = Failing(folder, lambda: dice.uniform(*up_seconds), lambda: dice.uniform(*down_seconds))
    with a_tap(folder, f"http://127.0.0.1:{upstream}", collector.url) as tap, collector:
        await churn.run(tap.port, 5, 0)  # all is loaded
        soaked = Soaked(churn, {}, _resident_kb(tap), open_streams=streams)
        measuring = asyncio.create_task(_measure(tap, soaked))
        await churn.run(tap.port, streams, seconds)
        measuring.cancel()
        while churn.telling:  # noqa: ASYNC110 - streams whose callers have gone end one by one
            await asyncio.sleep(0.1)
        soaked.outages = await asyncio.to_thread(collector.stay)
        await asyncio.to_thread(_drained, tap)
    churn.server.close()
    with closing(open_store(collector.store, read_only=True)) as store:
        for table, columns in STORED.items():
            rows = store.rows(f"SELECT {', '.join(columns)} FROM {table}")
            soaked.records[table] = [dict(zip(columns, row, strict=True)) for row in rows]
    return soaked


def _drained(tap: Tap) -> None:
    """Wait until everything the tap saw is with the collector, and end it."""
    until = time.monotonic() + 300
    while tap.metrics()["spool_records"]:
        if time.monotonic() > until:
            raise TimeoutError(f"the spool does not drain: {tap.metrics()}")
        time.sleep(0.1)
    tap.end()


def _resident_kb(tap: Tap) -> int:
    """Memory of the tap and its workers."""
    pid = tap.process.pid
    workers = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return sum(resident_kb(int(each)) for each in (pid, *workers))


async def _measure(tap: Tap, soaked: Soaked) -> None:
    while True:
        await asyncio.sleep(1)
        if soaked.churn.open >= soaked.open_streams * 0.95:
            soaked.resident.append(_resident_kb(tap))


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--streams", type=int, default=1000, help="open at a time")
    asked.add_argument("--seconds", type=float, default=60)
    given = asked.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        soaked = uvloop.run(soak(given.streams, given.seconds, Path(folder)))
    faults, churn = soaked.faults(), soaked.churn
    print(f"{churn.begun} streams, {len(churn.sent)} told to the end; callers: {dict(churn.ends)}")
    print(f"the collector was killed {soaked.outages} times")
    print(f"memory {soaked.idle_kb} KB idle, {min(soaked.resident)} to {max(soaked.resident)} KB under streams")
    print(*faults[:20], sep="\n")
    print(Figure("tap.soak_streams", len(churn.sent), "streams"))
    print(Figure("tap.soak_faults", len(faults), "faults"))
    print(Figure("tap.soak_kb_per_stream", soaked.kb_per_stream, "KB"))
    print(Figure("tap.soak_growth_kb", soaked.growth_kb, "KB"))
    if faults:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
