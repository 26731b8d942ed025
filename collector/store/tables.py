"""Record class -> table: columns, types and which of two tellings of one fact is believed.

The columns are the record's fields, in their order, and two of the store's own. Nothing here opens a database.
"""

from __future__ import annotations

import types
import typing
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache

import msgspec
import pyarrow as pa

from collector.records import (
    FACTS,
    ApiKey,
    App,
    Conversation,
    Dataset,
    DatasetDay,
    Feedback,
    Message,
    Model,
    ModelCall,
    NodeExecution,
    PortalEvent,
    PortalValue,
    Pull,
    QueueSample,
    Record,
    Request,
    Retrieval,
    Run,
    Statistic,
)

SQL_TYPES = {
    str: "VARCHAR",
    bool: "BOOLEAN",
    int: "BIGINT",
    float: "DOUBLE",
    datetime: "TIMESTAMPTZ",
    Decimal: "DECIMAL(18,9)",
}
ARROW_TYPES = {
    str: pa.string(),
    bool: pa.bool_(),
    int: pa.int64(),
    float: pa.float64(),
    datetime: pa.timestamp("us", tz="UTC"),
    Decimal: pa.decimal128(18, 9),
}

ID_CRC = "id_crc"
"""The store's own column: CRC-32 of `id`. Facts told again are found by it at a fraction of what reading ids takes."""

WEIGHTS = "weights"
"""The store's own column: NULL where all of a row is from one telling, else column -> what its value weighs
(`collector.store.merge`) for those that weigh another number than the row."""


@dataclass(frozen=True)
class Table:
    """How one kind of record is kept.

    `is_dated`: rows are found again within a bound around `created_at`, so a merge does not read the whole table.
    `newest_wins`: the fact changes over its life (an app's name, a rating), so the later telling replaces the earlier;
    otherwise final beats unfinished, a leaf beats an estimate and the better source beats the other. Either way a
    blank never replaces a value. `first_stays`: it cannot change, so of two tellings the earlier is believed.
    """

    record: type[Record]
    name: str
    columns: dict[str, type]
    is_dated: bool
    newest_wins: bool
    first_stays: bool = False

    @property
    def ddl(self) -> str:
        """CREATE TABLE for a fresh database."""
        lines = ",\n  ".join(f"{column} {SQL_TYPES[kind]}" for column, kind in self.columns.items())
        return f"CREATE TABLE {self.name} (\n  {lines},\n  {ID_CRC} UINTEGER,\n  {WEIGHTS} MAP(VARCHAR, BIGINT)\n)"

    @property
    def arrow_schema(self) -> pa.Schema:
        """The schema of a batch of these records."""
        return pa.schema([(column, ARROW_TYPES[kind]) for column, kind in self.columns.items()])

    @property
    def stored_schema(self) -> pa.Schema:
        """The schema of rows as the store keeps them."""
        own = pa.schema([(ID_CRC, pa.uint32()), (WEIGHTS, pa.map_(pa.string(), pa.int64()))])
        return pa.unify_schemas([self.arrow_schema, own])

    @property
    def values(self) -> tuple[str, ...]:
        """The columns two tellings of a fact can differ in."""
        return tuple(column for column in self.columns if column != "id")


def _columns(record: type[Record]) -> dict[str, type]:
    hints = typing.get_type_hints(record)
    found = {}
    for field in msgspec.structs.fields(record):
        kinds = [hints[field.name]]
        if typing.get_origin(kinds[0]) in (typing.Union, types.UnionType):
            kinds = [kind for kind in typing.get_args(kinds[0]) if kind is not type(None)]
        (found[field.name],) = kinds
    return found


_DATED = (Run, NodeExecution, ModelCall, Message, Request, Pull, QueueSample, Retrieval)
_TOLD_ONCE = (PortalEvent, PortalValue)
_CHANGING = (App, Conversation, Feedback, Dataset, DatasetDay, Model, ApiKey, Statistic)


@cache
def table_of(record: type[Record]) -> Table:
    """The table of a record class."""
    return Table(record, record.table, _columns(record), record in _DATED, record in _CHANGING, record in _TOLD_ONCE)


TABLES = tuple(table_of(record) for record in FACTS)
