"""Records of Dify that could not be read: which they are, until they were read.

What comes in are records that could not be read, and those that were; what goes out are marks to be stored with the
batch they came in. Keeps no content. Nothing here asks Dify.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from typing import TypeAlias

import structlog
from msgspec.structs import replace

import collector
from collector.errors import ShapeError
from collector.fields import Json
from collector.quirks import Version
from collector.records import CONSOLE, Mark, SetAside

log = structlog.get_logger()

Place: TypeAlias = tuple[str, str, str]
"""Stream, app, key."""

LONGEST_KEY = 64
"""Characters of an id: what is longer is none, and may say something."""


class Aside:
    """What was set aside of one Dify."""

    def __init__(
        self, origin: str | None, clock: Callable[[], datetime], version: Callable[[], Version | None]
    ) -> None:
        self._origin = origin or ""
        self._clock, self._version = clock, version
        self._known: dict[Place, SetAside] = {}

    @property
    def versions(self) -> str:
        """Ours and Dify's, as they meet now: what they cannot read they cannot read tomorrow either."""
        return f"{collector.__version__} {'.'.join(map(str, self._version() or ('?',)))}"

    def remember(self, stored: Iterable[SetAside]) -> None:
        """What is stored, in place of what was known."""
        self._known = {(each.stream, each.app_id, each.key): each for each in stored}

    def untried(self, streams: Collection[str]) -> list[SetAside]:
        """What was set aside by other versions than those that meet now."""
        versions = self.versions
        return [each for each in self._known.values() if each.tried_by != versions and each.stream in streams]

    def lay(self, stream: str, app_id: str | None, key: str, error: ShapeError, called: str) -> list[Mark]:
        """One could not be read; nothing to store where that is known. `called` is how the log names the app."""
        log.warning("record set aside", problem=f"{stream} of {called}: {error}")
        place = (stream, app_id or "", key)
        mark = SetAside(
            source=CONSOLE,
            origin=self._origin,
            stream=stream,
            app_id=app_id or "",
            key=key,
            problem=f"{error.field}: wanted {error.wanted}",
            tried_by=self.versions,
            seen_at=self._clock(),
        )
        known = self._known.get(place)
        if known and (known.problem, known.tried_by) == (mark.problem, mark.tried_by):
            return []
        self._known[place] = mark
        return [mark]

    def take_up(self, stream: str, app_id: str | None, key: str) -> list[Mark]:
        """One was read, or is gone; nothing to store where it had not been set aside."""
        known = self._known.pop((stream, app_id or "", key), None)
        return [replace(known, problem=None)] if known else []


def key_of(raw: Json) -> str:
    """Dify's id of a record, of an app log its run's; "" where there is none that can be read."""
    run = raw.get("workflow_run")
    found = run.get("id") if isinstance(run, Mapping) else raw.get("id") or raw.get("feedback_id")
    return found if isinstance(found, str) and len(found) <= LONGEST_KEY else ""
