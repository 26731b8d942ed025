"""Keys of a Redis, looked at again and again: which there are, and for lists how long and who is first in line.

What comes in is a way to ask; what goes out are keys, lengths and instants. State is kept between looks, so that what
does not fit into one look is found by the next, and that a message which stays first in line is noticed. Of a message
only a digest is kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

SCAN_ROUNDS = 50
"""So many steps over the keys a look takes, of SCAN_COUNT keys each."""

SCAN_COUNT = 1000


class Link(Protocol):
    """An open way to one Redis: see `collector.pull.redis_link.RedisLink`."""

    round_trips: int

    async def ask(self, commands: Sequence[tuple[str | int, ...]]) -> list[Any]:
        """Answers in order, None for a key of another type."""

    async def aclose(self) -> None:
        """Let go of the connection."""


@dataclass(frozen=True)
class Line:
    """Some lists seen as one queue. `length` is None when one of the keys holds something else."""

    length: int | None
    first_seen_at: datetime | None  # the oldest of those first in line; None: nothing waits


class Finder:
    """The keys of a pattern. A key once found stays until a whole pass over the database no longer meets it.

    `is_complete`: a whole pass was made at least once.
    """

    def __init__(self, prefix: str, pattern: str) -> None:
        self._pattern = "".join(f"\\{sign}" if sign in "*?[]\\^" else sign for sign in prefix) + pattern
        self._cursor = 0
        self._known: set[str] = set()
        self._met: set[str] = set()
        self.is_complete = False

    async def look(self, link: Link) -> list[str]:
        """Go on for at most SCAN_ROUNDS steps; return the keys known then, sorted."""
        for _ in range(SCAN_ROUNDS):
            ((cursor, keys),) = await link.ask([("SCAN", self._cursor, "MATCH", self._pattern, "COUNT", SCAN_COUNT)])
            self._met |= {text(key) for key in keys}
            self._cursor = int(cursor)
            if self._cursor == 0:
                self._known, self._met, self.is_complete = self._met, set(), True
                break
        return sorted(self._known | self._met)


class Lines:
    """Lists as queues: messages are pushed on the left and taken from the right."""

    def __init__(self) -> None:
        self._first: dict[str, tuple[bytes, datetime]] = {}
        self._lengths: dict[str, int | None] = {}

    @staticmethod
    def questions(keys: Sequence[str]) -> list[tuple[str | int, ...]]:
        """What to ask about these lists: two commands for each key."""
        return [command for key in keys for command in (("LLEN", key), ("LINDEX", key, -1))]

    def seen(self, keys: Sequence[str], answers: Sequence[Any], at: datetime) -> None:
        """Take in the answers of one look at all lists."""
        self._lengths = dict(zip(keys, answers[::2], strict=True))
        first = {}
        for key, message in zip(keys, answers[1::2], strict=True):
            if message is not None:
                digest = hashlib.blake2b(message, digest_size=16).digest()
                before, since = self._first.get(key, (b"", at))
                first[key] = (digest, since if before == digest else at)
        self._first = first

    def line(self, keys: Sequence[str]) -> Line:
        """These lists as one queue."""
        lengths = [length for key in keys if (length := self._lengths[key]) is not None]
        since = [self._first[key][1] for key in keys if key in self._first]
        return Line(sum(lengths) if len(lengths) == len(keys) else None, min(since, default=None))

    def waiting(self, keys: Sequence[str]) -> int:
        """How many of these lists are not empty."""
        return sum(1 for key in keys if self._lengths[key])


def text(raw: bytes) -> str:
    """A key, member or tag as text; what is no UTF-8 is no name of Dify's."""
    return raw.decode("utf-8", "replace")
