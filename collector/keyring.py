"""The keys there are: kept in the store, known by heart while a process runs, so that checking one asks no database.

What comes in are the store's `rows` and `set_keys`; what goes out are keys and the answer who a token is. One process
owns the store and so the keyring. When a key was last used is written now and then, never while somebody waits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from threading import Lock
from typing import Any, TypeAlias

import msgspec

from collector.access import EVERYTHING, Key, Scope, Sight, is_of, key_id_of, mint
from collector.errors import QueryError

Rows: TypeAlias = Callable[[str, Sequence[object]], Sequence[tuple[Any, ...]]]

USED_EVERY = timedelta(minutes=1)
"""How exactly it is known when a key was last used."""

KEPT_REVOKED = timedelta(days=90)
"""So long a revoked or expired key stays in the list."""

_KEYS = """
SELECT id, name, scopes, apps, workspaces, origins, digest, created_at, expires_at, revoked_at, last_used_at
FROM access_key ORDER BY created_at, id"""

_NOBODY = "0" * 64


class Keyring:
    """Every key. Safe to use from several threads."""

    def __init__(self, rows: Rows, set_keys: Callable[[Iterable[Key]], None]) -> None:
        self._set, self._lock = set_keys, Lock()
        self._keys = {key.id: key for key in map(_key, rows(_KEYS, []))}
        self._is_new = False

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[Key]:
        """Every key, the oldest first."""
        return iter(list(self._keys.values()))

    def create(
        self,
        name: str,
        scopes: Iterable[str],
        *,
        now: datetime,
        sight: Sight = EVERYTHING,
        expires_at: datetime | None = None,
    ) -> tuple[Key, str]:
        """A new key, kept, and its token: nobody can tell it again. Raises QueryError, StoreError."""
        key, token = mint(name, scopes, now=now, sight=sight, expires_at=expires_at)
        with self._lock:
            gone = now - KEPT_REVOKED
            kept = {old.id: old for old in self._keys.values() if not _is_past(old, gone)}
            self._keep(kept | {key.id: key})
        return key, token

    def revoke(self, key_id: str, now: datetime) -> Key:
        """Let a key open nothing any more, from this moment. Raises QueryError where there is none."""
        with self._lock:
            key = self._keys.get(key_id)
            if key is None:
                raise QueryError(f"no key {key_id[:80]!r}; dify-metric key list shows them", field="id")
            if key.revoked_at is None:
                key = msgspec.structs.replace(key, revoked_at=now)
                self._keep(self._keys | {key_id: key})
            return key

    def holder(self, token: str, now: datetime) -> Key | None:
        """The key of a token, whatever its state, or None where nobody made it; notes that it was used."""
        key = self._keys.get(key_id_of(token) or "")
        if not is_of(token, key.digest if key else _NOBODY) or key is None:
            return None
        if key.state(now) == "active" and (key.last_used_at is None or now - key.last_used_at >= USED_EVERY):
            self._note(key.id, now)
        return key

    def _note(self, key_id: str, now: datetime) -> None:
        if not self._lock.acquire(blocking=False):
            return  # somebody writes keys down just now; its next use will do
        try:
            if (known := self._keys.get(key_id)) is not None:
                self._keys[key_id] = msgspec.structs.replace(known, last_used_at=now)
                self._is_new = True
        finally:
            self._lock.release()

    def flush(self) -> None:
        """Write down which keys were used since it was last done. Raises StoreError."""
        with self._lock:
            if self._is_new:
                self._keep(self._keys)

    def _keep(self, keys: dict[str, Key]) -> None:
        self._set(keys.values())
        self._keys, self._is_new = dict(keys), False


def _is_past(key: Key, limit: datetime) -> bool:
    ended = [at for at in (key.revoked_at, key.expires_at) if at is not None]
    return bool(ended) and min(ended) < limit


def _key(row: tuple[Any, ...]) -> Key:
    key_id, name, scopes, apps, workspaces, origins, kept, created_at, expires_at, revoked_at, last_used_at = row
    return Key(
        id=key_id,
        name=name,
        scopes=tuple(Scope(each) for each in scopes),
        sight=Sight(tuple(apps), tuple(workspaces), tuple(origins)),
        digest=kept,
        created_at=created_at,
        expires_at=expires_at,
        revoked_at=revoked_at,
        last_used_at=last_used_at,
    )
