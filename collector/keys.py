"""What `dify-metric key` does: keys made, listed and revoked, here or by the service that holds the store.

In come Settings and plain arguments; out go plain values as REST gives them. Nothing here prints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeAlias

import msgspec

from collector.access import Scope, Sight, told
from collector.clock import utc_now
from collector.commands import with_store
from collector.errors import QueryError
from collector.keyring import Keyring
from collector.period import Period, span
from collector.settings import Settings
from collector.store import Store

Plain: TypeAlias = Mapping[str, Any]


def create(settings: Settings, wish: Plain, expires: str | None) -> Plain:
    """A new key with its token. `wish` has name, scopes, apps, workspaces, origins. Raises QueryError."""
    now = utc_now()
    expires_at = expiry(expires, now, settings.report_timezone) if expires else None

    def here(store: Store) -> Plain:
        sight = Sight(*(tuple(wish[name]) for name in ("apps", "workspaces", "origins")))
        keyring = _keyring(store)
        key, token = keyring.create(wish["name"], wish["scopes"], now=now, sight=sight, expires_at=expires_at)
        return _plain({**told(key, now), "token": token})

    asked = {**wish, "expires_at": expires_at.isoformat() if expires_at else None}
    return with_store(settings, here, lambda running: running.create_key(asked), scope=Scope.ADMIN)


def listed(settings: Settings) -> Sequence[Plain]:
    """Every key, the oldest first."""

    def here(store: Store) -> Sequence[Plain]:
        now = utc_now()
        return [_plain(told(key, now)) for key in _keyring(store)]

    return with_store(settings, here, lambda running: running.keys(), scope=Scope.ADMIN, read_only=True)


def revoke(settings: Settings, key_id: str) -> Plain:
    """Let a key open nothing any more. Raises QueryError where there is none."""

    def here(store: Store) -> Plain:
        now = utc_now()
        return _plain(told(_keyring(store).revoke(key_id, now), now))

    return with_store(settings, here, lambda running: running.revoke_key(key_id), scope=Scope.ADMIN)


def expiry(written: str, now: datetime, timezone: str) -> datetime:
    """When a key ends: a span from now (90d), or the start of a day, month or year, or an instant."""
    try:
        length: timedelta | None = span(written)
    except QueryError:
        length = None
    try:
        return now + length if length else Period.parse(since=written, tz=timezone, now=now).start
    except QueryError:
        raise QueryError(
            f"expires: wanted a span such as 90d, a day such as 2027-01-31 or an instant, got {written[:80]!r}",
            field="expires",
        ) from None


def _plain(key: Mapping[str, object]) -> Plain:
    """As JSON would have it."""
    found: Plain = msgspec.to_builtins(key)
    return found


def _keyring(store: Store) -> Keyring:
    return Keyring(store.rows, store.set_keys)
