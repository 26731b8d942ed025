"""Dashboards as pictures, where no Grafana is at hand: `python -m tests.faces.drawn FOLDER [BOARD…]`.

Six hours of the demo's world are pulled and scraped every five minutes, a real Prometheus gets what was scraped, every
panel asks it or REST what it would ask in Grafana, and Chromium takes the picture. Panels stand where the JSON says;
stats, series, bars and tables are drawn plainly. What comes in is a folder, what goes out are BOARD.png in it.
"""

from __future__ import annotations

import asyncio
import html
import math
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from collector.app import Service
from collector.demo import make_living_world, simulated_dify
from collector.settings.configuration import load_settings
from tests.demo.conftest import Clock, at_once
from tests.faces.as_grafana import filled
from tests.servers.ports import free_port
from tests.servers.prometheus import Prometheus, backfilled, configured_prometheus

END = datetime(2026, 11, 20, 8, tzinfo=UTC)
SHOWN, STEP = timedelta(hours=6), timedelta(minutes=4)
HEIGHT = 38  # pixels of a unit of Grafana's grid
COLORS = ("#73bf69", "#f2cc0c", "#5794f2", "#ff9830", "#f2495c", "#b877d9", "#8ab8ff", "#c0d8ff", "#fade2a", "#96d98d")
PAGE = """<!doctype html><meta charset="utf-8"><style>
body {{ background: #111217; color: #ccccdc; font: 13px sans-serif; margin: 8px; width: 1384px; }}
#board {{ display: grid; grid-template-columns: repeat(24, 1fr); grid-auto-rows: {height}px; gap: 6px; }}
.panel {{ background: #181b1f; border: 1px solid #2c2f36; padding: 6px; overflow: hidden; position: relative; }}
h2 {{ font-size: 13px; margin: 0 0 4px; font-weight: 600; }} .row {{ font-size: 16px; padding: 8px 0; }}
.stat {{ font-size: 26px; text-align: center; padding-top: 12px; }} .stat small {{ font-size: 12px; }}
table {{ width: 100%; border-collapse: collapse; font-size: 12px; }} td, th {{ text-align: left; padding: 2px 4px; }}
.legend span {{ margin-right: 10px; font-size: 11px; }}
.bar {{ height: 16px; background: #5794f2; margin-bottom: 2px; }}
</style><h1 style="font-size:18px">{title}</h1><div id="board">{panels}</div>"""


class Site:
    """A service over the demo's world, what was scraped of it, and the Prometheus that has it."""

    def __init__(self) -> None:
        self.clock = Clock(END - SHOWN)
        world, self.life = make_living_world(days=2, runs_per_day=400, seed=7, now=self.clock())
        dify = simulated_dify(world, clock=self.clock, life=self.life, admin_key="k" * 16, pace=at_once)
        told = {"store": ":memory:", "access": "open", "dify_url": "http://dify", "dify_admin_key": "k" * 16}
        settings = load_settings(told | {"dify_workspace_id": world.workspace_id}, {})
        self.service = Service(settings, clock=self.clock, transport=httpx.ASGITransport(dify))
        self.app = self.service.web()
        self.lines: dict[str, list[str]] = {}

    async def live(self) -> None:
        """The six hours."""
        async with self.client() as client:
            while self.clock() <= END:
                self.life.advance(self.clock())
                await self.service.pull()
                for line in (await client.get("/metrics")).text.splitlines():
                    if not line.startswith("#"):
                        series = line.rpartition(" ")[0]
                        self.lines.setdefault(series, []).append(f"{line} {self.clock().timestamp():.0f}")
                self.clock.now += STEP
        self.clock.now = END

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://collector")

    async def ask(self, path: str, parameters: list[tuple[str, str]]) -> Any:
        async with self.client() as client:
            return (await client.get(path, params=parameters)).raise_for_status().json()

    def openmetrics(self) -> str:
        return "\n".join([*(line for lines in self.lines.values() for line in lines), "# EOF", ""])


def choices(one_app: str) -> dict[str, str]:
    return {
        **dict.fromkeys(("workspace", "app", "model", "dataset"), ".*"),
        "currency": "usd",
        "one_app": one_app,
        "__rate_interval": "20m",
        "__range": "6h",
        "__interval": "5m",
        "__from": (END - SHOWN).isoformat(),
        "__to": END.isoformat(),
        "__timezone": "utc",
    }


def over_time(there: Prometheus, expression: str) -> list[tuple[dict[str, str], list[tuple[float, float]]]]:
    asked = {"query": expression, "start": f"{(END - SHOWN).timestamp()}", "end": f"{END.timestamp()}", "step": "300"}
    answer = httpx.get(f"{there.url}/api/v1/query_range", params=asked, trust_env=False).json()
    return [(each["metric"], [(at, float(value)) for at, value in each["values"]]) for each in answer["data"]["result"]]


def legend(target: Any, labels: dict[str, str]) -> str:
    written = target["legendFormat"]
    if written == "__auto":
        return ", ".join(value for name, value in labels.items() if name != "__name__")
    for name, value in labels.items():
        written = written.replace("{{" + name + "}}", value)
    return str(written)


def number(value: float, unit: str) -> str:
    if math.isnan(value):
        return "–"
    match unit:
        case "percentunit":
            return f"{value:.1%}"
        case "s":
            return (
                f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s" if value < 90 else f"{value / 60:.1f} min"
            )
        case _:
            scaled = next(((n, s) for n, s in ((1e6, " Mil"), (1e3, " K")) if abs(value) >= n), (1, ""))
            return f"{value / scaled[0]:.3g}{scaled[1]}{unit.partition('suffix:')[2]}"


def drawn(series: list[tuple[str, list[tuple[float, float]]]], unit: str, height: int) -> str:
    """Lines with their scale; the legend below."""
    values = [value for _, points in series for _, value in points if math.isfinite(value)]
    top = max(values, default=0) or 1
    begin, end = (END - SHOWN).timestamp(), END.timestamp()
    lines, names = "", ""
    for place, (name, points) in enumerate(series):
        color = COLORS[place % len(COLORS)]
        path = " ".join(
            f"{(at - begin) / (end - begin) * 400:.1f},{100 - value / top * 95:.1f}"
            for at, value in points
            if math.isfinite(value)
        )
        lines += f'<polyline points="{path}" fill="none" stroke="{color}" vector-effect="non-scaling-stroke"/>'
        names += f'<span style="color:{color}">▬ {html.escape(name)}</span>'
    picture = f'<svg viewBox="0 0 400 100" preserveAspectRatio="none" width="100%" height="{height}">{lines}</svg>'
    return f"<small>{number(top, unit)}</small>{picture}<div class=legend>{names}</div>"


def color(panel: Any, value: float) -> str:
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    found = [step["color"] for step in steps if step["value"] is None or value >= step["value"]]
    return {"text": "#ccccdc"}.get(found[-1], found[-1])


def live(panel: Any, there: Prometheus, told: dict[str, str], height: int) -> str:
    unit, mappings = panel["fieldConfig"]["defaults"]["unit"], panel["fieldConfig"]["defaults"].get("mappings", [])
    if panel["type"] == "timeseries":
        series = [
            (legend(target, labels), points)
            for target in panel["targets"]
            for labels, points in over_time(there, filled(target["expr"], told))
        ]
        return drawn(series, unit, height - 80) if series else "No data"
    found = [
        (legend(target, each["metric"]), float(each["value"][1]))
        for target in panel["targets"]
        for each in there.query(filled(target["expr"], told), END)
    ]
    if panel["type"] == "bargauge":
        most = max((value for _, value in found), default=1) or 1
        return "".join(
            f"{html.escape(name)} · {number(value, unit)}<div class=bar style='width:{value / most:.0%}'></div>"
            for name, value in sorted(found, key=lambda each: -each[1])
        )
    words = {value: word["text"] for mapping in mappings for value, word in mapping["options"].items()}
    shown = (
        f'<span style="color:{color(panel, value)}">{words.get(f"{value:g}", number(value, unit))}</span> '
        f"<small>{html.escape(name)}</small>"
        for name, value in found
    )
    return f"<div class=stat>{'<br>'.join(shown) or 'No data'}</div>"


def asked(panel: Any, site: Site, told: dict[str, str], height: int) -> str:
    (target,) = panel["targets"][:1]
    parameters = [(each["key"], filled(each["value"], told)) for each in target["url_options"]["params"]]
    rows = asyncio.run(site.ask(filled(target["url"], told), parameters))[target["root_selector"]]
    names = [column["selector"] for column in target["columns"]]
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(str(row[name]))}' for name in names)}" for row in rows[:12])
    return f"<table><tr>{''.join(f'<th>{name}' for name in names)}{body}</table>" if rows else "No data"


def panels(model: Any, site: Site, there: Prometheus, told: dict[str, str]) -> Iterator[str]:
    for panel in model["panels"]:
        place = panel["gridPos"]
        style = f"grid-column: {place['x'] + 1} / span {place['w']}; grid-row: {place['y'] + 1} / span {place['h']}"
        if panel["type"] == "row":
            yield f'<div class=row style="{style}">▾ {html.escape(panel["title"])}</div>'
            continue
        height = place["h"] * HEIGHT
        is_live = "expr" in panel["targets"][0]
        inner = live(panel, there, told, height) if is_live else asked(panel, site, told, height)
        title = html.escape(filled(panel["title"], told))
        yield f'<div class=panel style="{style}"><h2>{title}</h2>{inner}</div>'


def main(folder: Path, boards: list[str]) -> None:
    """Draw them."""
    from collector.faces import grafana

    site = Site()
    asyncio.run(site.live())
    folder.mkdir(parents=True, exist_ok=True)
    backfilled("promtool", site.openmetrics(), folder)
    busiest = asyncio.run(site.ask("/api/v1/query", [("measure", "runs"), ("by", "app_id"), ("order", "-runs")]))
    told = choices(busiest["rows"][0]["app_id"])
    with configured_prometheus("prometheus", folder, free_port(), "", "--storage.tsdb.retention.time=10y") as there:
        for path, model in grafana.dashboards().items():
            name = Path(path).stem
            if not path.startswith("en/") or (boards and name not in boards):
                continue
            bottom = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in model["panels"])
            drawn_panels = "".join(panels(model, site, there, told))
            page = folder / f"{name}.html"
            page.write_text(PAGE.format(height=HEIGHT, title=html.escape(model["title"]), panels=drawn_panels))
            size = f"--window-size=1400,{bottom * (HEIGHT + 6) + 60}"
            line = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", size, "--hide-scrollbars"]
            subprocess.run([*line, f"--screenshot={folder / name}.png", page.as_uri()], check=True, capture_output=True)
            print(folder / f"{name}.png")
    asyncio.run(site.service.close())


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
