"""Reports into a folder, each file whole or not there: what comes in is a parcel, what goes out are files."""

from __future__ import annotations

import os
from pathlib import Path

from collector.errors import Unavailable
from collector.posting import fingerprint
from collector.report_post.parcel import Parcel


class Folder:
    """A folder of this machine; made where it is missing."""

    def __init__(self, path: Path) -> None:
        self.name, self._path = "folder", path
        self.fingerprint = fingerprint("folder", str(path.resolve()))

    def send(self, parcel: Parcel) -> str | None:
        """Write every file, and that to the disk itself."""
        files = parcel.files
        try:
            self._path.mkdir(parents=True, exist_ok=True)
            for name, (_, content) in files.items():
                write(self._path / name, content)
        except OSError as error:
            raise Unavailable(f"the folder takes no files ({error.strerror or type(error).__name__})") from None
        return None


def write(path: Path, content: bytes) -> None:
    """A file that is there whole or not at all; one of that name is replaced."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
