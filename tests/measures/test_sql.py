"""The SQL of each kind of query, kept in sql/*.sql so that a change shows up as a diff.

`REWRITE_SQL=1 pytest tests/measures/test_sql.py` writes the files anew.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from collector.measures.catalogue import CATALOGUE
from collector.measures.dimensions import DIMENSIONS
from collector.measures.query import Query
from collector.measures.rolled import compile_rolled
from collector.measures.sources import State
from collector.period import Grain
from tests.measures.facts import DAY, period

KEPT = Path(__file__).parent / "sql"
FACTS_ALONE = State()
"""Of a store that keeps no rollups."""
BERLIN = period(datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC), "Europe/Berlin")

KINDS: dict[str, dict[str, Any]] = {
    "count": {"measures": "runs"},
    "count_by_app_name": {"measures": "runs", "by": "app,app_name,mode"},
    "several_of_one_table": {"measures": "runs,failed_runs", "by": "app"},
    "several_tables": {"measures": "runs,messages,tokens", "by": "workspace"},
    "ratio": {"measures": "run_failure_ratio"},
    "spread": {"measures": "response_time", "by": "app"},
    "speed": {"measures": "output_speed", "by": "model", "grain": "hour"},
    "total": {"measures": "tokens"},
    "money": {"measures": "cost", "by": "model", "grain": "month"},
    "distinct": {"measures": "conversations", "grain": "day"},
    "union_of_values": {"measures": "active_users", "by": "app", "grain": "week"},
    "union_of_rows": {"measures": "request_rate", "grain": "minute"},
    "of_now": {"measures": "complete_until", "by": "stream"},
    "ratings": {"measures": "satisfaction"},
    "day_over_a_clock_change": {"measures": "runs", "grain": "day", "period": BERLIN},
    "filtered": {"measures": "tokens", "where": ["app:a", "app:b", "!model:", "user:u1"]},
    "debugging_only": {"measures": "runs", "where": ["is_debug:true"]},
    "of_dify": {"measures": "dify_satisfaction,dify_session_interactions", "grain": "day"},
    "last_look": {"measures": "knowledge_documents,knowledge_segments", "by": "dataset_name", "grain": "day"},
    "by_payer": {"measures": "tokens", "by": "department"},
    "finished": {"measures": "finished_runs", "moment": "finished"},
}


def compiled(asked: dict[str, Any]) -> str:
    statements = compile_rolled(Query.of(**{"period": DAY} | asked), FACTS_ALONE)
    return "".join(f"{statement.sql};\n{_told(statement.parameters)}" for statement in statements)


def _told(parameters: dict[str, object]) -> str:
    return "".join(
        f"-- ${name} = {value.isoformat() if isinstance(value, datetime) else repr(value)}\n"
        for name, value in parameters.items()
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_sql_is_the_one_we_keep(kind):
    kept = KEPT / f"{kind}.sql"
    if os.environ.get("REWRITE_SQL"):
        kept.write_text(compiled(KINDS[kind]))

    assert compiled(KINDS[kind]) == kept.read_text()


def test_only_sql_of_a_kind_is_kept():
    assert {kept.stem for kept in KEPT.glob("*.sql")} == set(KINDS)


@pytest.mark.parametrize("measure", [*CATALOGUE], ids=lambda measure: measure.name)
def test_every_measure_runs_with_every_dimension_and_grain(facts, measure):
    grains = [*Grain] if measure.at else [Grain.NONE]
    for grain in grains:
        facts.ask(measure.name, grain=grain)
    for dimension in measure.by:
        facts.ask(measure.name, by=dimension.name, where={f"!{dimension.name}": None})


@pytest.mark.parametrize("dimension", DIMENSIONS, ids=lambda dimension: dimension.name)
def test_every_dimension_splits_something(dimension):
    assert any(dimension in measure.by for measure in CATALOGUE)


@pytest.mark.parametrize("written", ["'; DROP TABLE run; --", "$since", "%s", "\x00", "\\", "🙂" * 50])
def test_nothing_a_user_wrote_stands_in_the_sql(facts, written):
    query = Query.of("runs", period=DAY, by="app", where={"app": written, "!status": [written, "failed"]})

    plain = Query.of("runs", period=DAY, by="app", where=["app:x", "!status:y", "!status:z"])
    (statement,) = compile_rolled(query, FACTS_ALONE)

    assert statement.sql == compile_rolled(plain, FACTS_ALONE)[0].sql
    assert list(statement.parameters.values()).count(written) == 2
    assert facts.ask("runs", by="app", where={"app": written}).rows == []
