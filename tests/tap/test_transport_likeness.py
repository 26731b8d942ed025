"""The tap in a client and the relay tell the same of the same exchange."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from collector.records import Record, Request
from tests.tap.streams import RECORDED, RECORDED_STREAMS
from tests.tap.test_relay_bytes import CHUNKS, STREAM, framed, sliced
from tests.tap.test_relay_measures import json_answer
from tests.tap.test_transport import ANSWER, KEY, PATH, both, one, tapping
from tests.tap.world import OK, Conversation, relayed, run, saying, serving


def alike(records: list[Record]) -> list[Record]:
    """Records without what no two tellings share: who asked when, for how long, under which id."""
    passed = {"time_to_first_token_seconds", "time_to_first_byte_seconds", "duration_seconds"}
    found = []
    for record in records:
        own: dict[str, Any] = {"seen_at": None}
        own |= {name: getattr(record, name) is not None for name in passed if hasattr(record, name)}
        if isinstance(record, Request):
            own |= {"id": "", "created_at": None}
        found.append(replace(record, **own))
    return found


async def told_by_both(script: Any, path: str, *, is_async: bool, **asked: Any) -> tuple[Any, Any]:
    """What the program got, and what was told: through the relay, and through the transport."""
    tapped: list[Record] = []
    async with relayed(script) as world, httpx.AsyncClient(base_url=f"http://127.0.0.1:{world.port}") as client:
        through = await client.post(path, headers=KEY, **asked)
        await world.requests()
        async with (
            serving(script) as port,
            tapping(f"http://127.0.0.1:{port}", tapped.extend, is_async=is_async) as ask,
        ):
            answer = await ask("POST", path, headers=KEY, **asked)
        return (through.status_code, through.content, alike(world.records)), (
            answer.status_code,
            answer.content,
            alike(tapped),
        )


@both
@pytest.mark.parametrize("recorded", RECORDED_STREAMS, ids=lambda path: path.stem)
def test_a_recorded_stream_tells_what_it_tells_the_relay(recorded, is_async):
    content = recorded.read_bytes()
    path = "/v1/workflows/run" if "workflow" in recorded.stem else PATH

    async def script(conversation: Conversation) -> None:
        while await conversation.request():
            for part in sliced(CHUNKS + framed(content, [700, 90, 2000]), [1111, 300]):
                await conversation.say(part)
                await asyncio.sleep(0)

    relay, transport = run(told_by_both(script, path, is_async=is_async, json={"query": "hi"}))

    assert transport == relay
    assert transport[1] == content
    assert one(transport[2]).response_bytes == len(content)


@both
@pytest.mark.parametrize("name", ["workflow_llm_blocking", "chat_blocking", "chat_failed_blocking"])
def test_a_blocking_answer_tells_what_it_tells_the_relay(name, is_async):

    body = json.loads((RECORDED / "sse" / f"{name}.json").read_text())
    status = b"%d X" % body.get("status", 200)
    said = json_answer(body.get("body", body), status)
    path = "/v1/workflows/run" if "workflow" in name else PATH

    relay, transport = run(told_by_both(saying(said), path, is_async=is_async, json={}))

    assert transport == relay


@both
@pytest.mark.parametrize(
    "said",
    [
        OK,
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",
        json_answer({"code": "too_many_requests", "message": "Too many requests.", "status": 429}, b"429 X"),
        CHUNKS + framed(b"data: {nonsense\n\n", [5]),
        STREAM.replace(b"200", b"500") + b"Content-Length: 2\r\n\r\n??",
        STREAM
        + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b"
        % (len(gzip.compress(ANSWER, mtime=0)), gzip.compress(ANSWER, mtime=0)),
    ],
    ids=["plain", "204", "302", "429", "nonsense", "500", "gzip"],
)
@pytest.mark.parametrize("path", [PATH, "/v1/parameters", "/v1/chat-messages/t1/stop", "/elsewhere?key=secret"])
def test_other_exchanges_are_told_alike(said, path, is_async):
    relay, transport = run(told_by_both(saying(said), path, is_async=is_async, content=b"12345"))

    assert transport == relay
    assert one(transport[2]).request_bytes == 5
