"""Taps and collectors by the dozen, each a fork of one process that has imported everything.

Run: python -m tests.servers.nursery. It prints `ready`, then answers each line of its input with a line:

    tap SETTINGS, collector SETTINGS  -> its process id; SETTINGS is a JSON object of settings by name
    kill PID                          -> `killed`, when it is gone
    end PID                           -> its exit code, after SIGTERM
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping

from collector import app, tapping
from collector.logs import set_up_logs
from collector.settings.configuration import load_settings


def bear(kind: str, given: Mapping[str, object]) -> int:
    """Fork a tap or a collector; its process id."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        log = os.open(os.environ["NURSERY_LOG"], os.O_CREAT | os.O_APPEND | os.O_WRONLY)
        os.dup2(log, 2)
        set_up_logs("info", "json")
        settings = load_settings(given, {})
        if kind == "tap":
            tapping.tap(settings, parent=os.getppid())
        else:
            app.serve(settings)
        code = 0
    finally:
        os._exit(code)


def end(pid: int, how: int) -> int:
    os.kill(pid, how)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main() -> None:
    print("ready", flush=True)
    for line in sys.stdin:
        word, _, rest = line.strip().partition(" ")
        if word == "kill":
            end(int(rest), signal.SIGKILL)
            print("killed", flush=True)
        elif word == "end":
            print(end(int(rest), signal.SIGTERM), flush=True)
        else:
            print(bear(word, json.loads(rest)), flush=True)


if __name__ == "__main__":
    main()
