"""Who is let in: what a caller shows comes in, a Visitor or a Refusal goes out. Knows no route and no HTTP framework.

Where nobody else can reach us, everyone may do everything that no token of the settings guards; elsewhere a key is
asked for. Who shows wrong ones too often waits. Keys of ours are random and cannot be tried out, so they open the door
even then: nobody can lock another out. Tokens of the settings may be short, and have to wait like everyone.
"""

from __future__ import annotations

import base64
import binascii
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from datetime import datetime
from ipaddress import IPv6Address, ip_address

import structlog

from collector.access import Scope, Visitor, digest, is_of, key_id_of
from collector.keyring import Keyring

log = structlog.get_logger()

MOST_TRIES = 10
"""Wrong keys from one address that are looked at in TRIES_SECONDS."""

TRIES_SECONDS = 60.0
MOST_ADDRESSES = 10_000

REALM = 'realm="dify-metric"'
CHALLENGES = (f"Bearer {REALM}", f'Basic {REALM}, charset="UTF-8"')

_COMPANION = Visitor(name="the tap beside us", scopes=frozenset({Scope.INGEST}))

_NONE_HERE = (
    "the key shown is none of this collector's: `dify-metric key list` shows those it made; others are admin_token, "
    "read_token, ingest_token and metrics_token of its settings"
)


class Refusal(Exception):
    """Somebody is not let in. `reason` is of a closed list, for counting; `challenges` say how to come back."""

    def __init__(
        self,
        status: int,
        reason: str,
        detail: str,
        *,
        challenges: tuple[str, ...] = (),
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.reason, self.detail = status, reason, detail
        self.challenges, self.retry_after_seconds = challenges, retry_after_seconds


class Admission:
    """The rule of one collector. `refused` counts by reason. Safe for one thread: that of the event loop."""

    def __init__(
        self,
        keyring: Keyring | None = None,
        *,
        is_open: bool = True,
        tokens: Mapping[Scope, str] | None = None,
        inner: str | None = None,
        clock: Callable[[], datetime],
    ) -> None:
        """`is_open`: who shows nothing may do whatever no token guards. `tokens` are those of the settings.

        `inner` is what a process that we started ourselves shows: it sends facts, wherever we listen.
        """
        self._keyring, self._clock, self._is_open = keyring, clock, is_open
        self._tokens = {scope: digest(token) for scope, token in (tokens or {}).items()}
        self._inner = digest(inner) if inner else None
        self._tries: OrderedDict[str, tuple[float, datetime]] = OrderedDict()
        self.refused: Counter[str] = Counter()
        guarded = {*self._tokens, *((Scope.ADMIN,) if self._tokens else ())}
        everything = frozenset(Scope) - guarded
        self._nobody = Visitor(name="anyone", scopes=everything if is_open else frozenset())

    def visitor(self, authorization: str | None, address: str) -> Visitor:
        """Who shows this from there. Raises Refusal."""
        if not authorization:
            return self._nobody
        token, now = shown(authorization), self._clock()
        if token and self._inner and is_of(token, self._inner):
            return _COMPANION
        if token and (found := self._holder(token, now)):
            return found
        wait = self._wait(address, now)
        if wait <= 0 and token and (found := self._of_settings(token)):
            return found
        if self._is_open and not self._tokens and not (token and key_id_of(token)):
            return self._nobody  # a proxy's own password, most likely
        if wait > 0:
            raise self._refusal(429, "limited", "too many wrong keys from your address; try later", after=wait)
        self._tries[_network(address)] = (self._level(address, now) + 1, now)
        log.warning("wrong key", address=address, next="a key that nobody here made; look who tries")
        raise self._refusal(401, "unknown", _NONE_HERE)

    def require(self, visitor: Visitor, *scopes: Scope, is_whole: bool) -> None:
        """Let in who has one of these scopes, and with `is_whole` who sees everything. Raises Refusal."""
        if not scopes:
            return
        if not visitor.may(*scopes):
            named = " or ".join(scopes)
            if visitor is self._nobody:
                raise self._refusal(401, "missing", _wanted(named, scopes))
            raise self._refusal(
                403, "scope", f"{visitor.name} may not do this: it takes a key with scope {named}", scope=named
            )
        if is_whole and not visitor.sight.is_whole:
            raise self._refusal(
                403, "sight", f"{visitor.name} sees only some apps, and this is about all; take another key"
            )

    def _holder(self, token: str, now: datetime) -> Visitor | None:
        key = self._keyring.holder(token, now) if self._keyring is not None else None
        if key is None:
            return None
        if (state := key.state(now)) != "active":
            raise self._refusal(
                401, state, f"the key {key.id} ({key.name}) is {state}; `dify-metric key create` makes another"
            )
        return Visitor(name=key.name, key_id=key.id, scopes=frozenset(key.scopes), sight=key.sight)

    def _of_settings(self, token: str) -> Visitor | None:
        found = [scope for scope, kept in self._tokens.items() if is_of(token, kept)]
        return Visitor(name=" ".join(f"{scope}_token" for scope in found), scopes=frozenset(found)) if found else None

    def _level(self, address: str, now: datetime) -> float:
        """Wrong keys from an address that are not forgotten yet: they are, one by one, within TRIES_SECONDS."""
        level, since = self._tries.pop(_network(address), (0.0, now))
        while len(self._tries) >= MOST_ADDRESSES:
            self._tries.popitem(last=False)
        return max(level - (now - since).total_seconds() * MOST_TRIES / TRIES_SECONDS, 0.0)

    def _wait(self, address: str, now: datetime) -> float:
        """Seconds until another wrong key from there is looked at; 0: now."""
        if _network(address) not in self._tries:
            return 0.0
        level = self._level(address, now)
        self._tries[_network(address)] = (level, now)
        return max(level - MOST_TRIES + 1, 0.0) * TRIES_SECONDS / MOST_TRIES

    def _refusal(
        self, status: int, reason: str, detail: str, *, scope: str = "", after: float | None = None
    ) -> Refusal:
        self.refused[reason] += 1
        challenges: tuple[str, ...] = CHALLENGES if status == 401 else ()
        if reason in ("unknown", "expired", "revoked"):
            challenges = (f'{CHALLENGES[0]}, error="invalid_token"', CHALLENGES[1])
        if scope:
            challenges = (f'{CHALLENGES[0]}, error="insufficient_scope", scope="{scope}"',)
        return Refusal(status, reason, detail, challenges=challenges, retry_after_seconds=after)


def shown(authorization: str) -> str | None:
    """The token of an Authorization header: Bearer, or the password (or, without one, the user) of Basic."""
    kind, _, rest = authorization.strip().partition(" ")
    rest = rest.strip()
    if kind.lower() == "bearer":
        return rest or None
    if kind.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(rest, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None
    return password or user or None


def _wanted(named: str, scopes: tuple[Scope, ...]) -> str:
    setting = f"{scopes[0]}_token"
    return (
        f"Authorization: wanted 'Bearer ' and a key with scope {named}, or the key as password of Basic; "
        f"`dify-metric key create --scope {scopes[0]}` makes one, or take {setting} of this collector's settings"
    )


def _network(address: str) -> str:
    """An address, of IPv6 the network a single caller has."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if isinstance(found, IPv6Address):
        return str(found.ipv4_mapped or int(found) >> 64)
    return address
