"""What a key sees: sessions in which every table holds no more than a Sight shows, whatever SQL they run.

What comes in is a Sight; what goes out is a Session. In it a temporary view stands before each table of the file, by
the table's own name, so no query can forget its filter or be written around it: the one place that knows is here. A
table that has no row in TABLES is seen by nobody bound to anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock

from collector.access import Sight
from collector.rollups import ROLLUPS, Level
from collector.store.session import Session, quoted

MOST_IDLE = 64
"""Sessions kept for the next question, of all sights together: to make one takes some milliseconds."""


@dataclass(frozen=True)
class Bounds:
    """Which rows of a table those see who are bound to apps, to workspaces, to Difys: SQL, `{values}` the bound.

    `{app}` and `{dataset}` are the whole tables of that name. None: none of them.
    """

    apps: str | None = None
    workspaces: str | None = None
    origins: str | None = None


_APPS_OF = "app_id IN (SELECT id FROM {{app}} WHERE {column} IN ({{values}}))"
_BY_WORKSPACE, _BY_ORIGIN = _APPS_OF.format(column="workspace_id"), _APPS_OF.format(column="origin")
_WORKSPACES_OF = "workspace_id IN (SELECT workspace_id FROM {{app}} WHERE {column} IN ({{values}}))"
_OWN = "workspace_id IN ({values})"

_OF_APP = Bounds("app_id IN ({values})", f"{_OWN} OR workspace_id IS NULL AND {_BY_WORKSPACE}", _BY_ORIGIN)
_OF_APP_OR_DIFY = Bounds(_OF_APP.apps, _OF_APP.workspaces, f"origin IN ({{values}}) OR origin IS NULL AND {_BY_ORIGIN}")
_OF_APP_OR_DATASET = Bounds(
    _OF_APP.apps,
    _OF_APP.workspaces,
    f"{_BY_ORIGIN} OR dataset_id IN (SELECT id FROM {{dataset}} WHERE origin IN ({{values}}))",
)
_OF_WORKSPACE = Bounds(None, _OWN, _WORKSPACES_OF.format(column="origin"))

# How far the streams of a whole workspace or Dify have come says something about the facts of each of its apps.
_OF_ALL = "app_id = '' AND (origin = '' OR origin IN (SELECT origin FROM {{app}} WHERE {column} IN ({{values}})))"
_OF_STREAM = Bounds(
    f"app_id IN ({{values}}) OR {_OF_ALL.format(column='id')}",
    f"{_BY_WORKSPACE} OR {_OF_ALL.format(column='workspace_id')}",
    f"{_BY_ORIGIN} OR {_OF_ALL.format(column='origin')}",
)
_PASSED = Bounds("app_id IN ({values})", _BY_WORKSPACE, "origin IN ({values})")

TABLES = {
    "app": Bounds("id IN ({values})", _OWN, "origin IN ({values})"),
    "run": _OF_APP,
    "node_execution": _OF_APP,
    "model_call": _OF_APP,
    "message": _OF_APP,
    "conversation": _OF_APP,
    "feedback": _OF_APP,
    "request": _OF_APP,
    "retrieval": _OF_APP,
    "api_key": _OF_APP,
    "dify_statistic": _OF_APP,
    "portal_event": _OF_APP,
    "portal_value": _OF_APP,
    "pull": _PASSED,
    "watermark": _OF_STREAM,
    "reach": _OF_STREAM,
    "set_aside": _PASSED,
    "dataset": Bounds(None, _OWN, "origin IN ({values})"),
    "dataset_day": Bounds(None, _OWN, "dataset_id IN (SELECT id FROM {dataset} WHERE origin IN ({values}))"),
    "model": _OF_WORKSPACE,
    "end_user": _OF_WORKSPACE,
    "queue_sample": Bounds(origins="broker IN ({values})"),
    # Which version served an app's workspace: some of Dify's totals are wrong in some versions.
    "dify_release": Bounds(
        _WORKSPACES_OF.format(column="id"), f"{_OWN} OR workspace_id IS NULL", _WORKSPACES_OF.format(column="origin")
    ),
    # Which steps of which rollup must be read from the facts, and how many facts of whom are kept no longer.
    "rollup_kept": Bounds("TRUE", "TRUE", "TRUE"),
    "rollup_mark": Bounds("TRUE", "TRUE", "TRUE"),
    "retired_day": _OF_APP_OR_DIFY,
    # Only ever joined to a fact that is seen.
    "payer_span": Bounds("TRUE", "TRUE", "TRUE"),
    "bill_line": _OF_APP_OR_DATASET,
    "rated_line": _OF_APP_OR_DATASET,
    "rated_period": Bounds(),
    "bill_period": Bounds(),
    "report_delivery": Bounds(),
    "access_key": Bounds(),
    "counter": Bounds(),
    "milestone": Bounds(),
    "schema_version": Bounds(),
}
TABLES |= {
    rollup.table(level, told): TABLES[rollup.facts]
    for rollup in ROLLUPS
    for level in Level
    for told in (None, *rollup.told)
}
"""Every table of the file; a rollup shows of whom its facts do."""


class Seen:
    """Sessions by sight, kept for the next question."""

    def __init__(self, writer: Session) -> None:
        self._writer, self._lock = writer, Lock()
        self._idle: dict[Sight, list[Session]] = {}
        self._is_closed = False

    @contextmanager
    def session(self, sight: Sight) -> Iterator[Session]:
        """A session that sees no more; nobody else has it meanwhile."""
        with self._lock:
            idle = self._idle.pop(sight, [])
            session = idle.pop() if idle else None
            if idle:
                self._idle[sight] = idle  # the sight that waited longest comes first
        session = session or self._made(sight)
        try:
            yield session
        except BaseException:
            session.close()
            raise
        self._give_back(sight, session)

    def close(self) -> None:
        """Close what is idle."""
        with self._lock:
            self._is_closed = True
            for session in (each for idle in self._idle.values() for each in idle):
                session.close()
            self._idle.clear()

    def _give_back(self, sight: Sight, session: Session) -> None:
        with self._lock:
            if self._is_closed:
                session.close()
                return
            self._idle.setdefault(sight, []).append(session)
            if sum(map(len, self._idle.values())) > MOST_IDLE:
                oldest = next(iter(self._idle))
                for each in self._idle.pop(oldest):
                    each.close()

    def _made(self, sight: Sight) -> Session:
        session = self._writer.twin()
        if sight.is_whole:
            return session
        try:
            ((home,),) = session.run("SELECT current_database()")
            for (table,) in session.run(
                "SELECT table_name FROM duckdb_tables() WHERE NOT internal AND NOT temporary AND database_name = ?",
                [home],
            ):
                session.run(view(table, sight, home))
        except BaseException:
            session.close()
            raise
        return session


def view(table: str, sight: Sight, home: str) -> str:
    """The statement that puts a view before a table of the database `home`."""
    bounds, place = TABLES.get(table, Bounds()), _name(home) + ".main."
    asked = ((bounds.apps, sight.apps), (bounds.workspaces, sight.workspaces), (bounds.origins, sight.origins))
    conditions = [_condition(bound, values, place) for bound, values in asked if values]
    where = " AND ".join(conditions) or "FALSE"
    return f"CREATE TEMP VIEW {_name(table)} AS SELECT * FROM {place}{_name(table)} WHERE {where}"


def _condition(bound: str | None, values: Sequence[str], place: str) -> str:
    if bound is None:
        return "FALSE"
    told = ", ".join(map(quoted, values))
    return f"({bound.format(values=told, app=f'{place}app', dataset=f'{place}dataset')})"


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
