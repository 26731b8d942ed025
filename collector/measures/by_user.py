"""Dimensions of who asked, who rated and who pays."""

from __future__ import annotations

from collector.bill_lines import RatedLine
from collector.measures.by_app import APP_ID, WORKSPACE_ID
from collector.measures.dimension import Dimension, same
from collector.measures.fragments import Facts, qualify
from collector.measures.joins import APP_JOINS, ASKER, KEY_JOINS
from collector.records import (
    ApiKey,
    Conversation,
    Feedback,
    Message,
    ModelCall,
    NodeExecution,
    PortalEvent,
    PortalValue,
    Request,
    Retrieval,
    Run,
)

USER_ID = Dimension(
    name="user_id",
    title="User id",
    title_zh="用户 ID",
    help="Dify's id of the end user or account. Dify gives one person an end user id in each app.",
    columns={
        **same("user_id", Message, Conversation, Feedback, Retrieval, PortalEvent, PortalValue),
        **same("coalesce(run.user_id, message.user_id)", Run, ModelCall, NodeExecution),
    },
    joins=ASKER,
)
USER_KIND = Dimension(
    name="user_kind",
    title="Kind of user",
    title_zh="用户类型",
    help="end_user or account (of the console).",
    columns={
        **same("user_kind", Message, Conversation, Retrieval),
        **same("coalesce(run.user_kind, message.user_kind)", Run, ModelCall, NodeExecution),
    },
    joins=ASKER,
)
SESSION_ID = Dimension(
    name="session_id",
    title="Caller's user name",
    title_zh="调用方用户标识",
    help="What the caller of the API sent as `user`.",
    columns={
        **same("session_id", Message, Conversation, PortalEvent, PortalValue),
        **same("coalesce(run.session_id, message.session_id)", Run, ModelCall, NodeExecution),
    },
    joins=ASKER,
)
_NAMED: dict[Facts, str] = {
    **dict.fromkeys((Message, Conversation, PortalEvent, PortalValue), ", session_id"),
    **dict.fromkeys((Run, ModelCall, NodeExecution), ", run.session_id, message.session_id"),
    **dict.fromkeys((Feedback, Retrieval), ""),
}
USER_NAME = Dimension(
    name="user_name",
    title="User",
    title_zh="用户",
    help="The name of an account; of an end user, what the caller of the API sent as `user`.",
    columns={facts: f"coalesce(end_user.name, end_user.session_id{fallback})" for facts, fallback in _NAMED.items()},
    joins={
        facts: (*ASKER.get(facts, ()), f"LEFT JOIN end_user ON end_user.id = {column}")
        for facts, column in USER_ID.columns.items()
    },
)
KEY_FINGERPRINT = Dimension(
    name="key_fingerprint",
    title="Key fingerprint",
    title_zh="密钥指纹",
    help="First 16 hex digits of the SHA-256 of the app key; the key itself is stored nowhere. Of runs, messages and "
    "calls it is the key of the request at the tap that asked for them; null where no tap saw one.",
    columns={
        Request: "key_fingerprint",
        ApiKey: "fingerprint",
        **same("run_key.value", Run, NodeExecution),
        **same("coalesce(message_key.value, run_key.value)", Message, ModelCall),
    },
    joins=KEY_JOINS,
)
CONVERSATION_ID = Dimension(
    name="conversation_id",
    title="Conversation id",
    title_zh="会话 ID",
    help="Dify's id of the conversation.",
    columns={**same("conversation_id", Run, ModelCall, Message, Feedback), Conversation: "id"},
)
RATING = Dimension(
    name="rating",
    title="Rating",
    title_zh="评价",
    help="like or dislike.",
    columns=same("rating", Feedback),
    is_label=True,
)
RATED_BY = Dimension(
    name="from_source",
    title="Rated by",
    title_zh="评价来源",
    help="user or admin.",
    columns=same("from_source", Feedback),
)


def _payer(facts: Facts, name: str, kind: str, subject: str) -> str:
    at = f"{facts.table}.created_at"
    return (
        f"LEFT JOIN payer_span AS {name} ON {name}.kind = '{kind}' AND {name}.subject = {qualify(subject, facts)} "
        f"AND {at} >= {name}.starts_at AND {at} < {name}.ends_at"
    )


_PAYING: tuple[Facts, ...] = (
    *(Run, ModelCall, Message, Conversation, NodeExecution, Request, Retrieval),
    *(PortalEvent, PortalValue),
)
_SUBJECTS: dict[Facts, dict[str, str]] = {
    facts: {
        **({"user": USER_ID.columns[facts]} if facts in USER_ID.columns else {}),
        **({"key": KEY_FINGERPRINT.columns[facts]} if facts in KEY_FINGERPRINT.columns else {}),
        "app": APP_ID.columns[facts],
        "workspace": WORKSPACE_ID.columns[facts],
    }
    for facts in _PAYING
}
"""By whom a fact may be paid, the closest first."""

_PAYER_JOINS = {
    facts: (
        *USER_ID.joins.get(facts, ()),
        *KEY_JOINS.get(facts, ()),
        *APP_JOINS[facts],
        *(_payer(facts, f"payer_{kind}", kind, subject) for kind, subject in subjects.items()),
    )
    for facts, subjects in _SUBJECTS.items()
}


def _paid_by(name: str, title: str, title_zh: str, help: str) -> Dimension:
    """A column of the closest payer at the instant of the fact: its entry counts whole, blanks too."""
    cases = {
        facts: " ".join(f"WHEN payer_{kind}.kind IS NOT NULL THEN payer_{kind}.{name}" for kind in subjects)
        for facts, subjects in _SUBJECTS.items()
    }
    columns: dict[Facts, str] = {facts: f"CASE {each} END" for facts, each in cases.items()}
    columns[RatedLine] = name
    help = f"{help}, as the payers' file says for that instant; null where it says nothing."
    return Dimension(name=name, title=title, title_zh=title_zh, help=help, columns=columns, joins=_PAYER_JOINS)


PERSON = _paid_by("person", "Person", "人员", "Who uses it")
DEPARTMENT = _paid_by("department", "Department", "部门", "The department that pays")
COST_CENTRE = _paid_by("cost_centre", "Cost centre", "成本中心", "The cost centre that pays")

DIMENSIONS = (
    USER_ID,
    USER_KIND,
    SESSION_ID,
    USER_NAME,
    KEY_FINGERPRINT,
    CONVERSATION_ID,
    RATING,
    RATED_BY,
    PERSON,
    DEPARTMENT,
    COST_CENTRE,
)
