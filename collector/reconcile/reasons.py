"""Why the total of one fact differs from its calls: figures of a run or message in, causes with their amounts out.

Amounts are Dify's number less ours, and always add up to the whole difference: what no cause makes up for is
`unexplained`. Pure: nothing is read or remembered.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import TypeAlias

from collector.quirks import ITERATION, LOOP, Effect, Quirk, Total, Version, quirks
from collector.reconcile.causes import (
    ESTIMATED,
    OPEN,
    PRICE_UNTOLD,
    ROUNDED,
    UNEXPLAINED,
    UNPRICED_CALLS,
    UNREAD,
    UNTOLD,
)
from collector.reconcile.figures import Amount, MessageFigures, RunFigures, size
from collector.records import STALE

SMALLEST_PRICE = Decimal("0.0000001")
"""Dify keeps the price of a message to seven decimals."""

Reasons: TypeAlias = list[tuple[str, Amount]]
"""Causes and their amounts."""


def of_nodes(run: RunFigures) -> Reasons:
    """Why what the nodes tell is not what the calls spent."""
    known = [
        ("container_repeated", run.containers),
        ("tool_repeated", run.tools),
        (UNTOLD, -run.untold),
        (ESTIMATED, -run.estimated),
    ]
    rest = run.nodes - run.calls - sum(amount for _, amount in known)
    return _told([*known, (OPEN if run.is_open else UNEXPLAINED if run.is_read else UNREAD, rest)])


def of_run(run: RunFigures, mode: str, version: Version | None) -> Reasons:
    """Why a run's total is not what its calls spent."""
    rest = run.reported - run.calls
    if not run.is_odd:
        return _told([("tool_repeated", run.added)])
    if run.is_open:
        return _told([(OPEN, rest)])
    if rest < 0 and run.status in ("stopped", STALE):
        return [("stopped_run", rest)]
    if rest == run.added:
        return _told([("tool_repeated", rest)])
    return _rest(run, run.tools, run.status, mode, version)


def of_message(message: MessageFigures, mode: str, version: Version | None) -> Reasons:
    """Why a message's tokens are not what its calls spent."""
    rest = message.reported - message.calls
    if message.is_open:
        return _told([(OPEN, rest)])
    if rest == message.added:
        return _told([("tool_repeated", rest)])
    if not message.reported:
        return [(_of_empty(message, mode, version), rest)]
    if message.is_run_open:
        return [(OPEN, rest)]
    tools = message.added if message.reported == message.run_reported else 0
    return _rest(message, tools, message.status, mode, version, Total.MESSAGE)


def of_cost(message: MessageFigures, of_tokens: Reasons) -> Reasons:
    """Why a message's price is not that of its calls: mostly for the reason (`of_tokens`) its tokens are not theirs."""
    rest = (message.told_cost or 0) - message.cost
    if not rest:
        return []
    if abs(rest) <= SMALLEST_PRICE * message.facts:
        return [(ROUNDED, rest)]
    if of_tokens:
        return [(max(of_tokens, key=lambda reason: size(reason[1]))[0], rest)]
    if message.told_cost is None:
        return [(OPEN if message.is_open else PRICE_UNTOLD, rest)]
    if rest > 0 and message.unpriced:
        return [(UNPRICED_CALLS, rest)]
    return [(UNEXPLAINED, rest)]


def _of_empty(message: MessageFigures, mode: str, version: Version | None) -> str:
    """Why a message has no tokens though calls were made."""
    if message.status == "failed":
        return "failed_message"
    if message.status == "stopped" or message.is_run_stopped:
        return "stopped_run"
    if message.status == STALE:
        return "empty_message"
    if message.is_run_open:
        return OPEN
    found = (quirk for quirk in _doubted(mode, version, Total.MESSAGE) if quirk.effect is Effect.ZERO)
    quirk = next(found, None)
    return quirk.name if quirk else UNEXPLAINED


def _rest(
    fact: RunFigures | MessageFigures,
    tools: int,
    status: str,
    mode: str,
    version: Version | None,
    total: Total = Total.RUN,
) -> Reasons:
    """A difference that only a defect of the version can make up for, or calls that were not read yet."""
    rest = fact.reported - fact.calls
    if not fact.is_read:
        return [(UNREAD, rest)]
    for quirk in _doubted(mode, version, total, status=status):
        for added in dict.fromkeys((tools, 0)):
            if _makes_up(quirk, fact, rest - added):
                return _told([("tool_repeated", added), (quirk.name, rest - added)])
    added = tools if abs(rest - tools) < abs(rest) else 0
    return [*_told([("tool_repeated", added)]), (UNEXPLAINED, rest - added)]


def _doubted(mode: str, version: Version | None, total: Total, *, status: str = "") -> Iterator[Quirk]:
    if version is not None:
        for quirk in quirks(version, total):
            is_fallback = quirk.name == "fallback_finish" and status == "failed"
            if (quirk.is_defect or is_fallback) and (not quirk.modes or mode in quirk.modes):
                yield quirk


def _makes_up(quirk: Quirk, fact: RunFigures | MessageFigures, rest: int) -> bool:
    """Whether a defect gives just this difference; of those without a rule, its direction has to be right."""
    inside = (ITERATION in quirk.containers) * fact.in_iterations + (LOOP in quirk.containers) * fact.in_loops
    match quirk.effect:
        case Effect.INNER_MISSING:
            return rest == -inside
        case Effect.INNER_TWICE:
            return rest == inside
        case Effect.ZERO:
            return not fact.reported and rest < 0
        case Effect.TOO_MUCH:
            return rest > 0 and inside > 0
        case Effect.TOO_LITTLE:
            return rest < 0
    return False


def _told(reasons: Reasons) -> Reasons:
    return [(cause, amount) for cause, amount in reasons if amount]
