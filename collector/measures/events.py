"""Measures of portal events: what happens in front of Dify, counted and added up.

Numbers of different names (lines, files) are never added, so a sum is always by `value_name`.
"""

from __future__ import annotations

from collector.measures.by_event import VALUE_NAME
from collector.measures.measure import count, distinct, ratio, total
from collector.records import PortalEvent, PortalValue

PORTAL_EVENTS = count(
    "portal_events",
    PortalEvent,
    unit="events",
    title="Portal events",
    title_zh="门户事件数",
    help="What happened in front of Dify: copies, downloads, accepted lines, whatever portals send.",
)
PORTAL_USERS = distinct(
    "portal_users",
    PortalEvent,
    "coalesce(user_id, session_id)",
    unit="users",
    title="Users of portals",
    title_zh="门户用户数",
    help="Different users with a portal event.",
)
PORTAL_VALUE = total(
    "portal_value",
    PortalValue,
    "number",
    unit="as the portal counts",
    always_by=(VALUE_NAME,),
    title="Values of portal events",
    title_zh="门户事件数值合计",
    help="The numbers that portal events carry, added up, each name apart.",
)
PORTAL_VALUES = count(
    "portal_values",
    PortalValue,
    unit="values",
    title="Portal events with a value",
    title_zh="带数值的门户事件数",
    help="Numbers that portal events carry: by `value_name`, how many events had it.",
)
PORTAL_VALUE_MEAN = ratio(
    "portal_value_mean",
    PORTAL_VALUE,
    PORTAL_VALUES,
    unit="as the portal counts",
    title="Mean value of portal events",
    title_zh="门户事件数值平均",
    help="Values of portal events ÷ events that had one, each name apart.",
)

MEASURES = (PORTAL_EVENTS, PORTAL_USERS, PORTAL_VALUE, PORTAL_VALUES, PORTAL_VALUE_MEAN)
