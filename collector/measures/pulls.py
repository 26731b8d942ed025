"""Measures of our own pulls: how fresh and how complete everything else is."""

from __future__ import annotations

from collector.measures.joins import REACHED_UNTIL, WATERMARK_APP, WATERMARK_BETTER
from collector.measures.measure import INSTANT, Kind, Measure, count, newest, spread, total
from collector.records import Pull, Watermark

PULLS = count("pulls", Pull, unit="pulls", title="Pulls", title_zh="采集次数", help="Passes over a stream of an app.")
FAILED_PULLS = count(
    "pull_failures",
    Pull,
    where="error_class IS NOT NULL",
    unit="pulls",
    title="Failed pulls",
    title_zh="采集失败次数",
    help="Passes that ended in an error; the next one starts where the last complete one ended.",
)
PULL_SECONDS = total(
    "pull_seconds",
    Pull,
    "seconds",
    unit="seconds",
    title="Time spent pulling",
    title_zh="采集总耗时",
    help="Wall time of passes, added up.",
)
PULL_DURATION = spread(
    "pull_duration",
    Pull,
    "seconds",
    title="Time of a pull",
    title_zh="采集耗时",
    help="Wall time of one pass.",
)
PULL_REQUESTS = total(
    "pull_requests",
    Pull,
    "requests",
    unit="requests",
    title="Requests of pulls",
    title_zh="采集请求数",
    help="Requests our passes made to Dify.",
)
PULL_RECORDS = total(
    "pull_records",
    Pull,
    "records",
    unit="records",
    title="Records pulled",
    title_zh="采集记录数",
    help="Records our passes read, known ones included.",
)
PARSE_FAILURES = total(
    "parse_failures",
    Pull,
    "parse_failures",
    unit="records",
    title="Records set aside",
    title_zh="无法解析的记录",
    help="Records that could not be read and are missing from every other number.",
)
LAST_COMPLETE_PULL = newest(
    "last_complete_pull",
    Pull,
    "created_at",
    where="is_complete",
    title="Last complete pull",
    title_zh="最近一次完整采集",
    help="When the newest pass that reached its watermark began.",
)
COMPLETE_UNTIL = Measure(
    name="complete_until",
    kind=Kind.EARLIEST,
    record=Watermark,
    column=REACHED_UNTIL,
    where="app.deleted_at IS NULL",
    joins=(WATERMARK_APP, WATERMARK_BETTER),
    at=None,
    unit=INSTANT,
    title="Complete until",
    title_zh="数据完整截至",
    help="Everything created in Dify before this instant is stored, in every stream; of now, whatever the period.",
)

MEASURES = (
    PULLS,
    FAILED_PULLS,
    PULL_SECONDS,
    *PULL_DURATION,
    PULL_REQUESTS,
    PULL_RECORDS,
    PARSE_FAILURES,
    LAST_COMPLETE_PULL,
    COMPLETE_UNTIL,
)
