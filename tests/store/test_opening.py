"""Opening a store: what a path may be, what is refused and what the refusal tells the operator to do."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from pathlib import Path

import duckdb
import pytest

from collector.errors import StoreError
from collector.records import Stored
from collector.store import open_store
from tests.builders import NOON, a_run

ROOT = Path(__file__).parents[2]


def python(program: str, *arguments: object) -> subprocess.Popen[str]:
    """Run a program beside us; it can import what tests can."""
    command = [sys.executable, "-u", "-c", textwrap.dedent(program), *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)


@pytest.mark.parametrize("spelling", ["{}", "duckdb://{}"])
def test_a_store_is_found_again_under_its_path(tmp_path: Path, spelling: str):
    path = tmp_path / "t.duckdb"
    with closing(open_store(spelling.format(path))) as store:
        store.put([a_run()])

    with closing(open_store(path)) as store:
        assert store.put([a_run()]) == Stored(known=1)


def test_an_engine_that_does_not_exist_is_refused():
    with pytest.raises(StoreError, match="no store engine 'oracle'"):
        open_store("oracle://db/t")


def test_a_directory_that_does_not_exist_is_named(tmp_path: Path):
    with pytest.raises(StoreError, match=r"there is no directory .*/missing"):
        open_store(tmp_path / "missing" / "t.duckdb")


def test_a_file_another_process_holds_names_the_process(tmp_path: Path):
    path = tmp_path / "t.duckdb"
    program = """
        import sys
        from collector.store import open_store
        store = open_store(sys.argv[1])
        print("open")
        sys.stdin.read()
    """
    with python(program, path) as service:
        assert service.stdout is not None
        assert service.stdout.readline() == "open\n"
        for read_only in (False, True):
            with pytest.raises(StoreError, match=rf"process {service.pid} holds the file.* ask that service, stop it"):
                open_store(path, read_only=read_only)
        service.communicate()

    open_store(path).close()


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path):
    path = tmp_path / "t.duckdb"
    path.write_text("notes\n" * 1000)

    with pytest.raises(StoreError, match="it is no DuckDB database"):
        open_store(path)
    assert path.read_text() == "notes\n" * 1000


def test_an_sqlite_file_is_no_store(tmp_path: Path):
    path = tmp_path / "t.duckdb"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE run (id)")
        other.commit()

    with pytest.raises(StoreError, match="it is no DuckDB database"):
        open_store(path)


def test_a_duckdb_file_of_something_else_is_left_alone(tmp_path: Path):
    path = tmp_path / "t.duckdb"
    with closing(duckdb.connect(str(path))) as other:
        other.execute("CREATE TABLE sales (amount INT)").fetchall()

    with pytest.raises(StoreError, match="of something else"):
        open_store(path)
    with closing(duckdb.connect(str(path))) as other:
        assert other.execute("SELECT table_name FROM duckdb_tables()").fetchall() == [("sales",)]


def test_reading_only_needs_a_store(tmp_path: Path):
    with pytest.raises(StoreError, match="there is no such file to read"):
        open_store(tmp_path / "t.duckdb", read_only=True)


def test_a_store_opened_to_read_is_not_written(tmp_path: Path):
    with closing(open_store(tmp_path / "t.duckdb")) as store:
        store.put([a_run()])

    with closing(open_store(tmp_path / "t.duckdb", read_only=True)) as store:
        assert store.rows("SELECT id FROM run") == [("r1",)]
        with pytest.raises(StoreError, match="opened read-only"):
            store.put([a_run(id="r2")])


def test_limits_are_the_engines(tmp_path: Path):
    spill = tmp_path / "spill"
    with closing(open_store(tmp_path / "t.duckdb", memory_limit="512MiB", threads=2, temp_directory=spill)) as store:
        sql = "SELECT current_setting('memory_limit'), current_setting('threads'), current_setting('temp_directory')"
        assert store.rows(sql) == [("512.0 MiB", 2, str(spill))]


def test_a_limit_that_makes_no_sense_is_a_store_error(tmp_path: Path):
    with pytest.raises(StoreError, match="Memory must have a number"):
        open_store(tmp_path / "t.duckdb", memory_limit="plenty")


def test_a_backup_is_a_store_of_its_own(tmp_path: Path):
    with closing(open_store(tmp_path / "t.duckdb", now=NOON)) as store:
        store.put([a_run(user_id=None)])
        store.put([a_run(source="tap", session_id="s", is_final=False, status="running")])
        store.backup(tmp_path / "copy's.duckdb")
        store.put([a_run(id="r2")])
        with pytest.raises(StoreError, match="new file"):
            store.backup(tmp_path / "copy's.duckdb")

    with closing(open_store(tmp_path / "copy's.duckdb")) as copy:
        assert copy.rows("SELECT id, session_id FROM run") == [("r1", "s")]
        assert copy.put([a_run(exceptions=1)]) == Stored(changed=1)
        assert copy.counting_since == NOON


def test_a_full_disk_loses_the_batch_and_nothing_else(tmp_path: Path):
    """A limit on the size of files stands for the disk: writing fails the same way, midway."""
    path = tmp_path / "t.duckdb"
    program = """
        import resource, sys
        from collector.errors import StoreError
        from collector.store import open_store
        from tests.builders import a_run

        store = open_store(sys.argv[1])
        store.put([a_run()])
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
        try:
            for batch in range(1000):
                store.put(a_run(id=f"{batch}/{n}", session_id=f"{batch}-{n}") for n in range(500))
        except StoreError as error:
            print(error)
        print(store.rows("SELECT count(*) - 1 FROM run")[0][0] == batch * 500)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        print(store.put(a_run(id=f"{batch}/{n}", session_id=f"{batch}-{n}") for n in range(500)).new)
        print(batch)
        store.close()
    """
    with python(program, path) as service:
        told = service.communicate()[0].splitlines()
    assert "make room on the disk" in told[0]
    assert told[1:3] == ["True", "500"]

    with closing(open_store(path)) as store:
        assert store.rows("SELECT count(*), count(DISTINCT id) FROM run") == [(501 + 500 * int(told[3]),) * 2]
