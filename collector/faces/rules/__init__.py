"""Recording rules, alerts and their runbooks: tables in, the files of `dashboards/rules` and `dashboards/runbooks` out.

Prometheus reads the files as they are; nothing here asks it anything.
"""

from __future__ import annotations

from collections.abc import Mapping

from collector.faces.rules.collecting import COLLECTING
from collector.faces.rules.recorded import RECORDED
from collector.faces.rules.rule import Alert, page, yaml
from collector.faces.rules.serving import SERVING
from collector.faces.rules.tapped import TAPPED

GROUPS = (COLLECTING, TAPPED, *SERVING)

ALERTS: Mapping[str, Alert] = {rule.name: rule for group in GROUPS for rule in group.rules if isinstance(rule, Alert)}
"""Every alert by its name."""


def files() -> dict[str, str]:
    """Every file by its path."""
    pages = {f"runbooks/{name}.md": page(alert) for name, alert in ALERTS.items()}
    return {"rules/recording.yaml": yaml(RECORDED), "rules/alerts.yaml": yaml(GROUPS), **pages}
