"""A file of any age becomes today's, and history is not rewritten."""

from __future__ import annotations

import hashlib
from contextlib import closing
from pathlib import Path

import duckdb
import pytest

from collector.errors import StoreError
from collector.store import migrations, open_store
from collector.store.migrations import MIGRATIONS, Migration
from collector.store.tables import ID_CRC, TABLES, WEIGHTS
from tests.builders import NOON, a_run

RELEASED = {
    1: "05152218479ee1e681a1d8d2e1463a3ca4d1e14027c13bec64d5b435b27e2335",
    2: "f7d73715ac7bc97dc5b88786a848f13fb9001f56dee50b3f8fe5301872143349",
    3: "715ce13061ba2e6ac58b33ef8391946875ec53e29c63d40ed4852e20fcfa78d5",
    4: "a42aec5b6650483bbe8764a995aae9332eea6aa209fcb54d0f85cdcc3cffd713",
    5: "42b6378d5ec9f960d864e39a2541e3c2c6893b03063592a6653005a2190d8ad2",
    6: "aef44ea17075c44f7547cf3b39f5d6d7ae54abb84952f07b977a693bcabf5be5",
    7: "f93bb29bc9666892c4f07dd97bcc6040fa9afe8143b45e4377c7e65482c73b29",
    8: "da6ebc50419702fe64112e46435d0403db4c2713737a14aafb93b368f8768f52",
    9: "fa9f3097f4cc1e48556239f2950982aaeff85996248f80224abb50af176a9521",
    10: "daeadcf22824f861fc24b6a72f512255f962427a87c970b3bcfb2d2d9931b75f",
    11: "f2da671481177f4af46eed4f7953ca9ed2357920b70f8da211d38b3172f57fc8",
    12: "8532e775b7283eacd8db224f6ed09cb6feedaed2bb496588f496815142e16f07",
    13: "63e2fed1056039b60f57ff92657a3ba00f6ac62976676ecad897a0f8c9e4d190",
    14: "681189ece20ccfde19d4554ca9f14087702b9be7425f8de58d3be52698e489e7",
    15: "49573e22a3c2b551cb264e355b7a9d882af2ea720fdde73f36e2c11757b7fd8e",
}
"""Step -> what its SQL hashes to. A new step adds a line; a line that must change means a forgotten file out there."""


def test_the_steps_together_make_the_tables_of_the_records():
    with closing(open_store(":memory:")) as store:
        found = store.rows("SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE NOT internal")
    made = {(table, column): kind for table, column, kind in found}

    with closing(duckdb.connect()) as fresh:
        for table in TABLES:
            fresh.execute(table.ddl).fetchall()
        sql = "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE NOT internal"
        wanted = {(table, column): kind for table, column, kind in fresh.execute(sql).fetchall()}

    ours = {table.name for table in TABLES}
    assert {key: kind for key, kind in made.items() if key[0] in ours} == wanted
    for own in (ID_CRC, WEIGHTS):
        assert {table for table, column in wanted if column == own} == ours


def test_steps_are_numbered_from_one():
    assert [step.number for step in MIGRATIONS] == list(range(1, len(MIGRATIONS) + 1))


def test_released_steps_stay_as_they_are():
    digests = {step.number: hashlib.sha256("\n".join(step.statements).encode()).hexdigest() for step in MIGRATIONS}
    assert digests == RELEASED


def test_opening_again_runs_no_step_again(tmp_path: Path):
    for _ in range(3):
        with closing(open_store(tmp_path / "t.duckdb", now=NOON)) as store:
            versions = store.rows("SELECT version, name, applied_at FROM schema_version")

    assert versions == [(step.number, step.name, NOON) for step in MIGRATIONS]


def test_an_older_file_gets_the_steps_it_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with closing(open_store(tmp_path / "t.duckdb")) as store:
        store.put([a_run()])
    added = Migration(len(MIGRATIONS) + 1, "runs have a colour", ("ALTER TABLE run ADD COLUMN colour VARCHAR",))
    monkeypatch.setattr(migrations, "MIGRATIONS", (*MIGRATIONS, added))
    monkeypatch.setattr(migrations, "LATEST", added.number)

    with pytest.raises(StoreError, match="of an older dify-metric"):
        open_store(tmp_path / "t.duckdb", read_only=True)
    with closing(open_store(tmp_path / "t.duckdb")) as store:
        assert store.rows("SELECT id, colour FROM run") == [("r1", None)]
        store.put([a_run(session_id="s")])
        assert store.rows("SELECT id, session_id, colour FROM run") == [("r1", "s", None)]


def test_a_step_that_fails_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    open_store(tmp_path / "t.duckdb").close()
    with monkeypatch.context() as patched:
        number = len(MIGRATIONS) + 1
        bad = Migration(
            number, "half of it", ("CREATE TABLE colour (name VARCHAR)", "ALTER TABLE nowhere ADD COLUMN x INT")
        )
        patched.setattr(migrations, "MIGRATIONS", (*MIGRATIONS, bad))
        with pytest.raises(StoreError, match="nowhere"):
            open_store(tmp_path / "t.duckdb")

    with closing(open_store(tmp_path / "t.duckdb")) as store:
        assert store.rows("SELECT table_name FROM duckdb_tables() WHERE table_name = 'colour'") == []
        assert store.rows("SELECT max(version) FROM schema_version") == [(len(MIGRATIONS),)]


def test_a_file_of_a_newer_version_is_refused(tmp_path: Path):
    with closing(open_store(tmp_path / "t.duckdb")) as store:
        store.rows("INSERT INTO schema_version VALUES (999, 'the future', now())")

    with pytest.raises(StoreError, match=r"schema is 999, of a newer dify-metric .* upgrade"):
        open_store(tmp_path / "t.duckdb")


def test_the_first_opening_is_remembered(tmp_path: Path):
    open_store(tmp_path / "t.duckdb", now=NOON).close()
    with closing(open_store(tmp_path / "t.duckdb")) as store:
        assert store.counting_since == NOON
