"""How a store's file came to look as it does: numbered steps, in order, each of them once.

What comes in is a way to run SQL on a file of any age; what goes out is a file of today's schema. A step that was
released is history: it is never edited, a change is a new step at the end. That is why the SQL stands here in full
and is not made from the records.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from collector.errors import StoreError
from collector.store.session import Session

COUNTING_SINCE = "counting_since"
"""The milestone of the first opening: facts that finished before it are history, not news."""


@dataclass(frozen=True)
class Migration:
    """One step, as SQL statements."""

    number: int
    name: str  # what is true after it
    statements: tuple[str, ...]


_VERSIONS = """
CREATE TABLE IF NOT EXISTS schema_version (
  version INTEGER PRIMARY KEY,
  name VARCHAR NOT NULL,
  applied_at TIMESTAMPTZ NOT NULL
)
"""

MIGRATIONS = (
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
    Migration(
        6,
        "several Difys are told apart, and who pays is kept",
        (
            "ALTER TABLE app ADD COLUMN origin VARCHAR",
            "ALTER TABLE pull ADD COLUMN origin VARCHAR",
            "ALTER TABLE dataset ADD COLUMN origin VARCHAR",
            "ALTER TABLE watermark RENAME TO watermark_of_one",
            """
            CREATE TABLE watermark (
              source VARCHAR,
              stream VARCHAR,
              app_id VARCHAR,
              complete_until TIMESTAMPTZ NOT NULL,
              origin VARCHAR,
              PRIMARY KEY (source, stream, app_id, origin)
            )
            """,
            "INSERT INTO watermark SELECT *, '' FROM watermark_of_one",
            "DROP TABLE watermark_of_one",
            """
            CREATE TABLE reach (
              source VARCHAR,
              stream VARCHAR,
              app_id VARCHAR,
              complete_from TIMESTAMPTZ NOT NULL,
              complete_until TIMESTAMPTZ NOT NULL,
              PRIMARY KEY (source, stream, app_id)
            )
            """,
            """
            CREATE TABLE payer_span (
              kind VARCHAR NOT NULL,
              subject VARCHAR NOT NULL,
              starts_at TIMESTAMPTZ NOT NULL,
              ends_at TIMESTAMPTZ NOT NULL,
              person VARCHAR,
              department VARCHAR,
              cost_centre VARCHAR,
              place VARCHAR NOT NULL
            )
            """,
        ),
    ),
    Migration(
        7,
        "keys are kept, by their hash",
        (
            """
            CREATE TABLE access_key (
              id VARCHAR NOT NULL,
              name VARCHAR NOT NULL,
              scopes VARCHAR[] NOT NULL,
              apps VARCHAR[] NOT NULL,
              workspaces VARCHAR[] NOT NULL,
              origins VARCHAR[] NOT NULL,
              digest VARCHAR NOT NULL,
              created_at TIMESTAMPTZ NOT NULL,
              expires_at TIMESTAMPTZ,
              revoked_at TIMESTAMPTZ,
              last_used_at TIMESTAMPTZ
            )
            """,
        ),
    ),
    Migration(
        8,
        "what happens in front of Dify is kept",
        (
            """
            CREATE TABLE portal_event (
              source VARCHAR,
              seen_at TIMESTAMPTZ,
              id VARCHAR,
              event_id VARCHAR,
              event_source VARCHAR,
              event_type VARCHAR,
              app_id VARCHAR,
              workspace_id VARCHAR,
              user_id VARCHAR,
              session_id VARCHAR,
              created_at TIMESTAMPTZ,
              id_crc UINTEGER,
              weights MAP(VARCHAR, BIGINT)
            )
            """,
            """
            CREATE TABLE portal_value (
              source VARCHAR,
              seen_at TIMESTAMPTZ,
              id VARCHAR,
              name VARCHAR,
              number DOUBLE,
              event_type VARCHAR,
              event_source VARCHAR,
              app_id VARCHAR,
              workspace_id VARCHAR,
              user_id VARCHAR,
              session_id VARCHAR,
              created_at TIMESTAMPTZ,
              id_crc UINTEGER,
              weights MAP(VARCHAR, BIGINT)
            )
            """,
        ),
    ),
    Migration(
        9,
        "what could not be read is remembered",
        (
            """
            CREATE TABLE set_aside (
              source VARCHAR NOT NULL,
              origin VARCHAR NOT NULL,
              stream VARCHAR NOT NULL,
              app_id VARCHAR NOT NULL,
              key VARCHAR NOT NULL,
              problem VARCHAR NOT NULL,
              tried_by VARCHAR NOT NULL,
              seen_at TIMESTAMPTZ NOT NULL
            )
            """,
        ),
    ),
    Migration(
        10,
        "back-fills of whole Difys",
        (
            "ALTER TABLE reach RENAME TO reach_of_one",
            """
            CREATE TABLE reach (
              source VARCHAR,
              stream VARCHAR,
              app_id VARCHAR,
              complete_from TIMESTAMPTZ NOT NULL,
              complete_until TIMESTAMPTZ NOT NULL,
              origin VARCHAR,
              PRIMARY KEY (source, stream, app_id, origin)
            )
            """,
            "INSERT INTO reach SELECT *, '' FROM reach_of_one",
            "DROP TABLE reach_of_one",
        ),
    ),
    Migration(11, "an app says how many of its runs are missing", ("ALTER TABLE app ADD COLUMN missing_runs BIGINT",)),
    Migration(
        12,
        "facts are rolled up, and which days have lost their facts is kept",
        (
            "CREATE TABLE rollup_kept (facts VARCHAR PRIMARY KEY, digest VARCHAR NOT NULL)",
            """
            CREATE TABLE rollup_mark (
              facts VARCHAR NOT NULL,
              level VARCHAR NOT NULL,
              starts_at TIMESTAMPTZ NOT NULL
            )
            """,
            """
            CREATE TABLE retired_day (
              facts VARCHAR NOT NULL,
              starts_at TIMESTAMPTZ NOT NULL,
              app_id VARCHAR,
              workspace_id VARCHAR,
              origin VARCHAR,
              number BIGINT NOT NULL
            )
            """,
        ),
    ),
    Migration(
        13,
        "closed billing periods are kept with their lines",
        (
            """
            CREATE TABLE bill_period (
              period VARCHAR PRIMARY KEY,
              starts_at TIMESTAMPTZ NOT NULL,
              ends_at TIMESTAMPTZ NOT NULL,
              timezone VARCHAR NOT NULL,
              book VARCHAR NOT NULL,
              lines BIGINT NOT NULL,
              digest VARCHAR NOT NULL,
              seal VARCHAR NOT NULL,
              closed_at TIMESTAMPTZ NOT NULL,
              closed_by VARCHAR NOT NULL
            )
            """,
            """
            CREATE TABLE bill_line (
              id VARCHAR NOT NULL,
              period VARCHAR NOT NULL,
              corrects VARCHAR,
              corrects_line VARCHAR,
              day DATE NOT NULL,
              workspace_id VARCHAR,
              app_id VARCHAR,
              app_name VARCHAR,
              person VARCHAR,
              department VARCHAR,
              cost_centre VARCHAR,
              model_provider VARCHAR,
              model_name VARCHAR,
              kind VARCHAR NOT NULL,
              currency VARCHAR,
              per BIGINT,
              unit_price DECIMAL(18, 12),
              tier BIGINT,
              discount DECIMAL(5, 4),
              quantity BIGINT NOT NULL,
              list_amount DECIMAL(38, 16) NOT NULL,
              amount DECIMAL(38, 16) NOT NULL
            )
            """,
        ),
    ),
    Migration(
        14,
        "lines say which knowledge base was kept, and questions find every line rated",
        (
            "ALTER TABLE bill_line ADD COLUMN dataset_id VARCHAR",
            "ALTER TABLE bill_line ADD COLUMN dataset_name VARCHAR",
            """
            CREATE TABLE rated_line (
              created_at TIMESTAMPTZ NOT NULL,
              period VARCHAR NOT NULL,
              corrects VARCHAR,
              workspace_id VARCHAR,
              app_id VARCHAR,
              person VARCHAR,
              department VARCHAR,
              cost_centre VARCHAR,
              model_provider VARCHAR,
              model_name VARCHAR,
              dataset_id VARCHAR,
              kind VARCHAR NOT NULL,
              currency VARCHAR,
              quantity BIGINT NOT NULL,
              list_amount DECIMAL(38, 16) NOT NULL,
              amount DECIMAL(38, 16) NOT NULL
            )
            """,
            """
            CREATE TABLE rated_period (
              period VARCHAR PRIMARY KEY,
              state VARCHAR NOT NULL,
              rated_at TIMESTAMPTZ NOT NULL
            )
            """,
        ),
    ),
    Migration(
        15,
        "what became of reports on their way is kept",
        (
            """
            CREATE TABLE report_delivery (
              report VARCHAR NOT NULL,
              fingerprint VARCHAR NOT NULL,
              destination VARCHAR NOT NULL,
              starts_at TIMESTAMPTZ NOT NULL,
              ends_at TIMESTAMPTZ NOT NULL,
              state VARCHAR NOT NULL,
              tries BIGINT NOT NULL,
              problem VARCHAR,
              created_at TIMESTAMPTZ NOT NULL,
              next_at TIMESTAMPTZ,
              delivered_at TIMESTAMPTZ
            )
            """,
        ),
    ),
)

LATEST = MIGRATIONS[-1].number


def migrate(session: Session, now: datetime) -> None:
    """Bring a file to today's schema, each step with its number in one transaction. Raises StoreError."""
    found = version(session)
    session.run(_VERSIONS)
    for step in MIGRATIONS[found:]:
        with session.transaction():
            for statement in step.statements:
                session.run(statement)
            session.run("INSERT INTO schema_version VALUES (?, ?, ?)", [step.number, step.name, now])
    session.run("INSERT OR IGNORE INTO milestone VALUES (?, ?)", [COUNTING_SINCE, now])


def require_latest(session: Session) -> None:
    """For a file opened read-only: it must have today's schema already. Raises StoreError."""
    found = version(session)
    if found < LATEST:
        raise StoreError(
            f"store {session.path}: its schema is {found}, of an older dify-metric (now {LATEST}); "
            "open it once for writing"
        )


def version(session: Session) -> int:
    """The number of the last step a file has seen; 0 for an empty one. Raises StoreError when it is not ours to use."""
    tables = {name for (name,) in session.run("SELECT table_name FROM duckdb_tables() WHERE NOT internal")}
    if not tables:
        return 0
    if "schema_version" not in tables:
        raise StoreError(f"store {session.path}: it is a DuckDB file of something else; name another path")
    ((found,),) = session.run("SELECT coalesce(max(version), 0) FROM schema_version")
    if found > LATEST:
        raise StoreError(
            f"its schema is {found}, of a newer dify-metric (this one knows {LATEST}); upgrade dify-metric"
        )
    return int(found)
