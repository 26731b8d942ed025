"""Readers and the writer at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from collector.errors import StoreError
from collector.store import open_store
from collector.store.duck import DuckStore
from tests.builders import NOON, a_call, a_run

SIZE = 50


def test_readers_see_whole_batches_only(tmp_path: Path):
    with closing(open_store(tmp_path / "t.duckdb")) as store, ThreadPoolExecutor(4) as pool:
        is_over = threading.Event()

        def read() -> set[tuple[object, ...]]:
            seen = set()
            while not is_over.is_set():
                seen.update(store.rows("SELECT (SELECT count(*) FROM run), (SELECT count(*) FROM model_call)"))
            return seen

        readers = [pool.submit(read) for _ in range(3)]
        try:
            for batch in range(20):
                runs = [a_run(id=f"{batch}/{n}") for n in range(SIZE)]
                store.put([*runs, *(a_call(id=run.id, run_id=run.id) for run in runs)])
        finally:
            is_over.set()
        seen = set().union(*(reader.result() for reader in readers))

    assert all(runs == calls and isinstance(runs, int) and runs % SIZE == 0 for runs, calls in seen)


def test_a_reader_does_not_wait_for_the_writer():
    with closing(DuckStore(":memory:", now=NOON)) as store:
        store.put([a_run()])
        with store._writing, store._writer.transaction():
            store._writer.run("DELETE FROM run")

            assert store.rows("SELECT id FROM run") == [("r1",)]
            assert store.arrow("SELECT id FROM run").num_rows == 1


def test_writers_take_turns(tmp_path: Path):
    with closing(open_store(tmp_path / "t.duckdb")) as store:
        with ThreadPoolExecutor(4) as pool:
            tellings = [[a_run(id=f"r{n % 7}", session_id=f"s{n}") for n in range(start, 40)] for start in range(12)]
            stored = list(pool.map(store.put, tellings))

        assert sum(each.new for each in stored) == 7
        assert store.rows("SELECT count(*), count(DISTINCT id) FROM run") == [(7, 7)]


def test_records_are_gathered_before_the_writer_is_taken(tmp_path: Path):
    with closing(open_store(tmp_path / "t.duckdb")) as store:

        def made_of_other_facts() -> object:
            store.put([a_run(id="other")])
            yield a_run()
            raise StoreError("the source ran dry")

        with pytest.raises(StoreError, match="ran dry"):
            store.put(made_of_other_facts())  # type: ignore[arg-type]

        assert store.rows("SELECT id FROM run") == [("other",)]


def test_two_hundred_thousand_facts_are_one_batch(tmp_path: Path):
    call = a_call()
    count = 200_000
    with closing(open_store(tmp_path / "t.duckdb")) as store:
        many = [type(call)(**(dict_of(call) | {"id": f"n{n}", "run_id": f"r{n}"})) for n in range(count)]

        assert store.put(many).new == count
        assert store.put(many[:1000]).known == 1000
        assert store.rows("SELECT count(*), sum(tokens) FROM model_call") == [(count, 100 * count)]


def dict_of(record: object) -> dict[str, object]:
    return {name: getattr(record, name) for name in record.__struct_fields__}  # type: ignore[attr-defined]
