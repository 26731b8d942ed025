"""Events of a bill to OpenMeter or Lago, over HTTP: in batches, tried again where it may help.

What comes in are events as JSON lines; what goes out are requests. Every event has an id, so that a batch sent twice
counts once there: after a failure everything may be sent again. Nothing here makes an event.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias

from collector.errors import DifyMetricError, QueryError, Unavailable

if TYPE_CHECKING:
    import httpx

BATCH = 100
"""Events of one request: as many as Lago takes."""

RETRIES, BACKOFF_SECONDS, LONGEST_WAIT_SECONDS = 5, 0.5, 30.0
_PASSING = (429, 500, 502, 503, 504)

Body: TypeAlias = Callable[[list[object]], object]

KINDS: Mapping[str, tuple[str, Body]] = {
    "cloudevents": ("application/cloudevents-batch+json", lambda events: events),
    "lago": ("application/json", lambda events: {"events": events}),
}
"""Form of the events -> content type of a batch, and what stands around it."""


def deliver(
    content: bytes,
    form: str,
    url: str,
    token: str | None,
    tell: Callable[[str, int, int | None], None],
    *,
    transport: httpx.BaseTransport | None = None,
    backoff_seconds: float = BACKOFF_SECONDS,
) -> int:
    """Send every event; how many there were. Raises Unavailable, and DifyMetricError where it takes none of them."""
    import httpx
    from httpx_retries import Retry, RetryTransport

    if not url.startswith(("https://", "http://")):
        raise QueryError(f"url: wanted http:// or https://, got {url[:80]!r}", field="url")
    kind, body = KINDS[form]
    events = [json.loads(line) for line in content.splitlines()]
    headers = {"Content-Type": kind} | ({"Authorization": f"Bearer {token}"} if token else {})
    patience = Retry(
        total=RETRIES,
        allowed_methods=("POST",),
        status_forcelist=_PASSING,
        backoff_factor=backoff_seconds,
        max_backoff_wait=LONGEST_WAIT_SECONDS,
    )
    retrying = RetryTransport(transport=transport or httpx.HTTPTransport(), retry=patience)
    with httpx.Client(transport=retrying, headers=headers, timeout=60.0) as client:
        for start in range(0, len(events), BATCH):
            tell("events", start, len(events))
            batch = json.dumps(body(events[start : start + BATCH]), ensure_ascii=False).encode()
            _post(client, url, batch, start)
    tell("events", len(events), len(events))
    return len(events)


def _post(client: httpx.Client, url: str, batch: bytes, sent: int) -> None:
    import httpx

    try:
        answer = client.post(url, content=batch)
    except httpx.TransportError as error:
        raise Unavailable(f"no answer from {url} ({type(error).__name__}) after {sent} events; send again") from None
    if answer.status_code in _PASSING:
        raise Unavailable(f"{url}: HTTP {answer.status_code} after {sent} events; send again: none counts twice")
    if not answer.is_success:
        raise DifyMetricError(f"{url}: HTTP {answer.status_code} after {sent} events: {answer.text[:200]!r}")
