"""A Dify database to write rows into, and a pretended store that keeps what passes over it bring."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import psycopg
from psycopg import sql

from collector.errors import StoreError
from collector.pull.database import Backlog, Reading, pull_database
from collector.records import App, Dataset, Feedback, Message, Pull, Record, Run, SetAside, Watermark
from tests.servers.postgres import Postgres

R = TypeVar("R", bound=Record)

AFTERWARDS = datetime(2026, 11, 21, 1, 0, tzinfo=UTC)
"""An hour after the last recorded row."""

TENANT, APP, WORKFLOW, USER = (str(uuid.uuid5(uuid.NAMESPACE_OID, name)) for name in ("tenant", "app", "flow", "user"))

USAGE = (
    '{"prompt_tokens": 70, "completion_tokens": 30, "total_tokens": 100, "total_price": "0.0001", "currency": "USD",'
    ' "latency": 1.5, "time_to_first_token": 0.25}'
)
PROCESS = (
    '{"model_mode": "chat", "prompts": [{"role": "user", "text": "hello", "files": []}], "usage": ' + USAGE + ", "
    '"finish_reason": "stop", "model_provider": "langgenius/openai/openai", "model_name": "gpt-4o-mini"}'
)


def key(name: str) -> str:
    """The uuid that a name stands for."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, name))


class World:
    """One Dify database with a clock, and what was put."""

    def __init__(self, server: Postgres, database: str) -> None:
        self.server, self.database, self.dsn = server, database, server.dsn(database)
        self.now = AFTERWARDS
        self.facts: dict[type[Record], dict[str, Any]] = defaultdict(dict)
        self.marks: dict[str, datetime] = {}
        self.aside: dict[tuple[str, str], SetAside] = {}
        self.starts = False  # whether the next pass is the first after a start
        self.batches: list[tuple[list[Record], list[Watermark | SetAside]]] = []
        self.pulls: list[Pull] = []
        self.putting: list[Record] = []
        self.refusing: Callable[[World], bool] = lambda _: False

    def pull(self, reading: Reading | None = None, *, dsn: str | None = None, **more: Any) -> dict[str, Pull]:
        """One pass; its pulls by stream."""
        pulls = pull_database(
            dsn or self.dsn, self.put, self.watermark, lambda: self.now, reading, backlog=self.backlog, **more
        )
        return {pull.stream: pull for pull in pulls}

    def put(self, records: list[Record], watermarks: list[Watermark | SetAside]) -> None:
        """What the store does, without its rules: the last telling stays."""
        self.putting = records
        if self.refusing(self):
            raise StoreError("the disk is full")
        self.batches.append((records, watermarks))
        self.pulls += [record for record in records if isinstance(record, Pull)]
        for record in records:
            if isinstance(record, Pull):
                continue
            self.facts[type(record)][str(record.id)] = record
        for mark in watermarks:
            if isinstance(mark, SetAside):
                self.aside.pop((mark.stream, mark.key), None)
                if mark.problem is not None:
                    self.aside[mark.stream, mark.key] = mark
                continue
            assert (mark.source, mark.app_id, mark.origin) == ("database", "", "dify")
            self.marks[mark.stream] = mark.complete_until

    def watermark(self, source: str, stream: str, app_id: str, origin: str) -> datetime | None:
        """What the store says."""
        assert (source, app_id, origin) == ("database", "", "dify")
        return self.marks.get(stream)

    def backlog(self) -> Backlog:
        """What the store would say is unfinished."""
        waiting = {
            kind: {one.id: one.created_at for one in self.all(kind) if not one.is_final and one.status != "stale"}
            for kind in (Run, Message)
        }
        return Backlog(
            open_runs=waiting[Run],
            open_messages=waiting[Message],
            apps={app.id: app.workspace_id for app in self.all(App) if app.deleted_at is None},
            datasets={one.id: one.workspace_id for one in self.all(Dataset) if one.deleted_at is None},
            ratings=frozenset(one.id for one in self.all(Feedback) if one.rating != "withdrawn"),
            set_aside=tuple(self.aside.values()),
            tries_again=self.starts,
        )

    def all(self, kind: type[R]) -> list[R]:
        """Every fact of a kind."""
        return list(self.facts[kind].values())

    def get(self, kind: type[R], name: str) -> R:
        """The fact of that name, or of that id."""
        facts: dict[str, R] = self.facts[kind]
        return facts[name] if name in facts else facts[key(name)]

    def insert(self, table: str, *rows: dict[str, object]) -> None:
        """Write rows as Dify would."""
        with psycopg.connect(self.dsn) as connection:
            for row in rows:
                names = sql.SQL(", ").join(map(sql.Identifier, row))
                places = sql.SQL(", ").join([sql.Placeholder()] * len(row))
                statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(sql.Identifier(table), names, places)
                connection.execute(statement, list(row.values()))

    def execute(self, *statements: str) -> None:
        """Do something else to the database."""
        self.server.execute(self.database, *statements)

    def has_an_app(self, name: str = "app", mode: str = "workflow", **row: object) -> None:
        """An app of the workspace."""
        default = {"name": name, "mode": mode, "enable_site": True, "enable_api": True, "workflow_id": WORKFLOW}
        self.insert("apps", {"id": key(name), "tenant_id": TENANT, **default, **row})

    def has_a_workspace(self) -> None:
        """The workspace itself."""
        self.insert("tenants", {"id": TENANT, "name": "ours"})

    def has_a_run(self, name: str = "run", at: datetime | None = None, **row: object) -> None:
        """A run that succeeded in two seconds, begun at `at`."""
        begun = naive(at or self.now)
        default = {
            "type": "workflow",
            "triggered_from": "app-run",
            "version": "1",
            "status": "succeeded",
            "elapsed_time": 2.0,
            "total_tokens": 100,
            "total_steps": 1,
            "finished_at": begun + timedelta(seconds=2),
        }
        self.insert("workflow_runs", {"id": key(name), "created_at": begun, **_OF_THE_APP, **default, **row})

    def has_a_node(
        self, name: str = "node", run: str | None = "run", at: datetime | None = None, **row: object
    ) -> None:
        """An LLM node of the run that spent 70 + 30 tokens."""
        begun = naive(at or self.now)
        default = {
            "triggered_from": "workflow-run" if run else "single-step",
            "workflow_run_id": key(run) if run else None,
            "index": 1,
            "node_id": "llm",
            "node_type": "llm",
            "title": "LLM",
            "process_data": PROCESS,
            "outputs": "{}",
            "status": "succeeded",
            "elapsed_time": 1.0,
            "execution_metadata": '{"total_tokens": 100}',
            "finished_at": begun + timedelta(seconds=1),
        }
        self.insert("workflow_node_executions", {"id": key(name), "created_at": begun, **_OF_THE_APP, **default, **row})

    def has_a_message(self, name: str = "message", at: datetime | None = None, **row: object) -> None:
        """A chat message that was answered in a second and a half."""
        default = {
            "conversation_id": key("conversation"),
            "inputs": "{}",
            "query": "what?",
            "message": "[]",
            "message_tokens": 70,
            "answer": "that.",
            "answer_tokens": 30,
            "provider_response_latency": 1.5,
            "total_price": "0.0001000",
            "currency": "USD",
            "model_provider": "langgenius/openai/openai",
            "model_id": "gpt-4o-mini",
            "from_source": "api",
            "invoke_from": "service-api",
            "app_mode": "chat",
            "message_unit_price": 0,
            "answer_unit_price": 0,
        }
        created = naive(at or self.now)
        self.insert("messages", {"id": key(name), "app_id": key("app"), "created_at": created, **default, **row})

    def has_a_rating(self, name: str = "rating", message: str = "message", **row: object) -> None:
        """A like from the user who asked."""
        default = {"conversation_id": key("conversation"), "rating": "like", "from_source": "user"}
        at = {"created_at": naive(self.now), "updated_at": naive(self.now)}
        place = {"id": key(name), "app_id": key("app"), "message_id": key(message)}
        self.insert("message_feedbacks", {**place, **default, **at, **row})


_OF_THE_APP: dict[str, object] = {
    "tenant_id": TENANT,
    "app_id": key("app"),
    "workflow_id": WORKFLOW,
    "created_by_role": "end_user",
    "created_by": USER,
}


def naive(at: datetime) -> datetime:
    """As Dify writes it."""
    return at.astimezone(UTC).replace(tzinfo=None)


def streams(pulls: dict[str, Pull]) -> Sequence[str]:
    """The streams that came to their end."""
    return [pull.stream for pull in pulls.values() if pull.is_complete]
