"""A real Chromium, and services for it to look at. Whatever a story is about, no page may log an error, or ask anybody
but its own service.

The fixtures of pytest-playwright, but for a module: its own last for the session, and leave an event loop running that
the stories of other modules cannot share.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, BrowserType, Page, Playwright, sync_playwright

from tests.servers.ports import free_port
from tests.serving import Dify, Serving, a_dify, a_service

ADMIN = "an-admin-token-nobody-may-see"
HOSTILE = ("<script>window.hacked=1</script>", '"><img src=x onerror="window.hacked=1">')
"""What two of the apps are called."""

ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"),
    *("--no-first-run", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
]

DESK: dict[str, Any] = {
    "locale": "en-US",
    "timezone_id": "Asia/Shanghai",
    "viewport": {"width": 1440, "height": 900},
}
"""The browser of a reader who says no more."""


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as found:
        yield found


@pytest.fixture(scope="module")
def browser_type(playwright: Playwright) -> BrowserType:
    return playwright.chromium


@pytest.fixture(scope="module")
def launch_browser(browser_type: BrowserType, server: Callable[[str], str]) -> Callable[..., Browser]:
    return lambda **more: browser_type.launch(executable_path=server("chromium"), args=ARGUMENTS, **more)


@pytest.fixture(scope="module")
def browser(launch_browser: Callable[..., Browser]) -> Iterator[Browser]:
    found = launch_browser()
    yield found
    found.close()


@pytest.fixture(scope="module")
def browser_context_args() -> dict[str, Any]:
    return {}


@dataclass
class Site:
    """A service with a page, and the Dify it reads."""

    folder: Path
    settings: dict[str, str]
    port: int = field(default_factory=free_port)
    dify: Dify | None = None
    _running: ExitStack = field(default_factory=ExitStack)
    serving: Serving | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.serving = self._running.enter_context(a_service(self.folder, self.port, **self.settings))

    def stop(self) -> None:
        self._running.close()

    def send(self, path: str, body: object = None) -> Any:
        shown = {"Authorization": f"Bearer {ADMIN}"}
        answer = httpx.post(f"{self.url}{path}", json=body, headers=shown, trust_env=False, timeout=60)
        assert answer.is_success, answer.text
        return answer.json()

    def ask(self, path: str) -> Any:
        assert self.serving
        answer = self.serving.ask(path, ADMIN)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A service that asks for a key, over a Dify two of whose apps have names that mean harm."""
    with a_dify(days=4, runs_per_day=25) as dify:  # over a weekend there are days with hardly a call
        for app, name in zip(list(dify.world.apps.values())[::7], HOSTILE, strict=False):
            app.name = name
        settings = {**dify.settings, "DIFY_METRIC_ACCESS": "keys", "DIFY_METRIC_ADMIN_TOKEN": ADMIN}
        settings |= {"DIFY_METRIC_PULL_INTERVAL": "1h", "DIFY_METRIC_READ_COMPLETIONS": "true"}
        found = Site(tmp_path_factory.mktemp("site"), settings, dify=dify)
        found.start()
        found.send("/api/v1/pull")
        yield found
        found.stop()


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A service that was just installed: no Dify is set."""
    found = Site(tmp_path_factory.mktemp("bare"), {})
    found.start()
    yield found
    found.stop()


class Reader:
    """Opens pages. `requests` are the addresses they asked for, `errors` what they logged."""

    def __init__(self, new_context: Callable[..., BrowserContext]) -> None:
        self._new_context = new_context
        self.requests: list[str] = []
        self.errors: list[str] = []

    def context(self, **options: Any) -> BrowserContext:
        context = self._new_context(**{**DESK, **options})
        context.set_default_timeout(30_000)
        context.on("request", lambda request: self.requests.append(request.url))
        context.on("console", lambda line: self.errors.append(line.text) if line.type in ("error", "warning") else None)
        context.on("weberror", lambda error: self.errors.append(str(error.error)))
        return context

    def open(self, site: Site, path: str = "", *, key: str | None = ADMIN, **options: Any) -> Page:
        """A page of a site in a fresh browser, signed in, with its numbers there."""
        context = self.context(**options)
        if key:
            context.add_init_script(showing(key))
        page = context.new_page()
        page.goto(f"{site.url}/{path}")
        if key:
            settled(page)
        return page


def showing(key: str) -> str:
    """A script that signs in."""
    return f"if (location.protocol === 'http:') sessionStorage.setItem('dify-metric-key', {json.dumps(key)})"


def settled(page: Page) -> None:
    """Wait until everything that was asked for is shown."""
    page.wait_for_selector('main[aria-busy="false"]')


@pytest.fixture
def reader(new_context: Callable[..., BrowserContext], request: pytest.FixtureRequest) -> Iterator[Reader]:
    """Who opens pages. Afterwards: nobody outside was asked, and nothing complained of but what a story expects."""
    found = Reader(new_context)
    yield found
    expected = [mark.args[0] for mark in request.node.iter_markers("complains")]
    outside = [url for url in found.requests if not url.startswith(("http://127.0.0.1:", "data:"))]
    assert outside == []
    assert [error for error in found.errors if not any(each in error for each in expected)] == []
