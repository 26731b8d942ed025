"""Copies of a store that go on being read and written meanwhile: a file like it, or Parquet of its tables.

What comes in is a way to read and the path of what is not there yet; what goes out stands there whole or not at all.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from collector.errors import StoreError
from collector.store.reading import Reading
from collector.store.session import quoted

_EXPORTED = """
SELECT table_name FROM duckdb_tables() WHERE NOT internal AND table_name <> 'access_key' ORDER BY 1
"""


def backup(reading: Reading, target: Path) -> None:
    """Write a consistent copy beside the running store, whole or not at all."""
    part = target.with_name(target.name + ".part")
    if target.exists() or not target.parent.is_dir():
        raise StoreError(f"backup {target}: wanted the path of a new file in a directory that exists")
    part.unlink(missing_ok=True)
    with reading.session() as session:
        ((name,),) = session.run("SELECT current_database()")
        session.run(f"ATTACH {quoted(str(part))} AS copied")
        try:
            session.run(f'COPY FROM DATABASE "{name}" TO copied')
        finally:
            session.run("DETACH copied")
    part.rename(target)


def export_parquet(reading: Reading, target: Path) -> dict[str, int]:
    """Write every table but that of keys as a Parquet file of its name, all of one moment; rows by table."""
    if target.exists() or not target.parent.is_dir():
        raise StoreError(f"export {target}: wanted the path of a new folder in one that exists")
    part = target.with_name(target.name + ".part")
    part.mkdir()
    rows = {}
    try:
        with reading.session() as session, session.transaction():
            for (table,) in session.run(_EXPORTED):
                ((rows[table],),) = session.run(f"COPY {table} TO {quoted(str(part / table) + '.parquet')}")
        part.rename(target)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return rows
