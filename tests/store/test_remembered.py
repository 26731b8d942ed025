"""What was worked out of the store is remembered until a batch changes what it was worked out of, and no longer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta
from threading import Event, Thread

import pytest

from collector.access import EVERYTHING, Sight
from collector.errors import StoreError
from collector.records import Watermark
from collector.store import Extent, Reads, Store, open_store
from collector.store.columns import EVER, NEVER
from tests.builders import NOON, a_call, a_message, a_run, an_app

HOUR = timedelta(hours=1)
MARK = Watermark(source="console", stream="runs", app_id="shop", complete_until=NOON)
UNTIL = "SELECT count(*) FROM run WHERE created_at < $until OR created_at IS NULL"
COUNT = "SELECT count(*) FROM run"


@pytest.fixture
def store() -> Iterator[Store]:
    with closing(open_store(":memory:", now=NOON)) as opened:
        yield opened


class Counted:
    """Counts runs that began before an instant, and how often it was asked to."""

    def __init__(self, until: datetime = NEVER) -> None:
        self.until, self.asked = until, 0

    def __call__(self, reads: Reads) -> tuple[int, Extent]:
        self.asked += 1
        ((found,),) = reads(UNTIL, {"until": self.until})
        return int(str(found)), {"run": self.until}

    def told(self, store: Store, sight: Sight = EVERYTHING) -> int:
        with store.rows.still(sight) as reads:
            return reads.remembered("runs", self)


def test_nothing_is_worked_out_twice_while_nothing_changes(store: Store):
    store.put([a_run()])
    counted = Counted()
    assert [counted.told(store) for _ in range(3)] == [1, 1, 1]
    assert counted.asked == 1


@pytest.mark.parametrize(
    ("put", "is_forgotten"),
    [
        (lambda store: store.put([a_run(id="r2")]), True),
        (lambda store: store.put([a_run(status="failed", seen_at=NOON + HOUR)]), True),
        (lambda store: store.put([a_run(id="r2", created_at=None)]), True),
        (lambda store: store.put([a_run()]), False),
        (lambda store: store.put([a_call(), a_message(), an_app()]), False),
        (lambda store: store.put([], [MARK]), False),
        (lambda store: store.settle_rollups(everything=True), False),
        (lambda store: store.keep_readings({("family", "[]"): 1.0}), False),
    ],
    ids=["new", "changed", "undated", "known", "others", "watermark", "settled", "readings"],
)
def test_a_batch_has_forgotten_what_it_changed(store: Store, put: Callable[[Store], object], is_forgotten: bool):
    store.put([a_run()])
    counted = Counted()
    counted.told(store)
    put(store)
    assert counted.told(store) == store.rows(COUNT)[0][0]
    assert counted.asked == 1 + is_forgotten


def test_facts_that_began_later_change_nothing(store: Store):
    store.put([a_run()])
    counted = Counted(until=NOON + HOUR)
    counted.told(store)
    store.put([a_run(id="later", created_at=NOON + HOUR)])
    assert (counted.told(store), counted.asked) == (1, 1)
    store.put([a_run(id="sooner", created_at=NOON + HOUR - timedelta(microseconds=1))])
    assert (counted.told(store), counted.asked) == (2, 2)


def test_a_fact_that_moves_to_later_was_there_before(store: Store):
    store.put([a_run(is_final=False, status="running")])
    counted = Counted(until=NOON + HOUR)
    assert counted.told(store) == 1
    store.put([a_run(created_at=NOON + 2 * HOUR, seen_at=NOON + HOUR)])
    assert counted.told(store) == 0


def test_facts_that_retire_are_forgotten(store: Store):
    old = NOON - timedelta(days=40)
    store.put([a_run(id="old", created_at=old, finished_at=old, seen_at=old), a_run()])
    store.settle_rollups(everything=True)
    counted = Counted()
    assert counted.told(store) == 2
    assert store.retire({"run": timedelta(days=30)}, NOON) == {"run": 1}
    assert counted.told(store) == 1


def test_what_was_asked_last_takes_the_place_of_what_was_asked_before(store: Store):
    with store.rows.still() as reads:
        for number in (1, 2, 2, 1):
            assert reads.remembered("key", lambda _, number=number: (number, {"run": NEVER}), asked=number) == number


def test_each_sees_their_own(store: Store):
    store.put([a_run(), a_run(id="r2", app_id="helpdesk"), an_app(), an_app(id="helpdesk", workspace_id="w1")])
    counted = Counted()
    shop, first, everything = Sight(apps=("shop",)), Sight(workspaces=("w1",)), EVERYTHING
    assert [counted.told(store, sight) for sight in (shop, first, everything, shop)] == [1, 1, 2, 1]
    assert counted.asked == 3
    store.put([an_app(id="shop", workspace_id="w1", seen_at=NOON + HOUR)])  # whose runs are whose
    assert [counted.told(store, sight) for sight in (shop, first, everything)] == [1, 2, 2]


def test_who_looks_at_an_older_moment_spoils_nothing(store: Store):
    store.put([a_run()])
    counted = Counted()
    with store.rows.still() as older:
        store.put([a_run(id="r2")])
        assert older.remembered("runs", counted) == 1
        assert counted.told(store) == 2
        assert older.remembered("runs", counted) == 1
    assert counted.told(store) == 2


def test_a_batch_that_fails_may_have_forgotten_but_never_lies(store: Store):
    store.put([a_run()])
    counted = Counted()
    counted.told(store)
    with pytest.raises(StoreError):
        store.put([a_run(id="r2"), a_call(tokens=2**70)])
    assert counted.told(store) == 1


def test_an_error_in_one_look_is_not_that_of_the_next(store: Store):
    with pytest.raises(StoreError, match="nothing_there"), store.rows.still() as reads:
        reads("SELECT 1 FROM nothing_there")
    with store.rows.still() as reads:
        assert reads("SELECT 1") == [(1,)]


def test_readers_beside_a_writer_hear_what_is_stored(store: Store):
    """Whoever looks after a batch was stored hears of it; nobody hears of less than before."""
    counted, done = Counted(), Event()
    stored, wrong = [0], []

    def read() -> None:
        before = 0
        while not done.is_set():
            least = stored[0]
            with store.rows.still() as reads:
                said = reads.remembered("runs", counted)
                ((true,),) = reads(COUNT)
            if said != true or said < max(least, before):
                wrong.append((said, true, least, before))
            before = said

    readers = [Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    for number in range(60):
        store.put([a_run(id=f"r{number}")])
        stored[0] = number + 1
    done.set()
    for reader in readers:
        reader.join(30)
    assert not wrong
    assert counted.told(store) == 60


def test_what_has_no_instant_was_since_ever(store: Store):
    assert EVER < NOON < NEVER
    with store.rows.still() as reads:
        assert reads.remembered("apps", lambda _: ("before", {"app": EVER + timedelta(microseconds=1)})) == "before"
    store.put([an_app(created_at=None)])
    with store.rows.still() as reads:
        assert reads.remembered("apps", lambda _: ("after", {"app": EVER + timedelta(microseconds=1)})) == "after"
