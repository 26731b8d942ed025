"""Dimensions of portal events: what happened in front of Dify, who told it, which number it carried."""

from __future__ import annotations

from collector.measures.dimension import Dimension, same
from collector.records import PortalEvent, PortalValue

EVENT_TYPE = Dimension(
    name="event_type",
    title="Type of event",
    title_zh="事件类型",
    help="What happened in the portal, as its CloudEvents call it.",
    columns=same("event_type", PortalEvent, PortalValue),
    is_label=True,
)
EVENT_SOURCE = Dimension(
    name="event_source",
    title="Source of event",
    title_zh="事件来源",
    help="Which program told it: the `source` of its CloudEvent.",
    columns=same("event_source", PortalEvent, PortalValue),
)
VALUE_NAME = Dimension(
    name="value_name",
    title="Name of value",
    title_zh="数值名称",
    help="Which number of the event's data: lines, files, bytes. Two of them are never added.",
    columns={PortalValue: "name"},
)

DIMENSIONS = (EVENT_TYPE, EVENT_SOURCE, VALUE_NAME)
