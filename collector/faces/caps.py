"""No family has more series than it may: what comes too late is counted together under `_OTHER`.

In come the labels of a family's values, out goes where each is counted. Who has a series keeps it, over restarts too,
and who was put to the others stays there: a counter that moved would count everything twice. Sums over a family stay
right.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from collector.faces.counting import Labels, Values

OTHER = "_OTHER"
"""The label of what has no series of its own."""

CLOSED = frozenset(
    {
        *("app_mode", "triggered_from", "invoke_from", "status", "rating", "modality", "error_class"),
        *("origin", "source", "stream", "broker", "queue"),
    }
)
"""Labels whose values are a short list: the others keep them."""

DROPPED = "dify_metric_series_dropped_total"
DROPPED_HELP = "Series that are counted under _OTHER since this process began, because their family has enough."


class Caps:
    """Which series each family has. Not thread-safe."""

    def __init__(self, most: Callable[[str], int]) -> None:
        """`most` says how many series a family may have, those of `_OTHER` not counted."""
        self._most = most
        self._own: dict[str, set[Labels]] = {}
        self._others: dict[str, set[Labels]] = {}

    def places(
        self, family: str, names: tuple[str, ...], series: Iterable[Labels], said: Collection[Labels] = ()
    ) -> Mapping[Labels, Labels]:
        """Where each series is counted: its own labels, or those of the others. `said` are those that were told before,
        by this process or an earlier one.
        """
        own = self._own.setdefault(family, {labels for labels in said if OTHER not in labels})
        others = self._others.setdefault(family, set())
        found: dict[Labels, Labels] = {}
        most = self._most(family)
        for labels in sorted(series):
            if labels in own or (len(own) < most and labels not in others):
                own.add(labels)
                found[labels] = labels
            else:
                others.add(labels)
                found[labels] = tuple(
                    value if name in CLOSED else OTHER for name, value in zip(names, labels, strict=True)
                )
        return found

    def dropped(self) -> Mapping[Labels, float]:
        """How many series of each family are counted with the others."""
        return {(family,): float(len(others)) for family, others in self._others.items()}


def moved(values: Values, places: Mapping[Labels, Labels], join: Callable[[float, float], float]) -> Values:
    """The values where they are counted. Labels may have one more at their end, as buckets have."""
    found: Values = {}
    for labels, value in values.items():
        place = places.get(labels)
        key = place if place is not None else (*places[labels[:-1]], labels[-1])
        found[key] = join(found[key], value) if key in found else value
    return found
