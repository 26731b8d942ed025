"""How facts reach what stands in other tables: LEFT JOINs, each of many facts to one row unless it says otherwise.

What goes out are texts of SQL, made of nothing but what stands here. Nothing here runs them.
"""

from __future__ import annotations

from collections.abc import Mapping

from collector.bill_lines import RatedLine
from collector.measures.dimension import Members
from collector.measures.fragments import Facts
from collector.records import (
    ApiKey,
    App,
    Conversation,
    DatasetDay,
    Feedback,
    Message,
    ModelCall,
    NodeExecution,
    PortalEvent,
    PortalValue,
    Pull,
    Request,
    Retrieval,
    Run,
    Watermark,
)

OF_APPS: tuple[Facts, ...] = (
    *(Run, NodeExecution, ModelCall, Message, Conversation, Feedback, Request),
    *(Retrieval, ApiKey, Pull, Watermark, PortalEvent, PortalValue, RatedLine),
)
"""Facts that belong to an app."""

APP_JOINS = {facts: (f"LEFT JOIN app ON app.id = {facts.table}.app_id",) for facts in OF_APPS}
DATASET_JOINS: dict[Facts, tuple[str, ...]] = {
    facts: (f"LEFT JOIN dataset ON dataset.id = {facts.table}.dataset_id",)
    for facts in (DatasetDay, Retrieval, RatedLine)
}
(RUN_APP,), (MESSAGE_APP,), (WATERMARK_APP,) = (APP_JOINS[facts] for facts in (Run, Message, Watermark))

CALL_RUN = "LEFT JOIN run ON run.id = model_call.run_id"
CALL_MESSAGE = "LEFT JOIN message ON message.id = model_call.message_id"
NODE_RUN = "LEFT JOIN run ON run.id = node_execution.run_id"
RUN_MESSAGE = "LEFT JOIN message ON message.id = run.message_id"
MESSAGE_RUN = "LEFT JOIN run ON run.id = message.run_id"
FEEDBACK_MESSAGE = "LEFT JOIN message ON message.id = feedback.message_id"
MESSAGE_CONVERSATION = "LEFT JOIN conversation ON conversation.id = message.conversation_id"
MESSAGE_LIKES = (
    "LEFT JOIN (SELECT message_id, count(*) AS likes FROM feedback WHERE rating = 'like' GROUP BY 1) AS liked "
    "ON liked.message_id = message.id"
)

WATERMARK_BETTER = """LEFT JOIN (
  SELECT mark.source, mark.stream, coalesce(nullif(mark.origin, ''), app.origin) AS origin,
    min(mark.complete_until) AS reached_until
  FROM watermark AS mark LEFT JOIN app ON app.id = mark.app_id
  WHERE mark.source IN ('console', 'database') AND app.deleted_at IS NULL GROUP BY ALL
) AS better_mark ON better_mark.source <> watermark.source AND watermark.source IN ('console', 'database')
  AND better_mark.origin = coalesce(nullif(watermark.origin, ''), app.origin)
  AND better_mark.stream =
    CASE WHEN watermark.stream IN ('app-logs', 'debug-runs') THEN 'runs' ELSE watermark.stream END"""
"""How far the other way in to the same Dify is: whoever turns from the API to the database, or back, leaves marks that
stand still, and what the one tells is complete by the other. The database has all runs in one stream."""

REACHED_UNTIL = "coalesce(greatest(complete_until, better_mark.reached_until), complete_until)"

# The list of a chatflow's runs names no end users: they stand at the messages.
ASKER: Mapping[Facts, tuple[str, ...]] = {
    Run: (RUN_MESSAGE,),
    ModelCall: (CALL_RUN, CALL_MESSAGE),
    NodeExecution: (NODE_RUN, RUN_MESSAGE),
}

APP_TAGS = Members(
    owners={**{facts: f"{facts.table}.app_id" for facts in OF_APPS if facts not in (Pull, Watermark)}, App: "app.id"},
    table="SELECT app.id AS owner, unnest(string_split(app.tags, ',')) AS value FROM app WHERE app.tags <> ''",
)
TAG_JOINS: dict[Facts, tuple[str, ...]] = {
    facts: (f"LEFT JOIN ({APP_TAGS.table}) AS app_tag ON app_tag.owner = {owner}",)
    for facts, owner in APP_TAGS.owners.items()
}
"""Many rows to one fact."""

NEAR_REQUESTS = "request.created_at >= $since - INTERVAL 1 DAY AND request.created_at < $until + INTERVAL 1 DAY"
"""A request and its run start together; the bound keeps the look-up from reading the table's whole history."""


def _key(of: str, column: str) -> str:
    """The key behind a run or message: that of its first request, since a stream that broke off is asked for again."""
    return (
        f"LEFT JOIN (SELECT request.{of}_id AS owner, arg_min(request.key_fingerprint, request.created_at) AS value "
        f"FROM request WHERE request.{of}_id IS NOT NULL AND {NEAR_REQUESTS} GROUP BY 1) AS {of}_key "
        f"ON {of}_key.owner = {column}"
    )


KEY_JOINS: Mapping[Facts, tuple[str, ...]] = {
    Run: (_key("run", "run.id"),),
    NodeExecution: (_key("run", "node_execution.run_id"),),
    Message: (_key("run", "message.run_id"), _key("message", "message.id")),
    ModelCall: (_key("run", "model_call.run_id"), _key("message", "model_call.message_id")),
}
