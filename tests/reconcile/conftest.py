from __future__ import annotations

from tests.measures.conftest import database as database
from tests.measures.conftest import facts as facts
