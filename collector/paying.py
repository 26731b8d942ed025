"""Who pays for what is stored: the payers' file, resolved for the users, keys, apps and workspaces that are known.

What comes in are the file's path and the store's `rows` and `set_payers`; what goes out are the rows of `payer_span`,
and a report of users nobody pays for. Resolved anew when the file changed or somebody new is known. Nothing here opens
a store or keeps an address.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import structlog

from collector.errors import SettingsError
from collector.payer_file import read_payers
from collector.payers import Payers, PayerSpan
from collector.records import CONSOLE, App, User

log = structlog.get_logger()

Rows: TypeAlias = Callable[[str, Sequence[object]], Sequence[tuple[Any, ...]]]

_KNOWN = """
SELECT (SELECT count(*) FROM end_user), (SELECT max(seen_at) FROM end_user), (SELECT count(*) FROM app),
  (SELECT max(seen_at) FROM app), (SELECT count(*) FROM api_key)
"""
_USERS = "SELECT id, kind, workspace_id, session_id, name, seen_at FROM end_user ORDER BY id"
_APPS = "SELECT id, name, seen_at FROM app ORDER BY id"
_KEYS = "SELECT fingerprint FROM api_key UNION SELECT key_fingerprint FROM request WHERE key_fingerprint IS NOT NULL"
_WORKSPACES = """
SELECT workspace_id FROM app WHERE workspace_id IS NOT NULL
UNION SELECT workspace_id FROM dataset WHERE workspace_id IS NOT NULL ORDER BY 1
"""
_USED = """
SELECT user_id, count(*) AS times, max(created_at) AS last_at FROM (
  SELECT user_id, created_at FROM run WHERE is_debug IS NOT TRUE
  UNION ALL SELECT user_id, created_at FROM message WHERE is_debug IS NOT TRUE AND run_id IS NULL
) AS asked GROUP BY user_id
"""


class UnmappedUser(msgspec.Struct, frozen=True, kw_only=True):
    """A user without an entry of its own."""

    id: str
    kind: str  # end_user, account
    session_id: str | None
    name: str | None
    requests: int  # runs, and messages of apps without runs
    last_at: datetime | None


class PayerReport(msgspec.Struct, frozen=True, kw_only=True):
    """How far the file reaches: the users it does not name, those who ask most first."""

    file: str
    entries: int
    users: int
    unmapped: list[UnmappedUser]


class Paying:
    """Keeps `payer_span` as the file says."""

    def __init__(self, path: Path, rows: Rows, set_payers: Callable[[Iterable[PayerSpan]], None]) -> None:
        """Raises SettingsError where the file is wrong."""
        self._path = path
        self._rows = rows
        self._set = set_payers
        self._written = _written(path)
        self._payers = read_payers(path)
        self._known: object = None

    def refresh(self) -> bool:
        """Resolve anew where something changed; whether it did. A file that is wrong by now changes nothing."""
        try:
            if (written := _written(self._path)) != self._written:
                self._written = written
                self._payers, self._known = read_payers(self._path), None
        except SettingsError as error:
            log.warning("payers not read", problem=str(error), next="what it said before still counts")
        known = self._rows(_KNOWN, [])
        if known == self._known:
            return False
        self._set(_spans(self._payers, self._rows))
        self._known = known
        return True


def report(path: Path, rows: Rows, now: datetime) -> PayerReport:
    """What a payers' file leaves open at `now`. Raises SettingsError where it is wrong."""
    payers, users = read_payers(path), _users(rows)
    used = {user_id: (times, last_at) for user_id, times, last_at in rows(_USED, [])}
    unmapped = [
        UnmappedUser(
            id=user.id,
            kind=user.kind,
            session_id=user.session_id,
            name=user.name,
            requests=used.get(user.id, (0, None))[0],
            last_at=used.get(user.id, (0, None))[1],
        )
        for user in payers.unmapped(users, now)
    ]
    unmapped.sort(key=lambda user: (-user.requests, user.id))
    return PayerReport(file=str(path), entries=len(payers), users=len(users), unmapped=unmapped)


def _spans(payers: Payers, rows: Rows) -> list[PayerSpan]:
    apps = [App(source=CONSOLE, id=key, name=name, seen_at=seen) for key, name, seen in rows(_APPS, [])]
    keys, workspaces = ([value for (value,) in rows(sql, [])] for sql in (_KEYS, _WORKSPACES))
    return payers.resolve(_users(rows), apps=apps, keys=keys, workspaces=workspaces)


def _users(rows: Rows) -> list[User]:
    return [
        User(source=CONSOLE, id=key, kind=kind, workspace_id=workspace, session_id=session, name=name, seen_at=seen)
        for key, kind, workspace, session, name, seen in rows(_USERS, [])
    ]


def _written(path: Path) -> tuple[int, int] | None:
    try:
        about = path.stat()
    except OSError:
        return None  # reading it says why
    return about.st_mtime_ns, about.st_size
