"""What is generated is fresh, and the dashboards hold together."""

from __future__ import annotations

import inspect
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from copy import deepcopy
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from collector import health, itself, money
from collector.commands import generate
from collector.faces import grafana, reconciliation
from collector.faces.families import FAMILIES
from collector.faces.grafana import drawing
from collector.faces.grafana.panel import Language
from collector.faces.grafana.variables import variables
from collector.measures.catalogue import CATALOGUE
from collector.settings import FIELDS
from collector.tap.figures import FIGURES
from tests.conftest import ROOT

DASHBOARDS = ROOT / "dashboards"
TYPES = ROOT / "tests" / "typescript"
OWN = set(
    re.findall(r'"(dify_metric_[a-z_]+)"', "".join(map(inspect.getsource, (itself, money, health, reconciliation))))
)
"""Names of the families that the service tells of itself."""

MODELS: dict[str, Any] = grafana.dashboards()


def test_the_committed_files_are_what_the_catalogue_makes(tmp_path: Path):
    made = {path.relative_to(tmp_path): path.read_text() for path in generate(tmp_path)}
    kept = {path.relative_to(DASHBOARDS): path.read_text() for path in DASHBOARDS.rglob("*") if path.is_file()}
    assert kept == made, "run `make generate`"


@pytest.mark.parametrize("name", MODELS)
def test_a_dashboard_is_whole(name: str):
    model: dict[str, Any] = json.loads((DASHBOARDS / name).read_text())
    panels = model["panels"]

    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        references = [target["refId"] for target in panel.get("targets", ())]
        assert len(set(references)) == len(references)
        assert panel["type"] == "row" or (panel["description"] and references and panel["title"])
        sources = [target["datasource"] for target in panel.get("targets", ())]
        assert all(source == panel["datasource"] for source in sources), "one panel asks one data source"
    for one, other in combinations((panel["gridPos"] for panel in panels), 2):
        assert not _overlap(one, other), (one, other)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= drawing.COLUMNS for panel in panels)


@pytest.mark.parametrize("name", MODELS)
def test_variables_are_defined_and_used(name: str):
    model = MODELS[name]
    defined = {variable["name"] for variable in model["templating"]["list"]}
    told = json.dumps([model["panels"], model["templating"]])
    used = {found for found in re.findall(r"\$\{?([a-z_]+)", told) if not found.startswith("__")}
    used |= {panel["repeat"] for panel in model["panels"] if "repeat" in panel}
    assert used == defined


def test_a_variable_nobody_defined_stops_the_program():
    with pytest.raises(ValueError, match="no variable 'region'"):
        variables([{"expr": "up{region=~'$region'}"}], Language.ENGLISH)


def test_every_board_has_an_address_and_a_file_of_its_own():
    assert len({model["uid"] for model in MODELS.values()}) == len(MODELS) == 2 * len(grafana.BOARDS)
    assert all(len(model["uid"]) <= 40 for model in MODELS.values()), "Grafana takes no longer ones"


@pytest.mark.parametrize("name", MODELS)
def test_links_lead_to_boards_there_are(name: str):
    model = MODELS[name]
    uids = {each["uid"] for path, each in MODELS.items()}
    assert set(re.findall(r"/d/([\w-]+)", json.dumps(model))) <= uids
    other = "en" if name.startswith("zh") else "zh"
    (here,) = [link["url"] for link in model["links"] if link["type"] == "link"]
    assert here == f"/d/{MODELS[f'{other}/{name[3:]}']['uid']}"
    (listing,) = [link["tags"] for link in model["links"] if link["type"] == "dashboards"]
    assert {path[:2] for path, each in MODELS.items() if set(listing) <= set(each["tags"])} == {name[:2]}


@pytest.mark.parametrize("name", [name for name in MODELS if name.startswith("zh")])
def test_chinese_boards_are_chinese(name: str):
    """Every title is; what stays English are names of things."""
    told = [MODELS[name]["title"], *(panel["title"] for panel in MODELS[name]["panels"])]
    told += [panel["description"] for panel in MODELS[name]["panels"] if panel["type"] != "row"]
    assert [text for text in told if not re.search(r"[\u4e00-\u9fff]", text)] == []


def test_english_boards_have_no_chinese_but_the_way_to_it():
    for name, model in MODELS.items():
        if name.startswith("en"):
            told = json.dumps(model | {"links": []}, ensure_ascii=False)
            assert re.findall(r"[\u4e00-\u9fff]+", told) == []


def test_boards_name_only_families_there_are():
    there = {family.name for family in FAMILIES}
    there |= {"dify_llm_cost_", "dify_app_info", *OWN}
    there |= {"dify_app_active_users", "dify_workspace_active_users", *(figure.name for figure in FIGURES)}
    named = {name.removesuffix("_bucket") for model in MODELS.values() for name in _named(model)}
    assert named <= there


def _named(model: dict[str, Any]) -> Iterator[str]:
    for panel in model["panels"]:
        for target in panel.get("targets", ()):
            yield from re.findall(r"\bdify_[a-z_]+", target.get("expr", ""))


def _overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    apart = (
        one["x"] + one["w"] <= other["x"]
        or other["x"] + other["w"] <= one["x"]
        or one["y"] + one["h"] <= other["y"]
        or other["y"] + other["h"] <= one["y"]
    )
    return not apart


@pytest.fixture(scope="session")
def tsc() -> Path:
    """TypeScript's compiler beside Grafana's types, as `make test` installs them with npm."""
    found = TYPES / "node_modules" / ".bin" / "tsc"
    if not found.exists() or shutil.which("node") is None:
        pytest.skip("no types of Grafana here; `.ci/types` brings them where there is npm")
    return found


def compiled(tsc: Path, models: list[dict[str, Any]], folder: Path) -> str:
    """What TypeScript says of dashboards; empty: they are what Grafana's types say."""
    for file in (*TYPES.glob("*.ts"), *TYPES.glob("tsconfig.json")):
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "node_modules").symlink_to(TYPES / "node_modules")
    told = [f"export const d{n}: Told = {json.dumps(model)};" for n, model in enumerate(models)]
    (folder / "told.ts").write_text("\n".join(["import type { Told } from './grafana';", *told]))
    return subprocess.run([tsc, "-p", folder], capture_output=True, text=True, check=False).stdout


def test_dashboards_are_of_grafanas_types(tsc: Path, tmp_path: Path):
    assert compiled(tsc, [*MODELS.values()], tmp_path) == ""


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("schemaVersion",), "39"),
        (("panels", 1, "gridPos", "w"), "wide"),
        (("panels", 1, "type"), "statt"),
        (("panels", 1, "options", "colorMode"), "colour"),
        (("panels", 1, "fieldConfig", "defaults", "thresholds", "mode"), "relative"),
        (("templating", "list", 0, "type"), "choice"),
    ],
    ids=lambda each: str(each),
)
def test_what_grafana_does_not_know_is_told_by_its_types(tsc: Path, tmp_path: Path, place: tuple, value: object):
    model = deepcopy(MODELS["en/overview.json"])
    inner = model
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    assert "error TS" in compiled(tsc, [model], tmp_path)


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
