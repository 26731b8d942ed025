"""Several questions at once, answers as they come. Knows neither Dify nor records."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from typing import TypeVar

Answer = TypeVar("Answer")


async def together(questions: Iterable[Callable[[], Awaitable[Answer]]], width: int) -> AsyncGenerator[Answer, None]:
    """Keep `width` questions going and yield answers as they come; the first failure ends the others and rises.

    `questions` is drawn from only when there is room: a generator can decide late that there are no more.
    """
    going: set[asyncio.Future[Answer]] = set()
    done: set[asyncio.Future[Answer]] = set()
    try:
        for question in questions:
            going.add(asyncio.ensure_future(question()))
            if len(going) >= width:
                done, going = await asyncio.wait(going, return_when=asyncio.FIRST_COMPLETED)
                for answer in done:
                    yield answer.result()
        while going:
            done, going = await asyncio.wait(going, return_when=asyncio.FIRST_COMPLETED)
            for answer in done:
                yield answer.result()
    finally:
        for answer in going:
            answer.cancel()
        await asyncio.gather(*going, *done, return_exceptions=True)  # of several failures at once, one rises
