"""Rules and alerts: promtool takes them, and every alert fires when it should and is silent when it should be."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from collector.disk import tallies
from collector.faces import grafana
from collector.faces.caps import DROPPED
from collector.faces.families import FAMILIES
from collector.faces.rules import ALERTS, files
from collector.faces.rules.recorded import RECORDED
from collector.store import open_store
from collector.tap.figures import FIGURES
from tests.builders import NOON
from tests.conftest import ROOT
from tests.test_generated import OWN

RULES = ROOT / "dashboards" / "rules"
EVERY = "2m"
"""Between two evaluations."""

DIFY = 'origin="dify",source="console"'
APP = 'workspace_id="w1",app_id="shop"'
MODEL = 'model_provider="openai",model_name="gpt-4o"'


@dataclass(frozen=True)
class Case:
    """An alert with series under which it fires, and series under which it does not, by their values a minute.

    `at` is when is looked, `labels` are those of the alert that fires; `step` is what lies between two values, where it
    is not a minute.
    """

    at: str
    firing: dict[str, str]
    quiet: dict[str, str]
    labels: dict[str, str] = field(default_factory=dict)
    step: str = "1m"


def _asks(code: str) -> str:
    return f'dify_metric_source_requests_total{{{DIFY},endpoint="apps",code="{code}"}}'


def _answers(family: str, within: str, fast: int, all_: int) -> dict[str, str]:
    """A histogram of answers: so many a minute within the bound, of so many."""
    return {
        f'{family}_bucket{{{APP},le="{within}"}}': f"0+{fast}x500",
        f'{family}_bucket{{{APP},le="+Inf"}}': f"0+{all_}x500",
        f"{family}_count{{{APP}}}": f"0+{all_}x500",
    }


def _hours(before: str, after: str) -> str:
    """Values of a week and a day: so much in ten minutes of the first, so much from then on."""
    return f"0+{before}x1008 {int(before) * 1008}+{after}x144"


RESPONSE, FIRST = "dify_chat_response_duration_seconds", "dify_chat_time_to_first_token_seconds"
RUNS = "dify_run_finished_total{{" + APP + ',status="{}"}}'
CALLS = "dify_llm_calls_total{" + MODEL + "}"
FAILURES = "dify_llm_call_failures_total{" + MODEL + ',error_class="timeout"}'
TOKENS = 'dify_llm_input_tokens_total{workspace_id="w1"}'
OUTPUT = 'dify_llm_output_tokens_total{workspace_id="w1"}'
OLDEST = f"dify_run_oldest_unfinished_timestamp_seconds{{{APP}}}"
DIFFERS = 'dify_metric_reconciliation_difference_tokens{{workspace_id="w1",kind="run_tokens",cause="{}"}}'
QUEUE = '{broker="dify",queue="dataset"}'
WAITING, SINCE = "dify_metric_tap_spool_records", "dify_metric_tap_spool_oldest_timestamp_seconds"
OF_MODEL = {"model_provider": "openai", "model_name": "gpt-4o"}
OF_DIFY = {"origin": "dify", "source": "console"}
OF_APP = {"workspace_id": "w1", "app_id": "shop"}

CASES = {
    "DifyMetricDown": Case("10m", {"up": "1x20"}, {'dify_metric_build_info{version="1"}': "1x20"}),
    "DifyCollectorStale": Case(
        "40m",
        {f'dify_metric_last_success_timestamp_seconds{{{DIFY},stream="runs"}}': "0x60"},
        {f'dify_metric_last_success_timestamp_seconds{{{DIFY},stream="runs"}}': "0+60x60"},
        OF_DIFY,
    ),
    "DifyIngestLags": Case(
        "80m",
        {f'dify_metric_watermark_timestamp_seconds{{{DIFY},stream="runs"}}': "0x90"},
        {
            f'dify_metric_watermark_timestamp_seconds{{{DIFY},stream="runs"}}': "0+60x90",
            f'dify_metric_watermark_timestamp_seconds{{{DIFY},stream="statistics"}}': "0x90",
        },
        {**OF_DIFY, "stream": "runs"},
    ),
    "DifySourceDown": Case(
        "15m", {f"dify_metric_source_up{{{DIFY}}}": "1 0x20"}, {f"dify_metric_source_up{{{DIFY}}}": "0x5 1x20"}, OF_DIFY
    ),
    "DifySourceUnauthorized": Case(
        "5m",
        {f"dify_metric_source_refused{{{DIFY}}}": "0 1x10"},
        {f"dify_metric_source_refused{{{DIFY}}}": "0x10"},
        OF_DIFY,
    ),
    "DifySourceThrottles": Case(
        "40m",
        {_asks("200"): "0+9x60", _asks("429"): "0+1x60"},
        {_asks("200"): "0+99x60", _asks("429"): "0+1x60"},
        OF_DIFY,
    ),
    "DifyRecordsSetAside": Case(
        "70m",
        {'dify_metric_records_set_aside{origin="dify",stream="runs"}': "2x90"},
        {'dify_metric_records_set_aside{origin="dify",stream="runs"}': "0x90"},
        {"origin": "dify", "stream": "runs"},
    ),
    "DifyReconciliationDiffers": Case(
        "70m",
        {DIFFERS.format("unexplained"): "1001x90"},
        {DIFFERS.format("unexplained"): "999x90", DIFFERS.format("debug_runs"): "5000x90"},
        {"workspace_id": "w1", "kind": "run_tokens"},
    ),
    "DifyMetricDiskFills": Case(
        "7h",
        {"dify_metric_store_free_bytes": f"{10**11}-{10**8}x500"},
        {"dify_metric_store_free_bytes": f"{10**11}-{10**6}x500"},
    ),
    "DifySeriesDropped": Case(
        "10m",
        {'dify_metric_series_dropped_total{family="dify_llm_calls_total"}': "0 3x20"},
        {'dify_metric_series_dropped_total{family="dify_llm_calls_total"}': "0x20"},
        {"family": "dify_llm_calls_total"},
    ),
    "DifyTapDown": Case("5m", {"dify_metric_tap_up": "0x10"}, {"dify_metric_tap_up": "1x10"}),
    "DifyTapSlows": Case(
        "30m",
        {
            'dify_metric_tap_overhead_seconds_bucket{le="0.05"}': "0+90x60",
            'dify_metric_tap_overhead_seconds_bucket{le="0.1"}': "0+100x60",
            'dify_metric_tap_overhead_seconds_bucket{le="+Inf"}': "0+100x60",
        },
        {
            'dify_metric_tap_overhead_seconds_bucket{le="0.05"}': "0+100x60",
            'dify_metric_tap_overhead_seconds_bucket{le="+Inf"}': "0+100x60",
        },
    ),
    "DifyTapSpoolGrows": Case(
        "60m",
        {WAITING: "0+1000x90", SINCE: "0+60x90"},
        {WAITING: "20000x90", SINCE: "0+60x90"},
    ),
    "DifyTapLosesRecords": Case(
        "20m",
        {'dify_metric_tap_dropped_records_total{kind="message"}': "0x10 0+1x20"},
        {'dify_metric_tap_dropped_records_total{kind="message"}': "5x30"},
        {"kind": "message"},
    ),
    "DifyRunsFail": Case(
        "60m",
        {RUNS.format("failed"): "0+1x90", RUNS.format("succeeded"): "0+4x90"},
        {RUNS.format("failed"): "0+1x90", RUNS.format("succeeded"): "0+19x90"},
        OF_APP,
    ),
    "DifyModelCallsFail": Case(
        "60m",
        {CALLS: "0+10x90", FAILURES: "0+2x90"},
        {CALLS: "0+10x90", FAILURES: "0+0x90"},
        OF_MODEL,
    ),
    "DifyResponseTimeBurnsFast": Case(
        "90m", _answers(RESPONSE, "10.24", 2, 10), _answers(RESPONSE, "10.24", 5, 10), {"workspace_id": "w1"}
    ),
    "DifyResponseTimeBurnsSlowly": Case(
        "420m", _answers(RESPONSE, "10.24", 6, 10), _answers(RESPONSE, "10.24", 9, 10), {"workspace_id": "w1"}
    ),
    "DifyFirstTokenBurnsFast": Case(
        "90m", _answers(FIRST, "2.56", 2, 10), _answers(FIRST, "2.56", 5, 10), {"workspace_id": "w1"}
    ),
    "DifyFirstTokenBurnsSlowly": Case(
        "420m", _answers(FIRST, "2.56", 6, 10), _answers(FIRST, "2.56", 9, 10), {"workspace_id": "w1"}
    ),
    "DifyTokensBurn": Case(
        "10200m",
        {TOKENS: _hours("10000", "50000"), OUTPUT: _hours("1000", "5000")},
        {TOKENS: _hours("20000", "50000"), OUTPUT: _hours("2000", "5000")},
        {"workspace_id": "w1"},
        "10m",
    ),
    "DifyTokensWithoutPrice": Case(
        "130m",
        {f"dify_llm_unpriced_tokens_total{{{MODEL}}}": "0+1x200"},
        {f"dify_llm_unpriced_tokens_total{{{MODEL}}}": "70x200"},
        OF_MODEL,
    ),
    "DifyQueueBacklog": Case(
        "30m",
        {f"dify_queue_messages{QUEUE}": "1001x60"},
        {
            f"dify_queue_messages{QUEUE}": "1000x60",
            f"dify_queue_oldest_message_timestamp_seconds{QUEUE}": "0+60x60",
        },
        {"broker": "dify", "queue": "dataset"},
    ),
    "DifyRunsStuck": Case("130m", {OLDEST: "1x200"}, {OLDEST: "0+60x200"}, OF_APP),
}

OTHER_WAYS = [
    ("DifyMetricDiskFills", Case("40m", {"dify_metric_store_free_bytes": "1073741823x90"}, {})),
    ("DifyTapSpoolGrows", Case("60m", {SINCE: "1x90", WAITING: "1x90"}, {})),
    (
        "DifyQueueBacklog",
        Case(
            "40m",
            {f"dify_queue_oldest_message_timestamp_seconds{QUEUE}": "1x90"},
            {},
            {"broker": "dify", "queue": "dataset"},
        ),
    ),
]
"""The second reason of alerts that have two."""

NOT_WHEN = [
    ("DifyRunsFail", Case("60m", {}, {RUNS.format("failed"): "0x40 1x50"}, OF_APP)),  # too few to say anything
    (
        "DifyTokensBurn",
        Case("10200m", {}, {TOKENS: _hours("10", "1000"), OUTPUT: _hours("1", "1")}, {}, "10m"),
    ),  # too small
    ("DifyTapSpoolGrows", Case("60m", {}, {WAITING: "0+10x90", SINCE: "0+0x90"})),  # empty: since 0
]


def test_every_alert_has_its_cases():
    assert CASES.keys() == ALERTS.keys()


def test_promtool_has_nothing_to_say_about_the_rules(server: Callable[[str], str]):
    line = [server("promtool"), "check", "rules", *sorted(RULES.glob("*.yaml"))]
    checked = subprocess.run(line, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    rules = sum(len(group.rules) for group in RECORDED)
    assert re.findall(r"(\d+) rules found", checked.stdout) == [str(len(ALERTS)), str(rules)]


def test_every_alert_fires_when_it_should_and_only_then(server: Callable[[str], str], tmp_path: Path):
    """Each with the recording rules it asks for and nothing else: all of them every minute of a week take minutes."""
    for name, alert in ALERTS.items():
        recorded = [rule for rule in _rules("recording.yaml") if rule["record"] in alert.expression]
        (own,) = [rule for rule in _rules("alerts.yaml") if rule["alert"] == name]
        del own["annotations"]  # what they say is looked at below
        groups = [{"name": "recorded", "rules": recorded}, {"name": "alerts", "rules": [own]}]
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump({"groups": groups}))
        told = {"rule_files": [f"{name}.yaml"], "evaluation_interval": EVERY, "tests": [*_tests(name)]}
        (tmp_path / f"{name}.test.yaml").write_text(yaml.safe_dump(told))

    line = [server("promtool"), "test", "rules", *sorted(tmp_path.glob("*.test.yaml"))]
    tested = subprocess.run(line, capture_output=True, text=True)
    assert tested.returncode == 0, tested.stdout + tested.stderr


def _rules(file: str) -> list[dict[str, Any]]:
    told = yaml.safe_load((RULES / file).read_text())
    return [rule for group in told["groups"] for rule in group["rules"]]


def _tests(name: str) -> Iterator[dict[str, Any]]:
    for case in [CASES[name], *(case for other, case in (*OTHER_WAYS, *NOT_WHEN) if other == name)]:
        labels = {"severity": ALERTS[name].severity, **case.labels}
        for series, expected in ((case.firing, [{"exp_labels": labels}]), (case.quiet, [])):
            if series:
                yield {
                    "interval": case.step,
                    "name": f"{name}, {'firing' if expected else 'quiet'}",
                    "input_series": [{"series": one, "values": values} for one, values in series.items()],
                    "alert_rule_test": [{"eval_time": case.at, "alertname": name, "exp_alerts": expected}],
                }


@pytest.mark.parametrize("name", ALERTS)
def test_what_an_alert_says_names_only_labels_it_has(name: str):
    alert = ALERTS[name]
    for text in (*alert.summary, *alert.description):
        assert set(re.findall(r"\$labels\.(\w+)", text)) <= set(CASES[name].labels)
    assert re.search(r"[\u4e00-\u9fff]", alert.summary[1] + alert.description[1])
    assert not re.search(r"[\u4e00-\u9fff]", alert.summary[0] + alert.description[0])


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_has_a_runbook_and_a_dashboard(name: str):
    alert = ALERTS[name]
    page = (ROOT / alert.runbook).read_text()
    assert alert.expression in page
    assert all(step in page for steps in (alert.look, alert.act) for said in steps for step in said)
    assert "{{" not in page
    assert alert.board in {board.name for board in grafana.BOARDS}


def test_rules_ask_for_families_there_are():
    there = {family.name for family in FAMILIES} | {"dify_llm_cost_", *OWN, *(figure.name for figure in FIGURES)}
    there |= {DROPPED, *(tally.name for tally in tallies("facts.duckdb"))}
    text = "".join(told for name, told in files().items() if name.startswith("rules/"))
    asked = {found for rule in yaml.safe_load_all(text) for found in _families(rule)}
    assert {re.sub("_(bucket|count|sum)$", "", name) for name in asked} <= there


def _families(told: Any) -> Iterator[str]:
    for group in told["groups"]:
        for rule in group["rules"]:
            yield from re.findall(r"(?<![\w:])dify_[a-z_]+", rule["expr"])


def test_settings_that_runbooks_name_are_settings():
    from collector.settings import FIELDS

    pages = "".join(path.read_text() for path in (ROOT / "dashboards" / "runbooks").iterdir())
    named = set(re.findall(r"`((?:pull|tap|ingest|most)_[a-z_]+)`", pages))
    assert named <= set(FIELDS)
    assert named


class TestTheDisk:
    def test_of_a_store_in_memory_is_nobodys(self):
        assert list(tallies(":memory:")) == []

    def test_is_told_with_the_size_of_the_store(self, tmp_path: Path):
        file = tmp_path / "facts.duckdb"
        size, free = tallies(str(file))
        assert size.values() == {(): 0.0}
        open_store(str(file), now=NOON).close()
        assert size.values() == {(): float(sum(each.stat().st_size for each in tmp_path.iterdir()))}
        assert free.values()[()] > 0
