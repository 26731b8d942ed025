"""Alerts about the collector: does it see everything, and in time. A table."""

from __future__ import annotations

from collector.faces.rules.rule import Alert, Group, Said, Severity

_CHECK: Said = (
    "`dify-metric check` says of every source whether it answers, and what to do.",
    "`dify-metric check` 会说明每个来源是否应答以及如何处理。",
)
_LOG: Said = ("The service's log names the request that failed.", "服务日志会指出失败的请求。")


def about_us(
    name: str,
    expression: str,
    after: str,
    severity: Severity,
    *,
    summary: Said,
    description: Said,
    look: tuple[Said, ...],
    act: tuple[Said, ...],
) -> Alert:
    """An alert whose numbers stand on the dashboard about ourselves."""
    return Alert(
        name=name,
        expression=expression,
        after=after,
        severity=severity,
        summary=summary,
        description=description,
        look=look,
        act=act,
        board="itself",
    )


COLLECTING = Group(
    "dify-metric",
    (
        about_us(
            "DifyMetricDown",
            "absent(dify_metric_build_info)",
            "5m",
            "critical",
            summary=("No dify-metric is scraped", "没有抓取到 dify-metric"),
            description=(
                "Prometheus finds no collector: everything about Dify is unknown, and no other alert here can fire.",
                "Prometheus 找不到采集器：Dify 的状态未知，其他告警也无法触发。",
            ),
            look=(
                (
                    "Prometheus, Status, Targets: what does it say of the job? 401 or 403 is the key.",
                    "Prometheus 的 Status → Targets：该任务有何提示？401 或 403 表示密钥问题。",
                ),
                ("`curl http://HOST:9180/healthz` on its machine.", "在其机器上执行 `curl http://HOST:9180/healthz`。"),
            ),
            act=(
                (
                    "Start it again; nothing is lost: it reads what it missed.",
                    "重新启动即可；会补读遗漏的数据，不会丢失。",
                ),
                (
                    "Refused: give Prometheus a key of scope metrics (`dify-metric key create --scope metrics`).",
                    "被拒绝：为 Prometheus 配置 metrics 权限的密钥（`dify-metric key create --scope metrics`）。",
                ),
            ),
        ),
        about_us(
            "DifyCollectorStale",
            "time() - max by (origin, source) (dify_metric_last_success_timestamp_seconds) > 1800",
            "5m",
            "critical",
            summary=("Nothing was read from {{ $labels.origin }} lately", "近期未从 {{ $labels.origin }} 读到数据"),
            description=(
                "The last pull of {{ $labels.origin }} by {{ $labels.source }} that reached its end was "
                "{{ $value | humanizeDuration }} ago.",
                "通过 {{ $labels.source }} 对 {{ $labels.origin }} 的最近一次完整读取在 "
                "{{ $value | humanizeDuration }} 之前。",
            ),
            look=(
                (
                    "The collector and the tap, *Failed pulls*: which class?",
                    "采集器与旁路看板“失败的读取”：哪类错误？",
                ),
                _LOG,
            ),
            act=(
                _CHECK,
                (
                    "Passes end early for want of time: raise `pull_concurrency`, or read Dify's database instead.",
                    "因时间不足而提前结束：提高 `pull_concurrency`，或改为读取 Dify 数据库。",
                ),
            ),
        ),
        about_us(
            "DifyIngestLags",
            'time() - min by (origin, source, stream) (dify_metric_watermark_timestamp_seconds{stream!="statistics"})'
            " > 3600",
            "15m",
            "warning",
            summary=(
                "Stream {{ $labels.stream }} of {{ $labels.origin }} is behind",
                "{{ $labels.origin }} 的数据流 {{ $labels.stream }} 落后",
            ),
            description=(
                "It is complete only until {{ $value | humanizeDuration }} ago, in the app that is furthest behind.",
                "落后最多的应用仅完整到 {{ $value | humanizeDuration }} 之前。",
            ),
            look=(
                (
                    "The collector and the tap, *Behind Dify, by stream* and *Left for the next pass*.",
                    "采集器与旁路看板“各数据流落后 Dify 的时间”与“留待下次读取”。",
                ),
                (
                    "`dify-metric query complete_until --by app_name,stream` names the app.",
                    "`dify-metric query complete_until --by app_name,stream` 可找出该应用。",
                ),
            ),
            act=(
                (
                    "After a back-fill it catches up by itself. Otherwise raise `pull_budget_seconds`.",
                    "历史补读之后会自行追上；否则提高 `pull_budget_seconds`。",
                ),
                (
                    "A site too busy for the API: read Dify's database (deploy/sources.md).",
                    "若站点过于繁忙：改为读取 Dify 数据库（deploy/sources.md）。",
                ),
            ),
        ),
        about_us(
            "DifySourceDown",
            "dify_metric_source_up == 0",
            "10m",
            "critical",
            summary=(
                "{{ $labels.source }} of {{ $labels.origin }} does not answer",
                "{{ $labels.origin }} 的 {{ $labels.source }} 无应答",
            ),
            description=(
                "The last passes over it failed; its numbers stand still.",
                "最近的读取均失败，其数据停止更新。",
            ),
            look=(
                ("Is Dify itself up? Open its console.", "Dify 本身是否正常？打开其控制台。"),
                (
                    "The collector and the tap, *Requests to Dify by answer*: 5xx, timeouts, refused connections?",
                    "采集器与旁路看板“对 Dify 的请求”：5xx、超时还是拒绝连接？",
                ),
            ),
            act=(_CHECK, ("What was missed is read once it answers.", "恢复应答后会补读遗漏的数据。")),
        ),
        about_us(
            "DifySourceUnauthorized",
            "dify_metric_source_refused == 1",
            "1m",
            "critical",
            summary=("{{ $labels.origin }} refuses our credentials", "{{ $labels.origin }} 拒绝了凭据"),
            description=(
                "Dify refused what {{ $labels.source }} signs in with; it is not asked again before a restart, so that "
                "no account is locked.",
                "Dify 拒绝了 {{ $labels.source }} 的登录凭据；为避免锁定账户，重启前不再尝试。",
            ),
            look=(
                (
                    "Was a password, the admin key or a role changed in Dify?",
                    "Dify 中是否更改了密码、管理密钥或角色？",
                ),
            ),
            act=(
                (
                    "Put the new one into the settings (`dify-metric check` tries it), then restart the service.",
                    "将新凭据写入配置（`dify-metric check` 可验证），然后重启服务。",
                ),
            ),
        ),
        about_us(
            "DifySourceThrottles",
            'sum by (origin, source) (rate(dify_metric_source_requests_total{code="429"}[15m]))'
            " / (sum by (origin, source) (rate(dify_metric_source_requests_total[15m])) > 0) > 0.05",
            "15m",
            "warning",
            summary=("{{ $labels.origin }} limits our requests", "{{ $labels.origin }} 对请求限流"),
            description=(
                "{{ $value | humanizePercentage }} of our requests are answered 429; we wait as long as we are told, "
                "and fall behind.",
                "{{ $value | humanizePercentage }} 的请求返回 429；按要求等待，因而会落后。",
            ),
            look=(
                (
                    "The collector and the tap, *Behind Dify*: do we still catch up between the passes?",
                    "采集器与旁路看板“落后 Dify”：两次读取之间是否仍能追上？",
                ),
            ),
            act=(
                (
                    "Lower `pull_concurrency`, lengthen `pull_interval`, or read Dify's database.",
                    "降低 `pull_concurrency`、延长 `pull_interval`，或改为读取 Dify 数据库。",
                ),
            ),
        ),
        about_us(
            "DifyRecordsSetAside",
            "sum by (origin, stream) (dify_metric_records_set_aside) > 0",
            "1h",
            "info",
            summary=(
                "Records of {{ $labels.stream }} could not be read",
                "{{ $labels.stream }} 有无法解析的记录",
            ),
            description=(
                "{{ $value }} records of {{ $labels.stream }} of {{ $labels.origin }} are missing from every number.",
                "{{ $labels.origin }} 的 {{ $labels.stream }} 有 {{ $value }} 条记录未计入任何统计。",
            ),
            look=(
                (
                    "`GET /api/v1/set-aside` lists them, with the field that was not as expected.",
                    "`GET /api/v1/set-aside` 列出这些记录及不符合预期的字段。",
                ),
            ),
            act=(
                (
                    "A newer Dify than we know? Update dify-metric: they are tried again at every start.",
                    "Dify 版本较新？更新 dify-metric，启动时会重试这些记录。",
                ),
            ),
        ),
        about_us(
            "DifyReconciliationDiffers",
            'sum by (workspace_id, kind) (dify_metric_reconciliation_difference_tokens{cause="unexplained"}) > 1000',
            "1h",
            "warning",
            summary=(
                "Our tokens differ from Dify's in workspace {{ $labels.workspace_id }}",
                "工作区 {{ $labels.workspace_id }} 的 Token 与 Dify 不一致",
            ),
            description=(
                "{{ $value | humanize }} tokens of {{ $labels.kind }} over the last seven complete days that "
                "no known cause explains.",
                "最近七个完整日内 {{ $labels.kind }} 有 {{ $value | humanize }} Token 的差异，无已知原因。",
            ),
            look=(
                (
                    "`dify-metric check --reconcile --since 7d` names the days and apps.",
                    "`dify-metric check --reconcile --since 7d` 可指出日期与应用。",
                ),
                (
                    "Is history complete for these days? `dify-metric query complete_until --by app_name,stream`",
                    "这些日期的历史是否完整？`dify-metric query complete_until --by app_name,stream`",
                ),
            ),
            act=(
                (
                    "Read the days again: `dify-metric pull --since 7d`. What is left goes into a report, with "
                    "`GET /api/v1/reconciliation?only=open`.",
                    "重新读取：`dify-metric pull --since 7d`；仍有差异时附上 "
                    "`GET /api/v1/reconciliation?only=open` 的内容上报。",
                ),
            ),
        ),
        about_us(
            "DifyMetricDiskFills",
            "dify_metric_store_free_bytes < 1073741824 or predict_linear(dify_metric_store_free_bytes[6h], 172800) < 0",
            "30m",
            "critical",
            summary=("The disk of the store fills", "存储所在磁盘即将写满"),
            description=(
                "Less than 1 GiB is left, or at the pace of the last six hours nothing is in two days.",
                "剩余不足 1 GiB，或按最近六小时的速度将在两天内写满。",
            ),
            look=(
                (
                    "`dify_metric_store_size_bytes`: is it the store that grows, or something else on the disk?",
                    "`dify_metric_store_size_bytes`：是存储在增长还是磁盘上的其他内容？",
                ),
            ),
            act=(
                (
                    "Give it more room. Without it no fact is stored; they stay in Dify and in the taps' spools.",
                    "扩容。空间不足时不再写入，数据仍保留在 Dify 与旁路暂存区中。",
                ),
            ),
        ),
        about_us(
            "DifySeriesDropped",
            "sum by (family) (dify_metric_series_dropped_total) > 0",
            "5m",
            "warning",
            summary=("{{ $labels.family }} has too many series", "{{ $labels.family }} 的序列过多"),
            description=(
                "{{ $value }} of its series are counted under _OTHER: sums are right, but apps or models that came "
                "late have no line of their own.",
                "其中 {{ $value }} 个序列计入 _OTHER：合计正确，但较晚出现的应用或模型没有单独的曲线。",
            ),
            look=(
                (
                    "`GET /api/v1/cardinality?family=NAME`: which label has so many values?",
                    "`GET /api/v1/cardinality?family=NAME`：哪个标签的取值过多？",
                ),
            ),
            act=(
                (
                    "Raise `most_series` if Prometheus has room for them, and restart the service. REST splits by "
                    "everything in any case.",
                    "若 Prometheus 容量允许，提高 `most_series` 并重启服务。REST 始终可以按任意维度细分。",
                ),
            ),
        ),
    ),
)
