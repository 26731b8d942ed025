"""Knowledge bases, what they hold today, and the questions put to them: SQL for the rows, and row -> record.

What comes in are rows of datasets, documents, document_segments and dataset_queries; what goes out are Dataset,
DatasetDay and Retrieval. Never reads a document, a segment or the words of a question.
"""

from __future__ import annotations

from collector.ledger import Telling, provider_name
from collector.pull.database.connection import Row
from collector.pull.database.schema import Schema
from collector.pull.database.values import in_workspace
from collector.pull.knowledge import DONE, FAILED, WAITING, day_key
from collector.records import Dataset, DatasetDay, Retrieval

DATASETS_SQL = f"""
    SELECT d.id::text, d.tenant_id::text, d.name, d.indexing_technique, d.embedding_model_provider, d.embedding_model,
      d.created_at AT TIME ZONE 'UTC', d.updated_at AT TIME ZONE 'UTC'
    FROM datasets d WHERE {in_workspace("d.tenant_id")}
"""
"""Every knowledge base there is; the table is small."""

RETRIEVALS_SQL = f"""
    SELECT q.id::text, q.dataset_id::text, d.tenant_id::text, q.source, q.source_app_id::text, q.created_by::text,
      q.created_by_role, q.created_at AT TIME ZONE 'UTC'
    FROM dataset_queries q LEFT JOIN datasets d ON d.id = q.dataset_id
    WHERE q.created_at >= %(since)s AND q.created_at < %(until)s AND {in_workspace("d.tenant_id")}
"""
"""The questions of a period; Dify has no index for it, the table is read through."""


def days_sql(schema: Schema) -> str:
    """What every knowledge base holds: documents and segments are counted by the server, in one reading of each."""
    apps = "NULL::bigint"
    if schema.has("app_dataset_joins", "app_id", "dataset_id"):
        apps = """(SELECT count(*) FROM app_dataset_joins j JOIN apps a ON a.id = j.app_id
        WHERE j.dataset_id = d.id)"""
    return f"""
    SELECT d.id::text, d.tenant_id::text, coalesce(c.documents, 0), coalesce(c.available, 0), coalesce(c.waiting, 0),
      coalesce(c.indexing, 0), coalesce(c.failed, 0), coalesce(s.segments, 0), coalesce(c.words, 0),
      coalesce(c.tokens, 0), coalesce(s.hits, 0), {apps}
    FROM datasets d
    LEFT JOIN (
      SELECT o.dataset_id, count(*) AS documents, count(*) FILTER (WHERE o.indexing_status = '{WAITING}') AS waiting,
        count(*) FILTER (WHERE o.indexing_status = '{DONE}' AND o.enabled AND NOT o.archived) AS available,
        count(*) FILTER (WHERE o.indexing_status NOT IN ('{DONE}', '{FAILED}', '{WAITING}', 'paused')) AS indexing,
        count(*) FILTER (WHERE o.indexing_status = '{FAILED}') AS failed,
        sum(o.word_count)::bigint AS words, sum(o.tokens)::bigint AS tokens
      FROM documents o GROUP BY 1
    ) c ON c.dataset_id = d.id
    LEFT JOIN (
      SELECT g.dataset_id, count(*) FILTER (WHERE g.status <> 're_segment') AS segments,
        sum(g.hit_count)::bigint AS hits
      FROM document_segments g GROUP BY 1
    ) s ON s.dataset_id = d.id
    WHERE {in_workspace("d.tenant_id")}
    """


def dataset(row: Row, telling: Telling, origin: str) -> Dataset:
    """A row of `DATASETS_SQL` -> Dataset."""
    key, workspace, name, technique, provider, model, created, updated = row
    return Dataset(
        source=telling.source,
        seen_at=telling.seen_at,
        id=key,
        workspace_id=workspace,
        name=name,
        indexing_technique=technique,
        embedding_provider=provider_name(provider or None),
        embedding_model=model or None,
        created_at=created,
        updated_at=updated,
        origin=origin,
    )


def day(row: Row, telling: Telling) -> DatasetDay:
    """A row of `days_sql` -> DatasetDay of the UTC day on which it was read."""
    (key, workspace, documents, available, waiting, indexing, failed, segments, words, tokens, hits,
     apps) = row  # fmt: skip
    today = telling.seen_at.replace(hour=0, minute=0, second=0, microsecond=0)
    return DatasetDay(
        source=telling.source,
        seen_at=telling.seen_at,
        id=day_key(key, today),
        dataset_id=key,
        workspace_id=workspace,
        created_at=today,
        documents=documents,
        available_documents=available,
        waiting_documents=waiting,
        indexing_documents=indexing,
        failed_documents=failed,
        segments=segments,
        words=words,
        tokens=tokens,
        hits=hits,
        apps=apps,
    )


def retrieval(row: Row, telling: Telling) -> Retrieval:
    """A row of `RETRIEVALS_SQL` -> Retrieval."""
    key, dataset_id, workspace, origin, app, user, role, created = row
    return Retrieval(
        source=telling.source,
        seen_at=telling.seen_at,
        id=key,
        dataset_id=dataset_id,
        workspace_id=workspace,
        origin=origin,
        app_id=app,
        user_id=user,
        user_kind=role if role in ("account", "end_user") else None,
        created_at=created,
    )
