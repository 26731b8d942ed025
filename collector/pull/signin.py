"""The ways to sign in to Dify's console, as plain values: what to send, and how to read what came back.

What comes in is an Access (who we are) and the answers to a login; what goes out is a Session (the headers every
request carries). Nothing here sends a request, waits or tries anything twice: `console.py` does.

Dify changed its ways: a bare JWT (0.6-0.8), a pair of JSON tokens (0.9-1.9.1), cookies with a CSRF token (1.9.2 on);
plain passwords, then base64 (1.11.1 on). The shape of the answer tells the first, the version tells the second: a
password sent the wrong way counts as a wrong password, and six of those lock the account for a day.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import TypeAlias

from collector.errors import SettingsError, ShapeError
from collector.fields import Json

Version: TypeAlias = tuple[int, int, int]

BASE64_PASSWORDS: Version = (1, 11, 1)
"""From here on the password travels as base64 of its UTF-8 bytes."""

ACCESS_COOKIE, REFRESH_COOKIE, CSRF_COOKIE = "access_token", "refresh_token", "csrf_token"


@dataclass(frozen=True, kw_only=True)
class Access:
    """Where Dify is and who we are: exactly one of admin key, e-mail with password, or a fixed token.

    `path_prefix` stands before `/console/api` where a portal proxies Dify. `version` is Dify's, for portals that
    take the X-Version header away; else it is read from there. `app_keys` open the service API of their apps. Raises
    SettingsError when this cannot sign in.
    """

    url: str
    path_prefix: str = ""
    admin_key: str | None = field(default=None, repr=False)
    workspace_id: str | None = None
    email: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    version: str | None = None
    app_keys: tuple[str, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if "@" in self.url:
            raise SettingsError(
                "dify_url: wanted an address without user and password; dify_email and the like say those"
            )
        if not re.match(r"https?://[^/\s]", self.url):
            raise SettingsError(f"dify_url: wanted http://host or https://host, got {self.url!r}")
        if bool(self.email) != bool(self.password):
            raise SettingsError("dify_email and dify_password: wanted both or neither")
        ways = [name for name in ("admin_key", "email", "token") if getattr(self, name)]
        if len(ways) != 1:
            raise SettingsError(
                "signing in to Dify: wanted exactly one of dify_admin_key, dify_email with dify_password, dify_token; "
                f"got {' and '.join(f'dify_{way}' for way in ways) or 'none'}"
            )
        if self.admin_key and not self.workspace_id:
            raise SettingsError("dify_workspace_id: wanted beside dify_admin_key; the key alone opens no workspace")
        if self.version is not None and read_version(self.version) is None:
            raise SettingsError(f"dify_version: wanted a version such as 1.11.1, got {self.version!r}")

    @property
    def api(self) -> str:
        """The address every console path is put behind."""
        return f"{self._before}/console/api"

    @property
    def service(self) -> str:
        """The address every path of the service API is put behind."""
        return f"{self._before}/v1"

    @property
    def _before(self) -> str:
        prefix = self.path_prefix.strip("/")
        return f"{self.url.rstrip('/')}{'/' + prefix if prefix else ''}"

    @property
    def has_login(self) -> bool:
        """Whether a session comes from a login (and so can be renewed)."""
        return bool(self.email)


@dataclass(frozen=True)
class Session:
    """What one sign-in gave: the headers of every request, and what renews it (None: only another login)."""

    headers: Mapping[str, str] = field(repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    refresh_cookie: str | None = None  # its name where it travels as a cookie; None: as JSON


def fixed_session(access: Access) -> Session:
    """The session of a key or token that needs no login."""
    headers = {"Authorization": f"Bearer {access.admin_key or access.token}"}
    if access.workspace_id:
        headers["X-WORKSPACE-ID"] = access.workspace_id
    return Session(headers)


def read_version(told: str | None) -> Version | None:
    """`1.11.1`, `v1.9`, `1.10.1-fix.1` -> (1, 11, 1) ...; None when there is none to read."""
    found = re.match(r"\s*v?(\d+)\.(\d+)(?:\.(\d+))?", told or "")
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else None


def login_body(access: Access, version: Version) -> Json:
    """What to post to /login on that version."""
    password = access.password or ""
    if version >= BASE64_PASSWORDS:
        password = base64.b64encode(password.encode()).decode()
    return {"email": access.email, "password": password, "remember_me": True}


def refresh_request(session: Session) -> tuple[Mapping[str, str], Json]:
    """Headers and body to post to /refresh-token."""
    if session.refresh_cookie:
        return {"Cookie": f"{session.refresh_cookie}={session.refresh_token}"}, {}
    return {}, {"refresh_token": session.refresh_token}


def read_session(set_cookies: Sequence[str], body: Json) -> Session:
    """The answer to a login or a refresh -> Session. Raises ShapeError when it holds no token."""
    cookies = _cookies(set_cookies)
    if ACCESS_COOKIE in cookies:
        return _cookie_session(cookies)
    told = body.get("data")
    if isinstance(told, str) and told:
        return Session({"Authorization": f"Bearer {told}"})
    access = told.get("access_token") if isinstance(told, Mapping) else None
    if not isinstance(told, Mapping) or not isinstance(access, str) or not access:
        raise ShapeError("login", "an access_token in a cookie or in the answer", f"{len(set_cookies)} cookies")
    refresh = told.get("refresh_token")
    return Session({"Authorization": f"Bearer {access}"}, refresh if isinstance(refresh, str) else None)


def _cookies(set_cookies: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Set-Cookie headers -> plain name: (name as sent, value). Behind https the names start with `__Host-`."""
    found = {}
    for header in set_cookies:
        try:
            parsed = SimpleCookie(header)
        except CookieError:
            continue
        for name, morsel in parsed.items():
            plain = name.removeprefix("__Host-").removeprefix("__Secure-")
            if morsel.value:
                found[plain] = (name, morsel.value)
    return found


def _cookie_session(cookies: Mapping[str, tuple[str, str]]) -> Session:
    sent = [cookies[name] for name in (ACCESS_COOKIE, CSRF_COOKIE) if name in cookies]
    headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in sent)}
    if CSRF_COOKIE in cookies:
        headers["X-CSRF-Token"] = cookies[CSRF_COOKIE][1]
    name, token = cookies.get(REFRESH_COOKIE, (None, None))
    return Session(headers, token, name)
