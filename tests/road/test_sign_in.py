"""Every way to sign in, behind a portal or not, to every kind of version: the service brings the same facts."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from collector.app import Service
from collector.demo import EVER, Faults, World, simulated_dify
from collector.records import Message, Run
from collector.settings.configuration import load_settings
from tests.collect.shelf import Shelf
from tests.demo.conftest import ADMIN_KEY, CALM, NOW, Clock, at_once, credentials
from tests.road.way import Road, a_past, lasting

PASSWORD = "metrics-Passw0rd"
LOGIN = {"DIFY_METRIC_DIFY_EMAIL": "metrics@example.com", "DIFY_METRIC_DIFY_PASSWORD": PASSWORD}


@pytest.fixture(scope="module")
def world() -> World:
    return a_past(days=1, runs_per_day=25, seed=14)


def a_service(
    world: World,
    given: Mapping[str, str],
    *,
    clock: Clock | None = None,
    faults: Faults | None = None,
    version: str = "1.11.1",
    prefix: str = "",
    url: str = "http://dify",
) -> Service:
    """A service whose settings come from the environment, as in a container."""
    clock = clock or Clock()
    dify = simulated_dify(
        world,
        clock=clock,
        version=version,
        prefix=prefix,
        admin_key=ADMIN_KEY,
        faults=faults,
        pace=at_once,
        habits=CALM,
    )
    env = {
        "DIFY_METRIC_DIFY_URL": url,
        "DIFY_METRIC_STORE": ":memory:",
        "DIFY_METRIC_READ_COMPLETIONS": "true",
        "DIFY_METRIC_RETRIES": "0",
        **given,
    }
    return Service(load_settings({}, env), clock=clock, transport=httpx.ASGITransport(dify))


async def passed(service: Service) -> dict[tuple[str, str], Any]:
    try:
        with capture_logs():
            pulls = await service.pull()
        assert {pull.error_class for pull in pulls} == {None}
        return lasting(Shelf(service.store))
    finally:
        await service.close()


async def whole(world: World) -> dict[tuple[str, str], Any]:
    """What the admin key of 1.11.1 brings."""
    road = Road(world, since=NOW - timedelta(days=30))
    await road.pull()
    return lasting(road.store)


async def _token(world: World, version: str) -> str:
    """A console access token, as somebody would copy it from a browser."""
    dify = simulated_dify(world, clock=Clock(), version=version)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(dify), base_url="http://dify") as client:
        login = await client.post("/console/api/login", json=credentials("metrics", is_plain=version != "1.11.1"))
        told = login.json().get("data")
        return told["access_token"] if isinstance(told, dict) else told or client.cookies["access_token"]


@pytest.mark.parametrize("prefix", ["", "/ai-portal/proxy"])
async def test_the_admin_key(world: World, prefix: str):
    key = {"DIFY_METRIC_DIFY_ADMIN_KEY": ADMIN_KEY, "DIFY_METRIC_DIFY_WORKSPACE_ID": world.workspace_id}

    found = await passed(a_service(world, {**key, "DIFY_METRIC_DIFY_PATH_PREFIX": prefix}, prefix=prefix))

    assert found == await whole(world)


@pytest.mark.parametrize("url", ["http://dify", "https://dify"])
async def test_cookies_and_csrf(world: World, url: str):
    found = await passed(a_service(world, LOGIN, url=url))

    assert found == await whole(world)


@pytest.mark.parametrize("version", ["1.10.0", "1.8.0", "0.8.0"])
@pytest.mark.parametrize("prefix", ["", "/ai-portal/proxy"])
async def test_a_password_and_whatever_that_version_gives_for_it(world: World, version: str, prefix: str):
    given = {**LOGIN, "DIFY_METRIC_DIFY_PATH_PREFIX": prefix}

    found = await passed(a_service(world, given, version=version, prefix=prefix))

    # before 1.10 no list has the app runs of a chatflow: its messages lead to them
    assert found == await whole(world)


@pytest.mark.parametrize("version", ["1.8.0", "0.8.0"])
async def test_a_fixed_token(world: World, version: str):
    given = {"DIFY_METRIC_DIFY_TOKEN": await _token(world, version)}

    found = await passed(a_service(world, given, version=version))

    assert found == await whole(world)


async def test_a_password_may_stand_in_a_file(world: World, tmp_path: Path):
    secret = tmp_path / "password"
    secret.write_text(PASSWORD + "\n")
    given = {
        "DIFY_METRIC_DIFY_EMAIL": "metrics@example.com",
        "DIFY_METRIC_DIFY_PASSWORD_FILE": str(secret),
    }

    assert await passed(a_service(world, given))


async def test_a_session_that_ends_is_renewed(world: World):
    clock, faults = Clock(), Faults()
    service = a_service(world, LOGIN, clock=clock, faults=faults)
    try:
        for _ in range(3):
            pulls = await service.pull()
            assert {pull.error_class for pull in pulls} == {None}
            clock.forward(minutes=61)
        assert (faults.asked("/login"), faults.asked("/refresh-token")) == (1, 2)
    finally:
        await service.close()


async def test_a_wrong_password_is_tried_once_and_never_shown(world: World):
    faults = Faults()
    given = {**LOGIN, "DIFY_METRIC_DIFY_PASSWORD": "not-the-password"}
    service = a_service(world, given, faults=faults)
    try:
        with capture_logs() as said:
            for _ in range(3):
                pulls = await service.pull()
        assert {(pull.stream, pull.error_class) for pull in pulls} == {("apps", "unauthorized")}
        assert faults.asked("/login") == 1
        problem = next(line["problem"] for line in said if line["event"] == "pull failed")
        assert "correct dify_email and dify_password, then start again" in problem
        written = json.dumps(said, default=str)
        assert "not-the-password" not in written
        assert base64.b64encode(b"not-the-password").decode() not in written
    finally:
        await service.close()


async def test_an_account_that_may_not_read_chats_brings_the_rest(world: World):
    given = {"DIFY_METRIC_DIFY_EMAIL": "normal@example.com", "DIFY_METRIC_DIFY_PASSWORD": "normal-Passw0rd"}
    service = a_service(world, given)
    try:
        pulls = await service.pull()
        failed = {(pull.stream, pull.error_class) for pull in pulls if pull.error_class}
        store = Shelf(service.store)
        assert failed == {("conversations", "forbidden")}
        assert not store.of(Message)
        assert set(store.of(Run)) == {k for k, run in world.runs.items() if run.triggered_from != "debugging"}
    finally:
        await service.close()


async def test_a_portal_in_front_that_knows_no_dify_is_told_apart(world: World):
    faults = Faults()
    faults.html_error("", 200, times=EVER)
    service = a_service(world, LOGIN, faults=faults)
    try:
        with capture_logs() as said:
            pulls = await service.pull()
        assert [pull.error_class for pull in pulls] == ["unavailable"]
        assert any("check dify_url and dify_path_prefix" in line.get("problem", "") for line in said)
    finally:
        await service.close()
