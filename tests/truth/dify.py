"""A Dify of one version that lives through requests: its rows, with usage wherever that version writes it.

What comes in are requests as plain data; what goes out are rows, and what every call really spent. Nothing of ours is
used here, so that nothing of ours can be wrong on both sides.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.truth.steps import (
    Call,
    Container,
    Copy,
    Failure,
    Fate,
    Remote,
    Request,
    Search,
    Spent,
    Step,
    Talk,
    Tool,
    Version,
)

Json = dict[str, Any]
PROVIDER, MODEL = "langgenius/openai/openai", "gpt-4o-mini"


@dataclass(frozen=True)
class Known:
    """What one call is, as far as this version of Dify knows; `spent` None: it failed, or nobody counted."""

    id: str
    app_id: str
    is_debug: bool
    spent: Spent | None
    has_split: bool = True  # input and output apart, cached and reasoning tokens


@dataclass
class Node:
    """A row of workflow_node_executions."""

    id: str
    node_id: str
    kind: str
    status: str = "succeeded"
    error: str | None = None
    process: Json | None = field(default_factory=dict)
    outputs: Json | None = field(default_factory=dict)
    metadata: Json | None = field(default_factory=dict)
    attempts: int = 0


@dataclass
class Moment:
    """Something that happens to a node: it starts, is tried again, or ends."""

    what: str
    node: Node


@dataclass
class Message:
    """A row of messages. `usage` is what its stream says, `tokens` what Dify keeps."""

    id: str
    conversation_id: str
    app_id: str
    mode: str
    status: str = "normal"
    error: str | None = None
    answer: str = "…"
    tokens: tuple[int, int] = (0, 0)
    usage: Json | None = None
    is_priced: bool = False
    latency: float = 2.0
    thoughts: int = 0
    fate: Fate = Fate.ENDS
    run_id: str | None = None


@dataclass
class Run:
    """A row of workflow_runs with its nodes, and what its stream tells."""

    id: str
    app_id: str
    request: Request
    is_child: bool = False
    status: str = "succeeded"
    error: str | None = None
    total: int = 0
    nodes: list[Node] = field(default_factory=list)
    moments: list[Moment] = field(default_factory=list)
    usages: list[Spent] = field(default_factory=list)  # of its own calls, in order
    message: Message | None = None

    @property
    def is_debug(self) -> bool:
        return self.request.is_debug


class Dify:
    """Everything that happened, and what every call spent (`known`, by the id under which it is told)."""

    def __init__(self, version: Version, chance: Random) -> None:
        self.version, self.chance = version, chance
        self.runs: list[Run] = []
        self.messages: list[Message] = []
        self.known: dict[str, Known] = {}
        self._named = 0

    def name(self) -> str:
        self._named += 1
        return str(uuid.uuid5(uuid.NAMESPACE_OID, str(self._named)))

    def ask(self, request: Request) -> Run:
        """A request to an app with nodes."""
        run = self._play(request, is_child=False)
        if request.is_chatflow:
            self._answer(run)
        return run

    def talk(self, talk: Talk) -> Message:
        """A request to an app without nodes. What a stopped or abandoned answer spent, Dify does not know."""
        message = Message(self.name(), self.name(), f"app-{talk.mode}", talk.mode, fate=talk.fate)
        self.messages.append(message)
        if talk.spent is None or talk.fate is Fate.ABORTED:
            message.status, message.error, message.answer, message.latency = "error", "429 Too Many Requests", "", 0.0
            self._know(message.id, message.app_id, is_debug=False, spent=None)
        elif talk.fate is Fate.STOPPED:
            self._know(message.id, message.app_id, is_debug=False, spent=None)
        else:
            message.usage, message.is_priced = usage_json(talk.spent), True
            message.tokens, message.thoughts = (talk.spent.asked, talk.spent.answered), talk.thoughts
            self._know(message.id, message.app_id, is_debug=False, spent=talk.spent)
            if talk.fate is Fate.LEFT:
                message.answer, message.tokens, message.latency = "", (0, 0), 0.0
        return message

    def _answer(self, run: Run) -> None:
        message = Message(self.name(), self.name(), run.app_id, "advanced-chat", run_id=run.id, fate=run.request.fate)
        usages = run.usages[-1:] if self.version < (0, 8) else run.usages
        asked, answered = sum(each.asked for each in usages), sum(each.answered for each in usages)
        message.usage = usage_json(Spent(asked, answered, price=sum(each.price for each in usages)))
        if run.status == "failed":
            message.status, message.error, message.answer, message.latency = "error", run.error, "", 0.0
            message.usage = None
        elif run.request.fate is Fate.LEFT:
            message.answer, message.latency = "", 0.0
        elif run.request.fate is not Fate.STOPPED and self.version != (1, 9, 1):
            message.tokens = asked, answered
        run.message = message
        self.messages.append(message)

    def _know(self, key: str, app_id: str, *, is_debug: bool, spent: Spent | None, has_split: bool = True) -> None:
        self.known[key] = Known(key, app_id, is_debug, spent, has_split)

    def _play(self, request: Request, *, is_child: bool) -> Run:
        mode = "chatflow" if request.is_chatflow else "workflow"
        run = Run(self.name(), f"app-{mode}{'-tool' if is_child else ''}", request, is_child)
        self.runs.append(run)
        play = _Play(self, run)
        run.moments = play.side_by_side([play.step(step, {}) for step in request.steps])
        run.total = play.total
        if any(node.status == "failed" for node in run.nodes):
            run.status, run.error = "failed", "Run failed: 429 Too Many Requests"
        elif any(node.status == "exception" for node in run.nodes):
            run.status = "partial-succeeded"
        if request.fate is Fate.STOPPED:
            run.status, run.error, run.total = "running", None, 0
            open_node = Node(self.name(), "last", "llm", status="running", process=None, outputs=None)
            run.nodes.append(open_node)
            run.moments.append(Moment("start", open_node))
        elif request.fate is Fate.ABORTED:
            run.status, run.error, run.total = "failed", "aborted", 0
        self.chance.shuffle(run.nodes)
        return run


class _Play:
    """One run, played step by step."""

    def __init__(self, dify: Dify, run: Run) -> None:
        self.dify, self.run, self.version, self.chance = dify, run, dify.version, dify.chance
        self.total = 0  # as this version adds it up
        self.inside = 0  # what the innermost container will say

    def side_by_side(self, branches: list[list[Moment]]) -> list[Moment]:
        """Branches that run in parallel, each in its own order."""
        branches, mixed = [branch[::-1] for branch in branches if branch], []
        while branches:
            branch = self.chance.choice(branches)
            mixed.append(branch.pop())
            branches = [branch for branch in branches if branch]
        return mixed

    def step(self, step: Step, around: Json) -> list[Moment]:
        match step:
            case Call():
                return self._call(step, around)
            case Failure():
                return self._fail(step, around)
            case Copy():
                node = self._node(step.kind, around)
                copy = {"usage": usage_json(Spent(self.total + 3, 4, price=5))}
                node.outputs, node.process = copy, {**copy, "text": "…"}
                return _whole(node)
            case Search():
                node = self._node("knowledge-retrieval", around)
                node.process, node.outputs = {"usage": NOTHING}, {"result": []}
                node.metadata |= {"total_tokens": 0, "total_price": "0", "currency": "USD"}  # type: ignore[operator]
                return _whole(node)
            case Remote():
                node = self._node("tool", around)
                spent = Spent(step.tokens, 0, price=5)
                node.outputs = {"usage": usage_json(spent), "json": []}
                node.metadata |= {"tool_info": {"provider_type": "mcp"}}  # type: ignore[operator]
                return _whole(node)
            case Container():
                return self._container(step, around)
            case Tool():
                return self._tool(step, around)

    def _node(self, kind: str, around: Json) -> Node:
        # nodes of one place of the graph share its id, as those of several rounds do
        node = Node(self.dify.name(), f"{kind}-{self.chance.randrange(3)}", kind, metadata=dict(around))
        self.run.nodes.append(node)
        return node

    def _know(self, node: Node, spent: Spent | None, *, has_split: bool = True) -> None:
        self.dify._know(node.id, self.run.app_id, is_debug=self.run.is_debug, spent=spent, has_split=has_split)

    def _call(self, call: Call, around: Json) -> list[Moment]:
        node, spent = self._node(call.kind, around), call.spent
        node.attempts = call.attempts
        usage, totals = usage_json(spent), totals_json(spent)
        named = {"model_mode": "chat", "prompts": PROMPTS, "usage": usage, "finish_reason": "stop"}
        named |= {"model_provider": PROVIDER, "model_name": MODEL}
        node.metadata |= totals  # type: ignore[operator]
        has_split = True
        if call.kind == "agent":
            has_split = self.version >= (1, 15)
            self._agent(node, call)
        elif self.version < (1, 0):
            node.outputs = {"text": "…", "usage": usage}
        elif call.kind == "parameter-extractor":
            node.process = named
            node.outputs = {"__is_success": 1, **({"__usage": usage} if self.version >= (1, 8) else {})}
        elif call.kind == "knowledge-retrieval":
            node.process, node.outputs = {"usage": usage}, {"result": []}
        else:
            node.process, node.outputs = named, {"text": "…", "usage": usage, "finish_reason": "stop"}
            if call.is_truncated:
                node.process = {"model_mode": "chat", "prompts": PROMPTS}
        self._know(node, spent, has_split=has_split)
        self.run.usages.append(spent)
        self._add(spent.total, around)
        return _whole(node)

    def _agent(self, node: Node, call: Call) -> None:
        """Rounds are told as running totals: the last is the whole."""
        spent, parts = call.spent, range(1, call.rounds + 1)
        rounds = [
            {"label": f"ROUND {part}", "metadata": totals_json(spent, of=call.rounds, part=part)} for part in parts
        ]
        assert node.metadata is not None
        if self.version >= (1, 15):
            node.metadata["agent_log"] = {"rounds": rounds, "agent_backend": {"usage": usage_json(spent)}}
        else:
            node.metadata["agent_log"] = rounds
        zeros = usage_json(spent) | {"prompt_tokens": 0, "completion_tokens": 0}
        for name in ("cached_tokens", "completion_tokens_details"):
            zeros.pop(name, None)
        node.outputs = {"text": "…", **({"usage": zeros} if self.version >= (1, 5) else {})}

    def _fail(self, failure: Failure, around: Json) -> list[Moment]:
        node = self._node(failure.kind, around)
        node.status, node.error = ("exception" if failure.strategy else "failed"), "429 Too Many Requests"
        if failure.strategy:
            node.metadata["error_strategy"] = failure.strategy  # type: ignore[index]
            node.outputs = {"text": "fallback", "error_message": node.error, "error_type": "InvokeRateLimitError"}
        self._know(node, None)
        return _whole(node)

    def _container(self, step: Container, around: Json) -> list[Moment]:
        node = self._node(step.kind, around)
        node.node_id = f"{step.kind}-{node.id[:8]}"
        before, self.inside = self.inside, 0
        rounds = [
            self.side_by_side(
                [self.step(inner, {f"{step.kind}_id": node.node_id, f"{step.kind}_index": place}) for inner in each]
            )
            for place, each in enumerate(step.rounds)
        ]
        node.metadata |= {"total_tokens": self.inside, "total_price": "0.5", "currency": "USD"}  # type: ignore[operator]
        node.outputs = {"output": [], "usage": usage_json(Spent(self.inside, 0, price=5))}
        again = {(0, 11, 0): -self.inside, (0, 15, 2): 3 * self.inside, (1, 9, 2): self.inside}.get(self.version, 0)
        if step.kind == "loop" and self.version < (1, 0):
            again = 0
        self.total = max(self.total + again, 0)
        self.inside += before
        start, *_, end = (*_whole(node),)
        return [start, *self.side_by_side(rounds), end]

    def _tool(self, step: Tool, around: Json) -> list[Moment]:
        child = self.dify._play(Request(step.inside, is_debug=self.run.is_debug), is_child=True)
        node = self._node("tool", around)
        node.outputs = {"text": "…", "files": [], "json": []}
        node.metadata |= {"tool_info": {"provider_type": "workflow"}}  # type: ignore[operator]
        if self.version >= (1, 10):
            spent = Spent(child.total, 0, price=5)
            node.outputs["usage"] = usage_json(spent)
            node.metadata |= totals_json(spent)  # type: ignore[operator]
            self._add(child.total, around)
        return _whole(node)

    def _add(self, tokens: int, around: Json) -> None:
        self.total += tokens
        if around:
            self.inside += tokens


def _whole(node: Node) -> list[Moment]:
    return [Moment("start", node), *[Moment("retry", node)] * node.attempts, Moment("end", node)]


PROMPTS = [{"role": "user", "text": 'usage and "model_name" of 苹果', "files": []}]
NOTHING = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0, "total_price": "0.0", "currency": "USD"}


def usage_json(spent: Spent) -> Json:
    """A usage as Dify writes it, with the details that some plugins tell."""
    found: Json = {
        "prompt_tokens": spent.asked,
        "completion_tokens": spent.answered,
        "total_tokens": spent.total,
        "total_price": price(spent.price),
        "currency": spent.currency,
        "latency": 1.5,
        "time_to_first_token": 0.25,
    }
    if spent.cached is not None:
        found["cached_tokens"] = spent.cached
    if spent.reasoning is not None:
        found["completion_tokens_details"] = {"reasoning_tokens": spent.reasoning}
    return found


def totals_json(spent: Spent, *, of: int = 1, part: int = 1) -> Json:
    """The totals of execution_metadata; of several rounds, as they stand after one of them."""
    return {
        "total_tokens": spent.total * part // of,
        "total_price": price(spent.price),
        "currency": spent.currency,
    }


def price(ten_millionths: int) -> str:
    """Ten-millionths as Dify's decimal text."""
    return f"{ten_millionths // 10**7}.{ten_millionths % 10**7:07d}"


def every_part(dify: Dify) -> Iterator[Run | Message]:
    """Everything that can be told of: runs, and messages of apps without nodes."""
    yield from dify.runs
    yield from (message for message in dify.messages if message.run_id is None)
