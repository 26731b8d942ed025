"""Steps 13 to 15: closed bills with their lines, what was rated, and reports on their way."""

from __future__ import annotations

from collector.store.migrations.step import Migration

STEPS = (
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
