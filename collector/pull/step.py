"""What one page of Dify, or one question about one thing, brought: records, and how the reading of it went."""

from __future__ import annotations

from dataclasses import dataclass, field

from collector.records import Mark, Record


@dataclass
class Step:
    """What one page or one question brought."""

    records: list[Record] = field(default_factory=list)
    requests: int = 1
    parse_failures: int = 0
    total: int | None = None  # how many there are in all, where the listing says
    cursor: str | None = None  # where the listing can be taken up behind this page
    ties_lost: bool = False
    marks: list[Mark] = field(default_factory=list)  # what is complete once its records are stored

    def take(self, page: Step, *, requests: int) -> None:
        """Add what one page brought, for which so many requests were made."""
        self.records += page.records
        self.marks += page.marks
        self.requests += requests
        self.parse_failures += page.parse_failures
        self.ties_lost |= page.ties_lost
