"""Steps 6 to 12: several Difys, who pays and who may ask, portal events, what was set aside, rollups."""

from __future__ import annotations

from collector.store.migrations.step import Migration

STEPS = (
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
)
