"""Every panel that asks REST finds, in the service over a demo world, what its columns name."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from collector.app import Service
from collector.demo import make_world, simulated_dify
from collector.demo.world import World
from collector.settings.configuration import load_settings
from tests.faces.as_grafana import Asking, askings

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
ASKED = [each for each in askings() if not each.is_live]

MAY_BE_EMPTY = {
    "work: Backlog by the hour A",  # the demo has no broker
    "itself: Differences from Dify's totals A",
}


class Site:
    """A service over a pulled demo world, asked as Grafana asks."""

    def __init__(self, world: World, service: Service) -> None:
        self.world, self.app = world, service.web()
        self.choices = {
            "workspace": ".*",
            "app": ".*",
            "model": ".*",
            "dataset": ".*",
            "currency": "usd",
            "one_app": self.busiest(),
            "__from": "2026-11-18T12:00:00.000Z",
            "__to": "2026-11-20T12:00:00.000Z",
            "__timezone": "utc",
        }

    def ask(self, path: str, parameters: list[tuple[str, str]]) -> Any:
        async def asked() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://collector") as client:
                return await client.get(path, params=parameters)

        answer = asyncio.run(asked())
        assert answer.status_code == 200, answer.text
        return answer.json()

    def rows(self, asking: Asking, **choices: str) -> list[dict[str, Any]]:
        chosen = self.choices | choices
        found: list[dict[str, Any]] = self.ask(asking.path(chosen), asking.parameters(chosen))["rows"]
        return found

    def busiest(self) -> str:
        """A chatflow: it has runs and messages."""
        asked = [("measure", "failed_runs"), ("by", "app_id"), ("order", "-failed_runs")]
        asked.append(("where", "app_mode:advanced-chat"))
        return str(self.ask("/api/v1/query", asked)["rows"][0]["app_id"])


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    world = make_world(days=2, runs_per_day=60, now=NOW)
    dify = httpx.ASGITransport(simulated_dify(world, clock=lambda: NOW, admin_key="k" * 16))
    told = {"store": ":memory:", "access": "open", "dify_url": "http://dify", "dify_admin_key": "k" * 16}
    settings = load_settings(told | {"dify_workspace_id": world.workspace_id}, {})
    service = Service(settings, clock=lambda: NOW, transport=dify)

    async def pulled() -> None:
        await service.pull()

    asyncio.run(pulled())
    yield Site(world, service)
    asyncio.run(service.close())


@pytest.mark.parametrize("asking", ASKED, ids=lambda asking: asking.name)
def test_a_panel_finds_its_columns_and_they_hold_what_they_say(site: Site, asking: Asking):
    rows = site.rows(asking)

    kinds = {column["selector"]: column["type"] for column in asking.target["columns"]}
    assert rows or asking.name in MAY_BE_EMPTY
    for row in rows:
        assert kinds.keys() <= row.keys(), kinds.keys() - row.keys()
        for name, kind in kinds.items():
            assert row[name] is None or _is(row[name], kind), (name, kind, row[name])


def test_days_are_cut_where_the_reader_is(site: Site):
    (asking,) = [each for each in ASKED if each.name == "users: Messages and conversations a day A"]

    assert {row["time"][11:] for row in site.rows(asking)} == {"00:00:00+00:00"}
    assert {row["time"][11:] for row in site.rows(asking, __timezone="Asia/Shanghai")} == {"00:00:00+08:00"}


def _is(value: object, kind: str) -> bool:
    if kind == "timestamp":
        return datetime.fromisoformat(str(value)).tzinfo is not None
    if kind == "number":
        return float(str(value)) is not None
    return isinstance(value, str)


def test_one_choice_limits_what_rest_says_as_it_limits_prometheus(site: Site):
    (asking,) = [each for each in ASKED if each.name == "overview: Apps in the time shown A"]
    everything = {row["app_id"]: row for row in site.rows(asking)}
    one, other = list(everything)[:2]

    assert site.rows(asking, app=f"({one}|{other})") == [everything[one], everything[other]]
    assert site.rows(asking, app=one) == [everything[one]]
    assert site.rows(asking, workspace="elsewhere") == []


def test_the_panels_of_both_languages_ask_the_same():
    chinese = [(each.target, each.panel["gridPos"]) for each in askings("zh")]
    english = [(each.target, each.panel["gridPos"]) for each in askings("en")]

    def asked(target: Any) -> Any:
        return {name: value for name, value in target.items() if name != "legendFormat"}

    assert [(asked(target), place) for target, place in chinese] == [(asked(t), place) for t, place in english]
