from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.measures.facts import Facts


@pytest.fixture(scope="session")
def database() -> Iterator[Facts]:
    """Made once and emptied after each test: making one takes longer than most tests."""
    database = Facts()
    yield database
    database.close()


@pytest.fixture
def facts(database: Facts) -> Iterator[Facts]:
    """An empty database."""
    yield database
    database.clear()
