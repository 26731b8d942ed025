"""The collector and the tap themselves: do they see everything, and in time. A table and nothing else."""

from __future__ import annotations

from collector.faces.grafana.panel import (
    BEHIND,
    EACH_SECOND,
    PER_SECOND,
    UNWANTED,
    Asked,
    Board,
    Column,
    Live,
    Panel,
    stat,
)
from collector.faces.promql import OF_ALL, percentiles, quantile, rate, summed

_TAP = "dify_metric_tap_{}"
_WAITING = _TAP.format("spool_oldest_timestamp_seconds")


def _tapped(name: str, by: str = "") -> str:
    return rate(_TAP.format(name), by, OF_ALL)


def _own(name: str, by: str = "", where: str = OF_ALL) -> str:
    return rate(f"dify_metric_{name}", by, where)


def _told(title: tuple[str, str], number: str, expression: str, note: tuple[str, str]) -> Panel:
    return stat(title, number, "", Live("", expression), thresholds=UNWANTED, note=note)


_COLLECTOR = (
    stat(
        ("Source", "数据来源"),
        "none",
        "last_complete_pull",
        Live("{{origin}} {{source}}", "dify_metric_source_up"),
        thresholds=(("red", 0.0), ("green", 1.0)),
        words=((0, ("down", "中断")), (1, ("up", "正常"))),
        note=("Whether the last pass over the source's apps succeeded.", "最近一次读取该来源的应用是否成功。"),
    ),
    stat(
        ("Behind Dify", "落后 Dify"),
        "s",
        "complete_until",
        Live("", "max(time() - min by (stream) (dify_metric_watermark_timestamp_seconds))"),
        thresholds=BEHIND,
        note=("Of the stream that is furthest behind.", "落后最多的数据流。"),
    ),
    _told(
        ("Credentials refused", "凭据被拒绝"),
        "none",
        "sum(dify_metric_source_refused)",
        (
            "Sources whose Dify refused ours: they are not asked again before a restart.",
            "拒绝我方凭据的来源数，重启前不再请求。",
        ),
    ),
    _told(
        ("Records set aside", "搁置的记录"),
        "short",
        "sum(dify_metric_records_set_aside)",
        (
            "Records that could not be read: GET /api/v1/set-aside lists them.",
            "无法解析的记录，见 GET /api/v1/set-aside。",
        ),
    ),
    _told(
        ("Left for the next pass", "留待下次读取"),
        "short",
        "sum(dify_metric_backlog)",
        (
            "Runs and conversations whose details the last pass had no time or budget to read.",
            "上次读取因时间或额度不足而未读取明细的运行与会话。",
        ),
    ),
    _told(
        ("Unexplained tokens", "无法解释的 Token 差异"),
        "short",
        'sum(dify_metric_reconciliation_difference_tokens{cause="unexplained"})',
        (
            "By which Dify's totals differ from ours over the last seven complete days.",
            "最近七个完整日内 Dify 合计与本系统的差异。",
        ),
    ),
    Panel(
        title=("Behind Dify, by stream", "各数据流落后 Dify 的时间"),
        unit="s",
        measure="complete_until",
        targets=(Live("{{stream}}", "time() - min by (stream) (dify_metric_watermark_timestamp_seconds)"),),
        width=6,
    ),
    Panel(
        title=("Time of pulls, p95", "读取耗时（p95）"),
        unit="s",
        measure="pull_duration_p95",
        targets=(Live("{{stream}}", quantile(0.95, "dify_metric_collect_duration_seconds", "stream", OF_ALL)),),
        width=6,
    ),
    Panel(
        title=("Requests to Dify by answer", "对 Dify 的请求（按结果）"),
        unit=PER_SECOND,
        targets=(Live("{{code}}", _own("source_requests_total", "code")),),
        width=6,
        is_stacked=True,
        note=("Retries included; code is the HTTP status or what went wrong.", "含重试；结果为 HTTP 状态码或错误。"),
    ),
    Panel(
        title=("Failed pulls and records set aside", "失败的读取与搁置的记录"),
        unit=EACH_SECOND,
        measure="pull_failures",
        targets=(
            Live(("pulls, {{error_class}}", "读取，{{error_class}}"), _own("collect_errors_total", "error_class")),
            Live(("records of {{stream}}", "{{stream}} 的记录"), _own("parse_failures_total", "stream") + " > 0"),
            Live(("warnings, {{warning}}", "警告，{{warning}}"), _own("warnings_total", "warning") + " > 0"),
            Live(
                ("passes {{outcome}}", "读取轮次 {{outcome}}"),
                _own("passes_total", "outcome", 'outcome!="finished"') + " > 0",
            ),
        ),
        width=6,
    ),
    Panel(
        title=("Facts stored", "入库的记录"),
        unit=EACH_SECOND,
        targets=(
            Live(("new or told more", "新的或有更新"), _own("rows_ingested_total")),
            Live(("known already", "已知"), _own("rows_duplicate_total")),
        ),
        width=8,
        is_stacked=True,
        note=("Facts told again are known already: each is counted once.", "重复告知的记录只计一次。"),
    ),
    Panel(
        title=("Requests not let in", "被拒绝的访问"),
        unit=EACH_SECOND,
        targets=(Live("{{reason}}", _own("access_refused_total", "reason")),),
        width=8,
        note=("By why: who asked had no key, or not that right.", "按原因：没有密钥或权限不足。"),
    ),
    Panel(
        title=("Differences from Dify's totals", "与 Dify 合计的差异"),
        unit="short",
        kind="table",
        targets=(
            Asked(
                path="reconciliation",
                more=(("only", "open"), ("since", "${__from:date:iso}"), ("until", "${__to:date:iso}")),
                has_period=False,
                columns=(
                    Column(name="day", title=("Day", "日期")),
                    Column(name="app_name", title=("App", "应用")),
                    Column(name="kind", title=("Total", "对账项")),
                    Column(name="ours", title=("Ours", "本系统"), kind="number", unit="short"),
                    Column(name="theirs", title=("Dify's", "Dify"), kind="number", unit="short"),
                    Column(name="unexplained", title=("Unexplained", "无法解释"), kind="number", unit="short"),
                ),
            ),
        ),
        width=8,
        note=("What no known cause explains, by app and day.", "无已知原因可解释的差异，按应用与日期。"),
    ),
)

_TAPS = (
    Panel(
        title=("Requests through the tap", "经过旁路的请求"),
        unit=PER_SECOND,
        measure="request_rate",
        targets=(
            Live(("all", "全部"), _tapped("requests_total")),
            Live(("streams", "流式"), _tapped("streams_total")),
            Live(("refused by the tap", "被旁路拒绝"), _tapped("refused_requests_total")),
        ),
        width=6,
        note=("As the tap counts them; empty where there is none.", "由旁路统计；没有旁路时为空。"),
    ),
    Panel(
        title=("On their way", "进行中"),
        unit="short",
        targets=(
            Live(("streams", "流"), summed(_TAP.format("streams_open"), where=OF_ALL)),
            Live(("callers", "调用方"), summed(_TAP.format("connections"), where=OF_ALL)),
        ),
        width=6,
        note=("Streams and callers now, at the tap.", "旁路上当前的流与调用方。"),
    ),
    Panel(
        title=("What the tap adds", "旁路增加的延迟"),
        unit="s",
        targets=tuple(Live(name, found) for name, found in percentiles(_TAP.format("overhead_seconds"), OF_ALL)),
        width=6,
        note=("How long a byte waits for its turn in the tap.", "一个字节在旁路中等待的时间。"),
    ),
    Panel(
        title=("Records waiting for the collector", "等待采集器的记录"),
        unit="short",
        targets=(
            Live(("records", "记录"), summed(_TAP.format("spool_records"), where=OF_ALL)),
            Live(("seconds the oldest waits", "最旧记录等待的秒数"), f"max(time() - ({_WAITING} > 0)) or vector(0)"),
        ),
        width=6,
        note=("In the spools of the taps.", "在旁路的暂存区中。"),
    ),
    Panel(
        title=("What the tap could not do", "旁路未能完成的事"),
        unit=EACH_SECOND,
        targets=(
            Live(("records lost, {{kind}}", "丢失的记录，{{kind}}"), f"{_tapped('dropped_records_total', 'kind')} > 0"),
            Live(
                ("records refused, {{kind}}", "被拒绝的记录，{{kind}}"),
                f"{_tapped('refused_records_total', 'kind')} > 0",
            ),
            Live(
                ("batches sent again, {{reason}}", "重发的批次，{{reason}}"),
                f"{_tapped('delivery_failures_total', 'reason')} > 0",
            ),
            Live(("answers unread", "未读取的响应"), f"{_tapped('unread_answers_total')} > 0"),
            Live(("spool failures", "暂存失败"), f"{_tapped('spool_failures_total')} > 0"),
        ),
        width=24,
        height=6,
        note=(
            "Empty is well: these are the tap's own troubles, not those of callers.",
            "为空即正常：这些是旁路自身的问题，而非调用方的问题。",
        ),
    ),
)

ITSELF = Board(
    name="itself",
    title=("Dify: the collector and the tap", "Dify：采集器与旁路"),
    about=(
        "Does dify-metric see everything, and in time. Written by `dify-metric generate`; change it there.",
        "dify-metric 是否完整且及时。由 `dify-metric generate` 生成，请在其中修改。",
    ),
    rows=((("The collector", "采集器"), _COLLECTOR), (("The tap", "旁路"), _TAPS)),
)
