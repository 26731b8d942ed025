"""Dify's queues, read from a real Redis that real Celery messages wait in."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from kombu.message import Message
from redis import Redis

from collector import wire
from collector.errors import SettingsError, Unavailable
from collector.pull import broker as broker_room
from collector.pull import redis_keys
from collector.pull.broker import Backlog, open_broker
from collector.pull.queues import UNACKED, UNACKED_INDEX, WORKSPACE_QUEUES
from collector.pull.redis_link import READ_ONLY_USER
from collector.records import QueueSample
from tests.builders import NOON
from tests.servers.ports import free_port
from tests.servers.redis import RedisServer, running_redis, stop


class Dify:
    """What Dify's API and workers do to their Redis, through Celery itself."""

    def __init__(self, server: RedisServer, key_prefix: str = "") -> None:
        self.server = server
        self.broker = Redis.from_url(server.url)
        self.cache = Redis.from_url(server.url.removesuffix("/1") + "/0")
        self._celery = Celery("dify", broker=server.url)
        self._celery.conf.broker_transport_options = {"global_keyprefix": key_prefix, "priority_steps": list(range(10))}
        self._worker = self._celery.connection_for_read()

    def send(self, queue: str, *, times: int = 1, **how: Any) -> None:
        for _ in range(times):
            self._celery.send_task("tasks.some_task", args=["a prompt"], queue=queue, **how)

    def take(self, queue: str) -> Message:
        """A worker takes the next message and has not acknowledged it."""
        channel = self._worker.default_channel
        channel.qos.restore_at_shutdown = False
        taken: Message = self._celery.amqp.queues[queue](channel).get()
        return taken

    def listen_to_remote_control(self) -> None:
        """A worker makes the queues in which others ask it, and one asks and waits for answers."""
        mailbox = self._celery.control.mailbox
        for queue in (mailbox.get_queue("worker@host"), mailbox.get_reply_queue()):
            queue(self._worker.default_channel).declare()

    def contents(self) -> dict[bytes, bytes | None]:
        """Every key with its value, as Redis would save it."""
        return {key: self.broker.dump(key) for key in self.broker.scan_iter()}

    def close(self) -> None:
        self._worker.close()
        self._celery.close()
        self.broker.close()
        self.cache.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with running_redis(tmp_path) as running:
        yield running


@pytest.fixture
def dify(server: RedisServer) -> Iterator[Dify]:
    dify = Dify(server)
    yield dify
    dify.close()


async def look(server: RedisServer, at: datetime = NOON, **how: Any) -> Backlog:
    async with open_broker(server.socket_url, **how) as broker:
        return await broker.sample(at)


def of(backlog: Backlog, queue: str) -> QueueSample:
    (sample,) = [sample for sample in backlog.samples if sample.queue == queue]
    return sample


async def test_an_empty_broker_has_every_known_queue_at_zero(server: RedisServer) -> None:
    backlog = await look(server, version="1.11.1")

    assert {(sample.ready, sample.oldest_seen_at) for sample in backlog.samples} == {(0, None)}
    assert len(backlog.samples) == 19 + len(WORKSPACE_QUEUES)
    assert backlog.troubles == ()


async def test_waiting_tasks_are_counted_in_their_queue(server: RedisServer, dify: Dify) -> None:
    dify.send("dataset", times=3)
    dify.send("trigger_refresh_publisher", times=2)

    backlog = await look(server)

    assert (of(backlog, "dataset").ready, of(backlog, "dataset").kind) == (3, "served")
    assert (of(backlog, "trigger_refresh_publisher").ready, of(backlog, "trigger_refresh_publisher").kind) == (
        2,
        "unserved",
    )
    assert sum(sample.ready or 0 for sample in backlog.samples) == 5


async def test_priorities_are_one_queue(server: RedisServer, dify: Dify) -> None:
    for priority in range(10):
        dify.send("dataset", priority=priority)

    assert len(dify.broker.keys("dataset*")) == 10
    assert of(await look(server), "dataset").ready == 10


async def test_a_task_at_work_is_no_longer_waiting_until_it_is_acknowledged(server: RedisServer, dify: Dify) -> None:
    dify.send("dataset", times=3)
    dify.send("mail")
    taken = [dify.take("dataset"), dify.take("mail"), dify.take("dataset")]

    backlog = await look(server)
    dataset, mail, plugin = of(backlog, "dataset"), of(backlog, "mail"), of(backlog, "plugin")
    assert (dataset.ready, dataset.unacked) == (1, 2)
    assert (mail.ready, mail.unacked) == (0, 1)
    assert (plugin.unacked, plugin.oldest_taken_at) == (0, None)
    times = dict(dify.broker.zrange(UNACKED_INDEX, 0, -1, withscores=True))
    first = taken[0].delivery_tag.encode()
    assert dataset.oldest_taken_at == datetime.fromtimestamp(times[first], UTC)

    taken[0].ack()
    dataset = of(await look(server), "dataset")
    assert (dataset.ready, dataset.unacked) == (1, 1)
    assert dataset.oldest_taken_at == datetime.fromtimestamp(times[taken[2].delivery_tag.encode()], UTC)


async def test_the_first_in_line_is_as_old_as_our_first_sight_of_it(server: RedisServer, dify: Dify) -> None:
    minutes = [NOON + timedelta(minutes=minute) for minute in range(4)]
    dify.send("dataset", times=2)
    async with open_broker(server.socket_url) as broker:
        assert of(await broker.sample(minutes[0]), "dataset").oldest_seen_at == minutes[0]
        dify.send("dataset")
        assert of(await broker.sample(minutes[1]), "dataset").oldest_seen_at == minutes[0]
        dify.take("dataset")
        assert of(await broker.sample(minutes[2]), "dataset").oldest_seen_at == minutes[2]
        dify.take("dataset")
        dify.take("dataset")
        assert of(await broker.sample(minutes[3]), "dataset").oldest_seen_at is None


async def test_a_queue_that_dify_does_not_have_is_found_and_marked(server: RedisServer, dify: Dify) -> None:
    dify.send("own_reports", times=2)

    found = of(await look(server), "own_reports")

    assert (found.ready, found.kind) == (2, "other")


async def test_a_queue_of_another_version_is_found_by_its_name(server: RedisServer, dify: Dify) -> None:
    dify.send("generation")

    assert of(await look(server, version="1.11.1"), "generation").kind == "served"


async def test_what_workers_tell_each_other_is_no_backlog(server: RedisServer, dify: Dify) -> None:
    dify.listen_to_remote_control()
    assert len(dify.broker.keys("_kombu.binding.*pidbox")) == 2

    assert not [sample.queue for sample in (await look(server)).samples if sample.kind == "other"]


async def test_more_foreign_queues_than_we_look_at_are_left_out_by_name(server: RedisServer, dify: Dify) -> None:
    for number in range(broker_room.OTHER_LIMIT + 3):
        dify.broker.sadd(f"_kombu.binding.q{number}", f"q{number}\x06\x16\x06\x16q{number}")

    backlog = await look(server)

    assert sum(sample.kind == "other" for sample in backlog.samples) == broker_room.OTHER_LIMIT
    assert "103 queues that Dify does not have" in backlog.troubles[0]


async def test_tasks_behind_a_running_one_wait_in_the_lists_of_their_workspaces(
    server: RedisServer, dify: Dify
) -> None:
    documents, pipeline = WORKSPACE_QUEUES
    dify.cache.lpush(f"{documents}:workspace-1", "a", "b")
    dify.cache.lpush(f"{documents}:workspace-2", "c")
    dify.cache.set("tenant_document_indexing_task:workspace-1", 1)

    backlog = await look(server)

    assert (of(backlog, documents).ready, of(backlog, documents).workspaces) == (3, 2)
    assert of(backlog, documents).oldest_seen_at == NOON
    assert (of(backlog, pipeline).ready, of(backlog, pipeline).workspaces) == (0, 0)
    assert not [sample for sample in backlog.samples if "workspace-1" in sample.queue]


async def test_a_cache_that_is_gone_costs_only_its_own_numbers(server: RedisServer, dify: Dify) -> None:
    dify.send("dataset")

    backlog = await look(server, cache_url=f"redis://:hidden@127.0.0.1:{free_port()}/0")

    assert of(backlog, "dataset").ready == 1
    assert {of(backlog, queue).ready for queue in WORKSPACE_QUEUES} == {None}
    assert "waiting lists of workspaces are not known" in backlog.troubles[0]
    assert "hidden" not in backlog.troubles[0]


async def test_a_cache_that_is_not_wanted_is_not_asked(server: RedisServer) -> None:
    backlog = await look(server, cache_url="")

    assert not [sample for sample in backlog.samples if sample.queue in WORKSPACE_QUEUES]


async def test_a_prefix_stands_before_every_key(server: RedisServer) -> None:
    dify = Dify(server, key_prefix="site[1]:")
    dify.send("dataset", times=2)
    dify.send("own_reports")
    dify.take("dataset")
    dify.cache.lpush(f"site[1]:{WORKSPACE_QUEUES[0]}:workspace-1", "a")
    dify.close()

    ours, others = await look(server, key_prefix="site[1]:"), await look(server)

    assert (of(ours, "dataset").ready, of(ours, "dataset").unacked) == (1, 1)
    assert of(ours, "own_reports").ready == 1
    assert of(ours, WORKSPACE_QUEUES[0]).ready == 1
    assert sum((sample.ready or 0) + (sample.unacked or 0) for sample in others.samples) == 0


async def test_a_key_of_another_type_costs_only_its_own_number(server: RedisServer, dify: Dify) -> None:
    dify.send("mail")
    dify.broker.set("dataset", "no list")
    dify.broker.set("_kombu.binding.odd", "no set")
    dify.cache.set(f"{WORKSPACE_QUEUES[0]}:workspace-1", "no list")

    backlog = await look(server)

    assert [sample.queue for sample in backlog.samples if sample.ready is None] == ["dataset", WORKSPACE_QUEUES[0]]
    assert of(backlog, "mail").ready == 1
    assert "queue dataset: its key holds no list" in backlog.troubles[0]
    assert "a key of a workspace holds no list" in backlog.troubles[1]


async def test_unacked_of_another_type_is_not_known(server: RedisServer, dify: Dify) -> None:
    dify.broker.set(UNACKED, "no hash")

    backlog = await look(server)

    assert {sample.unacked for sample in backlog.samples} == {None}
    assert "unacked" in backlog.troubles[0]


async def test_one_unreadable_taken_message_is_set_aside(server: RedisServer, dify: Dify) -> None:
    dify.send("dataset")
    dify.take("dataset")
    dify.broker.zadd(UNACKED_INDEX, {"odd": 1.0, "acknowledged in between": 2.0})
    dify.broker.hset(UNACKED, "odd", b"\xff not JSON")

    backlog = await look(server)

    assert of(backlog, "dataset").unacked == 1
    assert "unacked: wanted [message, exchange, routing key]" in backlog.troubles[0]


async def test_too_many_taken_messages_are_not_told_apart(server: RedisServer, dify: Dify) -> None:
    message = b'[{"body": ""}, "", "dataset"]'
    tags = [f"tag{number}" for number in range(broker_room.UNACKED_LIMIT + 1)]
    dify.broker.hset(UNACKED, mapping=dict.fromkeys(tags, message))
    dify.broker.zadd(UNACKED_INDEX, {tag: 1000.0 + place for place, tag in enumerate(tags)})

    backlog = await look(server)

    assert of(backlog, "dataset").unacked is None
    assert of(backlog, "dataset").oldest_taken_at == datetime.fromtimestamp(1000, UTC)
    assert "2001 messages are at work" in backlog.troubles[0]


async def test_a_message_taken_from_a_queue_that_is_bound_no_more_still_counts(server: RedisServer, dify: Dify) -> None:
    dify.send("own_reports")
    dify.take("own_reports")
    dify.broker.delete("_kombu.binding.own_reports")

    lost = of(await look(server), "own_reports")

    assert (lost.ready, lost.unacked, lost.kind) == (None, 1, "other")


async def test_keys_beyond_one_look_are_found_by_the_next(
    server: RedisServer, dify: Dify, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_keys, "SCAN_ROUNDS", 1)
    with dify.cache.pipeline() as pipeline:
        for number in range(3000):
            pipeline.set(f"refresh_token:{number}", "")
        pipeline.lpush(f"{WORKSPACE_QUEUES[0]}:workspace-1", "a").execute()
    dify.send("own_reports")
    dify.broker.mset({f"celery-task-meta-{number}": "" for number in range(3000)})

    async with open_broker(server.socket_url) as broker:
        looks = [await broker.sample(NOON) for _ in range(6)]
        assert of(looks[0], WORKSPACE_QUEUES[0]).ready is None
        assert ["the next look goes on" in trouble for trouble in looks[0].troubles] == [True, True]
        assert of(looks[-1], WORKSPACE_QUEUES[0]).ready == 1
        assert of(looks[-1], "own_reports").ready == 1
        assert looks[-1].troubles == ()
        dify.cache.delete(f"{WORKSPACE_QUEUES[0]}:workspace-1")
        assert of(await broker.sample(NOON), WORKSPACE_QUEUES[0]).ready == 0


class Turns:
    """A relay to a Redis that counts how often the client spoke anew after an answer: its round trips."""

    def __init__(self, port: int) -> None:
        self.count = 0
        self._port = port
        self._client_spoke = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        redis_reader, redis_writer = await asyncio.open_connection("127.0.0.1", self._port)
        await asyncio.gather(self._carry(reader, redis_writer, True), self._carry(redis_reader, writer, False))

    async def _carry(self, source: asyncio.StreamReader, to: asyncio.StreamWriter, is_client: bool) -> None:
        while chunk := await source.read(1 << 16):
            if is_client and not self._client_spoke:
                self.count += 1
            self._client_spoke = is_client
            to.write(chunk)
            await to.drain()
        to.close()
        await to.wait_closed()


async def turns_of_a_sample(server: RedisServer) -> tuple[int, Backlog]:
    """A second look by the same broker: the connections are open then."""
    turns = Turns(server.port)
    async with (
        await asyncio.start_server(turns.serve, "127.0.0.1", 0) as relay,
        open_broker(f"redis://127.0.0.1:{relay.sockets[0].getsockname()[1]}/1") as broker,
    ):
        await broker.sample(NOON)
        before = turns.count
        backlog = await broker.sample(NOON)
        return turns.count - before, backlog


async def test_a_huge_backlog_costs_no_more_round_trips_than_a_small_one(server: RedisServer, dify: Dify) -> None:
    dify.send("dataset", times=2)
    dify.take("dataset")
    dify.cache.lpush(f"{WORKSPACE_QUEUES[0]}:workspace-1", "a")
    small, _ = await turns_of_a_sample(server)
    (message,) = dify.broker.lrange("dataset", 0, 0)
    dify.broker.lpush("dataset", *[message] * 100_000)
    dify.broker.lpush("workflow", *[message] * 100_000)

    huge, backlog = await turns_of_a_sample(server)

    assert (of(backlog, "dataset").ready, of(backlog, "workflow").ready) == (100_001, 100_000)
    assert huge == small == backlog.round_trips == 6


async def test_the_documented_user_may_do_all_that_is_asked_and_nothing_more(server: RedisServer, dify: Dify) -> None:
    dify.send("dataset", times=2)
    dify.take("dataset")
    dify.cache.lpush(f"{WORKSPACE_QUEUES[0]}:workspace-1", "a")
    dify.broker.execute_command(READ_ONLY_USER.replace("PASSWORD", "secret"))
    url = server.url.replace("//", "//dify-metric:secret@")

    async with open_broker(url) as broker:
        backlog = await broker.sample(NOON)

    assert (of(backlog, "dataset").ready, of(backlog, "dataset").unacked) == (1, 1)
    assert of(backlog, WORKSPACE_QUEUES[0]).ready == 1
    assert dify.broker.acl_log() == []
    writes = {name.decode() for name in dify.broker.execute_command("ACL CAT write")}
    assert not writes & set(READ_ONLY_USER.replace("+", "").split())


async def test_looking_changes_nothing(server: RedisServer, dify: Dify) -> None:
    dify.send("dataset", times=2)
    dify.take("dataset")
    before = dify.contents()

    await look(server)

    assert dify.contents() == before


async def test_a_broker_that_went_away_is_unavailable(server: RedisServer) -> None:
    async with open_broker(server.url) as broker:
        await broker.sample(NOON)
        stop(server.process)
        with pytest.raises(Unavailable):
            await broker.sample(NOON)


async def test_no_content_of_a_task_is_kept(server: RedisServer, dify: Dify) -> None:
    dify.send("dataset", times=2)
    dify.take("dataset")
    async with open_broker(server.socket_url) as broker:
        backlog = await broker.sample(NOON)
        kept = repr((backlog, vars(broker), vars(broker._queue_lines)))

    (waiting,) = dify.broker.lrange("dataset", 0, 0)
    assert b"some_task" in waiting
    assert "some_task" not in kept


async def test_a_sample_has_one_key_and_survives_the_wire(server: RedisServer) -> None:
    samples = (await look(server, at=NOON, name="berlin")).samples
    again = (await look(server, at=NOON, name="berlin")).samples

    assert of(Backlog(samples, (), 0), "mail").id == "berlin/mail/2026-11-20T12:00:00+00:00"
    assert [sample.id for sample in samples] == [sample.id for sample in again]
    assert len({sample.id for sample in samples}) == len(samples)
    assert wire.decode(wire.encode(samples)) == list(samples)


def test_without_the_extra_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "collector.pull.redis_link")
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)

    with pytest.raises(SettingsError, match=r"pip install 'dify-metric\[broker\]'"):
        open_broker("redis://redis:6379/1")
