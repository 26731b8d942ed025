"""What Grafana would ask for the panels of our dashboards: variables and macros filled in as Grafana fills them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from collector.faces import grafana

_WRITTEN = re.compile(r"\$\{(\w+)(?::[\w:]+)?\}|\$([a-z_]\w*)")


@dataclass(frozen=True)
class Asking:
    """One target of one panel."""

    board: str
    panel: Mapping[str, Any]
    target: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Where it stands."""
        return f"{self.board}: {self.panel['title']} {self.target['refId']}"

    @property
    def is_live(self) -> bool:
        """Whether Prometheus is asked."""
        return "expr" in self.target

    def expressions(self, choices: Mapping[str, list[str]]) -> Iterator[str]:
        """Its PromQL, of a panel that repeats once for each value of the variable."""
        repeat = self.panel.get("repeat")
        for value in choices[repeat] if repeat else [""]:
            told = {name: "|".join(values) for name, values in choices.items()}
            yield filled(self.target["expr"], told | ({repeat: value} if repeat else {}))

    def parameters(self, choices: Mapping[str, str]) -> list[tuple[str, str]]:
        """Those of the URL that REST is asked."""
        return [(each["key"], filled(each["value"], choices)) for each in self.target["url_options"]["params"]]

    def path(self, choices: Mapping[str, str]) -> str:
        """The URL's path."""
        return filled(self.target["url"], choices)


def askings(language: str = "en") -> list[Asking]:
    """Every target of every panel of the dashboards in a language."""
    return [
        Asking(model["uid"].removeprefix("dify-metric-"), panel, target)
        for path, model in _models()
        if path.startswith(f"{language}/")
        for panel in model["panels"]
        for target in panel.get("targets", ())
    ]


def filled(text: str, values: Mapping[str, str]) -> str:
    """A text with the variables in it replaced; KeyError naming one that has no value."""
    return _WRITTEN.sub(lambda found: values[found[1] or found[2]], text)


def _models() -> Iterator[tuple[str, dict[str, Any]]]:
    yield from grafana.dashboards().items()
