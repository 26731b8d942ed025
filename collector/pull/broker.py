"""Dify's task queues in Redis -> queue samples: what waits, what is being worked on, and since when.

What comes in are the URLs of Celery's broker and of Dify's cache, and an instant; what goes out is one sample per
queue. The cost does not grow with the backlog: lengths are asked, of each list one message is looked at, and of the
messages being worked on a bounded number. Nothing is ever written to Redis, and what a message says is neither decoded
nor kept. `redis_link.READ_ONLY_USER` is all the right this needs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from collector.errors import DifyMetricError, SettingsError, ShapeError
from collector.pull.queues import (
    BINDINGS,
    OTHER,
    UNACKED,
    UNACKED_INDEX,
    WORKSPACE_QUEUES,
    Routes,
    expected_queues,
    kind_of,
    lists_of,
    queue_taken_from,
    routes_of,
)
from collector.pull.redis_keys import Finder, Lines, Link, text
from collector.records import BROKER, QueueSample

UNACKED_LIMIT = 2000
"""So many taken messages are looked at, the longest taken first; beyond, they are not told apart by queue."""

OTHER_LIMIT = 100
"""So many queues are looked at that are not in our table."""


@dataclass(frozen=True)
class Backlog:
    """One look at a broker. `troubles` say what could not be told (the samples then have None there), and why."""

    samples: tuple[QueueSample, ...]
    troubles: tuple[str, ...]
    round_trips: int


@dataclass(frozen=True)
class _Taken:
    """Messages being worked on: how many per queue (None: could not be told) and when the first was taken."""

    counts: Mapping[str, int] | None
    oldest: Mapping[str, datetime]


class Broker:
    """Looks at one Dify's queues again and again. Keeps which message was first in line since when."""

    def __init__(
        self,
        link: Link,
        cache: Link | None = None,
        *,
        name: str = "broker",
        key_prefix: str = "",
        version: str | None = None,
    ) -> None:
        self.name = name
        self._link, self._cache, self._prefix = link, cache, key_prefix
        self._expected = expected_queues(version)
        self._exchanges = Finder(key_prefix, f"{BINDINGS}*")
        self._waiting_lists = Finder(key_prefix, "tenant_self_*_task_queue:*")
        self._queue_lines, self._workspace_lines = Lines(), Lines()

    async def sample(self, at: datetime) -> Backlog:
        """One sample of every queue at `at`. Raises Unauthorized, Forbidden, Unavailable or SettingsError when the
        broker cannot be read; trouble with the cache or with one key costs only its own numbers.
        """
        before, at = self._round_trips(), at.astimezone(UTC)
        troubles: list[str] = []
        routes = await self._routes(troubles)
        samples = await self._of_queues(routes, at, troubles)
        if self._cache is not None:
            samples += await self._of_workspaces(self._cache, at, troubles)
        return Backlog(
            tuple(samples),
            tuple(f"{self.name}: {trouble}" for trouble in troubles),
            self._round_trips() - before,
        )

    def expect(self, version: str | None) -> None:
        """Report the queues of that version of Dify as empty when they have no key."""
        self._expected = expected_queues(version)

    async def aclose(self) -> None:
        """Let go of the connections."""
        await self._link.aclose()
        if self._cache is not None:
            await self._cache.aclose()

    async def __aenter__(self) -> Broker:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def _round_trips(self) -> int:
        return self._link.round_trips + (self._cache.round_trips if self._cache else 0)

    async def _routes(self, troubles: list[str]) -> Routes:
        keys = await self._exchanges.look(self._link)
        if not self._exchanges.is_complete:
            troubles.append("too many keys to find every queue in one look; the next look goes on")
        found: Routes = {}
        for key, members in zip(keys, await self._link.ask([("SMEMBERS", key) for key in keys]), strict=True):
            exchange = key.removeprefix(self._prefix + BINDINGS)
            found |= routes_of(exchange, sorted(text(member) for member in members or ()))
        return found

    async def _of_queues(self, routes: Routes, at: datetime, troubles: list[str]) -> list[QueueSample]:
        lists = {queue: [self._prefix + key for key in lists_of(queue)] for queue in self._queues(routes, troubles)}
        keys = [key for group in lists.values() for key in group]
        *answers, count, index = await self._link.ask(
            [
                *Lines.questions(keys),
                ("HLEN", self._prefix + UNACKED),
                ("ZRANGE", self._prefix + UNACKED_INDEX, 0, UNACKED_LIMIT - 1, "WITHSCORES"),
            ]
        )
        self._queue_lines.seen(keys, answers, at)
        taken = await self._taken(count, index, routes, troubles)
        samples = []
        for queue, group in lists.items():
            line = self._queue_lines.line(group)
            if line.length is None:
                troubles.append(f"queue {queue}: its key holds no list, so its length is not known")
            unacked = None if taken.counts is None else taken.counts.get(queue, 0)
            samples.append(
                self._sampled(
                    queue,
                    at,
                    ready=line.length,
                    unacked=unacked,
                    oldest_seen_at=line.first_seen_at,
                    oldest_taken_at=taken.oldest.get(queue),
                )
            )
        lost = sorted(taken.oldest.keys() - lists.keys())[:OTHER_LIMIT]  # taken from a queue that is bound no more
        for queue in lost:
            unacked = None if taken.counts is None else taken.counts[queue]
            samples.append(self._sampled(queue, at, unacked=unacked, oldest_taken_at=taken.oldest[queue]))
        return samples

    def _queues(self, routes: Routes, troubles: list[str]) -> list[str]:
        found = sorted(set(routes.values()) - set(self._expected))
        others = [queue for queue in found if kind_of(queue) == OTHER]
        if len(others) > OTHER_LIMIT:
            troubles.append(f"{len(others)} queues that Dify does not have; {OTHER_LIMIT} of them are looked at")
        left_out = set(others[OTHER_LIMIT:])
        return [*self._expected, *(queue for queue in found if queue not in left_out)]

    async def _taken(
        self, count: int | None, index: Sequence[bytes] | None, routes: Routes, troubles: list[str]
    ) -> _Taken:
        """The messages being worked on; `index` has tags and times by turns, the longest taken first."""
        if count is None or index is None:
            troubles.append(f"{UNACKED} or {UNACKED_INDEX} is not of Celery's making; tasks at work are not known")
            return _Taken(None, {})
        tags = [text(tag) for tag in index[::2]]
        (values,) = await self._link.ask([("HMGET", self._prefix + UNACKED, *tags)]) if tags else ([],)
        counts: Counter[str] = Counter()
        oldest: dict[str, datetime] = {}
        for value, taken_at in zip(values, index[1::2], strict=True):
            if value is None:  # acknowledged in the meantime
                continue
            try:
                queue = queue_taken_from(value, routes)
            except ShapeError as error:
                troubles.append(str(error))
                continue
            counts[queue] += 1
            oldest.setdefault(queue, datetime.fromtimestamp(float(taken_at), UTC))
        if count > UNACKED_LIMIT:
            troubles.append(f"{count} messages are at work; beyond {UNACKED_LIMIT} they are not told apart by queue")
            return _Taken(None, oldest)
        return _Taken(counts, oldest)

    async def _of_workspaces(self, cache: Link, at: datetime, troubles: list[str]) -> list[QueueSample]:
        try:
            keys = await self._waiting_lists.look(cache)
            self._workspace_lines.seen(keys, await cache.ask(Lines.questions(keys)), at)
        except DifyMetricError as error:
            troubles.append(f"waiting lists of workspaces are not known: {error}")
            return [self._sampled(queue, at) for queue in WORKSPACE_QUEUES]
        if not self._waiting_lists.is_complete:
            troubles.append("too many keys to find every waiting list in one look; the next look goes on")
            return [self._sampled(queue, at) for queue in WORKSPACE_QUEUES]
        return [
            self._of_waiting_list(
                queue, [key for key in keys if key.startswith(f"{self._prefix}{queue}:")], at, troubles
            )
            for queue in WORKSPACE_QUEUES
        ]

    def _of_waiting_list(self, queue: str, keys: Sequence[str], at: datetime, troubles: list[str]) -> QueueSample:
        line = self._workspace_lines.line(keys)
        if line.length is None:
            troubles.append(f"{queue}: a key of a workspace holds no list, so its length is not known")
        waiting = self._workspace_lines.waiting(keys)
        return self._sampled(queue, at, ready=line.length, oldest_seen_at=line.first_seen_at, workspaces=waiting)

    def _sampled(self, queue: str, at: datetime, **fields: Any) -> QueueSample:
        return QueueSample(
            source=BROKER,
            seen_at=at,
            id=f"{self.name}/{queue}/{at.isoformat()}",
            broker=self.name,
            queue=queue,
            kind=kind_of(queue),
            created_at=at,
            **fields,
        )


def open_broker(
    url: str,
    *,
    cache_url: str | None = None,
    name: str = "broker",
    key_prefix: str = "",
    version: str | None = None,
    timeout_seconds: float = 5.0,
) -> Broker:
    """The broker at Dify's CELERY_BROKER_URL; nothing is asked yet.

    cache_url: where Dify's cache is (REDIS_HOST, REDIS_DB); None: database 0 of the same Redis, as Dify has it by
    default; "": not read. key_prefix: what Dify puts before every key, divider included. version: Dify's; decides
    which queues are reported as empty when they have no key.
    Raises SettingsError for a URL that cannot be read, and when the extra `broker` is not installed.
    """
    try:
        from collector.pull.redis_link import RedisLink, parse_place
    except ModuleNotFoundError:
        raise SettingsError(
            "reading the queues needs the package redis; install it with: pip install 'dify-metric[broker]'"
        ) from None
    place = parse_place(url)
    cache_place = place.at_database(0) if cache_url is None else parse_place(cache_url or url)
    link, cache = (RedisLink(at, timeout_seconds=timeout_seconds) for at in (place, cache_place))
    return Broker(link, None if cache_url == "" else cache, name=name, key_prefix=key_prefix, version=version)
