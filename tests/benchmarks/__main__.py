"""`python -m tests.benchmarks [WORD]`: run all benchmarks, or those whose module or figures hold the word.

Every module of this folder but those of NO_BENCHMARKS is one. It is run in a process of its own, with
`python -m tests.benchmarks.<name>`, and its `figure` lines are kept in results.json beside the machine and the versions
they were measured with; the table of the README is made anew. A module that fails keeps its older figures, and makes
the whole fail in the end.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from tests.benchmarks.figure import Figure, parse
from tests.benchmarks.table import with_table

HERE = Path(__file__).parent
NO_BENCHMARKS = {"__init__", "__main__", "dify_site", "figure", "table"}

COMPARED = ("duckdb", "fastapi", "httptools", "httpx", "httpx-sse", "msgspec", "prometheus-client", "pyarrow", "uvloop")
"""Distributions whose version a figure depends on."""


def benchmarks(folder: Path) -> list[str]:
    """The names of the modules that measure, in order."""
    return sorted(file.stem for file in folder.glob("*.py") if file.stem not in NO_BENCHMARKS)


def chosen(names: Iterable[str], only: str, kept: dict[str, Any]) -> list[str]:
    """Those named by `only`, or whose figures of an earlier run are."""
    return [name for name in names if only in name or any(only in one["name"] for one in _figures(kept, name))]


def _figures(kept: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return list(kept.get(name, {}).get("figures", []))


def run(name: str, folder: Path) -> tuple[list[Figure], int]:
    """The figures a benchmark printed, and its exit code. What it prints is passed on as it comes."""
    command = [sys.executable, "-m", f"{folder.parent.name}.{folder.name}.{name}"]
    figures = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder.parents[1]) as benchmark:
        for line in benchmark.stdout or ():
            print(line, end="", flush=True)
            if figure := parse(line):
                figures.append(figure)
    return figures, benchmark.returncode


def circumstances(now: datetime) -> dict[str, Any]:
    """What a figure was measured with: without it a number says little."""
    installed = {one.metadata["Name"].lower(): one.version for one in distributions()}
    return {
        "date": f"{now:%Y-%m-%d}",
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "versions": {name: installed[name] for name in COMPARED if name in installed},
    }


def entry(figures: Iterable[Figure], now: datetime) -> dict[str, Any]:
    """What is kept of one benchmark."""
    return {**circumstances(now), "figures": [vars(figure) for figure in figures]}


def main(only: str = "", folder: Path = HERE) -> int:
    """Run, keep, and answer how it went: 0, or 1 when a benchmark failed or told nothing."""
    results = folder / "results.json"
    kept: dict[str, Any] = json.loads(results.read_text()) if results.exists() else {}
    names = chosen(benchmarks(folder), only, kept)
    if not names:
        print(f"no benchmark {only!r}; there are {', '.join(benchmarks(folder)) or 'none'}", file=sys.stderr)
        return 1
    failed = []
    for name in names:
        figures, code = run(name, folder)
        if code or not figures:
            failed.append(f"{name} (exit {code}, {len(figures)} figures)")
            continue
        kept[name] = entry(figures, datetime.now(UTC))
        results.write_text(json.dumps(kept, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
        if (page := folder.parents[1] / "README.md").exists():
            page.write_text(with_table(page.read_text(), kept))
    if failed:
        print("failed: " + ", ".join(failed), file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
