"""What really happened in a simulated Dify, summed without any of its JSON.

What comes in is a World; what goes out are sums of its model calls. Every call stands in the world once, whatever the
nodes, runs, messages and statistics repeat of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal
from typing import TypeVar
from zoneinfo import ZoneInfo

from collector.demo.rows import Call
from collector.demo.world import World

_Amount = TypeVar("_Amount", int, Decimal)

_KEYS: dict[str, Callable[[Call, ZoneInfo], str]] = {
    "app": lambda call, _: call.app_id,
    "model": lambda call, _: call.usage.model.name,
    "provider": lambda call, _: call.usage.model.provider,
    "currency": lambda call, _: call.usage.currency,
    "day": lambda call, zone: call.created_at.astimezone(zone).date().isoformat(),
}


def told_calls(world: World, *, with_debug: bool = False, until: datetime | None = None) -> Iterator[Call]:
    """The calls a collector can know of: those Dify did not lose; debugging only on request."""
    for call in world.calls:
        if call.is_told and (with_debug or not call.is_debug) and (until is None or call.created_at < until):
            yield call


def tokens(world: World, *by: str, timezone: str = "UTC", with_debug: bool = False) -> dict[tuple[str, ...], int]:
    """Tokens by any of app, day, model, provider, currency."""
    return _sum(world, by, timezone, with_debug, lambda call: call.usage.total_tokens, 0)


def costs(world: World, *by: str, timezone: str = "UTC", with_debug: bool = False) -> dict[tuple[str, ...], Decimal]:
    """Money by any of app, day, model, provider; the currency is always the last of the key."""
    names = (*(name for name in by if name != "currency"), "currency")
    return _sum(world, names, timezone, with_debug, lambda call: call.usage.total_price, Decimal(0))


def calls(world: World, *by: str, timezone: str = "UTC", with_debug: bool = False) -> dict[tuple[str, ...], int]:
    """Model calls by any of app, day, model, provider, currency."""
    return _sum(world, by, timezone, with_debug, lambda _: 1, 0)


def _sum(
    world: World,
    by: tuple[str, ...],
    timezone: str,
    with_debug: bool,
    amount: Callable[[Call], _Amount],
    zero: _Amount,
) -> dict[tuple[str, ...], _Amount]:
    zone = ZoneInfo(timezone)
    keys = [_KEYS[name] for name in by]
    sums: dict[tuple[str, ...], _Amount] = {}
    for call in told_calls(world, with_debug=with_debug):
        place = tuple(key(call, zone) for key in keys)
        sums[place] = sums.get(place, zero) + amount(call)
    return sums
