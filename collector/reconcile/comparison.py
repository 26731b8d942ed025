"""One zone's apps over some days: every fact's reasons summed by app, day and kind, then Dify's own counts beside them.

What comes in is `rows` and what is known of the site; what goes out are Differences. What Dify's statistics say beyond
the facts they should count is late, cleaned away, undecided or unexplained. Nothing here is SQL.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import partial

from collector.period import Period, zone
from collector.reconcile import figures, heads, reasons, site
from collector.reconcile.causes import (
    APP_DELETED,
    CLEANED,
    COMPLETIONS_UNREAD,
    CONSOLE_TEST,
    DEBUG_UNKNOWN,
    LATE,
    MESSAGE_MISSING,
    OPEN,
    ORIGIN_UNKNOWN,
    PRICE_UNTOLD,
    TRIGGER_LEFT_OUT,
    UNEXPLAINED,
    USER_UNKNOWN,
)
from collector.reconcile.difference import STATISTICS, Difference, Kind, Reason
from collector.reconcile.figures import Amount, MessageFigures, Rows, RunFigures, Told, size
from collector.reconcile.heads import Heads, RunHeads
from collector.reconcile.site import COMPLETION, MESSAGE_STREAMS, RUN_STREAMS, Marks, Place, Releases

READ_AS_HISTORY = timedelta(days=3)
"""A statistic that we first had so long after its day was asked for as history: Dify may have cleaned up before."""


@dataclass
class _Row:
    ours: Amount = 0
    theirs: Amount = 0
    amounts: dict[str, Amount] = field(default_factory=dict)
    facts: Counter[str] = field(default_factory=Counter)


@dataclass
class _Day:
    """What is known of the facts of one app and day."""

    has_open: bool = False
    ended_at: datetime | None = None
    unsure: list[MessageFigures] = field(default_factory=list)  # test or real is not known
    messages: int = 0
    untold_prices: int = 0  # messages that spent tokens and do not tell their price
    nameless: int = 0  # runs whose user nobody told
    heads: Heads | None = None

    def saw(self, fact: RunFigures | MessageFigures) -> None:
        self.has_open = self.has_open or fact.is_open
        self.ended_at = max((at for at in (self.ended_at, fact.ended_at) if at), default=None)


class Comparison:
    """One zone's apps over some days."""

    def __init__(
        self,
        rows: Rows,
        here: Sequence[Place],
        timezone: str,
        first: date,
        last: date,
        releases: Releases,
        marks: Marks,
    ) -> None:
        place = zone(timezone)
        around = Period(datetime(2000, 1, 1, tzinfo=place), datetime(2000, 1, 2, tzinfo=place), place)
        self._days = Period(around.day_start(first), around.day_start(last + timedelta(days=1)), place)
        self._places = {each.app_id: each for each in here}
        self._first, self._last = first, last
        self._rows, self._releases, self._marks = rows, releases, marks
        self._found: dict[tuple[str, date, Kind], _Row] = {}
        self._known: dict[tuple[str, date], _Day] = {}
        self._began: dict[str, datetime] = {}  # by app, our oldest fact

    def differences(self, kinds: frozenset[Kind]) -> list[Difference]:
        """Read, compare, and account for what Dify's statistics say."""
        apps = list(self._places)
        for run in figures.runs(self._rows, self._days, apps):
            self._take_run(run)
        for message in figures.messages(self._rows, self._days, apps):
            self._take_message(message)
        for names in heads.of_messages(self._rows, self._days, apps):
            self._day(names.app_id, names.day).heads = names
        for users in heads.of_runs(self._rows, self._days, apps):
            self._take_users(users)
        for request in figures.requests(self._rows, self._days, apps):
            self._take_requests(request)
        self._take_statistics()
        return [
            self._difference(app_id, day, kind, row)
            for (app_id, day, kind), row in self._found.items()
            if kind in kinds and (row.ours or row.theirs or row.facts)
        ]

    def _row(self, app_id: str, day: date, kind: Kind) -> _Row:
        return self._found.setdefault((app_id, day, kind), _Row())

    def _day(self, app_id: str, day: date) -> _Day:
        return self._known.setdefault((app_id, day), _Day())

    def _take_run(self, run: RunFigures) -> None:
        self._day(run.app_id, run.day).saw(run)
        place = self._places[run.app_id]
        version = self._releases.at(run.workspace_id or place.workspace_id, run.created_at)
        why = reasons.of_run(run, place.mode, version)
        add = partial(self._add, run.app_id, run.day, run.facts)
        add(Kind.NODE_TOKENS, run.calls, run.nodes, reasons.of_nodes(run))
        add(Kind.RUN_TOKENS, run.calls, run.reported, why)
        if run.is_counted:
            add(Kind.RUN_STATISTIC, run.calls, run.reported, why)
            add(Kind.RUNS, run.facts, run.facts, [])
        else:
            add(Kind.RUN_STATISTIC, run.calls, 0, [(TRIGGER_LEFT_OUT, -run.calls)])
            add(Kind.RUNS, run.facts, 0, [(TRIGGER_LEFT_OUT, -run.facts)])
        if place.is_chatflow and not run.has_message and run.calls:
            gone: reasons.Reasons = [(OPEN if run.is_open else MESSAGE_MISSING, -run.calls)]
            add(Kind.MESSAGE_TOKENS, run.calls, 0, gone)
            add(Kind.MESSAGE_STATISTIC, run.calls, 0, gone)
            add(Kind.MESSAGE_COST, run.cost, 0, [(gone[0][0], -run.cost)])

    def _take_message(self, message: MessageFigures) -> None:
        day = self._day(message.app_id, message.day)
        day.saw(message)
        day.messages += message.facts
        day.untold_prices += message.untold if message.is_counted else 0
        place = self._places[message.app_id]
        version = self._releases.at(message.workspace_id or place.workspace_id, message.created_at)
        why = reasons.of_message(message, place.mode, version)
        add = partial(self._add, message.app_id, message.day, message.facts)
        add(Kind.MESSAGE_TOKENS, message.calls, message.reported, why)
        if not message.is_debug_known and message.is_counted:
            day.unsure.append(message)
        elif message.is_counted:
            self._count_message(message, why)
        else:
            self._leave_out(message, ORIGIN_UNKNOWN)

    def _count_message(self, message: MessageFigures, why: reasons.Reasons) -> None:
        """Messages that Dify's statistics count."""
        add = partial(self._add, message.app_id, message.day, message.facts)
        add(Kind.MESSAGE_STATISTIC, message.calls, message.reported, why)
        add(Kind.MESSAGE_COST, message.cost, message.told_cost or 0, reasons.of_cost(message, why))
        add(Kind.MESSAGES, message.facts, message.facts, [])

    def _leave_out(self, message: MessageFigures, cause: str) -> None:
        """Messages that they do not count."""
        add = partial(self._add, message.app_id, message.day, message.facts)
        add(Kind.MESSAGE_STATISTIC, message.calls, 0, [(cause, -message.calls)])
        add(Kind.MESSAGE_COST, message.cost, 0, [(cause, -message.cost)])
        add(Kind.MESSAGES, message.facts, 0, [(cause, -message.facts)])

    def _take_users(self, users: RunHeads) -> None:
        self._day(users.app_id, users.day).nameless = users.nameless
        left_out = users.counted_users - users.users
        add = partial(self._add, users.app_id, users.day, 0)
        add(Kind.RUN_USERS, users.users, users.counted_users, [(TRIGGER_LEFT_OUT, left_out)])

    def _take_heads(self, app_id: str, day: date, *, is_sure: bool) -> None:
        """Conversations and end users; `is_sure`: of messages that are known to be no tests only."""
        found = self._day(app_id, day).heads
        if found is None:
            return
        for kind, every, counted, sure in (
            (Kind.CONVERSATIONS, found.conversations, found.counted_conversations, found.sure_conversations),
            (Kind.END_USERS, found.end_users, found.counted_end_users, found.sure_end_users),
        ):
            theirs = sure if is_sure else counted
            why: reasons.Reasons = [(ORIGIN_UNKNOWN, counted - every), (CONSOLE_TEST, theirs - counted)]
            self._add(app_id, day, 0, kind, every, theirs, why)

    def _take_requests(self, request: figures.RequestFigures) -> None:
        missing = request.seen - request.known
        cause = self._of_missing_requests(self._places[request.app_id], request.day)
        self._add(request.app_id, request.day, missing, Kind.REQUESTS, request.known, request.seen, [(cause, missing)])

    def _of_missing_requests(self, place: Place, day: date) -> str:
        if place.is_deleted:
            return APP_DELETED
        streams = RUN_STREAMS if place.mode == "workflow" else MESSAGE_STREAMS
        if place.mode == COMPLETION and self._marks.facts(place.app_id, streams) is None:
            return COMPLETIONS_UNREAD
        return UNEXPLAINED if self._is_read(place.app_id, day, streams) else LATE

    def _take_statistics(self) -> None:
        told = site.statistics(self._rows, self._days.zone.key, self._first, self._last)
        first_days = site.first_days(self._rows, self._days.zone.key)
        self._began = site.first_facts(self._rows)
        told = {key: number for key, number in told.items() if key[0] in self._places}
        places = dict.fromkeys([*self._known, *((app_id, day) for app_id, _, day in told)])
        for app_id, day in places:
            self._decide(app_id, day, told.get((app_id, "messages", day)))
            for kind, name in STATISTICS.items():
                number = told.get((app_id, name, day))
                if number is None:
                    self._found.pop((app_id, day, kind), None)
                else:
                    self._settle(app_id, day, kind, number, first_days.get((app_id, name)))

    def _decide(self, app_id: str, day: date, told: Told | None) -> None:
        """Whether messages that may be tests are: Dify's own count of the day says so, where it is all or none."""
        known = self._day(app_id, day)
        unsure, sure = known.unsure, self._row(app_id, day, Kind.MESSAGES).theirs
        total, mode = sum(message.facts for message in unsure), self._places[app_id].mode
        counted = total if told is None else min(max(int(told.number) - int(sure), 0), total)
        if told is not None and not self._is_complete(app_id, day, Kind.MESSAGES):
            counted = total
        for message in unsure:
            if counted:
                version = self._releases.at(message.workspace_id, message.created_at)
                self._count_message(message, reasons.of_message(message, mode, version))
            else:
                self._leave_out(message, CONSOLE_TEST)
        self._take_heads(app_id, day, is_sure=not counted)
        if counted in (0, total):
            unsure.clear()  # settled

    def _settle(self, app_id: str, day: date, kind: Kind, told: Told, first_day: date | None) -> None:
        """Account for what is left between the facts that Dify should count and what it says."""
        left = told.number - self._row(app_id, day, kind).theirs
        if left:
            self._add(app_id, day, 0, kind, 0, left, [(self._of_rest(app_id, day, kind, told, left, first_day), left)])

    def _of_rest(self, app_id: str, day: date, kind: Kind, told: Told, left: Amount, first_day: date | None) -> str:
        place, known = self._places[app_id], self._day(app_id, day)
        if place.mode == COMPLETION and left > 0 and self._marks.facts(app_id, MESSAGE_STREAMS) is None:
            return COMPLETIONS_UNREAD
        if not self._is_complete(app_id, day, kind):
            return LATE
        if left > 0 and kind is Kind.MESSAGE_COST and known.untold_prices:
            return PRICE_UNTOLD
        if left > 0 and kind is Kind.RUN_USERS and known.nameless:
            return USER_UNKNOWN
        if left < 0 and self._is_cleaned(app_id, day, told, first_day):
            return CLEANED
        if known.unsure and kind.is_of_messages:
            return DEBUG_UNKNOWN
        return UNEXPLAINED

    def _is_cleaned(self, app_id: str, day: date, told: Told, first_day: date | None) -> bool:
        """Read long after the day, and nothing counted before it: what Dify had was gone by then.

        The first day that Dify counts may be the one it has cleaned up to, where we know of older facts.
        """
        if told.seen_at < self._end(day) + READ_AS_HISTORY:
            return False
        if first_day is None or day < first_day:
            return told.number == 0
        began = self._began.get(app_id)
        return day == first_day and began is not None and began < self._days.day_start(day)

    def _is_complete(self, app_id: str, day: date, kind: Kind) -> bool:
        """Whether both sides were read after everything of that day had ended."""
        known = self._day(app_id, day)
        if known.has_open or not self._is_read(app_id, day, self._streams(app_id, kind)):
            return False
        if kind.statistic is None:
            return True
        read_until = self._marks.statistics(app_id)
        return read_until is not None and read_until >= max(self._end(day), known.ended_at or self._end(day))

    def _streams(self, app_id: str, kind: Kind) -> tuple[str, ...]:
        place = self._places[app_id]
        if kind is Kind.REQUESTS:
            return RUN_STREAMS if place.mode == "workflow" else MESSAGE_STREAMS
        if place.is_chatflow and kind.needs_calls:
            return (*RUN_STREAMS, *kind.streams)
        if place.is_chatflow and kind is Kind.RUN_USERS:  # who asked stands at the message
            return (*RUN_STREAMS, *MESSAGE_STREAMS)
        return kind.streams

    def _is_read(self, app_id: str, day: date, streams: Sequence[str]) -> bool:
        reached = self._marks.facts(app_id, streams)
        return reached is not None and reached >= self._end(day)

    def _end(self, day: date) -> datetime:
        return self._days.day_start(day + timedelta(days=1))

    def _add(
        self, app_id: str, day: date, facts: int, kind: Kind, ours: Amount, theirs: Amount, why: reasons.Reasons
    ) -> None:
        row = self._row(app_id, day, kind)
        row.ours += ours
        row.theirs += theirs
        for cause, amount in why:
            if amount:
                row.amounts[cause] = row.amounts.get(cause, 0) + amount
                row.facts[cause] += facts

    def _difference(self, app_id: str, day: date, kind: Kind, row: _Row) -> Difference:
        place = self._places[app_id]
        return Difference(
            app_id=app_id,
            app_name=place.name,
            workspace_id=place.workspace_id,
            day=day,
            timezone=self._days.zone.key,
            kind=kind,
            ours=row.ours,
            theirs=row.theirs,
            reasons=tuple(
                Reason(cause, row.amounts[cause], number)
                for cause, number in sorted(row.facts.items(), key=lambda found: (-size(row.amounts[found[0]]), found))
            ),
            is_complete=self._is_complete(app_id, day, kind),
        )
