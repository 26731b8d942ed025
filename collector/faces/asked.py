"""What somebody asked, over REST or in a terminal -> the answer. Knows no web framework: a command starts fast."""

from __future__ import annotations

from datetime import datetime

from collector.faces import rest_models as models
from collector.measures.answer import Answer
from collector.measures.catalogue import CATALOGUE, Catalogue
from collector.measures.query import Query as Question
from collector.measures.query import Rows, earliest, run
from collector.period import Period


def answered(
    asked: models.Asked, rows: Rows, now: datetime, *, timezone: str = "UTC", catalogue: Catalogue = CATALOGUE
) -> Answer:
    """The answer to what was asked, wherever it was asked. Raises QueryError."""
    since = asked.since or models.ALL
    if since == models.ALL:
        since = (earliest(rows) or now).isoformat()
    period = Period.parse(since=since, until=asked.until or None, tz=asked.tz or timezone, now=now)
    return run(_question(asked, period, catalogue), rows, now=now)


def _question(asked: models.Asked, period: Period, catalogue: Catalogue) -> Question:
    return Question.of(
        asked.measure,
        period=period,
        by=asked.by,
        grain=asked.grain,
        where=asked.where,
        order=asked.order,
        limit=asked.limit,
        top=asked.top,
        fill=asked.fill,
        include_debug=asked.include_debug,
        catalogue=catalogue,
    )
