"""axe-core looks at every view, in both themes, and finds nothing serious."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page

from tests.conftest import ROOT
from tests.page.conftest import Reader, Site, settled

pytestmark = pytest.mark.timeout(240)

AXE = ROOT / "tests" / "page" / "axe" / "node_modules" / "axe-core" / "axe.min.js"
VIEWS = ("overview", "apps", "models", "users", "knowledge", "reconciliation", "sources")


@pytest.fixture(scope="module")
def axe() -> str:
    if not AXE.exists():
        pytest.skip("no axe-core here; `npm ci` in tests/page/axe brings it, as `make test` does where there is npm")
    return AXE.read_text()


def faults(page: Page, axe: str) -> list[str]:
    page.evaluate(axe)
    found: dict[str, Any] = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{each['id']} ({each['impact']}): {node['html'][:120]}"
        for each in found["violations"]
        for node in each["nodes"]
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_view(site: Site, reader: Reader, axe: str, theme: str):
    app_id = next(iter(site.dify.world.apps)) if site.dify else ""
    page = reader.open(site, f"#/overview?period=7d&theme={theme}&lang={'en' if theme == 'light' else 'zh'}")
    for view in (*VIEWS, f"app/{app_id}"):
        page.goto(f"{site.url}/#/{view}?period=7d")
        page.wait_for_selector(f'[data-key^="{view.split("/")[0]}/"]')
        settled(page)
        assert faults(page, axe) == [], view


@pytest.mark.complains("401")
def test_the_door_and_the_first_minutes(site: Site, bare: Site, reader: Reader, axe: str):
    door = reader.open(site, key=None)
    door.get_by_label("Key").wait_for()
    assert faults(door, axe) == []
    start = reader.open(bare)
    start.locator(".start").wait_for()
    assert faults(start, axe) == []
