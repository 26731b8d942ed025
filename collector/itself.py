"""What a service tells Prometheus about itself: its version, what it stored and refused, how its parts are.

What comes in are the parts of a service; what goes out are Tallies. Counts begin anew with the process. Nothing here
counts a fact of Dify.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial

import collector
from collector import disk, health
from collector.companion import Companion
from collector.faces import reconciliation
from collector.faces.prometheus import Tally
from collector.money import Money
from collector.settings import Settings
from collector.sources import Source
from collector.store import Store


def tallies(
    settings: Settings,
    store: Store,
    clock: Callable[[], datetime],
    *,
    stored: Mapping[str, int],
    refused: Mapping[str, int],
    misfits: Mapping[str, int],
    sources: Sequence[Source],
    money: Money,
    companion: Companion | None,
) -> Iterator[Tally]:
    """Every family about the service: `stored` counts facts by what became of them, `refused` requests by why,
    `misfits` events by the field at fault."""
    version: dict[tuple[str, ...], float] = {(collector.__version__,): 1.0}
    yield Tally("dify_metric_build_info", "Which dify-metric this is; 1.", ("version",), lambda: version, False)
    yield Tally(
        "dify_metric_rows_ingested_total",
        "Facts stored because they were new or told more, since this process began.",
        (),
        lambda: {(): stored.get("ingested", 0)},
    )
    yield Tally(
        "dify_metric_rows_duplicate_total",
        "Facts told again that were known already, since this process began.",
        (),
        lambda: {(): stored.get("duplicate", 0)},
    )
    yield Tally(
        "dify_metric_access_refused_total",
        "Requests that were not let in, since this process began, by why.",
        ("reason",),
        lambda: {(reason,): float(number) for reason, number in refused.items()},
    )
    yield Tally(
        "dify_metric_portal_events_rejected_total",
        "Portal events that were set aside, since this process began, by the field at fault.",
        ("field",),
        lambda: {(field,): float(number) for field, number in misfits.items()},
    )
    watch = reconciliation.Watch(
        store.rows,
        clock=clock,
        every=settings.reconcile_interval,
        timezone=settings.report_timezone,
    )
    for name, (said, _) in reconciliation.METRICS.items():
        yield Tally(name, said, reconciliation.METRIC_LABELS, partial(watch.values, name), False)
    yield from disk.tallies(settings.store)
    if companion:
        yield Tally(
            "dify_metric_tap_up",
            "Whether the tap beside this service takes callers.",
            (),
            lambda: {(): float(companion.listen is not None)},
            False,
        )
    yield from money.tallies()
    yield from health.tallies(sources, store.rows)
