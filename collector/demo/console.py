"""The console API of the simulated Dify: apps, runs, logs and statistics.

What comes in is an `Ask`; what goes out becomes JSON. The traps are Dify's: the run list shows debugging runs unless
asked, its cursor loses ties. ROUTES is the table; signing in is `signin`'s.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TypeVar

from collector.demo import app_shapes, shapes, statistics
from collector.demo.asking import Ask, Endpoint, Refusal, invalid, page_of, window_of
from collector.demo.nodes import UNKNOWN_RUN, node_item, run_detail, run_item
from collector.demo.rows import App, AppLog, Json, Message, Run
from collector.demo.world import by_creation

_Row = TypeVar("_Row", Message, Run)

FLOWS = ("workflow", "advanced-chat")
_STATUSES = ("running", "succeeded", "failed", "stopped", "partial-succeeded")
_TRIGGERS = ("debugging", "app-run")
_SPAN = re.compile(r"(\d+)([dhms])")
_UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}


# Apps


def apps(ask: Ask) -> object:
    """GET /apps: numbered pages, newest first."""
    page = ask.whole("page", query="AppListQuery", default=1, most=99999)
    limit = ask.whole("limit", query="AppListQuery", default=20, most=100)
    mode, name = ask.query.get("mode", "all"), ask.query.get("name", "")[:30].lower()
    tags = set(filter(None, ask.query.get("tag_ids", "").split(",")))
    found = [
        app
        for app in reversed(ask.world.apps.values())
        if mode in ("all", app.mode)
        and name in app.name.lower()
        and (not tags or tags & {app_shapes.tag_id(tag) for tag in app.tags})
    ]
    shown = found[(page - 1) * limit : page * limit]
    return page_of([app_shapes.app_item(app) for app in shown], page=page, limit=limit, total=len(found))


def app_detail(ask: Ask) -> object:
    """GET /apps/{id}."""
    return app_shapes.app_detail(ask.app, ask.address)


def api_keys(ask: Ask) -> object:
    """GET /apps/{id}/api-keys."""
    return {"data": [_key(ask.app)]}


# Runs


def runs(ask: Ask) -> object:
    """GET /apps/{id}/workflow-runs."""
    return _runs_page(ask, ask.app_in(*FLOWS), run_item)


def chat_runs(ask: Ask) -> object:
    """GET /apps/{id}/advanced-chat/workflow-runs: the same with conversation and message."""

    def item(run: Run) -> Json:
        message = ask.world.message_of_run.get(run.id)
        known = message is not None and message.id in ask.world.messages
        ids: Json = {
            "conversation_id": message.conversation_id if message and known else None,
            "message_id": message.id if message and known else None,
        }
        return {"id": run.id, **ids, **run_item(run)}

    return _runs_page(ask, ask.app_in("advanced-chat"), item)


def count_runs(ask: Ask) -> object:
    """GET /apps/{id}/workflow-runs/count."""
    app = ask.app_in(*FLOWS)
    rows: Sequence[Run] = ask.world.runs_of[app.id, _trigger(ask, "WorkflowRunCountQuery")]
    status = ask.choice("status", query="WorkflowRunCountQuery", among=_STATUSES)
    if since := _time_range(ask):
        rows = rows[bisect_left(rows, since, key=by_creation) :]
    counts = Counter(run.status for run in rows if status in (None, run.status))
    return {"total": counts.total(), **{name.replace("-", "_"): counts[name] for name in _STATUSES}}


def run(ask: Ask) -> object:
    """GET /apps/{id}/workflow-runs/{run_id}: an unknown run is 200 and nulls."""
    found = _run_of(ask)
    return run_detail(found, ask.app) if found else UNKNOWN_RUN


def node_executions(ask: Ask) -> object:
    """GET /apps/{id}/workflow-runs/{run_id}/node-executions: an unknown run is an empty list."""
    found = _run_of(ask)
    nodes = ask.world.nodes.get(found.id, []) if found else []
    return {"data": [node_item(node, found) for node in nodes if found]}


def app_logs(ask: Ask) -> object:
    """GET /apps/{id}/workflow-app-logs: the only list with a time filter, and with runs of triggers."""
    return logs_page(ask, ask.app_in("workflow"))


def logs_page(ask: Ask, app: App) -> Json:
    """One page of an app's log, newest first."""
    page = ask.whole("page", query="WorkflowAppLogQuery", default=1, most=99999)
    limit = ask.whole("limit", query="WorkflowAppLogQuery", default=20, most=100)
    rows, status = ask.world.logs_of[app.id], ask.query.get("status")
    after, before = _iso(ask, "created_at__after"), _iso(ask, "created_at__before")
    low = bisect_left(rows, after, key=by_creation) if after else 0
    high = bisect_right(rows, before, key=by_creation) if before else len(rows)
    session = ask.query.get("created_by_end_user_session_id")
    if status or session:
        kept = [log for log in rows[low:high] if _is_wanted(log, status, session)]
        rows, low, high = kept, 0, len(kept)
    shown = [rows[place] for place in _places(low, high, page, limit)]
    with_detail = ask.query.get("detail", "").lower() == "true"
    return page_of(
        [shapes.log_item(log, with_detail=with_detail) for log in shown], page=page, limit=limit, total=high - low
    )


# Statistics


def message_statistics(ask: Ask) -> object:
    """GET /apps/{id}/statistics/{name}."""
    name = ask.path.rpartition("/")[2]
    value, modes = statistics.MESSAGE_STATISTICS[name]
    app, world = ask.app_in(*modes), ask.world
    window = window_of(ask)
    likes = Counter(row.message_id for row in world.feedback_of[app.id].values() if row.rating == "like")
    rows = world.messages_of[app.id]
    if name != "average-session-interactions":
        rows = _between(rows, window)
    return {"data": value(statistics.Subject(rows, world.conversations_of[app.id], likes), window)}


def run_statistics(ask: Ask) -> object:
    """GET /apps/{id}/workflow/statistics/{name}."""
    value, modes = statistics.RUN_STATISTICS[ask.path.rpartition("/")[2]]
    app, window = ask.app_in(*modes), window_of(ask)
    return {"data": value(_between(ask.world.runs_of[app.id, "app-run"], window), window)}


_APP = "/apps/{app_id:uuid}"
_RUN = _APP + "/workflow-runs/{run_id:uuid}"

ROUTES: tuple[tuple[str, str, Endpoint], ...] = (
    ("GET", "/apps", apps),
    ("GET", _APP, app_detail),
    ("GET", _APP + "/api-keys", api_keys),
    ("GET", _APP + "/workflow-runs", runs),
    ("GET", _APP + "/advanced-chat/workflow-runs", chat_runs),
    ("GET", _APP + "/workflow-runs/count", count_runs),
    ("GET", _APP + "/advanced-chat/workflow-runs/count", count_runs),
    ("GET", _RUN, run),
    ("GET", _RUN + "/node-executions", node_executions),
    ("GET", _APP + "/workflow-app-logs", app_logs),
    *(("GET", f"{_APP}/statistics/{name}", message_statistics) for name in statistics.MESSAGE_STATISTICS),
    *(("GET", f"{_APP}/workflow/statistics/{name}", run_statistics) for name in statistics.RUN_STATISTICS),
)


# How lists are read


def _runs_page(ask: Ask, app: App, item: Callable[[Run], Json]) -> Json:
    limit = ask.whole("limit", query="WorkflowRunListQuery", default=20, most=100)
    trigger = _trigger(ask, "WorkflowRunListQuery")
    status = ask.choice("status", query="WorkflowRunListQuery", among=_STATUSES)
    rows = ask.world.runs_of[app.id, trigger]
    high = _cursor(ask, rows, trigger, status)
    older = (rows[place] for place in range(high - 1, -1, -1) if status in (None, rows[place].status))
    found = list(islice(older, limit + 1))
    return {"limit": limit, "has_more": len(found) > limit, "data": [item(row) for row in found[:limit]]}


def _cursor(ask: Ask, rows: list[Run], trigger: str, status: str | None) -> int:
    """Where the page after `last_id` begins: at the first strictly older run. That run must still match the filters."""
    last_id = ask.query.get("last_id")
    if not last_id:
        return len(rows)
    last = ask.world.runs.get(last_id)
    if last is None or (last.app_id, last.triggered_from) != (ask.app.id, trigger) or status not in (None, last.status):
        raise Refusal(400, "invalid_param", "Last workflow run not exists")
    return bisect_left(rows, last.created_at, key=by_creation)


def _places(low: int, high: int, page: int, limit: int) -> range:
    """Where a numbered page stands in a list sorted oldest first."""
    last = high - (page - 1) * limit - 1
    return range(last, max(last - limit, low - 1), -1) if last >= low else range(0)


def _trigger(ask: Ask, query: str) -> str:
    """Which runs are meant: debugging unless asked; before 1.10 there was nothing to ask."""
    if ask.version < (1, 10):
        return "debugging"
    return ask.choice("triggered_from", query=query, among=_TRIGGERS) or "debugging"


def _run_of(ask: Ask) -> Run | None:
    app = ask.app_in(*FLOWS)
    found = ask.world.runs.get(ask.path_values["run_id"])
    return found if found and found.app_id == app.id else None


def _is_wanted(log: AppLog, status: str | None, session: str | None) -> bool:
    by_session = getattr(log.run.created_by, "session_id", None)
    return status in (None, log.run.status) and session in (None, by_session)


def _between(rows: list[_Row], window: statistics.Window) -> list[_Row]:
    low = bisect_left(rows, window.start, key=by_creation) if window.start else 0
    high = bisect_left(rows, window.end, key=by_creation) if window.end else len(rows)
    return rows[low:high]


def _time_range(ask: Ask) -> datetime | None:
    given = ask.query.get("time_range")
    if not given:
        return None
    found = _SPAN.fullmatch(given)
    if not found:
        said = (
            "Value error, Invalid time duration format. Use: <number>d (days), <number>h (hours), "
            "<number>m (minutes), or <number>s (seconds). Examples: 7d, 4h, 30m, 30s"
        )
        raise invalid("WorkflowRunCountQuery", "time_range", said, "value_error", given)
    return ask.now - timedelta(**{_UNITS[found[2]]: int(found[1])})


def _iso(ask: Ask, name: str) -> datetime | None:
    given = ask.query.get(name)
    if not given:
        return None
    try:
        at = datetime.fromisoformat(given)
    except ValueError:
        raise invalid("WorkflowAppLogQuery", name, "Invalid isoformat string", "value_error", given) from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _key(app: App) -> Json:
    used = app.key_used_at
    return {
        "id": app.id[::-1].replace("-", "")[:8] + app.id[8:],
        "type": "app",
        "token": app.key,
        "last_used_at": int(used.timestamp()) if used else None,
        "created_at": int(app.created_at.timestamp()),
    }
