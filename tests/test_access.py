"""The service behind its guard: no route without one, and each opens to the scope it declares and to no other."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from structlog.testing import capture_logs

from collector.access import EVERYTHING, Scope, Sight
from collector.app import Service
from collector.faces.guard import declared, needs, seal
from collector.settings import Settings
from collector.settings.configuration import load_settings
from tests.builders import NOON, a_run, an_app

ELSEWHERE = "0.0.0.0:9180"
OPEN = {"/healthz", "/readyz"}


def settings_of(folder: Path, **more: object) -> Settings:
    return load_settings({"store": str(folder / "t.duckdb"), **more}, {})


@asynccontextmanager
async def served(settings: Settings) -> AsyncIterator[tuple[Service, httpx.AsyncClient]]:
    service = Service(settings, clock=lambda: NOON)
    web = httpx.ASGITransport(service.web(), raise_app_exceptions=False)
    try:
        async with httpx.AsyncClient(transport=web, base_url="http://collector") as client:
            yield service, client
    finally:
        await service.close()


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[tuple[Service, httpx.AsyncClient]]:
    """A service that other machines can reach."""
    async with served(settings_of(tmp_path, listen=ELSEWHERE)) as both:
        yield both


def a_key(service: Service, *scopes: str, sight: Sight = EVERYTHING) -> dict[str, str]:
    """The header of a new key."""
    return {"Authorization": f"Bearer {service.keyring.create('x', scopes, now=NOON, sight=sight)[1]}"}


def operations(service: Service) -> Iterator[tuple[str, str, list[dict[str, list[str]]]]]:
    """Method, path and declared security of everything in the OpenAPI document."""
    for path, methods in service.web().openapi()["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation.get("security", [])


async def test_every_operation_declares_its_scope_and_keeps_to_it(guarded):
    service, client = guarded
    keys = {scope: a_key(service, scope) for scope in Scope}
    for method, path, security in operations(service):
        url = re.sub(r"{\w+}", "x", path)
        nobody = (await client.request(method, url)).status_code
        if path in OPEN:
            assert (security, nobody) == ([], 200), path
            continue
        assert [set(each) for each in security] == [{"key"}, {"password"}], f"{method} {path} declares no scope"
        (scopes,) = {tuple(scopes) for each in security for scopes in each.values()}
        assert len(scopes) <= 1
        assert nobody == 401, f"{method} {path}"
        for scope, header in keys.items():
            is_let_in = (await client.request(method, url, headers=header)).status_code not in (401, 403)
            assert is_let_in == (not scopes or scope in (*scopes, Scope.ADMIN)), f"{method} {path} by {scope}"


async def test_pages_that_are_in_no_document_are_guarded_too(guarded):
    service, client = guarded
    hidden = [route.path for route, _ in declared(service.web().routes) if not getattr(route, "include_in_schema", 1)]
    open_to_all = {"/", "/page/{version}/{path:path}"}
    assert set(hidden) >= {"/docs", "/openapi.json", *open_to_all}
    for path in set(hidden) - open_to_all:
        assert (await client.get(path)).status_code == 401
        assert (await client.get(path, headers=a_key(service, "read"))).status_code == 200


async def test_a_refusal_says_how_to_come_back(guarded):
    service, client = guarded
    nobody = await client.get("/api/v1/measures")
    other = await client.get("/api/v1/measures", headers=a_key(service, "ingest"))

    assert nobody.headers["content-type"] == "application/problem+json"
    assert nobody.headers.get_list("www-authenticate") == [
        'Bearer realm="dify-metric"',
        'Basic realm="dify-metric", charset="UTF-8"',
    ]
    assert "key create --scope read" in nobody.json()["detail"]
    assert (other.status_code, other.json()["status"]) == (403, 403)
    assert "takes a key with scope read" in other.json()["detail"]
    assert 'error="insufficient_scope"' in other.headers["www-authenticate"]


async def test_a_browser_s_password_will_do(guarded):
    service, client = guarded
    token = a_key(service, "read")["Authorization"].removeprefix("Bearer ")
    assert (await client.get("/docs", auth=("anyone", token))).status_code == 200
    assert (await client.get("/docs", auth=("anyone", "wrong"))).status_code == 401


async def test_who_tries_keys_out_is_told_to_wait(guarded):
    _, client = guarded
    answers = [await client.get("/docs", auth=("", f"try {number}")) for number in range(12)]
    assert [answer.status_code for answer in answers] == [401] * 10 + [429] * 2
    assert int(answers[-1].headers["retry-after"]) > 0


async def test_health_is_open_and_tells_strangers_no_more_than_that(guarded):
    service, client = guarded
    service.put([an_app(), a_run()])
    await service.pull()

    assert (await client.get("/healthz")).status_code == 200
    assert (await client.get("/readyz")).json() == {"status": "ready", "pulls": []}


async def test_on_this_machine_nobody_is_asked(tmp_path: Path):
    async with served(settings_of(tmp_path)) as (service, client):
        for method, path, _ in operations(service):
            assert (await client.request(method, path)).status_code not in (401, 403)


@pytest.mark.parametrize(
    ("listen", "access", "is_open"),
    [
        ("127.0.0.1:1", "auto", True),
        ("[::1]:1", "auto", True),
        ("localhost:1", "auto", True),
        ("0.0.0.0:1", "auto", False),
        ("[::]:1", "auto", False),
        ("192.0.2.1:1", "auto", False),
        ("127.0.0.1:1", "keys", False),
        ("0.0.0.0:1", "open", True),
    ],
)
def test_when_keys_are_asked_for(listen: str, access: str, is_open: bool):
    assert load_settings({"listen": listen, "access": access}, {}).is_open is is_open


async def test_a_token_of_the_settings_guards_what_it_is_for(tmp_path: Path):
    async with served(settings_of(tmp_path, ingest_token="s3cret")) as (_, client):
        sent = [
            (await client.post("/api/v1/ingest", content=b"{}", headers={"Authorization": shown})).status_code
            for shown in ("", "Bearer wrong", "Basic czNjcmV0", "Bearer s3cret")
        ]
        assert sent == [401, 401, 200, 200]
        assert (await client.get("/api/v1/measures")).status_code == 200
        assert (await client.get("/api/v1/keys")).status_code == 401


class TestKeys:
    async def test_are_made_listed_and_revoked(self, guarded):
        service, client = guarded
        admin = a_key(service, "admin")
        wish = {"name": "team", "scopes": ["read"], "apps": ["shop"], "expires_at": "2027-01-01T00:00:00Z"}
        made = await client.post("/api/v1/keys", json=wish, headers=admin)
        token = {"Authorization": f"Bearer {made.json()['token']}"}
        listed = (await client.get("/api/v1/keys", headers=admin)).json()["keys"]

        assert (made.status_code, made.headers["cache-control"]) == (201, "no-store")
        assert [key["name"] for key in listed] == ["x", "team"]
        assert listed[1] == {name: value for name, value in made.json().items() if name != "token"}
        assert (await client.get("/api/v1/measures", headers=token)).status_code == 200

        for _ in range(2):
            gone = await client.delete(f"/api/v1/keys/{made.json()['id']}", headers=admin)
            assert (gone.status_code, gone.json()["state"]) == (200, "revoked")
        refused = await client.get("/api/v1/measures", headers=token)
        assert (refused.status_code, "is revoked" in refused.json()["detail"]) == (401, True)
        assert (await client.delete("/api/v1/keys/nobody", headers=admin)).status_code == 400

    @pytest.mark.parametrize(
        ("wish", "field"),
        [
            ({"name": "x"}, "scopes"),
            ({"name": "x", "scopes": ["reed"]}, "scopes"),
            ({"name": "x", "scopes": ["ingest"], "apps": ["a"]}, "scopes"),
            ({"name": "", "scopes": ["read"]}, "name"),
            ({"name": "x", "scopes": ["read"], "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
            ({"name": "x", "scopes": ["read"], "app": ["a"]}, "app"),
        ],
    )
    async def test_a_wish_that_cannot_be_names_its_field(self, guarded, wish: dict[str, Any], field: str):
        service, client = guarded
        answer = await client.post("/api/v1/keys", json=wish, headers=a_key(service, "admin"))
        assert (answer.status_code, answer.json()["field"]) == (400, field)
        assert len(service.keyring) == 1

    async def test_outlive_the_service_with_their_last_use(self, tmp_path: Path):
        async with served(settings_of(tmp_path, listen=ELSEWHERE)) as (service, client):
            header = a_key(service, "read")
            await client.get("/api/v1/measures", headers=header)
        async with served(settings_of(tmp_path, listen=ELSEWHERE)) as (service, client):
            (key,) = service.keyring
            assert key.last_used_at == NOON
            assert (await client.get("/api/v1/measures", headers=header)).status_code == 200


class TestPagesOfOtherSites:
    """A browser on this machine can reach us; what it was told to send by somebody else's page is not obeyed."""

    @pytest.mark.parametrize(
        "headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}]
    )
    async def test_may_change_nothing(self, tmp_path: Path, headers: dict[str, str]):
        async with served(settings_of(tmp_path)) as (_, client):
            sent = await client.post("/api/v1/keys", json={"name": "x", "scopes": ["admin"]}, headers=headers)
        assert (sent.status_code, "another site" in sent.json()["detail"]) == (403, True)

    async def test_our_own_page_may(self, tmp_path: Path):
        async with served(settings_of(tmp_path)) as (_, client):
            sent = await client.post("/api/v1/pull", headers={"Origin": "http://collector"})
        assert sent.status_code == 409  # no Dify is set


def test_a_route_that_says_nothing_stops_the_service():
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.add_api_route("/a", lambda: None, dependencies=[needs(Scope.READ)])
    seal(app)
    app.add_api_route("/b", lambda: None)
    with pytest.raises(RuntimeError, match="/b says nothing"):
        seal(app)


async def test_what_was_done_and_by_whom_is_logged(guarded):
    service, client = guarded
    header = a_key(service, "admin")
    with capture_logs() as lines:
        made = (await client.post("/api/v1/keys", json={"name": "t", "scopes": ["read"]}, headers=header)).json()
        await client.delete(f"/api/v1/keys/{made['id']}", headers=header)
        await client.post("/api/v1/pull", headers=header)
        await client.get("/api/v1/backfill", headers=header)
        await client.get("/docs", headers={"Authorization": "Bearer wrong"})

    assert [line["event"] for line in lines] == ["key made", "key revoked", "asked", "wrong key"]
    assert [line.get("by") for line in lines] == ["x", "x", "x", None]
    assert lines[2]["what"] == "POST /api/v1/pull"
    assert made["token"] not in str(lines)
