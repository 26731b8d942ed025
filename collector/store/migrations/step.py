"""What a step is: SQL with a number, and the name of what is true after it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Migration:
    """One step, as SQL statements."""

    number: int
    name: str  # what is true after it
    statements: tuple[str, ...]
