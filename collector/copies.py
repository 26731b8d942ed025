"""Copies of the store, as commands: here or by the service that holds the store. No terminal here.

What comes in are Settings and a path; what goes out are the path and how much lies there. A copy never replaces a file.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from collector.access import Scope
from collector.commands import with_store
from collector.errors import SettingsError
from collector.running import whereabouts
from collector.settings import Settings
from collector.store import Store, open_store

Plain: TypeAlias = Mapping[str, Any]


def backup(settings: Settings, to: Path) -> Plain:
    """Write a consistent copy of the store, here or by the service that holds it: its path and bytes."""
    path = to.absolute()

    def here(store: Store) -> Plain:
        store.backup(path)
        return {"path": str(path), "bytes": path.stat().st_size}

    _must_exist(settings)
    return with_store(settings, here, lambda running: running.backup(str(path)), scope=Scope.ADMIN)


def restore(settings: Settings, source: Path) -> Plain:
    """Make the settings' store from a backup. Raises SettingsError where one is there, StoreError for no backup."""
    target = Path(whereabouts(settings.store))
    if target.exists():
        raise SettingsError(f"store: there is one at {target}; move it away first, a backup never replaces it")
    part = target.with_name(target.name + ".part")
    try:
        shutil.copyfile(source, part)
        open_store(part).close()  # a backup of an older version becomes today's, what is none is refused
        part.rename(target)
    finally:
        part.unlink(missing_ok=True)
    return {"path": str(target), "bytes": target.stat().st_size}


def export_parquet(settings: Settings, to: Path) -> Plain:
    """Write every table as a Parquet file, here or by the service that holds the store: where, and rows by table."""
    path = to.absolute()
    _must_exist(settings)
    return with_store(
        settings,
        lambda store: {"path": str(path), "rows": store.export_parquet(path)},
        lambda running: running.export_parquet(str(path)),
        scope=Scope.ADMIN,
    )


def _must_exist(settings: Settings) -> None:
    if not (path := Path(whereabouts(settings.store))).exists():
        raise SettingsError(f"store: there is none at {path}; nothing to copy")
