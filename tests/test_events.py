"""Portal events on their way through the service: sent, stored once, counted on every face."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from collector.app import Service
from collector.faces import events
from collector.faces.cloud_events import BATCH, SINGLE
from collector.settings.configuration import load_settings
from tests.builders import NOON, an_app
from tests.faces.test_cloud_events import an_event


class Portal:
    """A service, and what a portal does with it."""

    def __init__(self, folder: Path) -> None:
        self.now = NOON + timedelta(minutes=1)
        settings = load_settings({"store": str(folder / "t.duckdb")}, {})
        self.service = Service(settings, clock=lambda: self.now)
        web = httpx.ASGITransport(self.service.web())
        self.client = httpx.AsyncClient(transport=web, base_url="http://collector")

    async def send(self, message: Any, kind: str = SINGLE, **headers: str) -> httpx.Response:
        return await self.client.post("/api/v1/events", json=message, headers={"Content-Type": kind, **headers})

    async def ask(self, measure: str, **more: str) -> list[dict[str, Any]]:
        answer = await self.client.get("/api/v1/query", params={"measure": measure, "since": "all", **more})
        assert answer.status_code == 200, answer.text
        rows: list[dict[str, Any]] = answer.json()["rows"]
        return rows


@pytest.fixture
async def portal(tmp_path: Path) -> AsyncIterator[Portal]:
    portal = Portal(tmp_path)
    try:
        async with portal.client:
            yield portal
    finally:
        await portal.service.close()


async def test_they_are_counted_by_type_app_user_and_source(portal: Portal):
    portal.service.put([an_app(workspace_id="w1")])
    sent = await portal.send(
        [
            an_event(),
            an_event(id="e2", data={"app_id": "shop", "user": "mei", "lines": 3, "files": 2}),
            an_event(id="e3", type="answer.copied", source="/chat", data={"user": "mei"}),
        ],
        BATCH,
    )

    assert sent.json() == {"accepted": 3, "rejected": 0, "new": 6, "known": 0, "misfits": []}
    assert await portal.ask("portal_events", by="event_type") == [
        {"event_type": "answer.copied", "portal_events": 1},
        {"event_type": "code.accepted", "portal_events": 2},
    ]
    assert await portal.ask("portal_events,portal_users", by="app_name") == [
        {"app_name": "Shop", "portal_events": 2, "portal_users": 2},
        {"app_name": None, "portal_events": 1, "portal_users": 1},
    ]
    assert await portal.ask("portal_events", by="session,event_source", where="session:mei") == [
        {"session_id": "mei", "event_source": "/chat", "portal_events": 1},
        {"session_id": "mei", "event_source": "/ide", "portal_events": 1},
    ]
    assert await portal.ask("portal_value,portal_value_mean", by="event_type,workspace") == [
        {
            "event_type": "code.accepted",
            "workspace_id": "w1",
            "value_name": name,
            "portal_value": total,
            "portal_value_mean": mean,
        }
        for name, total, mean in (("files", 2.0, 2.0), ("lines", 15.0, 7.5))
    ]
    assert await portal.ask("portal_value", by="session", where="value_name:lines") == [
        {"session_id": "li.lei", "value_name": "lines", "portal_value": 12.0},
        {"session_id": "mei", "value_name": "lines", "portal_value": 3.0},
    ]


async def test_one_told_again_counts_once_and_stays_as_it_was(portal: Portal):
    untimed = an_event(time=...)
    first = (await portal.send(untimed)).json()
    portal.now += timedelta(days=3)
    again = (await portal.send(untimed)).json()
    other = (await portal.send({**untimed, "source": "/elsewhere"})).json()

    portal.now += timedelta(minutes=1)

    assert [(each["new"], each["known"]) for each in (first, again, other)] == [(2, 0), (0, 2), (2, 0)]
    when = portal.service.store.rows("SELECT event_source, created_at FROM portal_event ORDER BY created_at")
    assert when == [("/ide", NOON + timedelta(minutes=1)), ("/elsewhere", NOON + timedelta(days=3, minutes=1))]
    assert await portal.ask("portal_value", by="event_source") == [
        {"event_source": source, "value_name": "lines", "portal_value": 12.0} for source in ("/elsewhere", "/ide")
    ]


async def test_of_a_batch_with_a_bad_one_the_rest_is_kept(portal: Portal):
    batch = [an_event(id="e1"), an_event(time="soon"), an_event(id="e3"), 7]
    sent = await portal.send(batch, BATCH)

    told = sent.json()
    assert (sent.status_code, told["accepted"], told["rejected"]) == (200, 2, 2)
    assert [(each["place"], each["field"]) for each in told["misfits"]] == [(1, "time"), (3, "body")]
    assert (await portal.ask("portal_events"))[0]["portal_events"] == 2
    metrics = (await portal.client.get("/metrics")).text
    assert 'dify_metric_portal_events_rejected_total{field="time"} 1.0' in metrics


async def test_where_none_fits_it_is_a_problem(portal: Portal):
    sent = await portal.send(an_event(id=...))
    assert (sent.status_code, sent.headers["content-type"]) == (400, "application/problem+json")
    assert (sent.json()["field"], "as every CloudEvent has" in sent.json()["detail"]) == ("id", True)


async def test_what_is_too_large_or_no_event_at_all_is_refused(portal: Portal, monkeypatch: pytest.MonkeyPatch):
    wrong = await portal.client.post("/api/v1/events", content=b"x", headers={"Content-Type": "text/plain"})
    monkeypatch.setattr(events, "MOST_BYTES", 100)
    large = await portal.send(an_event())
    assert (wrong.status_code, large.status_code) == (415, 413)
    assert "application/cloudevents-batch+json" in wrong.json()["detail"]


async def test_prometheus_counts_them_by_app_and_type(portal: Portal):
    assert (await portal.client.get("/metrics")).status_code == 200
    portal.now += timedelta(minutes=1)
    happened = portal.now.isoformat()
    await portal.send([an_event(id=str(n), time=happened, data={"app_id": "shop"}) for n in range(3)], BATCH)
    assert (await portal.client.get("/metrics")).status_code == 200  # a new series says 0 first
    portal.now += timedelta(minutes=1)

    metrics = (await portal.client.get("/metrics")).text
    assert 'dify_portal_events_total{app_id="shop",event_type="code.accepted",workspace_id=""} 3.0' in metrics


async def test_no_text_of_theirs_is_kept(portal: Portal, tmp_path: Path):
    secret = "who killed Roger Ackroyd"
    await portal.send(an_event(subject=secret, dataschema=secret, data={"prompt": secret, "lines": 1, "user": "li"}))
    await portal.service.close()
    assert secret.encode() not in kept(tmp_path)


def kept(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())
