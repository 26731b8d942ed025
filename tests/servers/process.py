"""A child process that is ended with the `with` around it; its processor time and memory while it runs."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Sequence
from contextlib import contextmanager
from typing import Any

from tests.conftest import ROOT

PAGE_KB = os.sysconf("SC_PAGE_SIZE") // 1024


class Child:
    """A running child: it prints one line when it is ready."""

    def __init__(self, popen: subprocess.Popen[str]) -> None:
        self.popen = popen

    @property
    def pid(self) -> int:
        return self.popen.pid

    def say(self, line: str) -> str:
        """Send a line, wait for the answer to it."""
        assert self.popen.stdin
        self.popen.stdin.write(line + "\n")
        self.popen.stdin.flush()
        return self.hear()

    def hear(self, seconds: float = 120) -> str:
        assert self.popen.stdout
        ready, _, _ = select.select([self.popen.stdout], [], [], seconds)
        line = self.popen.stdout.readline() if ready else ""
        if not line:
            raise RuntimeError(f"{self.popen.args!r} said nothing; exit code {self.popen.poll()}")
        return line.strip()


@contextmanager
def child(command: Sequence[str], *, core: int | None = None, **environ: str):
    """Start, wait for its first line, end it."""
    cores = sorted(os.sched_getaffinity(0))

    def pin() -> None:
        if core is not None:
            os.sched_setaffinity(0, {cores[core % len(cores)]})

    popen: subprocess.Popen[Any] = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
        preexec_fn=pin,
    )
    try:
        running = Child(popen)
        running.hear()
        yield running
    finally:
        popen.terminate()
        try:
            popen.wait(10)
        except subprocess.TimeoutExpired:
            popen.kill()
            popen.wait()
        for pipe in (popen.stdin, popen.stdout):
            if pipe:
                pipe.close()


def python(module: str, *arguments: str) -> list[str]:
    """The command that runs a module of ours."""
    return [sys.executable, "-m", module, *arguments]


def cpu_seconds(pid: int) -> float:
    """Processor time of a process, all its threads, to the nanosecond."""
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/schedstat") as schedstat:
            total += int(schedstat.read().split()[0])
    return total / 1e9


def resident_kb(pid: int) -> int:
    """Memory of a process that is its own."""
    with open(f"/proc/{pid}/statm") as statm:
        _, resident, shared, *_ = statm.read().split()
    return (int(resident) - int(shared)) * PAGE_KB
