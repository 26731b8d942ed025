"""An hour of a small site as a scraping Prometheus would have it: every five minutes the same happens in two apps.

`openmetrics()` is what `promtool tsdb create-blocks-from openmetrics` takes: every series with its instants.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from prometheus_client import Metric

from collector.faces.prometheus import Tally
from collector.records import BROKER, CONSOLE, DatasetDay, Pull, QueueSample, Record, Retrieval, Watermark
from collector.tap.figures import FIGURES, OVERHEAD_BUCKETS, Board
from tests.builders import NOON, a_call, a_conversation, a_feedback, a_message, a_node, a_run, an_app
from tests.faces.exposed import Scraped

STEP = timedelta(minutes=5)
STEPS = 13
END = NOON + STEP * (STEPS - 1)

_UNSPENT = {"tokens": None, "input_tokens": None, "output_tokens": None}


def what_happens(at: datetime, name: str, app: str) -> list[Record]:
    """Two runs of which one fails, four calls of which one fails, a message, two ratings: all a minute before `at`."""
    when: dict[str, Any] = {
        "created_at": at - timedelta(seconds=63),
        "finished_at": at - timedelta(seconds=61),
        "seen_at": at,
        "app_id": app,
    }
    begun = {"created_at": at - timedelta(seconds=63), "seen_at": at, "app_id": app}
    failed = {"status": "failed", "error_class": "rate_limited"}
    call = {"run_id": f"{name}-r1", **when}
    return [
        a_run(id=f"{name}-r1", **when),
        a_run(id=f"{name}-r2", **failed, **when),
        a_node(id=f"{name}-n1", run_id=f"{name}-r1", **when),
        a_node(id=f"{name}-n2", run_id=f"{name}-r2", **failed, **when),
        a_call(id=f"{name}-n1", cached_input_tokens=30, reasoning_output_tokens=5, **call),
        a_call(id=f"{name}-n2", **_UNSPENT, **failed, **call),
        a_call(id=f"{name}-n3", model_name="qwen-max", cost=Decimal("0.5"), currency="CNY", **call),
        a_call(id=f"{name}-n4", cost=None, currency=None, **call),
        a_message(id=f"{name}-m", time_to_first_token_seconds=0.2, **when),
        a_conversation(id=f"{name}-c", **begun),
        a_feedback(id=f"{name}-m/user", message_id=f"{name}-m", **begun),
        a_feedback(id=f"{name}-m/admin", message_id=f"{name}-m", from_source="admin", rating="dislike", **begun),
        Retrieval(id=f"{name}-q", source=CONSOLE, dataset_id="kb1", workspace_id="w1", **_without(begun, "app_id")),
    ]


def what_stands(at: datetime) -> list[Record]:
    """Apps, an open run for an hour already, a knowledge base, a queue and our own pulls, as of `at`."""
    pull = {"source": CONSOLE, "stream": "runs", "seconds": 0.5, "requests": 1, "pages": 1, "records": 1}
    pull |= {"created_at": at, "seen_at": at}
    day = at.replace(hour=0)
    queue = {"broker": "dify", "queue": "dataset", "kind": "served", "ready": 3, "unacked": 1}
    return [
        an_app(workspace_id="w1", seen_at=at),
        an_app(id="helpdesk", name="客服", mode="advanced-chat", workspace_id="w1", seen_at=at),
        a_run(id="open", status="running", is_final=False, elapsed_seconds=None, finished_at=None, created_at=NOON),
        DatasetDay(
            id="kb1/1", dataset_id="kb1", workspace_id="w1", documents=7, segments=50, **_told(CONSOLE, day, at)
        ),
        QueueSample(
            id=f"dify/dataset/{at}", oldest_seen_at=at - timedelta(minutes=2), **queue, **_told(BROKER, at, at)
        ),
        Pull(id=f"p{at}", parse_failures=1, is_complete=True, **pull),
        Pull(id=f"f{at}", parse_failures=0, is_complete=False, error_class="unavailable", **pull),
    ]


def scrapes() -> Iterable[tuple[datetime, Mapping[str, Metric]]]:
    """What each scrape of the hour says, by name of the family."""
    board, passed = Board(1), 0
    scraped = Scraped(now=NOON, tallies=[*_tallies(lambda: float(passed))], others=board.text)
    with closing(scraped.store):
        for step in range(STEPS):
            passed, scraped.now = step, NOON + STEP * step
            mark = Watermark(source=CONSOLE, stream="runs", app_id="shop", complete_until=scraped.now - STEP)
            happened = [each for app in ("shop", "helpdesk") if step for each in _of(step, app, scraped.now)]
            scraped.store.put([*what_stands(scraped.now), *happened], [mark])
            board.line(0).show(_of_tap(step, scraped.now) if step == 1 else {})
            _tap_so_far(board, step, scraped.now)
            yield scraped.now, scraped.scrape().metrics


def openmetrics() -> str:
    """All scrapes as one OpenMetrics text: families together, samples of a series in the order of time."""
    families: dict[str, tuple[str, dict[str, list[str]]]] = {}
    for at, metrics in scrapes():
        for name, metric in metrics.items():
            _, series = families.setdefault(name, (metric.type, {}))
            for sample in metric.samples:
                labels = ",".join(f'{key}="{_escaped(value)}"' for key, value in sample.labels.items())
                key = f"{sample.name}{{{labels}}}"
                series.setdefault(key, []).append(f"{key} {sample.value!r} {at.timestamp():.0f}")
    lines = []
    for name, (kind, series) in sorted(families.items()):
        lines.append(f"# TYPE {name} {kind}")
        lines += [line for key in series for line in series[key]]
    return "\n".join([*lines, "# EOF", ""])


def _of(step: int, app: str, at: datetime) -> list[Record]:
    return what_happens(at, f"{app}{step}", app)


def _tap_so_far(board: Board, step: int, at: datetime) -> None:
    board.line(0)
    for place, number in _of_tap(step, at).items():
        board.write(0, place, number)


def _of_tap(step: int, at: datetime) -> dict[tuple[str, str], float]:
    """A tap that counts one of everything in each step, ten requests, and has three records waiting for a minute."""
    found = {(each.name, value): float(step) for each in FIGURES for value in each.values if each.kind == "counter"}
    found["dify_metric_tap_requests_total", ""] = 10.0 * step
    found |= {(each.name, ""): 3.0 for each in FIGURES if each.kind == "gauge"}
    found["dify_metric_tap_spool_oldest_timestamp_seconds", ""] = at.timestamp() - 60
    found["dify_metric_tap_overhead_seconds", str(OVERHEAD_BUCKETS[2])] = 100.0 * step
    return found


def _tallies(step: Callable[[], float]) -> Iterable[Tally]:
    """What the service tells of itself: gauges stand, counters grow by one a step."""
    gauges = {
        "dify_metric_source_up": (("origin", "source"), ("dify", "console"), 1.0),
        "dify_metric_source_refused": (("origin", "source"), ("dify", "console"), 0.0),
        "dify_metric_records_set_aside": (("origin", "stream"), ("dify", "runs"), 2.0),
        "dify_metric_backlog": (("origin", "stream"), ("dify", "node-executions"), 4.0),
        "dify_metric_reconciliation_difference_tokens": (
            ("workspace_id", "kind", "cause"),
            ("w1", "run_tokens", "unexplained"),
            7.0,
        ),
    }
    for name, (labels, values, number) in gauges.items():
        yield Tally(name, "As it is.", labels, lambda values=values, number=number: {values: number}, False)
    counters = {
        "dify_metric_source_requests_total": (
            ("origin", "source", "endpoint", "code"),
            ("dify", "console", "apps", "200"),
        ),
        "dify_metric_warnings_total": (("origin", "warning"), ("dify", "pages_moved")),
        "dify_metric_passes_total": (("origin", "source", "outcome"), ("dify", "console", "missed")),
        "dify_metric_access_refused_total": (("reason",), ("no_key",)),
        "dify_metric_rows_ingested_total": ((), ()),
        "dify_metric_rows_duplicate_total": ((), ()),
    }
    for name, (labels, values) in counters.items():
        yield Tally(name, "So far.", labels, lambda values=values: {values: step()})


def _told(source: str, created: datetime, seen: datetime) -> dict[str, Any]:
    return {"source": source, "created_at": created, "seen_at": seen}


def _without(fields: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key != name}


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
