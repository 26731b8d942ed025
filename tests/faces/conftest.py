from __future__ import annotations

from tests.measures.conftest import facts

__all__ = ["facts"]
