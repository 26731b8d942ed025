"""What gets installed is pinned and hashed, and the scripts that install it say so when they may not."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.conftest import ROOT, debian_packages

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = sorted(file.name for file in ROOT.glob("*.lock") if file.name != "uv.lock")
SCRIPTS = [file for file in sorted((ROOT / ".ci").iterdir()) if file.read_text().startswith("#!")]


def pins(lock: str) -> dict[str, str]:
    """Distribution -> version, as a lock file pins them."""
    return dict(re.findall(r"(?m)^([a-z0-9._-]+)==(\S+)", (ROOT / lock).read_text()))


def named(requirements: list[object]) -> set[str]:
    """The distributions that a list of requirements names."""
    texts = [requirement for requirement in requirements if isinstance(requirement, str)]
    return {re.split(r"[^a-z0-9._-]", text)[0] for text in texts}


def test_there_is_a_lock_file_for_each_way_to_install():
    assert LOCKS == ["requirements-build.lock", "requirements-dev.lock", "requirements-fuzz.lock", "requirements.lock"]


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_file_has_hashes_and_no_address(lock: str):
    text = (ROOT / lock).read_text()
    assert "://" not in text
    assert all("--hash=sha256:" in entry for entry in re.split(r"(?m)^(?=[a-z0-9])", text) if entry)


def test_everything_asked_for_is_pinned():
    groups = PROJECT["dependency-groups"]
    assert named(PROJECT["project"]["dependencies"]) <= set(pins("requirements.lock"))
    assert named(groups["build"]) <= set(pins("requirements-build.lock"))
    assert named(groups["dev"]) <= set(pins("requirements-dev.lock"))
    assert named(groups["fuzz"]) <= set(pins("requirements-fuzz.lock"))


def test_the_tests_run_with_the_versions_that_are_shipped():
    shipped, tested = pins("requirements.lock") | pins("requirements-build.lock"), pins("requirements-dev.lock")
    assert {name: tested.get(name) for name in shipped} == shipped


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_a_script_can_be_run_and_stops_at_the_first_fault(script: Path):
    text = script.read_text()
    assert script.stat().st_mode & 0o111
    assert "set -euo pipefail" in text
    assert subprocess.run(["bash", "-n", script], check=True).returncode == 0


@pytest.fixture
def nobody(tmp_path: Path) -> dict[str, str]:
    """An environment in which we are not root, have no sudo and can see only the plainest programs."""
    for program in ("bash", "cat", "dirname", "env", "grep", "true"):
        (tmp_path / program).symlink_to(shutil.which(program) or program)
    (tmp_path / "id").write_text("#!/bin/sh\necho 1000\n")
    (tmp_path / "apt-get").write_text("#!/bin/sh\necho not for you >&2\nexit 100\n")
    for own in ("id", "apt-get"):
        (tmp_path / own).chmod(0o755)
    return {"PATH": str(tmp_path)}


def test_who_may_not_install_packages_is_told_what_to_type(nobody: dict[str, str]):
    said = subprocess.run([ROOT / ".ci" / "apt", "prometheus"], env=nobody, capture_output=True, text=True)
    assert said.returncode == 3
    assert "sudo apt-get install --no-install-recommends prometheus" in said.stderr
    assert "not for you" not in said.stderr


def test_an_old_python_is_refused_with_a_way_out(nobody: dict[str, str]):
    said = subprocess.run([ROOT / ".ci" / "venv"], env=nobody, capture_output=True, text=True)
    assert said.returncode == 1
    assert "needs Python 3.11 or newer; PYTHON=" in said.stderr


def test_the_servers_of_the_tests_come_from_one_list():
    assert debian_packages()["promtool"] == "prometheus"


def test_the_readme_names_commands_there_are():
    targets = set(re.findall(r"(?m)^([a-z]+):", (ROOT / "Makefile").read_text()))
    assert set(re.findall(r"(?m)(?:^ {4}|`)make ([a-z]+)\b", (ROOT / "README.md").read_text())) <= targets
