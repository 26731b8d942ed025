"""Reports to a webhook: what comes in is a parcel, what goes out is one POST that was taken or was not.

An address holds its key. No error, log line or record says more of it than its name in the settings.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from collector.errors import Unavailable
from collector.report_post import chat
from collector.report_post.parcel import Parcel, fingerprint
from collector.settings.sending import GENERIC, Webhook

if TYPE_CHECKING:
    import httpx

SECONDS = 30.0
MOST_BYTES = 65_536
"""Of an answer, more is not read."""


class Posting:
    """One webhook."""

    def __init__(
        self,
        webhook: Webhook,
        clock: Callable[[], datetime],
        *,
        seconds: float = SECONDS,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.name = webhook.name
        self.fingerprint = fingerprint("webhook", webhook.url)
        self._webhook, self._clock, self._seconds, self._transport = webhook, clock, seconds, transport

    def send(self, parcel: Parcel) -> str | None:
        """Post it."""
        import httpx

        kind = self._webhook.kind
        body = chat.message(kind, parcel)
        url, body = chat.signed(kind, self._webhook.url, body, self._webhook.sign_with, self._clock())
        content = json.dumps(body, ensure_ascii=False, default=str).encode()
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Idempotency-Key": fingerprint(parcel.report.span.name, self.fingerprint),
        }
        try:
            with (
                httpx.Client(transport=self._transport, timeout=self._seconds) as client,
                client.stream("POST", url, content=content, headers=headers) as answer,
            ):
                if not answer.is_success:
                    raise Unavailable(f"HTTP {answer.status_code}", retry_after_seconds=_patience(answer))
                said = b"" if kind == GENERIC else _read(answer)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unavailable(f"no answer ({type(error).__name__})") from None
        if problem := chat.refusal(kind, _json(said)):
            raise Unavailable(problem)
        return None


def _read(answer: httpx.Response) -> bytes:
    found = b""
    for piece in answer.iter_bytes():
        found += piece
        if len(found) > MOST_BYTES:
            break
    return found


def _json(said: bytes) -> object:
    try:
        return json.loads(said)
    except ValueError:
        return None


def _patience(answer: httpx.Response) -> float | None:
    told = answer.headers.get("retry-after", "")
    return float(told) if told.isascii() and told.isdigit() else None
