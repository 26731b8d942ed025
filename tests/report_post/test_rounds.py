"""Who gets what when: once each, tried again with growing pauses, remembered over restarts, given up in the end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from collector.deliveries import DELIVERED, GIVEN_UP, WAITING, Delivery
from collector.errors import SettingsError, StoreError, Unavailable
from collector.report_post.rounds import LONGEST, Rounds, listed, pause
from collector.reports.spans import Span, last_whole
from collector.store import Store, open_store
from tests.demo.conftest import Clock

MONDAY = datetime(2026, 11, 16, 0, 0, tzinfo=UTC)
WEEK = last_whole("week", "Asia/Shanghai", MONDAY)


@dataclass
class Someone:
    """A destination that fails as often as it is told to."""

    name: str = "ops"
    fails: int = 0
    with_error: Exception = field(default_factory=lambda: Unavailable("HTTP 500"))
    got: list[object] = field(default_factory=list)
    tried: int = 0

    @property
    def fingerprint(self) -> str:
        return f"print of {self.name}"

    def send(self, parcel: Any) -> str | None:
        self.tried += 1
        if self.fails:
            self.fails -= 1
            raise self.with_error
        self.got.append(parcel)
        return None


@pytest.fixture
def clock() -> Clock:
    return Clock(MONDAY)


@pytest.fixture
def store() -> Iterator[Store]:
    with closing(open_store(":memory:")) as store:
        yield store


def rounds(store: Store, clock: Clock, *everyone: Someone, make: Any = lambda span: span.name) -> Rounds:
    return Rounds(everyone, make, store.rows, store.keep_delivery, clock, timezone="Asia/Shanghai")


def states(store: Store) -> dict[str, tuple[str, int, str | None]]:
    return {each.destination: (each.state, each.tries, each.problem) for each in listed(store.rows)}


def test_each_gets_it_once(store: Store, clock: Clock):
    one, other = Someone("one"), Someone("other")
    for _ in range(3):
        rounds(store, clock, one, other).go([WEEK])
        clock.now += timedelta(hours=1)
    assert one.got == other.got == ["week 2026-W46"]
    assert states(store) == {"one": (DELIVERED, 1, None), "other": (DELIVERED, 1, None)}


def test_who_fails_is_tried_again_later_and_nobody_else_is(store: Store, clock: Clock):
    well, ill = Someone("well"), Someone("ill", fails=3)
    turns = rounds(store, clock, well, ill)
    when = []
    for _ in range(60):
        before = ill.tried
        turns.go([WEEK])
        if ill.tried > before:
            when.append(int((clock.now - MONDAY).total_seconds() / 60))
        clock.now += timedelta(minutes=1)
    assert when == [0, 1, 3, 7]
    assert (len(well.got), len(ill.got)) == (1, 1)
    assert states(store)["ill"] == (DELIVERED, 4, None)


def test_a_restart_forgets_nothing(clock: Clock, tmp_path: Path):
    taken, later = Someone("taken"), Someone("later", fails=1)
    for _ in range(5):
        with closing(open_store(tmp_path / "t.duckdb")) as store:
            rounds(store, clock, taken, later).go([WEEK])
        clock.now += timedelta(minutes=2)
    assert (taken.tried, later.tried) == (1, 2)


def test_what_waits_is_sent_although_it_is_due_no_more(store: Store, clock: Clock):
    someone = Someone(fails=1)
    rounds(store, clock, someone).go([WEEK])
    clock.now += timedelta(minutes=1)
    made: list[Span] = []
    rounds(store, clock, someone, make=lambda span: made.append(span) or span.name).go([])
    assert someone.got == ["week 2026-W46"]
    assert made == [WEEK]


def test_who_is_new_gets_the_last_one_and_who_is_gone_nothing(store: Store, clock: Clock):
    old, new = Someone("old", fails=9), Someone("new")
    rounds(store, clock, old).go([WEEK])
    clock.now += timedelta(hours=1)
    turns = rounds(store, clock, new)
    assert turns.is_news(WEEK)
    turns.go([WEEK])
    assert (old.tried, new.got) == (1, ["week 2026-W46"])
    assert not turns.is_news(WEEK)


def test_it_is_given_up_in_the_end(store: Store, clock: Clock):
    someone = Someone(fails=999)
    turns = rounds(store, clock, someone)
    while clock.now < MONDAY + LONGEST + timedelta(hours=5):
        turns.go([WEEK])
        clock.now += timedelta(minutes=30)
    assert states(store)["ops"][0] == GIVEN_UP
    assert someone.tried == states(store)["ops"][1]
    assert 70 < someone.tried < 90


def test_a_destination_may_say_when(store: Store, clock: Clock):
    someone = Someone(fails=1, with_error=Unavailable("HTTP 429", retry_after_seconds=1200))
    rounds(store, clock, someone).go([WEEK])
    (found,) = listed(store.rows)
    assert found.next_at == MONDAY + timedelta(minutes=20)


@pytest.mark.parametrize("error", [SettingsError("smtp_ca: cannot be read"), ValueError("a secret address")])
def test_any_other_fault_is_no_end_either(store: Store, clock: Clock, error: Exception):
    someone = Someone(fails=1, with_error=error)
    turns = rounds(store, clock, someone)
    turns.go([WEEK])
    state, tries, problem = states(store)["ops"]
    assert (state, tries) == (WAITING, 1)
    assert "secret" not in str(problem)
    clock.now += timedelta(minutes=1)
    turns.go([])
    assert states(store)["ops"][0] == DELIVERED


def test_a_report_that_cannot_be_made_is_made_later(store: Store, clock: Clock):
    faults: list[Exception] = [StoreError("no room")]

    def make(span: Span) -> str:
        if faults:
            raise faults.pop()
        return span.name

    someone = Someone()
    turns = rounds(store, clock, someone, make=make)
    turns.go([WEEK])
    assert states(store)["ops"] == (WAITING, 1, "no room")
    clock.now += timedelta(minutes=1)
    turns.go([])
    assert someone.got == ["week 2026-W46"]


def test_what_was_taken_is_not_sent_again_where_that_cannot_be_written_down(store: Store, clock: Clock):
    def full(_: Delivery) -> None:
        raise StoreError("the disk is full")

    someone = Someone()
    turns = Rounds([someone], lambda span: span.name, store.rows, full, clock)  # type: ignore[arg-type, return-value]
    for _ in range(3):
        turns.go([WEEK])
        clock.now += timedelta(hours=1)
    assert someone.tried == 1


def test_ending_waits_for_what_is_being_sent(store: Store, clock: Clock):
    begun, go_on = threading.Event(), threading.Event()

    class Slow(Someone):
        def send(self, parcel: Any) -> str | None:
            begun.set()
            go_on.wait(30)
            return super().send(parcel)

    someone = Slow()
    turns = rounds(store, clock, someone)
    sending = threading.Thread(target=turns.go, args=([WEEK],))
    sending.start()
    begun.wait(30)
    ending = threading.Thread(target=turns.end)
    ending.start()
    assert states(store) == {}
    go_on.set()
    ending.join(30)
    sending.join(30)
    assert states(store)["ops"][0] == DELIVERED
    turns.go([last_whole("day", "UTC", MONDAY)])
    assert someone.tried == 1


def test_pauses_grow_to_an_hour():
    assert [pause(tries) // timedelta(minutes=1) for tries in (1, 2, 3, 6, 7, 50)] == [1, 2, 4, 32, 60, 60]
