"""What a role may do in Dify's database: what it lacks, what it has too much, and the SQL that makes the right one.

What comes in is an open look; what goes out are plain values. The smallest rights are SELECT on the columns of
`schema`, column by column: so the role cannot read questions, documents, keys or passwords even if it wanted to.
Nothing here grants anything.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import datetime
from itertools import groupby

from collector.pull.database.connection import Look, look
from collector.pull.database.limits import Found, Limits
from collector.pull.database.schema import NEEDED, OPTIONAL, TABLES
from collector.pull.database.values import in_workspace

ROLE = "dify_metric"
"""What the role is called in the SQL that makes it."""

_GRANT = """CREATE ROLE {role} LOGIN PASSWORD 'change me' CONNECTION LIMIT 4;
GRANT USAGE ON SCHEMA public TO {role};
DO $$
DECLARE wanted record;
BEGIN
  FOR wanted IN
    SELECT w.name, string_agg(quote_ident(c.column_name), ', ') AS columns
    FROM (VALUES
{values}
    ) AS w(name, columns)
    JOIN information_schema.columns c ON c.table_schema = 'public' AND c.table_name = w.name
      AND c.column_name = ANY (string_to_array(w.columns, ' '))
    GROUP BY w.name
  LOOP
    EXECUTE format('GRANT SELECT (%s) ON %I TO {role}', wanted.columns, wanted.name);
  END LOOP;
END $$;
"""

_MISSING = """
SELECT t.name, t.col FROM unnest(%(tables)s::text[], %(columns)s::text[]) WITH ORDINALITY AS t(name, col, place)
WHERE NOT has_column_privilege(to_regclass(quote_ident(t.name)), t.col, 'SELECT')
ORDER BY t.place
"""

_MAY_WRITE = """
SELECT c.relname FROM pg_class c
WHERE c.relkind IN ('r', 'p') AND c.relnamespace = ANY (SELECT to_regnamespace(quote_ident(n)) FROM
  unnest(current_schemas(FALSE)) n) AND has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
ORDER BY 1
"""

_MAY_READ = """
SELECT c.relname || '.' || a.attname FROM pg_class c
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'p') AND c.relnamespace = ANY (SELECT to_regnamespace(quote_ident(n)) FROM
  unnest(current_schemas(FALSE)) n) AND has_column_privilege(c.oid, a.attnum, 'SELECT')
  AND NOT EXISTS (SELECT FROM unnest(%(tables)s::text[], %(columns)s::text[]) AS t(name, col)
    WHERE t.name = c.relname AND t.col = a.attname)
ORDER BY c.relname = 'messages' DESC, 1
"""


def examine(dsn: str, workspace_id: str | None, clock: Callable[[], datetime]) -> Found:
    """Connect and look. Raises SettingsError, Unauthorized, Unavailable, as a pass does."""
    with look(dsn, Limits(statement_seconds=20.0), clock, time.sleep) as view:
        ((version, user),) = view.rows("SELECT current_setting('server_version'), current_user::text", {})
        wanted = _wanted(view)
        missing = [(str(table), str(column)) for table, column in view.rows(_MISSING, wanted)]
        apps = None
        if not any(table == "apps" for table, _ in missing):
            sql = f"SELECT count(*) FROM apps a WHERE {in_workspace('a.tenant_id')}"
            ((apps,),) = view.rows(sql, {"workspace": workspace_id})
        grants = tuple(_grant(table, columns, user) for table, columns in groupby(missing, lambda each: each[0]))
        return Found(f"PostgreSQL {version.split()[0]}", user, apps, grants, tuple(_more(view, wanted)))


def role_sql(role: str = ROLE) -> str:
    """The SQL that makes a role with the smallest rights, in any version of Dify; from DO on, to run after upgrades."""
    lines = [
        f"      ('{table}', '{' '.join((*NEEDED.get(table, ()), *OPTIONAL.get(table, ())))}')"
        for table in sorted(TABLES)
    ]
    return _GRANT.format(role=role, values=",\n".join(lines))


def _wanted(view: Look) -> dict[str, list[str]]:
    pairs = [(table, column) for table in TABLES for column in view.schema.columns(table)]
    return {"tables": [table for table, _ in pairs], "columns": [column for _, column in pairs]}


def _grant(table: str, columns: Iterable[tuple[str, str]], user: str) -> str:
    return f"GRANT SELECT ({', '.join(column for _, column in columns)}) ON {table} TO {user};"


def _more(view: Look, wanted: dict[str, list[str]]) -> Iterable[str]:
    """What the role may do that nobody here needs."""
    ((is_super,),) = view.rows("SELECT r.rolsuper FROM pg_roles r WHERE r.rolname = current_user", {})
    if is_super:
        yield "it is a superuser"
        return
    if tables := [name for (name,) in view.rows(_MAY_WRITE, {})]:
        yield f"it may write to {_some(tables)}"
    if columns := [name for (name,) in view.rows(_MAY_READ, wanted)]:
        yield f"it may read {_some(columns)}, which is not needed"


def _some(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
