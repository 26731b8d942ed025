"""The table of statistics: path, titles, measures, by what, over which time. Data and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

LIST_LENGTH = 50
"""Rows of a list on one page, where nobody asks for another number."""

MONTH, DAY = "30d", "24h"


@dataclass(frozen=True, kw_only=True)
class Part:
    """A second question about the same period, answered beside the first one in JSON."""

    name: str
    title: str
    title_zh: str
    measures: tuple[str, ...]
    by: tuple[str, ...] = ()
    grain: str = "none"
    top: int | None = None
    has_money: bool = False


@dataclass(frozen=True, kw_only=True)
class Statistic:
    """One resource. What a request does not say is as it stands here.

    `by` it is always split, and by what a request adds. `has_money`: a column of cost for each currency there is.
    `search` is the dimension that a request's `search` looks into; None: there is nothing to look into. `example` is a
    query string that shows what can be asked.
    """

    path: str  # below /api/v1/; {id} is an app
    title: str
    title_zh: str
    measures: tuple[str, ...]
    by: tuple[str, ...] = ()
    where: tuple[str, ...] = ()
    grain: str = "day"
    since: str = MONTH
    order: str = ""
    limit: int | None = None
    compare: str = ""
    totals: bool = False
    search: str | None = None
    has_money: bool = False
    is_ranked: bool = False
    parts: tuple[Part, ...] = ()
    example: str = ""

    @property
    def is_of_app(self) -> bool:
        """Whether it is about one app."""
        return "{id}" in self.path

    @property
    def name(self) -> str:
        """A word for it: apps/{id}/tokens -> AppsTokens."""
        words = self.path.replace("{id}", "").replace("/", "-").split("-")
        return "".join(word.capitalize() for word in words if word)


_APP = ("app_id", "app_name")
_MODEL = ("model_provider", "model_name")
_USER = ("user_id", "user_kind", "user_name")
_TOKENS = ("tokens", "input_tokens", "output_tokens")
_MODEL_USE = (
    *("model_calls", "failed_model_calls", "model_call_failure_ratio", *_TOKENS, "cached_input_tokens"),
    *("unpriced_tokens", "model_call_latency_mean", "model_call_latency_p95", "time_to_first_token_p50"),
    "output_speed",
)

OF_APP = (
    Statistic(
        path="apps/{id}/tokens",
        title="Tokens of an app",
        title_zh="调用分析详情-获取智能体token消耗",
        measures=(*_TOKENS, "model_calls"),
        has_money=True,
        example="since=7d&by=model&tz=Asia/Shanghai",
    ),
    Statistic(
        path="apps/{id}/messages",
        title="Messages of an app a day",
        title_zh="调用分析详情-获取智能体每日消息数量",
        measures=("messages", "failed_messages", "dify_messages"),
        example="since=2026-11&fill=zero",
    ),
    Statistic(
        path="apps/{id}/ratings",
        title="Ratings of an app a day",
        title_zh="调用分析详情-获取智能体每日用户评分",
        measures=("likes", "dislikes", "ratings", "satisfaction", "dify_satisfaction"),
        example="since=30d&totals=true",
    ),
    Statistic(
        path="apps/{id}/token-speed",
        title="Output speed of an app",
        title_zh="调用分析详情-获取智能体Token 输出速度",
        measures=(
            *("output_speed", "output_speed_dify", "dify_tokens_per_second", "generated_tokens"),
            "generation_seconds",
        ),
        example="since=24h&grain=hour",
    ),
    Statistic(
        path="apps/{id}/session-interactions",
        title="Messages per conversation of an app",
        title_zh="调用分析详情-获取智能体平均会话互动数",
        measures=("messages_per_conversation", "messages", "conversations", "dify_session_interactions"),
        example="grain=week",
    ),
    Statistic(
        path="apps/{id}/conversations",
        title="Conversations of an app",
        title_zh="调用分析详情-获取智能体全部会话数",
        measures=("conversations", "conversations_started", "dify_conversations"),
        totals=True,
        example="since=all&grain=month",
    ),
    Statistic(
        path="apps/{id}/active-users",
        title="Active users of an app",
        title_zh="调用分析详情-获取智能体活跃用户数",
        measures=("active_users", "dify_end_users"),
        totals=True,
        example="grain=week&compare=previous",
    ),
    Statistic(
        path="apps/{id}/calls",
        title="Calls of an app",
        title_zh="智能体中心-调用情况",
        measures=(
            *("invocations", "succeeded_invocations", "failed_invocations", "stopped_invocations"),
            *("open_invocations", "invocation_failure_ratio", "run_elapsed_mean", "response_time_mean"),
        ),
        totals=True,
        example="since=7d&compare=last_week",
    ),
)

BUSINESS = (
    Statistic(
        path="business",
        title="Business at a glance",
        title_zh="业务情况分析-获取业务分析数据",
        measures=(
            *("invocations", "runs", "messages", "conversations", "active_users", "active_apps", "model_calls"),
            *(*_TOKENS, "satisfaction", "invocation_failure_ratio", "response_time_mean", "run_elapsed_mean"),
        ),
        grain="none",
        compare="previous",
        has_money=True,
        parts=(
            Part(
                name="trend",
                title="Day by day",
                title_zh="每日趋势",
                measures=("invocations", "messages", "active_users", "tokens"),
                grain="day",
            ),
            Part(
                name="top_apps",
                title="Apps called most",
                title_zh="热门应用",
                measures=("invocations", "active_users", "tokens"),
                by=_APP,
                top=10,
            ),
            Part(
                name="top_models",
                title="Models that spent most tokens",
                title_zh="热门模型",
                measures=("tokens", "model_calls", "output_speed"),
                by=_MODEL,
                top=10,
            ),
            Part(
                name="top_users",
                title="Users who call most",
                title_zh="活跃用户",
                measures=("invocations", "messages", "tokens"),
                by=_USER,
                top=10,
            ),
        ),
        example="since=2026-11&compare=last_year",
    ),
    Statistic(
        path="business/users",
        title="Users: what each does",
        title_zh="业务情况分析-获取用户业务分析数据",
        measures=(
            *("invocations", "messages", "runs", "conversations", "tokens", "model_calls", "active_apps"),
            *("active_days", "first_seen", "last_seen"),
        ),
        by=_USER,
        grain="none",
        order="-invocations",
        limit=LIST_LENGTH,
        search="user_name",
        has_money=True,
        is_ranked=True,
        example="search=a&order=-tokens&limit=20",
    ),
)

METERING = (
    Statistic(
        path="metering/apps",
        title="Metering of apps",
        title_zh="计量管理-获取应用计量数据",
        measures=("invocations", "runs", "messages", "active_users", "model_calls", *_TOKENS, "unpriced_tokens"),
        by=(*_APP, "app_mode"),
        grain="none",
        order="-tokens",
        limit=LIST_LENGTH,
        search="app_name",
        has_money=True,
        example="since=2026-11&totals=true&format=csv",
    ),
    Statistic(
        path="metering/models",
        title="Metering of models",
        title_zh="计量管理-模型计量-获取模型计量数据",
        measures=_MODEL_USE,
        by=_MODEL,
        grain="none",
        order="-tokens",
        limit=LIST_LENGTH,
        search="model_name",
        has_money=True,
        example="search=gpt&compare=last_month",
    ),
    Statistic(
        path="metering/vision-models",
        title="Metering of models that were shown images",
        title_zh="计量管理-视觉大模型计量-获取模型计量数据",
        measures=_MODEL_USE,
        by=_MODEL,
        where=("is_vision:true",),
        grain="none",
        order="-tokens",
        limit=LIST_LENGTH,
        search="model_name",
        has_money=True,
        example="since=30d",
    ),
    Statistic(
        path="metering/datasets",
        title="Metering of knowledge bases",
        title_zh="计量管理-知识库计量-获取知识库计量数据",
        measures=(
            *("knowledge_documents", "knowledge_available_documents", "knowledge_waiting_documents"),
            *("knowledge_failed_documents", "knowledge_segments", "knowledge_characters", "knowledge_tokens"),
            *("knowledge_hits", "knowledge_apps", "retrievals", "datasets"),
        ),
        by=("dataset_id", "dataset_name"),
        grain="none",
        order="-retrievals",
        limit=LIST_LENGTH,
        search="dataset_name",
        example="search=a&order=-knowledge_documents",
    ),
)

OPERATIONS = (
    Statistic(
        path="operations/app-status",
        title="State of the apps",
        title_zh="应用运营管理-产品状态分析",
        measures=("apps", "published_apps", "active_apps", "idle_apps", "new_apps", "deleted_apps"),
        by=("app_mode",),
        grain="none",
        totals=True,
        parts=(
            Part(
                name="trend",
                title="Day by day",
                title_zh="每日趋势",
                measures=("active_apps", "new_apps", "deleted_apps"),
                grain="day",
            ),
        ),
        example="since=90d",
    ),
)

RESOURCES = (
    Statistic(
        path="resources/model-calls",
        title="Model calls",
        title_zh="运维统计-资源监控-获取模型调用次数统计",
        measures=("model_calls", "failed_model_calls", "model_call_failure_ratio"),
        example="since=7d&by=model&top=5&other=true",
    ),
    Statistic(
        path="resources/tokens",
        title="Tokens",
        title_zh="运维统计-资源监控-获取Token消耗量统计",
        measures=(*_TOKENS, "cached_input_tokens", "reasoning_output_tokens"),
        has_money=True,
        example="since=7d&grain=hour",
    ),
    Statistic(
        path="resources/conversations",
        title="Conversations by app",
        title_zh="运维统计-资源监控-获取智能体会话量统计",
        measures=("conversations", "messages"),
        by=_APP,
        search="app_name",
        totals=True,
        example="since=7d&top=5",
    ),
)

TASKS = (
    Statistic(
        path="tasks/queue-backlog",
        title="Backlog of the queues",
        title_zh="任务指标-队列积压量统计",
        measures=("queue_messages", "queue_ready", "queue_unacked", "queue_oldest_message"),
        by=("broker", "queue"),
        grain="hour",
        since=DAY,
        parts=(
            Part(
                name="now",
                title="As of the last sample",
                title_zh="当前积压",
                measures=("queue_messages", "queue_ready", "queue_unacked", "queue_oldest_message"),
                by=("broker", "queue"),
            ),
            Part(
                name="documents",
                title="Documents that wait to be indexed",
                title_zh="等待索引的文档",
                measures=("knowledge_waiting_documents", "knowledge_indexing_documents", "knowledge_failed_documents"),
            ),
            Part(
                name="runs",
                title="Runs that are open",
                title_zh="未结束的运行",
                measures=("running_runs", "paused_runs", "stale_runs", "oldest_running_run"),
            ),
        ),
        example="since=6h&grain=15m",
    ),
    Statistic(
        path="tasks/response-time",
        title="Response time",
        title_zh="运维统计-任务指标-平均响应时间(RT)",
        measures=("response_time", "run_elapsed", "request_duration"),
        grain="hour",
        since=DAY,
        example="since=7d&grain=day&where=app_mode:chat",
    ),
    Statistic(
        path="tasks/request-rate",
        title="Requests per second",
        title_zh="运维统计-任务指标-每秒处理请求数(RPS)",
        measures=("request_rate", "request_rate_peak", "requests"),
        grain="hour",
        since=DAY,
        example="since=1h&grain=minute",
    ),
)

APPS = (
    Statistic(
        path="apps",
        title="Apps",
        title_zh="智能体中心-列表",
        measures=(
            *("apps", "published_apps", "app_created", "app_updated", "invocations", "messages", "conversations"),
            *("active_users", "tokens", "satisfaction", "invocation_failure_ratio", "last_seen"),
        ),
        by=(*_APP, "app_mode"),
        where=("is_deleted:false",),
        grain="none",
        order="-invocations",
        limit=LIST_LENGTH,
        search="app_name",
        has_money=True,
        example="search=a&order=-app_created&limit=10",
    ),
)

STATISTICS: tuple[Statistic, ...] = (*APPS, *OF_APP, *BUSINESS, *METERING, *OPERATIONS, *RESOURCES, *TASKS)
"""All of them."""
