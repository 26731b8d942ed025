"""Proof that rollups say what the facts say: every step that is not marked is worked out again and compared.

What comes in is a session; what goes out are the steps that differ. Steps of retired days have nothing to be compared
with. Nothing here changes anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from collector.rollups import ROLLUPS, Drift, Level, Rollup, Told
from collector.store.rollup import MOST_STEPS, selected, step_of
from collector.store.session import Session

_OWN_KEYS = ("created_at", "finished_at")


def drifts(session: Session) -> Iterator[Drift]:
    """The steps that do not say what the facts say, table by table."""
    for rollup in ROLLUPS:
        for level in Level:
            for told in (None, *rollup.told):
                sql = _differing(session, rollup, level, told)
                for bounds in _windows(session, rollup, level, told):
                    for step, rows, kept, there in session.run(sql, bounds):
                        table = rollup.table(level, told)
                        yield Drift(
                            facts=rollup.facts, level=level, table=table, at=step, rows=rows, kept=kept, there=there
                        )


def _windows(session: Session, rollup: Rollup, level: Level, told: Told | None) -> Iterator[dict[str, datetime]]:
    """Pieces of the time in which there are facts or steps."""
    ((low, high),) = session.run(
        f"SELECT min(low), max(high) FROM (SELECT min(created_at) AS low, max(created_at) AS high FROM {rollup.facts} "
        f"UNION ALL SELECT min(created_at), max(created_at) FROM {rollup.table(level, told)}) AS ends"
    )
    reach = level.length * MOST_STEPS[level]
    at = None if low is None else level.start(low)
    while at is not None and at <= high:
        yield {"low": at, "high": at + reach}
        at += reach


def _differing(session: Session, rollup: Rollup, level: Level, told: Told | None) -> str:
    within = "created_at >= $low AND created_at < $high"
    table = rollup.table(level, told)
    clean = (
        f"WHERE created_at NOT IN (SELECT starts_at FROM rollup_mark WHERE facts = '{rollup.facts}' "
        f"AND level = '{level}') AND {step_of('created_at', Level.DAY)} NOT IN "
        f"(SELECT starts_at FROM retired_day WHERE facts = '{rollup.facts}')"
    )
    both = (
        f"WITH kept AS (SELECT * FROM {table} {clean} AND {within}), "
        f"there AS (SELECT * FROM ({selected(rollup, level, told, within)}) AS told {clean})"
    )
    if told:
        return (
            f"{both} SELECT created_at, count(*), sum(is_kept), sum(1 - is_kept) FROM ("
            "(SELECT *, 1 AS is_kept FROM (FROM kept EXCEPT ALL FROM there)) UNION ALL "
            "(SELECT *, 0 AS is_kept FROM (FROM there EXCEPT ALL FROM kept))) AS apart GROUP BY 1 ORDER BY 1"
        )
    columns = {name: kind for name, kind, *_ in session.run(f"DESCRIBE {table}")}
    keys = [name for name in columns if name in (*_OWN_KEYS, *rollup.keys)]
    same = " AND ".join(f"kept.{name} IS NOT DISTINCT FROM there.{name}" for name in keys)
    alike = " AND ".join(_alike(name, kind) for name, kind in columns.items() if name not in keys)
    return (
        f"{both} SELECT coalesce(kept.created_at, there.created_at), count(*), coalesce(sum(kept.facts), 0), "
        f"coalesce(sum(there.facts), 0) FROM kept FULL JOIN there ON {same} "
        f"WHERE (kept.facts IS NULL OR there.facts IS NULL OR NOT ({alike})) GROUP BY 1 ORDER BY 1"
    )


def _alike(name: str, kind: str) -> str:
    """Equal; sums of fractions up to their last digits, as they depend on the order of adding."""
    equal = f"kept.{name} IS NOT DISTINCT FROM there.{name}"
    if kind != "DOUBLE":
        return equal
    near = f"abs(kept.{name} - there.{name}) <= 1e-9 * greatest(abs(kept.{name}), abs(there.{name}))"
    return f"({equal} OR coalesce({near}, FALSE))"
