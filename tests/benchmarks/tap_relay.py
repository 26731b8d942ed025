"""What the relay costs beside nginx that holds nothing back, and beside no proxy at all.

Run: python -m tests.benchmarks.tap_relay. Upstream, proxy and callers are processes on cores of their own; the ways
take turns in every round, and medians are printed. The relay reads every stream while nginx only forwards.
"""

from __future__ import annotations

import json
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tests.benchmarks.figure import Figure
from tests.servers import nginx as peer
from tests.servers.process import Child, child, cpu_seconds, free_port, python, resident_kb

ROUNDS = 5
STREAMS, EVENTS, RATE = 1000, 100, 10.0
CONNECTIONS, JSON_SECONDS = 32, 2.0
PEER = "nginx, buffering off"


@dataclass
class Way:
    """One way from the callers to the upstream."""

    name: str
    port: int
    pid: int | None  # of the proxy


@dataclass
class Round:
    """What one round of one way showed."""

    p50: float
    p99: float
    cpu_per_event: float = 0.0
    requests_per_cpu_second: float = 0.0
    json_p99: float = 0.0


def a_round(way: Way, load: Child) -> Round:
    before = cpu_seconds(way.pid) if way.pid else 0.0
    streams = json.loads(load.say(f"streams {way.port} {STREAMS} {EVENTS} {RATE}"))
    between = cpu_seconds(way.pid) if way.pid else 0.0
    asked = json.loads(load.say(f"json {way.port} {CONNECTIONS} {JSON_SECONDS}"))
    after = cpu_seconds(way.pid) if way.pid else 0.0
    assert streams["events"] == STREAMS * EVENTS, streams
    return Round(
        streams["p50"],
        streams["p99"],
        (between - before) / streams["events"],
        asked["requests"] / (after - between) if way.pid else 0.0,
        asked["p99"],
    )


def kb_per_stream(way: Way, load: Child) -> float:
    """Growth of the proxy's memory while streams stand open."""
    assert way.pid
    before = resident_kb(way.pid)
    load.say(f"hold {way.port} {STREAMS}")
    after = resident_kb(way.pid)
    load.say("shut")
    return (after - before) / STREAMS


def ways(stack: ExitStack, upstream: int) -> list[Way]:
    found = [Way("direct", upstream, None)]
    port = free_port()
    tap = stack.enter_context(child(python("tests.servers.tap", str(port), str(upstream)), core=1))
    found.append(Way("tap", port, tap.pid))
    if binary := peer.program():
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        found.append(Way("nginx", *stack.enter_context(peer.nginx(binary, folder, upstream, core=1))))
    return found


def show(name: str, rounds: list[Round]) -> None:
    print(
        f"{name:7}"
        f" p50 {median(r.p50 for r in rounds) * 1e3:7.3f} ms, p99 {median(r.p99 for r in rounds) * 1e3:7.3f} ms"
        f" ({min(r.p99 for r in rounds) * 1e3:.3f} to {max(r.p99 for r in rounds) * 1e3:.3f}),"
        f" {median(r.cpu_per_event for r in rounds) * 1e6:5.1f} us a event,"
        f" {median(r.requests_per_cpu_second for r in rounds):7.0f} requests a CPU second"
    )


def main() -> None:
    """Print the figures."""
    with ExitStack() as stack:
        upstream = free_port()
        stack.enter_context(child(python("tests.servers.streaming", str(upstream)), core=2))
        load = stack.enter_context(child(python("tests.servers.load"), core=3))
        all_ways = ways(stack, upstream)
        first = {way.name: kb_per_stream(way, load) for way in all_ways if way.pid}
        rounds: dict[str, list[Round]] = {way.name: [] for way in all_ways}
        for _ in range(ROUNDS):
            for way in all_ways:
                rounds[way.name].append(a_round(way, load))
    for name, measured in rounds.items():
        show(name, measured)
    print(f"memory {first}")
    print(Figure("tap.kb_per_stream", round(first["tap"], 2), "KB"))
    if "nginx" not in rounds:
        print("no nginx here: nothing to compare with", file=sys.stderr)
        return
    direct, tap, other = rounds["direct"], rounds["tap"], rounds["nginx"]
    print(Figure("tap.cpu_per_event_ratio", _ratio(tap, other, "cpu_per_event"), "x", PEER))
    added = [median(r.p99 for r in side) - median(r.p99 for r in direct) for side in (tap, other)]
    print(Figure("tap.added_p99_ratio", added[0] / max(added[1], 1e-6), "x", PEER))
    print(Figure("tap.json_rps_ratio", _ratio(tap, other, "requests_per_cpu_second"), "x", PEER))


def _ratio(ours: list[Round], theirs: list[Round], field: str) -> float:
    return median(getattr(r, field) for r in ours) / median(getattr(r, field) for r in theirs)


if __name__ == "__main__":
    main()
