"""One connection to a collector: a body goes in, what the collector said of it comes out.

Kept open between batches. The token is shown in a header and is in no error. Whether to try again is not known here.
"""

from __future__ import annotations

import http.client
import ssl
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from collector.errors import SettingsError, Unavailable
from collector.tap.tls import client_context

PATH = "/api/v1/ingest"
_MOST_ANSWER_BYTES = 64 * 1024
_LONGEST_DETAIL = 300


class _Said(msgspec.Struct):
    """The parts of an answer that matter: of an acknowledgement, or of a problem."""

    new: int | None = None
    changed: int | None = None
    known: int | None = None
    detail: str = ""


@dataclass(frozen=True)
class Answer:
    """What a collector said. `is_stored`: it has the batch and has committed it; `is_its_own`: no proxy said it."""

    status: int
    is_stored: bool = False
    is_its_own: bool = False
    detail: str = ""
    retry_after_seconds: float | None = None


class Post:
    """The way to one collector. Not thread-safe."""

    def __init__(
        self,
        url: str,
        *,
        path: str = PATH,
        token: str | None = None,
        authorities: Path | None = None,
        timeout_seconds: float = 60.0,
    ) -> None:
        """Raises SettingsError for what can never work."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SettingsError(f"tap_collector: wanted a URL that starts with http:// or https://, got {url!r}")
        self._host, self._port = parts.hostname, parts.port
        self._path = parts.path.rstrip("/") + path
        self._tls: ssl.SSLContext | None = client_context(authorities) if parts.scheme == "https" else None
        self._headers = {"Content-Type": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._timeout_seconds = timeout_seconds
        self._link: http.client.HTTPConnection | None = None

    def send(self, body: bytes) -> Answer:
        """Send a batch and wait for the answer. Raises Unavailable when there is none."""
        is_kept = self._link is not None
        try:
            return self._ask(body)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            if not is_kept:
                raise Unavailable(_reason(error)) from None
        try:  # a kept connection may have been closed meanwhile; the same batch may be sent twice
            return self._ask(body)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Unavailable(_reason(error)) from None

    def close(self) -> None:
        """Let go of the connection."""
        link, self._link = self._link, None
        if link is not None:
            with suppress(OSError):
                link.close()

    def _ask(self, body: bytes) -> Answer:
        link = self._link = self._link or self._connection()
        link.request("POST", self._path, body=body, headers=self._headers)
        said = link.getresponse()
        content = said.read(_MOST_ANSWER_BYTES)
        if said.will_close or not said.isclosed():
            self.close()
        kind = said.headers.get_content_type()
        told = _told(content)
        return Answer(
            status=said.status,
            is_stored=said.status == 200 and told.new is not None and told.known is not None,
            is_its_own=kind == "application/problem+json",
            detail=told.detail[:_LONGEST_DETAIL],
            retry_after_seconds=_seconds(said.headers.get("Retry-After", "")),
        )

    def _connection(self) -> http.client.HTTPConnection:
        if self._tls is not None:
            return http.client.HTTPSConnection(self._host, self._port, timeout=self._timeout_seconds, context=self._tls)
        return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_seconds)


def _told(content: bytes) -> _Said:
    try:
        return msgspec.json.decode(content, type=_Said)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _Said()


def _seconds(written: str) -> float | None:
    return float(written) if written.isascii() and written.isdigit() and len(written) < 7 else None


def _reason(error: Exception) -> str:
    """Why, without anything that was sent."""
    if isinstance(error, OSError):
        return (error.strerror or str(error) or type(error).__name__)[:_LONGEST_DETAIL]
    return type(error).__name__
