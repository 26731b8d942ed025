"""What /metrics says, read by Prometheus' own parsers, for tests: series and values, types, help."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta

from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain

from collector.faces.prometheus import Exposition, Tally
from collector.faces.readings import Readings
from collector.store import Store, open_store
from tests.builders import NOON

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
SINCE = NOON - timedelta(hours=1)
"""When the stores of these tests began to count."""


@dataclass(frozen=True)
class Exposed:
    """One scrape."""

    metrics: dict[str, Metric]

    def value(self, sample: str, **labels: str) -> float | None:
        """The value of the series with exactly these labels; None where there is none."""
        (found,) = [each.value for each in self._samples(sample) if each.labels == labels] or [None]
        return found

    def series(self, sample: str, **labels: str) -> list[dict[str, str]]:
        """The labels of the series of a name that have these among theirs."""
        return [each.labels for each in self._samples(sample) if labels.items() <= each.labels.items()]

    def total(self, sample: str, **labels: str) -> float:
        """`sum()` over them."""
        return sum(each.value for each in self._samples(sample) if labels.items() <= each.labels.items())

    @property
    def told(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        """Every series with its value."""
        samples = (sample for metric in self.metrics.values() for sample in metric.samples)
        return {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for sample in samples}

    def _samples(self, name: str) -> list:
        return [sample for metric in self.metrics.values() for sample in metric.samples if sample.name == name]


class Scraped:
    """A store and the exposition over it; `restart` makes a new exposition, as a new process would."""

    def __init__(self, store: Store | None = None, now: datetime = NOON + timedelta(hours=1), **how: object) -> None:
        self.store = store or open_store(":memory:", now=SINCE)
        self.now = now
        self._how = how
        self.restart()

    def restart(self) -> None:
        """Forget everything a process remembers."""
        self.exposition = Exposition(
            self.store.rows,
            clock=lambda: self.now,
            counting_since=self.store.counting_since,
            readings=Readings(self.store.readings, self.store.keep_readings),
            **{"snapshot": self.store.snapshot, **self._how},
        )

    def scrape(self, accept: str = "") -> Exposed:
        """Ask, and read the answer as Prometheus would."""
        text, content_type = self.exposition.text(accept)
        parse = openmetrics if content_type.startswith("application/openmetrics") else plain
        return Exposed({metric.name: metric for metric in parse(text.decode())})


def exposed(*batches: Iterable, tallies: Iterable[Tally] = ()) -> Exposed:
    """One scrape of a fresh store with these facts."""
    scraped = Scraped(tallies=tallies)
    with closing(scraped.store):
        for batch in batches:
            scraped.store.put(batch)
        return scraped.scrape()
