"""Draws what a request will do: which nodes run, what they use, what fails.

What comes in is a request (`Asked`) and a source of chance; what goes out is a `Plan`. Drawing writes nothing into the
world. Words in the query steer it, as tests need: FAIL_RATE and FAIL_AUTH (every model refuses), FAIL_CLAUDE (only that
one), SLOW (a long answer), FINE (nothing fails).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from random import Random

import msgspec

from collector.demo.plan import CONTAINERS, Asked, Course, Habits, Plan
from collector.demo.rows import (
    NO_ID,
    Account,
    App,
    AppLog,
    Conversation,
    EndUser,
    Json,
    Message,
    MessageEnd,
    Model,
    Node,
    Run,
    RunEnd,
    Stage,
    Thought,
    Usage,
    new_id,
    priced,
    rounded,
)

_LOGGED_AS = {
    "service-api": "service-api",
    "web-app": "web-app",
    "explore": "installed-app",
    "trigger": "service-api",
}

_FAILURES = (
    "Rate Limit Error, 429 Too Many Requests",
    "Server Unavailable, overloaded_error",
    "Connection Error, read timed out",
    "Bad Request Error, maximum context length is 128000 tokens",
)
_REFUSAL = "Incorrect model credentials provided, please check and try again."


class Drawing:
    """Draws plans from one source of chance."""

    def __init__(self, rng: Random, habits: Habits, find_app: Callable[[str], App | None]) -> None:
        self.rng = rng
        self.habits = habits
        self._find_app = find_app

    def draw(self, asked: Asked) -> Plan:
        """What this request will do."""
        plan = Plan(
            app=asked.app,
            user=asked.user,
            at=asked.at,
            query=asked.query,
            inputs=asked.inputs,
            turn=asked.turn,
            is_debug=asked.invoke_from == "debugger",
            task_id=new_id(self.rng),
            stops_at=asked.at,
        )
        if asked.app.mode != "workflow":
            plan.conversation = asked.conversation or self._conversation(asked)
        if asked.app.model and plan.conversation:
            self._draw_answer(plan, asked, asked.app.model, plan.conversation)
        else:
            self._draw_run(plan, asked)
        plan.stops_at = asked.at + timedelta(seconds=plan.seconds * self.rng.uniform(0.2, 0.8))
        return plan

    # Runs

    def _draw_run(self, plan: Plan, asked: Asked) -> None:
        app, run_id = asked.app, new_id(self.rng)
        course = Course(asked, run_id, nodes=[], children={})
        self._walk(course)
        plan.nodes, plan.children, plan.usage, plan.answer = (
            tuple(course.nodes),
            course.children,
            course.usage,
            app.answer,
        )
        if plan.conversation:
            plan.message = self._message(asked, plan.conversation, run_id)
            plan.message_end = self._end_of_message(course, app)
        plan.run = Run(
            id=run_id,
            app_id=app.id,
            workflow_id=app.workflow_id or NO_ID,
            version="draft" if plan.is_debug else app.version,
            triggered_from="debugging" if plan.is_debug else asked.triggered_from,
            created_by=asked.user,
            created_at=asked.at,
            inputs=asked.inputs,
            conversation_id=plan.conversation.id if plan.conversation else None,
            message_id=plan.message.id if plan.message else None,
        )
        plan.run_end = self._end_of_run(course, app)
        if app.mode == "workflow" and not plan.is_debug:
            created_from = _LOGGED_AS[asked.invoke_from]
            plan.log = AppLog(
                id=new_id(self.rng), run=plan.run, created_from=created_from, created_at=rounded(asked.at)
            )

    def _walk(self, course: Course) -> None:
        stages = course.asked.app.stages
        for stage in stages:
            if stage.inside:
                continue
            course.steps += 1
            if stage.type in CONTAINERS:
                self._repeat(course, stage, [inner for inner in stages if inner.inside == stage.id])
            else:
                course.add(self._node(course, stage))
            if course.error:
                return

    def _repeat(self, course: Course, stage: Stage, inner: list[Stage]) -> None:
        """A container: its row comes first, its inner nodes follow, and it carries their sum."""
        place, index, started, began_at = len(course.nodes), course.next_index(), course.seconds, course.now
        rounds: list[float] = []
        for turn in range(self.rng.randint(2, 4)):
            before = course.seconds
            for each in inner:
                if course.error is None:
                    course.add(self._node(course, each, turn))
            rounds.append(round(course.seconds - before, 6))
            if course.error:
                break
        usage: Usage | None = None
        for node in course.nodes[place:]:
            if node.usage:
                usage = usage.plus(node.usage) if usage else node.usage
        course.nodes.insert(
            place,
            Node(
                id=new_id(self.rng),
                index=index,
                stage=stage,
                status="failed" if course.error else "succeeded",
                created_at=began_at,
                elapsed=round(course.seconds - started, 6),
                usage=usage,
                error=course.error,
                rounds=tuple(rounds),
            ),
        )

    def _node(self, course: Course, stage: Stage, turn: int | None = None) -> Node:
        index, began_at = course.next_index(), course.now
        if stage.model:
            return self._model_node(course, stage, stage.model, index, turn)
        if stage.calls and (called := self._find_app(stage.calls)):
            return self._tool_node(course, stage, called, index)
        low, high = (0.05, 0.4) if stage.type in ("code", "knowledge-retrieval", "tool") else (0.004, 0.05)
        return Node(
            id=new_id(self.rng),
            index=index,
            stage=stage,
            status="succeeded",
            created_at=began_at,
            elapsed=round(self.rng.uniform(low, high), 6),
            inside_index=turn,
        )

    def _model_node(self, course: Course, stage: Stage, model: Model, index: int, turn: int | None) -> Node:
        asked, retries, status = course.asked, 0, "succeeded"
        error = self._failure(model, asked.query)
        while error and retries < stage.retries:
            retries += 1
            error = self._failure(model, asked.query, again=True)
        usage = None if error else self._use(model, asked, short=stage.type != "llm")
        if error:
            status = "exception" if stage.error_strategy else "failed"
        took = usage.latency if usage else self.rng.uniform(0.2, 0.9)
        return Node(
            id=new_id(self.rng),
            index=index + retries,
            stage=stage,
            status=status,
            created_at=course.now,
            elapsed=round(took + 0.5 * retries + self.rng.uniform(0.01, 0.3), 6),
            usage=usage,
            error=error,
            inside_index=turn,
            retries=retries,
            text=asked.app.answer if usage else "",
        )

    def _tool_node(self, course: Course, stage: Stage, called: App, index: int) -> Node:
        """A workflow used as a tool: its run is a run of its own, and its tokens come up again here."""
        asked = course.asked
        began_at, node_id = course.now, new_id(self.rng)
        child = self.draw(
            Asked(
                app=called,
                user=asked.user,
                at=began_at + timedelta(milliseconds=12),
                query=asked.query,
                inputs={"q": asked.query},
                invoke_from=asked.invoke_from,
                triggered_from="app-run",
            )
        )
        course.children[node_id] = child
        error = child.run_end.error if child.run_end else None
        return Node(
            id=node_id,
            index=index,
            stage=stage,
            status="failed" if error else "succeeded",
            created_at=began_at,
            elapsed=round(child.seconds + 0.05, 6),
            usage=child.usage,
            error=error,
            child_run_id=child.run.id if child.run else None,
            text=called.answer,
        )

    def _end_of_run(self, course: Course, app: App) -> RunEnd:
        outputs: Json = {"answer": app.answer, "files": []} if app.mode == "advanced-chat" else {"result": app.answer}
        status = "failed" if course.error else "partial-succeeded" if self._has_exception(course) else "succeeded"
        elapsed = round(course.seconds + 0.02, 6)
        return RunEnd(
            status=status,
            outputs={} if course.error else outputs,
            error=course.error,
            elapsed_time=elapsed,
            total_tokens=course.usage.total_tokens if course.usage else 0,
            total_steps=course.steps,
            exceptions_count=course.exceptions,
            finished_at=course.asked.at + timedelta(seconds=elapsed),
        )

    @staticmethod
    def _has_exception(course: Course) -> bool:
        return any(node.status == "exception" for node in course.nodes)

    def _end_of_message(self, course: Course, app: App) -> MessageEnd:
        if course.error:
            error = f"Run failed: {course.error}"
            return MessageEnd(answer="", status="error", error=error, provider_response_latency=0.0)
        return _answered(app.answer, course.usage, round(course.seconds + 0.1, 9), usage_kept=True)

    # Answers of apps without a workflow

    def _draw_answer(self, plan: Plan, asked: Asked, model: Model, conversation: Conversation) -> None:
        app = asked.app
        plan.message = self._message(asked, conversation, None)
        plan.answer = app.answer
        if error := self._failure(model, asked.query):
            plan.message_end = MessageEnd(answer="", status="error", error=error, provider_response_latency=0.0)
            return
        usage = self._use(model, asked, short=False)
        thoughts: tuple[Thought, ...] = ()
        if app.mode == "agent-chat":
            first = self._use(model, asked, short=True)
            thoughts, usage = self._thoughts(asked, first, usage), first.plus(usage)
        plan.usage = usage
        latency = usage.latency + self.rng.uniform(0.05, 0.4)
        plan.message_end = msgspec.structs.replace(
            _answered(app.answer, usage, latency, usage_kept=False), thoughts=thoughts
        )

    def _thoughts(self, asked: Asked, first: Usage, second: Usage) -> tuple[Thought, ...]:
        today = asked.at.date().isoformat()
        return (
            Thought(
                id=new_id(self.rng),
                position=1,
                thought="I will call the tool.",
                tool="current_time",
                tool_input='{"current_time": {}}',
                observation=f'{{"current_time": "{today}"}}',
                tokens=first.total_tokens,
            ),
            Thought(
                id=new_id(self.rng),
                position=2,
                thought=asked.app.answer,
                tool="",
                tool_input="",
                observation="",
                tokens=second.total_tokens,
            ),
        )

    def _conversation(self, asked: Asked) -> Conversation:
        at = rounded(asked.at)
        return Conversation(
            id=new_id(self.rng),
            app_id=asked.app.id,
            name=asked.query,
            invoke_from=asked.invoke_from,
            end_user=asked.user if isinstance(asked.user, EndUser) else None,
            account=asked.user if isinstance(asked.user, Account) else None,
            inputs=asked.inputs,
            created_at=at,
            updated_at=at,
        )

    def _message(self, asked: Asked, conversation: Conversation, run_id: str | None) -> Message:
        return Message(
            id=new_id(self.rng),
            app_id=asked.app.id,
            conversation_id=conversation.id,
            invoke_from=asked.invoke_from,
            query="" if asked.app.mode == "completion" else asked.query,
            inputs=asked.inputs,
            from_end_user_id=asked.user.id if isinstance(asked.user, EndUser) else None,
            from_account_id=asked.user.id if isinstance(asked.user, Account) else None,
            created_at=rounded(asked.at),
            parent_message_id=None if asked.app.mode == "completion" else NO_ID,
            workflow_run_id=run_id,
            model=asked.app.model,
        )

    # Chance

    def _use(self, model: Model, asked: Asked, *, short: bool) -> Usage:
        prompt = self.rng.randint(30, 400) + 47 * min(asked.turn, 20)
        completion = self.rng.randint(4, 30) if short else self.rng.randint(20, 320)
        if "SLOW" in asked.query and not short:
            completion = 800
        first = round(self.rng.uniform(0.15, 0.9), 3)
        latency = round(first + completion / (model.tokens_per_second * self.rng.uniform(0.7, 1.3)), 3)
        return priced(model, prompt, completion, latency, first)

    def _failure(self, model: Model, query: str, *, again: bool = False) -> str | None:
        short = model.provider.rsplit("/", 1)[-1]
        if "FAIL_AUTH" in query:
            return f"[{short}] {_REFUSAL}"
        if "FAIL_RATE" in query:
            return f"[{short}] {_FAILURES[0]}"
        if "FAIL_CLAUDE" in query and short == "anthropic":
            return f"[{short}] {_FAILURES[1]}"
        if "FINE" in query or self.rng.random() >= (0.6 if again else self.habits.failures):
            return None
        return f"[{short}] {self.rng.choice(_FAILURES)}"


def _answered(answer: str, usage: Usage | None, latency: float, *, usage_kept: bool) -> MessageEnd:
    if usage is None:
        return MessageEnd(answer=answer, status="normal", error=None, provider_response_latency=latency)
    return MessageEnd(
        answer=answer,
        status="normal",
        error=None,
        provider_response_latency=latency,
        message_tokens=usage.prompt_tokens,
        answer_tokens=usage.completion_tokens,
        total_price=usage.total_price,
        currency=usage.currency,
        usage=usage if usage_kept else None,
    )
