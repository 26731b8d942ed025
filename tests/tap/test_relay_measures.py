"""What is known of a request that went by: one row each, whoever broke off, and the records of its answer."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging

import pytest

from collector.records import Message, ModelCall, NodeExecution, Record, Request, Run
from collector.tap.limits import Limits
from collector.tap.routes import ROUTES, match
from tests.tap.streams import RECORDED, event, finished, llm, message_end, piece, started, usage, wire
from tests.tap.test_relay_bytes import ASK, CHUNKS, framed
from tests.tap.world import OK, Conversation, World, relayed, run, saying, until

STREAMED = wire([started(message="m1"), piece("a", message="m1"), piece("b", message="m1"), llm("n1", 3, 4)])
ENDED = wire([message_end(usage(3, 4), run="r1"), finished(7, message="m1")])


def json_answer(body: object, status: bytes = b"200 OK") -> bytes:
    written = json.dumps(body).encode()
    head = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % (status, len(written)) + written


def post(path: bytes, body: bytes = b"{}", extra: bytes = b"") -> bytes:
    return b"POST %b HTTP/1.1\r\nHost: x\r\n%bContent-Length: %d\r\n\r\n%b" % (path, extra, len(body), body)


def one(records: list[Record], kind: type[Record]):
    (found,) = [record for record in records if type(record) is kind]
    return found


def test_a_stream_becomes_its_records_and_one_request():
    async def story() -> None:
        key = b"Authorization: Bearer app-secret\r\n"
        async with relayed(saying(CHUNKS + framed(STREAMED + ENDED, [300]))) as world:
            await world.ask(post(b"/v1/chat-messages?a=b", b'{"query":"hi"}', key))
            (request,) = await world.requests()
        assert (request.method, request.route, request.status_code) == ("POST", "/v1/chat-messages", 200)
        assert (request.run_id, request.message_id, request.app_id) == ("r1", "m1", "shop")
        assert request.key_fingerprint == hashlib.sha256(b"app-secret").hexdigest()[:16]
        assert (request.is_stream, request.interrupted_by, request.error_class) == (True, None, None)
        assert (request.request_bytes, request.response_bytes) == (14, len(STREAMED + ENDED))
        assert (
            0 <= request.time_to_first_byte_seconds <= request.time_to_first_token_seconds <= request.duration_seconds
        )
        assert one(world.records, ModelCall).tokens == 7
        assert one(world.records, NodeExecution).run_id == "r1"
        assert one(world.records, Run).is_final
        message = one(world.records, Message)
        assert (message.status, message.invoke_from) == ("succeeded", "service-api")
        assert message.time_to_first_token_seconds == request.time_to_first_token_seconds

    run(story())


def test_time_to_first_token_is_that_of_the_first_piece():
    heard = asyncio.Event()

    async def script(conversation: Conversation) -> None:
        await conversation.request()
        begun = wire([started(message="m1")])
        await conversation.say(CHUNKS + b"%x\r\n%b\r\n" % (len(begun), begun))
        await heard.wait()
        await conversation.say(framed(wire([piece("a", message="m1")]) + ENDED, [4000]))

    async def story() -> None:
        async with relayed(script) as world:
            client = await world.client()
            await client.send(ASK)
            await client.reader.readuntil(b"workflow_started")
            world.clock.ahead = 5.0
            heard.set()
            await client.reader.readuntil(b"0\r\n\r\n")
            (request,) = await world.requests()
            assert request.time_to_first_byte_seconds < 5 <= request.time_to_first_token_seconds
            await client.close()

    run(story())


@pytest.mark.parametrize("name", ["workflow_llm_blocking", "chat_blocking", "chatflow_blocking"])
def test_a_blocking_answer_is_read_too(name: str):
    body = json.loads((RECORDED / "sse" / f"{name}.json").read_text())
    body = body.get("body", body)
    path = b"/v1/workflows/run" if "workflow" in name else b"/v1/chat-messages"

    async def story() -> None:
        async with relayed(saying(json_answer(body))) as world:
            await world.ask(post(path))
            (request,) = await world.requests()
            assert request.is_stream is False
            assert request.time_to_first_token_seconds is None
            assert request.run_id or request.message_id
            assert any(isinstance(record, Run | Message) for record in world.records)

    run(story())


def test_a_refused_request_says_why():
    async def story() -> None:
        said = {"code": "too_many_requests", "message": "Too many requests.", "status": 429}
        async with relayed(saying(json_answer(said, b"429 Too Many Requests"))) as world:
            await world.ask(ASK)
            (request,) = await world.requests()
            assert (request.status_code, request.error_class) == (429, "rate_limited")
            assert world.records == [request]

    run(story())


def test_an_error_under_200_says_why():
    async def story() -> None:
        failed = wire([event("error", message="m1", run=None, status=400, code="invalid_param")])
        async with relayed(saying(CHUNKS + framed(failed, [999]))) as world:
            await world.ask(ASK)
            (request,) = await world.requests()
            assert (request.status_code, request.error_class) == (200, "invalid_request")
            assert one(world.records, Message).status == "failed"

    run(story())


def test_an_upstream_that_is_not_there():
    async def story() -> None:
        async with relayed(saying(OK)) as world:
            world.upstream._port = 1
            answer = await world.ask(ASK)
            assert answer.status == 502
            assert json.loads(answer.body)["code"] == "bad_gateway"
            (request,) = await world.requests()
            assert (request.status_code, request.error_class) == (None, "connection")

    run(story())


@pytest.mark.parametrize("is_reset", [True, False])
def test_an_upstream_that_breaks_off(is_reset: bool):
    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.say(CHUNKS + b"%x\r\n%b\r\n" % (len(STREAMED), STREAMED))
        await asyncio.sleep(0.01)
        if is_reset:
            conversation.reset()

    async def story() -> None:
        async with relayed(script) as world:
            client = await world.client()
            await client.send(ASK)
            answer = await client.answer()
            assert not answer.is_whole
            (request,) = await world.requests()
            assert (request.status_code, request.interrupted_by) == (200, "upstream")
            assert one(world.records, ModelCall).tokens == 7
            await client.close()

    run(story())


def test_an_end_by_reset_arrives_as_a_reset():
    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.say(b"HTTP/1.0 200 OK\r\n\r\nhel")
        await asyncio.sleep(0.01)
        conversation.reset()

    async def story() -> None:
        async with relayed(script) as world:
            client = await world.client()
            await client.send(ASK)
            assert await client.reader.readexactly(3) == b"HTT"
            with pytest.raises(ConnectionError):
                await client.rest()
            (request,) = await world.requests()
            assert request.interrupted_by == "upstream"

    run(story())


@pytest.mark.parametrize("is_reset", [True, False])
def test_a_caller_that_goes_and_the_stream_is_read_to_its_end(is_reset: bool):
    has_gone = asyncio.Event()

    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.say(CHUNKS + b"%x\r\n%b\r\n" % (len(STREAMED), STREAMED))
        await has_gone.wait()
        for _ in range(20):  # the first writes tell the relay that nobody is there
            await conversation.say(b"f\r\nevent: pinged\n\n\r\n")
            await asyncio.sleep(0.002)
        await conversation.say(framed(ENDED, [999]))

    async def story() -> None:
        async with relayed(script) as world:
            client = await world.client()
            await client.send(ASK)
            await client.reader.readuntil(b"node_finished")
            if is_reset:
                client.reset()
            else:
                await client.close()
            has_gone.set()
            (request,) = await world.requests()
            assert request.interrupted_by == "client"
            assert one(world.records, Message).reported_output_tokens == 4
            assert one(world.records, Run).is_final
            world.relay.sweep(world.clock())
            assert not world.relay.draining

    run(story())


def test_a_caller_that_has_only_ended_its_side_gets_its_answer():
    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await asyncio.sleep(0.01)
        await conversation.say(json_answer({"result": "late"}))

    async def story() -> None:
        async with relayed(script) as world:
            client = await world.client()
            await client.send(b"GET /v1/info HTTP/1.1\r\nHost: x\r\n\r\n")
            client.writer.write_eof()
            assert b"late" in (await client.answer()).body
            (request,) = await world.requests()
            assert request.interrupted_by is None
            await client.close()

    run(story())


def test_all_that_was_asked_ahead_of_an_end_is_answered():
    async def story() -> None:
        async with relayed(saying(OK)) as world:
            client = await world.client()
            await client.send(b"GET /v1/info HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
            client.writer.write_eof()
            assert (await client.rest()).count(b"hello") == 3
            assert [request.interrupted_by for request in await world.requests(3)] == [None] * 3

    run(story())


def test_a_caller_that_left_before_a_blocking_answer_interrupted_it():
    may_answer = asyncio.Event()

    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await may_answer.wait()
        await conversation.say(json_answer({"result": "late"}))

    async def story() -> None:
        async with relayed(script) as world:
            client = await world.client()
            await client.send(b"GET /v1/info HTTP/1.1\r\nHost: x\r\n\r\n")
            await asyncio.sleep(0.01)
            await client.close()
            await asyncio.sleep(0.01)
            may_answer.set()
            (request,) = await world.requests()
            assert request.interrupted_by == "client"

    run(story())


@pytest.mark.parametrize("limits", [Limits(drain_seconds=5), Limits(drain_bytes=50_000)], ids=["time", "bytes"])
def test_reading_on_without_a_caller_has_an_end(limits: Limits):
    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.say(CHUNKS + b"%x\r\n%b\r\n" % (len(STREAMED), STREAMED))
        while True:
            await conversation.say(b"400\r\n" + b":" * 1023 + b"\n\r\n")
            await asyncio.sleep(0)

    async def story() -> None:
        async with relayed(script, limits=limits) as world:
            client = await world.client()
            await client.send(ASK)
            await client.reader.readuntil(b"node_finished")
            client.reset()
            await until(lambda: bool(world.relay.draining or world.records))
            if limits.drain_seconds == 5:
                assert not world.records
                world.pass_time(6)
            (request,) = await world.requests()
            assert request.interrupted_by == "client"
            assert one(world.records, ModelCall).tokens == 7

    run(story())


@pytest.mark.parametrize("is_refused", [False, True])
def test_a_stop_request_ends_its_stream_as_stopped(is_refused: bool):
    stopped = asyncio.Event()

    async def script(conversation: Conversation) -> None:
        while (asked := await conversation.request()) is not None:
            if b"/stop" in asked.line:
                answer = json_answer({"code": "not_found", "message": "No."}, b"404 Not Found")
                await conversation.say(answer if is_refused else json_answer({"result": "success"}))
                continue
            begun = wire([piece("a", message="m1")])
            await conversation.say(CHUNKS + b"%x\r\n%b\r\n" % (len(begun), begun))
            await stopped.wait()
            await conversation.say(framed(wire([message_end(usage(0, 0))]), [999]))

    async def story() -> None:
        async with relayed(script) as world:
            client = await world.client()
            await client.send(ASK)
            await client.reader.readuntil(b"\n\n")
            await world.ask(post(b"/v1/chat-messages/t1/stop"))
            stopped.set()
            await client.rest_of_stream()
            await world.requests(2)
            assert one(world.records, Message).status == ("succeeded" if is_refused else "stopped")
            assert {request.route for request in await world.requests()} == {
                "/v1/chat-messages",
                "/v1/chat-messages/{task_id}/stop",
            }
            await client.close()

    run(story())


def test_routes_are_a_closed_list_without_ids():
    uuid = "0b6f2e5c-8f0d-4f0c-9a3e-2a4d2f3b1c11"
    for route in ROUTES:
        path = route.template
        for name in ("app_id", "task_id", "workflow_id", "dataset_id", "document_id", "message_id"):
            path = path.replace(f"{{{name}}}", uuid)
        found = match(path.encode())
        assert found.route.template == route.template or "{" in path
        assert uuid not in found.route.template
    assert match(b"/v1/nobody/knows/" + uuid.encode()).route.template == "/v1/…"
    assert match(b"/etc/passwd").route.template == "/…"
    assert match(b"/v1/chat-messages/").route.template == "/v1/chat-messages"
    assert match(f"/console/api/apps/{uuid}/workflows/draft/run".encode()).app_id == uuid
    assert match(f"/v1/workflows/tasks/{uuid}/stop".encode()).task_id == uuid
    assert match(b"/\xff\xfe").route.template == "/…"


def test_a_sink_that_fails_harms_nobody():
    async def story() -> None:
        async with relayed(saying(OK)) as world:

            def broken(records: list[Record]) -> None:
                raise OSError("disk full")

            world.relay.watch._sink = broken
            for _ in range(3):
                assert (await world.ask(ASK)).body == b"hello"
            await until(lambda: world.relay.watch.counts.requests == 3 and bool(world.relay.watch.counts.sink_failures))

    run(story())


SECRETS = ["app-PLANTEDKEY0123456789", "PLANTEDPROMPT", "PLANTEDANSWER", "PLANTEDQUERY", "PLANTEDCOOKIE", "PLANTEDPATH"]


async def _say_secrets(world: World) -> None:
    fields = b"Authorization: Bearer app-PLANTEDKEY0123456789\r\nCookie: a=PLANTEDCOOKIE\r\n"
    for path in (
        b"/v1/chat-messages?q=PLANTEDQUERY",
        b"/v1/workflows/run",
        b"/v1/PLANTEDPATH",
        b"/PLANTEDPATH?PLANTEDQUERY",
    ):
        await world.ask(post(path, b'{"query":"PLANTEDPROMPT"}', fields))
    await world.ask(b"GET /v1/messages?user=PLANTEDQUERY HTTP/1.1\r\nHost: x\r\n" + fields + b"\r\n")
    await world.ask(b"GET /PLANTEDPATH HTTP/1.1\r\nBroken PLANTEDPROMPT\r\n" + fields + b"\r\n")


@pytest.mark.parametrize(
    "answer",
    [
        CHUNKS
        + framed(
            wire(
                [
                    started(inputs={"sys.query": "PLANTEDPROMPT"}),
                    piece("PLANTEDANSWER"),
                    llm("n1", 3, 4, outputs={"text": "PLANTEDANSWER", "usage": usage(3, 4)}),
                    finished(7, outputs={"answer": "PLANTEDANSWER"}, error="PLANTEDANSWER failed"),
                ]
            ),
            [77],
        ),
        CHUNKS
        + framed(
            b'data: {"event": "message_end", "PLANTEDANSWER\n\n' + wire([event("node_finished", data="PLANTEDANSWER")]),
            [99],
        ),
        json_answer({"code": "PLANTEDANSWER", "message": "PLANTEDPROMPT is no prompt"}, b"400 Bad Request"),
        json_answer(["PLANTEDANSWER"]),
        b"HTTP/1.1 200 OK\r\nPLANTEDANSWER\r\n\r\n",
    ],
    ids=["stream", "bad events", "refusal", "bad body", "bad head"],
)
def test_nothing_secret_leaves_memory(answer: bytes, caplog: pytest.LogCaptureFixture, capfd):
    caplog.set_level(logging.DEBUG)

    async def story() -> list[Record]:
        async with relayed(saying(answer)) as world:
            await _say_secrets(world)
            await world.requests(4)
            print(world.relay.watch.counts)
            return world.records

    records = run(story())
    assert [record for record in records if isinstance(record, Request) and record.key_fingerprint]
    said = capfd.readouterr()
    for secret in SECRETS:
        assert secret not in repr(records)
        assert secret not in caplog.text + said.out + said.err
