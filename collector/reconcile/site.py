"""What reconciliation has to know of a site: its apps, their account's zone, Dify's versions, how far pulls came, and
what Dify's statistics said.

What comes in is `rows`; what goes out is read once for a whole reconciliation. Nothing here compares.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, TypeAlias

from collector.quirks import CHATFLOW, Version, version_of
from collector.reconcile.figures import Rows, Told
from collector.records import CONSOLE, DATABASE

RUN_STREAMS = ("runs", "node-executions")
MESSAGE_STREAMS = ("conversations", "messages")
STATISTICS, APP_LOGS = "statistics", "app-logs"
COMPLETION = "completion"


@dataclass(frozen=True, slots=True)
class Place:
    """One app: what Dify has of it, and in which zone its days are cut."""

    app_id: str
    name: str | None
    workspace_id: str | None
    mode: str
    is_deleted: bool
    timezone: str | None  # of the account that read its statistics; None: nobody did

    @property
    def is_chatflow(self) -> bool:
        return self.mode == CHATFLOW


Numbers: TypeAlias = dict[tuple[str, str, date], Told]
"""Dify's statistics by app, name and day."""


class Releases:
    """Which version served a workspace when."""

    def __init__(self, rows: Rows) -> None:
        self._known: dict[str | None, tuple[list[datetime], list[Version]]] = {}
        for workspace_id, at, number in _all(
            rows, "SELECT workspace_id, created_at, number FROM dify_release ORDER BY 2"
        ):
            instants, versions = self._known.setdefault(workspace_id, ([], []))
            instants.append(at)
            versions.append(version_of(number))

    def at(self, workspace_id: str | None, at: datetime) -> Version | None:
        """The version in force; before the first we met, that one; None where we never met any."""
        instants, versions = self._known.get(workspace_id, ([], []))
        return versions[max(bisect_right(instants, at) - 1, 0)] if versions else None


class Marks:
    """Up to when streams are complete."""

    def __init__(self, rows: Rows) -> None:
        sql = "SELECT source, stream, app_id, origin, complete_until FROM watermark"
        self._known = {(source, stream, app, origin): at for source, stream, app, origin, at in _all(rows, sql)}
        self._origins = {app: origin or "" for app, origin in _all(rows, "SELECT id, origin FROM app")}

    def facts(self, app_id: str, streams: Collection[str]) -> datetime | None:
        """Up to when all these streams are complete, by the source that is further."""
        origin = self._origins.get(app_id, "")
        by_source = (
            [self._known.get((CONSOLE, stream, app_id, "")) for stream in streams],
            [self._known.get((DATABASE, stream, "", origin)) for stream in streams if stream != APP_LOGS],
        )
        reached = [min(at for at in found if at) for found in by_source if all(found)]
        return max(reached, default=None)

    def statistics(self, app_id: str) -> datetime | None:
        """Up to when Dify's statistics were read."""
        return self._known.get((CONSOLE, STATISTICS, app_id, ""))


def places(rows: Rows, apps: Iterable[str] | None = None) -> list[Place]:
    """The apps there are and were, all or some."""
    sql = """
    SELECT app.id, app.name, app.workspace_id, coalesce(app.mode, ''), app.deleted_at IS NOT NULL, zones.timezone
    FROM app LEFT JOIN (
      SELECT app_id, max_by(timezone, seen_at) AS timezone FROM dify_statistic GROUP BY 1
    ) AS zones ON zones.app_id = app.id
    WHERE $apps IS NULL OR app.id IN (SELECT unnest($apps))
    ORDER BY app.id"""
    wanted = None if apps is None else list(apps)
    return [Place(*row) for row in _all(rows, sql, {"apps": wanted})]


def statistics(rows: Rows, timezone: str, first: date, last: date) -> Numbers:
    """Dify's counts of those days, both included."""
    sql = """
    SELECT app_id, name, day, number, amount, seen_at FROM dify_statistic
    WHERE timezone = $timezone AND day BETWEEN $first AND $last AND (number IS NOT NULL OR amount IS NOT NULL)"""
    parameters = {"timezone": timezone, "first": first.isoformat(), "last": last.isoformat()}
    return {
        (app_id, name, date.fromisoformat(day)): Told(number if amount is None else amount, seen_at)
        for app_id, name, day, number, amount, seen_at in _all(rows, sql, parameters)
    }


def first_days(rows: Rows, timezone: str) -> dict[tuple[str, str], date]:
    """By app and name, the first day on which Dify counted anything: what is older, it may have cleaned away."""
    sql = "SELECT app_id, name, min(day) FROM dify_statistic "
    sql += "WHERE timezone = $timezone AND (number > 0 OR amount > 0) GROUP BY ALL"
    return {(app_id, name): date.fromisoformat(day) for app_id, name, day in _all(rows, sql, {"timezone": timezone})}


def first_facts(rows: Rows) -> dict[str, datetime]:
    """By app, when the oldest run or message began that we keep."""
    sql = """
    SELECT app_id, min(began_at) FROM (
      SELECT app_id, min(created_at) AS began_at FROM run GROUP BY 1
      UNION ALL SELECT app_id, min(created_at) FROM message GROUP BY 1
    ) AS facts WHERE began_at IS NOT NULL GROUP BY 1"""
    return dict(_all(rows, sql))


def _all(rows: Rows, sql: str, parameters: Mapping[str, object] | None = None) -> list[tuple[Any, ...]]:
    return rows(sql, parameters or {})
