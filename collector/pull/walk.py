"""Following Dify's pages from the newest to the oldest, down to an instant: pages of JSON out, nothing stored.

What comes in is `ask` (parameters -> one page of JSON) and where to stop; what goes out are the pages' records, each
once, as far as the listing allows. Nothing here knows a path, a session or what a record means.

Three ways of paging, each with its own way of losing records:

* numbered pages shift when something is created or deleted meanwhile: doubles are dropped, a shrinking total sends
  the walk one page back, and a walk that saw fewer than the total says is done again with other borders;
* a cursor (`last_id`, `first_id`) means "created strictly before that one", so of several created at one instant those
  after the border are lost: pages overlap, by asking from one that is surely younger than the last;
* a cursor that was deleted meanwhile is refused: the walk goes back to a younger one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from collector.errors import Rejected, ShapeError, Unavailable
from collector.fields import Json, instant, integer, items, text

Ask: TypeAlias = Callable[[Mapping[str, str]], Awaitable[Json]]

LIMIT = 100
"""Records per page: the most Dify gives, and hardly slower than one."""

FEW = 10
"""Records first asked for where only news are wanted: Dify works 20 ms for each conversation it lists."""

ODD_LIMIT = 83
"""Another page size, so that a second walk has its borders elsewhere."""

MOST_RETURNS = 20
"""How often a walk goes back to a younger cursor before it gives up."""


@dataclass(frozen=True)
class Page:
    """One page of a walk: what it brought that is new, how many there are in all (None: not told)."""

    records: list[Json]
    total: int | None = None
    cursor: str | None = None  # where the walk can be taken up behind this page
    ties_lost: bool = False  # more were created at one instant than a page holds: some cannot be listed


async def numbered(ask: Ask, *, at: str = "created_at", until: datetime | None = None) -> AsyncIterator[Page]:
    """Walk `page`/`limit` pages, until one whose last record has `at` before `until`, or to the end."""
    walk = _Numbered(ask, at, until)
    for limit in (LIMIT, ODD_LIMIT) if until is None else (FEW, LIMIT, ODD_LIMIT):
        async for page in walk.pages(limit, one=limit == FEW):
            yield page
        if walk.seen_all:
            return


@dataclass
class _Numbered:
    ask: Ask
    at: str
    until: datetime | None
    seen: set[str] = field(default_factory=set)
    total: int | None = None
    reached: bool = False  # a record older than `until`: what lies behind it is not wanted

    @property
    def seen_all(self) -> bool:
        return self.reached or self.total is None or len(self.seen) >= self.total

    async def pages(self, limit: int, *, one: bool = False) -> AsyncIterator[Page]:
        number, self.total = 1, None
        while True:
            body = await self.ask({"page": str(number), "limit": str(limit)})
            records, total = listed(body), integer(body, "total")
            shrunk = total is not None and self.total is not None and total < self.total
            self.total = total
            yield Page(self._new(records), total)
            if not records or one or self.reached or not body.get("has_more"):
                return
            # Something before us was deleted: what stood at the top of this page's successor is now behind us.
            number = max(number - 1, 1) if shrunk else number + 1

    def _new(self, records: list[Json]) -> list[Json]:
        new = []
        for record in records:
            if _is_before(record, self.at, self.until):
                self.reached = True
            elif (key := _key(record)) not in self.seen:
                self.seen.add(key)
                new.append(record)
        return new


async def cursored(
    ask: Ask,
    *,
    cursor: str = "last_id",
    until: datetime | None = None,
    start: str | None = None,
    limit: int = LIMIT,
    oldest_first: bool = False,
) -> AsyncIterator[Page]:
    """Walk by cursor, from `start` (None: the newest), until a page reaches below `until` or to the end.

    `oldest_first`: inside a page the oldest stands first (chat messages); the pages go back in time all the same.
    """
    trail = [start] if start else []  # cursors that worked, the youngest first
    known: set[str] = set()  # of the page before: pages overlap by no more
    expected: str | None = None  # the last of the page before, which the overlap must bring again
    returns = 0
    while True:
        try:
            body = await ask({"limit": str(limit)} | ({cursor: trail[-1]} if trail else {}))
        except Rejected as error:
            returns += 1
            if not trail or returns > MOST_RETURNS or not _is_vanished(error):
                raise
            trail.pop()
            known, expected = set(), None
            continue
        records = listed(body)[:: -1 if oldest_first else 1]
        keys = [_key(record) for record in records]
        new = [record for record, key in zip(records, keys, strict=True) if key not in known]
        wanted = [record for record in new if not _is_before(record, "created_at", until)]
        if not new and body.get("has_more"):
            raise Unavailable(f"the listing does not move on behind {cursor}={trail[-1] if trail else ''}")
        lost = expected is not None and expected not in keys
        if not new or len(wanted) < len(new) or not (body.get("has_more") or len(records) >= limit):
            yield Page(wanted, ties_lost=lost)
            return
        place = _surely_younger(records)
        expected = keys[-1] if place < len(records) - 1 else None
        known = set(keys)
        trail.append(keys[place])
        yield Page(wanted, cursor=trail[-1], ties_lost=lost)


def listed(body: Json, name: str = "data") -> list[Json]:
    """The records of a page. Raises ShapeError where there is no list: no page is not an empty page."""
    if body.get(name) is None:
        raise ShapeError(name, "a list", "nothing")
    return items(body, name)


def _surely_younger(records: list[Json]) -> int:
    """The place of the next cursor: the oldest record whose instant nothing behind this page can share.

    Instants are told in whole seconds and compared in microseconds, so only a later second is surely later. Where
    the whole page lies in one second, the middle is the best there is.
    """
    last = _instant(records[-1], "created_at")
    if last is None:
        return len(records) - 1
    for place in range(len(records) - 2, -1, -1):
        found = _instant(records[place], "created_at")
        if found is not None and found > last:
            return place
    return (len(records) - 1) // 2


def _is_before(record: Json, at: str, until: datetime | None) -> bool:
    found = _instant(record, at) if until is not None else None
    return found is not None and until is not None and found < until


def _instant(record: Json, name: str) -> datetime | None:
    """An instant, or None where it cannot be read: parsing the record says so, walking goes on."""
    try:
        return instant(record, name)
    except ShapeError:
        return None


def _key(record: Json) -> str:
    try:
        return text(record, "id") or f"nameless {id(record)}"
    except ShapeError:
        return f"nameless {id(record)}"


def _is_vanished(error: Rejected) -> bool:
    return "not exist" in str(error).lower()
