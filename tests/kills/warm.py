"""A process that has imported everything forks one command after the other, and kills it at the moment it is told.

What comes in, on stdin, are orders, one JSON object a line; what goes out, on stdout, is a line when the command runs
and one with how it ended. A command runs as if typed: `cli.main`, its own store, its own threads. Only the clock is
set, so that a command can run at any hour of a simulated day, and the store's log is moved into the file earlier than
usual, so that kills meet that too, and new series count at once where no service lives as long as they would say 0.
Only this process reaps its children, so no kill can hit a stranger.

Where a moment is a seam, the command itself dies there: between two statements, before a COMMIT, behind it.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import time_machine
import uvicorn.loops.asyncio
import uvicorn.protocols.http.auto  # noqa: F401  (what `serve` imports late)

from collector import app, cli, commands, ingest, running, terminal  # noqa: F401  (what commands import late)
from collector.store import duck, session

EARLY_CHECKPOINTS = {"checkpoint_threshold": "150KB"}

LOOK_EVERY_SECONDS = 0.001

KILL, END = b"kill\n", b"end\n"
"""What can be said while a command runs: kill -9, or a friendly SIGTERM."""


def main() -> None:
    """Take orders until stdin ends."""
    orders = os.fdopen(0, "rb", buffering=0)
    _say("warm")
    while line := orders.readline():
        if line in (KILL, END):
            continue  # the command had ended by itself
        order = json.loads(line)
        command = os.fork()
        if command == 0:
            _run(order)
        _say(f"running {command}")
        _say(f"ended {_watched(command, order)}")


def _say(words: str) -> None:
    os.write(1, f"{words}\n".encode())


def _watched(command: int, order: dict[str, Any]) -> int:
    """The exit code of a command that is killed at its moment, if it lives so long; negative: the signal's number."""
    is_due = _moment(order)
    while True:
        ended, status = os.waitpid(command, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        word = os.read(0, 100) if select.select([0], [], [], 0)[0] else b""
        if word == END:
            os.kill(command, signal.SIGTERM)
        if word == KILL or is_due():
            os.kill(command, signal.SIGKILL)
            return os.waitstatus_to_exitcode(os.waitpid(command, 0)[1])
        time.sleep(LOOK_EVERY_SECONDS)


def _moment(order: dict[str, Any]) -> Callable[[], bool]:
    """What is to be waited for, seen from outside."""
    began, kind, amount = time.monotonic(), order["kind"], order["amount"]
    store = Path(order["store"])
    log = store.with_name(store.name + ".wal")
    log_before, store_before = _size(log), _stamp(store)
    match kind:
        case "delay":
            return lambda: time.monotonic() - began > amount
        case "log":  # while a COMMIT writes, or behind it
            return lambda: _size(log) > log_before + amount
        case "checkpoint":  # while the log is moved into the file
            return lambda: _stamp(store) != store_before
    return lambda: False


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


def _run(order: dict[str, Any]) -> None:
    """In the child: be the command, to its end."""
    code: Any = 70
    try:
        for number, path in ((0, os.devnull), (1, order["out"]), (2, order["err"])):
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            os.dup2(file, number)
            os.close(file)
        os.environ.clear()
        os.environ.update(order["env"])
        os.chdir(order["folder"])
        session._SEALED.update(EARLY_CHECKPOINTS)  # type: ignore[arg-type]
        if order["counts_at_once"]:
            app.AT_ZERO = timedelta(0)  # type: ignore[attr-defined]
        if order["kind"] == "seam":
            _arm(order["seam"], order["amount"])
        if order["now"]:
            time_machine.travel(datetime.fromisoformat(order["now"]), tick=True).start()
        cli.main(order["arguments"])
    except SystemExit as end:
        code = end.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


SEAMS = (
    "before COMMIT",
    "after COMMIT",
    "after BEGIN",
    "after INSERT",
    "after DELETE",
    "before put",
    "after put",
    "before close",
    "after close",
)
"""Where a command can be told to die; statements inside a transaction, the others around one."""


def _arm(seam: str, times: int) -> None:
    """Die when this seam is reached for that time."""
    left = count(times - 1, -1)

    def reached(place: str) -> None:
        if place == seam and next(left) == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def between(kind: type, method: str, name: Callable[[tuple[Any, ...]], str]) -> None:
        real = getattr(kind, method)

        def dying(self: Any, *given: Any, **named: Any) -> Any:
            place = name(given)
            reached(f"before {place}")
            result = real(self, *given, **named)
            reached(f"after {place}")
            return result

        setattr(kind, method, dying)

    between(session.Session, "run", lambda given: given[0].split(None, 1)[0])
    between(session.Session, "close", lambda _: "close")
    between(duck.DuckStore, "_put", lambda _: "put")


if __name__ == "__main__":
    main()
