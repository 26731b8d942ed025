from __future__ import annotations

from collections.abc import Iterator

import pytest

from collector.reports.report import Report
from collector.store import Store
from tests.reports.world import a_report, a_site


@pytest.fixture(scope="session")
def site() -> Iterator[Store]:
    """The whole site; nobody writes into it."""
    with a_site() as store:
        yield store


@pytest.fixture(scope="session")
def week(site: Store) -> Report:
    """The report about its last whole week."""
    return a_report(site)
