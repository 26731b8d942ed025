"""What is still to be read, worked out from what is stored: so nothing else has to be remembered over a restart.

What comes in is `rows` (SQL -> tuples); what goes out are records that carry only what the question about them needs.
Nothing here writes or asks Dify.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias, TypeVar, cast

from collector.records import (
    CONSOLE,
    DATABASE,
    STALE,
    ApiKey,
    App,
    Conversation,
    Dataset,
    DatasetDay,
    Feedback,
    Message,
    Reach,
    Record,
    Run,
    SetAside,
)

Rows: TypeAlias = Callable[[str, Sequence[object]], Sequence[tuple[object, ...]]]
Kind = TypeVar("Kind", bound=Record)

_RUN = (
    "id, app_id, workspace_id, status, is_final, created_at, seen_at, version, is_debug, conversation_id, message_id, "
    "reported_tokens, error_class"
)
_MESSAGE = "id, app_id, workspace_id, status, is_final, created_at, seen_at, run_id, conversation_id, is_debug"
_CONVERSATION = "id, app_id, workspace_id, session_id, is_debug, created_at, seen_at, messages"
_RATING = "id, app_id, workspace_id, message_id, from_source, rating, seen_at"

_DAY = "id, dataset_id, seen_at, created_at, documents, words, segments"

# A workspace's id is no other Dify's; where it is not told, our name for the Dify has to do.
_IS_THERE = (
    "deleted_at IS NULL AND workspace_id IS NOT DISTINCT FROM ? "
    "AND (workspace_id IS NOT NULL OR origin IS NULL OR origin = ?)"
)
_HAS_ENDED = f"(is_final OR status = '{STALE}')"
_UNREAD = f"{_HAS_ENDED} AND leaves_known IS NOT TRUE AND app_id IN (SELECT unnest(?))"
_IS_OPEN = f"NOT is_final AND status <> '{STALE}' AND app_id IN (SELECT unnest(?))"
# What a tap overheard of a message is not all that Dify knows of it.
_UNREAD_TALKS = (
    "FROM conversation AS c LEFT JOIN (SELECT conversation_id, count(*) AS known, max(created_at) AS newest "
    f"FROM message WHERE source IN ('{CONSOLE}', '{DATABASE}') GROUP BY conversation_id) AS m "
    "ON m.conversation_id = c.id "
    "WHERE c.messages > coalesce(m.known, 0) AND c.app_id IN (SELECT unnest(?))"
)


class UnreadConversation(NamedTuple):
    """A conversation of which Dify has more messages than we read, and the newest of those (None: none)."""

    conversation: Conversation
    newest: datetime | None


class Backlog:
    """Asks the store. `apps` are the ids of the apps that can be asked about."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def live_apps(self, workspace_id: str | None, origin: str) -> list[App]:
        """The apps of a workspace that were there when last seen."""
        tail = f"FROM app WHERE source = ? AND {_IS_THERE}"
        return self._read(App, "id, workspace_id, name, seen_at", tail, [CONSOLE, workspace_id, origin])

    def live_datasets(self, workspace_id: str | None, origin: str) -> list[Dataset]:
        """The knowledge bases of a workspace that were there when last seen."""
        tail = f"FROM dataset WHERE {_IS_THERE}"
        return self._read(Dataset, "id, workspace_id, name, seen_at", tail, [workspace_id, origin])

    def live_keys(self, apps: Iterable[str]) -> list[ApiKey]:
        """The keys of apps that were there when last seen."""
        tail = "FROM api_key WHERE deleted_at IS NULL AND app_id IN (SELECT unnest(?))"
        return self._read(ApiKey, "id, app_id, workspace_id, fingerprint, seen_at", tail, [list(apps)])

    def last_days(self) -> list[DatasetDay]:
        """What every knowledge base held when it was last looked at."""
        tail = "FROM dataset_day QUALIFY row_number() OVER (PARTITION BY dataset_id ORDER BY created_at DESC) = 1"
        return self._read(DatasetDay, _DAY, tail, [])

    def last_complete(self, origin: str) -> dict[str, datetime]:
        """When each stream of the whole workspace was last read to its end, or refused to us."""
        sql = (
            "SELECT stream, max(created_at) FROM pull WHERE origin = ? AND app_id IS NULL "
            "AND (is_complete OR error_class IN ('forbidden', 'not_found')) GROUP BY stream"
        )
        return {str(stream): cast("datetime", at) for stream, at in self._rows(sql, [origin])}

    def open_runs(self, apps: Iterable[str]) -> list[Run]:
        """Runs that may still change, the oldest first."""
        return self._read(Run, _RUN, f"FROM run WHERE {_IS_OPEN} ORDER BY created_at, id", [list(apps)])

    def unread_runs(self, apps: Iterable[str], limit: int) -> list[Run]:
        """Runs that ended and whose node executions were not read, the newest first."""
        tail = f"FROM run WHERE {_UNREAD} ORDER BY created_at DESC NULLS LAST, id LIMIT ?"
        return self._read(Run, _RUN, tail, [list(apps), limit])

    def unread_run_counts(self, apps: Iterable[str]) -> dict[str, int]:
        """How many runs `unread_runs` would give, by app; apps without any are left out."""
        return self._counts(f"SELECT app_id, count(*) FROM run WHERE {_UNREAD} GROUP BY app_id", apps)

    def mentioned_runs(self, apps: Iterable[str], since: datetime | None) -> list[Message]:
        """Messages created since then whose run no listing brought."""
        tail = (
            "FROM message WHERE run_id IS NOT NULL AND app_id IN (SELECT unnest(?)) "
            "AND (? IS NULL OR created_at >= ? OR created_at IS NULL) "
            "AND NOT EXISTS (SELECT 1 FROM run WHERE run.id = message.run_id) ORDER BY created_at DESC NULLS LAST, id"
        )
        return self._read(Message, _MESSAGE, tail, [list(apps), since, since])

    def open_messages(self, apps: Iterable[str]) -> list[tuple[Message, Conversation | None]]:
        """Messages without an answer so far, each with its conversation where we know it."""
        known = list(apps)
        messages = self._read(Message, _MESSAGE, f"FROM message WHERE {_IS_OPEN} ORDER BY created_at, id", [known])
        ids = [message.conversation_id for message in messages]
        tail = "FROM conversation WHERE id IN (SELECT unnest(?))"
        conversations = {c.id: c for c in self._read(Conversation, _CONVERSATION, tail, [ids])} if ids else {}
        return [(message, conversations.get(message.conversation_id or "")) for message in messages]

    def unread_conversations(self, apps: Iterable[str], limit: int) -> list[UnreadConversation]:
        """Conversations of which Dify counts more messages than we read, the latest changed first."""
        columns = ", ".join(f"c.{name}" for name in _CONVERSATION.split(", "))
        sql = f"SELECT {columns}, m.newest {_UNREAD_TALKS} ORDER BY c.updated_at DESC NULLS LAST, c.id LIMIT ?"
        return [
            UnreadConversation(_record(Conversation, _CONVERSATION, row[:-1]), cast("datetime | None", row[-1]))
            for row in self._rows(sql, [list(apps), limit])
        ]

    def unread_conversation_counts(self, apps: Iterable[str]) -> dict[str, int]:
        """How many conversations `unread_conversations` would give, by app; apps without any are left out."""
        return self._counts(f"SELECT c.app_id, count(*) {_UNREAD_TALKS} GROUP BY c.app_id", apps)

    def set_aside(self, origin: str) -> list[SetAside]:
        """What could not be read of a Dify."""
        sql = (
            "SELECT source, origin, stream, app_id, key, problem, tried_by, seen_at FROM set_aside "
            "WHERE source = ? AND origin = ? ORDER BY seen_at DESC"
        )
        found = cast("Sequence[Any]", self._rows(sql, [CONSOLE, origin]))
        return [SetAside(**dict(zip(SetAside.__struct_fields__, row, strict=True))) for row in found]

    def reach(self, stream: str, app_id: str) -> Reach | None:
        """How far back a listing was read; None where no back-fill has told."""
        sql = "SELECT complete_from, complete_until FROM reach WHERE source = ? AND stream = ? AND app_id = ?"
        found = cast("Sequence[tuple[datetime, datetime]]", self._rows(sql, [CONSOLE, stream, app_id]))
        names = {"source": CONSOLE, "stream": stream, "app_id": app_id}
        return next((Reach(complete_from=low, complete_until=high, **names) for low, high in found), None)

    def run_from(self, app_id: str, at: datetime, triggered_from: str) -> str | None:
        """The oldest run that we know of those created at `at` or later."""
        sql = (
            "SELECT id FROM run WHERE app_id = ? AND created_at >= ? AND triggered_from = ? ORDER BY created_at LIMIT 1"
        )
        return next((str(key) for (key,) in self._rows(sql, [app_id, at, triggered_from])), None)

    def run_count(self, app_id: str, at: datetime | None, triggered_from: str) -> int:
        """How many runs we know of those created at `at` (None: ever) or later."""
        sql = "SELECT count(*) FROM run WHERE app_id = ? AND (? IS NULL OR created_at >= ?) AND triggered_from = ?"
        ((found,),) = self._rows(sql, [app_id, at, at, triggered_from])
        return int(cast("int", found))

    def fingerprints(self, app_id: str) -> set[str]:
        """Those of an app's keys that were not deleted."""
        sql = "SELECT fingerprint FROM api_key WHERE app_id = ? AND deleted_at IS NULL"
        return {str(found) for (found,) in self._rows(sql, [app_id])}

    def ratings(self, app_id: str) -> list[Feedback]:
        """The ratings of an app that were not withdrawn."""
        return self._read(Feedback, _RATING, "FROM feedback WHERE app_id = ? AND rating <> 'withdrawn'", [app_id])

    def _read(self, kind: type[Kind], columns: str, tail: str, parameters: Sequence[object]) -> list[Kind]:
        return [_record(kind, columns, row) for row in self._rows(f"SELECT {columns} {tail}", parameters)]

    def _counts(self, sql: str, apps: Iterable[str]) -> dict[str, int]:
        return {str(app_id): int(cast("int", count)) for app_id, count in self._rows(sql, [list(apps)])}


def _record(kind: type[Kind], columns: str, row: Sequence[object]) -> Kind:
    known: dict[str, Any] = {
        name: value for name, value in zip(columns.split(", "), row, strict=True) if value is not None
    }
    return kind(source=CONSOLE, **known)
