"""One app: its use, its users, its speed, its failures, its cost. A table and nothing else."""

from __future__ import annotations

from collector.faces.grafana import shared
from collector.faces.grafana.panel import IN_EVENT_TIME, NO_GAPS, Asked, Board, Live, Panel, stat
from collector.faces.promql import OF_ONE, matching, rate, selected, summed

_OF = (("app_id", "one_app"),)
_PATH = "apps/${one_app}"

APP = Board(
    name="app",
    title=("Dify: one app", "Dify：单个应用"),
    about=(
        "Everything about one app. Written by `dify-metric generate`; change it there.",
        "单个应用的全部情况。由 `dify-metric generate` 生成，请在其中修改。",
    ),
    since="now-24h",
    rows=(
        (
            ("In the time shown", "所示时段"),
            (
                shared.requests(OF_ONE),
                stat(
                    ("Active users, 24 h", "活跃用户（24 小时）"),
                    "short",
                    "active_users",
                    Live("", summed("dify_app_active_users", where=matching(OF_ONE, 'window="1d"'))),
                ),
                shared.model_calls(OF_ONE),
                shared.tokens_spent(OF_ONE),
                shared.money_spent(OF_ONE),
                shared.satisfaction(OF_ONE),
                shared.failed_runs(OF_ONE),
                shared.failed_calls(OF_ONE),
                shared.running(OF_ONE),
                shared.stale(OF_ONE),
                shared.output_speed(OF_ONE),
                stat(
                    ("Oldest running run", "最久的运行"),
                    "s",
                    "oldest_running_run",
                    Live("", f"time() - min({selected('dify_run_oldest_unfinished_timestamp_seconds', OF_ONE)})"),
                    note=("How long it has been running.", "已经运行的时长。"),
                ),
            ),
        ),
        (
            ("Live", "实时"),
            (
                shared.request_rate(OF_ONE),
                shared.runs_by_status(OF_ONE),
                shared.failures_by_class(OF_ONE),
                shared.response_time(OF_ONE),
                shared.first_token(OF_ONE),
                shared.run_time(OF_ONE),
                shared.token_rate(OF_ONE),
                shared.tokens_by_model(OF_ONE),
                Panel(
                    title=("Messages by where they came from", "各来源的消息"),
                    unit="suffix: /s",
                    measure="messages",
                    targets=(Live("{{invoke_from}}", rate("dify_chat_messages_total", "invoke_from", OF_ONE)),),
                    is_stacked=True,
                ),
                shared.cost_per_hour(OF_ONE),
            ),
        ),
        (
            ("Day by day", "每日情况"),
            (
                Panel(
                    title=("Messages a day", "每日消息数"),
                    unit="short",
                    measure="messages",
                    targets=(Asked(path=f"{_PATH}/messages", shown=("messages", "failed_messages"), more=NO_GAPS),),
                    note=IN_EVENT_TIME,
                ),
                Panel(
                    title=("Active users a day", "每日活跃用户"),
                    unit="short",
                    measure="active_users",
                    targets=(Asked(path=f"{_PATH}/active-users", shown=("active_users",), more=NO_GAPS),),
                    note=IN_EVENT_TIME,
                ),
                Panel(
                    title=("Conversations a day", "每日会话数"),
                    unit="short",
                    measure="conversations",
                    targets=(
                        Asked(
                            path=f"{_PATH}/conversations",
                            shown=("conversations", "conversations_started"),
                            more=NO_GAPS,
                        ),
                    ),
                    note=IN_EVENT_TIME,
                ),
                Panel(
                    title=("Ratings a day", "每日评分"),
                    unit="short",
                    measure="ratings",
                    targets=(Asked(path=f"{_PATH}/ratings", shown=("likes", "dislikes"), more=NO_GAPS),),
                    note=IN_EVENT_TIME,
                ),
                Panel(
                    title=("Tokens a day", "每日 Token 数"),
                    unit="short",
                    measure="tokens",
                    targets=(Asked(path=f"{_PATH}/tokens", shown=("input_tokens", "output_tokens"), more=NO_GAPS),),
                    note=IN_EVENT_TIME,
                ),
                Panel(
                    title=("Calls a day", "每日调用"),
                    unit="short",
                    measure="invocations",
                    targets=(
                        Asked(
                            measures=("succeeded_invocations", "failed_invocations", "stopped_invocations"),
                            grain="day",
                            of=_OF,
                            more=NO_GAPS,
                        ),
                    ),
                    is_stacked=True,
                    note=IN_EVENT_TIME,
                ),
            ),
        ),
        (
            ("To look into", "明细"),
            (
                Panel(
                    title=("Failed runs", "失败的运行"),
                    unit="short",
                    kind="table",
                    width=12,
                    measure="failed_runs",
                    targets=(
                        Asked(
                            measures=("failed_runs", "run_elapsed_mean", "last_seen"),
                            by=("run_id", "error_class", "user_name", "app_id"),
                            of=_OF,
                            more=(("where", "status:failed"), ("order", "-last_seen"), ("limit", "50")),
                        ),
                    ),
                    note=IN_EVENT_TIME,
                ),
                Panel(
                    title=("Cost by model", "各模型费用"),
                    unit="short",
                    kind="table",
                    width=12,
                    measure="cost",
                    targets=(
                        Asked(
                            measures=("cost",),
                            by=("model_provider", "model_name", "currency"),
                            of=_OF,
                            more=(("order", "-cost"),),
                        ),
                    ),
                    note=IN_EVENT_TIME,
                ),
                Panel(
                    title=("Users", "用户"),
                    unit="short",
                    kind="table",
                    width=12,
                    measure="invocations",
                    targets=(
                        Asked(
                            measures=("invocations", "tokens", "invocation_failure_ratio", "last_seen"),
                            by=("user_name", "user_kind"),
                            of=_OF,
                            more=(("order", "-invocations"), ("limit", "50")),
                        ),
                    ),
                    note=IN_EVENT_TIME,
                ),
                Panel(
                    title=("Nodes", "节点"),
                    unit="short",
                    kind="table",
                    width=12,
                    measure="node_executions",
                    targets=(
                        Asked(
                            measures=("node_executions", "failed_node_executions", "node_elapsed_p95"),
                            by=("node_type",),
                            of=_OF,
                            more=(("order", "-node_executions"),),
                        ),
                    ),
                    note=IN_EVENT_TIME,
                ),
            ),
        ),
    ),
)
