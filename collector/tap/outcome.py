"""What one request was told to have done -> its records. No events, no bytes: `usage.py` reads those.

A stream (or a blocking answer) is read into one Outcome; `records` then settles what only the end can: which calls
stand, whether an estimate is due in their place, whose run it was. One model call, one row: nodes are the calls of a
run, a message is the call of an app without nodes, and no total is ever a call beside its parts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

from msgspec.structs import asdict, replace

from collector.ledger import (
    CALLING_NODES,
    CHAT_MODES,
    FLOW_MODES,
    Telling,
    Usage,
    estimated_call,
    estimated_usage,
    message_call,
)
from collector.records import Conversation, Message, ModelCall, NodeExecution, Record, Run, User

Fact = TypeVar("Fact", Run, NodeExecution, ModelCall)


@dataclass(kw_only=True, slots=True)
class Outcome:
    """Everything one request told, as it comes in. Holds no prompt and no answer."""

    telling: Telling  # its ids are filled in as they become known
    mode: str | None = None  # of the app, where the caller knows it
    invoke_from: str | None = None
    run: Run | None = None
    nodes: dict[str, NodeExecution] = field(default_factory=dict)
    calls: dict[str, ModelCall] = field(default_factory=dict)
    told_by_tools: dict[str, int] = field(default_factory=dict)  # tool node -> tokens that other runs account for
    is_from_start: bool = True  # False: a stream that goes on with a run begun in another one
    is_whole: bool = False  # a stream from its start, of which nothing was lost
    message_at: datetime | None = None
    message_usage: Usage | None = None  # of message_end; None: it did not come
    is_annotation: bool = False  # answered from a stored annotation: no model was asked
    has_failed: bool = False
    error_class: str | None = None
    is_stopped: bool = False  # only the caller, who saw the stop request, knows it of apps without runs
    user_id: str | None = None
    user_kind: str | None = None
    session_id: str | None = None
    is_streamed: bool = False
    first_piece_seconds: float | None = None  # since the request began

    @property
    def is_flow(self) -> bool:
        """Whether nodes, not messages, are the calls."""
        return bool(self.run or self.nodes or self.telling.run_id or self.mode in FLOW_MODES)

    def add_run(self, run: Run) -> None:
        """Take another telling of the run: a start, a pause, an end."""
        self.run = better(self.run, run)

    def add_node(self, node: NodeExecution, call: ModelCall | None) -> None:
        """Take another telling of a node; replays may know less than what they repeat."""
        self.nodes[node.id] = better(self.nodes.get(node.id), node)
        if call is not None:
            self.calls[call.id] = better(self.calls.get(call.id), call)

    def records(self) -> list[Record]:
        """The facts, each once, with every id the request told."""
        return [self._with_ids(record) for record in self._facts()]

    def _facts(self) -> Iterator[Record]:
        estimate = self._estimate()
        if self.run:
            yield replace(
                self.run,
                user_id=self.user_id,
                user_kind=self.user_kind,
                session_id=self.session_id,
                leaves_known=self._are_leaves_known() or None,
            )
        yield from self.nodes.values()
        # a call that succeeded without telling tokens is among those the estimate stands for
        yield from (c for c in self.calls.values() if not (estimate and c.tokens is None and c.status == "succeeded"))
        if estimate:
            yield estimate
        if self.telling.message_id:
            yield from self._message_facts(self.telling.message_id)
        if self.user_id and self.user_kind:
            yield User(
                source=self.telling.source,
                seen_at=self.telling.seen_at,
                id=self.user_id,
                kind=self.user_kind,
                workspace_id=self.telling.workspace_id,
                session_id=self.session_id,
            )

    def _message_facts(self, message_id: str) -> Iterator[Record]:
        message = self._message(message_id)
        yield message
        if message.is_final and not self.is_flow and self._is_message_a_call():
            yield replace(
                message_call(
                    self.message_usage or Usage(),
                    self.telling,
                    message_id=message_id,
                    status=message.status,
                    created_at=self.message_at,
                ),
                error_class=message.error_class,
            )
        if self.telling.conversation_id:
            yield Conversation(
                source=self.telling.source,
                seen_at=self.telling.seen_at,
                id=self.telling.conversation_id,
                user_id=self.user_id,
                user_kind=self.user_kind,
                session_id=self.session_id,
                is_debug=self.telling.is_debug,
                updated_at=self.message_at,
            )

    def _is_message_a_call(self) -> bool:
        return not self.is_annotation and (self.mode is None or self.mode in CHAT_MODES)

    def _message(self, message_id: str) -> Message:
        usage, status = self.message_usage or Usage(), self._message_status()
        # in a flow this latency is that of its model calls
        took = usage.latency_seconds if status != "open" and not self.is_flow else None
        return Message(
            source=self.telling.source,
            seen_at=self.telling.seen_at,
            id=message_id,
            conversation_id=self.telling.conversation_id,
            run_id=self.telling.run_id,
            status=status,
            is_final=status != "open",
            invoke_from=self.invoke_from or ("debugger" if self.telling.is_debug else None),
            is_debug=self.telling.is_debug,
            user_id=self.user_id,
            user_kind=self.user_kind,
            session_id=self.session_id,
            created_at=self.message_at,
            finished_at=self.message_at + timedelta(seconds=took) if self.message_at and took is not None else None,
            latency_seconds=took,
            time_to_first_token_seconds=self._first_token_seconds(usage),
            reported_input_tokens=usage.input_tokens,
            reported_output_tokens=usage.output_tokens,
            reported_cost=usage.cost,
            currency=usage.currency,
            error_class=self.error_class if status == "failed" else None,
        )

    def _first_token_seconds(self, usage: Usage) -> float | None:
        """As the user saw it: measured where there was a clock, else as Dify says; never of an answer in one piece."""
        if not self.is_streamed:
            return None
        measured = self.first_piece_seconds
        return usage.time_to_first_token_seconds if measured is None else measured

    def _message_status(self) -> str:
        if self.has_failed or (self.run and self.run.status == "failed"):
            return "failed"
        if self.is_stopped or (self.run and self.run.status == "stopped"):
            return "stopped"
        if self.run and self.run.status == "paused":
            return "open"
        return "open" if self.message_usage is None else "succeeded"

    def _estimate(self) -> ModelCall | None:
        """The stand-in for calls that told nothing, once the request is over.

        A run that goes on after a pause told its first calls in an earlier stream: nothing can be said for it.
        """
        if not self.is_flow or not self.is_from_start or any(call.tokens is not None for call in self.calls.values()):
            return None
        is_over = self.run.is_final if self.run else False
        if not is_over and (self.message_usage is None or (self.run and self.run.status == "paused")):
            return None
        usage = estimated_usage(
            self.run.reported_tokens if self.run else None,
            self.message_usage or Usage(),
            sum(self.told_by_tools.values()),
        )
        key = self.run.id if self.run else self.telling.run_id or self.telling.message_id
        if usage is None or key is None:
            return None
        run = self.run or Run(
            source=self.telling.source,
            seen_at=self.telling.seen_at,
            id=key,
            status="succeeded",
            is_final=True,
            is_debug=self.telling.is_debug,
            created_at=self.message_at,
        )
        return replace(estimated_call(run, self.telling, usage), run_id=self.telling.run_id)

    def _are_leaves_known(self) -> bool:
        """Whether every call of the run stands in `calls` with its tokens and its model."""
        if not self.is_whole or not self.run or not self.run.is_final:
            return False
        if any(node.node_type is None or not self._is_settled(node) for node in self.nodes.values()):
            return False
        spent = sum(call.tokens or 0 for call in self.calls.values()) + sum(self.told_by_tools.values())
        return (self.run.reported_tokens or 0) <= spent

    def _is_settled(self, node: NodeExecution) -> bool:
        if node.node_type not in CALLING_NODES:
            return True
        call = self.calls.get(node.id)
        return call is not None and call.model_name is not None and (call.tokens is not None or call.status == "failed")

    def _with_ids(self, record: Record) -> Record:
        ids = {
            name: value
            for name in ("app_id", "workspace_id", "run_id", "message_id", "conversation_id")
            if (value := getattr(self.telling, name)) and getattr(record, name, value) is None
        }
        return replace(record, **ids) if ids else record


def better(old: Fact | None, new: Fact) -> Fact:
    """Two tellings of one fact -> one: final over unfinished, later over earlier, known over blank."""
    if old is None:
        return new
    first, second = (old, new) if old.is_final and not new.is_final else (new, old)
    blanks = {
        name: value
        for name, value in asdict(second).items()
        if getattr(first, name) is None and name != "error_class"  # it belongs to its status
    }
    if old.created_at and new.created_at:  # a container's end tells its own instant as the beginning
        blanks["created_at"] = min(old.created_at, new.created_at)
    return replace(first, **blanks)
