"""News of budgets on their way to a webhook: each is told until it is taken.

What comes in are messages; what goes out is one POST for each. What is not taken is kept, in memory alone, and told
again at the next round.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import structlog

from collector import posting
from collector.errors import Unavailable
from collector.posting import fingerprint, post
from collector.settings.sending import GENERIC, Webhook

log = structlog.get_logger()


class BudgetPost:
    """One webhook, and what it has not taken yet."""

    def __init__(self, url: str, clock: Callable[[], datetime], *, seconds: float = posting.SECONDS) -> None:
        self._webhook, self._clock, self._seconds = Webhook("budgets", GENERIC, url), clock, seconds
        self._untold: list[Mapping[str, Any]] = []
        self._asked_at: datetime | None = None  # not before; the webhook asked to be left alone

    async def tell(self, news: Iterable[Mapping[str, Any]]) -> None:
        """What was not taken before, then the news. Who asks to be left alone is, and is told all of it afterwards."""
        waiting = [*self._untold, *news]
        self._untold = []
        for message in waiting:
            if not await self._is_taken(message):
                self._untold.append(message)

    async def _is_taken(self, message: Mapping[str, Any]) -> bool:
        now = self._clock()
        if self._asked_at is not None and now < self._asked_at:
            return False
        try:
            await asyncio.to_thread(self._post, message, now)
        except Unavailable as error:
            wish = error.retry_after_seconds
            self._asked_at = now + timedelta(seconds=wish) if wish else None
            log.warning("webhook failed", message=message["id"], problem=str(error), next="told again later")
            return False
        return True

    def _post(self, message: Mapping[str, Any], now: datetime) -> None:
        key = fingerprint("budget", message["id"], self._webhook.url)
        post(self._webhook, dict(message), key, now, content_type="application/json", seconds=self._seconds)
