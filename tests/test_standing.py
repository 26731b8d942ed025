"""How sources stand, over REST: what is wrong, what to do, and trying them without asking twice who said no."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from collector.access import Scope, Sight
from collector.demo import World, make_world
from collector.settings import Settings
from tests.builders import NOON
from tests.test_app import ADMIN_KEY, a_service, settings_of, told


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(days=1, runs_per_day=20, seed=9, now=NOON)


async def sources(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    return (await told(client, "/api/v1/sources"))["sources"]


async def checks(client: httpx.AsyncClient, wish: object = None) -> list[dict[str, Any]]:
    answer = await client.post("/api/v1/check", json=wish)
    assert answer.status_code == 200, answer.text
    return answer.json()["checks"]


async def test_where_nothing_is_set_there_is_no_source(tmp_path: Path):
    async with a_service(settings_of(tmp_path)) as (_, client):
        assert await sources(client) == []
        assert [each["result"] for each in await checks(client)] == ["not set: nothing is pulled"]


async def test_a_source_before_and_after_its_first_pass(tmp_path: Path, world: World):
    async with a_service(settings_of(tmp_path, world), world) as (service, client):
        (before,) = await sources(client)
        await service.pull()
        (after,) = await sources(client)
        (found,) = await checks(client)

    assert (before["state"], before["last_success"], before["streams"]) == ("starting", None, [])
    assert "first pass" in before["remedy"]
    assert (after["name"], after["way"], after["state"]) == ("dify", "console", "up")
    assert after["place"] == "http://dify"
    assert after["remedy"] is after["remedy_zh"] is after["error_class"] is None
    assert 0 <= after["lag_seconds"] < 15 * 60
    assert after["last_success"]
    assert (after["pulls"] > 0, after["failures"]) == (True, 0)
    assert {"apps", "runs", "messages"} <= {each["stream"] for each in after["streams"]}
    assert next(each for each in after["streams"] if each["stream"] == "apps")["records"] == len(world.apps)
    assert found["is_well"]
    assert found["result"].endswith(f"{len(world.apps)} apps")


async def test_a_dify_that_says_no(tmp_path: Path, world: World):
    settings = settings_of(tmp_path, world).model_copy(update={"dify_workspace_id": "another"})
    async with a_service(settings, world) as (service, client):
        await service.pull()
        (source,) = await sources(client)
        (found,) = await checks(client)

    assert source["state"] in ("down", "refused")
    assert source["failures"] > 0
    assert source["error_class"]
    assert source["remedy"]
    assert source["remedy_zh"]
    assert not found["is_well"]


async def test_a_password_that_was_refused_is_not_tried_again(tmp_path: Path, world: World):
    account = {"dify_url": "http://dify", "dify_email": "a@example.com", "dify_password": "wrong-password"}
    async with a_service(settings_of(tmp_path, None, **account), world) as (service, client):
        await service.pull()
        console = service.consoles["dify"]
        asked = console.requests.total()
        (source,) = await sources(client)
        (found,) = await checks(client)
        await checks(client)

        assert source["state"] == "refused"
        assert source["problem"] == found["result"] == console.refused
        assert "restart" in source["remedy"]
        assert console.requests.total() == asked
        assert "wrong-password" not in str([source, found])


def a_wish(world: World, **other: str) -> dict[str, str]:
    return {"url": "http://dify", "admin_key": ADMIN_KEY, "workspace_id": world.workspace_id, **other}


@pytest.fixture
def unset(tmp_path: Path) -> Settings:
    return settings_of(tmp_path)


async def test_settings_can_be_tried_before_they_are_written(unset: Settings, world: World):
    async with a_service(unset, world) as (service, client):
        (well,) = await checks(client, a_wish(world))
        (wrong,) = await checks(client, a_wish(world, admin_key="a-wrong-key"))
        assert service.sources == []

    assert well["is_well"]
    assert well["result"].startswith("signed in to Dify 1.")
    assert not wrong["is_well"]
    assert "a-wrong-key" not in str(wrong)


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ({"url": "no address", "token": "t"}, "url"),
        ({"url": "http://dify"}, "url"),
        ({"url": "http://dify", "admin_key": "half"}, None),
        ({"url": "http://dify", "token": "t", "database_url": "postgresql://x"}, None),
        ({"token": "a-secret-in-the-wrong-place"}, "url"),
    ],
)
async def test_a_wish_that_is_none_is_told_without_being_quoted(
    unset: Settings, wish: dict[str, str], field: str | None
):
    async with a_service(unset) as (_, client):
        answer = await client.post("/api/v1/check", json=wish)
    assert answer.status_code == 400, answer.text
    assert field is None or answer.json()["field"].endswith(field)
    assert "a-secret-in-the-wrong-place" not in answer.text


async def test_another_dify_is_not_tried_where_one_is_set(tmp_path: Path, world: World):
    async with a_service(settings_of(tmp_path, world), world) as (_, client):
        answer = await client.post("/api/v1/check", json=a_wish(world, url="http://elsewhere"))
    assert answer.status_code == 409
    assert "set already" in answer.json()["detail"]


async def test_only_who_sees_everything_is_told_of_sources_and_only_an_admin_tries_them(tmp_path: Path, world: World):
    settings = settings_of(tmp_path, world, access="keys")
    async with a_service(settings, world) as (service, client):

        def shown(*scopes: Scope, **bounds: Any) -> dict[str, str]:
            _, token = service.keyring.create("k", scopes, now=service.clock(), sight=Sight(**bounds))
            return {"Authorization": f"Bearer {token}"}

        everything, one_app = shown(Scope.READ), shown(Scope.READ, apps=("a",))
        assert (await client.get("/api/v1/sources", headers=everything)).status_code == 200
        assert (await client.get("/api/v1/sources", headers=one_app)).status_code == 403
        assert (await client.post("/api/v1/check", headers=everything)).status_code == 403
        assert (await client.post("/api/v1/check", headers=shown(Scope.ADMIN))).status_code == 200


async def test_a_page_is_refused_without_a_window_for_a_password(tmp_path: Path):
    async with a_service(settings_of(tmp_path, access="keys")) as (_, client):
        page = await client.get("/api/v1/measures", headers={"X-Requested-With": "dify-metric"})
        other = await client.get("/api/v1/measures")
    assert page.status_code == other.status_code == 401
    assert [each.split()[0] for each in page.headers.get_list("www-authenticate")] == ["Bearer"]
    assert [each.split()[0] for each in other.headers.get_list("www-authenticate")] == ["Bearer", "Basic"]


async def test_the_catalogue_is_not_sent_twice(tmp_path: Path):
    async with a_service(settings_of(tmp_path)) as (_, client):
        first = await client.get("/api/v1/measures")
        again = await client.get("/api/v1/measures", headers={"If-None-Match": first.headers["etag"]})
    assert first.json()["measures"]
    assert (again.status_code, again.content) == (304, b"")
