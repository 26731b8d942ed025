"""The promise that matters most: whatever is nested in what, the calls of all runs add up to what was spent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from tests.tap.streams import (
    Event,
    container,
    finished,
    heard,
    llm,
    message_end,
    node,
    node_started,
    started,
    usage,
)


@dataclass(frozen=True)
class Call:
    """An LLM node: `attempts` failed tries before the one that spent."""

    asked: int
    answered: int
    attempts: int = 0


@dataclass(frozen=True)
class Failure:
    """An LLM node that spent nothing."""


@dataclass(frozen=True)
class Copy:
    """A code node that repeats somebody's usage."""


@dataclass(frozen=True)
class Container:
    kind: str
    rounds: tuple[tuple[object, ...], ...]


@dataclass(frozen=True)
class Tool:
    """A workflow called as a tool: a run of its own."""

    inside: tuple[object, ...]


def nested(inner: st.SearchStrategy) -> st.SearchStrategy:
    several = st.lists(inner, max_size=3).map(tuple)
    return st.builds(
        Container, kind=st.sampled_from(["iteration", "loop"]), rounds=st.lists(several, max_size=3).map(tuple)
    ) | st.builds(Tool, inside=several)


CALLS = st.builds(Call, st.integers(1, 10_000), st.integers(0, 10_000), st.integers(0, 2))
STEPS = st.lists(
    st.recursive(CALLS | st.just(Failure()) | st.just(Copy()), nested, max_leaves=8), min_size=1, max_size=4
).map(tuple)


@dataclass
class Execution:
    """Plays a run as Dify would: its events, its true spending, and the runs its tools start."""

    name: str
    chance: Random
    is_told: bool = True
    spent: int = 0  # by the calls of this run itself
    reported: int = 0  # as Dify totals it: tools included
    nodes: int = 0
    children: list[Execution] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def play(self, steps: tuple[object, ...]) -> Execution:
        inside = self._side_by_side([self._step(step, {}) for step in steps])
        end = message_end(usage(self.reported, 0), message=f"m-{self.name}")
        self.events = [
            started(run=self.name),
            *({**event, "workflow_run_id": self.name} for event in inside),
            *self.chance.choice([[], [end]]),
            finished(self.reported, run=self.name),
        ]
        return self

    def everyone(self) -> Iterator[Execution]:
        yield self
        for child in self.children:
            yield from child.everyone()

    def _side_by_side(self, branches: list[list[Event]]) -> list[Event]:
        """Branches that run in parallel: their events mixed, each branch in its own order."""
        branches, mixed = [branch[::-1] for branch in branches if branch], []
        while branches:
            branch = self.chance.choice(branches)
            mixed.append(branch.pop())
            branches = [branch for branch in branches if branch]
        return mixed

    def _step(self, step: object, around: Event) -> list[Event]:
        self.nodes += 1
        id = f"{self.name}-n{self.nodes}"
        match step:
            case Call():
                return self._call(id, step, around)
            case Failure():
                return [node_started(id), node(id, status="failed", error="429", **around)]
            case Copy():
                copy = {"usage": usage(self.reported, 0)} if self.is_told else None
                return [node(id, "code", outputs=copy, process_data=copy, **around)]
            case Container():
                return self._container(id, step, around)
            case Tool():
                return self._tool(id, step, around)
        raise AssertionError(step)

    def _call(self, id: str, call: Call, around: Event) -> list[Event]:
        self.spent += call.asked + call.answered
        self.reported += call.asked + call.answered
        retries = [node(id, name="node_retry", status="retry", error="429", **around)] * call.attempts
        if not self.is_told:
            return [node_started(id), *retries, node(id, **around)]
        place = self.chance.choice(["process_data", "outputs", "everywhere"])
        only = {} if place == "everywhere" else {"process_data": None, "outputs": None, "execution_metadata": None}
        if only:
            only[place] = {"usage": usage(call.asked, call.answered)}
        return [node_started(id), *retries, llm(id, call.asked, call.answered, **(only | around))]

    def _container(self, id: str, step: Container, around: Event) -> list[Event]:
        before, inside = self.reported, {f"{step.kind}_id": id}
        rounds = [self._side_by_side([self._step(inner, inside) for inner in part]) for part in step.rounds]
        end = container(id, self.reported - before, kind=step.kind)
        return [node_started(id, step.kind), *self._side_by_side(rounds), end]

    def _tool(self, id: str, step: Tool, around: Event) -> list[Event]:
        child = Execution(f"{self.name}-c{len(self.children)}", self.chance).play(step.inside)
        self.children.append(child)
        self.reported += child.reported
        totals = {"total_tokens": child.reported, "tool_info": {"provider_type": "workflow"}}
        return [node(id, "tool", outputs={"usage": usage(child.reported, 0)}, execution_metadata=totals, **around)]


@given(STEPS, st.randoms(use_true_random=False))
def test_the_calls_of_all_runs_add_up_to_what_was_spent(steps, chance):
    parent = Execution("r", chance).play(steps)

    for run in parent.everyone():
        told = heard(run.events)
        assert told.tokens == run.spent
        assert told.run.leaves_known is True
        assert not any(call.is_estimate for call in told.calls)
        assert len({call.id for call in told.calls}) == len(told.calls)


@given(STEPS, st.randoms(use_true_random=False))
def test_a_run_whose_nodes_tell_nothing_is_estimated_at_what_it_spent(steps, chance):
    parent = Execution("r", chance, is_told=False).play(steps)

    told = heard(parent.events)

    assert told.tokens == parent.spent
    assert [call.id for call in told.calls if call.tokens] == (["r"] if parent.spent else [])


@given(STEPS, st.randoms(use_true_random=False), st.data())
def test_a_stream_cut_anywhere_counts_no_more_than_was_spent(steps, chance, data):
    parent = Execution("r", chance).play(steps)

    told = heard(parent.events[: data.draw(st.integers(0, len(parent.events)))])

    assert told.tokens <= parent.spent
