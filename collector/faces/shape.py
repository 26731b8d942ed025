"""The labels that families have at this site, and how many values and series: what the settings say, checked.

In come settings, out go labels and, for the labels of values, those they are counted under. A label that was asked for
has so many values as it may: the biggest at the first look get theirs, those that come later while there is room, and
who has one keeps it. Nothing here asks a store.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches

from collector.errors import SettingsError
from collector.faces.caps import OTHER
from collector.faces.counting import Labels, Values
from collector.faces.families import COST, COST_LABELS, FAMILIES
from collector.measures.catalogue import CATALOGUE
from collector.measures.measure import Measure
from collector.settings import Settings

MOST_SERIES = 10_000
"""Of one family, where nothing else is set."""

MOST_VALUES = 20
"""Of a label that was asked for, where nothing else is set."""

ALL_COSTS = COST.format(currency="*")
"""What the families of all currencies are called in settings."""

CHOSEN = ("user_id", "user_kind", "user_name", "session_id", "key_fingerprint", "person", "department", "cost_centre")
"""What may be asked for as a label: who it was. What is told of one run or message only is never a label."""

_LABELS: Mapping[str, Labels] = {**{family.name: family.labels for family in FAMILIES}, ALL_COSTS: COST_LABELS}
_MEASURES: Mapping[str, Measure] = {
    **{family.name: CATALOGUE.measures([family.measure])[0] for family in FAMILIES if family.kind != "gauge"},
    ALL_COSTS: CATALOGUE.measure("cost"),
}


@dataclass(frozen=True)
class Shape:
    """How families are told. `more` are labels by family, `allowed` the values a label may have (the others together),
    `limits` series by family, `most_series` those of the other families; `most_values` of each label of `more`.
    """

    more: Mapping[str, Labels] = field(default_factory=dict)
    allowed: Mapping[str, frozenset[str]] = field(default_factory=dict)
    limits: Mapping[str, int] = field(default_factory=dict)
    most_series: int = MOST_SERIES
    most_values: int = MOST_VALUES

    def labels(self, family: str, own: Labels) -> Labels:
        """Those of a family, what was asked for first."""
        return (*self._asked(family), *own)

    def key(self, family: str) -> str:
        """What a family's readings are kept under: with other labels it counts other series."""
        return f"{family}{{{','.join(asked)}}}" if (asked := self._asked(family)) else family

    def limit(self, family: str) -> int:
        """Series that a family may have; those of the others are not counted."""
        return self.limits.get(family, self.limits.get(_named(family), self.most_series))

    def _asked(self, family: str) -> Labels:
        return self.more.get(_named(family), ())

    def narrowed(self, family: str, names: Labels, values: Values, said: Collection[Labels]) -> Mapping[Labels, Labels]:
        """The labels that each series keeps: values not allowed, and those too many, are put together."""
        found = {labels: labels for labels in values}
        for place, name in enumerate(names):
            if (allowed := self.allowed.get(name)) is not None:
                found = {labels: _other(kept, place, allowed | {""}) for labels, kept in found.items()}
        for place in range(len(self._asked(family))):
            members = self._members(place, values, found, said)
            found = {labels: _other(kept, place, members) for labels, kept in found.items()}
        return found

    def _members(
        self, place: int, values: Values, kept: Mapping[Labels, Labels], said: Iterable[Labels]
    ) -> frozenset[str]:
        """The values that have series of their own: who had, and the biggest of the others while there is room."""
        members = {labels[place] for labels in said} - {OTHER}
        sizes: dict[str, float] = {}
        for labels, value in values.items():
            own = kept[labels][place]
            sizes[own] = sizes.get(own, 0.0) + value
        waiting = sorted(sizes.keys() - members - {OTHER, ""}, key=lambda own: (-sizes[own], own))
        room = max(0, self.most_values - len(members - {""}))
        return frozenset(members | {""} | set(waiting[:room]))


def shape_of(settings: Settings) -> Shape:
    """What the settings say. Raises SettingsError naming the setting, and what could stand there."""
    more = {name: tuple(labels) for name, labels in settings.more_labels}
    for name, labels in more.items():
        _check("more_labels", name, _MEASURES)
        known = [each.name for each in _MEASURES[name].by if each.name in CHOSEN]
        for label in labels:
            if label not in known:
                can = f"one of {', '.join(known)}" if known else "none can be added"
                raise SettingsError(f"more_labels: {name} cannot have the label {label!r}; {can}")
    limits = {}
    for name, numbers in settings.series_limits:
        _check("series_limits", name, _LABELS)
        if len(numbers) != 1 or not (numbers[0].isascii() and numbers[0].isdigit() and int(numbers[0])):
            raise SettingsError(f"series_limits: {name}: wanted a number of series, such as {name}=2000")
        limits[name] = int(numbers[0])
    labels_there = {label for labels in _LABELS.values() for label in labels} | {*CHOSEN}
    for label, _ in settings.label_values:
        _check("label_values", label, labels_there)
    allowed = {label: frozenset(values) for label, values in settings.label_values}
    return Shape(more, allowed, limits, settings.most_series, settings.most_label_values)


def _check(setting: str, name: str, known: Collection[str]) -> None:
    if name not in known:
        near = get_close_matches(name, known, 1)
        remedy = f"did you mean {near[0]!r}?" if near else f"one of {', '.join(sorted(known)[:5])}, …"
        raise SettingsError(f"{setting}: nothing is called {name!r}; {remedy}")


def _other(labels: Labels, place: int, members: Collection[str]) -> Labels:
    return labels if labels[place] in members else (*labels[:place], OTHER, *labels[place + 1 :])


def _named(family: str) -> str:
    """A family as settings call it."""
    before, after = COST.split("{currency}")
    return ALL_COSTS if family.startswith(before) and family.endswith(after) else family
