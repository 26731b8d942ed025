"""Who gets which report when: each report once to each destination, tried again with growing pauses, and remembered.

What comes in are the reports that are due, destinations and the record of what became of earlier ones; what goes out
are parcels, and that record. A delivery that was acknowledged is never made again, a restart in between or not: the
record is written right after the destination said that it has it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from threading import Event, Lock
from typing import Any, Protocol, TypeAlias, cast

import structlog
from msgspec.structs import replace

from collector.deliveries import DELIVERED, GIVEN_UP, WAITING, Delivery
from collector.errors import DifyMetricError, StoreError, Unavailable
from collector.measures.reading import Rows
from collector.period import Period, zone
from collector.report_post.parcel import Destination, Parcel
from collector.reports.spans import Span

log = structlog.get_logger()

LONGEST = timedelta(days=3)
"""A delivery is tried for so long."""

SHORTEST_PAUSE, LONGEST_PAUSE = timedelta(minutes=1), timedelta(hours=1)

MOST_AT_ONCE = 8

Key: TypeAlias = tuple[str, str]

_NAMES = Delivery.__struct_fields__
_ALL = f"SELECT {', '.join(_NAMES)} FROM report_delivery"
_KNOWN = f"{_ALL} WHERE state = ? OR report IN (SELECT unnest(CAST(? AS VARCHAR[])))"


class Keep(Protocol):
    """Writes what became of a report: a Store's `keep_delivery`."""

    def __call__(self, delivery: Delivery) -> None: ...


def pause(tries: int) -> timedelta:
    """How long to wait after so many tries: 1, 2, 4, … minutes, an hour at most."""
    return min(SHORTEST_PAUSE * (1 << min(max(tries - 1, 0), 10)), LONGEST_PAUSE)


def listed(rows: Rows, limit: int = 200) -> list[Delivery]:
    """What became of reports, the latest first."""
    found = rows(f"{_ALL} ORDER BY created_at DESC, report DESC, destination LIMIT ?", [limit])
    return [_delivery(row) for row in found]


class Rounds:
    """Makes a round whenever it is told to. Not for two threads at once: a round that is under way is not doubled."""

    def __init__(
        self,
        destinations: Iterable[Destination],
        make: Callable[[Span], Parcel],
        rows: Rows,
        keep: Keep,
        clock: Callable[[], datetime],
        *,
        timezone: str = "UTC",
        pause: Callable[[int], timedelta] = pause,
    ) -> None:
        """`make` may raise DifyMetricError: then it is tried again later."""
        self._destinations = {each.fingerprint: each for each in destinations}
        self._make, self._rows, self._keep, self._clock = make, rows, keep, clock
        self._zone, self._pause = zone(timezone), pause
        self._done: set[Key] = set()  # acknowledged, also where the record of it could not be written
        self._at_work, self._ending = Lock(), Event()

    def go(self, due: Sequence[Span]) -> None:
        """Send what is due and was not taken yet. Returns when every destination has answered or failed."""
        with self._at_work:
            for span, waiting in self._work(due):
                if not self._ending.is_set():
                    self._send(span, waiting)

    def is_news(self, span: Span) -> bool:
        """Whether any destination has not been told of a report yet."""
        known = {each.fingerprint for each in self._known([span.name]).values()}
        return bool(set(self._destinations) - known)

    def end(self) -> None:
        """Begin nothing more, and wait until what is being sent has been taken or not, and that is written down."""
        self._ending.set()
        with self._at_work:
            return

    def _work(self, due: Sequence[Span]) -> Iterable[tuple[Span, list[Delivery]]]:
        now = self._clock()
        known = self._known([span.name for span in due])
        work: dict[str, tuple[Span, list[Delivery]]] = {span.name: (span, []) for span in due}
        for span in due:
            for mark, destination in self._destinations.items():
                if (span.name, mark) not in known:
                    work[span.name][1].append(_new(span, destination, now))
        for delivery in known.values():
            is_ours = delivery.state == WAITING and delivery.fingerprint in self._destinations
            if is_ours and (delivery.next_at is None or delivery.next_at <= now):
                period = Period(delivery.starts_at, delivery.ends_at, self._zone)
                span = Span(delivery.report.partition(" ")[0], period)
                work.setdefault(delivery.report, (span, []))[1].append(delivery)
        for span, waiting in work.values():
            left = [each for each in waiting if (each.report, each.fingerprint) not in self._done]
            if left:
                yield span, left

    def _known(self, reports: Sequence[str]) -> Mapping[Key, Delivery]:
        found = self._rows(
            f"{_ALL} WHERE state = ? OR report IN (SELECT unnest(CAST(? AS VARCHAR[])))", [WAITING, list(reports)]
        )
        return {(each.report, each.fingerprint): each for each in map(_delivery, found)}

    def _send(self, span: Span, waiting: Sequence[Delivery]) -> None:
        try:
            parcel = self._make(span)
        except DifyMetricError as error:
            for delivery in waiting:
                self._note(delivery, _failed(str(error), delivery, self._clock(), self._pause))
            return
        with ThreadPoolExecutor(min(len(waiting), MOST_AT_ONCE)) as pool:
            list(pool.map(lambda delivery: self._bring(parcel, delivery), waiting))

    def _bring(self, parcel: Parcel, delivery: Delivery) -> None:
        try:
            remark = self._destinations[delivery.fingerprint].send(parcel)
        except Unavailable as error:
            after = error.retry_after_seconds
            self._note(delivery, _failed(str(error), delivery, self._clock(), self._pause, after))
        except DifyMetricError as error:
            self._note(delivery, _failed(str(error), delivery, self._clock(), self._pause))
        except Exception as error:  # one destination's fault is not the others'
            log.exception("report not sent", report=delivery.report, destination=delivery.destination)
            self._note(delivery, _failed(type(error).__name__, delivery, self._clock(), self._pause))
        else:
            self._done.add((delivery.report, delivery.fingerprint))
            taken = replace(
                delivery,
                state=DELIVERED,
                tries=delivery.tries + 1,
                problem=remark,
                next_at=None,
                delivered_at=self._clock(),
            )
            self._note(delivery, taken)

    def _note(self, before: Delivery, now: Delivery) -> None:
        told = {"report": now.report, "destination": now.destination, "tries": now.tries}
        if now.state == DELIVERED:
            log.info("report delivered", **told)
        elif now.state == GIVEN_UP:
            log.error("report given up", **told, problem=now.problem, next="send it by hand: dify-metric report")
        else:
            log.warning("report not delivered", **told, problem=now.problem, next=f"tried again {now.next_at}")
        try:
            self._keep(now)
        except StoreError as error:
            log.error("delivery not recorded", **told, problem=str(error), next="make room for the store")


def _new(span: Span, destination: Destination, now: datetime) -> Delivery:
    return Delivery(
        report=span.name,
        fingerprint=destination.fingerprint,
        destination=destination.name,
        starts_at=span.period.start,
        ends_at=span.period.end,
        state=WAITING,
        tries=0,
        problem=None,
        created_at=now,
        next_at=now,
        delivered_at=None,
    )


def _failed(
    problem: str,
    delivery: Delivery,
    now: datetime,
    pause: Callable[[int], timedelta],
    after_seconds: float | None = None,
) -> Delivery:
    tries = delivery.tries + 1
    wait = max(pause(tries), min(timedelta(seconds=after_seconds or 0), LONGEST_PAUSE))
    is_over = now - delivery.created_at >= LONGEST
    return replace(
        delivery,
        state=GIVEN_UP if is_over else WAITING,
        tries=tries,
        problem=problem[:300],
        next_at=None if is_over else now + wait,
    )


def _delivery(row: tuple[object, ...]) -> Delivery:
    return Delivery(**cast("dict[str, Any]", dict(zip(_NAMES, row, strict=True))))
