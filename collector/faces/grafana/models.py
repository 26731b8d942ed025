"""Models and what they cost: tokens, money, speed, failures. A table and nothing else."""

from __future__ import annotations

from collector.faces.grafana import shared
from collector.faces.grafana.panel import ALL_APPS, EACH_MINUTE, IN_EVENT_TIME, PER_TOKEN, Asked, Board, Live, Panel
from collector.faces.promql import ANY_MODEL, INPUT, OF_MODEL, OUTPUT, per_minute, quantile, rate, share

_OF = (("workspace_id", "workspace"), ("app_id", "app"), ("model_name", "model"))

MODELS = Board(
    name="models",
    title=("Dify: models and cost", "Dify：模型与费用"),
    about=(
        "Which model spends what, how fast it answers, how often it fails. Written by `dify-metric generate`.",
        "各模型的消耗、响应速度与失败情况。由 `dify-metric generate` 生成。",
    ),
    since="now-24h",
    rows=(
        (
            ("In the time shown", "所示时段"),
            (
                shared.model_calls(OF_MODEL),
                shared.tokens_spent(OF_MODEL),
                shared.money_spent(OF_MODEL),
                shared.failed_calls(OF_MODEL),
                shared.output_speed(OF_MODEL),
                shared.unpriced(ANY_MODEL, ALL_APPS),
            ),
        ),
        (
            ("Tokens and money", "Token 与费用"),
            (
                shared.tokens_by_model(OF_MODEL),
                Panel(
                    title=("Input and output", "输入与输出"),
                    unit=PER_TOKEN,
                    measure="tokens",
                    targets=(
                        Live(("input", "输入"), rate(INPUT, where=OF_MODEL)),
                        Live(("output", "输出"), rate(OUTPUT, where=OF_MODEL)),
                        Live(
                            ("reasoning, part of output", "推理（含于输出）"),
                            rate("dify_llm_reasoning_output_tokens_total", where=OF_MODEL),
                        ),
                        Live(
                            ("cached, part of most inputs", "缓存（多含于输入）"),
                            rate("dify_llm_cached_input_tokens_total", where=OF_MODEL),
                        ),
                    ),
                ),
                Panel(
                    title=("Input read from the provider's cache", "命中供应商缓存的输入"),
                    unit="percentunit",
                    measure="cached_input_tokens",
                    targets=(
                        Live(
                            "{{model_name}}",
                            share(
                                rate("dify_llm_cached_input_tokens_total", "model_name", OF_MODEL),
                                rate(INPUT, "model_name", OF_MODEL),
                            ),
                        ),
                    ),
                    most=1.0,
                    note=("As a share of input tokens.", "占输入 Token 的比例。"),
                ),
                shared.cost_per_hour(OF_MODEL),
                Panel(
                    title=("Tokens without a price", "无价格的 Token"),
                    unit=PER_TOKEN,
                    measure="unpriced_tokens",
                    targets=(Live("{{model_name}}", rate("dify_llm_unpriced_tokens_total", "model_name", ANY_MODEL)),),
                    width=12,
                    is_stacked=True,
                    note=ALL_APPS,
                ),
                Panel(
                    title=("Cost a day, ${currency}", "每日费用（${currency}）"),
                    unit="short",
                    measure="cost",
                    targets=(
                        Asked(
                            measures=("cost",),
                            by=("model_name", "currency"),
                            grain="day",
                            of=_OF,
                            more=(("where", "currency=~(?i)${currency:regex}"),),
                        ),
                    ),
                    width=24,
                    is_stacked=True,
                    repeat="currency",
                    note=IN_EVENT_TIME,
                ),
            ),
        ),
        (
            ("Speed", "速度"),
            (
                Panel(
                    title=("Time of model calls, p95", "模型调用耗时（p95）"),
                    unit="s",
                    measure="model_call_latency_p95",
                    targets=(
                        Live(
                            "{{model_name}}",
                            quantile(0.95, "dify_llm_call_duration_seconds", "model_name", ANY_MODEL),
                            has_exemplars=True,
                        ),
                    ),
                    note=ALL_APPS,
                ),
                Panel(
                    title=("Output speed by model", "各模型输出速度"),
                    unit=PER_TOKEN,
                    measure="output_speed",
                    targets=(
                        Live(
                            "{{model_name}}",
                            share(
                                rate("dify_llm_generated_tokens_total", "model_name", OF_MODEL),
                                rate("dify_llm_generation_seconds_total", "model_name", OF_MODEL),
                            ),
                        ),
                    ),
                ),
                Panel(
                    title=("Time per output token, p50", "每输出 Token 耗时（p50）"),
                    unit="s",
                    measure="token_time_p50",
                    targets=(
                        Live(
                            "{{model_name}}",
                            quantile(0.5, "dify_llm_time_per_output_token_seconds", "model_name", ANY_MODEL),
                            has_exemplars=True,
                        ),
                    ),
                    note=ALL_APPS,
                ),
            ),
        ),
        (
            ("Failures", "失败"),
            (
                shared.failures_by_class(OF_MODEL, width=12),
                Panel(
                    title=("Failed model calls by model", "各模型失败的调用"),
                    unit=EACH_MINUTE,
                    measure="failed_model_calls",
                    targets=(
                        Live("{{model_name}}", per_minute("dify_llm_call_failures_total", "model_name", OF_MODEL)),
                    ),
                    width=12,
                    is_stacked=True,
                ),
            ),
        ),
        (
            ("Metering", "计量"),
            (
                Panel(
                    title=("Models in the time shown", "所示时段内的模型"),
                    unit="short",
                    kind="table",
                    width=14,
                    height=10,
                    measure="model_calls",
                    targets=(
                        Asked(
                            path="metering/models",
                            of=_OF,
                            shown=(
                                *("model_calls", "model_call_failure_ratio", "input_tokens", "output_tokens"),
                                *("unpriced_tokens", "model_call_latency_p95", "output_speed"),
                            ),
                        ),
                    ),
                    note=IN_EVENT_TIME,
                ),
                Panel(
                    title=("Cost in the time shown", "所示时段内的费用"),
                    unit="short",
                    kind="table",
                    width=10,
                    height=10,
                    measure="cost",
                    targets=(
                        Asked(
                            measures=("cost",),
                            by=("app_name", "model_name", "currency", "app_id"),
                            of=_OF,
                            more=(("order", "-cost"), ("limit", "100")),
                        ),
                    ),
                    note=IN_EVENT_TIME,
                    opens="app",
                ),
            ),
        ),
    ),
)
