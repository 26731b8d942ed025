"""The spool keeps what it was given until it is told that it arrived, whatever becomes of process, disk and clock."""

from __future__ import annotations

import os
import sqlite3
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector import wire
from collector.errors import SettingsError
from collector.records import Record
from collector.tap.spool import Spool
from collector.tap.spool_file import MOST_REFUSED, Batch, SpoolFile, work_off
from collector.tap.spool_folder import Folder
from tests.builders import a_call, a_node, a_run

LARGE = 1 << 30


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "spool")


def a_spool(folder: Folder, **how: Any) -> Spool:
    return Spool(folder.claim(), **({"most_bytes": LARGE, "busy_seconds": 0.01} | how))


@contextmanager
def opened(folder: Folder, **how: Any) -> Iterator[Spool]:
    spool = a_spool(folder, **how)
    try:
        yield spool
    finally:
        spool.close()


def left(spool: Spool) -> list[Record]:
    return [record for batch in spool.take(10**9, LARGE) for record in wire.decode(batch.body)]


def lost(spool: Spool) -> dict[str, int]:
    """Records dropped, by kind."""
    kinds = ("run", "node_execution", "model_call")
    return {kind: number for kind in kinds if (number := spool.dropped(kind))}


def died(spool: Spool) -> None:
    """What a kill leaves: the lock is gone, and nothing was closed."""
    spool._claim.release()


def runs(*names: str) -> list[Record]:
    return [a_run(id=name) for name in names]


def ids(records: list[Record]) -> list[str]:
    return [record.id for record in records]  # type: ignore[attr-defined]


class TestKeeping:
    def test_gives_out_what_it_was_given_until_it_is_done(self, folder: Folder):
        with opened(folder) as spool:
            spool.put(runs("r1", "r2"))
            spool.commit()
            assert left(spool) == runs("r1", "r2")
            assert left(spool) == runs("r1", "r2")
            spool.done(spool.take(1, 1))
            assert left(spool) == []

    def test_what_came_together_is_one_batch_and_the_oldest_goes_out_first(self, folder: Folder):
        with opened(folder) as spool:
            for names in (("r1", "r2"), ("r3",), ("r4",)):
                spool.put(runs(*names[:1]))
                spool.put(runs(*names[1:]))
                spool.commit()
            assert [batch.kinds for batch in spool.take(10, LARGE)] == [{"run": 2}, {"run": 1}, {"run": 1}]
            assert [batch.kinds for batch in spool.take(3, LARGE)] == [{"run": 2}, {"run": 1}]
            assert len(spool.take(1, LARGE)) == len(spool.take(10, 1)) == 1
            spool.done(spool.take(3, LARGE))
            assert ids(left(spool)) == ["r4"]

    def test_a_thread_of_its_own_writes(self, folder: Folder):
        spool = a_spool(folder)
        spool.start()
        for number in range(50):
            spool.put(runs(f"r{number}"))
        spool.close()
        with opened(folder) as again:
            assert ids(left(again)) == [f"r{number}" for number in range(50)]

    def test_a_kill_loses_nothing_committed(self, folder: Folder):
        spool = a_spool(folder)
        spool.put(runs("r1"))
        spool.commit()
        spool.put(runs("r2"))
        died(spool)
        with opened(folder) as again:
            assert ids(left(again)) == ["r1"]

    def test_an_empty_file_goes_at_the_end_and_a_full_one_stays(self, folder: Folder):
        with opened(folder) as spool:
            spool.put(runs("r1"))
            spool.commit()
            spool.done(spool.take(1, 1))
        assert [path.name for path in folder.path.iterdir()] == ["spool-0.lock"]
        with opened(folder) as spool:
            spool.put(runs("r1"))
        assert "spool-0.sqlite" in {path.name for path in folder.path.iterdir()}

    def test_nobody_else_can_read_it(self, folder: Folder):
        with opened(folder) as spool:
            spool.put(runs("r1"))
            spool.commit()
            assert folder.path.stat().st_mode & 0o077 == 0
            assert all(path.stat().st_mode & 0o077 == 0 for path in folder.path.iterdir())

    def test_a_clock_that_jumps_changes_no_order(self, folder: Folder):
        instants = iter([5e9, 1e9, -7.0, 2e9])
        with opened(folder, now=lambda: next(instants)) as spool:
            for name in ("r1", "r2", "r3", "r4"):
                spool.put(runs(name))
                spool.commit()
            assert spool.state().oldest_at == 5e9
            assert ids(left(spool)) == ["r1", "r2", "r3", "r4"]

    def test_a_record_that_cannot_be_written_costs_itself_alone(self, folder: Folder):
        with opened(folder) as spool:
            spool.put([a_run(id="r1"), a_node(id="n1", title="\ud800"), a_run(id="r2")])
            spool.commit()
            assert ids(left(spool)) == ["r1", "r2"]
            assert lost(spool) == {"node_execution": 1}

    def test_refused_records_are_kept_for_a_person_and_bounded(self, folder: Folder):
        with opened(folder) as spool:
            for start in range(0, MOST_REFUSED + 20, 10):
                spool.refuse([("run", "tokens: too many", b"%d" % number) for number in range(start, start + 10)])
            file = spool._file
            assert file is not None
            assert len(file.refused) == MOST_REFUSED
            assert file.refused[0] == ("run", "tokens: too many", b"20")


class TestBounds:
    def test_what_has_no_room_goes_from_the_old_end_and_is_counted_by_kind(self, folder: Folder):
        with opened(folder, most_bytes=400_000) as spool:
            for number in range(100):
                noise = os.urandom(5_000).hex()
                spool.put([a_run(id=f"r{number}", version=noise), a_node(id=f"n{number}")])
                spool.commit()
            kept = ids(left(spool))
            dropped = 100 - len(kept) // 2
            assert 0 < len(kept) < 200
            assert kept[-1] == "n99"
            assert kept[0] == f"r{dropped}"
            assert lost(spool) == {"run": dropped, "node_execution": dropped}
            state = spool.state()
            assert (state.records, state.bytes <= 400_000) == (len(kept), True)

    def test_a_batch_larger_than_everything_takes_no_disk_for_ever(self, folder: Folder):
        with opened(folder, most_bytes=100_000) as spool:
            for number in range(5):
                spool.put([a_run(id=f"r{number}", version=os.urandom(200_000).hex())])
                spool.commit()
            assert len(left(spool)) <= 1
            assert spool.dropped("run") >= 4

    def test_what_waits_in_memory_is_bounded_while_the_disk_does_not_answer(self, folder: Folder):
        with opened(folder, most_waiting=10) as spool:
            for number in range(50):
                spool.put([a_run(id=f"r{number}"), a_call(id=f"c{number}")])
            assert lost(spool) == {"run": 45, "model_call": 45}
            spool.commit()
            assert ids(left(spool))[:1] == ["r45"]

    def test_pages_go_back_to_the_disk_when_what_they_held_has_arrived(self, folder: Folder):
        with opened(folder) as spool:
            for number in range(300):
                spool.put([a_run(id=f"r{number}", version=os.urandom(10_000).hex())])
                spool.commit()
            full = spool.state().bytes
            while batches := spool.take(10, LARGE):
                spool.done(batches)
            assert spool.state().bytes < full / 50
            spool.put(runs("last"))
            spool.commit()
            assert spool._file is not None
            (pages,) = spool._file._one("PRAGMA page_count")
            assert pages * 4096 < full / 2

    def test_what_is_written_ahead_is_worked_off_beside_the_writer(self, folder: Folder):
        with opened(folder) as spool:
            for number in range(30):
                spool.put([a_run(id=f"r{number}", version=os.urandom(10_000).hex())])
                spool.commit()
            written_ahead = folder.path / "spool-0.sqlite-wal"
            before = written_ahead.stat().st_size
            work_off(folder.path / "spool-0.sqlite")
            assert written_ahead.stat().st_size == before > 300_000
            work_off(folder.path / "spool-0.sqlite", most_bytes=300_000)
            assert written_ahead.stat().st_size == 0
            spool.put(runs("last"))
            spool.commit()
            assert len(left(spool)) == 31


class TestTrouble:
    def test_on_a_full_disk_records_wait_in_memory_and_go_out_from_there(self, folder: Folder):
        with opened(folder) as spool:
            spool.put(runs("r1"))
            assert spool.commit()
            assert spool._file is not None
            spool._file.limit_pages(1)
            spool.put([a_run(id="r2", version=os.urandom(20_000).hex())])
            assert not spool.commit()
            assert ids(left(spool)) == ["r1"]
            spool.done(spool.take(1, 1))
            assert ids(left(spool)) == ["r2"]
            assert spool.state().records == 1
            spool.done(spool.take(1, 1))
            assert left(spool) == []
            assert not lost(spool)

    def test_when_the_disk_has_room_again_they_are_written(self, folder: Folder):
        with opened(folder) as spool:
            spool.put(runs("r0"))
            spool.commit()
            assert spool._file is not None
            spool._file.limit_pages(1)
            spool.put([a_run(id="r1", version=os.urandom(20_000).hex())])
            assert not spool.commit()
            spool._file.limit_pages(10_000)
            assert spool.commit()
        with opened(folder) as again:
            assert ids(left(again)) == ["r0", "r1"]

    def test_what_memory_has_no_room_for_is_dropped_and_counted(self, folder: Folder):
        with opened(folder, most_held_bytes=30_000) as spool:
            spool.put(runs("r0"))
            spool.commit()
            assert spool._file is not None
            spool._file.limit_pages(1)
            for number in range(1, 10):
                spool.put([a_run(id=f"r{number}", version=os.urandom(5_000).hex())])
                spool.commit()
            spool.done(spool.take(1, 1))
            kept = ids(left(spool))
            assert kept[-1] == "r9"
            assert lost(spool) == {"run": 9 - len(kept)}

    def test_a_locked_file_is_waited_for_elsewhere(self, folder: Folder):
        with opened(folder) as spool:
            spool.put(runs("r1"))
            spool.commit()
            with closing(sqlite3.connect(folder.path / "spool-0.sqlite", isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                spool.put(runs("r2"))
                assert not spool.commit()
                spool.done(spool.take(1, 1))
                assert ids(left(spool)) == ["r2"]
                other.execute("ROLLBACK")
            assert spool.commit()
            assert ids(left(spool)) == ["r2"]
            assert spool.state().records == 1

    @pytest.mark.parametrize("how", ["no database", "torn in the middle"])
    def test_a_damaged_file_is_set_aside_and_a_fresh_one_used(
        self, folder: Folder, how: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
    ):
        path = folder.path / "spool-0.sqlite"
        if how == "no database":
            path.write_bytes(b"notes\n" * 1000)
        else:
            with opened(folder) as spool:
                for number in range(30):
                    spool.put([a_run(id=f"old{number}", version=os.urandom(3_000).hex())])
                    spool.commit()
            with path.open("r+b") as file:
                file.seek(4096)
                file.write(os.urandom(path.stat().st_size - 8192))
        with opened(folder) as spool:
            spool.put(runs("r1"))
            assert spool.commit()
            assert ids(left(spool)) == ["r1"]
            assert spool.counts.damaged_files == 1
        assert (folder.path / "spool-0.sqlite.broken-1").exists()
        said = capsys.readouterr().out + caplog.text
        assert "set aside" in said
        assert "spool-0.sqlite.broken-1" in said

    def test_damage_again_and_again_does_not_fill_the_disk(self, folder: Folder):
        for _ in range(6):
            (folder.path / "spool-0.sqlite").write_bytes(b"notes\n" * 1000)
            with opened(folder) as spool:
                spool.put(runs("r1"))
                spool.commit()
                spool.done(spool.take(1, 1))
        assert len(list(folder.path.glob("*.broken-*"))) == 3

    def test_a_file_of_a_newer_program_is_left_alone(self, folder: Folder):
        path = folder.path / "spool-0.sqlite"
        with closing(sqlite3.connect(path)) as link:
            link.execute("PRAGMA user_version = 7")
        with opened(folder) as spool:
            spool.put(runs("r1"))
            assert not spool.commit()
            assert ids(left(spool)) == ["r1"]
            spool.done(spool.take(1, 1))
        assert path.exists()

    def test_a_folder_that_cannot_be_used_is_said_before_anything_starts(self, tmp_path: Path):
        (tmp_path / "file").write_text("")
        with pytest.raises(SettingsError, match="tap_spool: wanted a folder"):
            Folder(tmp_path / "file" / "spool")


class TestOwners:
    def test_each_worker_has_a_file_of_its_own(self, folder: Folder):
        with opened(folder) as one, opened(folder) as other:
            for spool, name in ((one, "r1"), (other, "r2")):
                spool.put(runs(name))
                spool.commit()
            assert (ids(left(one)), ids(left(other))) == (["r1"], ["r2"])
            assert list(folder.left_over()) == []

    def test_what_a_dead_worker_left_is_found_by_its_siblings(self, folder: Folder):
        first, second = a_spool(folder), a_spool(folder)
        second.put(runs("r2"))
        second.commit()
        died(second)
        (claim,) = folder.left_over()
        adopted = Spool(claim, most_bytes=LARGE)
        assert ids(left(adopted)) == ["r2"]
        assert list(folder.left_over()) == []
        adopted.done(adopted.take(1, 1))
        adopted.close()
        assert not (folder.path / "spool-1.sqlite").exists()
        first.close()

    def test_who_takes_its_place_goes_on_with_its_file(self, folder: Folder):
        with opened(folder):
            second = a_spool(folder)
            second.put(runs("r2"))
            second.commit()
            died(second)
            with opened(folder) as third:
                assert ids(left(third)) == ["r2"]


STEP = st.one_of(
    st.tuples(st.just("put"), st.integers(1, 5)),
    st.tuples(st.just("commit"), st.just(0)),
    st.tuples(st.just("deliver"), st.integers(1, 8)),
    st.tuples(st.just("take"), st.integers(1, 8)),
    st.tuples(st.just("kill"), st.just(0)),
    st.tuples(st.just("end"), st.just(0)),
    st.tuples(st.just("full"), st.just(0)),
    st.tuples(st.just("room"), st.just(0)),
)


@settings(max_examples=60)
@given(steps=st.lists(STEP, max_size=40))
def test_whatever_happens_committed_records_go_out_in_order_and_none_is_lost(
    steps: list[tuple[str, int]], tmp_path_factory: pytest.TempPathFactory
):
    """Against a model: a list on disk, a list in memory; a disk that is full, a process that dies."""
    folder = Folder(tmp_path_factory.mktemp("spool"))
    spool, number = a_spool(folder), 0
    disk: list[str] = []
    memory: list[str] = []
    is_full = False
    arrived: Counter[str] = Counter()
    for what, how_many in steps:
        if what == "put":
            names = [f"r{number + each}" for each in range(how_many)]
            number += how_many
            memory += names
            spool.put([a_run(id=name, version=os.urandom(9_000).hex()) for name in names])
        elif what == "commit":
            if spool.commit():
                disk, memory = disk + memory, []
            assert is_full or not memory
        elif what in ("deliver", "take"):
            batches = spool.take(how_many, LARGE)
            given_out = [name for batch in batches for name in ids(wire.decode(batch.body))]
            assert given_out == (disk[: len(given_out)] if disk else memory[: len(given_out)])
            assert bool(given_out) >= bool(disk)
            if what == "deliver":
                arrived.update(given_out)
                spool.done(batches)
                if disk:
                    disk = disk[len(given_out) :]
                else:
                    memory = memory[len(given_out) :]
        elif what in ("kill", "end"):
            if what == "kill":
                died(spool)
                memory = []
            else:
                spool.close()
                disk, memory = ([*disk, *memory], []) if not is_full else (disk, [])
            spool, is_full = a_spool(folder), False
            again = ids(left(spool))
            assert again[len(again) - len(disk) :] == disk  # what could not be removed comes again
            assert all(arrived[name] for name in again[: len(again) - len(disk)])
            disk = again
        elif what == "full" and spool._file is not None:
            spool._file.limit_pages(1)
            is_full = True
        elif what == "room" and spool._file is not None:
            spool._file.limit_pages(1_000_000)
            is_full = False
    spool.close()


@given(body=st.binary(max_size=2000))
def test_a_batch_is_what_it_was_or_says_that_it_is_not(body: bytes, tmp_path_factory: pytest.TempPathFactory):
    path = tmp_path_factory.mktemp("file") / "one.sqlite"
    with closing(SpoolFile(path, most_bytes=LARGE)) as file:
        file.add([Batch.of(body, Counter(run=1), 0.0)])
        file._link.execute("INSERT INTO batch SELECT 7, 0, 1, '{}', 1, ?", (b"x" + body,))
        good, bad = file.oldest(10, LARGE)
        assert good.body == body
        with pytest.raises(zlib.error):
            assert bad.body
