"""What a rule is, and how Prometheus reads it: recording rules and alerts in, YAML and runbook pages out.

Every word for people is said in English and Chinese. Nothing here knows which rules there are.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

Said: TypeAlias = tuple[str, str]
"""English, Chinese."""

Severity: TypeAlias = Literal["critical", "warning", "info"]
"""Somebody has to look now; today; when there is time."""


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A series that Prometheus works out by itself, named level:metric:operations."""

    record: str
    expression: str
    about: str


@dataclass(frozen=True, kw_only=True)
class Alert:
    """What is worth telling somebody, and what they do then.

    `summary` and `description` are Prometheus templates. `look` and `act` are the steps of the runbook.
    """

    name: str
    expression: str
    after: str  # how long it has to last, as Prometheus writes it
    severity: Severity
    summary: Said
    description: Said
    look: tuple[Said, ...]
    act: tuple[Said, ...]
    board: str  # where to see it, by the dashboard's name

    @property
    def runbook(self) -> str:
        """The page, from the root of the repository."""
        return f"dashboards/runbooks/{self.name}.md"


@dataclass(frozen=True)
class Group:
    """Rules that are worked out together, every so often (as Prometheus writes it; empty: as it does)."""

    name: str
    rules: tuple[Recording | Alert, ...]
    every: str = ""


def yaml(groups: Iterable[Group]) -> str:
    """A rule file."""
    lines = ["# Written by `dify-metric generate`; change it in collector/faces/rules.", "groups:"]
    for group in groups:
        lines += [f"  - name: {group.name}"]
        lines += [f"    interval: {group.every}"] if group.every else []
        lines += ["    rules:"]
        for rule in group.rules:
            lines += _recording(rule) if isinstance(rule, Recording) else _alert(rule)
    return "\n".join([*lines, ""])


def _recording(rule: Recording) -> Iterator[str]:
    yield f"      # {rule.about}"
    yield f"      - record: {rule.record}"
    yield f"        expr: {_text(rule.expression)}"


def _alert(rule: Alert) -> Iterator[str]:
    yield f"      - alert: {rule.name}"
    yield f"        expr: {_text(rule.expression)}"
    yield f"        for: {rule.after}"
    yield "        labels:"
    yield f"          severity: {rule.severity}"
    yield "        annotations:"
    for name, said in (("summary", rule.summary), ("description", rule.description)):
        for tag, text in zip(("", "_zh"), said, strict=True):
            yield f"          {name}{tag}: {_text(text)}"
    yield f"          runbook: {rule.runbook}"
    yield f"          dashboard: /d/dify-metric-{rule.board}"


def _text(text: str) -> str:
    """As YAML; double-quoted JSON is YAML."""
    return json.dumps(text, ensure_ascii=False)


_SEVERITIES: dict[str, Said] = {
    "critical": ("somebody has to look now", "需要立即处理"),
    "warning": ("somebody has to look today", "需要当天处理"),
    "info": ("when there is time", "有空时处理"),
}


def page(rule: Alert) -> str:
    """The runbook: what it means, where to look, what to do."""
    english, chinese = _SEVERITIES[rule.severity]
    lines = [
        f"# {rule.name}",
        "",
        f"**{rule.severity}**: {english}, after it has lasted {rule.after} · {chinese}",
        "",
        f"{_plain(rule.description[0])}",
        "",
        f"{_plain(rule.description[1])}",
        "",
        "```promql",
        rule.expression,
        "```",
        "",
        f"Dashboard: `/d/dify-metric-{rule.board}` (Chinese: `/d/dify-metric-{rule.board}-zh`).",
        "",
        "## What to look at · 查看",
        "",
        *_steps(rule.look),
        "",
        "## What to do · 处理",
        "",
        *_steps(rule.act),
        "",
    ]
    return "\n".join(lines)


def _steps(steps: tuple[Said, ...]) -> Iterator[str]:
    for number, (english, chinese) in enumerate(steps, 1):
        yield f"{number}. {english}  "
        yield f"   {chinese}"


def _plain(template: str) -> str:
    """A template as a page shows it: what Prometheus fills in stands in brackets."""
    shown, rest = "", template
    while "{{" in rest:
        before, _, rest = rest.partition("{{")
        inside, _, rest = rest.partition("}}")
        name = inside.partition("|")[0].strip().removeprefix("$labels.").removeprefix("$")
        shown += f"{before}<{name}>"
    return shown + rest
