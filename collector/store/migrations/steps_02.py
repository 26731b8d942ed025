"""Steps 2 to 5: counters, queues, and what is around the runs: knowledge bases, models, keys, versions of Dify."""

from __future__ import annotations

from collector.store.migrations.step import Migration

STEPS = (
    Migration(
        2,
        "what counters said last is kept",
        (
            """
            CREATE TABLE counter (
              family VARCHAR NOT NULL,
              labels VARCHAR NOT NULL,
              reading DOUBLE NOT NULL
            )
            """,
        ),
    ),
    Migration(
        3,
        "queues are sampled",
        (
            """
            CREATE TABLE queue_sample (
              source VARCHAR,
              seen_at TIMESTAMPTZ,
              id VARCHAR,
              broker VARCHAR,
              queue VARCHAR,
              kind VARCHAR,
              created_at TIMESTAMPTZ,
              ready BIGINT,
              unacked BIGINT,
              oldest_seen_at TIMESTAMPTZ,
              oldest_taken_at TIMESTAMPTZ,
              workspaces BIGINT,
              id_crc UINTEGER,
              weights MAP(VARCHAR, BIGINT)
            )
            """,
        ),
    ),
    Migration(
        4,
        "knowledge bases, models, keys and Dify's own statistics are kept",
        (
            """
            CREATE TABLE dataset (
              source VARCHAR,
              seen_at TIMESTAMPTZ,
              id VARCHAR,
              workspace_id VARCHAR,
              name VARCHAR,
              indexing_technique VARCHAR,
              embedding_provider VARCHAR,
              embedding_model VARCHAR,
              created_at TIMESTAMPTZ,
              updated_at TIMESTAMPTZ,
              deleted_at TIMESTAMPTZ,
              id_crc UINTEGER,
              weights MAP(VARCHAR, BIGINT)
            )
            """,
            """
            CREATE TABLE dataset_day (
              source VARCHAR,
              seen_at TIMESTAMPTZ,
              id VARCHAR,
              dataset_id VARCHAR,
              workspace_id VARCHAR,
              created_at TIMESTAMPTZ,
              documents BIGINT,
              available_documents BIGINT,
              waiting_documents BIGINT,
              indexing_documents BIGINT,
              failed_documents BIGINT,
              segments BIGINT,
              words BIGINT,
              tokens BIGINT,
              hits BIGINT,
              apps BIGINT,
              id_crc UINTEGER,
              weights MAP(VARCHAR, BIGINT)
            )
            """,
            """
            CREATE TABLE retrieval (
              source VARCHAR,
              seen_at TIMESTAMPTZ,
              id VARCHAR,
              dataset_id VARCHAR,
              workspace_id VARCHAR,
              origin VARCHAR,
              app_id VARCHAR,
              user_id VARCHAR,
              user_kind VARCHAR,
              created_at TIMESTAMPTZ,
              id_crc UINTEGER,
              weights MAP(VARCHAR, BIGINT)
            )
            """,
            """
            CREATE TABLE model (
              source VARCHAR,
              seen_at TIMESTAMPTZ,
              id VARCHAR,
              workspace_id VARCHAR,
              model_provider VARCHAR,
              model_name VARCHAR,
              kind VARCHAR,
              features VARCHAR,
              is_vision BOOLEAN,
              status VARCHAR,
              id_crc UINTEGER,
              weights MAP(VARCHAR, BIGINT)
            )
            """,
            """
            CREATE TABLE api_key (
              source VARCHAR,
              seen_at TIMESTAMPTZ,
              id VARCHAR,
              app_id VARCHAR,
              workspace_id VARCHAR,
              fingerprint VARCHAR,
              created_at TIMESTAMPTZ,
              last_used_at TIMESTAMPTZ,
              deleted_at TIMESTAMPTZ,
              id_crc UINTEGER,
              weights MAP(VARCHAR, BIGINT)
            )
            """,
            """
            CREATE TABLE dify_statistic (
              source VARCHAR,
              seen_at TIMESTAMPTZ,
              id VARCHAR,
              app_id VARCHAR,
              workspace_id VARCHAR,
              name VARCHAR,
              day VARCHAR,
              timezone VARCHAR,
              created_at TIMESTAMPTZ,
              number BIGINT,
              amount DECIMAL(18,9),
              id_crc UINTEGER,
              weights MAP(VARCHAR, BIGINT)
            )
            """,
        ),
    ),
    Migration(
        5,
        "the versions of Dify are kept",
        (
            """
            CREATE TABLE dify_release (
              source VARCHAR,
              seen_at TIMESTAMPTZ,
              id VARCHAR,
              workspace_id VARCHAR,
              version VARCHAR,
              number BIGINT,
              created_at TIMESTAMPTZ,
              id_crc UINTEGER,
              weights MAP(VARCHAR, BIGINT)
            )
            """,
        ),
    ),
)
