"""Flags of totals that Dify reports wrong: how many rows were made by a version in which their total is in doubt.

What comes in is the table of quirks; what goes out are Flags for the measures that show such a total. The version in
force is that of the row's workspace when the row was made, or the first one we met for what is older.
"""

from __future__ import annotations

from collector.measures.flags import Flag
from collector.measures.fragments import Facts
from collector.quirks import QUIRKS, Quirk, Total, number
from collector.records import Release

_SERVED = f"""\
SELECT {{pick}}({Release.table}.number, {Release.table}.created_at) FROM {Release.table} \
WHERE {Release.table}.workspace_id IS NOT DISTINCT FROM {{table}}.workspace_id"""
_NEWEST = (9999, 0, 0)


def version_at(facts: Facts) -> str:
    """SQL: the version (as a number) that made a row; NULL where none was ever seen."""
    earliest = _SERVED.format(pick="min_by", table=facts.table)
    latest = _SERVED.format(pick="max_by", table=facts.table)
    return f"coalesce(({latest} AND {Release.table}.created_at <= {facts.table}.created_at), ({earliest}))"


def doubts(total: Total, facts: Facts) -> tuple[Flag, ...]:
    """A flag for every defect of a total, over the facts that carry it."""
    return tuple(_flag(quirk, facts) for quirk in QUIRKS if quirk.is_defect and total in quirk.totals)


def _flag(quirk: Quirk, facts: Facts) -> Flag:
    first, last = number(quirk.first), number(quirk.last or _NEWEST)
    where = f"{version_at(facts)} BETWEEN {first} AND {last}"
    if quirk.modes:
        modes = ", ".join(f"'{mode}'" for mode in sorted(quirk.modes))
        where += f" AND (SELECT app.mode FROM app WHERE app.id = {facts.table}.app_id) IN ({modes})"
    return Flag(
        name=quirk.name,
        record=facts,
        where=where,
        title=quirk.title,
        title_zh=quirk.title_zh,
        help=f"{quirk.cause} Believe {quirk.believe}.",
        versions=(first, last),
    )
