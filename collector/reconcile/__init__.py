"""Reconciliation: our tokens beside every total that Dify reports, by app and day, and why they differ.

What comes in is `rows` of a store and a period; what goes out are Differences whose reasons add up to the token. A
difference is explained when every part of it has a known cause, otherwise it is open and somebody should look.

`figures.py` and `site.py` read the store, `reasons.py` explains one fact, `comparison.py` puts days together,
`causes.py` has the words. Nothing is stored.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from collector.period import Period
from collector.reconcile import site
from collector.reconcile.comparison import Comparison
from collector.reconcile.difference import Difference, Kind, Reason, State
from collector.reconcile.figures import Rows
from collector.reconcile.site import Marks, Place, Releases

__all__ = ["Difference", "Kind", "Reason", "Rows", "State", "reconcile"]


def reconcile(
    rows: Rows, period: Period, *, apps: Iterable[str] | None = None, kinds: Iterable[Kind] = Kind
) -> list[Difference]:
    """Every app, day and kind in which there is anything on either side, by day, app and kind.

    Days are those of the account that reads an app's statistics, else of the period's zone; a period means the days
    on the calendar that it touches.
    """
    first, last = period.local(period.start).date(), period.local(period.end - timedelta(microseconds=1)).date()
    by_zone: dict[str, list[Place]] = {}
    for place in site.places(rows, apps):
        by_zone.setdefault(place.timezone or period.zone.key, []).append(place)
    releases, marks, wanted = Releases(rows), Marks(rows), frozenset(kinds)
    found: list[Difference] = []
    for timezone, here in by_zone.items():
        found += Comparison(rows, here, timezone, first, last, releases, marks).differences(wanted)
    return sorted(found, key=lambda one: (one.day, one.app_name or "", one.app_id, list(Kind).index(one.kind)))
