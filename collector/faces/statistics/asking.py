"""A request for a statistic -> its question to the catalogue -> its answer. Nothing here knows HTTP."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from collector.faces.asking import Asker
from collector.faces.rest_models import Asked
from collector.faces.statistics.table import Part, Statistic
from collector.measures.answer import Answer
from collector.measures.ask import After, Query
from collector.measures.still import Extent, Rows, remembered, whole
from collector.period import EARLIEST, Grain, Period, floor

RANK = "rank"
"""The place of a row in the whole list, from 1."""


@dataclass(frozen=True)
class Wish:
    """What a request asks of a statistic: the parameters of a question, without its measures, and an app."""

    asked: Asked
    given: frozenset[str]
    search: str = ""
    app_id: str | None = None


def answered(statistic: Statistic, wish: Wish, asker: Asker) -> Answer:
    """The rows of a statistic. Raises QueryError."""
    period, now, after = _period(wish, asker)
    grain = Grain.named(wish.asked.grain)
    where = _where(statistic, wish)
    measures = _measures(statistic.measures, grain, asker)
    if statistic.has_money:
        measures += _costs(wish, period, where, asker)
    by = (*statistic.by, *wish.asked.by)
    answer = asker.run(asker.question(wish.asked, period, after, measures=measures, by=by, where=where), now)
    return _ranked(answer, after) if statistic.is_ranked else answer


def part_of(statistic: Statistic, part: Part, wish: Wish, asker: Asker) -> Answer:
    """The rows of a part, of the same period. Raises QueryError."""
    period, now, _ = _period(wish, asker)
    shape: dict[str, object] = {"order": [], "top": part.top, "other": False, "totals": False, "limit": None}
    shape |= {"fill": "none"} if part.grain == Grain.NONE else {"fill": "zero", "compare": ""}
    asked = wish.asked.model_copy(update=shape)
    where = _where(statistic, wish)
    measures = [*part.measures, *(_costs(wish, period, where, asker) if part.has_money else ())]
    query = asker.question(asked, period, measures=measures, by=part.by, where=where, grain=part.grain)
    return asker.run(query, now)


def is_known(app_id: str, asker: Asker) -> bool:
    """Whether there ever was such an app, or anything that happened in it."""
    if not app_id or app_id != app_id.strip():
        return False
    ever = Period(EARLIEST, asker.now + timedelta(days=1), asker.zone)

    def has(*measures: str) -> bool:
        query = Query.of(measures, period=ever, where={"app_id": app_id}, include_debug=True, catalogue=asker.catalogue)
        return any(value for row in asker.run(query, asker.now).rows for value in row.values())

    def is_listed(_: Rows) -> tuple[bool, Extent]:
        return has("apps_seen"), whole("app")

    is_app = remembered(asker.rows, (is_known, app_id), is_listed)
    return is_app or has("runs", "messages", "model_calls", "conversations_started")


def _period(wish: Wish, asker: Asker) -> tuple[Period, datetime | None, After | None]:
    period, now, after = asker.period(wish.asked)
    if after is None and "since" not in wish.given:
        # Whole steps, so that the first bar of a chart is not a shorter one than the others.
        grain = Grain.named(wish.asked.grain)
        start = floor(period.start, Grain.DAY if grain is Grain.NONE else grain, period.zone)
        period = Period(start, period.end, period.zone)
    return period, now, after


def _where(statistic: Statistic, wish: Wish) -> list[str]:
    found = [*statistic.where, *wish.asked.where]
    if wish.app_id is not None:
        found.append(f"app_id:{wish.app_id}")
    if wish.search.strip():
        found.append(f"{statistic.search}~{wish.search}")
    return found


def _measures(names: Sequence[str], grain: Grain, asker: Asker) -> list[str]:
    """What is of now has no steps: over time it is left out."""
    found = asker.catalogue.measures(names)
    return [measure.name for measure in found if measure.at is not None or grain is Grain.NONE]


def _costs(wish: Wish, period: Period, where: Sequence[str], asker: Asker) -> list[str]:
    """A measure for each currency in which anything was spent in the period or the one it is compared with."""
    asked = Query.of(
        "cost",
        period=period,
        where=where,
        compare=wish.asked.compare or None,
        moment=wish.asked.moment,
        include_debug=wish.asked.include_debug,
        catalogue=asker.catalogue,
    )
    found = sorted({str(row["currency"]).lower() for row in asker.run(asked, asker.now).rows if row["currency"]})
    return [f"cost_{currency}" for currency in found if re.fullmatch("[a-z]{3}", currency)]


def _ranked(answer: Answer, after: After | None) -> Answer:
    before = after.seen if after else 0
    rows = [{RANK: before + place, **row} for place, row in enumerate(answer.rows, 1)]
    beside = [None if each is None else [{RANK: None, **row} for row in each] for each in (answer.other, answer.totals)]
    return replace(answer, columns=(RANK, *answer.columns), rows=rows, other=beside[0], totals=beside[1])
