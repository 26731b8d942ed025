"""A simulated world as rows of Dify's own tables: what its API tells from memory stands in a PostgreSQL, too.

What comes in are a server, a database with Dify's empty tables, and a world; what goes out are rows, as Dify writes
them. Written again, they replace those before. Nothing here knows what a collector reads.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, TypeAlias

import psycopg
from psycopg import sql

from collector.demo import World
from collector.demo.app_shapes import model_json, tag_id
from collector.demo.nodes import graph_json, node_contents, node_metadata
from collector.demo.rows import Account, App, Conversation, Dataset, EndUser, Feedback, Message, Node, Run
from collector.demo.shapes import message_item, source_of
from tests.servers.postgres import Postgres

Row: TypeAlias = dict[str, Any]


def fill(server: Postgres, database: str, world: World) -> None:
    """Every row of the world, in place of those that were there."""
    tables = _tables(world)
    with psycopg.connect(server.dsn(database)) as connection:
        for table, rows in tables.items():
            connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table)))
            if not rows:
                continue
            names = list(rows[0])
            columns = sql.SQL(", ").join(map(sql.Identifier, names))
            statement = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table), columns)
            with connection.cursor() as cursor, cursor.copy(statement) as copy:
                for row in rows:
                    copy.write_row([row[name] for name in names])


def _tables(world: World) -> Mapping[str, list[Row]]:
    apps, configured = list(world.apps.values()), [app for app in world.apps.values() if app.model]
    nodes = [(world.runs[run], node) for run, some in world.nodes.items() for node in some if run in world.runs]
    datasets = list(world.datasets.values())
    tags = sorted({tag for app in apps for tag in app.tags})
    owner = world.accounts[0].id
    return {
        "tenants": [{"id": world.workspace_id, "name": "ours"}],
        "accounts": [{"id": each.id, "name": each.name, "email": each.email} for each in world.accounts],
        "tenant_account_joins": [{"tenant_id": world.workspace_id, "account_id": each.id} for each in world.accounts],
        "end_users": [_end_user(world, user, at) for user, at in _users(world).values()],
        "apps": [_app(world, app) for app in apps],
        "app_model_configs": [_config(app) for app in configured],
        "workflows": [_workflow(world, app) for app in apps if app.workflow_id],
        "tags": [{"id": tag_id(tag), "type": "app", "name": tag, "created_by": owner} for tag in tags],
        "tag_bindings": [
            {"tag_id": tag_id(tag), "target_id": app.id, "created_by": owner} for app in apps for tag in app.tags
        ],
        "workflow_runs": [_run(world, run) for run in world.runs.values()],
        "workflow_node_executions": [_node(world, run, node) for run, node in nodes],
        "messages": [_message(world, message) for message in world.messages.values()],
        "message_agent_thoughts": [row for message in world.messages.values() for row in _thoughts(message)],
        "conversations": [_conversation(world, each) for each in world.conversations.values()],
        "message_feedbacks": [_rating(each) for some in world.feedback_of.values() for each in some.values()],
        "datasets": [_dataset(world, each) for each in datasets],
        "documents": [row for each in datasets for row in _documents(world, each)],
        "document_segments": [row for each in datasets for row in _segments(world, each)],
        "dataset_queries": [row for each in datasets for row in _queries(each)],
        "app_dataset_joins": [
            {"app_id": app.id, "dataset_id": each.id} for app in apps for each in datasets if app.dataset == each.name
        ],
    }


def _users(world: World) -> dict[str, tuple[EndUser, datetime]]:
    """Every end user who did something, and when first."""
    seen = [(run.created_by, run.created_at) for run in world.runs.values()]
    seen += [(each.end_user, each.created_at) for each in world.conversations.values() if each.end_user]
    found: dict[str, tuple[EndUser, datetime]] = {}
    for user, at in seen:
        if isinstance(user, EndUser) and at < found.get(user.id, (user, datetime.max.replace(tzinfo=UTC)))[1]:
            found[user.id] = user, at
    return found


def _end_user(world: World, user: EndUser, at: datetime) -> Row:
    told = {"id": user.id, "app_id": user.app_id, "type": user.type, "session_id": user.session_id}
    return {**told, "tenant_id": world.workspace_id, "created_at": _naive(at)}


def _app(world: World, app: App) -> Row:
    return {
        "id": app.id,
        "tenant_id": world.workspace_id,
        "name": app.name,
        "mode": app.mode,
        "enable_site": True,
        "enable_api": app.enable_api,
        "workflow_id": app.workflow_id,
        "app_model_config_id": _config_id(app) if app.model else None,
        "created_at": _naive(app.created_at),
        "updated_at": _naive(app.updated_at),
    }


def _config_id(app: App) -> str:
    return str(uuid.uuid5(uuid.UUID(app.id), "config"))


def _config(app: App) -> Row:
    return {"id": _config_id(app), "app_id": app.id, "model": _json(model_json(app.model)) if app.model else None}


def _workflow(world: World, app: App) -> Row:
    place = {"id": app.workflow_id, "tenant_id": world.workspace_id, "app_id": app.id, "type": "workflow"}
    made = {"created_by": app.created_by, "updated_at": _naive(app.updated_at)}
    return {**place, **made, "version": app.version, "graph": _json(graph_json(app)), "features": "{}"}


def _by(by: EndUser | Account) -> Row:
    return {"created_by_role": "account" if isinstance(by, Account) else "end_user", "created_by": by.id}


def _of_run(world: World, run: Run) -> Row:
    return {
        "tenant_id": world.workspace_id,
        "app_id": run.app_id,
        "workflow_id": run.workflow_id,
        **_by(run.created_by),
    }


def _run(world: World, run: Run) -> Row:
    app = world.apps.get(run.app_id)
    return {
        "id": run.id,
        **_of_run(world, run),
        "type": "chat" if run.message_id else "workflow",
        "triggered_from": run.triggered_from,
        "version": run.version,
        "graph": _json(graph_json(app)) if app else "{}",
        "status": run.status,
        "error": run.error,
        "elapsed_time": run.elapsed_time,
        "total_tokens": run.total_tokens,
        "total_steps": run.total_steps,
        "exceptions_count": run.exceptions_count,
        "created_at": _naive(run.created_at),
        "finished_at": _naive(run.finished_at),
    }


def _node(world: World, run: Run, node: Node) -> Row:
    contents = node_contents(node, run)
    return {
        "id": node.id,
        **_of_run(world, run),
        "triggered_from": "workflow-run",
        "workflow_run_id": run.id,
        "index": node.index,
        "node_id": node.stage.id,
        "node_type": node.stage.type,
        "title": node.stage.title,
        "inputs": _json(contents["inputs"]),
        "process_data": _json(contents["process_data"]),
        "outputs": _json(contents["outputs"]),
        "status": node.status,
        "error": node.error,
        "elapsed_time": node.elapsed or 0.0,
        "execution_metadata": _json(node_metadata(node)),
        "created_at": _naive(node.created_at),
        "finished_at": _naive(node.finished_at),
    }


def _message(world: World, message: Message) -> Row:
    told, model = message_item(world, message), message.model
    app = world.apps.get(message.app_id)
    return {
        "id": message.id,
        "app_id": message.app_id,
        "conversation_id": message.conversation_id,
        "workflow_run_id": message.workflow_run_id,
        "inputs": "{}",
        "query": message.query,
        "message": _json(told["message"]),
        "answer": message.answer,
        "message_metadata": _json(told["metadata"]),
        "message_tokens": message.message_tokens,
        "answer_tokens": message.answer_tokens,
        "message_unit_price": 0,
        "answer_unit_price": 0,
        "provider_response_latency": message.provider_response_latency,
        "total_price": message.total_price,
        "currency": message.currency,
        "model_provider": model.provider if model and not message.workflow_run_id else None,
        "model_id": model.name if model and not message.workflow_run_id else None,
        "from_source": source_of(message.from_account_id),
        "from_end_user_id": message.from_end_user_id,
        "from_account_id": message.from_account_id,
        "invoke_from": message.invoke_from,
        "app_mode": app.mode if app else None,
        "status": message.status,
        "error": message.error,
        "created_at": _naive(message.created_at),
        "updated_at": _naive(message.created_at),
    }


def _thoughts(message: Message) -> Iterator[Row]:
    for each in message.thoughts:
        yield {
            "id": each.id,
            "message_id": message.id,
            "position": each.position,
            "message_token": each.tokens,
            "answer_token": 0,
            "tokens": each.tokens,
            "currency": message.currency,
            "created_by_role": "end_user",
            "created_by": message.from_end_user_id or message.from_account_id,
        }


def _conversation(world: World, each: Conversation) -> Row:
    app = world.apps.get(each.app_id)
    return {
        "id": each.id,
        "app_id": each.app_id,
        "mode": app.mode if app else "chat",
        "name": each.name,
        "inputs": "{}",
        "status": "normal",
        "from_source": source_of(each.account),
        "from_end_user_id": each.end_user.id if each.end_user else None,
        "from_account_id": each.account.id if each.account else None,
        "invoke_from": each.invoke_from,
        "created_at": _naive(each.created_at),
        "updated_at": _naive(each.updated_at),
        "is_deleted": each.is_deleted,
    }


def _rating(each: Feedback) -> Row:
    return {
        "id": each.id,
        "app_id": each.app_id,
        "conversation_id": each.conversation_id,
        "message_id": each.message_id,
        "rating": each.rating,
        "content": each.content,
        "from_source": each.from_source,
        "from_end_user_id": each.from_end_user_id,
        "from_account_id": each.from_account.id if each.from_account else None,
        "created_at": _naive(each.created_at),
        "updated_at": _naive(each.updated_at),
    }


def _dataset(world: World, each: Dataset) -> Row:
    model = each.embedding_model
    return {
        "id": each.id,
        "tenant_id": world.workspace_id,
        "name": each.name,
        "created_by": world.accounts[0].id,
        "indexing_technique": each.indexing_technique,
        "embedding_model_provider": model.provider if model else None,
        "embedding_model": model.name if model else None,
        "created_at": _naive(each.created_at),
        "updated_at": _naive(each.created_at),
    }


def _documents(world: World, dataset: Dataset) -> Iterator[Row]:
    for each in dataset.documents:
        yield {
            "id": each.id,
            "tenant_id": world.workspace_id,
            "dataset_id": dataset.id,
            "position": each.position,
            "data_source_type": "upload_file",
            "batch": "1",
            "name": each.name,
            "created_from": "web",
            "created_by": world.accounts[0].id,
            "created_at": _naive(each.created_at),
            "word_count": each.word_count,
            "tokens": each.tokens,
            "indexing_status": each.indexing_status,
            "error": each.error,
        }


def _segments(world: World, dataset: Dataset) -> Iterator[Row]:
    for each in dataset.documents:
        for number in range(each.segments):
            yield {
                "tenant_id": world.workspace_id,
                "dataset_id": dataset.id,
                "document_id": each.id,
                "position": number,
                "content": "something that is nobody's business",
                "word_count": 1,
                "tokens": 1,
                "hit_count": each.hit_count if number == 0 else 0,
                "status": "completed",
                "created_by": world.accounts[0].id,
            }


def _queries(dataset: Dataset) -> Iterator[Row]:
    for each in dataset.retrievals:
        yield {
            "id": each.id,
            "dataset_id": dataset.id,
            "content": each.query,
            "source": "app",
            "source_app_id": each.source_app_id,
            **_by(each.created_by),
            "created_at": _naive(each.created_at),
        }


def _naive(at: datetime | None) -> datetime | None:
    return at.astimezone(UTC).replace(tzinfo=None) if at else None


def _json(value: object) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False)
