"""Measures of model calls: the only facts whose tokens and cost are added up.

Dify repeats one call's tokens in nodes, containers, runs and messages; none of those repetitions is counted here.
An estimate stands for the calls of a run whose nodes told no usage; answers that contain one say so.
"""

from __future__ import annotations

from collector.measures.by_call import CURRENCY
from collector.measures.flags import DEBUG_UNKNOWN_CALLS, ESTIMATED, UNPRICED, USAGE_UNKNOWN
from collector.measures.measure import (
    CURRENCY_UNIT,
    count,
    ratio,
    spread,
    total,
)
from collector.records import ModelCall

_TOKEN_FLAGS = (ESTIMATED, USAGE_UNKNOWN, DEBUG_UNKNOWN_CALLS)
_GENERATED = (
    "output_tokens IS NOT NULL AND time_to_first_token_seconds IS NOT NULL "
    "AND latency_seconds > time_to_first_token_seconds"
)
_TIMED = "output_tokens IS NOT NULL AND latency_seconds > 0"
_OWN_CLOCK = "status = 'succeeded' AND NOT is_estimate AND coalesce(node_type, '') <> 'message'"

MODEL_CALLS = count(
    "model_calls",
    ModelCall,
    unit="calls",
    title="Model calls",
    title_zh="模型调用次数",
    help="Calls of a model, failed ones included. Each call counts once, wherever Dify repeats it.",
    flags=(ESTIMATED, DEBUG_UNKNOWN_CALLS),
)
FAILED_MODEL_CALLS = count(
    "failed_model_calls",
    ModelCall,
    where="status = 'failed'",
    unit="calls",
    title="Failed model calls",
    title_zh="失败的模型调用",
    help="Calls of a model that ended in an error.",
)
MODEL_CALL_FAILURE_RATIO = ratio(
    "model_call_failure_ratio",
    FAILED_MODEL_CALLS,
    MODEL_CALLS,
    title="Failed calls per model call",
    title_zh="模型调用失败率",
    help="Failed model calls ÷ model calls, 0 to 1.",
)
TOKENS = total(
    "tokens",
    ModelCall,
    "tokens",
    unit="tokens",
    title="Tokens",
    title_zh="Token 消耗量",
    help="Input and output tokens of all model calls.",
    flags=_TOKEN_FLAGS,
)
INPUT_TOKENS = total(
    "input_tokens",
    ModelCall,
    "input_tokens",
    unit="tokens",
    title="Input tokens",
    title_zh="输入 Token",
    help="Prompt tokens. Whether they contain the cached ones is up to the provider.",
    flags=_TOKEN_FLAGS,
)
OUTPUT_TOKENS = total(
    "output_tokens",
    ModelCall,
    "output_tokens",
    unit="tokens",
    title="Output tokens",
    title_zh="输出 Token",
    help="Completion tokens, reasoning included.",
    flags=_TOKEN_FLAGS,
)
CACHED_INPUT_TOKENS = total(
    "cached_input_tokens",
    ModelCall,
    "cached_input_tokens",
    unit="tokens",
    title="Cached input tokens",
    title_zh="缓存命中的输入 Token",
    help="Prompt tokens the provider read from its cache, where it tells them.",
)
REASONING_OUTPUT_TOKENS = total(
    "reasoning_output_tokens",
    ModelCall,
    "reasoning_output_tokens",
    unit="tokens",
    title="Reasoning tokens",
    title_zh="推理 Token",
    help="Completion tokens spent on reasoning, where the provider tells them; part of the output tokens.",
)
COST = total(
    "cost",
    ModelCall,
    "cost",
    unit=CURRENCY_UNIT,
    always_by=(CURRENCY,),
    title="Cost",
    title_zh="费用",
    help="What Dify says the calls cost, always by currency. Calls without a price add nothing and are flagged.",
    flags=(ESTIMATED, UNPRICED, DEBUG_UNKNOWN_CALLS),
)
UNPRICED_TOKENS = total(
    "unpriced_tokens",
    ModelCall,
    "tokens",
    where=UNPRICED.where,
    unit="tokens",
    title="Unpriced tokens",
    title_zh="未定价 Token",
    help="Tokens for which Dify has no price, or a price of zero.",
    flags=(ESTIMATED, DEBUG_UNKNOWN_CALLS),
)
MODEL_CALL_LATENCY = spread(
    "model_call_latency",
    ModelCall,
    "latency_seconds",
    where=_OWN_CLOCK,
    title="Latency of a model call",
    title_zh="模型调用耗时",
    help="Time of succeeded calls made by workflow nodes, request to last token. Dify does not time the calls of chat, "
    "completion and agent apps by themselves: there, see response_time.",
)
TIME_TO_FIRST_TOKEN = spread(
    "time_to_first_token",
    ModelCall,
    "time_to_first_token_seconds",
    where="status = 'succeeded'",
    title="Time to first token of a model call",
    title_zh="模型首 Token 耗时",
    help="From asking the model to its first piece of answer; of streamed calls only.",
)
GENERATION_SECONDS = total(
    "generation_seconds",
    ModelCall,
    "latency_seconds - time_to_first_token_seconds",
    where=_GENERATED,
    unit="seconds",
    title="Generation time",
    title_zh="生成耗时",
    help="Time models spent between first and last token, over calls that tell both.",
)
GENERATED_TOKENS = total(
    "generated_tokens",
    ModelCall,
    "output_tokens",
    where=_GENERATED,
    unit="tokens",
    title="Output tokens with a known generation time",
    title_zh="有生成耗时的输出 Token",
    help="Output tokens of the calls that generation_seconds times.",
)
TOKEN_TIME = spread(
    "token_time",
    ModelCall,
    "(latency_seconds - time_to_first_token_seconds) / output_tokens",
    where=f"{_GENERATED} AND output_tokens > 0",
    title="Time per output token",
    title_zh="单 Token 输出耗时",
    help="Time from first to last token ÷ output tokens, of each call that tells both.",
)
OUTPUT_SPEED = ratio(
    "output_speed",
    GENERATED_TOKENS,
    GENERATION_SECONDS,
    unit="tokens/second",
    title="Output speed",
    title_zh="Token 输出速度",
    help="Output tokens ÷ time from first to last token, over calls that tell both.",
)
TIMED_OUTPUT_TOKENS = total(
    "timed_output_tokens",
    ModelCall,
    "output_tokens",
    where=_TIMED,
    unit="tokens",
    title="Output tokens with a known latency",
    title_zh="有耗时的输出 Token",
    help="Output tokens of the calls that call_seconds times.",
)
CALL_SECONDS = total(
    "call_seconds",
    ModelCall,
    "latency_seconds",
    where=_TIMED,
    unit="seconds",
    title="Time in model calls",
    title_zh="模型调用总耗时",
    help="Whole latency of the calls whose output tokens and latency are known.",
)
OUTPUT_SPEED_DIFY = ratio(
    "output_speed_dify",
    TIMED_OUTPUT_TOKENS,
    CALL_SECONDS,
    unit="tokens/second",
    title="Output speed, Dify's way",
    title_zh="Token 输出速度（Dify 口径）",
    help="Output tokens ÷ whole latency, waiting for the first token included, as Dify's own statistic divides.",
)

MEASURES = (
    MODEL_CALLS,
    FAILED_MODEL_CALLS,
    MODEL_CALL_FAILURE_RATIO,
    TOKENS,
    INPUT_TOKENS,
    OUTPUT_TOKENS,
    CACHED_INPUT_TOKENS,
    REASONING_OUTPUT_TOKENS,
    COST,
    UNPRICED_TOKENS,
    *MODEL_CALL_LATENCY,
    *TIME_TO_FIRST_TOKEN,
    GENERATION_SECONDS,
    GENERATED_TOKENS,
    *TOKEN_TIME,
    OUTPUT_SPEED,
    TIMED_OUTPUT_TOKENS,
    CALL_SECONDS,
    OUTPUT_SPEED_DIFY,
)
