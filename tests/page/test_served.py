"""How the page is served: kept for good by browsers, packed, and with a policy that lets nothing else in."""

from __future__ import annotations

import gzip
import re

import httpx
import pytest
from fastapi import FastAPI
from hatchling.builders.wheel import WheelBuilder

from collector.clock import utc_now
from collector.faces import page
from collector.faces.admission import Admission
from collector.faces.guard import guard, seal
from tests.conftest import ROOT


@pytest.fixture
async def client():
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    guard(app, Admission(is_open=False, clock=utc_now))
    app.include_router(page.router("Asia/Shanghai"))
    seal(app)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://collector") as found:
        yield found


async def test_the_page_needs_no_key_and_holds_nothing_that_runs(client: httpx.AsyncClient):
    first = await client.get("/")
    assert first.status_code == 200
    policy = dict(each.split(" ", 1) for each in first.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert {policy[name] for name in ("script-src", "style-src", "connect-src")} == {"'self'"}
    assert "unsafe" not in first.headers["content-security-policy"]
    assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=|https?:", first.text)
    assert 'data-zone="Asia/Shanghai" data-door="closed"' in first.text
    assert first.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    ("accepted", "language"),
    [("zh-CN,zh;q=0.9,en;q=0.8", "zh"), ("de,en;q=0.5,zh;q=0.7", "zh"), ("en-GB", "en"), ("fr", "en"), ("", "en"),
     ("zh;q=0", "en"), ("zh;q=x, en", "en")],
)  # fmt: skip
async def test_it_begins_in_the_language_that_is_asked_for(client: httpx.AsyncClient, accepted: str, language: str):
    first = await client.get("/", headers={"Accept-Language": accepted})
    assert f'<html lang="{language}"' in first.text
    assert "Accept-Language" in first.headers["vary"]


async def test_everything_it_names_is_there_and_kept_for_good(client: httpx.AsyncClient):
    first = (await client.get("/", headers={"Accept-Encoding": "identity"})).text
    named = set(re.findall(r'(?:src|href)="(page/[^"]+)"', first))
    assert len(named) > 20
    for path in named:
        plain = await client.get(path, headers={"Accept-Encoding": "identity"})
        assert plain.status_code == 200, path
        assert "immutable" in plain.headers["cache-control"]
        assert plain.headers["x-content-type-options"] == "nosniff"
        again = await client.get(path, headers={"If-None-Match": plain.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    script = next(path for path in named if path.endswith("uPlot.iife.min.js"))
    async with client.stream("GET", script, headers={"Accept-Encoding": "gzip"}) as packed:
        raw = b"".join([chunk async for chunk in packed.aiter_raw()])
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(raw) == (page.FOLDER / "vendor" / "uPlot.iife.min.js").read_bytes()


async def test_every_module_is_named_so_that_all_are_fetched_at_once(client: httpx.AsyncClient):
    first = (await client.get("/")).text
    modules = {path.relative_to(page.FOLDER).as_posix() for path in (page.FOLDER / "js").rglob("*.js")}
    assert modules == set(re.findall(rf"page/{page.digest()}/(js/[\w/]+\.js)", first))


@pytest.mark.parametrize("path", ["page/0000000000000000/js/main.js", "page/{}/index.html", "page/{}/%2e%2e/a.js",
                                  "page/{}/__init__.py", "page/{}/nothing.js"])  # fmt: skip
async def test_what_is_not_of_this_version_is_not_there(client: httpx.AsyncClient, path: str):
    assert (await client.get(path.format(page.digest()))).status_code == 404


def test_what_is_from_elsewhere_says_from_where_and_by_which_right():
    vendor = page.FOLDER / "vendor"
    told = (vendor / "README").read_text()
    version = re.search(r"\(v([\d.]+)\)", (vendor / "uPlot.iife.min.js").read_text())
    assert version
    assert f"uPlot {version[1]}, MIT" in told
    assert "MIT License" in (vendor / "LICENSE").read_text()


def test_the_wheel_has_it():
    packed = {each.distribution_path for each in WheelBuilder(str(ROOT)).recurse_included_files()}
    assert {f"collector/faces/page/{name}" for name in page.files()} <= packed
    assert "collector/faces/page/vendor/LICENSE" in packed


def test_no_file_is_longer_than_one_can_read():
    own = [path for path in page.FOLDER.rglob("*") if path.suffix in (".js", ".css") and path.parent.name != "vendor"]
    assert not [path.relative_to(ROOT) for path in own if len(path.read_text().splitlines()) > 400]
