"""HTTP as it really is: raw bytes to the relay, and the same to a real nginx. Where they differ, a row says why."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.nginx import nginx
from tests.servers.ports import free_port
from tests.tap.http_answer_cases import ANSWERS
from tests.tap.http_cases import GET, REQUESTS, Case, Fields, Outcome
from tests.tap.http_smuggling_cases import SMUGGLED
from tests.tap.world import PATIENCE, Asked, Client, relayed, run, saying, serving, until

BRIEFLY = 0.5

CASES = [*REQUESTS, *SMUGGLED, *ANSWERS]
_BROKEN = (asyncio.IncompleteReadError, ConnectionError, TimeoutError)


async def outcome_of(case: Case, port: int, asked: list[Asked], count: int, *, hangs: Outcome | None = None) -> Outcome:
    """Send a case to a proxy, see its first answers, so many, and what becomes of the connection.

    `hangs`: what is expected of a proxy that falls silent. What it never says is waited for only briefly.
    """
    patience = PATIENCE
    client = Client(*await asyncio.open_connection("127.0.0.1", port))
    await client.send(case.send)
    statuses = []
    is_open = True
    async with asyncio.timeout(3 * PATIENCE):
        if hangs and not hangs.statuses:
            await until(lambda: len(asked) >= hangs.reached)
            patience = BRIEFLY
        while is_open and len(statuses) < count:
            try:
                answer = await client.answer(has_body=case.has_body, patience=patience)
            except _BROKEN:
                is_open = False
                break
            statuses.append(answer.status)
            is_open = answer.is_whole
        reached = len(asked)
        if is_open:
            try:
                await client.send(GET + b"\r\n")
                answer = await client.answer(has_body=case.has_body, patience=BRIEFLY if hangs else PATIENCE)
                is_open = answer.status < 400
            except _BROKEN:
                is_open = False
    await client.close()
    return Outcome(tuple(statuses), reached, is_open)


def script_of(case: Case, asked: list[Asked]):
    if not (case.then_closes or case.then_resets):
        return saying(case.says, asked=asked)

    async def script(conversation) -> None:
        request = await conversation.request()
        if request:
            asked.append(request)
            await conversation.say(case.says)
            if case.then_resets:
                conversation.reset()

    return script


def reached(fields: Fields, asked: list[Asked]) -> Fields:
    """Those fields of the first request as they reached the upstream."""
    return tuple((name, tuple(asked[0].fields(name))) for name, _ in fields)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_relay(case: Case):
    asked: list[Asked] = []

    async def story() -> Outcome:
        async with relayed(script_of(case, asked)) as world:
            return await outcome_of(case, world.port, asked, len(case.wanted.statuses))

    assert run(story()) == case.wanted
    assert not case.bodies or tuple(request.body for request in asked)[: len(case.bodies)] == case.bodies
    assert reached(case.fields, asked) == case.fields


@pytest.fixture(scope="module")
def behind(server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """A real nginx: its port, and the port it sends on to."""
    upstream, folder = free_port(), tmp_path_factory.mktemp("nginx")
    with nginx(server("nginx"), Path(folder), upstream) as (port, _):
        yield port, upstream


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_nginx(case: Case, behind: tuple[int, int]):
    asked: list[Asked] = []
    wanted, fields = case.nginx or case.wanted, case.fields if case.nginx_fields is None else case.nginx_fields

    async def story() -> Outcome:
        async with serving(script_of(case, asked), port=behind[1]):
            count = len(wanted.statuses) or 1
            return await outcome_of(case, behind[0], asked, count, hangs=wanted if case.hangs else None)

    assert run(story()) == wanted
    assert reached(fields, asked) == fields


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.nginx or case.nginx_fields], ids=lambda case: case.name
)
def test_where_nginx_differs_a_sentence_says_why_the_relay_is_right(case: Case):
    assert (case.nginx, case.nginx_fields) not in ((case.wanted, None), (None, case.fields))
    assert len(case.why) > 20
