"""What a store needs of its disk: its files' size and what is free beside them, as Tallies of now.

A store in memory has neither. Nothing here opens a file.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from collector.faces.prometheus import Tally
from collector.running import whereabouts

IN_MEMORY = ":memory:"


def tallies(store: str) -> Iterator[Tally]:
    """Both families; none for a store in memory."""
    if store.endswith(IN_MEMORY):
        return
    file = Path(whereabouts(store))
    yield Tally(
        "dify_metric_store_size_bytes",
        "Size of the store's file and of its log of what is not in the file yet.",
        (),
        lambda: {(): float(size(file))},
        False,
    )
    yield Tally(
        "dify_metric_store_free_bytes",
        "What is free on the disk of the store.",
        (),
        lambda: {(): float(shutil.disk_usage(file.parent).free)},
        False,
    )


def size(file: Path) -> int:
    """Bytes of a store's file and of its log; 0 where there is none."""
    return sum(each.stat().st_size for each in (file, file.with_name(f"{file.name}.wal")) if each.is_file())
