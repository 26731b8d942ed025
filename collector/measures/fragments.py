"""SQL fragments of the catalogue, checked and spelled out: what comes in is what an entry says (`status = 'failed'`),
what goes out names the table of every column (`run.status = 'failed'`), so that joins cannot make it ambiguous.

Fragments follow one convention: SQL words in capitals, functions and columns in small letters, texts in quotes.
Nothing here runs a query, and no fragment ever comes from a user.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TypeAlias

import msgspec

from collector.bill_lines import RatedLine
from collector.records import FACTS, Record, Watermark

Facts: TypeAlias = type[Record] | type[Watermark] | type[RatedLine]
"""What rows are counted: a kind of record, the watermarks, or the lines of bills."""

_ALL_FACTS: tuple[Facts, ...] = (*FACTS, Watermark, RatedLine)
_COLUMNS: dict[str, frozenset[str]] = {
    facts.table: frozenset(field.name for field in msgspec.structs.fields(facts)) for facts in _ALL_FACTS
}
LOCAL_DAY = "LOCAL_DAY"
"""A column that stands in no table: the day of a fact in the zone of the query."""

PAYER_JOINS = ("payer_user", "payer_key", "payer_app", "payer_workspace")
"""The names under which the table of payers is joined."""
MEMBER_JOINS = ("app_tag", "run_key", "message_key")
"""The names under which what belongs to an owner is joined: an app's tags, the key behind a run or message."""

_COLUMNS |= dict.fromkeys(PAYER_JOINS, frozenset({"kind", "subject", "person", "department", "cost_centre"}))
_COLUMNS |= dict.fromkeys(MEMBER_JOINS, frozenset({"owner", "value"}))
LIKED = "liked"
"""The name under which the likes of messages are joined."""

_COLUMNS[LIKED] = frozenset({"message_id", "likes"})
BETTER_MARK = "better_mark"
"""The name under which the marks of the other way in to the same Dify are joined."""

_COLUMNS[BETTER_MARK] = frozenset({"reached_until"})
MOST_KNOWN = 4096
"""Fragments whose parts are remembered: there are so many in the catalogue, and few that a question adds."""

_TOKEN = re.compile(r"'(?:[^']|'')*'|\$?\b[A-Za-z_]\w*(?:\.\w+)?\b(?P<call>\()?")


def has_column(facts: Facts, name: str) -> bool:
    """Whether the table of these facts has that column."""
    return name in _COLUMNS[facts.table]


def qualify(fragment: str, facts: Facts) -> str:
    """Put the table before every column. Raises ValueError for a column that does not exist."""

    def spell(found: re.Match[str]) -> str:
        token = found[0]
        if token[0] in "'$" or found["call"] or token.isupper() or token in _COLUMNS:
            return token
        table, _, column = token.rpartition(".")
        if column not in _COLUMNS.get(table or facts.table, ()):
            raise ValueError(f"{fragment!r}: {table or facts.table} has no column {column!r}")
        return f"{table or facts.table}.{column}"

    return _TOKEN.sub(spell, fragment)


@lru_cache(MOST_KNOWN)
def columns_of(fragment: str, facts: Facts) -> frozenset[str]:
    """The columns of the facts' own table that a qualified fragment speaks of, and what it asks of the query: $since,
    $until, the local day."""
    tokens = {found[0] for found in _TOKEN.finditer(fragment)}
    own = {token.rpartition(".")[2] for token in tokens if token.startswith(f"{facts.table}.")}
    return frozenset(own | (tokens & {"$since", "$until", LOCAL_DAY}))


@lru_cache(MOST_KNOWN)
def conjuncts(fragment: str) -> frozenset[str]:
    """The conditions that AND joins, without brackets around the whole; TRUE is none."""
    found: set[str] = set()
    parts = _parted(_bare(fragment))
    if len(parts) == 1:
        return frozenset(parts) - {"TRUE"}
    for part in parts:
        found |= conjuncts(part)
    return frozenset(found)


_WORD = re.compile(r"'(?:[^']|'')*'|[()]|\b(?:AND|OR|BETWEEN|CASE|END)\b")


def _parted(fragment: str) -> list[str]:
    """Split at every AND that stands outside of brackets, CASE and BETWEEN; not at all where an OR stands there."""
    depth = between = start = 0
    parts = []
    for found in _WORD.finditer(fragment):
        word = found[0]
        depth += (word in ("(", "CASE")) - (word in (")", "END"))
        if depth:
            continue
        if word == "OR":
            return [fragment]
        if word == "BETWEEN":
            between += 1
        elif word == "AND" and between:
            between -= 1
        elif word == "AND":
            parts.append(fragment[start : found.start()].strip())
            start = found.end()
    return [*parts, fragment[start:].strip()]


def _bare(fragment: str) -> str:
    """Without brackets that hold all of it."""
    fragment = fragment.strip()
    while fragment.startswith("(") and _closing(fragment) == len(fragment) - 1:
        fragment = fragment[1:-1].strip()
    return fragment


def _closing(fragment: str) -> int:
    """Where the bracket closes that the fragment begins with."""
    depth = 0
    for found in _WORD.finditer(fragment):
        depth += (found[0] == "(") - (found[0] == ")")
        if found[0] == ")" and not depth:
            return found.start()
    return -1
