from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.measures.facts import Facts

_FACTS: list[Facts] = []


@pytest.fixture
def facts() -> Iterator[Facts]:
    """An empty database; one is made and emptied again and again, since making one takes longer than most tests."""
    if not _FACTS:
        _FACTS.append(Facts())
    yield _FACTS[0]
    _FACTS[0].clear()
