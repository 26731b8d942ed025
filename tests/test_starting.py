"""A command loads what it needs and no more: help comes at once, a question needs no web framework."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from collector.store import open_store
from tests.typing_it import environment

LOADED = """
import sys
from collector import cli
try:
    cli.main(sys.argv[1:])
except SystemExit as ended:
    assert not ended.code, ended.code
print(*(name for name in ("fastapi", "uvicorn", "httpx", "duckdb", "pyarrow") if name in sys.modules))
"""


def loaded(folder: Path, *line: str) -> set[str]:
    """Which of the large libraries a command has loaded when it ends."""
    ended = subprocess.run(
        [sys.executable, "-c", LOADED, *line], cwd=folder, env=environment(), capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 0, ended.stderr
    return set(ended.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("line", [("--help",), ("--version",), ("query", "--help"), ("key", "create", "--help")])
def test_help_needs_none_of_them(tmp_path: Path, line: tuple[str, ...]):
    assert loaded(tmp_path, *line) == set()


@pytest.mark.parametrize("line", [("query", "tokens"), ("key", "list")])
def test_a_question_needs_the_store_alone(tmp_path: Path, line: tuple[str, ...]):
    with closing(open_store(tmp_path / "dify-metric.duckdb")):
        pass
    assert loaded(tmp_path, *line) == {"duckdb", "pyarrow"}
