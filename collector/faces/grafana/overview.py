"""The overview: is it up, is it slow, who uses it, what does it cost. A table and nothing else."""

from __future__ import annotations

from collector.faces.grafana import shared
from collector.faces.grafana.panel import (
    BEHIND,
    IN_EVENT_TIME,
    SLOW,
    Asked,
    Board,
    Live,
    Panel,
    stat,
)
from collector.faces.promql import (
    OF_APP,
    OF_WORKSPACE,
    biggest,
    grown,
    grown_in_all,
    leading,
    matching,
    named,
    rate,
    selected,
    summed,
    tokens,
)

_BY_APP = "workspace_id, app_id"
_OF = (("workspace_id", "workspace"), ("app_id", "app"))


def _slowest(title: tuple[str, str], measure: str, family: str) -> Panel:
    """A percentile over the whole time shown, as one number."""
    buckets = f"sum by (le) (increase({selected(f'{family}_bucket')}[$__range]))"
    return stat(title, "s", measure, Live("", f"histogram_quantile(0.95, {buckets})"), thresholds=SLOW)


OVERVIEW = Board(
    name="overview",
    title=("Dify overview", "Dify 总览"),
    about=(
        "Is it up, is it slow, who uses it, what does it cost. Written by `dify-metric generate`; change it there.",
        "是否正常、是否缓慢、谁在使用、费用多少。由 `dify-metric generate` 生成，请在其中修改。",
    ),
    rows=(
        (
            ("At a glance", "一览"),
            (
                stat(
                    ("Source", "数据来源"),
                    "none",
                    "last_complete_pull",
                    Live("{{origin}} {{source}}", "dify_metric_source_up"),
                    thresholds=(("red", 0.0), ("green", 1.0)),
                    words=((0, ("down", "中断")), (1, ("up", "正常"))),
                    note=(
                        "Whether the last pass over the source's apps succeeded.",
                        "最近一次读取该来源的应用是否成功。",
                    ),
                ),
                stat(
                    ("Behind Dify", "落后 Dify"),
                    "s",
                    "complete_until",
                    Live("", "max(time() - min by (stream) (dify_metric_watermark_timestamp_seconds))"),
                    thresholds=BEHIND,
                    note=("Of the stream that is furthest behind.", "落后最多的数据流。"),
                ),
                shared.failed_runs(OF_APP),
                shared.failed_calls(OF_APP),
                shared.stale(OF_APP),
                shared.requests(OF_APP),
                _slowest(
                    ("Response time, p95", "响应时间（p95）"),
                    "response_time_p95",
                    "dify_chat_response_duration_seconds",
                ),
                _slowest(
                    ("Time to first token, p95", "首 Token 时间（p95）"),
                    "message_time_to_first_token_p95",
                    "dify_chat_time_to_first_token_seconds",
                ),
                stat(
                    ("Active users, 24 h", "活跃用户（24 小时）"),
                    "short",
                    "active_users",
                    Live("", summed("dify_workspace_active_users", where=matching(OF_WORKSPACE, 'window="1d"'))),
                    note=("Of the whole workspace.", "整个工作区。"),
                ),
                shared.satisfaction(OF_APP),
                shared.tokens_spent(OF_APP),
                shared.money_spent(OF_APP),
            ),
        ),
        (
            ("Is it up", "是否正常"),
            (
                shared.runs_by_status(OF_APP, width=12),
                shared.failures_by_class(OF_APP, width=12),
            ),
        ),
        (
            ("Is it slow", "是否缓慢"),
            (
                shared.response_time(OF_APP),
                shared.first_token(OF_APP),
                shared.run_time(OF_APP),
            ),
        ),
        (
            ("Who uses it", "谁在使用"),
            (
                shared.request_rate(OF_APP, width=24),
                Panel(
                    title=("Model calls by app", "各应用的模型调用"),
                    unit="short",
                    measure="model_calls",
                    targets=(Live("{{app_name}}", biggest(10, named(grown("dify_llm_calls_total", _BY_APP)))),),
                    kind="bargauge",
                    note=("The ten busiest in the time shown.", "所示时段内最繁忙的十个。"),
                ),
                Panel(
                    title=("Active users by app, 24 h", "各应用的活跃用户（24 小时）"),
                    unit="short",
                    measure="active_users",
                    targets=(
                        Live(
                            "{{app_name}}",
                            biggest(
                                10,
                                named(summed("dify_app_active_users", _BY_APP, matching(OF_APP, 'window="1d"'))),
                            ),
                        ),
                    ),
                    kind="bargauge",
                ),
                Panel(
                    title=("Apps in the time shown", "所示时段内的应用"),
                    unit="short",
                    kind="table",
                    measure="invocations",
                    targets=(
                        Asked(
                            measures=("invocations", "active_users", "tokens", "invocation_failure_ratio"),
                            by=("app_name", "app_id"),
                            of=_OF,
                            more=(("top", "10"), ("order", "-invocations")),
                        ),
                    ),
                    note=IN_EVENT_TIME,
                    opens="app",
                ),
            ),
        ),
        (
            ("What does it cost", "费用多少"),
            (
                Panel(
                    title=("Tokens by app", "各应用 Token 数"),
                    unit="suffix: tok/s",
                    measure="tokens",
                    targets=(
                        Live(
                            "{{app_name}}",
                            leading(
                                10,
                                named(f"({tokens(rate, _BY_APP)})"),
                                _BY_APP,
                                tokens(grown_in_all, _BY_APP),
                            ),
                        ),
                    ),
                    is_stacked=True,
                    width=12,
                    note=("The ten that spent most in the time shown.", "所示时段内消耗最多的十个。"),
                ),
                shared.tokens_by_model(OF_APP, width=12),
                shared.cost_per_hour(OF_APP),
            ),
        ),
    ),
)
