"""A run that no listing can bring is noticed: counted, told, flagged, and forgotten once another source has it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import pytest
import structlog

from collector.collect.collector import Collector, Options
from collector.faces.asking import Asker
from collector.faces.rest_models import Asked
from collector.records import App, Pull, Run
from tests.builders import a_run
from tests.collect.shelf import Shelf
from tests.pull.small_dify import NOON, AnApp, ARun, SmallDify

HOURLY = timedelta(hours=2)
LONG_AGO = NOON - timedelta(days=40)


@pytest.fixture(autouse=True)
def said() -> Iterator[list[structlog.typing.EventDict]]:
    with structlog.testing.capture_logs() as found:
        yield found


class Site:
    """A chatflow of which no message names a run, and its collector."""

    def __init__(self, dify: SmallDify, collector: Collector, store: Shelf) -> None:
        self.dify, self.collector, self.store = dify, collector, store
        self.runs = dify.apps["bot"].runs
        self.now = NOON + timedelta(hours=1)

    async def pull(self) -> list[Pull]:
        """One pass; the comparisons it made."""
        return [pull for pull in await self.collector.collect() if pull.stream == "run-count"]

    @property
    def missing(self) -> int | None:
        return self.store.of(App)["bot"].missing_runs

    @property
    def flags(self) -> dict[str, int]:
        return Asker(self.store.rows, self.now).answered(Asked(measure=["runs"])).flags


@asynccontextmanager
async def a_site(runs: list[ARun], since: datetime | None) -> AsyncIterator[Site]:
    dify, store = SmallDify(AnApp("bot", mode="advanced-chat", runs=runs)), Shelf()
    async with dify.console() as console:
        collector = Collector(
            console, store.put, store.rows, store.watermark, options=Options(since=since), clock=lambda: site.now
        )
        site = Site(dify, collector, store)
        yield site
        await collector.aclose()


def at_one_instant(number: int, at: datetime = NOON) -> list[ARun]:
    return [ARun(f"r{n}", at) for n in range(number)]


@pytest.mark.parametrize("since", [None, LONG_AGO])
async def test_lost_ties_are_counted_told_and_flagged_until_another_source_brings_them(since, said):
    async with a_site(at_one_instant(130), since) as site:
        (compared,) = await site.pull()

        listed = len(site.store.of(Run))
        assert not compared.is_complete
        assert site.missing == 130 - listed > 0
        assert site.flags["runs_missing"] == listed
        assert +site.collector.warnings == {"listing_incomplete": 1, "ties_lost": 1}
        assert [line["missing"] for line in said if line["event"] == "listing incomplete"] == [130 - listed]

        site.store.put([a_run(id=f"r{n}", app_id="bot", created_at=NOON) for n in range(130)])
        site.now += HOURLY
        (compared,) = await site.pull()
        assert (compared.is_complete, site.missing) == (True, 0)
        assert "runs_missing" not in site.flags


async def test_ties_lost_in_a_later_pass_are_noticed_in_the_next_one():
    async with a_site([ARun("r", NOON - timedelta(hours=3))], LONG_AGO) as site:
        await site.pull()
        assert site.missing == 0

        site.runs += at_one_instant(250, site.now)
        site.now += timedelta(minutes=1)
        assert await site.pull() == []  # Dify is asked for its count once an hour
        site.now += timedelta(minutes=1)
        await site.pull()  # the listing had said that it lost some

        assert site.missing == 251 - len(site.store.of(Run)) > 0


async def test_nothing_is_missing_of_an_ordinary_app_and_dify_is_asked_hourly():
    runs = [ARun(f"r{n}", NOON - timedelta(minutes=n)) for n in range(250)]
    async with a_site(runs, LONG_AGO) as site:
        for _ in range(5):
            for compared in await site.pull():
                assert compared.is_complete
            site.now += timedelta(minutes=15)

        assert (len(site.store.of(Run)), site.missing, site.flags) == (250, 0, {})
        assert site.dify.times("workflow-runs/count") == 2


async def test_a_run_that_begins_while_the_others_are_listed_is_not_missing():
    async with a_site(at_one_instant(3), LONG_AGO) as site:

        def one_more(path: str) -> None:
            if path.endswith("workflow-runs"):
                site.runs.append(ARun("late", site.now))

        site.dify.before = one_more

        (compared,) = await site.pull()

        assert (compared.is_complete, site.missing) == (True, 0)
