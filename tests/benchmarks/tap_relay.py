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
from tests.servers.ports import free_port
from tests.servers.process import Child, child, cpu_seconds, python, resident_kb

ROUNDS = 5
STREAMS = 1000
LOADS = {1: (100, 100.0), 100: (50, 10.0), STREAMS: (100, 10.0)}
"""Streams at a time -> events of each, and how many a second."""
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

    p50: dict[int, float]  # seconds from sent to received, by streams at a time
    p99: dict[int, float]
    cpu_per_event: dict[int, float]
    json_p50: float
    json_p99: float
    requests_per_cpu_second: float = 0.0


def a_round(way: Way, load: Child) -> Round:
    found = Round({}, {}, {}, 0.0, 0.0)
    for streams, (events, rate) in LOADS.items():
        before = _cpu(way)
        heard = json.loads(load.say(f"streams {way.port} {streams} {events} {rate}"))
        assert heard["events"] == streams * events, heard
        found.p50[streams], found.p99[streams] = heard["p50"], heard["p99"]
        found.cpu_per_event[streams] = (_cpu(way) - before) / heard["events"]
    before = _cpu(way)
    asked = json.loads(load.say(f"json {way.port} {CONNECTIONS} {JSON_SECONDS}"))
    found.json_p50, found.json_p99 = asked["p50"], asked["p99"]
    if way.pid:
        found.requests_per_cpu_second = asked["requests"] / (_cpu(way) - before)
    return found


def _cpu(way: Way) -> float:
    return cpu_seconds(way.pid) if way.pid else 0.0


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
    for streams in LOADS:
        p50, p99, cpu = (
            median(getattr(r, field)[streams] for r in rounds) for field in ("p50", "p99", "cpu_per_event")
        )
        said = f"{name:7} {streams:5} streams: p50 {p50 * 1e3:7.3f} ms, p99 {p99 * 1e3:8.3f} ms"
        print(f"{said}, {cpu * 1e6:5.1f} us a event")
    p50, p99, requests = (
        median(getattr(r, field) for r in rounds) for field in ("json_p50", "json_p99", "requests_per_cpu_second")
    )
    print(f"{name:7} plain JSON: p50 {p50 * 1e3:.3f} ms, p99 {p99 * 1e3:.3f} ms, {requests:.0f} requests a CPU second")


def main() -> None:
    """Print the figures."""
    with ExitStack() as stack:
        upstream = free_port()
        stack.enter_context(child(python("tests.servers.streaming", str(upstream)), core=2))
        load = stack.enter_context(child(python("tests.servers.load"), core=3))
        all_ways = ways(stack, upstream)
        first = {way.name: kb_per_stream(way, load) for way in all_ways if way.pid}
        rounds: dict[str, list[Round]] = {way.name: [] for way in all_ways}
        for turn in range(ROUNDS):
            for way in all_ways[turn % len(all_ways) :] + all_ways[: turn % len(all_ways)]:
                rounds[way.name].append(a_round(way, load))
    for name, measured in rounds.items():
        show(name, measured)
    print(f"memory {first}")
    print(Figure("tap.kb_per_stream", round(first["tap"], 2), "KB"))
    if "nginx" not in rounds:
        print("no nginx here: nothing to compare with", file=sys.stderr)
        return
    figures(rounds["direct"], rounds["tap"], rounds["nginx"])


def figures(direct: list[Round], tap: list[Round], other: list[Round]) -> None:
    """Print what is added to a direct connection, and what it costs, beside the other."""
    for streams in LOADS:
        ending = "" if streams == STREAMS else f"_{streams}"
        for field in ("p50", "p99"):
            ours, theirs = (_added(direct, side, field, streams) for side in (tap, other))
            print(Figure(f"tap.added_{field}_ratio{ending}", ours / theirs, "x", PEER))
        ours, theirs = (median(r.cpu_per_event[streams] for r in side) for side in (tap, other))
        print(Figure(f"tap.cpu_per_event_ratio{ending}", ours / theirs, "x", PEER))
    ours, theirs = (median(r.requests_per_cpu_second for r in side) for side in (tap, other))
    print(Figure("tap.json_rps_ratio", ours / theirs, "x", PEER))


def _added(direct: list[Round], way: list[Round], field: str, streams: int) -> float:
    """Seconds that a way adds, round by round: a noisy minute hits both."""
    added = [getattr(w, field)[streams] - getattr(d, field)[streams] for w, d in zip(way, direct, strict=True)]
    return max(median(added), 1e-6)


if __name__ == "__main__":
    main()
