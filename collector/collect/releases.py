"""Which version of Dify serves a workspace: noted when first seen and whenever it changes, or as settings say.

What comes in is a version; what goes out is a Release, or nothing. The store is the memory: a restart notes nothing
twice. Nothing here asks Dify.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TypeAlias, cast

from collector.collect.passes import Pass
from collector.quirks import Version, number
from collector.records import CONSOLE, FILE, Release

Rows: TypeAlias = Callable[[str, Sequence[object]], Sequence[tuple[object, ...]]]

_LATEST = """
SELECT version FROM dify_release WHERE source = ? AND workspace_id IS NOT DISTINCT FROM ?
ORDER BY created_at DESC, id DESC LIMIT 1
"""


_SERVED = """
WITH here AS (
  SELECT workspace_id, coalesce(origin, $plain) AS origin FROM app
  UNION SELECT workspace_id, $plain FROM run WHERE app_id IS NULL OR app_id NOT IN (SELECT id FROM app)
  UNION SELECT workspace_id, $plain FROM message WHERE app_id IS NULL OR app_id NOT IN (SELECT id FROM app)
)
SELECT here.workspace_id, here.origin, (
  SELECT max_by(version, created_at) FROM dify_release
  WHERE dify_release.workspace_id IS NOT DISTINCT FROM here.workspace_id
) FROM here
"""
"""Every workspace that anything is stored of, our name for its Dify, and its latest version."""


def declared(
    rows: Callable[..., Sequence[tuple[object, ...]]], versions: Mapping[str, Version], plain: str, now: datetime
) -> list[Release]:
    """What the settings say (versions by our names for their Difys; `plain` is that of facts that name none), where it
    is not known already."""
    found = []
    for workspace_id, origin, latest in rows(_SERVED, {"plain": plain}) if versions else ():
        version = versions.get(str(origin))
        if version is not None and _written(version) != latest:
            workspace = cast("str | None", workspace_id)
            found.append(_release(FILE, workspace, version, now, f"{FILE}/{origin}"))
    return found


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
        written = _written(version)
        if written == self._latest:
            return
        await one_pass.put([_release(CONSOLE, workspace_id, version, one_pass.began, CONSOLE)])
        self._latest = written


def _release(source: str, workspace_id: str | None, version: Version, at: datetime, place: str) -> Release:
    return Release(
        source=source,
        seen_at=at,
        id=f"{place}/{workspace_id or ''}/{at.isoformat()}",
        workspace_id=workspace_id,
        version=_written(version),
        number=number(version),
        created_at=at,
    )


def _written(version: Version) -> str:
    return ".".join(map(str, version))
