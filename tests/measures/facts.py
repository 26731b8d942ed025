"""A database with facts in it, for tests: the tables as they are, filled by plain inserts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import duckdb
import msgspec

from collector.bill_lines import RatedLine
from collector.measures.query import Answer, Query, run
from collector.period import Period, zone
from collector.records import Record, Watermark
from collector.store.tables import TABLES
from tests.builders import NOON

_NUMBERS = {
    "created_at": "TIMESTAMPTZ",
    "quantity": "BIGINT",
    "list_amount": "DECIMAL(38, 16)",
    "amount": "DECIMAL(38, 16)",
}
"""The columns of `rated_line` that are no texts."""


class Facts:
    """`rows` as a Store has it, and `put` without a Store's merging."""

    def __init__(self) -> None:
        self._connection = duckdb.connect(config={"threads": 1})
        self._connection.execute("SET TimeZone = 'UTC'")
        for table in TABLES:
            self._connection.execute(table.ddl)
        self._connection.execute(
            "CREATE TABLE watermark (source VARCHAR, stream VARCHAR, app_id VARCHAR, complete_until TIMESTAMPTZ, "
            "origin VARCHAR)"
        )
        self._connection.execute(
            "CREATE TABLE payer_span (kind VARCHAR, subject VARCHAR, starts_at TIMESTAMPTZ, ends_at TIMESTAMPTZ, "
            "person VARCHAR, department VARCHAR, cost_centre VARCHAR, place VARCHAR)"
        )
        lines = ", ".join(f"{name} VARCHAR" for name in RatedLine.__struct_fields__ if name not in _NUMBERS)
        numbers = ", ".join(f"{name} {kind}" for name, kind in _NUMBERS.items())
        self._connection.execute(f"CREATE TABLE rated_line ({lines}, {numbers})")

        for table in ("rollup_kept", "rollup_mark", "retired_day"):
            self._connection.execute(
                f"CREATE TABLE {table} (facts VARCHAR, level VARCHAR, starts_at TIMESTAMPTZ, number BIGINT)"
            )

    def put(self, *records: Record | Watermark) -> None:
        kinds: dict[str, list[dict[str, object]]] = {}
        for record in records:
            kinds.setdefault(type(record).table, []).append(msgspec.structs.asdict(record))
        for table, told in kinds.items():
            places = ", ".join([f"({', '.join('?' * len(told[0]))})"] * len(told))
            values = [value for each in told for value in each.values()]
            self._connection.execute(f"INSERT INTO {table} ({', '.join(told[0])}) VALUES {places}", values)

    def clear(self) -> None:
        for table in (*(table.name for table in TABLES), "watermark", "payer_span"):
            self._connection.execute(f"TRUNCATE {table}")

    def close(self) -> None:
        self._connection.close()

    def rows(self, sql: str, parameters: Mapping[str, object] | Sequence[object] = ()) -> list[tuple[object, ...]]:
        return self._connection.execute(sql, parameters).fetchall()

    def ask(self, measures: str | Iterable[str], *, now: datetime | None = None, **parts: Any) -> Answer:
        """The answer for the day around NOON, unless `period` says otherwise."""
        return run(Query.of(measures, **{"period": DAY} | parts), self.rows, now=now)

    def value(self, measure: str, **parts: Any) -> object:
        """The one number that answers."""
        (row,) = self.ask(measure, **parts).rows
        return row[measure]

    def by(self, dimension: str, measure: str, **parts: Any) -> dict[object, object]:
        """Dimension value -> number."""
        answer = self.ask(measure, by=dimension, **parts)
        return {row[answer.columns[0]]: row[measure] for row in answer.rows}


def period(start: datetime, end: datetime, tz: str = "UTC") -> Period:
    return Period(start, end, zone(tz))


DAY = period(NOON.replace(hour=0), NOON.replace(hour=0) + timedelta(days=1))
