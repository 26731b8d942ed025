"""Several questions of one moment, and what need not be asked twice.

What comes in is `rows` (SQL and parameters -> tuples). That of a Store can be held still, and remembers what was worked
out until a batch changes it; any other is asked as it comes, every time. Nothing here runs a query.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from typing import Protocol, TypeAlias, TypeVar, cast

from collector.measures.spans import EVER

Value = TypeVar("Value")

Rows: TypeAlias = Callable[[str, Mapping[str, object] | Sequence[object]], list[tuple[object, ...]]]
"""Run SQL with bound parameters: `Store.rows`."""

Extent: TypeAlias = Mapping[str, datetime]
"""Tables, and up to when the facts in them began that something was worked out of."""

Worked: TypeAlias = Callable[[Rows], tuple[Value, Extent]]


class _Moving(Protocol):
    def still(self) -> AbstractContextManager[Rows]: ...


class _Remembering(Protocol):
    def remembered(self, key: Hashable, work: Worked[Value], /, asked: Hashable = None) -> Value: ...


@contextmanager
def still(rows: Rows) -> Iterator[Rows]:
    """`rows` of one moment; `rows` themselves where they are that already, or cannot be."""
    if not hasattr(rows, "still"):
        yield rows
        return
    with cast(_Moving, rows).still() as held:
        yield held


def remembered(rows: Rows, key: Hashable, work: Worked[Value], asked: Hashable = None) -> Value:
    """What `work` makes of these rows; it says of which facts. It hangs on nothing else that `key` and `asked` do not
    name; of a key only what was asked last is remembered."""
    if hasattr(rows, "remembered"):
        return cast(_Remembering, rows).remembered(key, work, asked=asked)
    return work(rows)[0]


def whole(*tables: str) -> Extent:
    """All that stands in these tables."""
    return dict.fromkeys(tables, EVER[0][1])
