"""What must be true of a store whenever it is opened again, whatever died there.

What comes in is a store, the world it was read from and what was known before; what goes out are assertions. What is
expected is worked out from the world's rows alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from collector.demo import World
from collector.faces.prometheus import Exposition
from collector.faces.readings import Readings
from collector.records import FACTS, Message, NodeExecution, Record, Run
from collector.store import Store, open_store
from tests.collect.shelf import Shelf
from tests.road.way import open_before

Series = tuple[str, tuple[tuple[str, str], ...]]

ELSEWHERE, BATCH = "elsewhere", 60
"""The app of the facts that are sent, and how many new ones are in each batch; ids are batch/number."""

OURSELVES = "dify_metric_"
"""Families about our own passes: they count what was done, and that may differ."""


@dataclass
class Kept:
    """What was durable or acknowledged so far: it must never go again."""

    path: Path
    world: World
    facts: dict[str, set[str]] = field(default_factory=dict)
    marks: dict[tuple[object, ...], datetime] = field(default_factory=dict)
    since: datetime | None = None
    told: dict[Series, float] = field(default_factory=dict)  # counters, as they were scraped
    scrapes: int = 0  # of them, since the counters were last looked at

    def acknowledged(self, records: Iterable[Record]) -> None:
        """Facts whose sender was told that they are stored."""
        for record in records:
            self.facts.setdefault(record.table, set()).add(record.id)  # type: ignore[attr-defined]

    def scraped(self, text: str) -> None:
        """An exposition that somebody has seen."""
        self.told |= counters(text)
        self.scrapes += 1

    def check(self, now: datetime) -> None:
        """Open the store again and look at all of it."""
        if not self.path.exists():
            assert not self.facts
            return
        with closing(open_store(self.path, now=now)) as store:
            self._nothing_is_lost_or_doubled(store)
            self._batches_are_whole(store)
            self._marks_only_rise(store)
            shelf = Shelf(store)
            self._marks_tell_the_truth(shelf)
            self._leaves_are_whole(shelf)
            self._counters_never_step_back(store, now)

    def _nothing_is_lost_or_doubled(self, store: Store) -> None:
        for kind in FACTS:
            found = [str(key) for (key,) in store.rows(f"SELECT id FROM {kind.table}")]
            assert len(found) == len(set(found)), f"{kind.table}: twice"
            lost = self.facts.get(kind.table, set()) - set(found)
            assert not lost, f"{kind.table}: {len(lost)} lost"
            self.facts[kind.table] = set(found)
        since, self.since = self.since, store.counting_since
        assert since in (None, self.since)

    def _batches_are_whole(self, store: Store) -> None:
        sql = "SELECT count(*) FROM run WHERE app_id = ? GROUP BY split_part(id, '/', 1)"
        assert {number for (number,) in store.rows(sql, [ELSEWHERE])} <= {BATCH}

    def _marks_only_rise(self, store: Store) -> None:
        found: dict[tuple[object, ...], Any] = {
            ("until", *key): until
            for *key, until in store.rows("SELECT source, stream, app_id, origin, complete_until FROM watermark")
        }
        reaches: Any = store.rows("SELECT source, stream, app_id, complete_from, complete_until FROM reach")
        for source, stream, app_id, low, high in reaches:
            assert low <= high
            found["high", source, stream, app_id] = high
        assert set(self.marks) <= set(found)
        assert not [key for key, before in self.marks.items() if found[key] < before]
        self.marks = found

    def _marks_tell_the_truth(self, shelf: Shelf) -> None:
        """What was created before a watermark is there, and what had not ended then can still be told as ended."""
        runs, messages = shelf.of(Run), shelf.of(Message)
        for (_, stream, app_id), until in shelf.marks.items():
            listed = [
                run for run in self.world.runs.values() if run.app_id == app_id and run.triggered_from != "debugging"
            ]
            due = {run.id for run in listed if run.created_at < until}
            if stream == "runs":
                due = {key for key in due if self.world.runs[key].triggered_from == "app-run"}
            if stream in ("runs", "app-logs"):
                assert due <= set(runs), f"{stream}: a run before the watermark is missing"
                assert not any(runs[key].is_final for key in due & open_before(self.world, until))
            if stream == "node-executions":
                assert not [key for key in due & set(runs) if runs[key].is_final and not runs[key].leaves_known]
            if stream == "messages":
                talked = {
                    m.id
                    for m in self.world.messages.values()
                    if m.app_id == app_id and m.created_at < until and m.invoke_from != "debugger"
                }
                assert talked <= set(messages), "a message before the watermark is missing"

    def _leaves_are_whole(self, shelf: Shelf) -> None:
        """A run whose leaves are known has all its nodes, each once."""
        nodes: dict[str, int] = {}
        for node in shelf.of(NodeExecution).values():
            nodes[node.run_id or ""] = nodes.get(node.run_id or "", 0) + 1
        for run in shelf.of(Run).values():
            if run.leaves_known and run.id in self.world.nodes:
                assert nodes.get(run.id, 0) == len(self.world.nodes[run.id])

    def _counters_never_step_back(self, store: Store, now: datetime) -> None:
        if self.scrapes:
            self.scrapes = 0
            found = counters(exposed(store, now))
            assert not {key: (told, found.get(key)) for key, told in self.told.items() if found.get(key, -1.0) < told}


def exposed(store: Store, now: datetime) -> str:
    """What a service that begins now would tell a scrape."""
    exposition = Exposition(
        store.rows,
        clock=lambda: now,
        counting_since=store.counting_since,
        readings=Readings(store.readings, store.keep_readings),
    )
    return exposition.text("text/plain")[0].decode()


def counters(text: str) -> dict[Series, float]:
    """The series of counters and histograms that count facts of Dify."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        if family.type in ("counter", "histogram") and not family.name.startswith(OURSELVES)
        for sample in family.samples
    }
