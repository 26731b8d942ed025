"""Dify's own statistics, digit for digit, computed from rows.

What comes in are rows (of the simulated world, or of a real database), a window and a time zone; what goes out is what
`/statistics/*` and `/workflow/statistics/*` answer. Days are calendar days of `created_at` in the account's time zone;
days without rows are absent. Pure: nothing is read or remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Protocol, TypeVar
from zoneinfo import ZoneInfo

import msgspec

from collector.demo.rows import Json

_FORMAT = "%Y-%m-%d %H:%M"


class CountedMessage(Protocol):
    """What the statistics read of a message."""

    @property
    def id(self) -> str: ...
    @property
    def conversation_id(self) -> str: ...
    @property
    def invoke_from(self) -> str | None: ...
    @property
    def from_end_user_id(self) -> str | None: ...
    @property
    def message_tokens(self) -> int: ...
    @property
    def answer_tokens(self) -> int: ...
    @property
    def total_price(self) -> Decimal | None: ...
    @property
    def provider_response_latency(self) -> float: ...
    @property
    def created_at(self) -> datetime: ...


class CountedRun(Protocol):
    """What the statistics read of a run."""

    @property
    def created_by_id(self) -> str: ...
    @property
    def total_tokens(self) -> int: ...
    @property
    def created_at(self) -> datetime: ...


class Born(Protocol):
    """A row with an id that was created at some instant."""

    @property
    def id(self) -> str: ...
    @property
    def created_at(self) -> datetime: ...


class Window(msgspec.Struct, frozen=True):
    """[start, end) as asked, either end open, looked at in a time zone."""

    start: datetime | None
    end: datetime | None
    zone: ZoneInfo

    @classmethod
    def asked(cls, start: str | None, end: str | None, zone: ZoneInfo) -> Window:
        """The window of a request's `start` and `end`. Raises ValueError with Dify's words."""
        found = cls(_instant(start, "start", zone), _instant(end, "end", zone), zone)
        if found.start and found.end and found.start > found.end:
            raise ValueError("start must be earlier than or equal to end")
        return found

    def holds(self, at: datetime) -> bool:
        """Whether the instant is inside."""
        return (self.start is None or at >= self.start) and (self.end is None or at < self.end)

    def day(self, at: datetime) -> date:
        """The calendar day of an instant."""
        return at.astimezone(self.zone).date()


class Subject(msgspec.Struct, frozen=True):
    """The rows of one app that its message statistics are made of."""

    messages: Sequence[CountedMessage]
    conversations: Sequence[Born]
    likes: Mapping[str, int]  # likes by message id, of users and admins


def local_instant(at: datetime, zone: ZoneInfo) -> datetime:
    """A wall-clock time -> an instant: ambiguous means standard time, one that never was an hour later."""
    early, late = at.replace(tzinfo=zone, fold=0), at.replace(tzinfo=zone, fold=1)
    first, second = early.utcoffset(), late.utcoffset()
    return late if first is not None and second is not None and first > second else early


def daily_messages(subject: Subject, window: Window) -> list[Json]:
    """Messages a day, errors included, debugging not."""
    return _daily(subject, window, lambda rows: {"message_count": len(rows)})


def daily_conversations(subject: Subject, window: Window) -> list[Json]:
    """Conversations a day: one counts on each day it has a message."""
    return _daily(subject, window, lambda rows: {"conversation_count": len({row.conversation_id for row in rows})})


def daily_end_users(subject: Subject, window: Window) -> list[Json]:
    """End users a day; accounts do not count."""
    return _daily(
        subject, window, lambda rows: {"terminal_count": len({row.from_end_user_id for row in rows} - {None})}
    )


def token_costs(subject: Subject, window: Window) -> list[Json]:
    """Tokens and money a day; the currency is called USD whatever the rows say."""
    return _daily(subject, window, _token_cost)


def average_session_interactions(subject: Subject, window: Window) -> list[Json]:
    """Messages (of all time) per conversation, by the day the conversation began."""
    counts: dict[str, int] = {}
    for row in subject.messages:
        if _counts(row):
            counts[row.conversation_id] = counts.get(row.conversation_id, 0) + 1
    born = [row for row in subject.conversations if row.id in counts]
    return [
        {"date": day.isoformat(), "interactions": _hundredths(sum(counts[row.id] for row in rows), len(rows))}
        for day, rows in _by_day(born, window)
    ]


def user_satisfaction_rate(subject: Subject, window: Window) -> list[Json]:
    """Likes per thousand messages; a message liked by two sides makes two rows of the join."""

    def rate(rows: list[CountedMessage]) -> Json:
        likes = [subject.likes.get(row.id, 0) for row in rows]
        return {"rate": round(1000 * sum(likes) / sum(max(1, n) for n in likes), 2)}

    return _daily(subject, window, rate)


def average_response_time(subject: Subject, window: Window) -> list[Json]:
    """Milliseconds per message, errors (with 0) included."""
    return _daily(
        subject,
        window,
        lambda rows: {"latency": round(sum(row.provider_response_latency for row in rows) / len(rows) * 1000, 4)},
    )


def tokens_per_second(subject: Subject, window: Window) -> list[Json]:
    """Answer tokens per second of whole latency."""

    def speed(rows: list[CountedMessage]) -> Json:
        seconds = sum(row.provider_response_latency for row in rows)
        return {"tps": round(sum(row.answer_tokens for row in rows) / seconds, 4) if seconds else 0.0}

    return _daily(subject, window, speed)


def daily_runs(runs: Iterable[CountedRun], window: Window) -> list[Json]:
    """Runs a day, of every status."""
    return [{"date": day.isoformat(), "runs": len(rows)} for day, rows in _by_day(runs, window)]


def daily_terminals(runs: Iterable[CountedRun], window: Window) -> list[Json]:
    """People who ran it a day, end users and accounts."""
    return [
        {"date": day.isoformat(), "terminal_count": len({row.created_by_id for row in rows})}
        for day, rows in _by_day(runs, window)
    ]


def run_tokens(runs: Iterable[CountedRun], window: Window) -> list[Json]:
    """Tokens a day: a number written as text."""
    return [
        {"date": day.isoformat(), "token_count": str(sum(row.total_tokens for row in rows))}
        for day, rows in _by_day(runs, window)
    ]


def average_app_interactions(runs: Iterable[CountedRun], window: Window) -> list[Json]:
    """Runs per person a day."""
    return [
        {"date": day.isoformat(), "interactions": _hundredths(len(rows), len({row.created_by_id for row in rows}))}
        for day, rows in _by_day(runs, window)
    ]


_TALKING = frozenset({"chat", "agent-chat", "advanced-chat"})
_ALL = _TALKING | {"completion", "workflow"}

MESSAGE_STATISTICS: dict[str, tuple[Callable[[Subject, Window], list[Json]], frozenset[str]]] = {
    "daily-messages": (daily_messages, _ALL),
    "daily-conversations": (daily_conversations, _ALL),
    "daily-end-users": (daily_end_users, _ALL),
    "token-costs": (token_costs, _ALL),
    "average-session-interactions": (average_session_interactions, _TALKING),
    "user-satisfaction-rate": (user_satisfaction_rate, _ALL),
    "average-response-time": (average_response_time, frozenset({"completion"})),
    "tokens-per-second": (tokens_per_second, _ALL),
}
"""`/apps/{id}/statistics/<name>`: the function, and the modes of app that have it."""

RUN_STATISTICS: dict[str, tuple[Callable[[Iterable[CountedRun], Window], list[Json]], frozenset[str]]] = {
    "daily-conversations": (daily_runs, _ALL),
    "daily-terminals": (daily_terminals, _ALL),
    "token-costs": (run_tokens, _ALL),
    "average-app-interactions": (average_app_interactions, frozenset({"workflow"})),
}
"""`/apps/{id}/workflow/statistics/<name>`: over runs with `triggered_from=app-run`."""


_Row = TypeVar("_Row", CountedMessage, CountedRun, Born)


def _daily(subject: Subject, window: Window, value: Callable[[list[CountedMessage]], Json]) -> list[Json]:
    counted = (row for row in subject.messages if _counts(row))
    return [{"date": day.isoformat(), **value(rows)} for day, rows in _by_day(counted, window)]


def _counts(row: CountedMessage) -> bool:
    """SQL's `invoke_from != 'debugger'`: NULL is not unequal to anything."""
    return row.invoke_from is not None and row.invoke_from != "debugger"


def _by_day(rows: Iterable[_Row], window: Window) -> list[tuple[date, list[_Row]]]:
    days: dict[date, list[_Row]] = {}
    for row in rows:
        if window.holds(row.created_at):
            days.setdefault(window.day(row.created_at), []).append(row)
    return sorted(days.items(), key=lambda found: found[0])


def _token_cost(rows: list[CountedMessage]) -> Json:
    prices = [row.total_price for row in rows if row.total_price is not None]
    return {
        "token_count": sum(row.message_tokens + row.answer_tokens for row in rows),
        "total_price": f"{sum(prices, Decimal(0)):.7f}" if prices else None,
        "currency": "USD",
    }


def _hundredths(total: int, parts: int) -> float:
    return float((Decimal(total) / Decimal(parts)).quantize(Decimal("0.01"), ROUND_HALF_EVEN))


def _instant(written: str | None, name: str, zone: ZoneInfo) -> datetime | None:
    if not written:
        return None
    try:
        return local_instant(datetime.strptime(written, _FORMAT).replace(second=0), zone)
    except ValueError as error:
        raise ValueError(f"Invalid {name} time format: {error}") from None
