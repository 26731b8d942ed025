"""Builders of streams for tests: an event is one function, a stream is a list of events."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from collector.ledger import Telling
from collector.records import TAP, Message, ModelCall, NodeExecution, Record, Run
from collector.tap.usage import Stream
from tests.builders import NOON

RECORDED = Path(__file__).parent.parent / "recorded"
RECORDED_STREAMS = sorted([*(RECORDED / "captured").glob("*.sse"), *(RECORDED / "sse").glob("*.sse")])

AT = int(NOON.timestamp())
HEARD = Telling(source=TAP, seen_at=NOON, is_debug=False)

Event = dict[str, Any]


def usage(asked: int, answered: int, **fields: Any) -> Event:
    """A usage object of Dify."""
    return {
        "prompt_tokens": asked,
        "completion_tokens": answered,
        "total_tokens": asked + answered,
        "total_price": "0.0000100",
        "currency": "USD",
        "latency": 1.5,
    } | fields


def event(name: str, *, run: str | None = "r1", message: str | None = None, **rest: Any) -> Event:
    """Any event; `run` and `message` are the ids around it."""
    found: Event = {"event": name}
    if message:
        found |= {"conversation_id": "c1", "message_id": message, "created_at": AT}
    if run:
        found |= {"workflow_run_id": run}
    return found | {"task_id": "t1"} | rest


def started(*, run: str = "r1", message: str | None = None, **data: Any) -> Event:
    """workflow_started"""
    inputs = {"sys.app_id": "shop", "sys.user_id": "anna"}
    body = {"id": run, "workflow_id": "w1", "inputs": inputs, "created_at": AT} | data
    return event("workflow_started", run=run, message=message, data=body)


def finished(tokens: int | None, *, run: str = "r1", message: str | None = None, **data: Any) -> Event:
    """workflow_finished"""
    body = {
        "id": run,
        "workflow_id": "w1",
        "status": "succeeded",
        "elapsed_time": 2.0,
        "total_tokens": tokens,
        "total_steps": 3,
        "created_by": {"id": "u1", "user": "anna"},
        "created_at": AT,
        "finished_at": AT + 2,
    } | data
    return event("workflow_finished", run=run, message=message, data=body)


def node_started(id: str, node_type: str | None = "llm", **data: Any) -> Event:
    """node_started"""
    return event("node_started", data={"id": id, "node_id": id, "node_type": node_type, "created_at": AT} | data)


def node(id: str, node_type: str | None = "llm", *, name: str = "node_finished", **data: Any) -> Event:
    """node_finished of a node that tells nothing of itself unless a test says so"""
    body = {
        "id": id,
        "node_id": id,
        "node_type": node_type,
        "title": id,
        "status": "succeeded",
        "elapsed_time": 1.0,
        "process_data": None,
        "outputs": None,
        "execution_metadata": None,
        "created_at": AT,
        "finished_at": AT + 1,
    } | data
    if node_type is None:
        del body["node_type"], body["title"]
    return event(name, data=body)


def llm(id: str, asked: int, answered: int, **data: Any) -> Event:
    """node_finished of an LLM as 1.11 tells it: three times the same tokens"""
    spent = usage(asked, answered)
    return node(
        id,
        **{
            "process_data": {"usage": spent, "model_provider": "langgenius/openai/openai", "model_name": "gpt-4o"},
            "outputs": {"text": "…", "usage": spent},
            "execution_metadata": {"total_tokens": asked + answered, "total_price": "0.0000100", "currency": "USD"},
        }
        | data,
    )


def container(id: str, tokens: int, *, kind: str = "iteration", **data: Any) -> Event:
    """iteration_completed or loop_completed, with the sum of what ran inside"""
    return node(
        id,
        kind,
        name=f"{kind}_completed",
        **({"total_tokens": tokens, "execution_metadata": {"total_tokens": tokens}, "created_at": AT + 1} | data),
    )


def message_end(spent: Event | None, *, message: str | None = "m1", run: str | None = None, **metadata: Any) -> Event:
    """message_end"""
    return event("message_end", run=run, message=message, id=message, metadata={"usage": spent} | metadata)


def piece(text: str, *, name: str = "message", message: str = "m1") -> Event:
    """A piece of an answer."""
    return event(name, run=None, message=message, answer=text)


def wire(events: Iterable[Event], *, spaced: bool = False) -> bytes:
    """What goes over the network: compact as since 1.9, or `spaced` and escaped as before."""
    separators = (", ", ": ") if spaced else (",", ":")
    return "".join(
        f"data: {json.dumps(event, ensure_ascii=spaced, separators=separators)}\n\n" for event in events
    ).encode()


def cut(body: bytes, size: int) -> Iterator[bytes]:
    """`body` in chunks of `size` bytes."""
    return (body[start : start + size] for start in range(0, len(body), size))


def heard(events: Iterable[Event] | bytes, telling: Telling = HEARD, **how: Any) -> Heard:
    """The records of one stream."""
    is_stopped = how.pop("is_stopped", False)
    stream = Stream(telling, **how)
    stream.feed(events if isinstance(events, bytes) else wire(events))
    return Heard(stream.close(is_stopped=is_stopped), stream.failures)


class Heard:
    """What a stream told, sorted for reading in a test."""

    def __init__(self, records: list[Record], failures: Counter[str]) -> None:
        self.records, self.failures = records, failures
        self.runs = [record for record in records if isinstance(record, Run)]
        self.nodes = [record for record in records if isinstance(record, NodeExecution)]
        self.calls = [record for record in records if isinstance(record, ModelCall)]
        self.messages = [record for record in records if isinstance(record, Message)]

    @property
    def tokens(self) -> int:
        """What all calls together are known to have spent."""
        return sum(call.tokens or 0 for call in self.calls)

    @property
    def spent(self) -> dict[str, int | None]:
        """Tokens by call."""
        return {call.id: call.tokens for call in self.calls}

    @property
    def run(self) -> Run:
        """The only run."""
        (found,) = self.runs
        return found

    @property
    def call(self) -> ModelCall:
        """The only call."""
        (found,) = self.calls
        return found

    @property
    def message(self) -> Message:
        """The only message."""
        (found,) = self.messages
        return found
