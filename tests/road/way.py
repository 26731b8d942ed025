"""A simulated Dify, a collector and a real store, joined; and what the world's own rows say should come out.

What comes in is a world; what goes out are facts to compare. What is expected is worked out from the rows of the world
alone, never from the JSON that Dify makes of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import httpx
from msgspec.structs import replace

from collector import records
from collector.collect.collector import Collector, Options
from collector.demo import Faults, Habits, Life, World, make_world, simulated_dify
from collector.demo.rows import EndUser, Message, Node, Run
from collector.faces.asking import Asker
from collector.faces.rest_models import Asked
from collector.pull.console import Access, Console
from collector.records import App, Conversation, Pull
from tests.collect.shelf import Shelf
from tests.demo.conftest import ADMIN_KEY, CALM, NOW, Clock, at_once

URL = "http://dify"
FINAL = frozenset({"succeeded", "failed", "partial-succeeded"})
EVENTFUL = Habits(failures=0.08, stops=0.05, disconnects=0.05, feedback=0.25)
RUN_AGE, MESSAGE_AGE = timedelta(hours=24), timedelta(minutes=10)


class Road:
    """One Dify and one collector of it, over any number of passes."""

    def __init__(
        self,
        world: World,
        *,
        now: datetime = NOW,
        life: Life | None = None,
        version: str = "1.11.1",
        store: Shelf | None = None,
        **how: Any,
    ) -> None:
        self.world, self.clock, self.faults, self.store = world, Clock(now), Faults(), store or Shelf()
        self.dify = simulated_dify(
            world,
            clock=self.clock,
            life=life,
            version=version,
            admin_key=ADMIN_KEY,
            faults=self.faults,
            pace=at_once,
            habits=CALM,
        )
        self.options = Options(**{"read_completions": True, **how})
        self._collector: Collector | None = None

    def client(self) -> httpx.AsyncClient:
        """Somebody else who asks this Dify, with the admin key."""
        headers = {"Authorization": f"Bearer {ADMIN_KEY}", "X-WORKSPACE-ID": self.world.workspace_id}
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.dify), base_url=URL, headers=headers)

    def console(self) -> Console:
        """The collector's way in: no time passes between two tries."""
        access = Access(url=URL, admin_key=ADMIN_KEY, workspace_id=self.world.workspace_id)
        return Console(
            access,
            retries=2,
            longest_wait_seconds=0.001,
            transport=httpx.ASGITransport(self.dify),
            clock=lambda: self.clock().timestamp(),
        )

    async def pull(self) -> list[Pull]:
        """One pass, by a collector that remembers the ones before."""
        self._collector = self._collector or Collector(
            self.console(),
            self.store.put,
            self.store.rows,
            self.store.watermark,
            options=self.options,
            clock=self.clock,
        )
        return await self._collector.collect()

    def ask(self, *measures: str, tz: str = "UTC", **asked: Any) -> Sequence[dict[str, Any]]:
        """Rows of an answer, as REST gives it."""
        rows: Sequence[dict[str, Any]] = self.answer(*measures, tz=tz, **asked)["rows"]
        return rows

    def answer(self, *measures: str, tz: str = "UTC", **asked: Any) -> dict[str, Any]:
        """A whole answer, as REST gives it."""
        question = Asked(measure=list(measures), tz=tz, **asked)
        return Asker(self.store.rows, self.clock()).answered(question).plain()


def a_past(**how: Any) -> World:
    """Two days in which everything happens: failures, stops, disconnects, ratings, triggers, tests in the console."""
    return make_world(**{"days": 2, "runs_per_day": 40, "seed": 79, "now": NOW, "habits": EVENTFUL, **how})


def expected_runs(world: World, now: datetime) -> dict[str, tuple[Any, ...]]:
    """Run id -> app, status, user, kind of user, trigger, test or not, start, seconds, tokens, steps."""
    return {run.id: _run(run, now) for run in world.runs.values()}


def expected_messages(world: World, now: datetime) -> dict[str, tuple[Any, ...]]:
    """Message id -> app, conversation, run, status, user, start, seconds, tokens in and out."""
    return {message.id: _message(message, now) for message in world.messages.values()}


def expected_nodes(world: World) -> dict[tuple[str, str, str], list[tuple[Any, ...]]]:
    """(run, node of the graph, type) -> (status, start, seconds, tokens) of each of its executions, sorted."""
    found: dict[tuple[str, str, str], list[tuple[Any, ...]]] = {}
    for run_id, nodes in world.nodes.items():
        for node in nodes:
            found.setdefault((run_id, node.stage.id, node.stage.type), []).append(_node(node))
    return {place: sorted(executions, key=repr) for place, executions in found.items()}


def open_before(world: World, instant: datetime) -> set[str]:
    """Runs that began before an instant and have no end."""
    return {run.id for run in world.runs.values() if run.created_at < instant and run.status not in FINAL}


def lasting(store: Shelf) -> dict[tuple[str, str], Any]:
    """Everything stored that must not depend on when and how often it was read."""
    apps = store.of(App)
    # a rating given and withdrawn between two pulls was never seen
    found = {key: fact for key, fact in store.told().items() if getattr(fact, "rating", None) != "withdrawn"}
    for key, fact in found.items():
        # reading a completion marks it as read, and that moves its conversation: our own doing
        if isinstance(fact, Conversation) and apps[fact.app_id or ""].mode == "completion":
            found[key] = replace(fact, updated_at=None)
        # who asked for a run of a chatflow stands at its message; the run says it only while it is open
        if isinstance(fact, records.Run) and fact.message_id:
            found[key] = replace(fact, user_id=None, user_kind=None, session_id=None)
    return found


def second(at: datetime) -> datetime:
    """An instant as Dify's JSON tells it."""
    return at.replace(microsecond=0)


def _run(run: Run, now: datetime) -> tuple[Any, ...]:
    is_final = run.status in FINAL
    status = run.status if is_final or now - second(run.created_at) <= RUN_AGE else "stale"
    told: Callable[[Any], Any] = lambda value: value if is_final else None  # noqa: E731
    return (
        run.app_id,
        status,
        run.created_by.id,
        "end_user" if isinstance(run.created_by, EndUser) else "account",
        run.triggered_from,
        run.triggered_from == "debugging",
        second(run.created_at),
        told(run.elapsed_time),
        told(run.total_tokens),
        told(run.total_steps),
    )


def _message(message: Message, now: datetime) -> tuple[Any, ...]:
    is_empty = not (message.answer or message.message_tokens or message.answer_tokens)
    has_failed = message.status == "error"
    is_open = is_empty and not has_failed and now - message.created_at < MESSAGE_AGE
    status = "failed" if has_failed else "open" if is_open else "stale" if is_empty else "succeeded"
    told: Callable[[Any], Any] = lambda value: None if status in ("open", "stale") else value  # noqa: E731
    return (
        message.app_id,
        message.conversation_id,
        message.workflow_run_id,
        status,
        message.from_end_user_id or message.from_account_id,
        message.created_at,
        message.provider_response_latency or None,
        told(message.message_tokens),
        told(message.answer_tokens),
    )


def _node(node: Node) -> tuple[Any, ...]:
    is_over = node.elapsed is not None
    return node.status, second(node.created_at), node.elapsed, node.usage.total_tokens if node.usage and is_over else 0
