"""Who pays and what it costs, of one store: payers, bills, lines for questions and budgets, by what the settings name.

What comes in are settings, a store and a clock; what goes out are those parts, kept up to date by schedules. Where the
settings name no file of payers or no price book, that part says so when it is asked. Nothing here rates.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import structlog

from collector import paying
from collector.billing.bills import Bills
from collector.billing.book_file import BookFile
from collector.billing.rated import SHORTEST_PAUSE, Rated
from collector.budget_post import BudgetPost
from collector.errors import SettingsError
from collector.faces import budgets
from collector.faces.prometheus import Tally
from collector.paying import Paying, Rows
from collector.schedule import Schedule
from collector.settings import Settings
from collector.store import Store

log = structlog.get_logger()

Clock = Callable[[], datetime]

BUDGETS_EVERY = timedelta(minutes=15)
"""How often budgets are looked at."""


class Money:
    """The payers, bills and budgets of one service. Raises SettingsError where a file that is named is wrong."""

    def __init__(self, settings: Settings, store: Store, clock: Clock) -> None:
        self._settings, self._store, self._clock = settings, store, clock
        self.paying = payers_in(settings, store)
        self.bills = bills_in(settings, store, clock)
        self.rated = rated_in(self.bills, store, clock, is_kept_up=True)
        self.budgets = budgets.Watch(self.bills.budgets)
        url = settings.budget_webhook
        self._post = BudgetPost(url, clock) if url else None

    def schedules(self) -> Iterator[Schedule]:
        """What keeps all of it up to date."""
        if self.paying is not None:
            yield Schedule(self.resolve_payers, self._settings.pull_interval, clock=self._clock)
        if self._settings.prices is not None:
            yield Schedule(self.watch_budgets, BUDGETS_EVERY, clock=self._clock)
            yield Schedule(self.rate, SHORTEST_PAUSE, clock=self._clock)

    async def resolve_payers(self) -> None:
        """Bring the table of who pays up to date, where there is a file that says so."""
        if self.paying is not None:
            await asyncio.to_thread(self.paying.refresh)

    def payer_report(self) -> Mapping[str, Any]:
        """How far the payers' file reaches now. Raises SettingsError where there is none, or it is wrong."""
        return payer_report(self._settings, self._store.rows, self._clock())

    async def watch_budgets(self) -> None:
        """Look at the budgets, and tell the webhook what is new. What it does not take is told again next time."""
        news = await asyncio.to_thread(self.budgets.refresh)
        for message in news:
            log.warning("budget", message=message["text"], next="nothing is blocked; see dify-metric bill budgets")
        if self._post is not None:
            await self._post.tell(news)

    async def rate(self) -> None:
        """Rate what has changed, where that is not too soon after the last look."""
        before = self.rated.looked_at
        if before is not None and self._clock() - before < self.rated.pause:
            return
        try:
            await asyncio.to_thread(self.rated.refresh)
        except SettingsError as error:
            log.warning("nothing rated", problem=str(error), next="what was rated before stays")

    def tallies(self) -> Iterator[Tally]:
        """What Prometheus is told of it."""
        yield Tally(
            "dify_metric_rated_timestamp_seconds",
            "When lines of bills were last made for questions and counters; no sample without a price book.",
            (),
            lambda: {(): self.rated.looked_at.timestamp()} if self.rated.looked_at else {},
            False,
        )
        for name, (said, _) in budgets.METRICS.items():
            yield Tally(name, said, budgets.LABELS, partial(self.budgets.values, name), False)


def payers_in(settings: Settings, store: Store) -> Paying | None:
    """Who pays, resolved in a store as the settings' file says; None where there is no file. Raises SettingsError."""
    if settings.payers is None:
        return None
    found = Paying(Path(settings.payers), store.rows, store.set_payers)
    found.refresh()
    return found


def payer_report(settings: Settings, rows: Rows, now: datetime) -> Mapping[str, Any]:
    """How far the payers' file of the settings reaches. Raises SettingsError where there is none, or it is wrong."""
    if settings.payers is None:
        raise SettingsError("payers: no file to look into; set it to the path of a .toml or .csv file")
    found: Mapping[str, Any] = msgspec.to_builtins(paying.report(Path(settings.payers), rows, now))
    return found


def bills_in(settings: Settings, store: Store, clock: Clock) -> Bills:
    """The bills of a store, by the settings' price book. Raises SettingsError where the book is wrong."""
    book = BookFile(settings.prices)
    if settings.prices is not None:
        book()
    return Bills(store.rows, store.arrow, store.close_period, book, clock)


def rated_in(bills: Bills, store: Store, clock: Clock, *, is_kept_up: bool = False) -> Rated:
    """The lines of these bills, for questions."""
    return Rated(bills, store.rows, store.keep_rated, clock, is_kept_up=is_kept_up)
