"""Reports to a webhook: what comes in is a parcel, what goes out is one message that was taken or was not.

An address holds its key. No error, log line or record says more of it than its name in the settings.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from collector import posting
from collector.posting import fingerprint
from collector.report_post import chat
from collector.report_post.parcel import Parcel
from collector.settings.sending import Webhook

if TYPE_CHECKING:
    import httpx


class Posting:
    """One webhook."""

    def __init__(
        self,
        webhook: Webhook,
        clock: Callable[[], datetime],
        *,
        seconds: float = posting.SECONDS,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.name = webhook.name
        self.fingerprint = fingerprint("webhook", webhook.url)
        self._webhook, self._clock, self._seconds, self._transport = webhook, clock, seconds, transport

    def send(self, parcel: Parcel) -> str | None:
        """Post it."""
        posting.post(
            self._webhook,
            chat.message(self._webhook.kind, parcel),
            fingerprint(parcel.report.span.name, self.fingerprint),
            self._clock(),
            seconds=self._seconds,
            transport=self._transport,
        )
        return None
