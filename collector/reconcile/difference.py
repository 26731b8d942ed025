"""What reconciliation answers: one row per app, day and total, with its reasons and what is to be done about it.

Plain data that faces show. Nothing here reads or compares.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from collector.measures.measure import DIFY_USD
from collector.reconcile.causes import CAUSES
from collector.reconcile.figures import Amount
from collector.reconcile.site import MESSAGE_STREAMS, RUN_STREAMS


class Kind(StrEnum):
    """What ours is compared with. `ours` are the tokens or money of the model calls, or facts
    counted; of money all currencies are added, as Dify adds them."""

    NODE_TOKENS = "node_tokens"  # what the nodes of runs tell, containers and tools included
    RUN_TOKENS = "run_tokens"  # what Dify wrote into runs
    MESSAGE_TOKENS = "message_tokens"  # what Dify wrote into messages
    RUN_STATISTIC = "run_statistic"  # Dify's daily tokens of runs
    MESSAGE_STATISTIC = "message_statistic"  # Dify's daily tokens of messages
    MESSAGE_COST = "message_cost"  # Dify's daily cost of messages
    RUNS = "runs"  # Dify's daily runs
    MESSAGES = "messages"  # Dify's daily messages
    CONVERSATIONS = "conversations"  # Dify's daily conversations
    END_USERS = "end_users"  # Dify's daily end users of messages
    RUN_USERS = "run_users"  # Dify's daily users of runs
    REQUESTS = "requests"  # what the tap saw

    @property
    def unit(self) -> str:
        """What is counted."""
        if self is Kind.MESSAGE_COST:
            return DIFY_USD
        return "tokens" if self in _TOKENS else _UNITS.get(self, str(self))

    @property
    def statistic(self) -> str | None:
        """The name of Dify's statistic it compares with, if it does."""
        return STATISTICS.get(self)

    @property
    def streams(self) -> tuple[str, ...]:
        """The streams our side needs."""
        return MESSAGE_STREAMS if self.is_of_messages else RUN_STREAMS

    @property
    def is_of_messages(self) -> bool:
        """Whether messages are counted, or what they hold."""
        return self in _OF_MESSAGES

    @property
    def needs_calls(self) -> bool:
        """Whether our side are the model calls."""
        return self in _TOKENS or self is Kind.MESSAGE_COST


_TOKENS = frozenset(
    {Kind.NODE_TOKENS, Kind.RUN_TOKENS, Kind.MESSAGE_TOKENS, Kind.RUN_STATISTIC, Kind.MESSAGE_STATISTIC}
)
_OF_MESSAGES = frozenset(
    {
        *(Kind.MESSAGE_TOKENS, Kind.MESSAGE_STATISTIC, Kind.MESSAGE_COST),
        *(Kind.MESSAGES, Kind.CONVERSATIONS, Kind.END_USERS),
    }
)
_UNITS = {Kind.END_USERS: "users", Kind.RUN_USERS: "users"}
STATISTICS = {
    Kind.RUN_STATISTIC: "run_tokens",
    Kind.MESSAGE_STATISTIC: "message_tokens",
    Kind.RUNS: "runs",
    Kind.MESSAGES: "messages",
    Kind.MESSAGE_COST: "message_cost",
    Kind.CONVERSATIONS: "conversations",
    Kind.END_USERS: "end_users",
    Kind.RUN_USERS: "run_users",
}
"""The names of Dify's statistics."""


class State(StrEnum):
    """What is to be done about a difference."""

    EQUAL = "equal"  # there is none
    EXPLAINED = "explained"  # known causes make up for all of it
    OPEN = "open"  # they do not


@dataclass(frozen=True)
class Reason:
    """One cause (of `causes.CAUSES`), how much of the difference it makes up for, in how many facts (0: not known)."""

    cause: str
    amount: Amount
    facts: int


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Ours and theirs of one app, day and kind. `is_complete`: the day is over and was read to its end on both sides.

    The amounts of the reasons add up to `difference`, whatever happens.
    """

    app_id: str
    app_name: str | None
    workspace_id: str | None
    day: date
    timezone: str
    kind: Kind
    ours: Amount
    theirs: Amount
    reasons: tuple[Reason, ...]
    is_complete: bool

    @property
    def unit(self) -> str:
        """What is counted."""
        return self.kind.unit

    @property
    def difference(self) -> Amount:
        """Theirs less ours."""
        return self.theirs - self.ours

    @property
    def share(self) -> float | None:
        """Of ours; not known where ours is nothing."""
        return float(self.difference / self.ours) if self.ours else None

    @property
    def unexplained(self) -> Amount:
        """How much no known cause makes up for."""
        return sum(reason.amount for reason in self.reasons if not CAUSES[reason.cause].is_settled)

    @property
    def state(self) -> State:
        """Open even where two unexplained differences make up for each other."""
        if not self.reasons:
            return State.EQUAL
        return State.EXPLAINED if all(CAUSES[reason.cause].is_settled for reason in self.reasons) else State.OPEN
