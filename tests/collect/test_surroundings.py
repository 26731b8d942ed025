"""What lies around apps is read when it is due, whole, cheaply, and without a trace of anything private."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import structlog

from collector.collect.collector import Collector, Options
from collector.demo import Faults, World, make_world, simulated_dify
from collector.demo.rows import Dataset as Base
from collector.demo.rows import Document
from collector.demo.rows import Retrieval as Search
from collector.pull.console import Access, Console
from collector.pull.workspace import fingerprint
from collector.records import ApiKey, Dataset, DatasetDay, Model, Pull, Retrieval, User
from tests.collect.shelf import Shelf

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
AROUND = {"datasets", "documents", "retrievals", "models", "members", "api-keys"}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with structlog.testing.capture_logs():
        yield


@pytest.fixture
def world() -> World:
    return make_world(days=2, runs_per_day=30, now=NOW, seed=3)


class Site:
    """A simulated Dify, a store and a collector between them, under a clock that is moved by hand."""

    def __init__(self, world: World, store: Shelf | None = None, options: Options | None = None) -> None:
        self.now, self.world, self.faults, self.asked = NOW, world, Faults(), Counter[str]()
        self.store = store or Shelf()
        dify = simulated_dify(world, clock=lambda: self.now, admin_key="key", faults=self.faults)

        async def counted(scope: Any, receive: Any, send: Any) -> None:
            self.asked[scope["path"].partition("/console/api")[2]] += 1
            await dify(scope, receive, send)

        access = Access(url="http://dify.test", admin_key="key", workspace_id=world.workspace_id)
        self.console = Console(access, transport=httpx.ASGITransport(counted), retries=0)
        self.collector = Collector(
            self.console,
            self.store.put,
            self.store.rows,
            self.store.watermark,
            options=options or Options(node_budget=None),
            clock=lambda: self.now,
        )

    async def pass_(self, **later: float) -> dict[str, Pull]:
        """A pass so much later; the Pulls of what lies around."""
        self.now += timedelta(**later)
        self.asked.clear()
        return {pull.stream: pull for pull in await self.collector.collect() if pull.app_id is None}

    def times(self, part: str) -> int:
        return sum(times for path, times in self.asked.items() if part in path)


def base(world: World) -> Base:
    return next(iter(world.datasets.values()))


def a_document(n: int, **fields: Any) -> Document:
    default = {"created_at": NOW, "word_count": 10, "tokens": 7, "segments": 2}
    return Document(id=f"00000000-0000-4000-8000-{n:012}", name="secret.md", position=n, **(default | fields))


async def test_all_of_it_comes_and_is_what_there_is(world: World):
    site = Site(world)

    pulls = await site.pass_()

    assert pulls.keys() >= AROUND
    assert all(pull.is_complete and not pull.parse_failures for pull in pulls.values())
    assert {each.name for each in site.store.of(Dataset).values()} == {each.name for each in world.datasets.values()}
    searches = {search.id for each in world.datasets.values() for search in each.retrievals}
    assert set(site.store.of(Retrieval)) == searches
    assert len(searches) > 5
    days = {day.dataset_id: day for day in site.store.of(DatasetDay).values()}
    for each in world.datasets.values():
        found, documents = days[each.id], each.documents
        assert (found.documents, found.failed_documents, found.indexing_documents) == (len(documents), 1, 1)
        assert found.available_documents == len(documents) - 2
        assert found.segments == sum(document.segments for document in documents)
        assert found.tokens == sum(document.tokens for document in documents)
        assert found.hits == sum(document.hit_count for document in documents)
    keys = {key.app_id: key.fingerprint for key in site.store.of(ApiKey).values()}
    assert keys == {app.id: fingerprint(app.key) for app in world.apps.values()}
    assert {account.id for account in world.accounts} <= set(site.store.of(User))
    assert any(model.is_vision for model in site.store.of(Model).values())


async def test_slow_streams_are_left_alone_until_they_are_due(world: World):
    site = Site(world)
    await site.pass_()

    soon = await site.pass_(minutes=5)
    later = await site.pass_(minutes=10)
    in_an_hour = await site.pass_(minutes=50)

    assert not soon.keys() & AROUND
    assert later.keys() & AROUND == {"datasets", "retrievals"}
    assert in_an_hour.keys() >= AROUND


async def test_a_restart_asks_nothing_early(world: World):
    site = Site(world)
    await site.pass_()

    again = Site(world, site.store)
    pulls = await again.pass_(minutes=1)

    assert not pulls.keys() & AROUND


async def test_a_list_longer_than_a_page_is_read_whole(world: World):
    site = Site(world)
    base(world).documents += [a_document(n) for n in range(100, 340)]

    await site.pass_()

    day = next(day for day in site.store.of(DatasetDay).values() if day.dataset_id == base(world).id)
    assert day.documents == len(base(world).documents) > 200


async def test_segments_are_asked_for_only_where_they_may_have_changed(world: World):
    site = Site(world)
    for each in world.datasets.values():
        each.documents[:] = [a_document(1), a_document(2)]
    await site.pass_()
    first = site.times("indexing-status")

    await site.pass_(hours=1)
    second = site.times("indexing-status")
    base(world).documents.append(a_document(3, segments=5))
    await site.pass_(hours=1)

    assert (first, second, site.times("indexing-status")) == (len(world.datasets), 0, 1)
    days = [day for day in site.store.of(DatasetDay).values() if day.dataset_id == base(world).id]
    assert [(day.documents, day.segments) for day in days] == [(3, 9)]


async def test_each_day_keeps_its_last_look(world: World):
    site = Site(world)
    await site.pass_()
    held = len(base(world).documents)

    base(world).documents.append(a_document(50))
    await site.pass_(hours=13)

    days = [day for day in site.store.of(DatasetDay).values() if day.dataset_id == base(world).id]
    assert sorted((day.created_at.day, day.documents) for day in days) == [(20, held), (21, held + 1)]


async def test_news_are_read_down_to_what_is_known(world: World):
    site = Site(world)
    found = base(world)
    found.retrievals[:] = [
        Search(
            id=f"00000000-0000-4000-9000-{n:012}",
            query="secret question",
            source_app_id=next(iter(world.apps)),
            created_by=world.accounts[0],
            created_at=NOW - timedelta(minutes=500 - n),
        )
        for n in range(450)
    ]
    await site.pass_()
    first = site.times(f"/datasets/{found.id}/queries")

    found.retrievals.append(
        Search(
            id="00000000-0000-4000-9000-000000000999",
            query="secret question",
            source_app_id=next(iter(world.apps)),
            created_by=world.accounts[0],
            created_at=NOW + timedelta(minutes=5),
        )
    )
    await site.pass_(minutes=16)

    assert first >= 5
    assert site.times(f"/datasets/{found.id}/queries") == 1
    assert len([one for one in site.store.of(Retrieval).values() if one.dataset_id == found.id]) == 451


async def test_a_first_walk_that_has_no_time_left_goes_on_in_the_next_pass(world: World):
    site = Site(world, options=Options(node_budget=None, budget=timedelta(minutes=5)))
    found = base(world)
    found.retrievals[:] = [
        Search(
            id=f"00000000-0000-4000-9000-{n:012}",
            query="?",
            source_app_id=next(iter(world.apps)),
            created_by=world.accounts[0],
            created_at=NOW - timedelta(minutes=500 - n),
        )
        for n in range(350)
    ]
    slow = site.console.get

    async def get(path: str, params: Any = None, **ids: str) -> Any:
        if path.endswith("/queries"):
            site.now += timedelta(minutes=2)
        return await slow(path, params, **ids)

    site.console.get = get  # type: ignore[method-assign]

    first = await site.pass_()
    passes = 1
    while not (pull := (await site.pass_(minutes=1)).get("retrievals")) or not pull.is_complete:
        passes += 1
        assert passes < 20

    assert not first["retrievals"].is_complete
    assert len([one for one in site.store.of(Retrieval).values() if one.dataset_id == found.id]) == 350


async def test_a_knowledge_base_that_was_deleted_stays_with_its_end(world: World):
    site = Site(world)
    await site.pass_()
    gone = base(world).id

    del world.datasets[gone]
    await site.pass_(minutes=15)

    ends = {key: each.deleted_at for key, each in site.store.of(Dataset).items()}
    assert ends[gone] == site.now
    (day,) = [day for day in site.store.of(DatasetDay).values() if day.dataset_id == gone]
    assert (day.documents, day.segments, day.tokens) == (0, 0, 0)
    assert [end for key, end in ends.items() if key != gone] == [None] * (len(ends) - 1)


async def test_a_key_that_was_deleted_stays_with_its_end(world: World):
    site = Site(world)
    await site.pass_()
    app = next(iter(world.apps))
    site.faults.rewrite(f"{app}/api-keys", lambda _: b'{"data": []}', times=9)

    await site.pass_(hours=1)

    ends = {key.app_id: key.deleted_at for key in site.store.of(ApiKey).values()}
    assert {app_id for app_id, end in ends.items() if end} == {app}


async def test_models_that_cannot_be_listed_cost_only_themselves_and_are_not_hammered(world: World):
    site = Site(world)
    site.faults.refuse("model-types", 500, "internal_server_error", times=99)

    first = await site.pass_()
    next_ = await site.pass_(minutes=1)
    later = await site.pass_(minutes=4)

    assert first["models"].error_class == "unavailable"
    assert {stream for stream, pull in first.items() if pull.error_class} == {"models"}
    assert "models" not in next_
    assert "models" in later


async def test_nothing_private_is_kept(world: World):
    site = Site(world)
    await site.pass_()

    kept = repr(site.store.told())

    assert not [account.email for account in world.accounts if account.email in kept]
    assert not [app.key for app in world.apps.values() if app.key in kept]
    assert not [search.query for each in world.datasets.values() for search in each.retrievals if search.query in kept]


async def test_documents_that_are_counted_and_not_listed_make_the_pull_incomplete(world: World):
    site = Site(world)
    one = base(world).id
    site.faults.rewrite(f"{one}/documents", lambda body: re.sub(rb'"total":\s*\d+', b'"total": 999', body), times=99)

    pulls = await site.pass_()

    assert not pulls["documents"].is_complete
    assert one not in {day.dataset_id for day in site.store.of(DatasetDay).values()}
    assert pulls["datasets"].is_complete
