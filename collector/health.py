"""What a service tells Prometheus about itself: how its sources answer, how its passes go, what they warned of.

What comes in are sources and the store's rows; what goes out are Tallies. Counts begin anew with the process; what was
set aside and whether a source is up tell of now. Nothing here counts a fact of Dify.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias, cast

from collector.collect.streams import STREAM_NAMES
from collector.faces.prometheus import Tally
from collector.paying import Rows
from collector.records import BROKER, CONSOLE, DATABASE
from collector.sources import Source

Values: TypeAlias = dict[tuple[str, ...], float]

_ASIDE = "SELECT origin, stream, count(*) FROM set_aside GROUP BY origin, stream"


def tallies(sources: Sequence[Source], rows: Rows) -> Iterator[Tally]:
    """Every family about sources; none where there is no source."""
    if not sources:
        return
    yield Tally(
        "dify_metric_source_up",
        "Whether the last pass over Dify's apps, by API or database, or the last look at its queues, succeeded.",
        ("origin", "source"),
        lambda: up(sources),
        False,
    )
    yield Tally(
        "dify_metric_source_refused",
        "Whether Dify refused our credentials: it is not asked again before a restart.",
        ("origin", "source"),
        lambda: _refused(sources),
        False,
    )
    yield Tally(
        "dify_metric_source_requests_total",
        "Requests to Dify, retries included, since this process began; code is the HTTP status or what went wrong.",
        ("origin", "source", "endpoint", "code"),
        lambda: _requests(sources),
    )
    yield Tally(
        "dify_metric_passes_total",
        "Scheduled passes since this process began; missed: their turn came while the one before was at work.",
        ("origin", "source", "outcome"),
        lambda: {
            (each.name, source, outcome): float(number)
            for each in sources
            for source, turns in each.turns.items()
            for outcome, number in turns.items()
        },
    )
    yield Tally(
        "dify_metric_warnings_total",
        "What passes warned of since this process began; the log has the details and what to do.",
        ("origin", "warning"),
        lambda: {(each.name, warning): float(number) for each in sources for warning, number in each.warnings.items()},
    )
    yield Tally(
        "dify_metric_backlog",
        "Runs whose nodes, and conversations whose messages, the last pass had no time or budget to read.",
        ("origin", "stream"),
        lambda: {(each.name, stream): float(left) for each in sources for stream, left in each.backlog.items()},
        False,
    )
    yield Tally(
        "dify_metric_records_set_aside",
        "Records of Dify that could not be read and were not since: GET /api/v1/set-aside lists them.",
        ("origin", "stream"),
        lambda: _set_aside(sources, rows),
        False,
    )


def up(sources: Sequence[Source]) -> Values:
    """1 or 0 by name of the Dify and source of facts: whether the last pass by it succeeded."""
    found: Values = {}
    for each in sources:
        if each.console:
            found[each.name, CONSOLE] = float(each.is_up)
        if each.database:
            found[each.name, DATABASE] = float(each.database.is_up)
        if each.queues:
            found[each.name, BROKER] = float(each.queues.is_up)
    return found


def _refused(sources: Sequence[Source]) -> Values:
    found: Values = {}
    for each in sources:
        if each.console:
            found[each.name, CONSOLE] = float(bool(each.console.refused))
        if each.database:
            found[each.name, DATABASE] = float(bool(each.database.refused))
    return found


def _requests(sources: Sequence[Source]) -> Values:
    found: Values = {}
    for each in sources:
        if each.console:
            found |= {(each.name, CONSOLE, *key): float(number) for key, number in each.console.requests.items()}
        if each.database:
            found |= {(each.name, DATABASE, *key): float(number) for key, number in each.database.requests.items()}
    return found


def _set_aside(sources: Sequence[Source], rows: Rows) -> Values:
    found: Values = {(each.name, stream): 0.0 for each in sources if each.console for stream in STREAM_NAMES}
    stored = cast("Sequence[tuple[str, str, int]]", rows(_ASIDE, ()))
    return found | {(origin, stream): float(number) for origin, stream, number in stored}


def listed(rows: Rows) -> Sequence[Mapping[str, object]]:
    """What is set aside now, the latest first."""
    names = ("origin", "stream", "app_id", "key", "problem", "tried_by", "seen_at")
    found = rows(f"SELECT {', '.join(names)} FROM set_aside ORDER BY seen_at DESC, stream, app_id, key", ())
    return [dict(zip(names, row, strict=True)) for row in found]
