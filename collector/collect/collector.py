"""One pass over one Dify: ask for everything that is new, put it with its watermarks, and note how it went as Pulls.

What comes in are a Console and three callables of the store (put, rows, watermark); what goes out are records and
one Pull per stream and app. This file says what is read and in which order; `passes.py` how a stream is followed,
`pull/` what Dify's answers look like, `schedule.py` when the next pass is due.

The order makes the store the only memory that matters: listings bring runs and conversations; what is open, unread or
missing is then worked out from what is stored (`backlog.py`). A pass that is killed anywhere is simply done again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TypeAlias, TypeVar

import msgspec
import structlog

from collector.collect.backlog import Backlog, Rows, UnreadConversation
from collector.collect.completeness import Completeness
from collector.collect.listings import Listings
from collector.collect.passes import Clock, Options, Pass, Progress, Put, Question, ReadWatermark
from collector.collect.releases import Releases
from collector.collect.statistics import STREAM as STATISTICS
from collector.collect.statistics import Statistics
from collector.collect.streams import FEEDBACK, LISTED_RUNS, MESSAGES, NODES, RUN_LISTS
from collector.collect.surroundings import Surroundings
from collector.errors import Unauthorized
from collector.pull.console import Console
from collector.pull.endpoints import (
    APPS,
    DEBUG_STREAMS,
    FLOW_MODES,
    STREAMS,
    TALKING_MODES,
)
from collector.pull.reader import Reader, Rules
from collector.pull.step import Step
from collector.pull.together import together
from collector.pull.workspace import fingerprint
from collector.records import App, Pull, Run

__all__ = ["Collector", "Options", "collect"]

log = structlog.get_logger()

Apps: TypeAlias = dict[str, App]
Unread = TypeVar("Unread")

COMPLETION = "completion"

WARNINGS = ("unauthorized", "unknown_mode", "listing_incomplete", "ties_lost", "record_set_aside")
"""What a Collector counts, beside failed pulls."""

CHUNK = 1000
"""Runs or conversations asked about between two looks at the backlog."""

MOST_FAILURES = 3
"""How often a question may fail in a row before it is left alone until the next start."""

MOST_TALKS = 2
"""How often a conversation is read to find the messages it should have, before we believe that Dify miscounts."""

TALKS, LEAVES = 0.75, 1.0
"""The share of a pass's time after which the backlog of each kind waits for the next pass."""

MENTIONS_BEHIND = timedelta(days=2)
"""How far back messages are searched for runs that no listing brought, after the first pass."""


async def collect(
    console: Console,
    put: Put,
    rows: Rows,
    watermark: ReadWatermark,
    *,
    options: Options | None = None,
    clock: Clock,
    on_progress: Progress | None = None,
) -> list[Pull]:
    """One pass on its own. For pass after pass keep a Collector: it remembers what saves questions."""
    collector = Collector(console, put, rows, watermark, options=options, clock=clock, on_progress=on_progress)
    try:
        return await collector.collect()
    finally:
        await collector.aclose()


class Collector:
    """Pass after pass over one Dify. `warnings` counts what the log warned of, by WARNINGS; `backlog` what is left."""

    def __init__(
        self,
        console: Console,
        put: Put,
        rows: Rows,
        watermark: ReadWatermark,
        *,
        options: Options | None = None,
        clock: Clock,
        on_progress: Progress | None = None,
    ) -> None:
        self.warnings: Counter[str] = Counter(dict.fromkeys(WARNINGS, 0))
        self.backlog: dict[str, int] = {}  # by stream: runs and conversations the last pass left unread
        self._console = console
        self._options = options or Options()
        rules = Rules(open_run_max_age=self._options.open_run_max_age, message_open_for=self._options.message_open_for)
        self._reader = Reader(console, clock, rules, self._options.origin)
        self._backlog = Backlog(rows)
        self._completeness = Completeness(self._reader, self._backlog, self.warnings)
        self._listings = Listings(self._reader, self._backlog, watermark, self._completeness)
        self._failures: Counter[str] = Counter()  # by what was asked about
        self._rated_at: dict[str, datetime] = {}  # by app
        self._app_keys = {fingerprint(key): key for key in console.access.app_keys}
        self._talked: dict[str, tuple[int | None, int]] = {}  # by conversation: its messages, times asked
        self._mentions_since: datetime | None = None
        self._releases = Releases(rows)
        self._surroundings = Surroundings(self._reader, self._backlog, watermark)
        self._statistics = Statistics(console, rows, watermark)
        self._read_by: str | None = None  # the versions that met in the last pass; None: begin anew
        self._is_listed = False  # Dify answered when asked for its apps
        self._unknown: set[str] = set()  # apps of a mode we do not know
        failing: dict[tuple[str, str | None], str | None] = {}
        self._new_pass = partial(
            Pass, put, self._options, clock, console.concurrency, self._failures, failing, on_progress
        )

    async def aclose(self) -> None:
        """Let go of what was to go on in the next pass."""
        await self._listings.aclose()
        await self._surroundings.aclose()

    async def collect(self) -> list[Pull]:
        """One pass. Raises StoreError; whatever Dify does is in the Pulls."""
        one_pass = self._new_pass()
        if self._read_by is None:
            stored = partial(self._backlog.set_aside, self._options.origin)
            self._reader.aside.remember(await one_pass.stored(stored))
        try:
            apps = await self._apps(one_pass)
            await self._releases.note(one_pass, self._console.version, self._reader.workspace_id)
            parts = [partial(self._facts, one_pass, apps)]
            if self._is_listed:
                parts.append(partial(self._surroundings.read, one_pass, apps))
            await _beside(parts)
            await one_pass.flush()
        except BaseException as error:
            # What a paused walk had read last may not be stored: it begins anew.
            await self.aclose()
            self._read_by = None
            if not isinstance(error, Unauthorized):
                raise
            self.warnings["unauthorized"] += 1
            log.error("pass ended", problem=str(error))
            await one_pass.flush()
        finally:
            await one_pass.settled()
            self.warnings["record_set_aside"] += sum(pull.parse_failures for pull in one_pass.pulls)
        return one_pass.pulls

    async def _apps(self, one_pass: Pass) -> Apps:
        found: Apps = {}

        async def steps() -> AsyncIterator[Step]:
            self._reader.workspace_id = self._reader.workspace_id or await self._console.workspace_id()
            async for step in self._reader.apps():
                found.update((app.id, app) for app in step.records if isinstance(app, App))
                yield step
            yield await self._vanished(one_pass, found)

        tally = one_pass.tally(APPS.stream, None)
        await one_pass.follow(tally, steps())
        self._is_listed = tally.error is None
        return found

    async def _vanished(self, one_pass: Pass, found: Apps) -> Step:
        """Apps that are listed no more and of which Dify says that they are gone; their history stays."""
        step = Step(requests=0)
        for app in await one_pass.stored(
            partial(self._backlog.live_apps, self._reader.workspace_id, self._options.origin)
        ):
            if app.id not in found:
                step.requests += 1
                if await self._reader.is_app_gone(app.id):
                    step.records.append(msgspec.structs.replace(app, seen_at=one_pass.began, deleted_at=one_pass.began))
        return step

    async def _facts(self, one_pass: Pass, apps: Apps) -> None:
        """What is listed, and then what hangs on it; Dify's own statistics beside that."""
        # Each asks one page after the other: twice as many as go out at once.
        async for _ in together([partial(self._app, one_pass, app) for app in apps.values()], 2 * one_pass.width):
            pass
        await one_pass.flush()
        parts = [partial(self._details, one_pass, apps)]
        if one_pass.wants(STATISTICS):
            told_by = self._reader.workspace_id
            parts.append(partial(self._statistics.read, one_pass, list(apps.values()), told_by))
        await _beside(parts)

    async def _details(self, one_pass: Pass, apps: Apps) -> None:
        """What is known to be open, unread or missing."""
        await self._set_aside(one_pass, apps)
        await self._open(one_pass, apps)
        if one_pass.wants(MESSAGES):
            await self._talks(one_pass, apps)
        if any(map(one_pass.wants, LISTED_RUNS)):
            await self._mentions(one_pass, apps)
            await self._completeness.compare(one_pass, apps)
        if one_pass.wants(NODES):
            await self._leaves(one_pass, apps)

    async def _app(self, one_pass: Pass, app: App) -> None:
        """Everything that is listed per app."""
        mode = app.mode or ""
        if mode not in STREAMS and app.id not in self._unknown:
            self._unknown.add(app.id)
            self.warnings["unknown_mode"] += 1
            log.warning("app mode unknown", app=app.name, mode=mode, next="its runs and messages are not read")
        for endpoint in STREAMS.get(mode, ()) + (DEBUG_STREAMS.get(mode, ()) if self._options.debug_runs else ()):
            if one_pass.wants(endpoint.stream):
                await self._listings.read(one_pass, app, endpoint)
        last = self._rated_at.get(app.id)
        if (
            one_pass.wants(FEEDBACK)
            and mode in TALKING_MODES
            and (last is None or one_pass.began - last >= self._options.feedback_every)
        ):
            await one_pass.follow(one_pass.tally(FEEDBACK, app, marks=True), self._ratings(one_pass, app))

    async def _ratings(self, one_pass: Pass, app: App) -> AsyncIterator[Step]:
        known = await one_pass.stored(partial(self._backlog.ratings, app.id))
        yield await self._reader.ratings(app, known, await self._key(one_pass, app))
        self._rated_at[app.id] = one_pass.began

    async def _key(self, one_pass: Pass, app: App) -> str | None:
        """Which of the keys we were given opens an app."""
        if not self._app_keys:
            return None
        theirs = await one_pass.stored(partial(self._backlog.fingerprints, app.id))
        return next((key for mark, key in self._app_keys.items() if mark in theirs), None)

    async def _set_aside(self, one_pass: Pass, apps: Apps) -> None:
        """What could not be read is tried again when dify-metric or Dify is another version than then."""
        aside = self._reader.aside
        if self._read_by == aside.versions:
            return
        self._read_by = aside.versions
        self._reader.forget_gone()
        runs = [mark for mark in aside.untried(RUN_LISTS) if mark.app_id in apps and mark.key]
        asked = [(mark.app_id, f"{mark.stream}/{mark.key}", partial(self._reader.run_set_aside, mark)) for mark in runs]
        await one_pass.ask("set-aside", apps, _once(asked), LEAVES)

    async def _open(self, one_pass: Pass, apps: Apps) -> None:
        """What was not final when last read."""
        if any(map(one_pass.wants, LISTED_RUNS)):
            runs = await one_pass.stored(partial(self._backlog.open_runs, apps))
            asked = [(run.app_id or "", run.id, partial(self._reader.run, run)) for run in runs]
            await one_pass.ask("open-runs", apps, _once(asked), LEAVES)
        if not one_pass.wants(MESSAGES):
            return
        messages = await one_pass.stored(partial(self._backlog.open_messages, apps))
        asked = [
            (app_id, message.id, partial(self._reader.message, message, apps[app_id], conversation))
            for message, conversation in messages
            if (app_id := message.app_id)
        ]
        await one_pass.ask("open-messages", apps, _once(asked), LEAVES)

    async def _talks(self, one_pass: Pass, apps: Apps) -> None:
        """Messages of conversations that have more than we know."""
        readable = {a: app for a, app in apps.items() if app.mode != COMPLETION or self._options.read_completions}
        before, self._talked = self._talked, {}
        vain: set[tuple[str, str]] = set()

        def question(unread: UnreadConversation) -> Question | None:
            talk, app_id = unread.conversation, unread.conversation.app_id or ""
            count, times = self._talked.get(talk.id) or before.get(talk.id, (None, 0))
            times = times if count == talk.messages else 0
            self._talked[talk.id] = (talk.messages, times)
            if times >= MOST_TALKS or self._is_vain(talk.id):
                vain.add((app_id, talk.id))
                return None
            return app_id, talk.id, partial(self._talk, unread, apps[app_id], times)

        fetch = partial(self._backlog.unread_conversations, readable)
        batches = self._backlogged(one_pass, fetch, question, TALKS)
        await one_pass.ask(MESSAGES, apps, batches, TALKS)
        left = await one_pass.stored(partial(self._backlog.unread_conversation_counts, readable))
        self.backlog[MESSAGES] = max(sum(left.values()) - len(vain), 0)
        talking = [app for app in readable.values() if app.mode in TALKING_MODES]
        await self._mark(one_pass, MESSAGES, talking, left, vain)

    async def _talk(self, unread: UnreadConversation, app: App, times: int) -> Step:
        talk = unread.conversation
        self._talked[talk.id] = (talk.messages, times + 1)
        if app.mode == COMPLETION:
            return await self._reader.completion(talk, app)
        # At first only what is newer than ours; where that did not complete it, the whole conversation.
        until = unread.newest - self._options.overlap if unread.newest and times == 0 else None
        return await self._reader.messages(talk, app, until)

    async def _mentions(self, one_pass: Pass, apps: Apps) -> None:
        """Runs that messages name and no listing brought: versions before 1.10 list none, ties lose some."""
        messages = await one_pass.stored(partial(self._backlog.mentioned_runs, apps, self._mentions_since))
        asked = [
            (message.app_id or "", message.run_id, partial(self._reader.mentioned_run, message))
            for message in messages
            if message.run_id and not self._is_vain(message.run_id)
        ]
        await one_pass.ask("mentioned-runs", apps, _once(asked), TALKS)
        if one_pass.in_time(TALKS):
            self._mentions_since = one_pass.began - MENTIONS_BEHIND

    async def _leaves(self, one_pass: Pass, apps: Apps) -> None:
        """Node executions and model calls of runs that ended, the newest first."""

        vain: set[tuple[str, str]] = set()

        def question(run: Run) -> Question | None:
            if self._is_vain(run.id):
                vain.add((run.app_id or "", run.id))
                return None
            return run.app_id or "", run.id, partial(self._reader.leaves, run)

        counts = await one_pass.stored(partial(self._backlog.unread_run_counts, apps))
        one_pass.totals[NODES] = sum(counts.values())
        fetch = partial(self._backlog.unread_runs, apps)
        batches = self._backlogged(one_pass, fetch, question, LEAVES, self._options.node_budget)
        await one_pass.ask(NODES, apps, batches, LEAVES)
        left = await one_pass.stored(partial(self._backlog.unread_run_counts, apps))
        self.backlog[NODES] = max(sum(left.values()) - len(vain), 0)
        await self._mark(one_pass, NODES, [app for app in apps.values() if app.mode in FLOW_MODES], left, vain)

    async def _backlogged(
        self,
        one_pass: Pass,
        fetch: Callable[[int], list[Unread]],
        question: Callable[[Unread], Question | None],
        share: float,
        budget: int | None = None,
    ) -> AsyncIterator[list[Question]]:
        """Batch after batch of what is unread, nothing twice, until there is no more or time or budget are used up."""
        asked: set[str] = set()
        stuck = 0  # of those fetched: asked before, or in vain
        while one_pass.in_time(share) and (budget is None or len(asked) < budget):
            limit = CHUNK + stuck
            found = await one_pass.stored(partial(fetch, limit))
            due = [one for unread in found if (one := question(unread)) and one[1] not in asked]
            stuck = len(found) - len(due)
            due = due[: None if budget is None else budget - len(asked)]
            if due:
                asked.update(key for _, key, _ in due)
                yield due
            elif len(found) < limit:
                return

    async def _mark(
        self,
        one_pass: Pass,
        stream: str,
        apps: Sequence[App],
        left: Mapping[str, int],
        vain: Collection[tuple[str, str]],
    ) -> None:
        """Set the watermark of what hangs on a listing, for apps whose listings and backlog reached their end."""
        given_up = Counter(app_id for app_id, _ in vain)
        marks = [
            one_pass.watermark(stream, app)
            for app in apps
            if left.get(app.id, 0) <= given_up[app.id]
            and all((endpoint.stream, app.id) in one_pass.complete for endpoint in STREAMS.get(app.mode or "", ()))
        ]
        if marks:
            await one_pass.put([], marks)

    def _is_vain(self, key: str) -> bool:
        return self._reader.is_gone(key) or self._failures[key] >= MOST_FAILURES


async def _beside(parts: Sequence[Callable[[], Awaitable[None]]]) -> None:
    """Do all at the same time; the first failure ends the others and rises."""
    async for _ in together(parts, len(parts)):
        pass


async def _once(batch: Sequence[Question]) -> AsyncIterator[Sequence[Question]]:
    if batch:
        yield batch
