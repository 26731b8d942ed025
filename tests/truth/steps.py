"""What may happen inside an app, as plain data: random nestings whose spending is known before anybody tells of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from hypothesis import strategies as st

Version: TypeAlias = tuple[int, int, int]

VERSIONS: tuple[Version, ...] = (
    (0, 6, 8),
    (0, 7, 3),
    (0, 11, 0),
    (0, 15, 2),
    (1, 0, 0),
    (1, 6, 0),
    (1, 9, 1),
    (1, 9, 2),
    (1, 11, 1),
    (1, 13, 0),
    (1, 15, 0),
)
"""One for each way in which Dify has told of usage."""


@dataclass(frozen=True)
class Spent:
    """What one call spent; `price` in ten-millionths."""

    asked: int
    answered: int
    cached: int | None = None
    reasoning: int | None = None
    price: int = 0
    currency: str = "USD"

    @property
    def total(self) -> int:
        return self.asked + self.answered


@dataclass(frozen=True)
class Call:
    """A node that calls a model; `attempts` failed tries come before the one that spends, an agent has `rounds`."""

    kind: str
    spent: Spent
    attempts: int = 0
    rounds: int = 1
    is_truncated: bool = False  # its process_data was too long to be kept whole


@dataclass(frozen=True)
class Failure:
    """A node that calls a model and fails; by its `strategy` the run goes on, None ends it as failed."""

    kind: str
    strategy: str | None


@dataclass(frozen=True)
class Copy:
    """A node that only repeats somebody's usage as a variable."""

    kind: str


@dataclass(frozen=True)
class Search:
    """A knowledge retrieval that asks no model."""


@dataclass(frozen=True)
class Remote:
    """A tool of a remote server, which reports a usage of its own."""

    tokens: int


@dataclass(frozen=True)
class Container:
    """An iteration or loop; what is in one round runs side by side."""

    kind: str
    rounds: tuple[tuple[Step, ...], ...]


@dataclass(frozen=True)
class Tool:
    """A workflow that is called as a tool: a run of its own."""

    inside: tuple[Step, ...]


Step: TypeAlias = "Call | Failure | Copy | Search | Remote | Container | Tool"


class Fate(StrEnum):
    """How a request ends."""

    ENDS = "ends"
    STOPPED = "stopped"  # somebody stops it: in Dify it runs for ever
    LEFT = "left"  # the caller goes away: its message stays empty
    ABORTED = "aborted"  # the stream says failed with nothing spent, whatever was spent


@dataclass(frozen=True)
class Request:
    """One request to an app with nodes."""

    steps: tuple[Step, ...]
    fate: Fate = Fate.ENDS
    is_chatflow: bool = False
    is_debug: bool = False
    pauses: bool = False  # somebody has to decide something in the middle


@dataclass(frozen=True)
class Talk:
    """One request to an app without nodes; nothing spent: it failed."""

    mode: str
    spent: Spent | None
    fate: Fate = Fate.ENDS
    thoughts: int = 0


CALLING = ("llm", "question-classifier", "parameter-extractor", "agent", "knowledge-retrieval")

spendings = st.builds(
    lambda asked, answered, cached, reasoning, price, currency: Spent(
        asked,
        answered,
        None if cached is None else min(cached, asked),
        None if reasoning is None else min(reasoning, answered),
        price,
        currency,
    ),
    st.integers(1, 9_000),
    st.integers(0, 9_000),
    st.none() | st.integers(0, 5_000),
    st.none() | st.integers(0, 5_000),
    st.integers(0, 10_000_000),
    st.sampled_from(["USD", "RMB"]),
)
calls = st.builds(
    Call,
    st.sampled_from(CALLING),
    spendings,
    st.integers(0, 2),
    st.integers(1, 3),
    st.sampled_from([False] * 4 + [True]),
)
plain = (
    calls
    | st.builds(Failure, st.sampled_from(CALLING[:4]), st.sampled_from(["default-value", "fail-branch", None]))
    | st.builds(Copy, st.sampled_from(["code", "end", "answer", "variable-aggregator", "template-transform", "start"]))
    | st.builds(Search)
    | st.builds(Remote, st.integers(1, 5_000))
)


def _nested(inner: st.SearchStrategy[Step]) -> st.SearchStrategy[Step]:
    several = st.lists(inner, max_size=3).map(tuple)
    return st.builds(
        Container, st.sampled_from(["iteration", "loop"]), st.lists(several, max_size=3).map(tuple)
    ) | st.builds(Tool, several)


steps = st.lists(st.recursive(plain, _nested, max_leaves=8), min_size=1, max_size=4).map(tuple)
requests = st.builds(
    Request, steps, st.sampled_from(Fate), st.booleans(), st.sampled_from([False] * 4 + [True]), st.booleans()
)
talks = st.builds(
    Talk,
    st.sampled_from(["chat", "completion", "agent-chat"]),
    st.none() | spendings,
    st.sampled_from(Fate),
    st.integers(0, 3),
)

EVERYTHING = (
    Request(
        (
            Call("llm", Spent(100, 20, cached=60, reasoning=5, price=1200), attempts=2),
            Call("question-classifier", Spent(31, 2, price=70, currency="RMB")),
            Call("parameter-extractor", Spent(41, 3, price=80)),
            Call("agent", Spent(500, 90, price=6000), rounds=3),
            Call("knowledge-retrieval", Spent(17, 0, price=11)),
            Search(),
            Failure("llm", "fail-branch"),
            Failure("llm", "default-value"),
            Copy("code"),
            Copy("end"),
            Remote(777),
            Container(
                "iteration",
                (
                    (Call("llm", Spent(10, 1, price=9)), Container("loop", ((Call("llm", Spent(7, 2, price=8)),),))),
                    (Call("llm", Spent(11, 1, price=9), is_truncated=True), Failure("llm", "default-value")),
                ),
            ),
            Tool((Call("llm", Spent(23, 5, price=30)), Tool((Call("llm", Spent(29, 6, price=40, currency="RMB")),)))),
        ),
        is_chatflow=True,
    ),
    Request((Call("llm", Spent(13, 4, price=20)), Copy("end")), Fate.STOPPED),
    Request((Call("llm", Spent(19, 4, price=20)),), is_debug=True),
)
"""Requests in which everything occurs once."""

SOME_TALKS = (
    Talk("chat", Spent(53, 7, price=90)),
    Talk("agent-chat", Spent(61, 9, price=100), thoughts=3),
    Talk("completion", None),
)
