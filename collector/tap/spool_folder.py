"""Whose spool is whose: numbered files in one folder, each with a lock that ends with its owner.

A worker claims the first file that nobody holds, so a worker that takes another's place goes on with its file; files
that are left over are claimed by whoever has time for them. Locks are the kernel's: none stays behind a kill. Lock
files stay, since removing one would let two owners hold "the same" lock.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from collector.errors import SettingsError

_MOST_WORKERS = 1_000
_MOST_BROKEN = 3
"""Files kept that could not be read."""


class Claim:
    """A spool file that is ours until `release`."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock

    def set_aside(self) -> Path:
        """Move a file that cannot be read out of the way, with what belongs to it; where to."""
        broken = [_broken(self.path, place) for place in range(1, _MOST_BROKEN + 1)]
        target = next((each for each in broken if not each.exists()), broken[-1])
        for end in _ENDS:
            with suppress(FileNotFoundError):
                os.replace(f"{self.path}{end}", f"{target}{end}")
        return target

    def remove(self) -> None:
        """Delete the file. It must be closed."""
        for end in _ENDS:
            with suppress(FileNotFoundError):
                os.unlink(f"{self.path}{end}")

    def release(self) -> None:
        """Let others have it."""
        os.close(self._lock)


_ENDS = ("", "-wal", "-shm")


class Folder:
    """Where the spools of one tap stand. Several taps may share one."""

    def __init__(self, path: Path) -> None:
        """Raises SettingsError when it cannot be used."""
        self.path = path
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            probe = path / f".{os.getpid()}.probe"
            os.close(os.open(probe, os.O_CREAT | os.O_WRONLY, 0o600))
            probe.unlink()
        except OSError as error:
            raise SettingsError(
                f"tap_spool: wanted a folder that can be written to, {path} is none ({error.strerror})"
            ) from None

    def claim(self) -> Claim:
        """The first spool that nobody holds. Raises OSError."""
        for number in range(_MOST_WORKERS):
            if (found := self._held(number)) is not None:
                return found
        raise OSError(f"{self.path}: all {_MOST_WORKERS} spools are held")

    def left_over(self) -> Iterator[Claim]:
        """Spools with a file and without an owner, claimed one by one."""
        for number in range(_MOST_WORKERS):
            if not self._lock_path(number).exists():
                return
            if self._path(number).exists() and (found := self._held(number)) is not None:
                yield found

    def _held(self, number: int) -> Claim | None:
        lock = os.open(self._lock_path(number), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            return None
        return Claim(self._path(number), lock)

    def _path(self, number: int) -> Path:
        return self.path / f"spool-{number}.sqlite"

    def _lock_path(self, number: int) -> Path:
        return self.path / f"spool-{number}.lock"


def _broken(path: Path, place: int) -> Path:
    return path.with_name(f"{path.name}.broken-{place}")
