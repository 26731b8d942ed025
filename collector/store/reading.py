"""Reading a store: each question on a session of its own, several questions of one moment, and what need not be asked
again because no batch has changed it since.

What comes in are SQL and a Sight; what goes out are rows. What was worked out of a moment is remembered with the tables
it was worked out of, and forgotten by the transaction that changes them: by what was written, never by time. Nothing
here writes.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias, TypeVar, cast

from collector.access import EVERYTHING, Sight
from collector.store import Extent, Parameters
from collector.store.columns import NEVER
from collector.store.seen import Seen
from collector.store.session import Session, telling

Value = TypeVar("Value")

MOST_REMEMBERED = 2048
"""So much is remembered at once; the oldest goes first."""

Remembered: TypeAlias = dict[Hashable, tuple[Hashable, Any, Extent]]
"""What was worked out, by key: of what question, and of which facts."""


class Memory:
    """What was worked out of the store as it is now.

    Whoever commits a change does it inside `changing`. Between two changes `now` is one and the same object: who finds
    it unchanged after a transaction has begun knows that the transaction sees what is remembered there.
    """

    def __init__(self) -> None:
        self.now: Remembered | None = {}
        """None while a change is being committed."""

    @contextmanager
    def changing(self, touched: Extent) -> Iterator[None]:
        """Commit a change of these tables, of facts that began at these instants at the earliest."""
        before, self.now = self.now or {}, None
        try:
            yield
        finally:  # a commit that failed may cost an answer asked again
            self.now = {key: each for key, each in list(before.items()) if _holds(each[2], touched)}


class Still:
    """`rows` of one moment."""

    def __init__(self, session: Session, sight: Sight, said: Remembered) -> None:
        self._session, self._sight, self._said = session, sight, said

    def __call__(self, sql: str, parameters: Parameters = ()) -> list[tuple[object, ...]]:
        """Read."""
        return self._session.run(sql, parameters)

    def remembered(self, key: Hashable, work: Callable[[Still], tuple[Value, Extent]], asked: Hashable = None) -> Value:
        """What `work` makes of these rows, worked out when nobody has since the facts it was made of changed."""
        place = self._sight, key
        found = self._said.get(place)
        if found is None or found[0] != asked:
            value, extent = work(self)
            if not self._sight.is_whole:  # what is seen hangs on these
                extent = {**extent, "app": NEVER, "dataset": NEVER}
            found = self._said[place] = asked, value, extent
            if len(self._said) > MOST_REMEMBERED:
                self._said.pop(next(iter(list(self._said))), None)
        return cast(Value, found[1])


class Reading:
    """A store's `rows`."""

    def __init__(self, path: str, writer: Session) -> None:
        self._path, self._seen, self.memory = path, Seen(writer), Memory()

    def __call__(self, sql: str, parameters: Parameters = (), sight: Sight = EVERYTHING) -> list[tuple[object, ...]]:
        """Read on a session of its own."""
        with self.session(sight) as session:
            return session.run(sql, parameters)

    @contextmanager
    def still(self, sight: Sight = EVERYTHING) -> Iterator[Still]:
        """Rows of one moment: what is stored meanwhile is not seen."""
        with self.session(sight) as session:
            said = self.memory.now
            with session.transaction():
                is_of_now = said is not None and said is self.memory.now
                yield Still(session, sight, said if is_of_now and said is not None else {})

    @contextmanager
    def session(self, sight: Sight = EVERYTHING) -> Iterator[Session]:
        """A session that sees no more than that."""
        with telling(self._path), self._seen.session(sight) as session:
            yield session

    def close(self) -> None:
        """Close what is idle."""
        self._seen.close()


def _holds(extent: Extent, touched: Extent) -> bool:
    """Whether something worked out of these facts is still so after those were touched."""
    return not any(table in extent and at < extent[table] for table, at in touched.items())
