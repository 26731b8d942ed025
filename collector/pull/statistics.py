"""Dify's own statistics, read: what the console's charts show of an app, day by day, as records to compare ours with.

What comes in are a Console, an app and its days; what goes out is a Step of Statistics. Days are those of the calling
account's time zone, which is asked first. A day that Dify leaves out is a day with nothing: zero, and told as zero.
Nothing here stores or decides which days are due.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from collector.errors import NotFound, QueryError, Rejected, ShapeError
from collector.fields import Json, integer, items, money, required_text
from collector.ledger import Telling
from collector.period import Grain, Period, zone
from collector.pull.console import Console
from collector.pull.step import Step
from collector.records import App, Statistic

PROFILE = "/account/profile"
COSTS = frozenset({"message_cost"})
"""Statistics that are amounts of money."""


@dataclass(frozen=True)
class Figures:
    """One statistic: where it is, and what its fields are called here."""

    path: str
    names: Mapping[str, str]  # field of a day -> Statistic.name


_MESSAGES, _RUNS = "/apps/{app_id}/statistics", "/apps/{app_id}/workflow/statistics"

OF_MESSAGES = (
    Figures(f"{_MESSAGES}/daily-messages", {"message_count": "messages"}),
    Figures(f"{_MESSAGES}/daily-conversations", {"conversation_count": "conversations"}),
    Figures(f"{_MESSAGES}/daily-end-users", {"terminal_count": "end_users"}),
    Figures(f"{_MESSAGES}/token-costs", {"token_count": "message_tokens", "total_price": "message_cost"}),
)
OF_RUNS = (
    Figures(f"{_RUNS}/daily-conversations", {"runs": "runs"}),
    Figures(f"{_RUNS}/daily-terminals", {"terminal_count": "run_users"}),
    Figures(f"{_RUNS}/token-costs", {"token_count": "run_tokens"}),
)
STATISTICS: Mapping[str, tuple[Figures, ...]] = {
    "workflow": OF_RUNS,
    "advanced-chat": (*OF_RUNS, *OF_MESSAGES),
    "chat": OF_MESSAGES,
    "agent-chat": OF_MESSAGES,
    "completion": OF_MESSAGES,
}
"""The statistics of an app, by its mode."""


async def account_timezone(console: Console) -> str:
    """The IANA name of the zone in which Dify cuts this account's days. Raises ShapeError when there is none."""
    told = required_text(await console.get(PROFILE), "timezone")
    try:
        return zone(told).key
    except QueryError:
        raise ShapeError("timezone", "an IANA name", told) from None


async def statistics(console: Console, app: App, days: Period, telling: Telling) -> Step:
    """Every statistic of an app for the local days of a period, which begins and ends at a midnight.

    A statistic that this version or mode does not have is left out.
    """
    step = Step(requests=0)
    local = [days.local(at).date() for at in days.steps(Grain.DAY)]
    # The end is outside: the next day's midnight, or the last minute would be lost.
    asked = {"start": f"{local[0]} 00:00", "end": f"{local[-1] + timedelta(days=1)} 00:00"}
    for figures in STATISTICS.get(app.mode or "", ()):
        step.requests += 1
        try:
            body = await console.get(figures.path, asked, app_id=app.id)
        except (NotFound, Rejected):
            continue
        step.records += day_facts(body, figures, local, days, telling)
    return step


def day_facts(body: Json, figures: Figures, local: list[date], days: Period, telling: Telling) -> Iterator[Statistic]:
    """One answer -> a Statistic per name and day asked for. A sum that Dify does not know (null) is left out."""
    told = {required_text(day, "date"): day for day in items(body, "data")}
    for day in local:
        for field, name in figures.names.items():
            raw = told.get(day.isoformat())
            number, amount = _value(raw, field, name)
            if number is not None or amount is not None:
                yield Statistic(
                    source=telling.source,
                    seen_at=telling.seen_at,
                    id=f"{telling.app_id}/{name}/{day}/{days.zone.key}",
                    app_id=telling.app_id or "",
                    workspace_id=telling.workspace_id,
                    name=name,
                    day=day.isoformat(),
                    timezone=days.zone.key,
                    created_at=days.day_start(day),
                    number=number,
                    amount=amount,
                )


def _value(raw: Json | None, field: str, name: str) -> tuple[int | None, Decimal | None]:
    if name in COSTS:
        return None, Decimal(0) if raw is None else money(raw, field)
    return 0 if raw is None else integer(raw, field), None
