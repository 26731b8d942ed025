"""The README cannot lie: its commands are run, its tables are held against the code."""

from __future__ import annotations

import ast
import re
import signal
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer

from collector.cli import cli
from tests.conftest import ROOT
from tests.serving import ADMIN_KEY, a_dify, a_service
from tests.typing_it import environment

README = (ROOT / "README.md").read_text()
BLOCKS = [
    (kind, textwrap.dedent(text)) for kind, text in re.findall(r"(?ms)^ *```(\w+(?: \w+)?)\n(.*?)^ *```$", README)
]


def lines_of(kind: str) -> list[str]:
    return [line for found, text in BLOCKS if found == kind for line in text.splitlines()]


@pytest.fixture
def commands(tmp_path: Path) -> Path:
    """A directory for the PATH with dify-metric in it, also where `make` puts it."""
    for folder in (tmp_path / "bin", tmp_path / ".venv" / "bin"):
        folder.mkdir(parents=True)
        program = folder / "dify-metric"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m collector "$@"\n')
        program.chmod(0o755)
    return tmp_path / "bin"


def test_the_first_five_minutes(tmp_path: Path, free_port: int, commands: Path):
    (settings,) = (text for kind, text in BLOCKS if kind == "toml")
    env = environment(DIFY_METRIC_LISTEN=f"127.0.0.1:{free_port}", PATH=f"{commands}:/usr/bin:/bin")

    def run(line: str) -> None:
        line = line.replace("9180", str(free_port))
        ended = subprocess.run(["bash", "-c", line], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
        assert ended.returncode == 0, (line, ended.stderr)
        assert ended.stdout or "generate" in line, line

    with a_dify() as dify:
        settings = settings.replace("https://dify.example.com", dify.url)
        settings = settings.replace(tomllib.loads(settings)["dify_workspace_id"], dify.world.workspace_id)
        (tmp_path / "dify-metric.toml").write_text(settings)
        (tmp_path / tomllib.loads(settings)["dify_admin_key_file"]).write_text(ADMIN_KEY)
        for line in lines_of("sh before"):
            run(line)
        assert lines_of("sh serve") == ["dify-metric serve"]
        with a_service(tmp_path, free_port) as serving:
            for line in [*lines_of("sh run"), *lines_of("sh demo")]:
                run(line)
            assert serving.end(signal.SIGTERM) == 0
    assert list((tmp_path / "dashboards" / "en").glob("*.json"))


def test_the_program_tells_what_it_asked(capsys: pytest.CaptureFixture[str]):
    (program,) = (text for kind, text in BLOCKS if kind == "python")
    with a_dify() as dify:
        app = next(app for app in dify.world.apps.values() if app.mode == "advanced-chat")
        names: dict[str, Any] = {"key": app.key}
        exec(program.replace("https://dify.example.com", dify.url), names)  # noqa: S102 - as a reader would
        names["dify"].close()
    *answer, told = capsys.readouterr().out.strip().splitlines()
    assert any('"message_end"' in line for line in answer)
    assert all(tokens > 0 for tokens in ast.literal_eval(told).values())
    assert ast.literal_eval(told)


def test_every_block_is_of_a_kind_that_is_looked_at():
    assert {kind for kind, _ in BLOCKS} == {
        *("sh demo", "sh install", "sh before", "sh serve", "sh run", "toml", "yaml", "python")
    }


def test_it_names_every_command_and_no_other():
    named = set(re.findall(r"(?m)^\| `dify-metric (\w+)", README))
    assert sorted(named) == sorted(typer.main.get_command(cli).commands)  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\(([\w./-]+)\)|`([\w.]+/[\w./-]*)`", README))))
def test_what_it_points_to_is_there(path: tuple[str, str]):
    (named,) = filter(None, path)
    made = ("dashboards/", ".venv/")
    rooms = ("", "collector/", "tests/")
    assert named.startswith(made) or any((ROOT / room / named).exists() for room in rooms), named


def test_its_pictures_are_small():
    for picture in (ROOT / "deploy" / "pictures").iterdir():
        assert picture.stat().st_size < 150_000
