"""Walking Dify's listings: nothing lost that could be had, nothing twice, and never for ever."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.errors import Rejected, Unavailable
from collector.pull.walk import Page, cursored, numbered

START = 1_795_000_000  # seconds


class Listing:
    """Records by microseconds, told in whole seconds: `last_id` means strictly older than that one (recorded rule)."""

    def __init__(self, micros: list[int], *, oldest_first: bool = False) -> None:
        self.rows = sorted(((at, f"r{n}") for n, at in enumerate(micros)), key=lambda row: -row[0])
        self.oldest_first = oldest_first
        self.asked = 0

    async def by_cursor(self, params: Any) -> dict[str, Any]:
        self.asked += 1
        rows, cursor = self.rows, params.get("last_id") or params.get("first_id")
        if cursor:
            at = next((at for at, key in self.rows if key == cursor), None)
            if at is None:
                raise Rejected("GET /runs: 400 (invalid_param: Last workflow run not exists)")
            rows = [row for row in rows if row[0] < at]
        limit = int(params["limit"])
        shown = [{"id": key, "created_at": START + at // 1_000_000} for at, key in rows[:limit]]
        return {"data": shown[::-1] if self.oldest_first else shown, "has_more": len(rows) > limit}

    async def by_number(self, params: Any) -> dict[str, Any]:
        self.asked += 1
        number, limit = int(params["page"]), int(params["limit"])
        rows = self.rows[(number - 1) * limit : number * limit]
        return {
            "data": [{"id": key, "created_at": START + at // 1_000_000} for at, key in rows],
            "total": len(self.rows),
            "has_more": number * limit < len(self.rows),
        }


async def walked(pages: AsyncIterator[Page]) -> tuple[list[str], bool]:
    found: list[str] = []
    lost = False
    async for page in pages:
        found += [str(record["id"]) for record in page.records]
        lost = lost or page.ties_lost
    return found, lost


@given(
    micros=st.lists(st.integers(0, 4_000_000), max_size=60),
    ties=st.lists(st.integers(0, 4_000_000), max_size=3),
    limit=st.integers(3, 12),
    oldest_first=st.booleans(),
)
async def test_a_cursor_walk_brings_every_record_once_or_says_that_ties_were_lost(micros, ties, limit, oldest_first):
    listing = Listing(micros + ties * 4, oldest_first=oldest_first)
    pages = cursored(
        listing.by_cursor, cursor="first_id" if oldest_first else "last_id", limit=limit, oldest_first=oldest_first
    )

    found, lost = await walked(pages)

    assert len(found) == len(set(found))
    assert lost or set(found) == {key for _, key in listing.rows}


async def test_seven_runs_at_one_instant_are_all_found():
    listing = Listing([9_000_000, 8_000_000, *[5_000_000] * 7, 1_000_000])

    found, lost = await walked(cursored(listing.by_cursor, limit=8))

    assert (len(found), lost) == (10, False)


async def test_more_at_one_instant_than_a_page_holds_is_told():
    listing = Listing([9_000_000, *[5_000_000] * 7, 1_000_000])

    found, lost = await walked(cursored(listing.by_cursor, limit=3))

    assert len(found) < 9
    assert lost


async def test_a_full_page_without_has_more_is_not_believed():
    # chat messages: ties of the border are not counted as "more"
    listing = Listing([3_000_000, 2_000_000, 1_000_000, 1_000_000], oldest_first=True)

    async def ask(params: Any) -> dict[str, Any]:
        return await listing.by_cursor(params) | {"has_more": False}

    found, _ = await walked(cursored(ask, cursor="first_id", limit=3, oldest_first=True))

    assert sorted(found) == ["r0", "r1", "r2", "r3"]


async def test_a_walk_stops_at_the_instant_it_is_told():
    listing = Listing([n * 1_000_000 for n in range(1000)])

    found, _ = await walked(cursored(listing.by_cursor, until=datetime.fromtimestamp(START + 950, UTC)))

    assert len(found) == 50
    assert listing.asked == 1


async def test_a_cursor_that_vanished_sends_the_walk_back_to_a_younger_one():
    listing = Listing([n * 1_000_000 for n in range(30)])
    vanished = []

    async def ask(params: Any) -> dict[str, Any]:
        if listing.asked == 3 and not vanished:
            vanished.append(params["last_id"])
            listing.rows = [row for row in listing.rows if row[1] != params["last_id"]]
        return await listing.by_cursor(params)

    found, _ = await walked(cursored(ask, limit=5))

    assert vanished
    assert {key for _, key in listing.rows} <= set(found)


async def test_a_listing_that_refuses_every_cursor_ends_the_walk():
    async def ask(params: Any) -> dict[str, Any]:
        if "last_id" in params:
            raise Rejected("400 (Last workflow run not exists)")
        return await Listing([n * 1_000_000 for n in range(30)]).by_cursor(params)

    with pytest.raises(Rejected):
        await walked(cursored(ask, limit=5))


async def test_a_listing_that_stands_still_ends_the_walk():
    listing = Listing([n * 1_000_000 for n in range(30)])

    async def ask(params: Any) -> dict[str, Any]:
        return await listing.by_cursor({"limit": params["limit"]})

    with pytest.raises(Unavailable, match="does not move on"):
        await walked(cursored(ask, limit=5))


async def test_numbered_pages_that_shift_bring_doubles_once():
    listing = Listing([n * 1_000_000 for n in range(250)])

    async def ask(params: Any) -> dict[str, Any]:
        if listing.asked == 1:  # one more at the top: everything moves down
            listing.rows.insert(0, (400_000_000, "new"))
        return await listing.by_number(params)

    found, _ = await walked(numbered(ask))

    assert len(found) == len(set(found))
    assert {f"r{n}" for n in range(250)} <= set(found)


async def test_a_deletion_between_numbered_pages_loses_nothing():
    listing = Listing([n * 1_000_000 for n in range(250)])

    async def ask(params: Any) -> dict[str, Any]:
        if listing.asked == 1:  # one less at the top: what stood on page 2 is now on page 1
            del listing.rows[:1]
        return await listing.by_number(params)

    found, _ = await walked(numbered(ask))

    assert {f"r{n}" for n in range(249)} <= set(found)


async def test_ties_in_another_order_on_each_page_are_found_by_a_second_walk():
    listing = Listing([1_000_000] * 150)

    async def ask(params: Any) -> dict[str, Any]:
        if params["limit"] == "100" and params["page"] == "2":
            listing.rows.reverse()  # no tie-break: the second query sorts them otherwise
        return await listing.by_number(params)

    found, _ = await walked(numbered(ask))

    assert sorted(found) == sorted(key for _, key in listing.rows)


async def test_when_only_news_are_wanted_few_are_asked_for_first():
    listing = Listing([n * 1_000_000 for n in range(250)])
    limits = []

    async def ask(params: Any) -> dict[str, Any]:
        limits.append(params["limit"])
        return await listing.by_number(params)

    few, _ = await walked(numbered(ask, until=datetime.fromtimestamp(START + 245, UTC)))
    assert (len(few), limits) == (5, ["10"])

    many, _ = await walked(numbered(ask, until=datetime.fromtimestamp(START + 100, UTC)))
    assert (len(many), limits) == (150, ["10", "10", "100", "100"])


async def test_a_page_past_the_end_or_an_empty_listing_is_no_trouble():
    assert await walked(numbered(Listing([]).by_number)) == ([], False)
    assert await walked(cursored(Listing([]).by_cursor)) == ([], False)


async def test_a_time_that_cannot_be_read_does_not_end_the_walk():
    async def ask(params: Any) -> dict[str, Any]:
        return {"data": [{"id": "a", "created_at": {}}, {"id": "b"}, {"id": "c", "created_at": START}]}

    found, _ = await walked(cursored(ask, until=datetime.fromtimestamp(START - 5, UTC)))

    assert found == ["a", "b", "c"]
