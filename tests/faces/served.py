"""The REST face over a database of tests, without a socket."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx

from collector.faces.rest import application
from tests.builders import NOON

NOW = NOON + timedelta(hours=1)
"""When every question is asked."""


def served(rows: Any, **options: Any) -> httpx.AsyncClient:
    app = application(rows, lambda: NOW, **options)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://collector")


async def asked(client: httpx.AsyncClient, path: str, **params: Any) -> Any:
    """The JSON of an answer that is one."""
    answer = await client.get(path, params=params or None)
    assert answer.status_code == 200, answer.text
    return answer.json()
