"""Measures of requests: what callers asked of Dify, whether or not it became a run.

The tap sees every request. Where it stands, its rows are counted; a run or message that no request row names (it came
another way, or before the tap was there) counts as one request more. So the number is right with a tap, without one,
and on the day it is installed, and it adds up.
"""

from __future__ import annotations

from collector.measures.invocations import WITHOUT_RUN
from collector.measures.joins import MESSAGE_APP, NEAR_REQUESTS
from collector.measures.measure import count, peak, rate, ratio, spread, union
from collector.records import Message, Request, Run

_TAPPED = count(
    "tapped_requests",
    Request,
    unit="requests",
    title="Requests at the tap",
    title_zh="旁路观测请求数",
    help="Requests the tap saw.",
)
_UNTAPPED_RUNS = count(
    "untapped_runs",
    Run,
    where=f"NOT EXISTS (SELECT 1 FROM request WHERE request.run_id = run.id AND {NEAR_REQUESTS})",
    unit="requests",
    title="Runs no tap saw",
    title_zh="未经旁路的运行",
    help="Runs that no request row names.",
)
_UNTAPPED_MESSAGES = count(
    "untapped_messages",
    Message,
    where=f"{WITHOUT_RUN} "
    f"AND NOT EXISTS (SELECT 1 FROM request WHERE request.message_id = message.id AND {NEAR_REQUESTS})",
    joins=(MESSAGE_APP,),
    unit="requests",
    title="Messages no tap saw",
    title_zh="未经旁路的消息",
    help="Messages of apps without runs that no request row names.",
)
REQUESTS = union(
    "requests",
    _TAPPED,
    _UNTAPPED_RUNS,
    _UNTAPPED_MESSAGES,
    title="Requests",
    title_zh="请求数",
    help="Requests to Dify: those the tap saw, and the runs, and messages of apps without runs, that it did not see.",
)
REQUEST_RATE = rate(
    "request_rate",
    REQUESTS,
    unit="requests/second",
    title="Requests per second",
    title_zh="每秒处理请求数（RPS）",
    help="Requests ÷ seconds of the step, as far as it lies inside the period.",
)
REQUEST_RATE_PEAK = peak(
    "request_rate_peak",
    REQUESTS,
    unit="requests/second",
    title="Requests in the busiest second",
    title_zh="每秒请求数峰值",
    help="The most requests that began in one second. Dify tells whole seconds.",
)
FAILED_REQUESTS = count(
    "failed_requests",
    Request,
    where="coalesce(status_code, 599) >= 400 OR error_class IS NOT NULL OR coalesce(interrupted_by, '') = 'upstream'",
    unit="requests",
    title="Failed requests",
    title_zh="失败请求数",
    help="Requests the tap saw fail: refused, never answered, broken off by Dify, or with an error inside the stream.",
)
INTERRUPTED_REQUESTS = count(
    "interrupted_requests",
    Request,
    where="interrupted_by = 'client'",
    unit="requests",
    title="Requests the caller broke off",
    title_zh="客户端中断的请求",
    help="Requests whose caller went away before the answer had ended.",
)
REQUEST_FAILURE_RATIO = ratio(
    "request_failure_ratio",
    FAILED_REQUESTS,
    _TAPPED,
    title="Failed requests per request",
    title_zh="请求失败率",
    help="Failed requests ÷ requests, both as the tap saw them, 0 to 1.",
)
REQUEST_DURATION = spread(
    "request_duration",
    Request,
    "duration_seconds",
    title="Time of a request",
    title_zh="请求耗时",
    help="Request to last byte, as the tap measured it.",
)
REQUEST_TIME_TO_FIRST_TOKEN = spread(
    "request_time_to_first_token",
    Request,
    "time_to_first_token_seconds",
    title="Time to first token of a request",
    title_zh="请求首 Token 耗时",
    help="Request to first piece of the answer, as the tap measured it.",
)

MEASURES = (
    REQUESTS,
    REQUEST_RATE,
    REQUEST_RATE_PEAK,
    FAILED_REQUESTS,
    INTERRUPTED_REQUESTS,
    REQUEST_FAILURE_RATIO,
    *REQUEST_DURATION,
    *REQUEST_TIME_TO_FIRST_TOKEN,
)
