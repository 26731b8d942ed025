"""How every source of facts stands: when it last answered, how far it lags, what went wrong and what to do about it.

What comes in are the sources of a service and its store's rows; what goes out are plain values, one for each source.
Nothing here asks a source anything, and nothing of a credential goes out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from pydantic import SecretStr

from collector.companion import Companion
from collector.faces.sources import REMEDIES
from collector.measures.query import Query, Rows, run
from collector.period import Period, zone
from collector.records import BROKER, CONSOLE, DATABASE, Pull
from collector.sources import Source

Plain: TypeAlias = dict[str, Any]

UP, STARTING, PARTLY, BEHIND, DOWN, REFUSED = "up", "starting", "partly", "behind", "down", "refused"
"""What a source can be. partly: the last pass could not read every stream; behind: what is stored is old."""

LOOKED_BACK = timedelta(days=7)
"""Passes that ended before are not told of."""

LAGS_AFTER = timedelta(minutes=15)
"""A source lags when what is stored ends so long ago, or four of its intervals ago if that is longer."""

TAP = "tap"


@dataclass(frozen=True)
class _Seen:
    """What the store knows of a source."""

    last_success: datetime | None = None
    complete_until: datetime | None = None
    pulls: int = 0
    failures: int = 0


def standing(sources: Sequence[Source], tap: Companion | None, rows: Rows, now: datetime) -> list[Plain]:
    """Every source there is, each Dify's together; [] where nothing is set."""
    seen = _seen(rows, now) if sources else {}
    found = [one for source in sources for one in _of(source, seen, now)]
    return found + ([_tap(tap)] if tap is not None else [])


def _of(source: Source, seen: Mapping[tuple[str, str], _Seen], now: datetime) -> Iterator[Plain]:
    given = source.given
    how: Plain
    if source.console:
        how = {"is_up": source.is_up, "refused": source.console.refused, "every": source.pull_interval}
        yield _one(source, CONSOLE, seen, now, place=given.url, **how)
    if source.database:
        how = {
            "is_up": source.database.is_up,
            "refused": source.database.refused,
            "every": given.database_interval,
        }
        yield _one(source, DATABASE, seen, now, place=_host(given.database_url), **how)
    if source.queues:
        how = {"is_up": source.queues.is_up, "refused": None, "every": given.broker_interval}
        yield _one(source, BROKER, seen, now, place=_host(given.broker_url), **how)


def _one(
    source: Source,
    way: str,
    seen: Mapping[tuple[str, str], _Seen],
    now: datetime,
    *,
    place: str | None,
    is_up: bool,
    refused: str | None,
    every: timedelta,
) -> Plain:
    known, latest, turns = seen.get((source.name, way), _Seen()), source.latest.get(way, []), source.turns[way]
    lag = now - known.complete_until if known.complete_until and way != BROKER else None
    streams = list(_streams(latest))
    failed = [each for each in streams if each["error_class"]]
    if refused:
        state = REFUSED
    elif not latest and not turns["finished"] and not turns["failed"]:
        state = STARTING
    elif not is_up:
        state = DOWN
    elif failed:
        state = PARTLY
    else:
        state = BEHIND if lag is not None and lag > max(LAGS_AFTER, 4 * every) else UP
    error_class = next((each["error_class"] for each in failed), None)
    return {
        "name": source.name,
        "way": way,
        "place": place,
        "state": state,
        "last_success": known.last_success,
        "complete_until": known.complete_until,
        "lag_seconds": lag.total_seconds() if lag is not None else None,
        "every_seconds": every.total_seconds(),
        "pulls": known.pulls,
        "failures": known.failures,
        "error_class": error_class,
        "problem": refused,
        "streams": streams,
        **_remedy(state, error_class),
    }


def _tap(tap: Companion) -> Plain:
    state = UP if tap.listen is not None else DOWN
    nothing = dict.fromkeys(("last_success", "complete_until", "lag_seconds", "every_seconds", "problem"))
    return {
        "name": TAP,
        "way": TAP,
        "place": tap.listen,
        "state": state,
        **nothing,
        "pulls": 0,
        "failures": 0,
        "error_class": None,
        "streams": [],
        **_remedy(state, TAP if state == DOWN else None),
    }


def _remedy(state: str, error_class: str | None) -> Plain:
    """What to do: about the error where there is one, else about the state."""
    if state == UP:
        return {"remedy": None, "remedy_zh": None}
    found = REMEDIES.get(error_class or "") if state in (DOWN, PARTLY) else None
    english, chinese = found or REMEDIES[state]
    return {"remedy": english, "remedy_zh": chinese}


def _streams(pulls: Sequence[Pull]) -> Iterator[Plain]:
    """The last pass by stream: in how many apps it was read, and what went wrong most often."""
    for stream in dict.fromkeys(pull.stream for pull in pulls):
        of_stream = [pull for pull in pulls if pull.stream == stream]
        errors = Counter(pull.error_class for pull in of_stream if pull.error_class)
        yield {
            "stream": stream,
            "apps": len({pull.app_id for pull in of_stream if pull.app_id}),
            "records": sum(pull.records for pull in of_stream),
            "set_aside": sum(pull.parse_failures for pull in of_stream),
            "error_class": errors.most_common(1)[0][0] if errors else None,
            "failed": sum(errors.values()),
            "is_complete": all(pull.is_complete for pull in of_stream),
        }


def _seen(rows: Rows, now: datetime) -> dict[tuple[str, str], _Seen]:
    asked = Query.of(
        ("last_complete_pull", "pulls", "pull_failures", "complete_until"),
        by=("origin", "source"),
        period=Period(now - LOOKED_BACK, now, zone("UTC")),
    )
    return {
        (row["origin"], row["source"]): _Seen(
            row["last_complete_pull"], row["complete_until"], row["pulls"] or 0, row["pull_failures"] or 0
        )
        for row in map(dict[str, Any], run(asked, rows, now=now).rows)
    }


def _host(url: SecretStr | None) -> str | None:
    """The host and port of an address that may hold a password; None where it tells none."""
    told = urlsplit(url.get_secret_value()) if url else None
    if told is None or not told.hostname:
        return None
    return f"{told.hostname}:{told.port}" if told.port else told.hostname
