"""Gauges of who uses most: a table, like that of the families, and nothing else.

Members change with every scrape, so these are no counters: each says what came together in the time before now.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from collector.faces.caps import OTHER
from collector.faces.counting import Labels
from collector.faces.families import WORKSPACE

A_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Top:
    """The biggest by the last of the labels; the others are counted together in each value of those before it."""

    name: str
    measure: str
    labels: Labels
    help: str
    window: timedelta = A_DAY

    def together(self, labels: Labels) -> Labels:
        """Where who is not among them is counted."""
        return (*labels[:-1], OTHER)


TOPS = (
    Top(
        "dify_top_user_tokens",
        "tokens",
        (WORKSPACE, "user_id"),
        "Tokens of the last 24 hours, of the users who spent most of them; the others together as _OTHER. A gauge: who "
        "is among them changes. There where top_users is set.",
    ),
    Top(
        "dify_top_key_requests",
        "requests",
        (WORKSPACE, "key_fingerprint"),
        "Requests of the last 24 hours, of the keys with most of them, as a tap tells them apart; the others together "
        "as _OTHER. A gauge: who is among them changes. There where top_users is set.",
    ),
)
