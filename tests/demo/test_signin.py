"""Signing in to the simulated console, in the ways of its versions."""

from __future__ import annotations

import httpx

from collector.demo import World
from tests.demo.conftest import ADMIN_KEY, Clock, a_client, credentials, sign_in

APPS = "/console/api/apps"


async def test_the_version_is_told_to_everybody(world: World, clock: Clock) -> None:
    async with a_client(world, clock, version="1.8.0") as client:
        for path in ("/console/api/setup", "/console/api/ping", "/health", APPS, "/v1/info", "/nowhere"):
            assert (await client.get(path)).headers["X-Version"] == "1.8.0"


async def test_before_1_9_2_a_pair_of_bearer_tokens(world: World, clock: Clock) -> None:
    async with a_client(world, clock, version="1.8.0") as client:
        refused = await client.post("/console/api/login", json=credentials())
        login = await client.post("/console/api/login", json=credentials(is_plain=True))
        pair = login.json()["data"]
        answer = await client.get(APPS, headers={"Authorization": f"Bearer {pair['access_token']}"})
        renewed = await client.post("/console/api/refresh-token", json={"refresh_token": pair["refresh_token"]})
        again = await client.post("/console/api/refresh-token", json={"refresh_token": pair["refresh_token"]})

    assert refused.status_code == 401
    assert "set-cookie" not in login.headers
    assert answer.status_code == 200
    assert set(renewed.json()["data"]) == {"access_token", "refresh_token"}
    assert again.status_code == 401


async def test_long_ago_one_bare_token(world: World, clock: Clock) -> None:
    async with a_client(world, clock, version="0.8.0") as client:
        token = (await client.post("/console/api/login", json=credentials(is_plain=True))).json()["data"]
        answer = await client.get(APPS, headers={"Authorization": f"Bearer {token}"})

    assert answer.status_code == 200


async def test_between_1_9_2_and_1_11_cookies_with_a_plain_password(world: World, clock: Clock) -> None:
    async with a_client(world, clock, version="1.10.0") as client:
        login = await client.post("/console/api/login", json=credentials(is_plain=True))
        answer = await client.get(APPS, headers={"X-CSRF-Token": client.cookies["csrf_token"]})

    assert (login.json(), answer.status_code) == ({"result": "success"}, 200)


async def test_over_https_cookies_are_host_cookies(world: World, clock: Clock) -> None:
    async with a_client(world, clock) as client:
        client.base_url = httpx.URL("https://dify")
        await client.post("/console/api/login", json=credentials())
        answer = await client.get(APPS, headers={"X-CSRF-Token": client.cookies["__Host-csrf_token"]})

    assert "access_token" not in client.cookies
    assert answer.status_code == 200


async def test_five_wrong_passwords_lock_out_the_right_one_for_a_day(world: World, clock: Clock) -> None:
    async with a_client(world, clock) as client:
        for _ in range(5):
            wrong = await client.post("/console/api/login", json=credentials(password="guess"))
            assert wrong.status_code == 401
        assert (await client.post("/console/api/login", json=credentials())).status_code == 429
        assert (await client.post("/console/api/login", json=credentials("editor"))).status_code == 200
        clock.forward(hours=24)
        assert (await client.post("/console/api/login", json=credentials())).status_code == 200


async def test_tokens_expire_and_a_refresh_works_once(world: World, clock: Clock) -> None:
    async with a_client(world, clock) as client:
        await sign_in(client)
        old = client.cookies["refresh_token"]
        clock.forward(hours=1)
        expired = await client.get(APPS)
        renewed = await client.post("/console/api/refresh-token")
        answer = await client.get(APPS, headers={"X-CSRF-Token": client.cookies["csrf_token"]})
        client.cookies.clear()
        again = await client.post("/console/api/refresh-token", headers={"Cookie": f"refresh_token={old}"})

    assert (expired.status_code, expired.json()["message"]) == (401, "Token has expired.")
    assert (renewed.status_code, answer.status_code) == (200, 200)
    assert (again.status_code, again.json()["result"]) == (401, "fail")


async def test_a_refresh_token_lives_thirty_days(world: World, clock: Clock) -> None:
    async with a_client(world, clock) as client:
        await sign_in(client)
        token = client.cookies["refresh_token"]
        clock.forward(days=30)
        late = await client.post("/console/api/refresh-token", headers={"Cookie": f"refresh_token={token}"})

    assert late.status_code == 401


async def test_the_admin_key_needs_its_workspace(world: World, clock: Clock) -> None:
    async with a_client(world, clock) as client:
        client.headers["Authorization"] = f"Bearer {ADMIN_KEY}"
        without = await client.get(APPS)
        another = await client.get(APPS, headers={"X-WORKSPACE-ID": "another"})
        found = (await client.get("/console/api/all-workspaces")).json()["data"][0]["id"]
        answer = await client.get(APPS, headers={"X-WORKSPACE-ID": found})

    assert [without.status_code, another.status_code, answer.status_code] == [401, 401, 200]


async def test_the_csrf_token_is_no_access_token(world: World, clock: Clock) -> None:
    async with a_client(world, clock) as client:
        await sign_in(client)
        csrf = client.cookies["csrf_token"]
        answer = await client.get(APPS, headers={"Authorization": f"Bearer {csrf}"})

    assert answer.status_code == 401


async def test_a_portal_may_stand_before_it(world: World, clock: Clock) -> None:
    async with a_client(world, clock, prefix="/ai-portal/proxy") as client:
        assert (await client.get("/ai-portal/proxy/console/api/ping")).status_code == 200
        assert (await client.get("/console/api/ping")).status_code == 404
