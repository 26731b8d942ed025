"""The columns of Dify's database that are read: what must be there, what may be missing.

What comes in is the list of columns a database has; what goes out is how each column is written in SQL. A column that
came or went with some version of Dify is optional and reads as NULL where it is missing. A database without a column
that must be there, or with one of another type, is refused by name. Nothing here opens a connection.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from collector.errors import SettingsError

TESTED_WITH = "Dify 0.15 to 1.16 on PostgreSQL"
"""What the message of a refusal says we know."""

_REMEDY = (
    "Let database_url name Dify's own database (not that of its plugins), or pull from the console API instead: leave "
    "database_url out, set dify_url and a way to sign in"
)

KINDS: Mapping[str, tuple[str, ...]] = {
    "uuid": ("uuid",),
    "text": ("text", "character varying"),
    "integer": ("integer", "bigint"),
    "float": ("double precision", "real", "numeric"),
    "money": ("numeric",),
    "instant": ("timestamp without time zone",),
    "boolean": ("boolean",),
    "json": ("json", "jsonb", "text"),
}
"""Kind of column -> the types PostgreSQL may give it."""

_NULL = {"uuid": "uuid", "float": "double precision", "money": "numeric", "instant": "timestamp", "json": "json"}

NEEDED: Mapping[str, Mapping[str, str]] = {
    "apps": {
        "id": "uuid",
        "tenant_id": "uuid",
        "name": "text",
        "mode": "text",
        "app_model_config_id": "uuid",
        "workflow_id": "uuid",
        "created_at": "instant",
        "updated_at": "instant",
    },
    "app_model_configs": {"id": "uuid", "model": "text"},
    "tenants": {"id": "uuid"},
    "workflows": {"id": "uuid", "tenant_id": "uuid", "app_id": "uuid"},
    "end_users": {"id": "uuid", "tenant_id": "uuid", "session_id": "text", "created_at": "instant"},
    "accounts": {"id": "uuid", "name": "text"},
    "workflow_runs": {
        "id": "uuid",
        "tenant_id": "uuid",
        "app_id": "uuid",
        "workflow_id": "uuid",
        "triggered_from": "text",
        "version": "text",
        "graph": "text",
        "status": "text",
        "error": "text",
        "elapsed_time": "float",
        "total_tokens": "integer",
        "total_steps": "integer",
        "created_by_role": "text",
        "created_by": "uuid",
        "created_at": "instant",
        "finished_at": "instant",
    },
    "workflow_node_executions": {
        "id": "uuid",
        "tenant_id": "uuid",
        "app_id": "uuid",
        "workflow_id": "uuid",
        "triggered_from": "text",
        "workflow_run_id": "uuid",
        "node_id": "text",
        "node_type": "text",
        "title": "text",
        "process_data": "text",
        "outputs": "text",
        "status": "text",
        "error": "text",
        "elapsed_time": "float",
        "execution_metadata": "text",
        "created_at": "instant",
        "finished_at": "instant",
    },
    "messages": {
        "id": "uuid",
        "app_id": "uuid",
        "conversation_id": "uuid",
        "workflow_run_id": "uuid",
        "message": "json",
        "answer": "text",
        "message_metadata": "text",
        "message_tokens": "integer",
        "answer_tokens": "integer",
        "provider_response_latency": "float",
        "total_price": "money",
        "currency": "text",
        "model_provider": "text",
        "model_id": "text",
        "from_source": "text",
        "from_end_user_id": "uuid",
        "from_account_id": "uuid",
        "status": "text",
        "error": "text",
        "created_at": "instant",
    },
    "conversations": {
        "id": "uuid",
        "app_id": "uuid",
        "from_source": "text",
        "from_end_user_id": "uuid",
        "from_account_id": "uuid",
        "created_at": "instant",
        "updated_at": "instant",
    },
    "message_feedbacks": {
        "id": "uuid",
        "app_id": "uuid",
        "conversation_id": "uuid",
        "message_id": "uuid",
        "rating": "text",
        "from_source": "text",
        "from_end_user_id": "uuid",
        "from_account_id": "uuid",
        "created_at": "instant",
        "updated_at": "instant",
    },
    "message_agent_thoughts": {
        "message_id": "uuid",
        "message_token": "integer",
        "answer_token": "integer",
        "total_price": "money",
        "currency": "text",
    },
    "datasets": {
        "id": "uuid",
        "tenant_id": "uuid",
        "name": "text",
        "indexing_technique": "text",
        "embedding_model": "text",
        "embedding_model_provider": "text",
        "created_at": "instant",
        "updated_at": "instant",
    },
    "documents": {
        "id": "uuid",
        "dataset_id": "uuid",
        "indexing_status": "text",
        "enabled": "boolean",
        "archived": "boolean",
        "word_count": "integer",
        "tokens": "integer",
    },
    "document_segments": {"dataset_id": "uuid", "status": "text", "hit_count": "integer"},
    "dataset_queries": {
        "id": "uuid",
        "dataset_id": "uuid",
        "source": "text",
        "source_app_id": "uuid",
        "created_by_role": "text",
        "created_by": "uuid",
        "created_at": "instant",
    },
}
"""Table -> column -> kind: without one of these there is nothing sound to say. What people wrote is read of messages
(their prompts, to look for images; whether the answer is empty) and of nodes alone."""

OPTIONAL: Mapping[str, Mapping[str, str]] = {
    "apps": {"is_universal": "boolean"},  # gone from newer models
    "app_model_configs": {"provider": "text", "model_id": "text"},  # of before 0.3; NULL since
    "workflow_runs": {"exceptions_count": "integer"},  # since 0.14
    "messages": {"invoke_from": "text", "app_mode": "text"},  # since 0.3; since 1.11
    "conversations": {"invoke_from": "text"},  # since 0.3
    "tags": {"id": "uuid", "name": "text", "type": "text"},  # since 0.6
    "tag_bindings": {"tag_id": "uuid", "target_id": "uuid"},
    "app_dataset_joins": {"app_id": "uuid", "dataset_id": "uuid"},  # which apps use a knowledge base
    "tenant_account_joins": {"tenant_id": "uuid", "account_id": "uuid"},  # who belongs to a workspace
}
"""Table -> column -> kind: read where they are; what they say is not known where they are not."""

TABLES = tuple({**NEEDED, **OPTIONAL})


class Schema:
    """The columns one database has. Made once a connection stands; refuses a database that cannot be read."""

    def __init__(self, columns: Iterable[tuple[str, str, str]]) -> None:
        """From (table, column, type). Raises SettingsError naming table.column, and what was looked for."""
        self._types = {(table, column): kind for table, column, kind in columns}
        for table, wanted in NEEDED.items():
            for column, kind in wanted.items():
                self._check(table, column, kind)
        for table, wanted in OPTIONAL.items():
            for column, kind in wanted.items():
                if self.has(table, column):
                    self._check(table, column, kind)

    def has(self, table: str, *columns: str) -> bool:
        """Whether the table has all these columns."""
        return all((table, column) in self._types for column in columns)

    def columns(self, table: str) -> tuple[str, ...]:
        """The columns of a table that are read here: those of ours that this database has."""
        wanted = (*NEEDED.get(table, ()), *OPTIONAL.get(table, ()))
        return tuple(column for column in wanted if self.has(table, column))

    def optional(self, table: str, alias: str, column: str) -> str:
        """The column in SQL, or a NULL of its type where this version has none."""
        if self.has(table, column):
            return f"{alias}.{column}"
        kind = OPTIONAL[table][column]
        return f"NULL::{_NULL.get(kind, kind)}"

    def _check(self, table: str, column: str, kind: str) -> None:
        found = self._types.get((table, column))
        if found is None:
            raise SettingsError(
                f"the database has no column {table}.{column}: this is no Dify, or a version whose tables are not "
                f"known here ({TESTED_WITH}); nothing was read. {_REMEDY}"
            )
        if found not in KINDS[kind]:
            raise SettingsError(
                f"the database's column {table}.{column} is {found}, wanted {' or '.join(KINDS[kind])} "
                f"({TESTED_WITH}); nothing was read. {_REMEDY}"
            )
