"""Queues and health: what waits, what is stuck, what fails. A table and nothing else."""

from __future__ import annotations

from collector.faces.grafana import shared
from collector.faces.grafana.panel import EACH_MINUTE, IN_EVENT_TIME, SLOW, UNWANTED, Asked, Board, Live, Panel, stat
from collector.faces.promql import OF_ALL, OF_APP, OF_WORKSPACE, biggest, named, per_minute, quantile, selected, summed

_QUEUE = "dify_queue_messages"
_WAITS = "time() - min{by} (dify_queue_oldest_message_timestamp_seconds > 0)"
_OLDEST = selected("dify_run_oldest_unfinished_timestamp_seconds")
_OF = (("workspace_id", "workspace"), ("app_id", "app"))

WORK = Board(
    name="work",
    title=("Dify: queues and health", "Dify：队列与健康"),
    about=(
        "What waits, what is stuck, what fails. Written by `dify-metric generate`; change it there.",
        "哪些在等待、卡住或失败。由 `dify-metric generate` 生成，请在其中修改。",
    ),
    rows=(
        (
            ("Now", "当前"),
            (
                stat(
                    ("Messages in queues", "队列积压"),
                    "short",
                    "queue_messages",
                    Live("", summed(_QUEUE, where=OF_ALL)),
                    thresholds=(("text", 0.0), ("orange", 100.0), ("red", 1000.0)),
                ),
                stat(
                    ("Longest wait in a queue", "队列最长等待"),
                    "s",
                    "queue_oldest_message",
                    Live("", _WAITS.format(by="")),
                    thresholds=(("text", 0.0), ("orange", 300.0), ("red", 1800.0)),
                ),
                shared.running(OF_APP),
                shared.stale(OF_APP),
                stat(
                    ("Runs Dify no longer has", "Dify 中已不存在的运行"),
                    "short",
                    "missing_runs",
                    Live("", f"{summed('dify_metric_missing_runs')} or vector(0)"),
                    thresholds=UNWANTED,
                ),
                shared.failed_runs(OF_APP),
            ),
        ),
        (
            ("Queues", "队列"),
            (
                Panel(
                    title=("Backlog by queue", "各队列积压"),
                    unit="short",
                    measure="queue_messages",
                    targets=(Live("{{queue}}", summed(_QUEUE, "queue", OF_ALL)),),
                    is_stacked=True,
                ),
                Panel(
                    title=("Wait of the oldest message", "最旧消息的等待时间"),
                    unit="s",
                    measure="queue_oldest_message",
                    targets=(Live("{{queue}}", _WAITS.format(by=" by (queue)")),),
                    thresholds=SLOW,
                ),
                Panel(
                    title=("Backlog by the hour", "每小时积压"),
                    unit="short",
                    measure="queue_messages",
                    targets=(Asked(path="tasks/queue-backlog", shown=("queue_messages",), more=(("top", "10"),)),),
                    note=IN_EVENT_TIME,
                ),
            ),
        ),
        (
            ("Open work", "未完成的工作"),
            (
                Panel(
                    title=("Runs not ended", "未结束的运行"),
                    unit="short",
                    measure="running_runs",
                    targets=(
                        Live(("running", "运行中"), summed("dify_run_in_progress")),
                        Live(("stale", "停滞"), summed("dify_run_stale")),
                    ),
                ),
                Panel(
                    title=("Age of the oldest running run", "最久运行的时长"),
                    unit="s",
                    measure="oldest_running_run",
                    targets=(
                        Live("{{app_name}}", biggest(5, named(f"time() - min by (workspace_id, app_id) ({_OLDEST})"))),
                    ),
                    note=("Grows without end where something is stuck.", "若有卡住的运行，会一直增长。"),
                ),
                Panel(
                    title=("Requests per second, mean and peak", "每秒请求数（平均与峰值）"),
                    unit="reqps",
                    measure="request_rate_peak",
                    targets=(Asked(path="tasks/request-rate", of=_OF, shown=("request_rate", "request_rate_peak")),),
                    note=IN_EVENT_TIME,
                ),
            ),
        ),
        (
            ("Failures", "失败"),
            (
                shared.runs_by_status(OF_APP, width=6),
                shared.failures_by_class(OF_APP, width=6),
                Panel(
                    title=("Failed nodes by type", "各类型失败的节点"),
                    unit=EACH_MINUTE,
                    measure="failed_node_executions",
                    targets=(
                        Live(
                            "{{node_type}}", per_minute("dify_node_execution_failures_total", "node_type", OF_WORKSPACE)
                        ),
                    ),
                    is_stacked=True,
                    width=6,
                    note=("Of all apps of the workspace.", "涵盖工作区的所有应用。"),
                ),
                Panel(
                    title=("Time of nodes, p95", "节点耗时（p95）"),
                    unit="s",
                    measure="node_elapsed_p95",
                    targets=(
                        Live(
                            "{{node_type}}",
                            quantile(0.95, "dify_node_execution_duration_seconds", "node_type", OF_WORKSPACE),
                            has_exemplars=True,
                        ),
                    ),
                    width=6,
                    note=("Of all apps of the workspace.", "涵盖工作区的所有应用。"),
                ),
            ),
        ),
        (
            ("By the hour", "每小时"),
            (
                Panel(
                    title=("Response time", "响应时间"),
                    unit="s",
                    measure="response_time_p95",
                    targets=(
                        Asked(
                            path="tasks/response-time",
                            of=_OF,
                            shown=("response_time_p50", "response_time_p95", "run_elapsed_p95"),
                        ),
                    ),
                    width=12,
                    note=IN_EVENT_TIME,
                ),
                Panel(
                    title=("Failures by class", "各类失败"),
                    unit="short",
                    kind="table",
                    measure="failed_model_calls",
                    targets=(
                        Asked(
                            measures=("failed_model_calls",),
                            by=("error_class", "model_name", "app_name", "app_id"),
                            of=_OF,
                            more=(("order", "-failed_model_calls"), ("limit", "50")),
                        ),
                    ),
                    width=12,
                    note=IN_EVENT_TIME,
                    opens="app",
                ),
            ),
        ),
    ),
)
