"""The command as someone types it: in this process where only its words count, in one of its own where it matters."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from collector import cli
from tests.conftest import ROOT

CAPTURED = ROOT / "tests" / "recorded" / "captured"
PROGRAM = (sys.executable, "-m", "collector")


@dataclass(frozen=True)
class Said:
    """What a command said, and how it ended."""

    code: int | str | None
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Command:
    """Types `dify-metric …` in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: object) -> Said:
        self._capsys.readouterr()
        with _undone(), pytest.raises(SystemExit) as ended:
            cli.main([str(argument) for argument in arguments])
        out, err = self._capsys.readouterr()
        return Said(ended.value.code, out, err)


@contextmanager
def _undone() -> Iterator[None]:
    """What a command changes in its process is as before: who hears signals, where logs go."""
    root, heard = logging.getLogger(), signal.getsignal(signal.SIGTERM)
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        root.handlers[:], root.level = handlers, level
        signal.signal(signal.SIGTERM, heard)


def environment(**more: str) -> Mapping[str, str]:
    """An environment for a process of its own, without settings of the outside."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **more}


def typed(*arguments: object, at: Path, **env: str) -> Said:
    """`dify-metric …` as a process of its own."""
    line = [*PROGRAM, *map(str, arguments)]
    ended = subprocess.run(line, cwd=at, env=environment(**env), capture_output=True, text=True, timeout=60)
    return Said(ended.returncode, ended.stdout, ended.stderr)
