"""The page in a real browser: what it shows is what REST says, and it can be read, turned and reached by everyone."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.conftest import ROOT
from tests.page.conftest import ADMIN, HOSTILE, Reader, Site, settled, showing

pytestmark = pytest.mark.timeout(240)

AXE = ROOT / "tests" / "page" / "axe" / "node_modules" / "axe-core" / "axe.min.js"
VIEWS = ("overview", "apps", "models", "users", "knowledge", "reconciliation", "sources")


def told(page: Page, reader: Reader, site: Site, path: str) -> Any:
    """What REST says to the last question of that kind that the page asked."""
    asked = [url for url in reader.requests if f"/api/v1/{path}" in url][-1]
    return site.ask(asked.removeprefix(site.url))


def tile(page: Page, measure: str) -> str:
    """The exact number of a tile."""
    return page.locator(f'.value[data-measure="{measure}"]').first.get_attribute("title") or ""


def number(text: str) -> float:
    """A number as people read it: 1,234 or 12.5% or 850 ms or 2 min 5 s."""
    sizes = {"ms": 1e-3, "s": 1, "min": 60, "h": 3600, "%": 1e-2}
    parts = re.findall(r"([\d,.]+)\s*(ms|min|s|h|%)?", text)
    return sum(float(value.replace(",", "")) * sizes.get(unit, 1) for value, unit in parts)


def cells(page: Page, caption: str, column: int) -> list[str]:
    """A column of the table with that caption."""
    rows = page.locator("table", has=page.locator("caption", has_text=re.compile(f"^{caption}$"))).locator("tbody tr")
    return [" ".join(row.locator("th, td").nth(column).inner_text().split()) for row in rows.all()]


def test_it_shows_what_rest_says(site: Site, reader: Reader):
    page = reader.open(site, "#/overview?period=7d&tz=Asia/Shanghai")
    expect(page.locator("h1")).to_have_text("Overview")
    said = told(page, reader, site, "query?measure=requests")
    totals = said["totals"][0]

    for name in ("runs", "messages", "tokens", "active_users"):
        assert totals[name] > 0
        assert number(tile(page, name)) == totals[name], name
    for name in ("invocation_failure_ratio", "response_time_p95", "run_elapsed_p95"):
        assert number(tile(page, name)) == pytest.approx(totals[name], rel=0.01, abs=6e-4), name
    cost = [row for row in told(page, reader, site, "query?measure=cost")["totals"] if row["currency"]]
    shown = [each.get_attribute("title") or "" for each in page.locator('.value[data-measure="cost"]').all()]
    assert [number(each) for each in shown] == pytest.approx([float(row["cost"]) for row in cost], abs=1e-6)

    apps = told(page, reader, site, "apps?")["rows"]
    assert cells(page, "Apps called most", 0) == [row["app_name"] for row in apps]
    assert [number(each) for each in cells(page, "Apps called most", 1)] == [row["invocations"] for row in apps]
    drawn = page.locator("figure.chart", has_text="Tokens").first
    drawn.get_by_text("As a table").click()
    steps = drawn.locator("tbody tr")
    assert steps.count() == len(said["rows"]) == 7
    assert [number(row.locator("td").nth(1).inner_text()) for row in steps.all()] == [
        row["input_tokens"] or 0 for row in said["rows"]
    ]
    assert page.locator(".watermark").inner_text().startswith("Complete until ")
    assert drawn.locator("canvas").evaluate("c => c.width * c.height") > 0


def test_a_mark_stands_at_what_is_partial_and_leads_to_its_meaning(site: Site, reader: Reader):
    page = reader.open(site, "#/overview?period=7d")
    asked = ("query?measure=requests", "query?measure=cost")
    said = {name for path in asked for name in told(page, reader, site, path)["flags"]}
    known = {each["name"]: each for each in site.ask("/api/v1/measures")["flags"]}
    named = [known[name] for name in said if name in known]
    assert named

    meanings = page.locator("#notes").inner_text()
    assert all(each["title"] in meanings and each["help"] in meanings for each in named)
    mark = page.locator(".tile", has=page.locator('[data-measure="cost"]')).locator("button.mark").first
    assert any(each["title"] in (mark.get_attribute("title") or "") for each in named)
    mark.click()
    expect(page.locator("#notes")).to_be_focused()


def test_apps_are_sorted_searched_paged_and_opened(site: Site, reader: Reader):
    page = reader.open(site, "#/apps?period=7d")

    def listed() -> list[str]:
        return [row["app_name"] for row in told(page, reader, site, "apps?")["rows"]]

    assert cells(page, "Apps", 0) == listed()
    head = page.locator("th", has_text="Tokens")
    head.locator("button.sort").click()
    expect(head).to_have_attribute("aria-sort", "descending")
    settled(page)
    assert "order=-tokens" in page.url
    by_tokens = [number(each) for each in cells(page, "Apps", 5)]
    assert by_tokens == sorted(by_tokens, reverse=True) != sorted(by_tokens)
    head.locator("button.sort").click()
    expect(head).to_have_attribute("aria-sort", "ascending")

    page.get_by_role("searchbox").fill("script")
    expect(page.locator("tbody tr")).to_have_count(1)
    assert cells(page, "Apps", 0) == [HOSTILE[0]] == listed()
    page.locator("tbody th a").click()
    expect(page.locator("h1")).to_have_text(HOSTILE[0])
    settled(page)
    for name in HOSTILE:
        app_id = next(app.id for app in site.dify.world.apps.values() if app.name == name) if site.dify else ""
        page.goto(f"{site.url}/#/app/{app_id}?period=7d")
        expect(page.locator("h1")).to_have_text(name)
        settled(page)
        said = told(page, reader, site, "query?measure=requests")["totals"][0]
        assert number(tile(page, "tokens")) == said["tokens"]
    assert page.evaluate("window.hacked") is None
    assert page.locator("#page img, #page script").count() == 0

    page.goto(f"{site.url}/#/app/{quote('no such/app')}?period=7d")
    expect(page.locator(".empty").first).to_contain_text("No app with this id")


@pytest.mark.parametrize(
    ("view", "resource", "caption", "column"),
    [
        ("models", "metering/models?", "Models and cost", "model_name"),
        ("users", "business/users?", "Users", "user_name"),
        ("knowledge", "metering/datasets?", "Knowledge", "dataset_name"),
    ],
)
def test_the_other_lists_are_those_of_rest(
    site: Site, reader: Reader, view: str, resource: str, caption: str, column: str
):
    page = reader.open(site, f"#/{view}?period=7d")
    rows = told(page, reader, site, resource)["rows"]
    place = 1 if view == "users" else 0
    assert rows
    assert cells(page, caption, place) == [row[column] or row["user_id"] for row in rows]


def test_differences_come_with_their_causes(site: Site, reader: Reader):
    page = reader.open(site, "#/reconciliation?period=7d")
    said = told(page, reader, site, "reconciliation?")
    expect(page.locator(".banner")).to_contain_text(
        f"{said['states']['equal']:,} totals agree" if not said["states"]["open"] else f"{said['states']['open']:,} of "
    )
    page.get_by_role("button", name=re.compile("^Explained")).click()
    settled(page)
    said = told(page, reader, site, "reconciliation?")
    assert said["rows"]
    assert len(cells(page, "Differences", 0)) == min(len(said["rows"]), 50)
    titles = {cause["title"] for cause in said["causes"]}
    shown = page.locator("#causes-title ~ dl dt").all_inner_texts()
    assert set(shown) == titles


def test_sources_say_how_they_stand_and_can_be_tried(site: Site, reader: Reader):
    page = reader.open(site, "#/sources")
    (source,) = told(page, reader, site, "sources")["sources"]
    assert (source["way"], source["state"]) == ("console", "up")
    expect(page.locator(".source .state")).to_contain_text("Answers")
    assert site.dify
    expect(page.locator(".source .place")).to_have_text(site.dify.url)
    page.get_by_role("button", name="Try now").click()
    expect(page.locator(".results li.good")).to_contain_text("signed in to Dify")


def test_what_is_chosen_stands_in_the_address_and_stays(site: Site, reader: Reader):
    context = reader.context(locale="zh-CN", color_scheme="light")
    context.add_init_script(showing(ADMIN))
    page = context.new_page()
    page.goto(site.url)
    settled(page)
    assert page.locator("html").get_attribute("lang") == "zh-CN"  # as Accept-Language says
    expect(page.locator("h1")).to_have_text("总览")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")

    before = datetime.now(UTC).date()
    page.get_by_text("30 天", exact=True).click()
    settled(page)
    asked = parse_qs(urlsplit([url for url in reader.requests if "measure=requests" in url][-1]).query)
    days = before, datetime.now(UTC).date()  # midnight may come in between
    assert asked["since"] in [[str(day - timedelta(days=29))] for day in days]
    page.get_by_label("时区").select_option("Pacific/Kiritimati")
    settled(page)
    assert "tz=Pacific%2FKiritimati" in [url for url in reader.requests if "measure=requests" in url][-1]
    assert told(page, reader, site, "query?measure=requests")["timezone"] == "Pacific/Kiritimati"
    page.get_by_label("主题").select_option("dark")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light
    page.get_by_label("语言").select_option("en")
    expect(page.locator("h1")).to_have_text("Overview")
    chosen = ("period=30d", "tz=Pacific%2FKiritimati", "theme=dark", "lang=en")
    assert all(each in page.url for each in chosen)

    page.go_back()
    expect(page.locator("h1")).to_have_text("总览")
    page.go_forward()
    expect(page.locator("h1")).to_have_text("Overview")
    page.goto("about:blank")
    page.goto(site.url)  # remembered, where the address says nothing
    settled(page)
    assert all(each in page.url for each in chosen)

    page.get_by_text("Custom", exact=True).click()
    page.get_by_label("From").fill("2026-01-05")
    page.get_by_label("to", exact=True).fill("2026-01-06")
    expect(page.locator(".tiles")).to_be_visible()
    settled(page)
    assert "since=2026-01-05&until=2026-01-06" in [url for url in reader.requests if "measure=requests" in url][-1]


@pytest.mark.complains("Failed to load resource")
def test_it_outlives_a_restart_of_the_collector(site: Site, reader: Reader):
    page = reader.open(site, "#/overview?period=7d")
    tokens = tile(page, "tokens")
    page.evaluate("document.querySelector('.tile').mine = true")
    site.stop()
    page.get_by_role("button", name="Live").click()  # paused, and on again: it asks at once
    page.get_by_role("button", name="Paused").click()
    expect(page.locator("main > .banner")).to_contain_text("does not answer")
    assert tile(page, "tokens") == tokens
    site.start()
    expect(page.locator("main > .banner")).to_have_count(0, timeout=60_000)
    assert tile(page, "tokens") == tokens
    assert page.evaluate("document.querySelector('.tile').mine")  # nothing was drawn anew that did not change


@pytest.mark.complains("401")
@pytest.mark.complains("403")
def test_who_has_no_key_is_asked_for_one_and_sees_what_it_shows(site: Site, reader: Reader):
    page = reader.open(site, "#/apps?period=7d", key=None)
    expect(page.locator("h1")).to_have_text("Sign in")
    assert not [url for url in reader.requests if "/api/" in url]  # it knows that nobody would answer
    page.get_by_label("Key").fill("not-a-key")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("not accepted")

    assert site.dify
    app = site.dify.world.app_named("HR helpdesk")
    made = site.send("/api/v1/keys", {"name": "one app", "scopes": ["read"], "apps": [app.id]})
    page.get_by_label("Key").fill(made["token"])
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    assert cells(page, "Apps", 0) == ["HR helpdesk"]
    assert page.evaluate("localStorage.getItem('dify-metric')").find("dm_") == -1
    page.get_by_role("link", name="Sources").click()
    expect(page.locator(".fault")).to_contain_text("only some apps")
    page.get_by_role("button", name="Sign out").click()
    expect(page.locator("h1")).to_have_text("Sign in")
    assert page.evaluate("sessionStorage.length") == 0


def test_the_first_minutes(bare: Site, site: Site, reader: Reader):
    page = reader.open(bare)
    expect(page.get_by_role("heading", name="Where is your Dify?")).to_be_visible()
    assert "dify-metric demo" in page.locator(".start").inner_text()
    dify = site.dify
    assert dify
    page.get_by_label("Address of Dify").fill(dify.url)
    page.get_by_label("Workspace id").fill(dify.world.workspace_id)
    page.get_by_label("Admin key (").fill("wrong")
    page.get_by_role("button", name="Test the connection").click()
    expect(page.locator(".results li.bad")).to_be_visible()
    page.get_by_label("Admin key (").fill(dify.settings["DIFY_METRIC_DIFY_ADMIN_KEY"])
    page.get_by_role("button", name="Test the connection").click()
    expect(page.locator(".results li.good")).to_contain_text("signed in to Dify")
    lines = page.locator(".start pre").first.inner_text()
    assert f'dify_url = "{dify.url}"' in lines
    assert f'dify_workspace_id = "{dify.world.workspace_id}"' in lines
    assert dify.settings["DIFY_METRIC_DIFY_ADMIN_KEY"] not in page.locator(".start").inner_text()


def test_it_fits_a_phone_and_needs_no_mouse(site: Site, reader: Reader):
    page = reader.open(site, "#/overview?period=7d", viewport={"width": 390, "height": 844}, reduced_motion="reduce")
    for view in VIEWS:
        page.get_by_role("navigation").locator(f'a[href^="#/{view}"]').click()
        settled(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, view
    page.goto(f"{site.url}/#/overview?period=7d")
    page.reload()
    settled(page)
    reached = []
    for _ in range(14):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.outerHTML.slice(0, 60)"))
    assert "skip" in reached[0]
    assert any('href="#/apps' in each for each in reached)
    page.locator('input[name="period"]:checked').focus()
    page.keyboard.press("ArrowRight")
    settled(page)
    assert "period=30d" in page.url
    expect(page.locator('input[name="period"]:checked')).to_be_focused()


@pytest.fixture(scope="module")
def axe() -> str:
    if not AXE.exists():
        pytest.skip("no axe-core here; `npm ci` in tests/page/axe brings it, as `make test` does where there is npm")
    return AXE.read_text()


def faults(page: Page, axe: str, *rules: str) -> list[str]:
    """What axe-core finds, by these rules or by all."""
    page.evaluate(axe)
    only = {"runOnly": list(rules)} if rules else {}
    found: dict[str, Any] = page.evaluate("how => axe.run(document, how)", {"resultTypes": ["violations"], **only})
    return [
        f"{each['id']} ({each['impact']}): {node['html'][:120]}"
        for each in found["violations"]
        for node in each["nodes"]
    ]


def test_axe_finds_nothing_in_any_view(site: Site, reader: Reader, axe: str):
    app_id = next(iter(site.dify.world.apps)) if site.dify else ""
    page = reader.open(site, "#/overview?period=7d&theme=light&lang=en")
    look_at(page, site, axe, (*VIEWS, f"app/{app_id}"))


THEME = """() => {
  const own = getComputedStyle(document.documentElement);
  const plot = document.querySelector(".plot").$plot;
  return {
    theme: document.documentElement.dataset.theme,
    scheme: own.colorScheme,
    ground: getComputedStyle(document.body).backgroundColor,
    charts: plot.axes[0].stroke() === own.getPropertyValue("--muted").trim() && plot.axes[0].stroke(),
  };
}"""
LIGHT = {"theme": "light", "scheme": "light", "ground": "rgb(244, 246, 248)", "charts": "#55616e"}
DARK = {"theme": "dark", "scheme": "dark", "ground": "rgb(14, 19, 24)", "charts": "#a0adba"}


def shows(page: Page, theme: dict[str, str]) -> None:
    """Wait until it does. The page's own rules forbid to evaluate text in it, so it is looked at from outside."""
    until = time.monotonic() + 30
    while (found := page.evaluate(THEME)) != theme and time.monotonic() < until:
        page.wait_for_timeout(20)
    assert found == theme


def test_the_theme_is_the_systems_until_one_is_chosen(site: Site, reader: Reader):
    context = reader.context(color_scheme="dark")
    context.add_init_script(showing(ADMIN))
    page = context.new_page()
    page.goto(f"{site.url}/#/overview?period=7d")
    settled(page)
    assert page.evaluate(THEME) == DARK
    page.emulate_media(color_scheme="light")
    shows(page, LIGHT)
    page.get_by_label("Theme").select_option("dark")
    shows(page, DARK)
    page.emulate_media(color_scheme="dark")
    page.get_by_label("Theme").select_option("light")
    shows(page, LIGHT)
    page.emulate_media(color_scheme="light")
    page.emulate_media(color_scheme="dark")
    page.wait_for_timeout(100)
    assert page.evaluate(THEME) == LIGHT, "what was chosen stays, whatever the system does"
    page.get_by_label("Theme").select_option("system")
    shows(page, DARK)


@pytest.mark.parametrize(
    ("system", "named", "theme"),
    [("dark", "", "dark"), ("light", "", "light"), ("dark", "?theme=light", "light"), ("light", "?theme=dark", "dark")],
)
def test_the_first_thing_drawn_has_its_theme(site: Site, reader: Reader, system: Any, named: str, theme: str):
    """Before any module has come: of the page nothing is there but its ground."""
    page = reader.context(color_scheme=system).new_page()
    page.route("**/js/main.js", lambda route: route.fulfill(body="", content_type="text/javascript"))
    page.goto(f"{site.url}/#/overview{named}")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == (DARK if theme == "dark" else LIGHT)["ground"]


def test_axe_finds_nothing_in_the_dark(site: Site, reader: Reader, axe: str):
    page = reader.open(site, "#/overview?period=7d&theme=dark&lang=zh")
    look_at(page, site, axe, ("overview", "reconciliation", "sources"), "color-contrast")  # that is all a theme changes


def look_at(page: Page, site: Site, axe: str, views: Iterable[str], *rules: str) -> None:
    for view in views:
        page.goto(f"{site.url}/#/{view}?period=7d")
        page.wait_for_selector(f'[data-key^="{view.split("/")[0]}/"]')
        settled(page)
        assert faults(page, axe, *rules) == [], view


@pytest.mark.complains("401")
def test_axe_finds_nothing_at_the_door_and_in_the_first_minutes(site: Site, bare: Site, reader: Reader, axe: str):
    door = reader.open(site, key=None)
    door.get_by_label("Key").wait_for()
    assert faults(door, axe) == []
    start = reader.open(bare)
    start.locator(".start").wait_for()
    assert faults(start, axe) == []
