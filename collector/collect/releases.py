"""Which version of Dify serves a workspace: noted when it is first seen and whenever it changes.

What comes in is a version; what goes out is a Release, or nothing. The store is the memory: a restart notes nothing
twice. Nothing here asks Dify.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from collector.collect.passes import Pass
from collector.quirks import Version, number
from collector.records import CONSOLE, Release

Rows: TypeAlias = Callable[[str, Sequence[object]], Sequence[tuple[object, ...]]]

_LATEST = """
SELECT version FROM dify_release WHERE source = ? AND workspace_id IS NOT DISTINCT FROM ?
ORDER BY created_at DESC, id DESC LIMIT 1
"""


class Releases:
    """Notes the version of one source."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._latest: str | None = None

    async def note(self, one_pass: Pass, version: Version | None, workspace_id: str | None) -> None:
        """Put a Release where the version is another than the last one. Raises StoreError."""
        if version is None:
            return
        if self._latest is None:
            found = await one_pass.stored(lambda: self._rows(_LATEST, [CONSOLE, workspace_id]))
            self._latest = str(found[0][0]) if found else None
        written = ".".join(map(str, version))
        if written == self._latest:
            return
        release = Release(
            source=CONSOLE,
            seen_at=one_pass.began,
            id=f"{CONSOLE}/{workspace_id or ''}/{one_pass.began.isoformat()}",
            workspace_id=workspace_id,
            version=written,
            number=number(version),
            created_at=one_pass.began,
        )
        await one_pass.put([release])
        self._latest = written
