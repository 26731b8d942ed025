"""The way in over REST: what is refused by name, and that nothing is half stored."""

from __future__ import annotations

import json
from collections.abc import Sequence

import httpx
import pytest

from collector import wire
from collector.errors import Misfit
from collector.faces import intake
from collector.faces.rest import application
from collector.records import Pull, Record, Stored
from tests.builders import NOON, a_run, an_app

HERE = intake.Service(version="1", store="/facts.duckdb")
PULL = Pull(
    source="console",
    seen_at=NOON,
    id="p1",
    stream="runs",
    app_id="shop",
    created_at=NOON,
    seconds=1.0,
    requests=2,
    pages=1,
    records=3,
    parse_failures=0,
    is_complete=True,
)


class Door:
    """A collector's way in, and what came through it."""

    def __init__(self, *, has_dify: bool = True) -> None:
        self.taken: list[Record] = []
        app = application(lambda *_: [], lambda: NOON)
        pull = self._pull if has_dify else None
        app.include_router(intake.router(HERE, self._put, pull))
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://collector")

    def _put(self, records: Sequence[Record]) -> Stored:
        self.taken += records
        return Stored(new=len(records))

    async def _pull(self, way: str | None) -> Sequence[Pull]:
        return [PULL]

    async def send(self, body: bytes) -> httpx.Response:
        async with self.client as client:
            return await client.post("/api/v1/ingest", content=body)


def told(response: httpx.Response) -> dict[str, object]:
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, object] = response.json()
    return problem


async def test_facts_are_stored_and_acknowledged():
    door = Door()
    response = await door.send(wire.encode([an_app(), a_run()]))

    assert response.json() == {"new": 2, "changed": 0, "known": 0}
    assert {fact.id for fact in door.taken} == {"shop", "r1"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"no json", "body"),
        (b"[]", "body"),
        (b'{"runs": []}', "runs"),
        (b'{"run": [{"id": "r1"}]}', "run[0]"),
    ],
)
async def test_a_batch_that_does_not_fit_is_refused_by_name(body: bytes, field: str):
    response = await Door().send(body)
    assert response.status_code == 400
    assert told(response)["field"] == field


async def test_of_a_batch_with_one_bad_row_nothing_is_stored():
    batch = json.loads(wire.encode([a_run(), a_run(id="r2")]))
    batch["run"][1]["created_at"] = "yesterday"
    door = Door()
    response = await door.send(json.dumps(batch).encode())

    problem = told(response)
    assert (response.status_code, problem["field"]) == (400, "run[1]")
    assert "created_at" in str(problem["detail"])
    assert not door.taken


async def test_a_batch_too_large_is_refused_whether_it_says_so_or_not(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(intake, "MOST_BYTES", 100)

    async def in_parts():
        for _ in range(3):
            yield b" " * 50

    async with Door().client as client:
        announced = await client.post("/api/v1/ingest", content=b" " * 101)
        silent = await client.post("/api/v1/ingest", content=in_parts())
    for response in (announced, silent):
        assert response.status_code == 413
        assert "100 bytes" in str(told(response)["detail"])


async def test_a_pull_can_be_wished_for():
    async with Door().client as client:
        (said,) = (await client.post("/api/v1/pull")).json()["pulls"]
    assert (said["stream"], said["records"], said["is_complete"]) == ("runs", 3, True)


async def test_without_dify_there_is_nothing_to_pull_from():
    async with Door(has_dify=False).client as client:
        response = await client.post("/api/v1/pull")
    assert response.status_code == 409
    assert "dify_url" in str(told(response)["detail"])


async def test_it_says_which_store_is_served():
    async with Door().client as client:
        assert (await client.get("/api/v1/service")).json() == {"version": "1", "store": "/facts.duckdb"}


async def test_the_reference_page_shows_the_way_in_too():
    async with Door().client as client:
        page = (await client.get("/docs")).text
    assert "POST /api/v1/ingest" in page
    assert "GET /api/v1/query" in page


async def test_a_value_the_store_has_no_room_for_is_the_senders_matter():
    app = application(lambda *_: [], lambda: NOON)

    def put(_: Sequence[Record]) -> Stored:
        raise Misfit("model_call.tokens: a value does not fit int64", field="model_call.tokens")

    app.include_router(intake.router(HERE, put, None))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://collector") as client:
        answer = await client.post("/api/v1/ingest", content=wire.encode([a_run()]))
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["field"] == "model_call.tokens"
