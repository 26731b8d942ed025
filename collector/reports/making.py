"""A Span -> its Report: every question of the plan put once, its rows made into figures, charts and tables.

What comes in are functions that ask the catalogue and reconcile, all about one moment of a store; what goes out is
plain data. A number that nobody can know yet is None: of days before anything was stored, and growth since then.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from typing import Any, TypeAlias, cast

from collector.measures.answer import Answer, Row
from collector.measures.ask import BEFORE, CHANGE, TIME, Fill, Query
from collector.measures.catalogue import CATALOGUE
from collector.period import Compare, Grain, Period
from collector.reconcile import Difference
from collector.reports import plan
from collector.reports.quality import compared_tables, flags_table
from collector.reports.report import Chart, Column, Figure, Line, Note, Report, Section, Table
from collector.reports.spans import Span

Ask: TypeAlias = Callable[[Query], Answer]
Reconcile: TypeAlias = Callable[[Period], Sequence[Difference]]

TOP = 10
"""Rows of a table."""

_NAMES = {"app_name": "app_id", "user_name": "user_id", "dataset_name": "dataset_id"}
"""What stands for a name that nobody told."""


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Whom to ask. `known_since`: the oldest thing that was stored; None: nothing was. `has_payers`: somebody said who
    pays; else nobody is asked, as it means to look at every call with its run and message."""

    ask: Ask
    reconcile: Reconcile
    known_since: datetime | None
    now: datetime
    has_payers: bool = True


def make(span: Span, sources: Sources, *, top: int = TOP) -> Report:
    """The report. Raises QueryError, StoreError."""
    return _Making(span, sources, top).report()


@dataclass
class _Making:
    span: Span
    sources: Sources
    top: int
    answers: list[Answer] = field(default_factory=list)

    def report(self) -> Report:
        sections = tuple(self._section(name) for name in plan.SECTIONS)
        return Report(
            span=self.span,
            compared=self._whole.compared.period if self._whole.compared else self.span.period,
            grain=self.span.grain,
            made_at=self.sources.now,
            complete_until=self._whole.watermark,
            is_compared=self._is_known and self._is_before_known,
            notes=tuple(self._notes()),
            sections=sections,
        )

    def _ask(self, measures: Iterable[str], *, by: Sequence[str] = (), **shape: Any) -> Answer:
        query = Query.of(measures, period=self.span.period, by=by, **shape)
        answer = self.sources.ask(query)
        self.answers.append(answer)
        return answer

    @cached_property
    def _whole(self) -> Answer:
        return self._ask(plan.WHOLE, compare=Compare.PREVIOUS)

    @cached_property
    def _cost(self) -> Answer:
        return self._ask(("cost",), compare=Compare.PREVIOUS)

    @cached_property
    def _currencies(self) -> list[str]:
        """The measures of money there are: cost_cny, cost_usd."""
        found = sorted({str(row["currency"]).lower() for row in self._cost.rows if row["currency"]})
        return [f"cost_{currency}" for currency in found if re.fullmatch("[a-z]{3}", currency)]

    @cached_property
    def _steps(self) -> Mapping[datetime, Row]:
        """Every step of the period with all that was asked step by step."""
        shape: dict[str, Any] = {"grain": self.span.grain, "fill": Fill.ZERO}
        found = [
            self._ask(plan.STEPS, compare=Compare.PREVIOUS, **shape),
            self._ask((*plan.LATER_STEPS, *self._currencies), **shape),
        ]
        local = self.span.period.local
        rows: dict[datetime, Row] = {local(step): {} for step in self.span.period.steps(self.span.grain)}
        for answer in found:
            for row in answer.rows:
                rows.setdefault(cast(datetime, row[TIME]), {}).update(row)
        return rows

    @cached_property
    def _listed(self) -> Mapping[str, Answer]:
        asked = {name for name in plan.QUESTIONS if name != "departments" or self.sources.has_payers}
        return {name: self._listing(question) for name, question in plan.QUESTIONS.items() if name in asked}

    def _listing(self, question: plan.Question) -> Answer:
        measures = (*question.measures, *(self._currencies if question.has_money else ()))
        return self._ask(
            measures,
            by=question.by,
            compare=Compare.PREVIOUS if question.is_compared else None,
            top=self.top if question.is_cut else None,
        )

    @cached_property
    def _stock(self) -> Row:
        rows = self._ask(plan.STOCK).rows
        return rows[0] if rows else {}

    # What can be known of days before anything was stored is nothing, and not zero.

    @property
    def _is_known(self) -> bool:
        since = self.sources.known_since
        return since is not None and since < self.span.period.end

    @property
    def _is_before_known(self) -> bool:
        since, compared = self.sources.known_since, self._whole.compared
        return since is not None and compared is not None and since <= self._first_day(compared.period)

    def _first_day(self, period: Period) -> datetime:
        """The end of the first step: who began on the first day is known from the start."""
        steps = period.steps(Grain.DAY)
        return steps[1] if len(steps) > 1 else period.start

    def _notes(self) -> Iterator[Note]:
        period, since = self.span.period, self.sources.known_since
        until = self._whole.watermark
        if until is not None and until < min(period.end, self.sources.now):
            yield Note("incomplete", {"until": until})
        if period.end > self.sources.now:
            yield Note("not_over", {"now": self.sources.now})
        if since is None:
            yield Note("nothing_stored")
        elif not self._is_known:
            yield Note("before_known", {"since": since})
        elif since > self._first_day(period):
            yield Note("starts_late", {"since": since})
        elif not self._is_before_known:
            yield Note("no_before", {"since": since})

    def _section(self, name: str) -> Section:
        figures = [each for measure in plan.FIGURES.get(name, ()) for each in self._figures(measure)]
        charts = [chart for drawn in plan.CHARTS.get(name, ()) for chart in self._charts(drawn)]
        tables = [self._table(each) for each in plan.LISTINGS.get(name, ()) if each.question in self._listed]
        notes: list[Note] = []
        if name == "lifecycle":
            figures += [self._figure_of_now(measure) for measure in plan.STOCK]
        if name == "cost":
            tables.append(self._costs())
            if unpriced := self._whole.rows and self._whole.rows[0]["unpriced_tokens"]:
                notes.append(Note("unpriced", {"tokens": unpriced}))
        if name == "quality":
            found = self.sources.reconcile(self.span.period)
            tables += [*compared_tables(found), flags_table(self.answers)]
            notes.append(Note("reconciled") if found else Note("not_reconciled"))
        if name == "departments" and not any(row["department"] for table in tables for row in table.rows):
            tables, notes = [], [Note("no_payers")]
        return Section(
            name=name, figures=tuple(figures), charts=tuple(charts), tables=tuple(tables), notes=tuple(notes)
        )

    def _figures(self, name: str) -> Iterator[Figure]:
        if name != "cost":
            row = self._whole.rows[0] if self._whole.rows else {}
            yield self._figure(name, self._whole.units[name], row)
            return
        for row in self._cost.rows:
            yield self._figure(name, str(row["currency"]), row)
        if not self._cost.rows:
            yield Figure(name=name, unit="currency", value=None)

    def _figure(self, name: str, unit: str, row: Row) -> Figure:
        value = row.get(name) if self._is_known else None
        if not self._is_known or not self._is_before_known:
            return Figure(name=name, unit=unit, value=value)
        change: Any = row.get(name + CHANGE)
        return Figure(name=name, unit=unit, value=value, before=row.get(name + BEFORE), change=change)

    def _figure_of_now(self, name: str) -> Figure:
        value = self._stock.get(name) if self._is_known or self._stock.get("apps") else None
        return Figure(name=name, unit=CATALOGUE.measure(name).unit, value=value, is_compared=False)

    def _charts(self, drawn: plan.Drawn) -> Iterator[Chart]:
        if drawn.measures == ("cost",):
            for name in self._currencies:
                yield self._chart(drawn, (name,))
        else:
            yield self._chart(drawn, drawn.measures)

    def _chart(self, drawn: plan.Drawn, measures: Sequence[str]) -> Chart:
        rows = self._steps.values() if self._is_known else [{} for _ in self._steps]
        lines = tuple(
            Line(
                name=name,
                unit=CATALOGUE.measure(name).unit,
                values=tuple(row.get(name) for row in rows),
                before=tuple(row.get(name + BEFORE) for row in rows)
                if name in plan.STEPS and self._is_before_known
                else (),
            )
            for name in measures
        )
        return Chart(name=drawn.name, times=tuple(self._steps), lines=lines, is_stacked=drawn.is_stacked)

    def _table(self, listing: plan.Listing) -> Table:
        answer, order = self._listed[listing.question], listing.order
        rows = [row for row in answer.rows if (listing.is_whole and _says_something(row, answer)) or row[order]]
        rows.sort(key=lambda row: _size(row[order]), reverse=True)  # those of one size stay by name
        money = tuple(self._currencies) if listing.has_money else ()
        shown = () if order in plan.UNSHOWN else (order,)
        by = tuple(dimension.name for dimension in answer.by)
        grows = listing.growth and self._is_before_known
        columns = [
            *(Column(name=name, unit=name if name in _SAID else "text") for name in by if name not in plan.IDS),
            *(Column(name=name, unit=answer.units[name]) for name in shown),
            *([Column(name=order + CHANGE, unit="growth")] if grows else []),
            *(Column(name=name, unit=answer.units[name]) for name in (*listing.measures, *money)),
            *(Column(name=name, unit="text") for name in by if name in plan.IDS),
        ]
        left_out = len(rows) - self.top if len(rows) > self.top else answer.flags.get("groups_left_out", 0)
        return Table(
            name=listing.name,
            columns=tuple(columns),
            rows=tuple(_cells(row, columns) for row in rows[: self.top]),
            left_out=left_out,
            bar=order if listing.bar else None,
        )

    def _costs(self) -> Table:
        names = ("cost", "cost" + BEFORE, "cost" + CHANGE)
        units = ("currency", "currency", "growth")
        kept = 3 if self._is_before_known else 1
        money = [Column(name=name, unit=unit) for name, unit in zip(names, units, strict=True)][:kept]
        columns = (Column(name="currency", unit="text"), *money)
        rows = tuple(_cells(row, columns) for row in self._cost.rows) if self._is_known else ()
        return Table(name="costs", columns=columns, rows=rows)


_SAID = frozenset({"user_kind", "app_mode", "error_class", "source", "department"})
"""Dimensions whose values have words of their own."""


def _cells(row: Row, columns: Iterable[Column]) -> dict[str, Any]:
    found = {column.name: row.get(column.name) for column in columns}
    for name, other in _NAMES.items():
        if name in found and found[name] is None:
            found[name] = row.get(other)
    return found | ({"currency": row["currency"]} if "currency" in row else {})


def _says_something(row: Row, answer: Answer) -> bool:
    """Whether there is anything in it but zeros."""
    return any(row[name] for name in answer.units if not name.endswith((BEFORE, CHANGE)))


def _size(value: object) -> float:
    return float(value) if isinstance(value, int | float | Decimal) else 0.0
