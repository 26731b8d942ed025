"""`dify-metric tap` in a process of its own, with its spool, before a collector."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.servers.ports import free_port as a_port
from tests.typing_it import PROGRAM, environment

TOKEN = "an-ingest-token-nobody-may-see"


_OURS = "dify_metric_tap_"


def numbers(text: str) -> dict[str, float]:
    """What an exposition tells of a tap: by name without our prefix, labels behind it as they are written."""
    samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    found = {}
    for sample in samples:
        if sample.name.startswith(_OURS):
            labels = ",".join(f'{name}="{value}"' for name, value in sample.labels.items())
            found[sample.name.removeprefix(_OURS) + (f"{{{labels}}}" if labels else "")] = sample.value
    return found


def awaited(told: Callable[[], dict[str, float]], is_so: Callable[[dict[str, float]], bool]) -> dict[str, float]:
    """Numbers, looked at again and again until they are so. AssertionError shows the last."""
    until = time.monotonic() + 60
    while not is_so(found := told()):
        assert time.monotonic() < until, found
        time.sleep(0.05)
    return found


@dataclass
class Tap:
    process: subprocess.Popen[str]
    url: str = ""
    admin: str = ""
    words: list[dict[str, Any]] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def hear(self, event: str) -> dict[str, Any]:
        """The first log line from now on that says so."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.words.append(json.loads(line))
            if self.words[-1]["event"] == event:
                return self.words[-1]
        raise AssertionError(self.words)

    def metrics(self) -> dict[str, float]:
        return numbers(httpx.get(f"{self.admin}/metrics", trust_env=False, timeout=60).text)

    def ask(self, path: str = "/v1/parameters", **how: Any) -> httpx.Response:
        return httpx.post(f"{self.url}{path}", trust_env=False, timeout=60, content=b"{}", **how)

    def end(self, how: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(how)
        _, rest = self.process.communicate(timeout=60)
        self.words += [json.loads(line) for line in rest.splitlines()]
        return self.process.returncode


@contextmanager
def a_tap(folder: Path, upstream: str, collector: str, *more: str, limit: int | None = None) -> Iterator[Tap]:
    """A tap that takes callers. `limit`: bytes that a file of it may have."""
    (folder / "token").write_text(TOKEN + "\n")
    port = a_port()
    line = [*PROGRAM, "tap", "--listen", f"127.0.0.1:{port}", "--upstream", upstream, "--collector", collector]
    line += ["--ingest-token-file", "token", "--spool", "spool", "--admin", "127.0.0.1:0", *more]

    def bound() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    process = subprocess.Popen(line, cwd=folder, env=environment(), stderr=subprocess.PIPE, text=True, preexec_fn=bound)
    tap = Tap(process, f"http://127.0.0.1:{port}")
    try:
        tap.admin = tap.hear("tap begins")["admin"].removesuffix("/metrics")
        yield tap
    finally:
        if process.poll() is None:
            process.kill()
        if process.stderr and not process.stderr.closed:
            process.communicate()
