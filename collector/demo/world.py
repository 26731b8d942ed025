"""The simulated Dify's tables, with the orders its lists are read in, and what can happen to them.

What comes in are plans and changes; what goes out are rows. Lists are kept sorted as rows come, so that reading a
page never sorts or scans an app. Nothing here draws chance (but ids), knows JSON or looks at a clock.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from datetime import datetime
from operator import attrgetter
from random import Random
from typing import TypeVar

from collector.demo.cast import Cast
from collector.demo.plan import Plan
from collector.demo.rows import (
    Account,
    App,
    AppLog,
    Call,
    Conversation,
    Dataset,
    EndUser,
    Feedback,
    Message,
    MessageEnd,
    Node,
    Retrieval,
    Run,
    RunEnd,
    Usage,
    new_id,
    rounded,
)

by_creation = attrgetter("created_at")

_Row = TypeVar("_Row")


class World:
    """One workspace: its cast and everything that happened in it."""

    def __init__(self, cast: Cast, rng: Random) -> None:
        self.rng = rng
        self.workspace_id = cast.workspace_id
        self.dataset_key = f"dataset-{rng.getrandbits(96):024x}"
        self.accounts = cast.accounts
        self.apps = {app.id: app for app in cast.apps}
        self.datasets = {dataset.id: dataset for dataset in cast.datasets}
        self.calls: list[Call] = []
        self.runs: dict[str, Run] = {}
        self.nodes: dict[str, list[Node]] = {}  # by run
        self.messages: dict[str, Message] = {}
        self.conversations: dict[str, Conversation] = {}
        self.message_of_run: dict[str, Message] = {}
        self.runs_of: defaultdict[tuple[str, str], list[Run]] = defaultdict(list)  # by app and trigger, oldest first
        self.logs_of: defaultdict[str, list[AppLog]] = defaultdict(list)
        self.messages_of: defaultdict[str, list[Message]] = defaultdict(list)
        self.messages_in: defaultdict[str, list[Message]] = defaultdict(list)  # by conversation
        self.conversations_of: defaultdict[str, list[Conversation]] = defaultdict(list)
        self.touched_of: defaultdict[str, dict[str, Conversation]] = defaultdict(dict)  # longest untouched first
        self.feedback_of: defaultdict[str, dict[tuple[str, str], Feedback]] = defaultdict(dict)
        self._feedback_on: defaultdict[str, list[Feedback]] = defaultdict(list)
        self._users: dict[tuple[str, str, str], EndUser] = {}
        self._latest: dict[tuple[str, str], Conversation] = {}

    # What is there

    def app_named(self, name: str) -> App:
        """The app of that name."""
        return next(app for app in self.apps.values() if app.name == name)

    def apps_in_mode(self, mode: str) -> list[App]:
        """The apps of one mode, oldest first."""
        return [app for app in self.apps.values() if app.mode == mode]

    def dataset_named(self, name: str) -> Dataset:
        """The dataset of that name."""
        return next(dataset for dataset in self.datasets.values() if dataset.name == name)

    def end_user(self, app: App, kind: str, session_id: str) -> EndUser:
        """The end user of that session, made when first seen."""
        key = (app.id, kind, session_id)
        if key not in self._users:
            self._users[key] = EndUser(id=new_id(self.rng), app_id=app.id, type=kind, session_id=session_id)
        return self._users[key]

    def known_user(self, app: App, session_id: str) -> EndUser | None:
        """The end user of that session, if there is one."""
        return next(
            (u for kind in ("service-api", "browser") if (u := self._users.get((app.id, kind, session_id)))), None
        )

    def latest_conversation(self, app: App, user: EndUser | Account) -> Conversation | None:
        """The conversation this person spoke in last."""
        found = self._latest.get((app.id, user.id))
        return found if found and not found.is_deleted else None

    def feedback_on(self, message_id: str) -> list[Feedback]:
        """The ratings of one message: at most one of each side."""
        return self._feedback_on.get(message_id, [])

    # What happens

    def begin(self, plan: Plan) -> None:
        """A request arrives: its rows appear, empty (none, if the app is gone)."""
        if plan.app.id not in self.apps:
            return
        if plan.conversation and plan.message:
            self._speak(plan.conversation, plan.message)
        if plan.run:
            self._start(plan, plan.run)

    def start_node(self, plan: Plan, node: Node) -> None:
        """A node starts; so does the run of the app it calls."""
        self._nodes(plan).append(node.begun())
        if child := plan.child_of(node):
            self.begin(child)

    def finish_node(self, plan: Plan, node: Node) -> None:
        """A node ends; so does the run of the app it called."""
        rows = self._nodes(plan)
        place = next((i for i in range(len(rows) - 1, -1, -1) if rows[i].id == node.id), None)
        if place is not None:  # else the run was deleted meanwhile
            self._finish(plan, rows, place, node)

    def close(self, plan: Plan, *, at: datetime | None = None) -> None:
        """A request ends as planned; without its caller (`at` is None and the plan says so) the message stays empty."""
        if plan.run and plan.run_end:
            _write(plan.run, plan.run_end)
        if plan.message and plan.message_end and plan.fate != "disconnected":
            self._fill(plan, plan.message, plan.message_end)
        elif plan.message and plan.message_end and not plan.run:
            self._call(plan, plan.usage, is_told=False)

    def stop(self, plan: Plan, answer: str, seconds: float) -> None:
        """A caller stops a request: the message ends without tokens, the run stays open for ever."""
        if plan.message and plan.message_end:
            end = MessageEnd(answer=answer, status="normal", error=None, provider_response_latency=seconds)
            _write(plan.message, end)
            if plan.run is None:
                self._call(plan, plan.usage, is_told=False)

    def settle(self, plan: Plan) -> None:
        """Everything a plan brings, at once: the past."""
        self.begin(plan)
        rows = self._nodes(plan)
        for node in plan.nodes:
            if plan.fate == "stopped" and node.finished_at and node.finished_at > plan.stops_at:
                if node.created_at <= plan.stops_at:
                    rows.append(node.begun())
                continue
            if child := plan.child_of(node):
                self.begin(child)
            rows.append(node)
            self._finish(plan, rows, len(rows) - 1, node)
        if plan.fate == "stopped":
            self.stop(plan, plan.partial_answer, (plan.stops_at - plan.at).total_seconds())
        else:
            self.close(plan)

    def rate(
        self, message: Message, by: EndUser | Account, rating: str | None, at: datetime, content: str | None
    ) -> None:
        """Give, change or (None) withdraw a rating."""
        source = "user" if isinstance(by, EndUser) else "admin"
        ratings, key = self.feedback_of[message.app_id], (message.id, source)
        row = ratings.get(key)
        if row and rating is None:
            del ratings[key]
            self._feedback_on[message.id].remove(row)
        elif row and rating:
            row.rating, row.content, row.updated_at = rating, content, at
        elif rating:
            row = ratings[key] = Feedback(
                id=new_id(self.rng),
                app_id=message.app_id,
                conversation_id=message.conversation_id,
                message_id=message.id,
                rating=rating,
                content=content,
                from_source=source,
                from_end_user_id=by.id if isinstance(by, EndUser) else None,
                from_account=by if isinstance(by, Account) else None,
                created_at=at,
                updated_at=at,
            )
            self._feedback_on[message.id].append(row)

    def read(self, conversation: Conversation, at: datetime) -> None:
        """Somebody opens a conversation in the console: the first time moves it to the top."""
        if conversation.read_at is None:
            conversation.read_at = at
            self._touch(conversation, at)

    # What goes away

    def delete_app(self, app_id: str) -> None:
        """An app goes, with everything of it; the truth stays."""
        del self.apps[app_id]
        for run in [row for key in list(self.runs_of) if key[0] == app_id for row in self.runs_of.pop(key)]:
            self._forget_run(run)
        for conversation in self.conversations_of.pop(app_id, []):
            self._forget_conversation(conversation)
        for lists in (self.logs_of, self.messages_of, self.touched_of, self.feedback_of):
            lists.pop(app_id, None)

    def delete_run(self, run_id: str) -> None:
        """One run goes."""
        run = self.runs[run_id]
        self.runs_of[run.app_id, run.triggered_from].remove(run)
        self.logs_of[run.app_id] = [log for log in self.logs_of[run.app_id] if log.run is not run]
        self._forget_run(run)

    def delete_conversation(self, conversation_id: str) -> None:
        """A conversation disappears from the console; its messages still count in the statistics."""
        self.conversations[conversation_id].is_deleted = True

    def clean_up(self, before: datetime) -> None:
        """Retention: runs, nodes, app logs, messages, feedback and conversations older than this go."""
        for rows in self.runs_of.values():
            for run in _cut(rows, before):
                self._forget_run(run)
        for logs in self.logs_of.values():
            _cut(logs, before)
        for messages in self.messages_of.values():
            for message in _cut(messages, before):
                self._forget_message(message)
        for app_id, conversations in self.conversations_of.items():
            empty = [c for c in conversations if not self.messages_in.get(c.id)]
            self.conversations_of[app_id] = [c for c in conversations if self.messages_in.get(c.id)]
            for conversation in empty:
                self._forget_conversation(conversation)

    # How rows are written

    def _speak(self, conversation: Conversation, message: Message) -> None:
        if conversation.id not in self.conversations:
            self.conversations[conversation.id] = conversation
            insort(self.conversations_of[conversation.app_id], conversation, key=by_creation)
        person = conversation.end_user or conversation.account
        if person:
            self._latest[conversation.app_id, person.id] = conversation
        self._touch(conversation, message.created_at)
        self.messages[message.id] = message
        insort(self.messages_of[message.app_id], message, key=by_creation)
        self.messages_in[conversation.id].append(message)

    def _touch(self, conversation: Conversation, at: datetime) -> None:
        conversation.updated_at = max(at, conversation.updated_at)
        order = self.touched_of[conversation.app_id]
        order.pop(conversation.id, None)
        order[conversation.id] = conversation

    def _start(self, plan: Plan, run: Run) -> None:
        self.runs[run.id] = run
        self.nodes[run.id] = []
        insort(self.runs_of[run.app_id, run.triggered_from], run, key=by_creation)
        if plan.message:
            self.message_of_run[run.id] = plan.message
        if plan.log:
            insort(self.logs_of[run.app_id], plan.log, key=by_creation)

    def _nodes(self, plan: Plan) -> list[Node]:
        return self.nodes.get(plan.run.id, []) if plan.run else []

    def _finish(self, plan: Plan, rows: list[Node], place: int, node: Node) -> None:
        rows[place] = node
        if child := plan.child_of(node):
            self._settle_begun(child)
        if node.stage.dataset:
            self._search(node.stage.dataset, plan)
        if node.is_leaf:
            self._call(plan, node.usage, is_told=True, at=node.created_at)

    def _settle_begun(self, child: Plan) -> None:
        rows = self._nodes(child)
        for node in child.nodes:
            rows.append(node)
            self._finish(child, rows, len(rows) - 1, node)
        self.close(child)

    def _fill(self, plan: Plan, message: Message, end: MessageEnd) -> None:
        _write(message, end)
        if plan.run is None:
            if plan.app.dataset:
                self._search(plan.app.dataset, plan)
            self._call(plan, plan.usage, is_told=True)

    def _search(self, dataset_name: str, plan: Plan) -> None:
        dataset = self.dataset_named(dataset_name)
        dataset.retrievals.append(
            Retrieval(
                id=new_id(self.rng),
                query=plan.query,
                source_app_id=plan.app.id,
                created_by=plan.user,
                created_at=rounded(plan.at),
            )
        )
        self.rng.choice(dataset.documents).hit_count += 1

    def _call(self, plan: Plan, usage: Usage | None, *, is_told: bool, at: datetime | None = None) -> None:
        if usage is None:
            return
        self.calls.append(
            Call(
                app_id=plan.app.id,
                run_id=plan.run.id if plan.run else None,
                message_id=plan.message.id if plan.message else None,
                created_at=at or plan.at,
                usage=usage,
                is_debug=plan.is_debug,
                is_told=is_told,
            )
        )

    def _forget_run(self, run: Run) -> None:
        del self.runs[run.id], self.nodes[run.id]
        self.message_of_run.pop(run.id, None)

    def _forget_message(self, message: Message) -> None:
        del self.messages[message.id]
        self.messages_in[message.conversation_id].remove(message)
        for row in self._feedback_on.pop(message.id, []):
            del self.feedback_of[row.app_id][row.message_id, row.from_source]

    def _forget_conversation(self, conversation: Conversation) -> None:
        for message in self.messages_in.pop(conversation.id, []):
            self.messages.pop(message.id, None)
            self._feedback_on.pop(message.id, None)
        del self.conversations[conversation.id]
        self.touched_of[conversation.app_id].pop(conversation.id, None)
        conversation.is_deleted = True


def _write(row: Run | Message, end: RunEnd | MessageEnd) -> None:
    for field in end.__struct_fields__:
        setattr(row, field, getattr(end, field))


def _cut(rows: list[_Row], before: datetime) -> list[_Row]:
    """Take the rows created before this out of a sorted list."""
    place = bisect_left(rows, before, key=by_creation)
    gone, rows[:place] = rows[:place], []
    return gone
