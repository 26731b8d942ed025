"""Who may ask what: scopes, what a key sees of the facts, and keys, of which only a hash is kept.

What comes in are wishes for a key; what goes out are a Key to keep and the token to show once. A token is 256 random
bits, so nobody can try them all, and one pass of SHA-256 keeps it as well as a slow hash would: those are for passwords
that people choose, and would cost every scrape a tenth of a second. Nothing here stores, asks or answers anything.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

import msgspec

from collector.errors import QueryError


class Scope(StrEnum):
    """What one may do."""

    READ = "read"  # ask: measures, reconciliation, lists
    INGEST = "ingest"  # bring facts in: send facts and events, have Dify read
    METRICS = "metrics"  # scrape /metrics
    ADMIN = "admin"  # make and revoke keys; and everything else


class Sight(msgspec.Struct, frozen=True):
    """What of the facts somebody sees: those of these apps, and of these workspaces, and of these Difys.

    An empty list sets no bound; of several lists a fact must fulfil each. What belongs to no app (a queue, a knowledge
    base) is seen only where nothing is bound to apps.
    """

    apps: tuple[str, ...] = ()
    workspaces: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether everything is seen."""
        return not (self.apps or self.workspaces or self.origins)


EVERYTHING = Sight()


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """One key. Its token was shown when it was made, and is known to its holder alone."""

    id: str  # 8 hex digits; stands in the token, in lists and in log lines
    name: str  # whose it is, or what for
    scopes: tuple[Scope, ...]
    sight: Sight = EVERYTHING
    digest: str  # SHA-256 of the token, in hex
    created_at: datetime  # UTC
    expires_at: datetime | None = None  # UTC; None: never
    revoked_at: datetime | None = None  # UTC
    last_used_at: datetime | None = None  # UTC, to the minute

    def state(self, now: datetime) -> str:
        """active, expired or revoked."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "active"


class Visitor(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks: by which key, what they may do and what they see."""

    name: str
    key_id: str | None = None  # None: no key of ours, but a token of the settings or nothing
    scopes: frozenset[Scope] = frozenset()
    sight: Sight = EVERYTHING

    def may(self, *scopes: Scope) -> bool:
        """Whether they have one of these scopes; admin is all of them."""
        return Scope.ADMIN in self.scopes or not self.scopes.isdisjoint(scopes)


LONGEST_NAME = 100
MOST_VALUES = 1000
"""Apps, workspaces or Difys of one key."""

_TOKEN = re.compile(r"dm_([0-9a-f]{8})_[A-Za-z0-9_-]{43}")


def mint(
    name: str,
    scopes: Iterable[str],
    *,
    now: datetime,
    sight: Sight = EVERYTHING,
    expires_at: datetime | None = None,
) -> tuple[Key, str]:
    """A new key, and its token. Raises QueryError naming what is wrong with the wish."""
    wanted = tuple(dict.fromkeys(_scope(each) for each in scopes))
    _check(name, wanted, sight, now, expires_at)
    key_id = secrets.token_hex(4)
    token = f"dm_{key_id}_{secrets.token_urlsafe(32)}"
    key = Key(
        id=key_id,
        name=name.strip(),
        scopes=wanted,
        sight=sight,
        digest=digest(token),
        created_at=now,
        expires_at=expires_at,
    )
    return key, token


def told(key: Key, now: datetime) -> dict[str, object]:
    """A key as people may see it."""
    plain: dict[str, object] = msgspec.structs.asdict(key)
    del plain["digest"], plain["sight"]
    sight = {name: list(values) for name, values in msgspec.structs.asdict(key.sight).items()}
    return {**plain, **sight, "scopes": list(key.scopes), "state": key.state(now)}


def key_id_of(token: str) -> str | None:
    """The id of the key that a token claims to be of; None where it is not made like one of ours."""
    found = _TOKEN.fullmatch(token)
    return found[1] if found else None


def digest(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def is_of(token: str, kept: str) -> bool:
    """Whether a token is the one whose digest was kept; takes as long whichever digit differs."""
    return hmac.compare_digest(digest(token), kept)


def _scope(written: str) -> Scope:
    try:
        return Scope(written)
    except ValueError:
        there = ", ".join(Scope)
        raise QueryError(f"no scope {written[:80]!r}; there are {there}", field="scopes", choices=Scope) from None


def _check(name: str, scopes: tuple[Scope, ...], sight: Sight, now: datetime, expires_at: datetime | None) -> None:
    if not name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
        raise QueryError(f"name: wanted whose the key is, in 1 to {LONGEST_NAME} printable characters", field="name")
    if not scopes:
        raise QueryError(f"a key needs a scope: {', '.join(Scope)}", field="scopes", choices=Scope)
    if not sight.is_whole and set(scopes) != {Scope.READ}:
        raise QueryError(
            "a key bound to apps, workspaces or Difys can only read: what is sent or scraped is of all of them",
            field="scopes",
            choices=(Scope.READ,),
        )
    for field in ("apps", "workspaces", "origins"):
        values = getattr(sight, field)
        if len(values) > MOST_VALUES or not all(value and value.isprintable() for value in values):
            raise QueryError(f"{field}: wanted at most {MOST_VALUES} ids, none of them empty", field=field)
    if expires_at is not None and (expires_at.tzinfo is None or expires_at <= now):
        raise QueryError("expires_at: wanted an instant to come, with its time zone", field="expires_at")
