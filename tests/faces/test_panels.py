"""Every PromQL expression of every panel and recording rule, run by a real Prometheus over a known hour.

`answers.json` holds what each finds, to six digits; the tests below say for the numbers people look at first why they
are those. After a change of panels: `python -m tests.faces.test_panels`, and read the difference.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from collector.faces.rules.recorded import RECORDED
from tests.faces.as_grafana import askings
from tests.faces.replayed import END, STEPS, openmetrics
from tests.servers.ports import free_port as any_port
from tests.servers.prometheus import Prometheus, backfilled, configured_prometheus

ANSWERS = Path(__file__).with_name("answers.json")
CHOICES = {
    "workspace": [".*"],
    "app": [".*"],
    "one_app": ["shop"],
    "model": [".*"],
    "dataset": [".*"],
    "currency": ["usd", "cny"],
    "__rate_interval": ["20m"],
    "__range": ["1h"],
    "__interval": ["5m"],
}

HOUR = STEPS - 1
"""Steps in which something happened; in each the same, in two apps."""


@contextmanager
def replayed_prometheus(binary: str, promtool: str, folder: Path, port: int) -> Iterator[Prometheus]:
    backfilled(promtool, openmetrics(), folder)
    with configured_prometheus(binary, folder, port) as there:
        yield there


@pytest.fixture(scope="module")
def site(server: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    folder = tmp_path_factory.mktemp("replayed")
    with replayed_prometheus(server("prometheus"), server("promtool"), folder, any_port()) as there:
        yield there


def found(there: Prometheus, expression: str) -> dict[str, float]:
    """Labels as text -> value to six digits."""
    return {
        ",".join(f"{name}={value}" for name, value in sorted(each["metric"].items())): _six(float(each["value"][1]))
        for each in there.query(expression, END)
    }


def _six(value: float) -> float:
    assert math.isfinite(value), value
    return float(f"{value:.6g}")


def answers(there: Prometheus) -> dict[str, dict[str, float]]:
    """What every expression of a panel or recording rule finds; the hour was scraped too seldom for five minutes."""
    expressions = {each for asking in askings() if asking.is_live for each in asking.expressions(CHOICES)}
    expressions |= {rule.expression.replace("[5m]", "[20m]") for group in RECORDED for rule in group.rules}
    return {expression: found(there, expression) for expression in sorted(expressions)}


def test_every_expression_answers_what_it_should(site: Prometheus):
    kept: dict[str, Any] = json.loads(ANSWERS.read_text())
    assert answers(site) == kept
    assert [expression for expression, answer in kept.items() if not answer] == []


def panel(there: Prometheus, board: str, title: str) -> dict[str, float]:
    """What a panel shows: its legends' labels and values."""
    (asking,) = [each for each in askings() if each.board == board and each.panel["title"] == title]
    return found(there, next(asking.expressions(CHOICES)))


def test_shares_are_exact(site: Prometheus):
    assert panel(site, "overview", "Failed runs") == {"": 0.5}
    assert panel(site, "overview", "Failed model calls") == {"": 0.25}
    assert panel(site, "overview", "Satisfaction") == {"": 0.5}
    assert panel(site, "models", "Input read from the provider's cache") == {
        "model_name=gpt-4o-mini": _six(30 / (70 * 2)),
    }


def test_percentiles_lie_in_the_bucket_they_should(site: Prometheus):
    """Every answer took between 0.64 and 1.28 s, its first token between 0.16 and 0.32."""
    assert panel(site, "overview", "Response time, p95") == {"": _six(0.64 + 0.95 * 0.64)}
    assert panel(site, "overview", "Time to first token, p95") == {"": _six(0.16 + 0.95 * 0.16)}


def test_what_stands_is_shown_as_it_stands(site: Prometheus):
    assert panel(site, "overview", "Behind Dify") == {"": 300}
    assert panel(site, "work", "Running now") == {"": 1}
    assert panel(site, "knowledge", "Segments") == {"": 50}
    assert panel(site, "work", "Longest wait in a queue") == {"": 120}
    assert panel(site, "work", "Messages in queues") == {"": 4}
    assert panel(site, "app", "Oldest running run") == {"": 3600}


def test_growth_is_that_of_the_hour(site: Prometheus):
    assert panel(site, "overview", "Requests") == {"": (2 * 2 + 1) * HOUR}  # helpdesk's message is its run
    assert panel(site, "app", "Requests") == {"": (2 + 1) * HOUR}
    assert panel(site, "overview", "Tokens") == {"": 2 * 3 * 100 * HOUR}
    assert panel(site, "overview", "Cost") == {"currency=cny": 2 * 0.5 * HOUR, "currency=usd": _six(2 * 0.0002 * HOUR)}
    assert panel(site, "overview", "Model calls by app") == {
        "app_id=helpdesk,app_name=客服,workspace_id=w1": 4 * HOUR,
        "app_id=shop,app_name=Shop,workspace_id=w1": 4 * HOUR,
    }


def main() -> None:
    """Write what is found anew."""
    with (
        tempfile.TemporaryDirectory() as folder,
        replayed_prometheus("prometheus", "promtool", Path(folder), any_port()) as there,
    ):
        ANSWERS.write_text(json.dumps(answers(there), indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
