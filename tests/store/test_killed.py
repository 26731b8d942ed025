"""kill -9 at any moment: what was acknowledged is there, no batch is there in part, nothing is there twice."""

from __future__ import annotations

import random
import signal
from contextlib import closing
from datetime import timedelta
from pathlib import Path

from collector.records import CONSOLE, Watermark
from collector.store import Store, open_store
from tests.builders import NOON, a_run
from tests.store.test_opening import python

SIZE = 400
WRITER = """
    import sys
    from tests.store.test_killed import batch, mark
    from collector.store import open_store

    store = open_store(sys.argv[1])
    store.rows("SET GLOBAL checkpoint_threshold = '200KB'")  # so that kills meet checkpoints too
    for number in range(int(sys.argv[2]), 10_000):
        store.put(batch(number), [mark(number)])
        store.settle_rollups(everything=number % 2 == 0)
        print(number)
"""


def batch(number: int) -> list[object]:
    """New runs, and those of the batch before once more, changed."""
    new = [a_run(id=f"{number}/{n}", created_at=NOON + timedelta(seconds=number)) for n in range(SIZE)]
    before = [a_run(id=f"{number - 1}/{n}", created_at=NOON, session_id="again") for n in range(SIZE)]
    return [*new, *before] if number else [*new]


def mark(number: int) -> Watermark:
    return Watermark(source=CONSOLE, stream="runs", app_id="shop", complete_until=NOON + timedelta(seconds=number))


def last_whole_batch(store: Store) -> int:
    """The number of the last batch; fails when one is there in part, twice, or without its watermark."""
    ((rows, keys),) = store.rows("SELECT count(*), count(DISTINCT id) FROM run")
    ((again,),) = store.rows("SELECT count(*) FROM run WHERE session_id = 'again'")
    assert isinstance(rows, int)
    assert rows == keys
    assert rows % SIZE == 0
    assert again == rows - SIZE
    last = rows // SIZE - 1
    assert store.watermark(CONSOLE, "runs", "shop") == mark(last).complete_until
    assert store.check_rollups() == []  # what a kill kept from being made anew is marked
    return last


def test_a_dozen_kills_lose_nothing_acknowledged(tmp_path: Path):
    path, acknowledged = tmp_path / "t.duckdb", -1
    for _ in range(12):
        with python(WRITER, path, acknowledged + 1) as writer:
            assert writer.stdout is not None
            for _ in range(random.randint(1, 4)):
                acknowledged = int(writer.stdout.readline())
            writer.send_signal(signal.SIGKILL)
            acknowledged = max([acknowledged, *map(int, writer.stdout.read().split())])
        with closing(open_store(path)) as store:
            acknowledged, found = last_whole_batch(store), acknowledged
        assert acknowledged - found in (0, 1)
