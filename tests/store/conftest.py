"""The stores every contract test runs on: one entry per engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.store import Store, open_store
from tests.builders import NOON

ENGINES = {
    "duckdb file": lambda path: open_store(path / "t.duckdb", now=NOON),
    "duckdb memory": lambda path: open_store(":memory:", now=NOON),
}


@pytest.fixture(params=ENGINES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    opened = ENGINES[request.param](tmp_path)
    yield opened
    opened.close()
