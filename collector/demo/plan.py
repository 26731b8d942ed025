"""What one request will do, before it happens: the request, its plan, and how often something goes wrong.

A `Plan` holds the rows of a request as they begin and what they end with. `drawing` makes it; the past writes it at
once, a stream or the passing clock walks through it.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from collector.demo.rows import (
    Account,
    App,
    AppLog,
    Conversation,
    EndUser,
    Json,
    Message,
    MessageEnd,
    Node,
    Run,
    RunEnd,
    Usage,
)

CONTAINERS = frozenset({"iteration", "loop"})


class Habits(msgspec.Struct, frozen=True, kw_only=True):
    """How often something goes wrong, per model call or per request."""

    failures: float = 0.015  # per model call
    stops: float = 0.006  # per request with a workflow
    disconnects: float = 0.006  # per message
    feedback: float = 0.12  # per message


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One request of one person to one app."""

    app: App
    user: EndUser | Account
    at: datetime
    query: str
    inputs: Json
    invoke_from: str = "service-api"  # service-api, web-app, explore, trigger, debugger
    triggered_from: str = "app-run"
    conversation: Conversation | None = None
    turn: int = 0  # messages there are in the conversation


class Plan(msgspec.Struct, kw_only=True):
    """The rows of one request: as they begin, and what they end with."""

    app: App
    user: EndUser | Account
    at: datetime
    query: str
    inputs: Json
    turn: int
    is_debug: bool
    task_id: str
    stops_at: datetime
    answer: str = ""
    usage: Usage | None = None
    run: Run | None = None
    run_end: RunEnd | None = None
    nodes: tuple[Node, ...] = ()
    children: dict[str, Plan] = {}  # by the id of the calling node
    log: AppLog | None = None
    conversation: Conversation | None = None
    message: Message | None = None
    message_end: MessageEnd | None = None
    fate: str = "ends"  # ends, stopped, disconnected

    def child_of(self, node: Node) -> Plan | None:
        """The plan of the run this node starts."""
        return self.children.get(node.id) if self.children else None

    @property
    def seconds(self) -> float:
        """How long the whole request takes."""
        if self.message_end and self.run_end is None:
            return self.message_end.provider_response_latency
        return self.run_end.elapsed_time if self.run_end else 0.0

    @property
    def partial_answer(self) -> str:
        """What had been said when the caller stopped it."""
        return self.answer[: max(1, len(self.answer) // 4)]


class Course(msgspec.Struct):
    """How far one run has come while it is drawn."""

    asked: Asked
    run_id: str
    seconds: float = 0.0
    index: int = 0
    steps: int = 0
    exceptions: int = 0
    usage: Usage | None = None
    error: str | None = None
    answer: str = ""
    nodes: list[Node] = []
    children: dict[str, Plan] = {}

    @property
    def now(self) -> datetime:
        """The instant the course has reached."""
        return self.asked.at + timedelta(seconds=self.seconds)

    def next_index(self) -> int:
        """The place of the next node in the order of starting."""
        self.index += 1
        return self.index

    def add(self, node: Node) -> None:
        """A node came to its end."""
        self.nodes.append(node)
        self.seconds = round(self.seconds + (node.elapsed or 0.0), 6)
        self.exceptions += node.retries + (node.status in ("failed", "exception"))
        self.index += node.retries
        if node.usage:
            self.usage = self.usage.plus(node.usage) if self.usage else node.usage
        if node.status == "failed":
            self.error = node.error
