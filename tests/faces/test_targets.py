"""Taps tell where they are, Prometheus finds them; what it scrapes has runs behind its buckets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

import httpx
import pytest
from fastapi import FastAPI

from collector.app import utc_now
from collector.faces import prometheus, rest
from collector.faces.admission import Admission
from collector.faces.guard import guard
from collector.faces.prometheus import Exposition
from collector.faces.targets import PATIENCE, REMEMBERED, Taps, reached, router
from collector.settings.written import Address
from collector.store import open_store
from tests.builders import NOON, a_run, an_app
from tests.demo.conftest import Clock
from tests.faces.test_scraped import listening
from tests.servers.ports import free_port as any_port
from tests.servers.prometheus import Prometheus, configured_prometheus
from tests.tapping import Tap, a_tap

PATH = "/api/v1/prometheus/targets"


@pytest.mark.parametrize(
    ("admin", "address", "found"),
    [
        (Address("0.0.0.0", 9181), "10.0.0.5", "10.0.0.5:9181"),
        (Address("::", 9181), "fd00::5", "[fd00::5]:9181"),
        (Address("10.9.9.9", 9181), "10.0.0.5", "10.9.9.9:9181"),
        (Address("tap-1.example.com", 80), "10.0.0.5", "tap-1.example.com:80"),
        (Address("127.0.0.1", 9181), "127.0.0.1", "127.0.0.1:9181"),
        (Address("127.0.0.1", 9181), "10.0.0.5", None),
        (Address("localhost", 9181), "10.0.0.5", None),
    ],
)
def test_where_a_tap_is_reached(admin: Address, address: str, found: str | None):
    assert reached(admin, address) == found


class TestTheList:
    @pytest.fixture
    def clock(self) -> Clock:
        return Clock(NOON)

    @pytest.fixture
    async def client(self, clock: Clock) -> AsyncIterator[httpx.AsyncClient]:
        app = FastAPI()
        guard(app, Admission(clock=clock))
        app.include_router(router(Taps(clock)))
        web = httpx.ASGITransport(app, client=("10.0.0.5", 4711))
        async with httpx.AsyncClient(transport=web, base_url="http://collector") as client:
            yield client

    async def tell(self, client: httpx.AsyncClient, **told: str) -> httpx.Response:
        return await client.post("/api/v1/taps", json={"admin": "0.0.0.0:9181", "name": "tap-1", **told})

    async def test_is_there_when_every_tap_had_time_to_tell(self, client: httpx.AsyncClient, clock: Clock):
        assert (await self.tell(client, version="1.2")).json() == {"target": "10.0.0.5:9181"}
        early = await client.get(PATH)
        assert (early.status_code, early.headers["retry-after"]) == (503, "60")
        clock.now += PATIENCE
        assert (await client.get(PATH)).json() == [
            {"targets": ["10.0.0.5:9181"], "labels": {"tap": "tap-1", "__meta_dify_metric_version": "1.2"}}
        ]

    async def test_keeps_who_is_silent_for_a_day(self, client: httpx.AsyncClient, clock: Clock):
        await self.tell(client)
        clock.now += REMEMBERED - timedelta(seconds=1)
        assert len((await client.get(PATH)).json()) == 1
        clock.now += timedelta(seconds=2)
        assert (await client.get(PATH)).json() == []

    async def test_leaves_out_whom_only_its_own_machine_reaches(self, client: httpx.AsyncClient, clock: Clock):
        assert (await self.tell(client, admin="127.0.0.1:9181")).json() == {"target": None}
        clock.now += PATIENCE
        assert (await client.get(PATH)).json() == []

    async def test_takes_no_nonsense(self, client: httpx.AsyncClient):
        for admin in ("", "tap", "tap:port", "tap:99999", "http://tap:9181/x"):
            assert (await self.tell(client, admin=admin)).status_code == 422, admin


@dataclass
class Found:
    """A Prometheus that was told of a collector only, and a tap."""

    prometheus: Prometheus
    tap: Tap


@pytest.fixture(scope="module")
def found(server: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Found]:
    binary, folder = server("prometheus"), tmp_path_factory.mktemp("found")
    now = utc_now()
    store = open_store(":memory:", now=now - timedelta(days=1))
    store.put([an_app(workspace_id="w1"), *runs(now)])
    app = rest.application(store.rows, utc_now)
    app.include_router(prometheus.router(Exposition(store.rows, clock=utc_now, counting_since=store.counting_since)))
    app.include_router(router(Taps(utc_now, patience=timedelta(0))))
    with listening(app) as collector, a_tap(folder, "http://127.0.0.1:9", f"http://{collector}") as tap:
        scrape = (
            f"scrape_configs:\n- {{job_name: dify-metric, static_configs: [{{targets: ['{collector}']}}]}}\n"
            f"- job_name: dify-metric-tap\n  http_sd_configs: [{{url: 'http://{collector}{PATH}', "
            "refresh_interval: 1s}]\n"
        )
        flags = "--enable-feature=exemplar-storage"
        with configured_prometheus(binary, folder, any_port(), scrape, flags) as there:
            yield Found(there, tap)
    store.close()


def runs(now) -> list:
    """Three, of which two fell into one bucket."""
    ended = [now - timedelta(minutes=minutes) for minutes in (5, 4, 3)]
    return [
        a_run(id=name, elapsed_seconds=seconds, created_at=at - timedelta(seconds=1), finished_at=at, seen_at=at)
        for name, seconds, at in zip(("older", "newer", "slow"), (2.0, 3.0, 200.0), ended, strict=True)
    ]


@pytest.mark.timeout(120)
def test_prometheus_discovers_a_tap(found: Found):
    there = found.prometheus
    there.wait_for(lambda: there.value('up{job="dify-metric-tap"}') == 1, "the tap")
    (up,) = there.query('up{job="dify-metric-tap"}')
    assert up["metric"]["instance"] == found.tap.admin.removeprefix("http://")
    assert up["metric"]["tap"]
    assert there.value("dify_metric_tap_connections") == 0


@pytest.mark.timeout(120)
def test_prometheus_keeps_the_runs_behind_the_buckets(found: Found):
    there, family = found.prometheus, "dify_run_duration_seconds_bucket"
    there.wait_for(lambda: there.value(f'{family}{{le="+Inf"}}') == 3, "the runs")
    asked = {"query": family, "start": (utc_now() - timedelta(hours=1)).isoformat(), "end": utc_now().isoformat()}
    answer = httpx.get(f"{there.url}/api/v1/query_exemplars", params=asked, trust_env=False).json()
    kept = {
        (series["seriesLabels"]["le"], exemplar["labels"]["run_id"], float(exemplar["value"]))
        for series in answer["data"]
        for exemplar in series["exemplars"]
    }
    assert kept == {("5", "newer", 3.0), ("300", "slow", 200.0)}
    assert there.query('{run_id!=""}') == []
