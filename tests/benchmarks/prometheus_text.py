"""What writing /metrics costs, beside prometheus_client. Run: python -m tests.benchmarks.prometheus_text

Both sides write the same families from the same values: counters by app and model, a histogram by app. The peer makes
metrics of them, as a collector of prometheus_client has to at every scrape, and writes those; what it takes when they
are ready made is told as well. Every value is another one than at the scrape before, but for `still_ratio`. Processor
time counts; medians of turns are printed.
"""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable
from itertools import count
from statistics import median

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from collector.faces.exposition import Renderer, Shown
from collector.faces.families import CALL_BUCKETS
from tests.benchmarks.figure import Figure, interleaved
from tests.faces.test_exposition import registry

LABELS = ("workspace_id", "app_id", "model_provider", "model_name", "node_type")
COUNTERS = 8
"""Families of counters; with the histogram they make up the series."""

ROUNDS = 7


def site(series: int, scrape: int) -> list[Shown]:
    """So many series, a quarter of them a histogram's, as one scrape finds them."""
    bounds = tuple(f"{bound:g}" for bound in CALL_BUCKETS)
    of_counter = series * 3 // 4 // COUNTERS
    labels = [_labels(number) for number in range(of_counter)]
    families = [
        Shown(f"dify_c{n}_total", "counter", "So many.", LABELS, dict.fromkeys(labels, scrape + n + 0.5))
        for n in range(COUNTERS)
    ]
    apps = [("workspace-1", f"6c7e0d0e-0000-4000-8000-{number:012}") for number in range(series // 4 // 17)]
    up_to = {(*app, bound): float(scrape + place) for app in apps for place, bound in enumerate(bounds)}
    counts = dict.fromkeys(apps, scrape + len(bounds) + 1.0)
    sums = dict.fromkeys(apps, scrape * 1.25)
    return [*families, Shown("dify_h_seconds", "histogram", "How long.", LABELS[:2], counts, bounds, up_to, sums)]


def _labels(number: int) -> tuple[str, ...]:
    model, provider = f"model-{number % 20}", "langgenius/openai/openai"
    return ("workspace-1", f"6c7e0d0e-0000-4000-8000-{number // 20:012}", provider, model, "llm")


def timed(
    side: Callable[[list[Shown]], Callable[[], bytes]], series: int, waits: list[float] | None = None
) -> Callable[[], float]:
    """Seconds of processor time of one scrape, each with other values. `waits` gets how long it took by the clock."""
    scrapes = count(1)

    def once() -> float:
        shown = site(series, next(scrapes))
        ready = side(shown)
        begun, at = time.process_time(), time.perf_counter()
        ready()
        took = time.process_time() - begun
        if waits is not None:
            waits.append(time.perf_counter() - at)
        return took

    return once


def main() -> None:
    """Compare, and print the figures."""
    for series, word in ((10_000, "10k"), (100_000, "100k")):
        renderer, our_waits, their_waits = Renderer(), list[float](), list[float]()
        ours = timed(lambda shown, renderer=renderer: lambda: renderer.text(shown), series, our_waits)
        theirs = timed(lambda shown: lambda: generate_latest(registry(shown)), series, their_waits)
        ready = timed(_ready, series)
        still, unchanging = Renderer(), site(series, 1)
        same = timed(lambda _, still=still, shown=unchanging: lambda: still.text(shown), series)
        ours()  # the first scrape of a process makes the beginnings of lines
        same()
        mine, peer, ready_peer, unchanged = interleaved((ours, theirs, ready, same), ROUNDS)
        text = Renderer().text(site(series, 1))
        samples = [sample for metric in text_string_to_metric_families(text.decode()) for sample in metric.samples]
        name = "prometheus" if word == "10k" else "prometheus_100k"
        print(Figure(f"{name}.cpu_ratio", peer / mine, peer="prometheus_client generate_latest"))
        print(Figure(f"{name}.ready_ratio", ready_peer / mine, peer="the same with its metrics ready made"))
        print(Figure(f"{name}.still_ratio", peer / unchanged, peer="the same, where nothing has changed for us"))
        print(Figure(f"{name}.cpu_ms", mine * 1000, "ms", f"prometheus_client, {peer * 1000:.0f} ms"))
        wait, their_wait = median(our_waits) * 1000, median(their_waits) * 1000
        print(Figure(f"{name}.ms", wait, "ms", f"prometheus_client, {their_wait:.0f} ms"))
        print(Figure(f"{name}.samples", len(samples), "samples"))
        print(Figure(f"{name}.kb", len(text) / 1000, "kB", f"gzip, {len(gzip.compress(text, 1)) / 1000:.0f} kB"))


def _ready(shown: list[Shown]) -> Callable[[], bytes]:
    """The peer with every metric made."""
    made = registry(shown)
    metrics = list(made.collect())

    class Ready:
        def collect(self) -> list:
            return metrics

    return lambda: generate_latest(Ready())  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
