"""Measures of the people who ask: how many, on how many days, since when and until when."""

from __future__ import annotations

from collector.measures.fragments import LOCAL_DAY
from collector.measures.measure import INSTANT, Kind, Measure, distinct, union
from collector.records import Message, Run

_RUN_USERS = distinct(
    "run_users", Run, "user_id", unit="users", title="Users of runs", title_zh="运行用户数", help="Users with a run."
)
_MESSAGE_USERS = distinct(
    "message_users",
    Message,
    "user_id",
    unit="users",
    title="Users of messages",
    title_zh="消息用户数",
    help="Users with a message.",
)
ACTIVE_USERS = union(
    "active_users",
    _RUN_USERS,
    _MESSAGE_USERS,
    title="Active users",
    title_zh="活跃用户数",
    help="Different end users and accounts with at least one run or message. Does not add up over apps or days.",
)
ACTIVE_DAYS = union(
    "active_days",
    *(
        distinct(
            f"{facts.table}_days",
            facts,
            LOCAL_DAY,
            unit="days",
            title=f"Days with a {facts.table}",
            title_zh="有调用的天数",
            help=f"Different days with a {facts.table}.",
        )
        for facts in (Run, Message)
    ),
    title="Active days",
    title_zh="活跃天数",
    help="Different days, on the calendar of the time zone, with at least one run or message.",
)


def _seen(name: str, kind: Kind, title: str, title_zh: str, help: str) -> Measure:
    parts = (
        Measure(
            name=f"{name}_by_{facts.table}",
            kind=kind,
            record=facts,
            column="created_at",
            unit=INSTANT,
            title=title,
            title_zh=title_zh,
            help=help,
        )
        for facts in (Run, Message)
    )
    return union(name, *parts, title=title, title_zh=title_zh, help=help)


FIRST_SEEN = _seen(
    "first_seen",
    Kind.EARLIEST,
    "First seen",
    "首次使用时间",
    "When the first run or message of the period was asked for.",
)
LAST_SEEN = _seen(
    "last_seen", Kind.LATEST, "Last seen", "最近使用时间", "When the last run or message of the period was asked for."
)

MEASURES = (ACTIVE_USERS, ACTIVE_DAYS, FIRST_SEEN, LAST_SEEN)
