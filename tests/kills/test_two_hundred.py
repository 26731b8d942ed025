"""kill -9, two hundred times, while a Dify is read and facts are sent: nothing is lost, nothing is there twice.

Each story kills one kind of work again and again on one store, opens the store again after each kill, and at the end
lets the work be done once undisturbed: then the store holds what one holds that nobody ever disturbed.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from random import Random

import httpx
import pytest
from msgspec.structs import replace

from collector import wire
from collector.demo import Life, make_living_world
from collector.records import Run
from collector.store import open_store
from tests.builders import a_run
from tests.collect.shelf import Shelf
from tests.demo.conftest import ADMIN_KEY, Clock
from tests.kills.doomed import KILLED, NEVER, Doomed, Moment, drawn, warmed
from tests.kills.kept import BATCH, ELSEWHERE, Kept, counters, exposed
from tests.road.way import EVENTFUL, lasting
from tests.road.wire import Site, a_site
from tests.servers.ports import free_port

KILLS = 20
"""In each of the ten stories."""

BEGIN = datetime.fromisoformat("2026-11-20T08:00:00+00:00")
SEEDS = (1, 2)
MISUSED = 2

pytestmark = pytest.mark.timeout(400)


class Story:
    """A Dify that lives on, a store that is filled from it, and what is known to be in that store."""

    def __init__(self, site: Site, life: Life, clock: Clock, doomed: Doomed, seed: int) -> None:
        self.site, self.life, self.clock, self.doomed = site, life, clock, doomed
        self.rng = Random(f"{seed}/kills")
        self.kept = Kept(doomed.store, site.world)
        self.kills = self.rounds = 0

    def goes_on(self) -> bool:
        """Whether there are kills to come; some minutes pass, and as often as not a run is under way then."""
        assert self.rounds < 8 * KILLS, "commands end before their moments"
        self.rounds += 1
        if self.rounds > 1:
            self.clock.forward(minutes=self.rng.uniform(0.5, 60))
        for _ in range(600):
            self.life.advance(self.clock())
            if any(run.status == "running" for run in list(self.site.world.runs.values())[-2:]):
                break
            self.clock.forward(seconds=1)
        return self.kills < KILLS

    def kill(self, *arguments: str, seconds: float = 0.8) -> int:
        """One command, killed while a page is on its way or at some other moment, if it lives so long."""
        if self.rng.random() > 0.15:
            return self._run(arguments, drawn(self.rng, seconds))
        gate = self.site.gate
        gate.shut_after(self.rng.randint(0, 60))
        with _waiting(gate.reached, self.doomed.kill):
            return self._run(arguments, NEVER)

    def serve(self, batches: Iterator[Sequence[Run]], env: dict[str, str]) -> None:
        """A service that is sent batch after batch and scraped in between, until it is killed."""
        moment = drawn(self.rng, 1.5) if self.rng.random() > 0.25 else NEVER
        last = self.rng.randint(1, 8)
        port = free_port()
        self.doomed.begin(["serve", "--listen", f"127.0.0.1:{port}"], env, moment, self.clock())
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as client:
            ended = threading.Event()
            at_last = self.doomed.stop if moment.is_at_close else self.doomed.kill
            sending = threading.Thread(target=self._send, args=(client, batches, last, at_last, ended))
            sending.start()
            code = self.doomed.end()
            ended.set()
            sending.join()
        if code == MISUSED and "cannot listen" in self.doomed.said():
            return  # somebody took the port in between
        self._look(code)

    def _send(
        self,
        client: httpx.Client,
        batches: Iterator[Sequence[Run]],
        last: int,
        at_last: Callable[[], None],
        ended: threading.Event,
    ) -> None:
        """What is told to a service and what it tells, until it is gone; `at_last` when the last is acknowledged."""
        sent = 0
        while not ended.wait(0.005):
            try:
                if sent % 4 == 3:
                    self.kept.scraped(client.get("/metrics").raise_for_status().text)
                batch = next(batches)
                client.post("/api/v1/ingest", content=wire.encode(batch)).raise_for_status()
            except httpx.TransportError:
                continue  # it does not listen yet, or no more
            self.kept.acknowledged(batch)
            sent += 1
            if sent == last:
                at_last()

    def at_last(self, *commands: Sequence[str], facts: Iterable[Run] = ()) -> None:
        """Once undisturbed; then the store is what one is that nobody ever disturbed, row for row."""
        facts = list(facts)
        self.clock.forward(hours=2)
        whole = self.doomed.store.with_name("whole.duckdb")
        open_store(whole, now=self.kept.since).close()
        for store in (self.doomed.store, whole):
            for arguments in commands:
                env = self.site.env(DIFY_METRIC_STORE=store.name)
                assert self.doomed.run(arguments, env, NEVER, self.clock()) == 0, self.doomed.said()
            with closing(open_store(store)) as opened:
                opened.put(facts)
        self.kept.check(self.clock())
        with closing(open_store(self.doomed.store)) as killed, closing(open_store(whole)) as undisturbed:
            assert lasting(Shelf(killed)) == lasting(Shelf(undisturbed))
            now = self.clock()
            assert counters(exposed(killed, now)) == pytest.approx(counters(exposed(undisturbed, now)))

    def _run(self, arguments: Sequence[str], moment: Moment) -> int:
        env = self.site.env(DIFY_METRIC_STORE=self.doomed.store.name)
        code = self.doomed.run(arguments, env, moment, self.clock())
        self._look(code)
        return code

    def _look(self, code: int) -> None:
        self.site.gate.open()
        assert code in (0, KILLED), self.doomed.said()
        self.kills += code == KILLED
        self.kept.check(self.clock())


@contextmanager
def _waiting(event: threading.Event, act: Callable[[], None]) -> Iterator[None]:
    """Act when it happens, or when the context ends."""

    def wait() -> None:
        event.wait()
        act()

    thread = threading.Thread(target=wait)
    thread.start()
    try:
        yield
    finally:
        event.set()
        thread.join()


@contextmanager
def a_story(folder: Path, seed: int) -> Iterator[Story]:
    world, life = make_living_world(days=1, runs_per_day=40, seed=seed, now=BEGIN, habits=EVENTFUL)
    clock = Clock(BEGIN)
    with (
        a_site(world, folder, clock=clock, life=life) as site,
        warmed(folder, "killed.duckdb", site.env(), counts_at_once=True) as doomed,
    ):
        yield Story(site, life, clock, doomed, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_pulls(tmp_path: Path, seed: int):
    with a_story(tmp_path, seed) as story:
        while story.goes_on():
            story.kill("pull")
        story.at_last(["pull"])


@pytest.mark.parametrize("seed", SEEDS)
def test_back_fills(tmp_path: Path, seed: int):
    with a_story(tmp_path, seed) as story:
        while story.goes_on():
            story.kill("pull", *story.rng.choice(([], ["--since", "12h"], ["--since", "2d"])))
        story.at_last(["pull"], ["pull", "--since", "2d"])


@pytest.mark.parametrize("seed", SEEDS)
def test_files_beside_pulls(tmp_path: Path, seed: int):
    with a_story(tmp_path, seed) as story:
        files = saved(story)
        while story.goes_on():
            if story.rng.random() < 0.3:
                story.kill("pull")
                continue
            chosen = story.rng.sample(files, story.rng.randint(1, len(files)))
            app_id = chosen[0].parent.name
            names = [str(file) for file in chosen if file.parent.name == app_id]
            story.kill("ingest", *names, "--app-id", app_id, seconds=0.15)
        ingests = [
            ["ingest", *map(str, folder.iterdir()), "--app-id", folder.name] for folder in {f.parent for f in files}
        ]
        story.at_last(*ingests, ["pull"])


@pytest.mark.parametrize("seed", SEEDS)
def test_facts_sent_to_a_service(tmp_path: Path, seed: int):
    sent: list[Run] = []
    with a_story(tmp_path, seed) as story:
        env = {name: value for name, value in story.site.env().items() if not name.startswith("DIFY_METRIC_")}
        env["DIFY_METRIC_STORE"] = story.doomed.store.name
        while story.goes_on():
            story.serve(batches(sent, story), env)
        story.at_last(facts=sent)


@pytest.mark.parametrize("seed", SEEDS)
def test_passes_of_a_service_that_is_sent_facts(tmp_path: Path, seed: int):
    sent: list[Run] = []
    with a_story(tmp_path, seed) as story:
        env = story.site.env(DIFY_METRIC_STORE=story.doomed.store.name, DIFY_METRIC_PULL_INTERVAL="1s")
        while story.goes_on():
            story.serve(batches(sent, story), env)
        story.at_last(["pull"], facts=sent)


def batches(sent: list[Run], story: Story) -> Iterator[list[Run]]:
    """Runs that end now, and those of the batch before once more, told better."""
    while True:
        now, number = story.clock(), len(sent)
        new = [
            a_run(id=f"{number}/{n}", app_id=ELSEWHERE, created_at=now, finished_at=now, seen_at=now)
            for n in range(BATCH)
        ]
        again = [replace(run, seen_at=now, session_id="again") for run in sent[-BATCH:]]
        sent += again + new
        yield again + new


def saved(story: Story) -> list[Path]:
    """Lists of runs as somebody saved them from the console, 10 in a file, some runs in two; by app."""
    found = []
    headers = {"Authorization": f"Bearer {ADMIN_KEY}", "X-WORKSPACE-ID": story.site.world.workspace_id}
    with httpx.Client(base_url=f"{story.site.url}/console/api", headers=headers, trust_env=False) as client:
        for app in [app for app in story.site.world.apps.values() if app.mode == "workflow"][:2]:
            query = {"triggered_from": "app-run", "limit": "99"}
            listed = client.get(f"/apps/{app.id}/workflow-runs", params=query).json()["data"]
            folder = story.site.folder / app.id
            folder.mkdir()
            for start in range(0, len(listed), 8):
                found.append(folder / f"{start}.json")
                found[-1].write_text(json.dumps({"data": listed[start : start + 10]}))
    return found
