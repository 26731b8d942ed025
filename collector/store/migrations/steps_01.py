"""Step 1: the facts of Dify, watermarks and milestones, as the first release made them."""

from __future__ import annotations

from collector.store.migrations.step import Migration

STEPS = (
    Migration(
        1,
        "facts, watermarks and milestones",
        (
            """
            CREATE TABLE app (
              source VARCHAR,
              seen_at TIMESTAMPTZ,
              id VARCHAR,
              workspace_id VARCHAR,
              name VARCHAR,
              mode VARCHAR,
              tags VARCHAR,
              is_published BOOLEAN,
              model_provider VARCHAR,
              model_name VARCHAR,
              created_at TIMESTAMPTZ,
              updated_at TIMESTAMPTZ,
              deleted_at TIMESTAMPTZ,
              id_crc UINTEGER,
              weights MAP(VARCHAR, BIGINT)
            )
            """,
            """
            CREATE TABLE run (
              source VARCHAR,
              seen_at TIMESTAMPTZ,
              id VARCHAR,
              app_id VARCHAR,
              workspace_id VARCHAR,
              workflow_id VARCHAR,
              version VARCHAR,
              status VARCHAR,
              is_final BOOLEAN,
              triggered_from VARCHAR,
              is_debug BOOLEAN,
              user_id VARCHAR,
              user_kind VARCHAR,
              session_id VARCHAR,
              conversation_id VARCHAR,
              message_id VARCHAR,
              created_at TIMESTAMPTZ,
              finished_at TIMESTAMPTZ,
              elapsed_seconds DOUBLE,
              reported_tokens BIGINT,
              steps BIGINT,
              exceptions BIGINT,
              error_class VARCHAR,
              leaves_known BOOLEAN,
              id_crc UINTEGER,
              weights MAP(VARCHAR, BIGINT)
            )
            """,
            """
            CREATE TABLE node_execution (
              source VARCHAR,
              seen_at TIMESTAMPTZ,
              id VARCHAR,
              run_id VARCHAR,
              app_id VARCHAR,
              workspace_id VARCHAR,
              node_id VARCHAR,
              node_type VARCHAR,
              title VARCHAR,
              container_id VARCHAR,
              status VARCHAR,
              is_final BOOLEAN,
              is_debug BOOLEAN,
              created_at TIMESTAMPTZ,
              finished_at TIMESTAMPTZ,
              elapsed_seconds DOUBLE,
              reported_tokens BIGINT,
              error_class VARCHAR,
              id_crc UINTEGER,
              weights MAP(VARCHAR, BIGINT)
            )
            """,
            """
            CREATE TABLE model_call (
              source VARCHAR,
              seen_at TIMESTAMPTZ,
              id VARCHAR,
              run_id VARCHAR,
              message_id VARCHAR,
              conversation_id VARCHAR,
              app_id VARCHAR,
              workspace_id VARCHAR,
              node_id VARCHAR,
              node_type VARCHAR,
              model_provider VARCHAR,
              model_name VARCHAR,
              status VARCHAR,
              is_final BOOLEAN,
              is_estimate BOOLEAN,
              is_debug BOOLEAN,
              is_vision BOOLEAN,
              created_at TIMESTAMPTZ,
              finished_at TIMESTAMPTZ,
              input_tokens BIGINT,
              output_tokens BIGINT,
              tokens BIGINT,
              cached_input_tokens BIGINT,
              reasoning_output_tokens BIGINT,
              cost DECIMAL(18,9),
              currency VARCHAR,
              latency_seconds DOUBLE,
              time_to_first_token_seconds DOUBLE,
              error_class VARCHAR,
              id_crc UINTEGER,
              weights MAP(VARCHAR, BIGINT)
            )
            """,
            """
            CREATE TABLE message (
              source VARCHAR,
              seen_at TIMESTAMPTZ,
              id VARCHAR,
              app_id VARCHAR,
              workspace_id VARCHAR,
              conversation_id VARCHAR,
              run_id VARCHAR,
              status VARCHAR,
              is_final BOOLEAN,
              invoke_from VARCHAR,
              is_debug BOOLEAN,
              user_id VARCHAR,
              user_kind VARCHAR,
              session_id VARCHAR,
              created_at TIMESTAMPTZ,
              finished_at TIMESTAMPTZ,
              latency_seconds DOUBLE,
              time_to_first_token_seconds DOUBLE,
              reported_input_tokens BIGINT,
              reported_output_tokens BIGINT,
              reported_cost DECIMAL(18,9),
              currency VARCHAR,
              error_class VARCHAR,
              id_crc UINTEGER,
              weights MAP(VARCHAR, BIGINT)
            )
            """,
            """
            CREATE TABLE conversation (
              source VARCHAR,
              seen_at TIMESTAMPTZ,
              id VARCHAR,
              app_id VARCHAR,
              workspace_id VARCHAR,
              user_id VARCHAR,
              user_kind VARCHAR,
              session_id VARCHAR,
              is_debug BOOLEAN,
              created_at TIMESTAMPTZ,
              updated_at TIMESTAMPTZ,
              messages BIGINT,
              id_crc UINTEGER,
              weights MAP(VARCHAR, BIGINT)
            )
            """,
            """
            CREATE TABLE feedback (
              source VARCHAR,
              seen_at TIMESTAMPTZ,
              id VARCHAR,
              message_id VARCHAR,
              from_source VARCHAR,
              app_id VARCHAR,
              workspace_id VARCHAR,
              conversation_id VARCHAR,
              user_id VARCHAR,
              rating VARCHAR,
              created_at TIMESTAMPTZ,
              updated_at TIMESTAMPTZ,
              id_crc UINTEGER,
              weights MAP(VARCHAR, BIGINT)
            )
            """,
            """
            CREATE TABLE end_user (
              source VARCHAR,
              seen_at TIMESTAMPTZ,
              id VARCHAR,
              kind VARCHAR,
              workspace_id VARCHAR,
              session_id VARCHAR,
              name VARCHAR,
              id_crc UINTEGER,
              weights MAP(VARCHAR, BIGINT)
            )
            """,
            """
            CREATE TABLE request (
              source VARCHAR,
              seen_at TIMESTAMPTZ,
              id VARCHAR,
              app_id VARCHAR,
              workspace_id VARCHAR,
              key_fingerprint VARCHAR,
              method VARCHAR,
              route VARCHAR,
              status_code BIGINT,
              is_stream BOOLEAN,
              created_at TIMESTAMPTZ,
              duration_seconds DOUBLE,
              time_to_first_byte_seconds DOUBLE,
              time_to_first_token_seconds DOUBLE,
              request_bytes BIGINT,
              response_bytes BIGINT,
              interrupted_by VARCHAR,
              error_class VARCHAR,
              run_id VARCHAR,
              message_id VARCHAR,
              id_crc UINTEGER,
              weights MAP(VARCHAR, BIGINT)
            )
            """,
            """
            CREATE TABLE pull (
              source VARCHAR,
              seen_at TIMESTAMPTZ,
              id VARCHAR,
              stream VARCHAR,
              app_id VARCHAR,
              created_at TIMESTAMPTZ,
              seconds DOUBLE,
              requests BIGINT,
              pages BIGINT,
              records BIGINT,
              parse_failures BIGINT,
              error_class VARCHAR,
              is_complete BOOLEAN,
              id_crc UINTEGER,
              weights MAP(VARCHAR, BIGINT)
            )
            """,
            """
            CREATE TABLE watermark (
              source VARCHAR,
              stream VARCHAR,
              app_id VARCHAR,
              complete_until TIMESTAMPTZ NOT NULL,
              PRIMARY KEY (source, stream, app_id)
            )
            """,
            """
            CREATE TABLE milestone (
              name VARCHAR PRIMARY KEY,
              reached_at TIMESTAMPTZ NOT NULL
            )
            """,
        ),
    ),
)
