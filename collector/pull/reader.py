"""One Dify, read: the streams of its console as batches of records.

What comes in are a Console, an app and where to stop; what goes out are Steps, each a page (or one thing asked about
by its id) already turned into records. Remembers between passes only what saves questions: the models of a workflow
version, and what turned out to be gone. Nothing here stores a record or decides when to read what.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import msgspec
import structlog

from collector.errors import Forbidden, NotFound, Rejected, ShapeError, Unauthorized
from collector.fields import Json, items, mapping, required_text, text
from collector.ledger import CALLING_NODES, Telling
from collector.pull import endpoints
from collector.pull.aside import Aside, key_of
from collector.pull.console import Console
from collector.pull.endpoints import Endpoint, Paging
from collector.pull.graphs import Graphs
from collector.pull.knowledge import total_segments
from collector.pull.parse import (
    AppModel,
    app_model,
    detail_facts,
    is_run_gone,
    leaf_facts,
    message_facts,
    rating_fact,
    service_rating_fact,
)
from collector.pull.run_count import RunCount, run_count
from collector.pull.step import Step
from collector.pull.walk import Ask, Page, cursored, listed, numbered
from collector.records import (
    CONSOLE,
    STALE,
    App,
    Conversation,
    Feedback,
    Message,
    NodeExecution,
    Record,
    Run,
    SetAside,
    User,
)

log = structlog.get_logger()

Told = TypeVar("Told", bound=Record)

HANGS_AFTER = timedelta(minutes=30)
"""How long a run may be open before its nodes are read without waiting for its end."""

WITHDRAWN = "withdrawn"


@dataclass(frozen=True, kw_only=True)
class Rules:
    """When something that has no end in Dify counts as ended."""

    open_run_max_age: timedelta = timedelta(hours=24)
    message_open_for: timedelta = timedelta(minutes=10)


class Reader:
    """Reads one workspace through one console."""

    def __init__(
        self, console: Console, clock: Callable[[], datetime], rules: Rules | None = None, origin: str | None = None
    ) -> None:
        self.console = console
        self.origin = origin
        self.workspace_id: str | None = None
        self._clock = clock
        self._rules = rules or Rules()
        self._names: dict[str, str] = {}  # of apps
        self._models: dict[str, AppModel] = {}  # by app
        self._graphs = Graphs(console)
        self._gone: set[str] = set()  # what Dify no longer knows, or tells in a way that cannot be read
        self._hanging: set[str] = set()  # open runs whose nodes were looked at
        self.aside = Aside(origin, clock, lambda: console.version)

    async def apps(self) -> AsyncIterator[Step]:
        """All apps of the workspace."""
        telling = self._telling()
        async for page in numbered(self._ask(endpoints.APPS.path, {})):
            self._learn(page.records)
            step = self._step(page, endpoints.APPS, telling)
            step.records = [msgspec.structs.replace(app, origin=self.origin) for app in step.records]
            yield step

    async def is_app_gone(self, app_id: str) -> bool:
        """Whether Dify says that an app does not exist."""
        return await self._is_not_there(endpoints.APP, app_id=app_id)

    async def is_dataset_gone(self, dataset_id: str) -> bool:
        """Whether Dify says that a knowledge base does not exist."""
        return await self._is_not_there(endpoints.DATASET, dataset_id=dataset_id)

    async def around(
        self, endpoint: Endpoint, until: datetime | None = None, *, app_id: str | None = None, **ids: str
    ) -> AsyncGenerator[tuple[Step, list[Json]], None]:
        """A listing of the workspace, of an app or of a knowledge base: Steps, and the JSON they were made from."""
        telling = self._telling(app_id)
        ask = self._ask(endpoint.path, endpoint.params, **ids, **({"app_id": app_id} if app_id else {}))
        if endpoint.paging is Paging.WHOLE:
            page = Page(listed(await ask({}), endpoint.items))
            yield self._step(page, endpoint, telling), page.records
            return
        async for page in numbered(ask, at=endpoint.sorted_by, until=until):
            yield self._step(page, endpoint, telling), page.records

    async def segments(self, dataset_id: str) -> int:
        """How many segments the documents of a knowledge base have."""
        return total_segments(listed(await self.console.get(endpoints.INDEXING, dataset_id=dataset_id)))

    def telling(self) -> Telling:
        """Who says what is read now."""
        return self._telling()

    async def listing(
        self,
        endpoint: Endpoint,
        app: App,
        until: datetime | None,
        start: str | None = None,
        before: datetime | None = None,
    ) -> AsyncGenerator[Step, None]:
        """One listing of an app, newest first, from `start` (a Step's cursor, or the id of a run) or `before` (where
        the endpoint can leave out what is younger) down to `until`."""
        params = dict(endpoint.params)
        if endpoint.ended_by and before:
            params[endpoint.ended_by] = before.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        if endpoint.filtered_by and until:
            params[endpoint.filtered_by] = until.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            until = None  # the listing ends there by itself, and its total can be believed
        ask = self._ask(endpoint.path, params, app_id=app.id)
        if endpoint.paging is Paging.CURSOR:
            pages = cursored(ask, until=until, start=start)
        else:
            pages = numbered(ask, at=endpoint.sorted_by, until=until)
        async for page in pages:
            yield self._step(page, endpoint, self._telling(app.id))

    async def run_count(self, app: App, within: timedelta | None = None) -> RunCount | None:
        """How many app runs Dify has of an app, `within` that time at most; None where it does not say."""
        return await run_count(self.console, self._clock, app.id, within)

    async def run(self, run: Run) -> Step:
        """A run that was not final, read again: final by now, still open, or stale.

        One that hangs (a stopped run says `running` for ever) has spent something all the same: its nodes are read
        once before it is stale.
        """
        try:
            facts = await self._detail(self._telling(run.app_id, run_id=run.id))
        except NotFound:
            return Step([self._again(run, status=STALE, is_final=False)])
        age = self._clock() - (run.created_at or run.seen_at)
        if not facts[0].is_final and age > self._rules.open_run_max_age:
            return Step([msgspec.structs.replace(facts[0], status=STALE), *facts[1:]])
        if facts[0].is_final or age <= HANGS_AFTER or run.id in self._hanging:
            return Step(list(facts))
        self._hanging.add(run.id)
        nodes = await self.leaves(run)
        return Step([*facts, *(fact for fact in nodes.records if not isinstance(fact, Run))], 2, nodes.parse_failures)

    async def mentioned_run(self, message: Message) -> Step:
        """The run behind a message, where no listing brought it (versions before 1.10; ties)."""
        telling = self._telling(
            message.app_id,
            run_id=message.run_id,
            message_id=message.id,
            conversation_id=message.conversation_id,
            is_debug=message.is_debug,
        )
        try:
            run, *users = await self._detail(telling)
        except NotFound:
            self._gone.add(message.run_id or "")
            return Step()
        if run.triggered_from is None and message.is_debug is False:
            run = msgspec.structs.replace(run, triggered_from="app-run")
        return Step([run, *users])

    async def run_set_aside(self, mark: SetAside) -> Step:
        """A run whose listing could not be read, asked for by its id."""
        telling = self._telling(mark.app_id, run_id=mark.key)
        place = (mark.stream, mark.app_id, mark.key)
        try:
            run, *users = await self._detail(telling)
        except NotFound:  # cleaned away
            return Step(marks=self.aside.take_up(*place))
        except ShapeError as error:
            return Step(parse_failures=1, marks=self.aside.lay(*place, error, self._called(mark.app_id)))
        # App logs hold what triggers began, too: they do not say here which.
        known = {"runs": "app-run", "debug-runs": "debugging"}.get(mark.stream)
        run = msgspec.structs.replace(run, triggered_from=known, is_debug=known == "debugging")
        return Step([run, *users], marks=self.aside.take_up(*place))

    async def leaves(self, run: Run) -> Step:
        """The node executions of a run that ended, their calls, and the run itself, now with its leaves known."""
        app_id = run.app_id or ""
        body = await self.console.get(endpoints.NODES, app_id=app_id, run_id=run.id)
        raws = listed(body)
        if is_run_gone(raws, run):
            self._gone.add(run.id)
            return Step()
        telling = self._telling(
            app_id, run_id=run.id, conversation_id=run.conversation_id, message_id=run.message_id, is_debug=run.is_debug
        )
        models = await self._graphs.of(run) if any(_lacks_model(raw) for raw in raws) else {}
        stream = "node-executions"
        step = self._parsed(raws, lambda raw: leaf_facts([raw], telling, models), stream, app_id, run.id)
        if step.parse_failures:
            self._gone.add(run.id)  # reading it again would tell the same
            return step
        # The listings do not say why a run failed; its failed node does.
        why = next((n.error_class for n in step.records if isinstance(n, NodeExecution) and n.status == "failed"), None)
        why = run.error_class or (why if run.status == "failed" else None)
        step.records.append(self._again(run, leaves_known=True, error_class=why))
        step.marks += self.aside.take_up(stream, app_id, run.id)
        return step

    async def messages(self, conversation: Conversation, app: App, until: datetime | None) -> Step:
        """The messages of a conversation, down to `until`. One step: they are few."""
        step = Step(requests=0)
        ask = self._ask(endpoints.MESSAGES, {"conversation_id": conversation.id}, app_id=app.id)
        async for page in cursored(ask, cursor="first_id", until=until, oldest_first=True):
            read = self._parsed(page.records, lambda raw: self._message(raw, app, conversation), "messages", app.id)
            read.ties_lost = page.ties_lost
            step.take(read, requests=1)
        return step

    async def completion(self, conversation: Conversation, app: App) -> Step:
        """The message of a completion. Dify marks the conversation as read by this."""
        body = await self.console.get(endpoints.COMPLETION, app_id=app.id, conversation_id=conversation.id)
        return Step(self._message(mapping(body, "message"), app, conversation))

    async def message(self, message: Message, app: App, conversation: Conversation | None) -> Step:
        """A message that was not answered yet, read again."""
        try:
            raw = await self.console.get(endpoints.MESSAGE, app_id=app.id, message_id=message.id)
        except NotFound:
            return Step([self._again(message, status=STALE, is_final=False)])
        return Step(self._message(raw, app, conversation))

    async def ratings(self, app: App, known: Iterable[Feedback], key: str | None = None) -> Step:
        """All ratings of an app's messages; those of `known` that were taken back are told as withdrawn.

        A `key` of the app opens its service API, which tells when a rating was changed; else, and where the key is not
        taken, the console's export is read. Dify keeps no trace of a withdrawn rating, and forgets ratings of messages
        it cleaned away: only those count as withdrawn whose message is still there.
        """
        step = await self._service_ratings(app, key) if key else None
        step = step or await self._exported_ratings(app)
        told = {fact.id for fact in step.records if isinstance(fact, Feedback)}
        if step.parse_failures:
            return step
        for rating in known:
            if rating.id not in told and rating.message_id not in self._gone:
                step.requests += 1
                if await self._is_withdrawn(rating, app):
                    step.records.append(self._again(rating, rating=WITHDRAWN))
        return step

    async def _service_ratings(self, app: App, key: str) -> Step | None:
        """None where the service API cannot be asked."""
        telling, found = self._telling(app.id), Step(requests=0)
        while True:
            found.requests += 1
            params = {"page": str(found.requests), "limit": str(endpoints.MOST_RATINGS)}
            try:
                raws = listed(await self.console.service(endpoints.SERVICE_FEEDBACK, params, key))
            except (Unauthorized, Forbidden, NotFound, Rejected) as error:
                log.warning("app key not taken", app=app.name, problem=str(error), next="look at dify_app_keys")
                return None
            page = self._parsed(raws, lambda raw: [service_rating_fact(raw, telling)], "feedback", app.id)
            found.take(page, requests=0)  # counted before it was asked: it may fail
            if len(raws) < endpoints.MOST_RATINGS:
                return found

    async def _exported_ratings(self, app: App) -> Step:
        body = await self.console.get(endpoints.FEEDBACK, {"format": "json"}, app_id=app.id)
        telling = self._telling(app.id)
        return self._parsed(listed(body, "feedback_data"), lambda raw: [rating_fact(raw, telling)], "feedback", app.id)

    def _learn(self, raws: Iterable[Json]) -> None:
        for raw in raws:
            with suppress(ShapeError):
                app_id = required_text(raw, "id")
                self._names[app_id] = text(raw, "name") or app_id
                self._models[app_id] = app_model(raw)

    def forget_gone(self) -> None:
        """Another version may read what this one could not."""
        self._gone.clear()

    def is_gone(self, key: str) -> bool:
        """Whether asking about it again is in vain."""
        return key in self._gone

    async def _is_withdrawn(self, rating: Feedback, app: App) -> bool:
        try:
            raw = await self.console.get(endpoints.MESSAGE, app_id=app.id, message_id=rating.message_id)
        except NotFound:
            self._gone.add(rating.message_id)
            return False
        return all(given.get("from_source") != rating.from_source for given in items(raw, "feedbacks"))

    async def _detail(self, telling: Telling) -> tuple[Run, *tuple[User, ...]]:
        app_id, run_id = telling.app_id or "", telling.run_id or ""
        raw = await self.console.get(endpoints.RUN, app_id=app_id, run_id=run_id)
        facts = detail_facts(raw, telling)
        self._graphs.keep(app_id, raw)
        return facts

    async def _is_not_there(self, path: str, **ids: str) -> bool:
        try:
            await self.console.get(path, None, **ids)
        except NotFound:
            return True
        except Forbidden:
            pass
        return False

    def _message(self, raw: Json, app: App, conversation: Conversation | None) -> list[Record]:
        return message_facts(
            raw,
            self._telling(app.id),
            app.mode or "",
            conversation=conversation,
            model=self._models.get(app.id),
            open_for=self._rules.message_open_for,
        )

    def _step(self, page: Page, endpoint: Endpoint, telling: Telling) -> Step:
        step = self._parsed(page.records, lambda raw: endpoint.parse(raw, telling), endpoint.stream, telling.app_id)
        step.total, step.cursor, step.ties_lost = page.total, page.cursor, page.ties_lost
        return step

    def _parsed(
        self, raws: Iterable[Json], parse: Callable[[Json], list[Record]], stream: str, app_id: str | None, of: str = ""
    ) -> Step:
        """What could be read, and what could not: set aside one by one, or all as the one they are part `of`."""
        step = Step()
        for raw in raws:
            key = of or key_of(raw)
            try:
                step.records += parse(raw)
            except ShapeError as error:
                step.parse_failures += 1
                step.marks += self.aside.lay(stream, app_id, key, error, self._called(app_id))
            else:
                step.marks += [] if of else self.aside.take_up(stream, app_id, key)
        return step

    def _called(self, app_id: str | None) -> str:
        return f"app {self._names.get(app_id, app_id)}" if app_id else "the workspace"

    def _telling(self, app_id: str | None = None, **known: Any) -> Telling:
        return Telling(source=CONSOLE, seen_at=self._clock(), workspace_id=self.workspace_id, app_id=app_id, **known)

    def _again(self, record: Told, **changes: object) -> Told:
        """What we know already, told again with changes."""
        return msgspec.structs.replace(record, source=CONSOLE, seen_at=self._clock(), **changes)

    def _ask(self, path: str, params: Mapping[str, str], **ids: str) -> Ask:
        async def ask(page: Mapping[str, str]) -> Json:
            return await self.console.get(path, {**params, **page}, **ids)

        return ask


def _lacks_model(raw: Json) -> bool:
    process = raw.get("process_data")
    return raw.get("node_type") in CALLING_NODES and not (isinstance(process, Mapping) and process.get("model_name"))
