"""What is kept of facts beside the facts: totals by quarter hour, hour, shift and day, and who was there. Plain data.

What comes in is nothing; what goes out is ROLLUPS. The store fills their tables from the facts and keeps them when the
facts go; measures answer from them what they can. Both read it here what a table and a column mean. Nothing here runs
SQL. A rollup holds rows of facts with the same keys that began in one step, and ended in one:

    created_at    start of the step in which they began
    finished_at   start of the step in which they ended (began, where no end is known); only of facts that have an end
    keys          columns of the fact, as they are in it
    facts         how many
    first_at, last_at   when the first and the last of them began
    then counts and sums, by their names

All steps are cut in UTC. A quarter hour fits every time zone's days; a shift, of eight hours, those of China.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import msgspec

from collector.records import (
    Message,
    ModelCall,
    NodeExecution,
    PortalEvent,
    PortalValue,
    Pull,
    Record,
    Request,
    Retrieval,
    Run,
)

CALL_BOUNDS = tuple(0.01 * 2**step for step in range(14))
"""0.01 to 81.92 seconds, each twice the one before: model calls and answers."""

RUN_BOUNDS = (0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0)
"""Workflow runs, nodes and our own pulls."""

TOKEN_BOUNDS = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
"""Seconds for one output token."""

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
"""Rollups hold nothing older."""


class Level(StrEnum):
    """How long the steps of a table are."""

    QUARTER = "quarter"
    HOUR = "hour"
    SHIFT = "shift"
    DAY = "day"

    @property
    def length(self) -> timedelta:
        """Of one step."""
        return _LENGTHS[self]

    def start(self, at: datetime) -> datetime:
        """When the step that holds an instant began."""
        return at - (at - BEGINNING) % self.length


_LENGTHS = {
    Level.QUARTER: timedelta(minutes=15),
    Level.HOUR: timedelta(hours=1),
    Level.SHIFT: timedelta(hours=8),
    Level.DAY: timedelta(days=1),
}


@dataclass(frozen=True)
class Counted:
    """How many facts fulfil all of `where`."""

    name: str
    where: tuple[str, ...]


@dataclass(frozen=True)
class Summed:
    """The sum of a column over the facts that fulfil all of `where`; NULL where none of them knows it."""

    name: str
    column: str
    where: tuple[str, ...] = ()


@dataclass(frozen=True)
class Spread:
    """What mean and histogram of a column need, over the facts that fulfil all of `where`: its sum under `name`, how
    many know it under `name_known`, and by day how many lie between two `bounds`, the upper one included: `name_0` up
    to the first, and so on.
    """

    name: str
    column: str
    bounds: tuple[float, ...]
    where: tuple[str, ...] = ()

    @property
    def known(self) -> Counted:
        """How many know it."""
        return Counted(f"{self.name}_known", (*self.where, f"({self.column}) IS NOT NULL"))

    @property
    def total(self) -> Summed:
        """Its sum."""
        return Summed(self.name, self.column, self.where)

    @property
    def bands(self) -> tuple[str, ...]:
        """The names of its columns, one for each bound."""
        return tuple(f"{self.name}_{place}" for place in range(len(self.bounds)))


@dataclass(frozen=True)
class Told:
    """Which values of a column there were, in a table of its own: they are told apart, not counted."""

    name: str
    column: str
    keys: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Rollup:
    """What is kept of one kind of fact. SQL is over the fact's own columns, spelled as the catalogue spells it."""

    record: type[Record]
    keys: tuple[str, ...]
    counts: tuple[Counted, ...] = ()
    sums: tuple[Summed, ...] = ()
    spreads: tuple[Spread, ...] = ()
    told: tuple[Told, ...] = ()

    def __post_init__(self) -> None:
        named = {*self.keys, *(key for each in self.told for key in (*each.keys, each.column))}
        if unknown := named - {each.name for each in msgspec.structs.fields(self.record)}:
            raise ValueError(f"{self.facts} has no column {sorted(unknown)}")

    @property
    def facts(self) -> str:
        """The table of its facts."""
        return self.record.table

    @property
    def has_end(self) -> bool:
        """Whether its facts may end later than they began."""
        return "finished_at" in self.record.__struct_fields__

    @property
    def counted(self) -> tuple[Counted, ...]:
        """Every count there is."""
        return (*self.counts, *(each.known for each in self.spreads))

    @property
    def summed(self) -> tuple[Summed, ...]:
        """Every sum there is."""
        return (*self.sums, *(each.total for each in self.spreads))

    @property
    def digest(self) -> str:
        """Changes when it means something else, or is kept of other steps."""
        return hashlib.sha256(repr((self, _LENGTHS)).encode()).hexdigest()

    def table(self, level: Level, told: Told | None = None) -> str:
        """The table that holds it, or the values of one of its columns."""
        return f"{self.facts}_{told.name}_by_{level}" if told else f"{self.facts}_by_{level}"


class Drift(msgspec.Struct, frozen=True, kw_only=True):
    """A step of a rollup that does not say what the facts say."""

    facts: str  # the table of the facts
    level: Level
    table: str  # of the rollup
    at: datetime  # start of the step
    rows: int  # that differ
    kept: int  # facts (or values) that the rollup counts in those rows
    there: int  # that there are


_GENERATED = (
    "output_tokens IS NOT NULL",
    "time_to_first_token_seconds IS NOT NULL",
    "latency_seconds > time_to_first_token_seconds",
)
_TIMED = ("output_tokens IS NOT NULL", "latency_seconds > 0")
_UNPRICED = ("tokens > 0", "coalesce(cost, 0) = 0")
_GENERATION = "latency_seconds - time_to_first_token_seconds"
_REPORTED_TOKENS = "coalesce(reported_input_tokens, 0) + coalesce(reported_output_tokens, 0)"
_REPORTED_COST = f"coalesce(reported_cost, CASE WHEN source <> 'database' AND {_REPORTED_TOKENS} = 0 THEN 0 END)"
_OF_APP = ("app_id", "workspace_id", "source")
_OUTCOME = ("status", "is_final", "error_class")

ROLLUPS: tuple[Rollup, ...] = (
    Rollup(
        record=Run,
        keys=(*_OF_APP, *_OUTCOME, "triggered_from", "is_debug"),
        sums=(Summed("reported_tokens", "coalesce(reported_tokens, 0)"),),
        spreads=(Spread("elapsed", "elapsed_seconds", RUN_BOUNDS),),
        told=(Told("user", "user_id", (*_OF_APP, "triggered_from", "is_debug")),),
    ),
    Rollup(
        record=NodeExecution,
        keys=(*_OF_APP, *_OUTCOME, "node_type", "is_debug"),
        spreads=(Spread("elapsed", "elapsed_seconds", RUN_BOUNDS),),
    ),
    Rollup(
        record=ModelCall,
        keys=(
            *(*_OF_APP, *_OUTCOME, "node_type", "model_provider", "model_name", "currency"),
            *("is_debug", "is_estimate", "is_vision"),
        ),
        counts=(
            Counted("usage_unknown", ("tokens IS NULL",)),
            Counted("unpriced", _UNPRICED),
            Counted("generated", _GENERATED),
            Counted("timed", _TIMED),
        ),
        sums=(
            *(Summed(name, name) for name in ("tokens", "input_tokens", "output_tokens")),
            *(Summed(name, name) for name in ("cached_input_tokens", "reasoning_output_tokens", "cost")),
            Summed("unpriced_tokens", "tokens", _UNPRICED),
            Summed("generation", _GENERATION, _GENERATED),
            Summed("generated_tokens", "output_tokens", _GENERATED),
            Summed("timed_tokens", "output_tokens", _TIMED),
            Summed("timed_seconds", "latency_seconds", _TIMED),
        ),
        spreads=(
            Spread("latency", "latency_seconds", CALL_BOUNDS),
            Spread("first_token", "time_to_first_token_seconds", CALL_BOUNDS),
            Spread("token_time", f"({_GENERATION}) / output_tokens", TOKEN_BOUNDS, (*_GENERATED, "output_tokens > 0")),
        ),
    ),
    Rollup(
        record=Message,
        keys=(*_OF_APP, *_OUTCOME, "invoke_from", "user_kind", "is_debug"),
        counts=(Counted("runless", ("run_id IS NULL",)),),
        sums=(
            Summed("reported_tokens", _REPORTED_TOKENS),
            Summed("reported_output_tokens", "coalesce(reported_output_tokens, 0)"),
            Summed("reported_cost", f"CAST({_REPORTED_COST} AS DECIMAL(18, 7))"),
            Summed("waited", "coalesce(latency_seconds, 0)"),
        ),
        spreads=(
            Spread("latency", "latency_seconds", CALL_BOUNDS),
            Spread("first_token", "time_to_first_token_seconds", CALL_BOUNDS),
        ),
        told=(
            Told("user", "user_id", (*_OF_APP, "invoke_from", "user_kind", "is_debug")),
            Told("conversation", "conversation_id", (*_OF_APP, "invoke_from", "is_debug")),
        ),
    ),
    Rollup(
        record=Request,
        keys=(*_OF_APP, "route", "status_code", "interrupted_by", "error_class", "key_fingerprint"),
        spreads=(
            Spread("duration", "duration_seconds", CALL_BOUNDS),
            Spread("first_token", "time_to_first_token_seconds", CALL_BOUNDS),
        ),
    ),
    Rollup(
        record=Pull,
        keys=("app_id", "source", "origin", "stream", "error_class", "is_complete"),
        sums=tuple(Summed(name, name) for name in ("requests", "records", "parse_failures")),
        spreads=(Spread("seconds", "seconds", RUN_BOUNDS),),
    ),
    Rollup(record=Retrieval, keys=(*_OF_APP, "dataset_id", "origin", "user_kind")),
    Rollup(
        record=PortalEvent,
        keys=(*_OF_APP, "event_type", "event_source"),
        told=(Told("visitor", "session_id", (*_OF_APP, "event_type", "event_source", "user_id")),),
    ),
    Rollup(
        record=PortalValue,
        keys=(*_OF_APP, "event_type", "event_source", "name"),
        sums=(Summed("number", "number"),),
    ),
)
"""Every rollup there is."""
