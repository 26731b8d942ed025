"""Alerts about Dify: what fails, what is slow, what costs more than it should, what is stuck. A table."""

from __future__ import annotations

from collector.faces.rules.recorded import FIRST_TOKEN_SECONDS, OBJECTIVE, RESPONSE_SECONDS, slow
from collector.faces.rules.rule import Alert, Group, Said, Severity

_BUDGET = 1 - OBJECTIVE
FAILURES = 0.1
"""A share of failures from which on somebody is told."""


def _burns(
    word: str, name: str, what: Said, seconds: float, *, fast: bool, severity: Severity, act: tuple[Said, ...]
) -> Alert:
    long, short, times = ("1h", "5m", 14.4) if fast else ("6h", "30m", 6.0)
    limit = times * _BUDGET
    spent = (
        ("2 % of the month's budget in an hour", "一小时内耗尽当月 2% 的预算")
        if fast
        else (
            "5 % of the month's budget in six hours",
            "六小时内耗尽当月 5% 的预算",
        )
    )
    return Alert(
        name=name,
        expression=f"{slow(word, long)} > {limit:.2f} and {slow(word, short)} > {limit:.2f}",
        after="2m" if fast else "15m",
        severity=severity,
        summary=(
            f"{what[0]} in workspace {{{{ $labels.workspace_id }}}} is too slow",
            f"工作区 {{{{ $labels.workspace_id }}}} 的{what[1]}过慢",
        ),
        description=(
            f"{{{{ $value | humanizePercentage }}}} of answers took longer than {seconds:g} s over the last {long}; "
            f"{OBJECTIVE:.0%} are to be faster. At this pace that is {spent[0]}.",
            f"最近 {long} 内 {{{{ $value | humanizePercentage }}}} 的回答超过 {seconds:g} 秒，"
            f"目标为 {OBJECTIVE:.0%} 更快。按此速度将在{spent[1]}。",
        ),
        look=(
            (
                "Overview, *Is it slow*: are all apps slow, or one? Is it the first token or the whole answer?",
                "总览看板“是否缓慢”：所有应用都慢还是仅一个？是首 Token 慢还是整个回答慢？",
            ),
            (
                "Models and cost, *Speed*: does one model's time of calls rise while others do not?",
                "模型与费用看板“速度”：是否只有某个模型的耗时上升？",
            ),
            (
                "Queues and health: is there a backlog, do many runs go on at once?",
                "队列与健康看板：是否有积压，是否同时运行过多？",
            ),
        ),
        act=act,
        board="overview",
    )


_SLOW_MODEL: tuple[Said, ...] = (
    (
        "One model is slow: look at its provider's status page, or let the apps use another model.",
        "若仅一个模型慢：查看供应商状态页，或让应用换用其他模型。",
    ),
    (
        "All are slow: give Dify's API and workers more processes, and look at its database and its network.",
        "若全部变慢：增加 Dify 的 API 与 worker 进程，检查数据库与网络。",
    ),
    (
        "One app is slow: open it (table *Apps in the time shown*) and see which node takes the time.",
        "若仅一个应用慢：在“所示时段内的应用”中打开它，查看哪个节点耗时。",
    ),
)

_FAILING = Group(
    "dify-failures",
    (
        Alert(
            name="DifyRunsFail",
            expression=f"app:dify_run_failures:ratio_rate30m > {FAILURES:g}"
            " and on (workspace_id, app_id)"
            " sum by (workspace_id, app_id) (increase(dify_run_finished_total[30m])) >= 10",
            after="10m",
            severity="warning",
            summary=(
                "Runs of app {{ $labels.app_id }} fail",
                "应用 {{ $labels.app_id }} 的运行失败",
            ),
            description=(
                "{{ $value | humanizePercentage }} of the runs of the last 30 minutes ended in an error "
                "(of at least ten).",
                "最近 30 分钟内 {{ $value | humanizePercentage }} 的运行以错误结束（至少十次运行）。",
            ),
            look=(
                (
                    "One app, *Failed runs*: the classes of errors, and since when.",
                    "单个应用看板“失败的运行”：错误类别及开始时间。",
                ),
                (
                    "`dify-metric query failed_runs --by error_class,app_name --since 1h` says the same.",
                    "也可执行 `dify-metric query failed_runs --by error_class,app_name --since 1h`。",
                ),
                (
                    "Do model calls fail too (DifyModelCallsFail)? Then it is the model, not the app.",
                    "模型调用是否也失败（DifyModelCallsFail）？若是，则原因在模型而非应用。",
                ),
            ),
            act=(
                (
                    "Open a failed run in Dify's logs; the failing node and its message stand there.",
                    "在 Dify 日志中打开失败的运行，可见出错节点与消息。",
                ),
                (
                    "Was the app published lately? Restore the version before in Dify.",
                    "应用最近是否发布过？在 Dify 中恢复到上一版本。",
                ),
            ),
            board="app",
        ),
        Alert(
            name="DifyModelCallsFail",
            expression=f"model:dify_llm_call_failures:ratio_rate30m > {FAILURES:g}"
            " and on (model_provider, model_name)"
            " sum by (model_provider, model_name) (increase(dify_llm_calls_total[30m])) >= 10",
            after="10m",
            severity="warning",
            summary=("Calls of model {{ $labels.model_name }} fail", "模型 {{ $labels.model_name }} 调用失败"),
            description=(
                "{{ $value | humanizePercentage }} of the calls of {{ $labels.model_provider }} "
                "{{ $labels.model_name }} in the last 30 minutes failed (of at least ten).",
                "最近 30 分钟内 {{ $labels.model_provider }} {{ $labels.model_name }} 的调用有 "
                "{{ $value | humanizePercentage }} 失败（至少十次调用）。",
            ),
            look=(
                (
                    "Models and cost, *Failures*: which class? rate_limited and quota_exceeded are the account's, "
                    "unavailable and timeout the provider's, context_length and invalid_request the app's.",
                    "模型与费用看板“失败”：哪类错误？rate_limited、quota_exceeded 属账户问题，"
                    "unavailable、timeout 属供应商问题，context_length、invalid_request 属应用问题。",
                ),
                (
                    "Which apps are hit: Queues and health, table *Failures by class*.",
                    "受影响的应用：队列与健康看板“各类失败”。",
                ),
            ),
            act=(
                (
                    "Account: raise its limit, add a key in Dify (load balancing), or spread the load over the hour.",
                    "账户：提高额度、在 Dify 中增加密钥（负载均衡）或分散负载。",
                ),
                (
                    "Provider: wait, or let the apps use another model.",
                    "供应商：等待恢复，或让应用换用其他模型。",
                ),
            ),
            board="models",
        ),
    ),
)

_SLOWNESS = Group(
    "dify-slo",
    (
        _burns(
            "response",
            "DifyResponseTimeBurnsFast",
            ("Answering", "响应"),
            RESPONSE_SECONDS,
            fast=True,
            severity="critical",
            act=_SLOW_MODEL,
        ),
        _burns(
            "response",
            "DifyResponseTimeBurnsSlowly",
            ("Answering", "响应"),
            RESPONSE_SECONDS,
            fast=False,
            severity="warning",
            act=_SLOW_MODEL,
        ),
        _burns(
            "first_token",
            "DifyFirstTokenBurnsFast",
            ("The first token", "首 Token"),
            FIRST_TOKEN_SECONDS,
            fast=True,
            severity="critical",
            act=_SLOW_MODEL,
        ),
        _burns(
            "first_token",
            "DifyFirstTokenBurnsSlowly",
            ("The first token", "首 Token"),
            FIRST_TOKEN_SECONDS,
            fast=False,
            severity="warning",
            act=_SLOW_MODEL,
        ),
    ),
)

_HOUR = "workspace:dify_llm_tokens:increase1h"

_MONEY = Group(
    "dify-money",
    (
        Alert(
            name="DifyTokensBurn",
            expression=f"{_HOUR} > 3 * ({_HOUR} offset 1w) and {_HOUR} > 100000",
            after="15m",
            severity="warning",
            summary=(
                "Workspace {{ $labels.workspace_id }} burns tokens",
                "工作区 {{ $labels.workspace_id }} 的 Token 消耗激增",
            ),
            description=(
                "{{ $value | humanize }} tokens in the last hour: more than three times the same hour of last week.",
                "最近一小时消耗 {{ $value | humanize }} Token，超过上周同一时段的三倍。",
            ),
            look=(
                ("Overview, *What does it cost*: which app, which model?", "总览看板“费用多少”：哪个应用、哪个模型？"),
                (
                    "One app, *Users*: is it one user or one key?",
                    "单个应用看板“用户”：是否为单个用户或密钥？",
                ),
            ),
            act=(
                (
                    "A loop or a misused key: take the app's API key away in Dify, or limit its rate there.",
                    "若为循环调用或密钥滥用：在 Dify 中撤销该应用的 API 密钥或限流。",
                ),
                (
                    "Meant so: silence it for a week; then the same hour is the new measure.",
                    "若属正常：静默一周，之后同一时段即为新的基准。",
                ),
            ),
            board="models",
        ),
        Alert(
            name="DifyTokensWithoutPrice",
            expression="sum by (model_provider, model_name) (increase(dify_llm_unpriced_tokens_total[1h])) > 0",
            after="1h",
            severity="warning",
            summary=(
                "Tokens of model {{ $labels.model_name }} have no price",
                "模型 {{ $labels.model_name }} 的 Token 没有价格",
            ),
            description=(
                "{{ $value | humanize }} tokens of {{ $labels.model_provider }} {{ $labels.model_name }} in an hour "
                "are in no cost: the sums of money are too low.",
                "一小时内 {{ $labels.model_provider }} {{ $labels.model_name }} 有 {{ $value | humanize }} Token "
                "未计入费用，费用合计偏低。",
            ),
            look=(
                (
                    "Models and cost, *Tokens without a price*: since when, and is it one model?",
                    "模型与费用看板“无价格的 Token”：从何时开始，是否仅一个模型？",
                ),
            ),
            act=(
                (
                    "A custom model: write its price into its settings in Dify; calls from then on have one.",
                    "自定义模型：在 Dify 的模型设置中填写价格，此后的调用将有价格。",
                ),
                (
                    "A model of a provider: update the provider's plugin, which brings the prices.",
                    "供应商模型：更新供应商插件，价格随插件提供。",
                ),
            ),
            board="models",
        ),
    ),
)

_STUCK = Group(
    "dify-work",
    (
        Alert(
            name="DifyQueueBacklog",
            expression="sum by (broker, queue) (dify_queue_messages) > 1000"
            " or time() - min by (broker, queue) (dify_queue_oldest_message_timestamp_seconds > 0) > 900",
            after="10m",
            severity="critical",
            summary=("Queue {{ $labels.queue }} is not worked off", "队列 {{ $labels.queue }} 积压"),
            description=(
                "More than 1000 messages wait in {{ $labels.queue }} of {{ $labels.broker }}, or one for more than 15 "
                "minutes ({{ $value | humanize }}).",
                "{{ $labels.broker }} 的队列 {{ $labels.queue }} 积压超过 1000 条，或最旧的消息已等待 15 分钟以上"
                "（{{ $value | humanize }}）。",
            ),
            look=(
                (
                    "Queues and health, *Queues*: does the backlog grow, or does it stand still?",
                    "队列与健康看板“队列”：积压在增长还是停滞？",
                ),
                (
                    "Are Dify's workers up, do they take this queue (`celery -A app.celery inspect active_queues`)?",
                    "Dify 的 worker 是否在线并消费该队列（`celery -A app.celery inspect active_queues`）？",
                ),
            ),
            act=(
                (
                    "Stands still: restart Dify's workers; look into their log for what stops them.",
                    "停滞：重启 Dify worker，并查看其日志。",
                ),
                (
                    "Grows: start more workers, of this queue alone where one queue starves the others.",
                    "增长：增加 worker，必要时为该队列单独部署。",
                ),
            ),
            board="work",
        ),
        Alert(
            name="DifyRunsStuck",
            expression="time() - min by (workspace_id, app_id) (dify_run_oldest_unfinished_timestamp_seconds) > 7200",
            after="5m",
            severity="warning",
            summary=("A run of app {{ $labels.app_id }} does not end", "应用 {{ $labels.app_id }} 的运行迟迟未结束"),
            description=(
                "The oldest run has been running for {{ $value | humanizeDuration }}.",
                "最久的运行已持续 {{ $value | humanizeDuration }}。",
            ),
            look=(
                (
                    "Queues and health, *Open work*: one run, or more and more of them?",
                    "队列与健康看板“未完成的工作”：是单个运行还是越来越多？",
                ),
                (
                    "Dify's log of the app: at which node does it stand?",
                    "Dify 中该应用的日志：停在哪个节点？",
                ),
            ),
            act=(
                (
                    "Stop it in Dify; runs of a worker that died stay `running` there for ever and become stale here.",
                    "在 Dify 中停止它；worker 崩溃后的运行会一直显示 running，本系统会将其标为停滞。",
                ),
                (
                    "More and more: restart Dify's workers, and look at what the node waits for.",
                    "越来越多：重启 Dify worker，并检查节点在等待什么。",
                ),
            ),
            board="work",
        ),
    ),
)

SERVING = (_FAILING, _SLOWNESS, _MONEY, _STUCK)
