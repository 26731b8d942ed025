"""A real Prometheus for tests: a directory and a loopback port of its own, ended by pid."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import httpx

PATIENCE_SECONDS = 60
EVERY_SECONDS = 0.1


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus."""

    url: str

    def query(self, expression: str, at: datetime | None = None) -> list[dict[str, Any]]:
        """The instant vector an expression gives now, or then. AssertionError says what Prometheus does not like."""
        asked = {"query": expression} | ({"time": f"{at.timestamp():.3f}"} if at else {})
        answer = _client().get(f"{self.url}/api/v1/query", params=asked).json()
        assert answer["status"] == "success", f"{expression}: {answer.get('error')}"
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def value(self, expression: str) -> float | None:
        """The value of the one series an expression gives; None when there is none."""
        found = self.query(expression)
        assert len(found) <= 1, found
        return float(found[0]["value"][1]) if found else None

    def names(self, pattern: str) -> list[str]:
        """What the group in a pattern finds among the names of metrics, as a variable of a dashboard asks for it."""
        found = _client().get(f"{self.url}/api/v1/label/__name__/values").json()["data"]
        return sorted(match[1] for name in found if (match := re.fullmatch(pattern, name)))

    def wait_for(self, is_there: Callable[[], bool], what: str) -> None:
        """Look until it is there."""
        until = time.monotonic() + PATIENCE_SECONDS
        while not is_there():
            assert time.monotonic() < until, f"{what}: not within {PATIENCE_SECONDS} s"
            time.sleep(EVERY_SECONDS)


@contextmanager
def running_prometheus(binary: str, directory: Path, port: int, target: str) -> Iterator[Prometheus]:
    """A Prometheus that scrapes /metrics of `target` (host:port) every two seconds, until the block ends."""
    scrape = f"scrape_configs: [{{job_name: dify-metric, static_configs: [{{targets: ['{target}']}}]}}]\n"
    with configured_prometheus(binary, directory, port, scrape) as server:
        yield server


def backfilled(promtool: str, openmetrics: str, directory: Path) -> None:
    """Blocks of an OpenMetrics text, where a Prometheus of that directory will look. Raises with what promtool says."""
    (directory / "history.txt").write_text(openmetrics)
    line = [promtool, "tsdb", "create-blocks-from", "openmetrics", directory / "history.txt", directory / "data"]
    made = subprocess.run(line, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr


@contextmanager
def configured_prometheus(binary: str, directory: Path, port: int, more: str = "", *flags: str) -> Iterator[Prometheus]:
    """A Prometheus with a configuration of one's own behind the intervals, and flags, until the block ends."""
    config = directory / "prometheus.yml"
    config.write_text(f"global: {{scrape_interval: 2s, scrape_timeout: 2s, evaluation_interval: 1s}}\n{more}")
    listen = [f"--web.listen-address=127.0.0.1:{port}", f"--storage.tsdb.path={directory / 'data'}", *flags]
    with (directory / "prometheus.log").open("w") as log:
        process = subprocess.Popen([binary, f"--config.file={config}", *listen], stdout=log, stderr=subprocess.STDOUT)
        server = Prometheus(f"http://127.0.0.1:{port}")
        try:
            server.wait_for(lambda: _answers(server.url), "Prometheus")
            yield server
        finally:
            process.terminate()
            process.wait()


def _answers(url: str) -> bool:
    try:
        return _client().get(f"{url}/-/ready").status_code == 200
    except httpx.TransportError:
        return False


@cache
def _client() -> httpx.Client:
    """One for all questions: making it takes longer than asking."""
    return httpx.Client(trust_env=False)
