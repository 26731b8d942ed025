"""What every test may ask for: a real server's program, a free port, an environment without our variables."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from collector.settings import PREFIX
from tests.servers import ports

ROOT = Path(__file__).parents[1]

# Who starts the tests in the background has Ctrl-C ignored, and so would have the commands that they interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Shared machines stall now and then: no example fails for being slow.
settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", deadline=None, print_blob=True, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "here"))


def examples(share: float) -> settings:
    """So much of the profile's examples, for stories that take longer than most."""
    return settings(max_examples=max(1, round(settings().max_examples * share)))


def debian_packages() -> dict[str, str]:
    """Program -> the Debian package that brings it, from the list that `make test` installs."""
    lines = (ROOT / ".ci" / "debian-packages").read_text().splitlines()
    rows = (line.split() for line in lines if line.strip() and not line.startswith("#"))
    return {program: package for package, *programs in rows for program in programs}


@pytest.fixture(scope="session")
def server() -> Callable[[str], str]:
    """The path of a real server's program; skips the test, saying how to get it, where there is none."""
    packages = debian_packages()
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])

    def found(program: str) -> str:
        package = packages[program]
        where = shutil.which(program, path=path)
        if where is None:
            pytest.skip(
                f"no {program} here; `sudo apt-get install {package}` brings it, as `make test` does when it may"
            )
        return where

    return found


@pytest.fixture
def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    return ports.free_port()


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
