"""What is generated is fresh, and the dashboards hold together."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from collector.commands import generate
from collector.faces import grafana
from collector.faces.families import FAMILIES
from collector.measures.catalogue import CATALOGUE
from collector.settings import FIELDS
from collector.tap.figures import FIGURES
from tests.conftest import ROOT

DASHBOARDS = ROOT / "dashboards"
PANELS = [
    (name, panel)
    for name, model in grafana.dashboards().items()
    for panel in model["panels"]  # type: ignore[attr-defined]
]


def test_the_committed_files_are_what_the_catalogue_makes(tmp_path: Path):
    made = {path.name: path.read_text() for path in generate(tmp_path)}
    kept = {path.name: path.read_text() for path in DASHBOARDS.iterdir()}
    assert kept == made, "run `make generate`"


@pytest.mark.parametrize("name", grafana.dashboards())
def test_a_dashboard_is_whole(name: str):
    model: dict[str, Any] = json.loads((DASHBOARDS / name).read_text())
    panels = model["panels"]

    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        references = [target["refId"] for target in panel.get("targets", ())]
        assert len(set(references)) == len(references)
        assert panel["type"] == "row" or (panel["description"] and references)
    for one, other in combinations((panel["gridPos"] for panel in panels), 2):
        assert not _overlap(one, other), (one, other)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= grafana.COLUMNS for panel in panels)


@pytest.mark.parametrize("name", grafana.dashboards())
def test_variables_are_defined_and_used(name: str):
    model = grafana.dashboards()[name]
    defined = {variable["name"] for variable in model["templating"]["list"]}  # type: ignore[index]
    told = json.dumps([model["panels"], model["templating"]])
    used = {found for found in re.findall(r"\$\{?([a-z_]+)", told) if not found.startswith("__")}
    used |= {panel["repeat"] for panel in model["panels"] if "repeat" in panel}  # type: ignore[attr-defined]
    assert used == defined


def test_the_overview_names_only_families_there_are():
    there = {family.name for family in FAMILIES}
    there |= {"dify_llm_cost_", "dify_app_info", "dify_metric_source_up"}
    there |= {"dify_metric_warnings_total", "dify_metric_passes_total"}
    there |= {"dify_app_active_users", "dify_workspace_active_users", *(figure.name for figure in FIGURES)}
    named = {name.removesuffix("_bucket") for _, panel in PANELS for name in _named(panel)}
    assert named <= there


def _named(panel: dict[str, Any]) -> Iterator[str]:
    for target in panel.get("targets", ()):
        yield from re.findall(r"\bdify_[a-z_]+", target["expr"])


def _overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    apart = (
        one["x"] + one["w"] <= other["x"]
        or other["x"] + other["w"] <= one["x"]
        or one["y"] + one["h"] <= other["y"]
        or other["y"] + other["h"] <= one["y"]
    )
    return not apart


class TestTheReferencePage:
    page = (DASHBOARDS / "measures.md").read_text()

    def test_names_everything_there_is(self):
        names = [*(each.name for each in CATALOGUE), *(each.name for each in CATALOGUE.dimensions)]
        names += [*(family.name for family in FAMILIES), *(figure.name for figure in FIGURES), *FIELDS]
        assert [name for name in names if f"`{name}`" not in self.page] == []

    def test_has_each_heading_once(self):
        headings = re.findall(r"(?m)^#+ .*$", self.page)
        assert len(headings) == len(set(headings))

    def test_its_tables_are_whole(self):
        for table in re.findall(r"(?m)(?:^\|.*\n)+", self.page):
            assert len({line.count("|") for line in table.splitlines()}) == 1

    def test_says_by_what_a_measure_splits(self):
        sections = self.page.split("\n### ")
        for measure in CATALOGUE:
            (section,) = [
                each for each in sections if re.search(rf"(?m)^\|.*`{measure.name}`.* \| {measure.unit} \|", each)
            ]
            assert [each.name for each in measure.by if f"`{each.name}`" not in section] == []
