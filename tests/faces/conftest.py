from __future__ import annotations

from tests.measures.conftest import database, facts

__all__ = ["database", "facts"]
