"""The pages in deploy/ cannot lie: their commands are run against a service, what they name is looked up."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest
import yaml

from collector.access import Scope
from collector.measures.catalogue import CATALOGUE
from collector.reports.paper import Helping
from collector.reports.spelling import Spelling
from collector.retention import KEEPING
from collector.settings import Settings
from collector.settings.configuration import load_settings
from tests.conftest import ROOT
from tests.serving import a_service
from tests.typing_it import environment

DOCS = sorted((ROOT / "deploy").glob("*.md"))


def blocks(page: str, kind: str) -> str:
    """All blocks of one kind, as one script."""
    text = (ROOT / "deploy" / page).read_text()
    return "\n".join(
        textwrap.dedent(block) for found, block in re.findall(r"(?ms)^```([\w ]+)\n(.*?)^```$", text) if found == kind
    )


class Shell:
    """Types what a page says, with dify-metric on the PATH."""

    def __init__(self, folder: Path, port: int) -> None:
        program = folder / "bin" / "dify-metric"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m collector "$@"\n')
        program.chmod(0o755)
        self._folder, self._port = folder, port
        self._env = environment(PATH=f"{program.parent}:/usr/bin:/bin", DIFY_METRIC_LISTEN=f"127.0.0.1:{port}")

    def run(self, script: str) -> str:
        script = "set -euo pipefail\n" + script.replace("9180", str(self._port))
        ended = subprocess.run(
            ["bash", "-c", script], cwd=self._folder, env=self._env, capture_output=True, text=True, timeout=120
        )
        assert ended.returncode == 0, ended.stderr + ended.stdout
        return ended.stdout


def test_the_page_on_events(tmp_path: Path, free_port: int):
    shell = Shell(tmp_path, free_port)
    with a_service(tmp_path, free_port) as serving:
        said = shell.run(blocks("events.md", "sh run"))
        assert serving.end(signal.SIGTERM) == 0

    answers = [json.loads(found) for found in re.findall(r"\{[^{}]*\[\]\}", said)]
    assert [(each["accepted"], each["rejected"], each["new"]) for each in answers] == [(1, 0, 2), (2, 0, 4), (1, 0, 2)]
    assert re.search(r"com\.example\.portal\.code\.accepted +1 +1", said)
    assert re.search(r"files +3\b", said)


def test_the_page_on_access(tmp_path: Path, free_port: int):
    shell = Shell(tmp_path, free_port)
    shell.run(blocks("access.md", "sh before"))
    with a_service(tmp_path, free_port, DIFY_METRIC_ACCESS="keys") as serving:
        said = shell.run(blocks("access.md", "sh run"))
        assert serving.ask("/metrics").status_code == 401
        assert serving.end(signal.SIGTERM) == 0

    assert re.search(r"prometheus +metrics +active", said)
    assert "read of app a9b8c7d6" in said
    assert json.loads((tmp_path / "openapi.json").read_text())["info"]["title"] == "dify-metric"
    assert (tmp_path / "admin.key").read_text().startswith("dm_")


def test_the_page_on_keeping(tmp_path: Path, free_port: int):
    shell = Shell(tmp_path, free_port)
    with a_service(tmp_path, free_port) as serving:
        said = shell.run(blocks("keeping.md", "sh run"))
        assert serving.end(signal.SIGTERM) == 0

    assert re.search(r"^model_call +0$", said, re.MULTILINE)
    assert (tmp_path / "monday" / "run.parquet").exists()
    assert (tmp_path / "restored.duckdb").stat().st_size > 0


def test_the_page_on_reports(tmp_path: Path, free_port: int):
    shell = Shell(tmp_path, free_port)
    with a_service(tmp_path, free_port) as serving:
        said = shell.run(blocks("reports.md", "sh run"))
        assert serving.end(signal.SIGTERM) == 0

    assert '"report":"week 2026-W46"' in said
    assert '{"deliveries":[]}' in said
    assert "运营月报 · 2026年10月" in (tmp_path / "month.html").read_text()
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert "dify-report-month-2026-10-en.zip" in names
    assert "dify-report-span-2026-11-01--2026-11-15-en.xlsx" in names
    assert len(names) == 7


def test_the_settings_of_reports_are_settings(tmp_path: Path):
    told = tomllib.loads(blocks("reports.md", "toml"))
    for name, url in (
        ("smtp_url", "smtp://me:secret@mail.example.com:587"),
        ("report_webhooks", "https://example.com/x"),
    ):
        (tmp_path / name).write_text(url)
        told[f"{name}_file"] = str(tmp_path / name)
    settings = load_settings(told, {})
    assert settings.report_schedule == ("week", "month")
    named = set(re.findall(r"`((?:report|smtp)_[a-z]+)`", (ROOT / "deploy" / "reports.md").read_text()))
    assert named | set(told) >= {name for name in Settings.model_fields if name.startswith(("report_", "smtp_"))} - {
        "smtp_url",
        "report_webhooks",
    }


def test_every_name_that_templates_may_use_is_on_the_page_on_reports():
    text = (ROOT / "deploy" / "reports.md").read_text()
    for name in Helping(None, Spelling("en")).names():  # type: ignore[arg-type]
        assert f"`{name}" in text, name


def test_the_settings_of_keeping_are_all_on_its_page():
    named = set(re.findall(r"`(keep_\w+)`", (ROOT / "deploy" / "keeping.md").read_text()))
    assert named == {name for name in Settings.model_fields if name.startswith("keep_")} == set(KEEPING.values())


def test_its_yaml_is_yaml():
    assert yaml.safe_load(blocks("access.md", "yaml"))["scrape_configs"]


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_every_measure_and_option_that_is_named_is_there(page: Path):
    text = page.read_text()
    asked = [name for line in re.findall(r"dify-metric query (\S+)", text) for name in line.split(",")]
    assert CATALOGUE.measures(asked) or not asked
    scopes = re.findall(r"--scope (\w+)", text)
    assert set(scopes) <= set(Scope)
    for link in re.findall(r"\]\(([\w./]+)\)", text):
        assert (page.parent / link).exists()
