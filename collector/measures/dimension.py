"""What a dimension is: a column that numbers are split or filtered by. Plain data; nothing here runs a query.

A value that is not known is NULL here and null in answers, never a word that stands for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from collector.measures.fragments import Facts, qualify


@dataclass(frozen=True)
class Members:
    """Where the values of a dimension stand of which one thing may have several: an app and its tags.

    `owners` is the column of the thing per kind of fact (`run.app_id`); `table` an SQL query of `owner` and `value`.
    """

    owners: Mapping[Facts, str]
    table: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Dimension:
    """A column to split by.

    `columns` gives the SQL expression per kind of fact; it may use the tables named in `joins` (LEFT JOINed on the SQL
    given there, many facts to one row). `kind` is what its values are: str, int or bool. `is_label`: its values are
    few enough for a Prometheus label. `members`: a fact may have several values, and counts under each; then the
    parts sum to more than the whole.
    """

    name: str
    title: str
    title_zh: str
    help: str
    columns: Mapping[Facts, str]
    joins: Mapping[Facts, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    kind: type = str
    is_label: bool = False
    members: Members | None = None

    def __post_init__(self) -> None:
        columns = {facts: qualify(column, facts) for facts, column in self.columns.items()}
        object.__setattr__(self, "columns", MappingProxyType(columns))


def same(name: str, *all_facts: Facts) -> dict[Facts, str]:
    """One column for all of them."""
    return dict.fromkeys(all_facts, name)
