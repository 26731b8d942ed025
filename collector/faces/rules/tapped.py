"""Alerts about the tap: does it let callers through, and does what it saw arrive. A table."""

from __future__ import annotations

from collector.faces.rules.collecting import about_us
from collector.faces.rules.rule import Group

_TAP = "dify_metric_tap_{}"

TAPPED = Group(
    "dify-metric-tap",
    (
        about_us(
            "DifyTapDown",
            "dify_metric_tap_up == 0",
            "2m",
            "critical",
            summary=("The tap does not take callers", "旁路不接受调用"),
            description=(
                "The tap beside the service has ended; requests that go through it do not reach Dify.",
                "与服务一起启动的旁路已停止，经过它的请求无法到达 Dify。",
            ),
            look=(("The service's log says why it ended.", "服务日志会说明其停止的原因。"),),
            act=(
                ("Restart the service; it starts the tap.", "重启服务，旁路随之启动。"),
                (
                    "Until then let callers ask Dify itself: only the view of a user is missing then.",
                    "在此期间可让调用方直接访问 Dify，仅缺少用户侧的观测。",
                ),
            ),
        ),
        about_us(
            "DifyTapSlows",
            f"histogram_quantile(0.99, sum by (le) (rate({_TAP.format('overhead_seconds')}_bucket[5m]))) > 0.05",
            "10m",
            "warning",
            summary=("The tap is too busy", "旁路过于繁忙"),
            description=(
                "One byte in a hundred waits {{ $value | humanizeDuration }} or longer for its turn in the tap.",
                "百分之一的字节在旁路中等待 {{ $value | humanizeDuration }} 以上。",
            ),
            look=(
                (
                    "The collector and the tap, *What the tap adds* and *On their way*: more callers than before?",
                    "采集器与旁路看板“旁路增加的延迟”与“进行中”：调用方是否变多？",
                ),
            ),
            act=(
                (
                    "Raise `tap_workers` to the number of cores, or start a second tap beside it.",
                    "将 `tap_workers` 提高到核数，或再启动一个旁路。",
                ),
            ),
        ),
        about_us(
            "DifyTapSpoolGrows",
            f"({_TAP.format('spool_records')} > 10000 and deriv({_TAP.format('spool_records')}[15m]) > 0)"
            f" or time() - ({_TAP.format('spool_oldest_timestamp_seconds')} > 0) > 1800",
            "10m",
            "warning",
            summary=("The tap's records do not reach the collector", "旁路的记录无法送达采集器"),
            description=(
                "They wait in the spool, more and more of them or for half an hour ({{ $value | humanize }}).",
                "记录滞留在暂存区，不断增多或已等待半小时（{{ $value | humanize }}）。",
            ),
            look=(
                (
                    "The collector and the tap, *batches sent again*: connection, unauthorized, busy?",
                    "采集器与旁路看板“重发的批次”：connection、unauthorized 还是 busy？",
                ),
            ),
            act=(
                (
                    "Unauthorized: the tap's `ingest_token` has to be the collector's. Connection: is it up, can the "
                    "tap reach it? Nothing is lost while the spool has room.",
                    "unauthorized：旁路的 `ingest_token` 须与采集器一致。connection：采集器是否在线、网络是否可达？"
                    "暂存区未满时不会丢失。",
                ),
            ),
        ),
        about_us(
            "DifyTapLosesRecords",
            f"sum by (kind) (increase({_TAP.format('dropped_records_total')}[15m])) > 0",
            "1m",
            "critical",
            summary=("The tap loses records", "旁路正在丢失记录"),
            description=(
                "{{ $value | humanize }} records of kind {{ $labels.kind }} in 15 minutes: the spool is full or its "
                "disk cannot be written.",
                "15 分钟内丢失 {{ $value | humanize }} 条 {{ $labels.kind }} 记录：暂存区已满或磁盘不可写。",
            ),
            look=(
                (
                    "`dify_metric_tap_spool_bytes` beside the setting `tap_spool_bytes`; free space of its disk.",
                    "对比 `dify_metric_tap_spool_bytes` 与配置 `tap_spool_bytes`，并检查磁盘剩余空间。",
                ),
            ),
            act=(
                (
                    "Bring the collector back (DifyTapSpoolGrows), or give the spool more room. Pulls bring what Dify "
                    "itself knows of these requests.",
                    "恢复采集器（见 DifyTapSpoolGrows）或扩大暂存区。Dify 自身知道的部分会由读取补回。",
                ),
            ),
        ),
    ),
)
