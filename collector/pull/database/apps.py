"""Apps and the people who use them: SQL for the rows, and row -> record.

What comes in are rows of apps, app_model_configs, tags, end_users and accounts; what goes out are App and User. Never
reads an e-mail address, a key or an app's prompt.
"""

from __future__ import annotations

from collector.fields import text
from collector.ledger import Telling, provider_name
from collector.pull.database.connection import Row
from collector.pull.database.schema import Schema
from collector.pull.database.values import in_workspace, loose_json
from collector.records import App, User

WORKFLOW_MODES = ("workflow", "advanced-chat")


def apps_sql(schema: Schema) -> str:
    """Every app there is; the table is small. Leaves out those that Dify itself never lists."""
    hidden = schema.optional("apps", "a", "is_universal")
    provider, model = (schema.optional("app_model_configs", "c", column) for column in ("provider", "model_id"))
    return f"""
    SELECT a.id::text, a.tenant_id::text, a.name, a.mode, {_tags_sql(schema)}, a.workflow_id IS NOT NULL,
      c.model, {provider}, {model}, a.created_at AT TIME ZONE 'UTC', a.updated_at AT TIME ZONE 'UTC'
    FROM apps a LEFT JOIN app_model_configs c ON c.id = a.app_model_config_id
    WHERE {hidden} IS NOT TRUE AND {in_workspace("a.tenant_id")}
    """


def app(row: Row, telling: Telling, origin: str) -> App:
    """A row of `apps_sql` -> App."""
    key, workspace, name, mode, tags, has_workflow, model, old_provider, old_name, created, updated = row
    config = loose_json(model)
    is_flow = mode in WORKFLOW_MODES
    provider_told, model_told = text(config, "provider") or old_provider, text(config, "name") or old_name or None
    return App(
        source=telling.source,
        seen_at=telling.seen_at,
        id=key,
        workspace_id=workspace,
        name=name,
        mode=mode,
        tags=tags,
        is_published=has_workflow if is_flow else model_told is not None,
        model_provider=None if is_flow else provider_name(provider_told),
        model_name=None if is_flow else model_told,
        created_at=created,
        updated_at=updated,
        origin=origin,
    )


def end_users_sql(schema: Schema) -> str:
    """End users made in the period, and every account; Dify has no index for the time, the table is narrow."""
    members = "%(workspace)s::uuid IS NULL"
    if schema.has("tenant_account_joins", "tenant_id", "account_id"):
        members += """ OR EXISTS (SELECT FROM tenant_account_joins j
        WHERE j.account_id = a.id AND j.tenant_id = %(workspace)s::uuid)"""
    return f"""
    SELECT u.id::text, 'end_user', u.tenant_id::text, u.session_id, NULL::text FROM end_users u
    WHERE u.created_at >= %(since)s AND u.created_at < %(until)s AND {in_workspace("u.tenant_id")}
    UNION ALL
    SELECT a.id::text, 'account', %(workspace)s::text, NULL, a.name FROM accounts a
    WHERE {members}
    """


def user(row: Row, telling: Telling) -> User:
    """A row of `end_users_sql` -> User."""
    key, kind, workspace, session, name = row
    return User(
        source=telling.source,
        seen_at=telling.seen_at,
        id=key,
        kind=kind,
        workspace_id=workspace,
        session_id=session,
        name=name,
    )


def _tags_sql(schema: Schema) -> str:
    if not (schema.has("tags", "id", "name", "type") and schema.has("tag_bindings", "tag_id", "target_id")):
        return "NULL::text"
    return """coalesce((SELECT string_agg(t.name, ',' ORDER BY t.name COLLATE "C") FROM tag_bindings b
        JOIN tags t ON t.id = b.tag_id AND t.type = 'app' WHERE b.target_id = a.id), '')"""
