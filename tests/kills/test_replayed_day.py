"""A day of a site as a Prometheus has it: what its counters grew by is what REST says of that day.

The collector is killed with SIGKILL again and again, restarted, away for hours and told to read history; a tap tells
facts before anybody knows their app or model. What every process says to a scrape goes into a real Prometheus.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any

import httpx
import pytest

from collector.app import utc_now
from collector.demo import Life, make_living_world
from collector.faces.asking import Asker
from collector.faces.families import COST, COST_LABELS, FAMILIES, Family
from collector.faces.prometheus import Exposition
from collector.faces.readings import AT_ZERO, Readings
from collector.faces.rest_models import Asked
from collector.measures.catalogue import CATALOGUE
from collector.records import PORTAL, TAP, PortalEvent, Record
from collector.store import Store, open_store
from tests.builders import a_call, a_run, an_app
from tests.demo.conftest import Clock
from tests.kills.doomed import KILLED, NEVER, Doomed, Moment, drawn, warmed
from tests.road.way import EVENTFUL
from tests.road.wire import Site, a_site
from tests.servers.ports import free_port as any_port
from tests.servers.prometheus import Prometheus, backfilled, configured_prometheus

BEGIN = datetime.fromisoformat("2026-11-20T00:00:00+00:00")
END = BEGIN + timedelta(days=1)
STEP = timedelta(minutes=100)
STEPS = 14
AWAY = range(7, 10)
"""Steps in which there is no collector."""

TAPPED = "tapped"
"""The app whose facts are told before its name."""

LATE = "late"
"""The app of which something is told on the day after it happened."""

OF_LATE = f"app_id:{LATE}"
BESIDE = AT_ZERO + timedelta(seconds=5)
"""Between two scrapes of a process: a new series has begun to count by then."""

COUNTERS = [family for family in FAMILIES if family.kind == "counter"]
HISTOGRAMS = [family for family in FAMILIES if family.kind == "histogram"]

pytestmark = pytest.mark.timeout(400)


@dataclass
class Day:
    """The site, the store that is filled from it, and what was scraped: by series, its lines."""

    site: Site
    life: Life
    clock: Clock
    doomed: Doomed
    rng: Random
    lines: dict[str, list[str]] = field(default_factory=dict)
    scraped: int = 0
    told_at: datetime = BEGIN
    kills: int = 0

    def command(self, *arguments: str, moment: Moment = NEVER) -> None:
        """One command, run to its end or to its death."""
        env = self.site.env(DIFY_METRIC_STORE=self.doomed.store.name)
        code = self.doomed.run(arguments, env, moment, self.clock())
        assert code in (0, KILLED), self.doomed.said()
        self.kills += code == KILLED

    def serve(self) -> None:
        """A service that reads Dify, is scraped over HTTP and is killed while it does."""
        port = any_port()
        env = self.site.env(DIFY_METRIC_STORE=self.doomed.store.name, DIFY_METRIC_PULL_INTERVAL="1s")
        self.doomed.begin(["serve", "--listen", f"127.0.0.1:{port}"], env, NEVER, self.clock())
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as client:
            for _ in range(2):
                said = _once_it_listens(client, utc_now() + timedelta(seconds=60))
                self.clock.forward(seconds=20)
                self.keep(said)
        self.doomed.kill()
        assert self.doomed.end() == KILLED
        self.kills += 1

    @contextmanager
    def opened(self) -> Iterator[Store]:
        """The store, in a process that looks on for a little longer than a new series says 0."""
        with closing(open_store(self.doomed.store, now=self.clock())) as store:
            yield store
            readings = Readings(store.readings, store.keep_readings, at_zero=AT_ZERO, clock=self.clock)
            how: dict[str, Any] = {"counting_since": store.counting_since, "snapshot": store.snapshot}
            exposition = Exposition(store.rows, clock=self.clock, readings=readings, **how)
            for _ in range(2):
                self.keep(exposition.text("text/plain")[0].decode())
                self.clock.now += BESIDE

    def keep(self, text: str, at: datetime | None = None) -> None:
        """What a scrape said, at its instant."""
        instant = f"{(at or self.clock()).timestamp():.0f}"
        self.scraped += 1
        for line in text.splitlines():
            if not line.startswith("#"):
                series = line.rpartition(" ")[0]
                self.lines.setdefault(series, []).append(f"{line} {instant}")

    def openmetrics(self) -> str:
        """Everything scraped, for promtool."""
        return "\n".join([*(line for lines in self.lines.values() for line in lines), "# EOF", ""])


def _once_it_listens(client: httpx.Client, until: datetime) -> str:
    while True:
        try:
            return client.get("/metrics").raise_for_status().text
        except httpx.TransportError:
            assert utc_now() < until, "it does not listen"


def told_by_a_tap(at: datetime) -> list[Record]:
    """Facts of an app and of a model that nobody knows yet."""
    when = {"created_at": at, "finished_at": at, "seen_at": at, "app_id": TAPPED, "source": TAP}
    told = {"event_id": "1", "event_source": "/chat", "event_type": "answer.copied"}
    event = PortalEvent(id="e1", app_id=TAPPED, source=PORTAL, created_at=at, seen_at=at, **told)
    return [a_run(id="t1", **when), a_call(id="t1", run_id="t1", model_name=None, **when), event]


def told_better(at: datetime, told: datetime) -> list[Record]:
    """The same once they are known, and others after them."""
    known = {"created_at": told, "finished_at": told, "seen_at": at, "app_id": TAPPED}
    new = {"created_at": at, "finished_at": at, "seen_at": at, "app_id": TAPPED}
    return [
        an_app(id=TAPPED, name="Tapped", workspace_id="w1", seen_at=at),
        a_call(id="t1", run_id="t1", model_name="gpt-late", **known),
        a_run(id="t2", **new),
        a_call(id="t2", run_id="t2", model_name="gpt-late", **new),
    ]


def is_busy(day: Day) -> bool:
    """Whether anything is under way that began lately (what was stopped stays so for ever)."""
    now, world = day.clock(), day.site.world
    begun = [*world.runs.values(), *world.messages.values()]
    return any(
        now - each.created_at < timedelta(minutes=3)
        or (now - each.created_at < timedelta(minutes=30) and each.status == "running")
        for each in begun
    )


def lived(day: Day) -> None:
    """The day, hour by hour."""
    with day.opened():
        pass  # zeros, before anything happened
    for step in range(STEPS):
        day.clock.now = BEGIN + STEP * step + timedelta(minutes=day.rng.uniform(30, 60))
        day.life.advance(day.clock())
        if step in AWAY:
            continue
        if step % 5 == 4:
            day.serve()
        else:
            history = ("--since", "2d") if step % 3 == 2 else ()
            day.command("pull", *history, moment=drawn(day.rng, 0.8))
        with day.opened() as store:
            if step == 2:
                day.told_at = day.clock()
                store.put(told_by_a_tap(day.told_at))
            if step == 5:
                store.put(told_better(day.clock(), day.told_at))
    day.clock.now = END - timedelta(minutes=40)
    day.life.advance(day.clock())
    while is_busy(day):
        day.clock.forward(seconds=5)
        day.life.advance(day.clock())
    assert day.clock() < END - timedelta(minutes=5)
    day.command("pull")
    with day.opened():
        pass
    day.clock.now = END
    with day.opened():
        pass
    day.clock.now = END + timedelta(minutes=30)
    with day.opened() as store:
        ended = END - timedelta(hours=2)
        late = a_run(id="late", app_id=LATE, created_at=ended, finished_at=ended, seen_at=day.clock())
        store.put([late, an_app(id=LATE, name="Late", workspace_id="w1", seen_at=day.clock())])


@dataclass
class Told:
    """A day that was lived, the Prometheus that has it, and REST."""

    day: Day
    prometheus: Prometheus
    store: Store

    def grown(self, series: str, by: tuple[str, ...] = (), until: datetime = END) -> dict[tuple[str, ...], float]:
        """What a counter grew by in a day."""
        found = self.prometheus.query(f"sum by ({','.join(by)}) (increase({series}[1d]))", until)
        values = {tuple(each["metric"].get(name, "") for name in by): float(each["value"][1]) for each in found}
        return {labels: value for labels, value in values.items() if value}

    def rest(self, measure: str, by: tuple[str, ...], where: tuple[str, ...] = ()) -> dict[tuple[str, ...], float]:
        """What REST said of the day when it was over, by the time of ending."""
        of_apps = any(dimension.name == "app_id" for dimension in CATALOGUE.measure(measure).by)
        conditions = [*where, *([f"!app_id:{LATE}"] if of_apps and OF_LATE not in where else [])]
        day: dict[str, Any] = {"since": BEGIN.isoformat(), "until": END.isoformat(), "moment": "finished"}
        question = Asked(measure=[measure], by=list(by), tz="UTC", where=conditions, **day)
        rows = Asker(self.store.rows, END + timedelta(minutes=5)).answered(question).plain()["rows"]
        found: dict[tuple[str, ...], float] = {}
        for row in rows:
            labels = tuple(row[name] or ("_OTHER" if name == "error_class" else "") for name in by)
            found[labels] = found.get(labels, 0.0) + float(row[measure] or 0)
        return {labels: value for labels, value in found.items() if value}


@pytest.fixture(scope="module")
def told(server: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    promtool, prometheus = server("promtool"), server("prometheus")
    folder = tmp_path_factory.mktemp("day")
    world, life = make_living_world(days=1, runs_per_day=45, seed=11, now=BEGIN, habits=EVENTFUL)
    clock = Clock(BEGIN)
    with a_site(world, folder, clock=clock, life=life) as site, warmed(folder, "day.duckdb", site.env()) as doomed:
        day = Day(site, life, clock, doomed, Random("a day"))
        lived(day)
    backfilled(promtool, day.openmetrics(), folder)
    kept = "--storage.tsdb.retention.time=10y"
    with (
        configured_prometheus(prometheus, folder, any_port(), "", kept) as there,
        closing(open_store(folder / "day.duckdb")) as store,
    ):
        yield Told(day, there, store)


def test_it_was_an_eventful_day(told: Told):
    assert told.day.kills >= 7
    assert told.day.scraped > 25
    assert told.rest("finished_runs", ())[()] > 20
    grown = {family.name for family in COUNTERS if told.grown(family.name)}
    assert len(grown) >= 14, grown


@pytest.mark.parametrize("family", COUNTERS, ids=lambda family: family.name)
def test_a_counter_grew_by_what_rest_says_of_the_day(told: Told, family: Family):
    has_ended = ("!status:running", "!status:open", "!status:stale") if family.when_final else ()
    agrees(told, family.name, family.measure, family.labels, has_ended)


@pytest.mark.parametrize("currency", ["usd"])
def test_money_was_spent_as_rest_says(told: Told, currency: str):
    agrees(told, COST.format(currency=currency), f"cost_{currency}", COST_LABELS)


def agrees(told: Told, counter: str, measure: str, labels: tuple[str, ...], where: tuple[str, ...] = ()) -> None:
    """All of it does, and series for series what was told by its labels at once."""
    said = told.rest(measure, labels, where)
    assert sum(told.grown(counter).values()) == pytest.approx(sum(said.values()), rel=1e-6)
    if "app_id" in labels:
        place = labels.index("app_id")
        grown = told.grown(f'{counter}{{app_id!="{TAPPED}"}}', labels)
        assert grown == pytest.approx({series: value for series, value in said.items() if series[place] != TAPPED})


@pytest.mark.parametrize("family", HISTOGRAMS, ids=lambda family: family.name)
def test_a_histogram_took_in_what_rest_says_of_the_day(told: Told, family: Family):
    took, number = (sum(told.grown(f"{family.name}_{part}").values()) for part in ("sum", "count"))
    said = told.rest(f"{family.measure}_mean", ())
    assert number
    assert took / number == pytest.approx(said[()], rel=1e-6)
    above = told.grown(f'{family.name}_bucket{{le="+Inf"}}')
    assert sum(above.values()) == pytest.approx(number)


def test_a_fact_whose_labels_were_told_later_is_counted_once(told: Told):
    runs = f'dify_run_finished_total{{app_id="{TAPPED}"}}'
    assert sum(told.grown(runs).values()) == pytest.approx(2)
    calls = told.grown(f'dify_llm_calls_total{{app_id="{TAPPED}"}}', ("workspace_id", "model_name"))
    assert calls == pytest.approx({("", ""): 1, ("w1", "gpt-late"): 1})


def test_a_fact_that_came_a_day_late_is_counted_when_it_came(told: Told):
    runs = f'dify_run_finished_total{{app_id="{LATE}"}}'
    assert told.grown(runs) == {}
    assert told.grown(runs, until=told.day.clock() - BESIDE) == pytest.approx({(): 1})
    assert told.rest("finished_runs", (), (OF_LATE,)) == {(): 1}
