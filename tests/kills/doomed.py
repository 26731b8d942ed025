"""Commands that do not live long: begun in a warm process, killed at a moment drawn before.

What comes in are arguments, an environment and a moment; what goes out is how the command ended.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from random import Random

from tests.conftest import ROOT
from tests.kills.warm import SEAMS

KILLED = -signal.SIGKILL


@dataclass(frozen=True)
class Moment:
    """When a command dies. `amount`: seconds of a delay, bytes of log, how often a seam is passed."""

    kind: str  # never (unless told), delay, seam, log, checkpoint
    amount: float = 0
    seam: str = ""

    @property
    def is_at_close(self) -> bool:
        """Whether it comes when a service ends, not while it serves."""
        return self.kind == "checkpoint" or self.seam.endswith("close")


NEVER = Moment("never")


def drawn(rng: Random, seconds: float) -> Moment:
    """A moment in a command that takes about so long."""
    kind = rng.choices(("delay", "seam", "log", "checkpoint"), (4, 8, 3, 2))[0]
    match kind:
        case "delay":
            return Moment(kind, rng.uniform(0.02, seconds))
        case "seam":
            return Moment(kind, rng.choice((1, 1, 2, 3, 5, 8)), rng.choice(SEAMS))
        case "log":
            return Moment(kind, rng.choice((0, 500, 5_000, 50_000)))
    return Moment(kind)


class Doomed:
    """Begins commands on one store, one at a time."""

    def __init__(self, process: subprocess.Popen[str], folder: Path, store: str, *, counts_at_once: bool) -> None:
        self.store = folder / store
        self._process, self._folder, self._counts_at_once = process, folder, counts_at_once

    def begin(self, arguments: Sequence[str], env: Mapping[str, str], moment: Moment, now: datetime) -> None:
        """A command, running."""
        order = {
            "arguments": list(arguments),
            "env": dict(env),
            "kind": moment.kind,
            "amount": moment.amount,
            "seam": moment.seam,
            "now": now.isoformat(),
            "counts_at_once": self._counts_at_once,
            "store": str(self.store),
            "folder": str(self._folder),
            "out": str(self._folder / "out.txt"),
            "err": str(self._folder / "err.txt"),
        }
        self._tell(json.dumps(order))
        self._heard("running")

    def kill(self) -> None:
        """Now, whatever its moment was to be."""
        self._tell("kill")

    def stop(self) -> None:
        """Ask it to end; it may die on the way."""
        self._tell("end")

    def end(self) -> int:
        """Wait until it has ended: its exit code, or the number of the signal, negative."""
        return int(self._heard("ended"))

    def run(self, arguments: Sequence[str], env: Mapping[str, str], moment: Moment, now: datetime) -> int:
        """A command, begun and ended."""
        self.begin(arguments, env, moment, now)
        return self.end()

    def said(self) -> str:
        """What the last command wrote, on both streams."""
        return "".join((self._folder / name).read_text() for name in ("out.txt", "err.txt"))

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _heard(self, word: str) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line.startswith(word), line
        return line.removeprefix(word).strip()


@contextmanager
def warmed(folder: Path, store: str, env: Mapping[str, str], *, counts_at_once: bool = False) -> Iterator[Doomed]:
    """A warm process while the context lasts. `counts_at_once`: new series of a service do not say 0 first."""
    command = [sys.executable, "-m", "tests.kills.warm"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=dict(env)
    ) as process:
        doomed = Doomed(process, folder, store, counts_at_once=counts_at_once)
        try:
            doomed._heard("warm")
            yield doomed
        finally:
            assert process.stdin is not None
            process.stdin.write("kill\n")  # what is still running where a story failed; nothing else hears it
            process.stdin.close()
