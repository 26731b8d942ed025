"""Signing in to the simulated console, by version: cookies with CSRF, a bearer pair, a bare token, the admin key.

What comes in are passwords, cookies and headers; what goes out is the account behind a request, tokens, or a Refusal in
Dify's words. Tokens live by the clock handed over; a refresh token works once. No real secret is involved: passwords
are those of the simulated accounts.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

import msgspec

from collector.demo.asking import Refusal
from collector.demo.rows import Account, Json
from collector.demo.world import World

ACCESS_SECONDS = 3600
REFRESH_SECONDS = 30 * 24 * 3600
MOST_WRONG_PASSWORDS = 5
LOCKED_OUT_FOR = timedelta(hours=24)

_BAD_TOKEN = "Invalid token."


class Tokens(msgspec.Struct, frozen=True):
    """What a login brings."""

    access: str
    refresh: str
    csrf: str


class Dialect(msgspec.Struct, frozen=True):
    """How a version signs in."""

    has_cookies: bool
    has_pair: bool
    has_encoded_password: bool

    @classmethod
    def of(cls, version: str) -> Dialect:
        """The dialect of a version such as "1.11.1"."""
        numbers = tuple(int(part) for part in version.split(".")[:3])
        return cls(numbers >= (1, 9, 2), numbers >= (0, 9), numbers >= (1, 11, 1))


class Door:
    """Who gets in: logins, tokens, lock-outs, the admin key."""

    def __init__(self, world: World, clock: Callable[[], datetime], version: str, admin_key: str | None = None) -> None:
        self.dialect = Dialect.of(version)
        self._world = world
        self._clock = clock
        self._admin_key = admin_key
        self._wrong: dict[str, list[datetime]] = {}
        self._refresh: dict[str, tuple[str, datetime]] = {}  # token -> account id, until
        self._issued = 0

    def log_in(self, body: Json) -> Tokens:
        """Tokens for e-mail and password. Raises Refusal: 401, or 429 once locked out."""
        email, password = str(body.get("email", "")), str(body.get("password", ""))
        if self.dialect.has_encoded_password:
            password = _decoded(password)
        now = self._clock()
        wrong = [at for at in self._wrong.get(email, []) if now - at < LOCKED_OUT_FOR]
        if len(wrong) >= MOST_WRONG_PASSWORDS:
            message = "Too many incorrect password attempts. Please try again later."
            raise Refusal(429, "email_code_login_limit", message)
        account = next((known for known in self._world.accounts if known.email == email), None)
        if account is None or account.password != password:
            self._wrong[email] = [*wrong, now]
            raise Refusal(401, "authentication_failed", "Invalid email or password.")
        self._wrong.pop(email, None)
        return self._issue(account.id)

    def refresh(self, token: str | None) -> Tokens | str:
        """New tokens for a refresh token, which dies by it; or why not."""
        if not token:
            return "No refresh token provided"
        account_id, until = self._refresh.pop(token, ("", self._clock()))
        if not account_id or until <= self._clock():
            return "Invalid refresh token"
        return self._issue(account_id)

    def account(self, headers: Mapping[str, str], cookies: Mapping[str, str]) -> Account:
        """Who asks. Raises Refusal 401."""
        bearer = _bearer(headers)
        if self.holds_admin_key(headers):
            if headers.get("x-workspace-id") != self._world.workspace_id:
                raise Refusal(401, "unauthorized", _BAD_TOKEN)
            return self._world.accounts[0]
        token = bearer or (_cookie(cookies, "access_token") if self.dialect.has_cookies else None)
        if not token:
            raise Refusal(401, "unauthorized", "Invalid Authorization token.")
        account = self._holder(token, "access")
        if self.dialect.has_cookies:
            self._check_csrf(headers.get("x-csrf-token"), _cookie(cookies, "csrf_token"))
        return account

    def holds_admin_key(self, headers: Mapping[str, str]) -> bool:
        """Whether the request carries the admin key."""
        return self._admin_key is not None and _bearer(headers) == self._admin_key

    def _check_csrf(self, header: str | None, cookie: str | None) -> None:
        if header and header == cookie:
            try:
                self._holder(header, "csrf")
            except Refusal:
                pass
            else:
                return
        raise Refusal(401, "unauthorized", "CSRF token is missing or invalid.")

    def _issue(self, account_id: str) -> Tokens:
        self._issued += 1
        now = self._clock()
        refresh = hashlib.sha256(f"refresh {account_id} {self._issued}".encode()).hexdigest()
        self._refresh[refresh] = (account_id, now + timedelta(seconds=REFRESH_SECONDS))
        return Tokens(self._token(account_id, "access"), refresh, self._token(account_id, "csrf"))

    def _token(self, account_id: str, kind: str) -> str:
        """A JWT by its looks; the signature is ours alone."""
        expires = int(self._clock().timestamp()) + ACCESS_SECONDS
        claims = {"user_id": account_id, "exp": expires, "iss": "SELF_HOSTED", "sub": kind, "n": self._issued}
        head = ".".join(_encoded(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
        return f"{head}.{self._signature(head)}"

    def _holder(self, token: str, kind: str) -> Account:
        head, _, signature = token.rpartition(".")
        if not head or signature != self._signature(head):
            raise Refusal(401, "unauthorized", _BAD_TOKEN)
        claims = json.loads(base64.urlsafe_b64decode(head.split(".")[1] + "=="))
        if claims["sub"] != kind:
            raise Refusal(401, "unauthorized", _BAD_TOKEN)
        if claims["exp"] <= self._clock().timestamp():
            raise Refusal(401, "unauthorized", "Token has expired.")
        return next(known for known in self._world.accounts if known.id == claims["user_id"])

    def _signature(self, head: str) -> str:
        return _encoded(hashlib.sha256(f"{self._world.workspace_id} {head}".encode()).digest())


def set_cookies(tokens: Tokens, *, is_secure: bool) -> list[str]:
    """The `Set-Cookie` headers of a login; over https the names carry `__Host-`."""
    prefix, secure = ("__Host-", "; Secure") if is_secure else ("", "")
    return [
        f"{prefix}{name}={value}; Max-Age={seconds}{only}; Path=/; SameSite=Lax{secure}"
        for name, value, seconds, only in (
            ("access_token", tokens.access, ACCESS_SECONDS, "; HttpOnly"),
            ("refresh_token", tokens.refresh, REFRESH_SECONDS, "; HttpOnly"),
            ("csrf_token", tokens.csrf, ACCESS_SECONDS, ""),
        )
    ]


def refresh_cookie(cookies: Mapping[str, str]) -> str | None:
    """The refresh token a request carries."""
    return _cookie(cookies, "refresh_token")


def _cookie(cookies: Mapping[str, str], name: str) -> str | None:
    return cookies.get(f"__Host-{name}") or cookies.get(name)


def _bearer(headers: Mapping[str, str]) -> str | None:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _decoded(password: str) -> str:
    try:
        return base64.b64decode(password, validate=True).decode()
    except ValueError:
        raise Refusal(401, "authentication_failed", "Invalid encrypted data") from None
