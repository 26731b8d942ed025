"""Nothing can be set without help, and no module leaves open what it is for."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from collector.settings import Settings, describe
from tests.conftest import ROOT

MODULES = [file for file in sorted((ROOT / "collector").rglob("*.py")) if file.read_text().strip()]


@pytest.mark.parametrize("setting", describe(Settings()), ids=lambda setting: setting.name)
def test_every_setting_says_what_it_is(setting):
    assert setting.help.endswith(".")
    assert setting.unit
    assert setting.variable == f"DIFY_METRIC_{setting.name.upper()}"
    assert setting.example or setting.is_secret


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.relative_to(ROOT)))
def test_every_module_says_what_it_is_for(module: Path):
    said = ast.get_docstring(ast.parse(module.read_text()))
    assert said
    assert said.split("\n\n")[0].endswith((".", ":"))
