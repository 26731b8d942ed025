"""What lies around apps and changes slowly: knowledge bases, questions put to them, models, accounts, keys.

What comes in are a pass and its apps; what goes out are Steps, a Pull per stream that is due. When each was read last
is known from the stored Pulls, so a restart asks nothing early. What time did not suffice for goes on in the next pass.
Nothing here stores or knows a path.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, suppress
from datetime import datetime, timedelta
from functools import partial
from typing import TypeAlias

import msgspec
import structlog

from collector.collect.backlog import Backlog
from collector.collect.passes import Pass, ReadWatermark
from collector.collect.tally import Tally
from collector.errors import Forbidden, NotFound, Rejected, ShapeError
from collector.fields import Json, text
from collector.pull.endpoints import API_KEYS, DATASETS, DOCUMENTS, MEMBERS, MODELS, Endpoint, retrievals_of
from collector.pull.knowledge import day_fact, is_settled
from collector.pull.reader import Reader
from collector.pull.step import Step
from collector.pull.together import together
from collector.records import CONSOLE, ApiKey, App, Dataset, DatasetDay

log = structlog.get_logger()

Steps: TypeAlias = AsyncIterator[Step]
Walk: TypeAlias = AsyncGenerator[tuple[Step, list[Json]], None]

SHARE = 0.6
"""The share of a pass's time after which what is around apps waits for the next pass."""

AGAIN_AFTER = timedelta(minutes=5)
"""How long a stream that failed is left alone: model lists fail for as long as Dify's plugin daemon is down."""

AROUND = tuple(each.stream for each in (DATASETS, DOCUMENTS, retrievals_of(""), MODELS[0], MEMBERS, API_KEYS))
"""The streams that are read here."""

RETRIEVALS = retrievals_of("").stream


class Surroundings:
    """Reads what is due of one workspace."""

    def __init__(self, reader: Reader, backlog: Backlog, watermark: ReadWatermark) -> None:
        self._reader = reader
        self._backlog = backlog
        self._watermark = watermark
        self._last: dict[str, datetime] | None = None  # by stream: when it was read
        self._keyed: set[str] | None = None  # apps whose keys need no early look
        self._datasets: dict[str, Json] = {}  # as listed last
        self._counted: set[str] = set()  # knowledge bases whose documents this round has counted
        self._asked_until: dict[str, datetime] = {}  # by knowledge base: its questions are read up to here
        self._walks: dict[str, Walk] = {}  # by knowledge base: through its old questions, where time ran out

    async def aclose(self) -> None:
        """Let go of walks that were to go on; a later start begins them anew."""
        for key, walk in self._walks.items():
            self._asked_until.pop(key, None)
            await walk.aclose()
        self._walks.clear()

    async def read(self, one_pass: Pass, apps: Mapping[str, App]) -> None:
        """One Pull per stream that is due. Raises Unauthorized and StoreError."""
        if self._last is None:
            self._last = await one_pass.stored(partial(self._backlog.last_complete, one_pass.options.origin))
        await self._read(one_pass, MEMBERS, lambda _: self._whole(MEMBERS))
        await self._read(one_pass, MODELS[0], lambda _: self._whole(*MODELS))
        await self._read_keys(one_pass, apps)
        of_knowledge = DOCUMENTS, retrievals_of("")
        is_missing = not self._datasets and any(self._is_due(one_pass, each) for each in of_knowledge)
        await self._read(one_pass, DATASETS, lambda _: self._listed(one_pass), is_due=is_missing)
        await self._read(one_pass, DOCUMENTS, lambda tally: self._days(one_pass, tally))
        await self._read(one_pass, of_knowledge[1], lambda tally: self._questions(one_pass, tally), marks=True)

    async def _read(
        self,
        one_pass: Pass,
        endpoint: Endpoint,
        steps: Callable[[Tally], Steps],
        *,
        is_due: bool = False,
        marks: bool = False,
    ) -> None:
        if not one_pass.wants(endpoint.stream):
            return
        if not (is_due or self._is_due(one_pass, endpoint)) or not one_pass.in_time(SHARE):
            return
        tally = one_pass.tally(endpoint.stream, None, marks=marks)
        await one_pass.follow(tally, steps(tally))
        if not tally.is_interrupted:
            is_read = tally.error is None or isinstance(tally.error, Forbidden | NotFound)
            early = timedelta(0) if is_read else max((endpoint.every or AGAIN_AFTER) - AGAIN_AFTER, timedelta(0))
            self._when_read()[endpoint.stream] = one_pass.began - early

    def _when_read(self) -> dict[str, datetime]:
        return self._last if self._last is not None else {}

    def _is_due(self, one_pass: Pass, endpoint: Endpoint) -> bool:
        last = self._when_read().get(endpoint.stream)
        return last is None or endpoint.every is None or one_pass.began - last >= endpoint.every

    async def _whole(self, *all_of: Endpoint) -> Steps:
        """Listings that need nothing else to be asked; one that this version does not have brings nothing."""
        for endpoint in all_of:
            with suppress(NotFound, Rejected):
                async for step, _ in self._reader.around(endpoint):
                    yield step

    async def _read_keys(self, one_pass: Pass, apps: Mapping[str, App]) -> None:
        """The keys of all apps when they are due, those of an app that is new at once: its requests wait for them."""
        if self._is_due(one_pass, API_KEYS):
            self._keyed = set(apps)
            await self._read(one_pass, API_KEYS, lambda tally: self._keys(one_pass, apps, tally))
            return
        new = {key: app for key, app in apps.items() if self._keyed is not None and key not in self._keyed}
        self._keyed = set(apps)
        if new:
            await self._read(one_pass, API_KEYS, lambda tally: self._keys(one_pass, new, tally), is_due=True)

    async def _keys(self, one_pass: Pass, apps: Mapping[str, App], tally: Tally) -> Steps:
        """The keys of every app; those that are listed no more were deleted."""
        known: dict[str, list[ApiKey]] = {}
        for key in await one_pass.stored(partial(self._backlog.live_keys, apps)):
            known.setdefault(key.app_id or "", []).append(key)

        async def of_app(app_id: str) -> Step:
            found = Step(requests=0)
            async for step, _ in self._reader.around(API_KEYS, app_id=app_id):
                found = step
            told = {key.id for key in found.records if isinstance(key, ApiKey)}
            gone = [key for key in known.get(app_id, ()) if key.id not in told and not found.parse_failures]
            found.records += [
                msgspec.structs.replace(key, source=CONSOLE, seen_at=one_pass.began, deleted_at=one_pass.began)
                for key in gone
            ]
            return found

        due = (partial(of_app, app_id) for app_id in apps if _in_time(one_pass, tally))
        async with aclosing(together(due, one_pass.width)) as answers:
            async for step in answers:
                yield step

    async def _listed(self, one_pass: Pass) -> Steps:
        """Knowledge bases; those that are listed no more, and of which Dify says so, were deleted."""
        found: dict[str, Json] = {}
        async for step, raws in self._reader.around(DATASETS):
            step.records = [
                msgspec.structs.replace(record, origin=one_pass.options.origin)
                for record in step.records
                if isinstance(record, Dataset)
            ]
            found.update((key, raw) for raw in raws if isinstance(key := raw.get("id"), str))
            yield step
        self._datasets = found
        gone = Step(requests=0)
        live = partial(self._backlog.live_datasets, self._reader.workspace_id, one_pass.options.origin)
        for dataset in await one_pass.stored(live):
            if dataset.id not in found:
                gone.requests += 1
                if await self._reader.is_dataset_gone(dataset.id):
                    ended = msgspec.structs.replace(dataset, seen_at=one_pass.began, deleted_at=one_pass.began)
                    # The last look at it must not be the last word: it holds nothing any more.
                    gone.records += [ended, day_fact({"id": dataset.id, "app_count": 0}, (), 0, self._reader.telling())]
        yield gone

    async def _days(self, one_pass: Pass, tally: Tally) -> Steps:
        """What every knowledge base holds today."""
        before = {day.dataset_id: day for day in await one_pass.stored(self._backlog.last_days)}

        async def of_dataset(key: str) -> Step:
            step = await self._day(self._datasets[key], before.get(key), tally)
            self._counted.add(key)
            return step

        left = [key for key in self._datasets if key not in self._counted]
        due = (partial(of_dataset, key) for key in left if _in_time(one_pass, tally))
        async with aclosing(together(due, one_pass.width)) as answers:
            async for step in answers:
                yield step
        if not tally.is_interrupted:
            self._counted.clear()

    async def _day(self, raw: Json, before: DatasetDay | None, tally: Tally) -> Step:
        key, total = text(raw, "id") or "", None
        found, documents = Step(requests=0), list[Json]()
        try:
            async for step, raws in self._reader.around(DOCUMENTS, dataset_id=key):
                found.requests += 1
                documents += raws
                total = step.total
            if total is not None and len(documents) < total:
                log.warning("documents incomplete", dataset=key, listed=len(documents), counted=total)
                tally.missing += total - len(documents)
                return found
            day = day_fact(raw, documents, None, self._reader.telling())
            # Segments cost a question of their own: only where they may be others than when last asked.
            if before and before.segments is not None and _is_as_before(day, documents, before):
                segments: int | None = before.segments
            else:
                found.requests += 1
                segments = await self._reader.segments(key)
            found.records = [msgspec.structs.replace(day, segments=segments)]
            found.marks += self._reader.aside.take_up(DOCUMENTS.stream, None, key)
        except ShapeError as error:
            found.parse_failures += 1
            found.marks += self._reader.aside.lay(DOCUMENTS.stream, None, key, error, f"knowledge base {key}")
        except (NotFound, Forbidden):
            pass  # deleted since it was listed, or not for our role: others are
        return found

    async def _questions(self, one_pass: Pass, tally: Tally) -> Steps:
        """The questions put to every knowledge base, newest first, down to what is known."""
        origin = one_pass.options.origin
        mark = await one_pass.stored(partial(self._watermark, CONSOLE, RETRIEVALS, "", origin))
        refused: Forbidden | None = None
        for key in self._datasets:
            try:
                async for step in self._questions_of(one_pass, tally, key, mark):
                    yield step
            except NotFound:
                continue
            except Forbidden as error:
                refused = error
        if refused:
            raise refused

    async def _questions_of(self, one_pass: Pass, tally: Tally, key: str, mark: datetime | None) -> Steps:
        options, endpoint = one_pass.options, retrievals_of(key)
        known_to = self._asked_until.get(key) or mark
        if known_to is not None:
            until = known_to - options.overlap
            async for step, _ in self._reader.around(endpoint, until, dataset_id=key):
                yield step
        walk = self._walks.pop(key, None)
        if known_to is None:
            walk = self._reader.around(endpoint, options.since, dataset_id=key)
        if walk is None:
            self._asked_until[key] = one_pass.began
            return
        self._asked_until.pop(key, None)  # unless the walk reaches its end, or pauses well
        async for step, _ in walk:
            yield step
            if not _in_time(one_pass, tally):
                self._walks[key] = walk
                break
        self._asked_until[key] = one_pass.began


def _in_time(one_pass: Pass, tally: Tally) -> bool:
    """Whether there is time for one more; if not, the stream goes on in the next pass."""
    if not one_pass.in_time(SHARE):
        tally.is_interrupted = True
    return not tally.is_interrupted


def _is_as_before(day: DatasetDay, documents: list[Json], before: DatasetDay) -> bool:
    same = (day.documents, day.words) == (before.documents, before.words)
    return same and all(is_settled(document) for document in documents)
