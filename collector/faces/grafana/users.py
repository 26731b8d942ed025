"""Users and operations: who comes, what they do, how they like it, what becomes of the apps. A table."""

from __future__ import annotations

from collector.faces.grafana import shared
from collector.faces.grafana.panel import IN_EVENT_TIME, NO_GAPS, Asked, Board, Live, Panel, stat
from collector.faces.promql import OF_APP, OF_WORKSPACE, grown, matching, selected, summed

_OF = (("workspace_id", "workspace"), ("app_id", "app"))


def _active(window: str, title: tuple[str, str]) -> Panel:
    found = summed("dify_workspace_active_users", where=matching(OF_WORKSPACE, f'window="{window}"'))
    return stat(title, "short", "active_users", Live("", found))


def _a_day(title: tuple[str, str], *measures: str, is_stacked: bool = False, width: int = 8) -> Panel:
    return Panel(
        title=title,
        unit="short",
        measure=measures[0],
        targets=(Asked(measures=measures, grain="day", of=_OF, more=NO_GAPS),),
        is_stacked=is_stacked,
        width=width,
        note=IN_EVENT_TIME,
    )


USERS = Board(
    name="users",
    title=("Dify: users and operations", "Dify：用户与运营"),
    about=(
        "Who comes, what they do, how they like it. Written by `dify-metric generate`; change it there.",
        "谁在使用、做了什么、是否满意。由 `dify-metric generate` 生成，请在其中修改。",
    ),
    since="now-30d",
    refresh="5m",
    rows=(
        (
            ("Now", "当前"),
            (
                _active("5m", ("Active users, 5 min", "活跃用户（5 分钟）")),
                _active("1d", ("Active users, 24 h", "活跃用户（24 小时）")),
                _active("7d", ("Active users, 7 days", "活跃用户（7 天）")),
                _active("30d", ("Active users, 30 days", "活跃用户（30 天）")),
                stat(
                    ("Conversations started", "新会话数"),
                    "short",
                    "conversations_started",
                    Live("", grown("dify_chat_conversations_started_total")),
                ),
                shared.satisfaction(OF_APP),
            ),
        ),
        (
            ("Day by day", "每日情况"),
            (
                _a_day(("Active users a day", "每日活跃用户"), "active_users"),
                _a_day(("Messages and conversations a day", "每日消息与会话"), "messages", "conversations"),
                _a_day(("Ratings a day", "每日评分"), "likes", "dislikes", is_stacked=True),
                _a_day(("Apps in use a day", "每日使用的应用"), "active_apps", width=12),
                _a_day(("New and deleted apps a day", "每日新增与删除的应用"), "new_apps", "deleted_apps", width=12),
            ),
        ),
        (
            ("Live", "实时"),
            (
                Panel(
                    title=("Active users, 5 min", "活跃用户（5 分钟）"),
                    unit="short",
                    measure="active_users",
                    targets=(
                        Live(
                            "{{workspace_id}}",
                            selected("dify_workspace_active_users", matching(OF_WORKSPACE, 'window="5m"')),
                        ),
                    ),
                    width=12,
                ),
                Panel(
                    title=("Conversations and ratings", "会话与评分"),
                    unit="short",
                    measure="ratings",
                    targets=(
                        Live(("conversations started", "新会话"), grown("dify_chat_conversations_started_total")),
                        Live("{{rating}}", grown("dify_chat_feedback_total", "rating")),
                    ),
                    kind="bargauge",
                    width=12,
                ),
            ),
        ),
        (
            ("In the time shown", "所示时段"),
            (
                Panel(
                    title=("Users", "用户"),
                    unit="short",
                    kind="table",
                    width=24,
                    height=10,
                    measure="invocations",
                    targets=(
                        Asked(
                            path="business/users",
                            of=_OF,
                            shown=(
                                *("invocations", "messages", "runs", "conversations", "tokens", "active_apps"),
                                *("active_days", "first_seen", "last_seen"),
                            ),
                        ),
                    ),
                    note=IN_EVENT_TIME,
                ),
                Panel(
                    title=("Apps", "应用"),
                    unit="short",
                    kind="table",
                    width=16,
                    height=10,
                    measure="apps",
                    targets=(
                        Asked(
                            path="apps",
                            of=_OF,
                            shown=(
                                *("invocations", "messages", "conversations", "active_users", "tokens"),
                                *("satisfaction", "invocation_failure_ratio", "last_seen"),
                            ),
                        ),
                    ),
                    note=IN_EVENT_TIME,
                    opens="app",
                ),
                Panel(
                    title=("State of the apps", "应用状态"),
                    unit="short",
                    kind="table",
                    width=8,
                    height=10,
                    measure="apps",
                    targets=(Asked(path="operations/app-status", of=_OF),),
                    note=IN_EVENT_TIME,
                ),
            ),
        ),
    ),
)
