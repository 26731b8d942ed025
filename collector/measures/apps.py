"""Measures of apps: what exists in Dify now, and what came, went and was used in a period."""

from __future__ import annotations

from collector.measures.measure import INSTANT, Kind, Measure, count, distinct, union
from collector.records import App, Message, Run

_EXISTS = "deleted_at IS NULL"
_USED = (
    "EXISTS (SELECT 1 FROM {table} WHERE {table}.app_id = app.id AND {table}.is_debug IS NOT TRUE "
    "AND {table}.created_at >= $since AND {table}.created_at < $until)"
)
_OF_NOW = "of now, whatever the period."


def _now(name: str, where: str, title: str, title_zh: str, help: str) -> Measure:
    return count(name, App, where=where, at=None, unit="apps", title=title, title_zh=title_zh, help=help)


APPS = _now("apps", _EXISTS, "Apps", "应用数", f"Apps that exist in Dify; {_OF_NOW}")
PUBLISHED_APPS = _now(
    "published_apps",
    f"{_EXISTS} AND is_published",
    "Published apps",
    "已发布应用数",
    f"Apps that exist and that others can use; {_OF_NOW}",
)
APPS_SEEN = _now(
    "apps_seen",
    "TRUE",
    "Apps ever seen",
    "历史应用数",
    f"Apps we ever saw, those that were deleted since too; {_OF_NOW}",
)
IDLE_APPS = _now(
    "idle_apps",
    f"{_EXISTS} AND coalesce(created_at < $until, TRUE) "
    f"AND NOT {_USED.format(table='run')} AND NOT {_USED.format(table='message')}",
    "Idle apps",
    "闲置应用数",
    "Apps that exist now and had neither run nor message in the period; console test runs are no use.",
)
ACTIVE_APPS = union(
    "active_apps",
    *(
        distinct(
            f"{facts.table}_apps",
            facts,
            "app_id",
            unit="apps",
            title=f"Apps with a {facts.table}",
            title_zh="有调用的应用",
            help=f"Different apps with a {facts.table}.",
        )
        for facts in (Run, Message)
    ),
    title="Active apps",
    title_zh="活跃应用数",
    help="Different apps with at least one run or message; of a user: the apps he used. Does not add up over days.",
)
NEW_APPS = count(
    "new_apps",
    App,
    unit="apps",
    title="New apps",
    title_zh="新增应用数",
    help="Apps by the time they were made, those that were deleted since too.",
)
DELETED_APPS = count(
    "deleted_apps",
    App,
    where="deleted_at IS NOT NULL",
    at="deleted_at",
    unit="apps",
    title="Deleted apps",
    title_zh="删除应用数",
    help="Apps by the time at which we noticed that they are gone.",
)
APP_CREATED = Measure(
    name="app_created",
    kind=Kind.EARLIEST,
    record=App,
    column="created_at",
    at=None,
    unit=INSTANT,
    title="Made",
    title_zh="创建时间",
    help="When an app was made, of several the first one.",
)
APP_UPDATED = Measure(
    name="app_updated",
    kind=Kind.LATEST,
    record=App,
    column="updated_at",
    at=None,
    unit=INSTANT,
    title="Changed",
    title_zh="更新时间",
    help="When an app was last changed, of several the newest one.",
)

MISSING_RUNS = Measure(
    name="missing_runs",
    kind=Kind.TOTAL,
    record=App,
    column="missing_runs",
    at=None,
    unit="runs",
    title="Missing runs",
    title_zh="缺少的运行",
    help="Runs that Dify counts and no listing, log or message brought, as of the last comparison of each app; of now, "
    "whatever the period.",
)

MEASURES = (
    APPS,
    PUBLISHED_APPS,
    APPS_SEEN,
    ACTIVE_APPS,
    IDLE_APPS,
    NEW_APPS,
    DELETED_APPS,
    APP_CREATED,
    APP_UPDATED,
    MISSING_RUNS,
)
