"""Several questions at once: how many go, what ends them, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from functools import partial

import pytest

from collector.pull.together import together


async def answered(number: int, *, after: int = 0) -> int:
    for _ in range(after):
        await asyncio.sleep(0)
    return number


async def fail(number: int) -> int:
    raise ValueError(str(number))


async def wait_for_ever(ended: asyncio.Event) -> int:
    try:
        await asyncio.Event().wait()
    finally:
        ended.set()
    return 0


async def all_of(questions: list[Callable[[], Awaitable[int]]], width: int) -> list[int]:
    return [answer async for answer in together(questions, width)]


async def test_answers_come_as_they_are_there():
    assert await all_of([partial(answered, 1, after=9), partial(answered, 2)], 2) == [2, 1]


async def test_so_many_go_at_once():
    going, most = 0, 0

    async def ask() -> int:
        nonlocal going, most
        going += 1
        most = max(most, going)
        await asyncio.sleep(0)
        going -= 1
        return 0

    assert len(await all_of([ask] * 20, 3)) == 20
    assert most == 3


async def test_of_several_failures_at_once_one_rises_and_the_others_are_not_complained_about():
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, about: complaints.append(about))

    with pytest.raises(ValueError, match=r"[123]"):
        await all_of([partial(fail, 1), partial(fail, 2), partial(fail, 3)], 3)
    gc.collect()

    assert not complaints


async def test_a_failure_ends_those_that_still_go():
    ended = asyncio.Event()

    with pytest.raises(ValueError, match="1"):
        await all_of([partial(wait_for_ever, ended), partial(fail, 1)], 2)
    assert ended.is_set()


async def test_who_listens_no_more_ends_those_that_still_go():
    ended = asyncio.Event()

    async with aclosing(together([partial(answered, 1), partial(wait_for_ever, ended)], 2)) as answers:
        async for answer in answers:
            assert answer == 1
            break
    assert ended.is_set()
