"""How a measure is worked out, in words a reader can check: `failed_runs ÷ finished_runs`, `sum of model_call.tokens`.

What comes in is an entry of the catalogue; what goes out is text made from it, so that it cannot say something else
than the SQL does. Nothing here runs a query.
"""

from __future__ import annotations

from collector.bill_lines import RatedLine
from collector.measures.catalogue import Catalogue
from collector.measures.fragments import LOCAL_DAY, Facts
from collector.measures.measure import INSTANT, Kind, Measure
from collector.records import (
    BROKER,
    CONSOLE,
    DATABASE,
    FILE,
    PORTAL,
    TAP,
    ApiKey,
    App,
    Conversation,
    Dataset,
    DatasetDay,
    Feedback,
    Message,
    Model,
    ModelCall,
    NodeExecution,
    PortalEvent,
    PortalValue,
    Pull,
    QueueSample,
    Request,
    Retrieval,
    Run,
    User,
    Watermark,
)

OURSELVES = "collector"
"""The source of what we know of our own pulls."""

SOURCES: dict[Facts, tuple[str, ...]] = {
    **dict.fromkeys((Run, NodeExecution, ModelCall, Message, RatedLine), (CONSOLE, DATABASE, TAP, FILE)),
    **dict.fromkeys((Conversation, User), (CONSOLE, DATABASE, TAP, FILE)),
    **dict.fromkeys((App, Feedback), (CONSOLE, DATABASE)),
    **dict.fromkeys((Dataset, DatasetDay, Retrieval), (CONSOLE, DATABASE)),
    **dict.fromkeys((Model, ApiKey), (CONSOLE,)),
    **dict.fromkeys((PortalEvent, PortalValue), (PORTAL,)),
    Request: (TAP,),
    QueueSample: (BROKER,),
    Pull: (OURSELVES,),
    Watermark: (OURSELVES,),
}
"""Who can bring facts of a kind; any of them will do."""


def sources(measure: Measure) -> tuple[str, ...]:
    """Who can bring what a measure needs, any of them; of a measure over several kinds, each brings its part."""
    return tuple(dict.fromkeys(source for facts in measure.facts for source in SOURCES[facts]))


def formula(measure: Measure, catalogue: Catalogue) -> str:
    """How it is worked out; measures of the catalogue by their names, others spelled out."""

    def named(part: Measure) -> str:
        return part.name if part in catalogue else f"({formula(part, catalogue)})"

    match measure.kind:
        case Kind.RATIO:
            above, below = measure.parts
            return f"{named(above)} ÷ {named(below)}{_finish(measure)}"
        case Kind.RATE:
            return f"{named(measure.parts[0])} ÷ seconds of the step"
        case Kind.PEAK:
            return f"most in one second of: {_together(measure)}"
        case _ if measure.parts:
            return _together(measure)
    return _of_rows(measure)


def _finish(measure: Measure) -> str:
    times = "" if measure.scale == 1 else f" × {measure.scale:,}"
    return times + (f", rounded to {measure.rounding.digits} digits" if measure.rounding else "")


def _together(measure: Measure) -> str:
    glue = " + " if measure.kind in (Kind.COUNT, Kind.PEAK) else " and "
    return glue.join(_of_rows(part) for part in measure.parts)


def _of_rows(measure: Measure) -> str:
    column = "local day" if measure.column == LOCAL_DAY else measure.column
    table = measure.record.table if measure.record else ""
    match measure.kind:
        case Kind.COUNT:
            told = f"count of {table}"
        case Kind.TOTAL:
            told = f"sum of {column}"
        case Kind.DISTINCT:
            told = f"different {column} of {table}"
        case Kind.MEAN:
            told = f"mean of {column}{_finish(measure)}"
        case Kind.QUANTILE:
            told = f"p{round((measure.quantile or 0) * 100)} of {column}, interpolated"
        case Kind.LATEST:
            told = f"newest {column}"
        case Kind.EARLIEST:
            told = f"oldest {column}"
        case _:
            whole = "the oldest of them" if measure.unit == INSTANT else "summed"
            told = f"last {column} of each {measure.key} in the step, {whole}"
    return told if measure.where == "TRUE" else f"{told} where {measure.where}"
