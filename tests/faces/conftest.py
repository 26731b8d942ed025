from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.faces.served import served
from tests.measures.conftest import database, facts
from tests.measures.facts import Facts

__all__ = ["client", "database", "facts"]


@pytest.fixture
async def client(facts: Facts) -> AsyncIterator[httpx.AsyncClient]:
    """The REST face over the facts of a test."""
    async with served(facts.rows) as client:
        yield client
