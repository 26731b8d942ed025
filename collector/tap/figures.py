"""The numbers of a tap about itself: a table of them, and a board in shared memory on which its workers write theirs.

In come numbers of each worker; out goes the sum of all as Prometheus text. Counters go on where a worker that died had
left them. Nothing here knows where a number is from.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal, TypeAlias

from collector.records import FACTS

KINDS = tuple(record.table for record in FACTS)
REASONS = ("connection", "unauthorized", "busy", "fault", "unavailable", "misdirected", "_OTHER")
RESULTS = ("connected", "failed")

OVERHEAD = "dify_metric_tap_overhead_seconds"
OVERHEAD_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)


OVERHEAD_BOUNDS = (*map(str, OVERHEAD_BUCKETS), "+Inf")
"""The buckets as Prometheus names them."""


@dataclass(frozen=True)
class Figure:
    """One family. `values` are those its only label may have; `oldest`: of several workers' instants the first."""

    name: str
    help: str
    kind: Literal["counter", "gauge", "oldest", "histogram"] = "counter"
    label: str = ""
    values: tuple[str, ...] = ("",)


FIGURES = (
    Figure("dify_metric_tap_connections", "Callers that are connected now.", "gauge"),
    Figure("dify_metric_tap_streams_open", "Streams of events on their way now.", "gauge"),
    Figure("dify_metric_tap_requests_total", "Requests that were passed on and have ended."),
    Figure(
        "dify_metric_tap_refused_requests_total", "Requests that were answered by the tap: bad, too long, too slow."
    ),
    Figure("dify_metric_tap_streams_total", "Answers that came as streams of events."),
    Figure("dify_metric_tap_events_total", "Events of streams that were read: pieces of answers and what tells facts."),
    Figure("dify_metric_tap_unread_answers_total", "Answers that went by unread: too long, too many at once."),
    Figure("dify_metric_tap_parse_failures_total", "Events and fields that could not be read; their bytes went on."),
    Figure("dify_metric_tap_request_bytes_total", "Bytes of requests, without heads."),
    Figure("dify_metric_tap_response_bytes_total", "Bytes of answers, without heads."),
    Figure(
        "dify_metric_tap_upstream_connects_total",
        "Connections made to the upstream, and tries that failed.",
        label="result",
        values=RESULTS,
    ),
    Figure(
        OVERHEAD,
        "How long a byte that has arrived waits for its turn in a worker; probed ten times a second.",
        "histogram",
        values=OVERHEAD_BOUNDS,
    ),
    Figure("dify_metric_tap_records_total", "Records made of what went by."),
    Figure("dify_metric_tap_delivered_records_total", "Records that the collector has stored."),
    Figure(
        "dify_metric_tap_dropped_records_total",
        "Records that are lost, for want of room or of a disk.",
        label="kind",
        values=KINDS,
    ),
    Figure(
        "dify_metric_tap_refused_records_total",
        "Records that the collector does not take; they are kept in the spool's table `refused`.",
        label="kind",
        values=KINDS,
    ),
    Figure(
        "dify_metric_tap_delivery_failures_total",
        "Batches that the collector could not take yet; they are sent again.",
        label="reason",
        values=REASONS,
    ),
    Figure("dify_metric_tap_spool_failures_total", "Times that the spool could not be written or read."),
    Figure("dify_metric_tap_spool_records", "Records that wait for the collector.", "gauge"),
    Figure("dify_metric_tap_spool_bytes", "Bytes of the spool that are in use.", "gauge"),
    Figure(
        "dify_metric_tap_spool_oldest_timestamp_seconds",
        "Since when the oldest record waits for the collector; 0: none waits.",
        "oldest",
    ),
)
"""In the order they are shown."""

Place: TypeAlias = tuple[str, str]
"""A figure's name and the value of its label; of a histogram a bucket's bound, or `sum`."""

Numbers: TypeAlias = Mapping[Place, float]


def _places() -> Iterator[Place]:
    for figure in FIGURES:
        yield from ((figure.name, value) for value in figure.values)
        if figure.kind == "histogram":
            yield figure.name, "sum"


_PLACES = {place: number for number, place in enumerate(_places())}
_COUNTED = frozenset(figure.name for figure in FIGURES if figure.kind in ("counter", "histogram"))
_NUMBER = struct.Struct("d")


class Board:
    """Memory that a process shares with those it forks: one line of numbers for each worker."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._memory = mmap.mmap(-1, workers * len(_PLACES) * _NUMBER.size)

    def line(self, worker: int) -> Line:
        """Where a worker writes. Its counters go on from what stands there."""
        return Line(self, worker)

    def read(self, worker: int, place: Place) -> float:
        found: float = _NUMBER.unpack_from(self._memory, self._offset(worker, place))[0]
        return found

    def write(self, worker: int, place: Place, number: float) -> None:
        _NUMBER.pack_into(self._memory, self._offset(worker, place), number)

    def text(self) -> str:
        """All families, in Prometheus' text format."""
        lines: list[str] = []
        for figure in FIGURES:
            kind = "gauge" if figure.kind == "oldest" else figure.kind
            lines += (f"# HELP {figure.name} {figure.help}", f"# TYPE {figure.name} {kind}")
            lines += self._samples(figure)
        return "\n".join(lines) + "\n"

    def _samples(self, figure: Figure) -> Iterator[str]:
        if figure.kind == "histogram":
            counts = list(accumulate(self._together(figure, bound) for bound in figure.values))
            for bound, number in zip(figure.values, counts, strict=True):
                yield f'{figure.name}_bucket{{le="{bound}"}} {number:.17g}'
            yield f"{figure.name}_count {counts[-1]:.17g}"
            yield f"{figure.name}_sum {self._together(figure, 'sum'):.17g}"
            return
        for value in figure.values:
            label = f'{{{figure.label}="{value}"}}' if figure.label else ""
            yield f"{figure.name}{label} {self._together(figure, value):.17g}"

    def _together(self, figure: Figure, value: str) -> float:
        found = [self.read(worker, (figure.name, value)) for worker in range(self._workers)]
        if figure.kind == "oldest":
            return min((each for each in found if each), default=0.0)
        return sum(found)

    def _offset(self, worker: int, place: Place) -> int:
        return (worker * len(_PLACES) + _PLACES[place]) * _NUMBER.size


class Line:
    """One worker's line of a board."""

    def __init__(self, board: Board, worker: int) -> None:
        self._board, self._worker = board, worker
        self._before = {place: board.read(worker, place) for place in _PLACES if place[0] in _COUNTED}

    def show(self, numbers: Numbers) -> None:
        """Write numbers: counters since this worker began, gauges as they are now."""
        for place, number in numbers.items():
            self._board.write(self._worker, place, self._before.get(place, 0.0) + number)
