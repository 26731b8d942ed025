"""Records -> Arrow tables, one per kind, and columns that came as Arrow -> the shape of their table.

Nothing here merges or stores; a value that does not fit its column is a Misfit that names the column.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from operator import attrgetter

import pyarrow as pa

from collector.errors import Misfit, StoreError
from collector.records import Record
from collector.store.tables import ARROW_TYPES, TABLES, Table

_TABLE_OF = {table.record: table for table in TABLES}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EVER, NEVER = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)
"""Since ever and for ever, as instants that compare."""

_REQUIRED = ("id", "source", "seen_at", "is_final", "is_estimate")


def by_table(records: Iterable[Record]) -> list[tuple[Table, pa.Table]]:
    """Records of any kinds, mixed -> one Arrow table for each kind there is. Raises StoreError."""
    kinds: dict[type[Record], list[Record]] = defaultdict(list)
    for record in records:
        kinds[type(record)].append(record)
    return [(table, _columns(table, kind)) for record, kind in kinds.items() for table in (table_for(record),)]


def table_for(record: type[Record]) -> Table:
    """The table of a kind of record. Raises StoreError for what is none."""
    try:
        return _TABLE_OF[record]
    except KeyError:
        raise StoreError(
            f"{record.__name__} is no kind of fact; there are {', '.join(t.name for t in TABLES)}"
        ) from None


def fitted(table: Table, rows: pa.Table) -> pa.Table:
    """Arrow columns under their names -> the table's columns in order; absent ones are blank. Raises StoreError."""
    unknown = set(rows.column_names) - set(table.columns)
    if unknown:
        raise StoreError(f"{table.name} has no column {', '.join(sorted(unknown))}; nothing was stored")
    columns = []
    for field in table.arrow_schema:
        if field.name not in rows.column_names:
            columns.append(pa.nulls(len(rows), field.type))
            continue
        try:
            columns.append(rows[field.name].cast(field.type))
        except pa.ArrowInvalid as error:
            raise _misfit(table, field.name, error) from None
    found = pa.table(columns, schema=table.arrow_schema)
    for column in _REQUIRED:
        if column in table.columns and found[column].null_count:
            raise StoreError(f"{table.name}: {column} is blank in some rows; nothing was stored")
    return found


def around(low: datetime, high: datetime, slack: timedelta) -> dict[str, datetime]:
    """`low` and `high`, widened by `slack` as far as the calendar goes."""
    return {
        "low": low - slack if low - EVER > slack else low,
        "high": high + slack if NEVER - high > slack else high,
    }


def _columns(table: Table, records: list[Record]) -> pa.Table:
    columns = []
    for field in table.arrow_schema:
        told = list(map(attrgetter(field.name), records))
        try:
            columns.append(_instants(told) if pa.types.is_timestamp(field.type) else pa.array(told, field.type))
        except (ValueError, TypeError, OverflowError) as error:
            raise _misfit(table, field.name, error) from None
    return pa.table(columns, schema=table.arrow_schema)


def _instants(told: list[datetime | None]) -> pa.Array:
    # Half the time of letting Arrow look at each time zone, and an instant without one is a TypeError.
    since = pa.array([at and at - _EPOCH for at in told], pa.duration("us"))
    return since.cast(pa.int64()).cast(ARROW_TYPES[datetime])


def _misfit(table: Table, column: str, error: Exception) -> Misfit:
    return Misfit(
        f"{table.name}.{column}: a value does not fit {table.arrow_schema.field(column).type} "
        f"({type(error).__name__}); nothing of the batch was stored",
        field=f"{table.name}.{column}",
    )
