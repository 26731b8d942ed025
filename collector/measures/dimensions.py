"""By what a number may be split or filtered: every dimension, its titles, and the column it is in each table.

What comes in is nothing; what goes out is DIMENSIONS, plain data that the catalogue, REST and dashboards read.
A value that is not known is NULL here and null in answers, never a word that stands for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from collector.measures.fragments import Facts, qualify
from collector.records import (
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
    Watermark,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Dimension:
    """A column to split by.

    `columns` gives the SQL expression per kind of fact; it may use the tables named in `joins` (LEFT JOINed on the SQL
    given there, many facts to one row). `kind` is what its values are: str, int or bool. `is_label`: its values are
    few enough for a Prometheus label.
    """

    name: str
    title: str
    title_zh: str
    help: str
    columns: Mapping[Facts, str]
    joins: Mapping[Facts, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    kind: type = str
    is_label: bool = False

    def __post_init__(self) -> None:
        columns = {facts: qualify(column, facts) for facts, column in self.columns.items()}
        object.__setattr__(self, "columns", MappingProxyType(columns))


_OF_APPS: tuple[Facts, ...] = (
    *(Run, NodeExecution, ModelCall, Message, Conversation, Feedback, Request),
    *(Retrieval, ApiKey, Pull, Watermark, PortalEvent, PortalValue),
)
_APP_JOINS = {facts: (f"LEFT JOIN app ON app.id = {facts.table}.app_id",) for facts in _OF_APPS}

CALL_RUN = "LEFT JOIN run ON run.id = model_call.run_id"
CALL_MESSAGE = "LEFT JOIN message ON message.id = model_call.message_id"
NODE_RUN = "LEFT JOIN run ON run.id = node_execution.run_id"
RUN_MESSAGE = "LEFT JOIN message ON message.id = run.message_id"
FEEDBACK_MESSAGE = "LEFT JOIN message ON message.id = feedback.message_id"
RUN_MESSAGE = "LEFT JOIN message ON message.id = run.message_id"
MESSAGE_CONVERSATION = "LEFT JOIN conversation ON conversation.id = message.conversation_id"
(RUN_APP,), (MESSAGE_APP,), (WATERMARK_APP,) = (_APP_JOINS[facts] for facts in (Run, Message, Watermark))

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

_CALLER = (CALL_RUN, CALL_MESSAGE)

# The list of a chatflow's runs names no end users: they stand at the messages.
_ASKER: Mapping[Facts, tuple[str, ...]] = {
    Run: (RUN_MESSAGE,),
    ModelCall: _CALLER,
    NodeExecution: (NODE_RUN, RUN_MESSAGE),
}


def _same(name: str, *all_facts: Facts) -> dict[Facts, str]:
    return dict.fromkeys(all_facts, name)


_DATASET_JOINS: dict[Facts, tuple[str, ...]] = {
    facts: (f"LEFT JOIN dataset ON dataset.id = {facts.table}.dataset_id",) for facts in (DatasetDay, Retrieval)
}


def _workspace(facts: Facts) -> str:
    return "app.workspace_id" if facts in (Pull, Watermark) else "coalesce(workspace_id, app.workspace_id)"


APP_ID = Dimension(
    name="app_id",
    title="App id",
    title_zh="应用 ID",
    help="Dify's id of the app.",
    columns={
        **_same("app_id", *(facts for facts in _OF_APPS if facts is not Watermark)),
        Watermark: "nullif(app_id, '')",
        App: "id",
    },
    is_label=True,
)
APP_NAME = Dimension(
    name="app_name",
    title="App",
    title_zh="应用",
    help="The app's name as it is now; names may change and repeat, ids do not.",
    columns={**_same("app.name", *_OF_APPS), App: "name"},
    joins=_APP_JOINS,
)
APP_MODE = Dimension(
    name="app_mode",
    title="App mode",
    title_zh="应用类型",
    help="workflow, advanced-chat, chat, completion or agent-chat.",
    columns={**_same("app.mode", *_OF_APPS), App: "mode"},
    joins=_APP_JOINS,
    is_label=True,
)
WORKSPACE_ID = Dimension(
    name="workspace_id",
    title="Workspace id",
    title_zh="工作空间 ID",
    help="Dify's id of the workspace (tenant).",
    columns={
        **{facts: _workspace(facts) for facts in _OF_APPS},
        **_same("workspace_id", App, Dataset, DatasetDay, Model),
    },
    joins=_APP_JOINS,
    is_label=True,
)
MODEL_PROVIDER = Dimension(
    name="model_provider",
    title="Model provider",
    title_zh="模型供应商",
    help="Provider of the model, as organisation/plugin/name.",
    columns=_same("model_provider", ModelCall, Model),
    is_label=True,
)
MODEL_NAME = Dimension(
    name="model_name",
    title="Model",
    title_zh="模型",
    help="Name of the model; null where Dify does not tell it.",
    columns=_same("model_name", ModelCall, Model),
    is_label=True,
)
NODE_TYPE = Dimension(
    name="node_type",
    title="Node type",
    title_zh="节点类型",
    help="Kind of workflow node; `message` for calls of apps without nodes.",
    columns=_same("node_type", NodeExecution, ModelCall),
    is_label=True,
)
USER_ID = Dimension(
    name="user_id",
    title="User id",
    title_zh="用户 ID",
    help="Dify's id of the end user or account. Dify gives one person an end user id in each app.",
    columns={
        **_same("user_id", Message, Conversation, Feedback, Retrieval, PortalEvent, PortalValue),
        **_same("coalesce(run.user_id, message.user_id)", Run, ModelCall, NodeExecution),
    },
    joins=_ASKER,
)
USER_KIND = Dimension(
    name="user_kind",
    title="Kind of user",
    title_zh="用户类型",
    help="end_user or account (of the console).",
    columns={
        **_same("user_kind", Message, Conversation, Retrieval),
        **_same("coalesce(run.user_kind, message.user_kind)", Run, ModelCall, NodeExecution),
    },
    joins=_ASKER,
)
SESSION_ID = Dimension(
    name="session_id",
    title="Caller's user name",
    title_zh="调用方用户标识",
    help="What the caller of the API sent as `user`.",
    columns={
        **_same("session_id", Message, Conversation, PortalEvent, PortalValue),
        **_same("coalesce(run.session_id, message.session_id)", Run, ModelCall, NodeExecution),
    },
    joins=_ASKER,
)
STATUS = Dimension(
    name="status",
    title="Status",
    title_zh="状态",
    help="succeeded, failed, stopped, partial-succeeded; or not yet: running, paused, open; or never told: stale.",
    columns=_same("status", Run, NodeExecution, ModelCall, Message),
    is_label=True,
)
TRIGGERED_FROM = Dimension(
    name="triggered_from",
    title="Triggered from",
    title_zh="触发方式",
    help="What started the run: app-run, webhook, schedule, plugin, debugging.",
    columns={Run: "triggered_from", ModelCall: "run.triggered_from", NodeExecution: "run.triggered_from"},
    joins={ModelCall: (CALL_RUN,), NodeExecution: (NODE_RUN,)},
    is_label=True,
)
INVOKE_FROM = Dimension(
    name="invoke_from",
    title="Invoked from",
    title_zh="调用来源",
    help="Where the message came from: service-api, web-app, explore, trigger, debugger.",
    columns={Message: "invoke_from", ModelCall: "message.invoke_from", Feedback: "message.invoke_from"},
    joins={ModelCall: (CALL_MESSAGE,), Feedback: (FEEDBACK_MESSAGE,)},
    is_label=True,
)
ERROR_CLASS = Dimension(
    name="error_class",
    title="Class of error",
    title_zh="错误类别",
    help="Kind of failure, from a closed list; null when nothing failed.",
    columns=_same("error_class", Run, NodeExecution, ModelCall, Message, Request, Pull),
    is_label=True,
)
CURRENCY = Dimension(
    name="currency",
    title="Currency",
    title_zh="币种",
    help="Currency of the cost, as Dify says it. Two currencies are never added.",
    columns=_same("currency", ModelCall),
)
CONVERSATION_ID = Dimension(
    name="conversation_id",
    title="Conversation id",
    title_zh="会话 ID",
    help="Dify's id of the conversation.",
    columns={**_same("conversation_id", Run, ModelCall, Message, Feedback), Conversation: "id"},
)
RUN_ID = Dimension(
    name="run_id",
    title="Run id",
    title_zh="运行 ID",
    help="Dify's id of the workflow run.",
    columns={**_same("run_id", NodeExecution, ModelCall, Message, Request), Run: "id"},
)
RATING = Dimension(
    name="rating",
    title="Rating",
    title_zh="评价",
    help="like or dislike.",
    columns=_same("rating", Feedback),
    is_label=True,
)
RATED_BY = Dimension(
    name="from_source",
    title="Rated by",
    title_zh="评价来源",
    help="user or admin.",
    columns=_same("from_source", Feedback),
)
ROUTE = Dimension(
    name="route",
    title="Route",
    title_zh="接口",
    help="Path template of the request, without ids.",
    columns=_same("route", Request),
    is_label=True,
)
STATUS_CODE = Dimension(
    name="status_code",
    title="HTTP status",
    title_zh="HTTP 状态码",
    help="Status Dify answered with; null when it never answered.",
    columns=_same("status_code", Request),
    kind=int,
    is_label=True,
)
KEY_FINGERPRINT = Dimension(
    name="key_fingerprint",
    title="Key fingerprint",
    title_zh="密钥指纹",
    help="First 16 hex digits of the SHA-256 of the app key; the key itself is stored nowhere.",
    columns={Request: "key_fingerprint", ApiKey: "fingerprint"},
)
INTERRUPTED_BY = Dimension(
    name="interrupted_by",
    title="Interrupted by",
    title_zh="中断方",
    help="client or upstream; null when the answer ended well.",
    columns=_same("interrupted_by", Request),
)
STREAM = Dimension(
    name="stream",
    title="Stream",
    title_zh="数据流",
    help="Kind of record a pull reads: runs, messages, feedback, ...",
    columns=_same("stream", Pull, Watermark),
    is_label=True,
)
SOURCE = Dimension(
    name="source",
    title="Source",
    title_zh="数据来源",
    help="Who told us: console, database, tap, file, broker or portal.",
    columns=_same("source", *_OF_APPS, App, Dataset, DatasetDay, Model, QueueSample),
    is_label=True,
)
ORIGIN = Dimension(
    name="origin",
    title="Dify",
    title_zh="Dify 实例",
    help="Our name for the Dify it happened in, as the settings say; null for what was read before there were names.",
    columns={
        **_same("app.origin", *(facts for facts in _OF_APPS if facts not in (Pull, Retrieval, Watermark))),
        **_same("dataset.origin", DatasetDay, Retrieval),
        **_same("origin", App, Dataset, Pull),
        Watermark: "coalesce(nullif(origin, ''), app.origin)",
    },
    joins={facts: joins for facts, joins in (_APP_JOINS | _DATASET_JOINS).items() if facts is not Pull},
    is_label=True,
)
DATASET_ID = Dimension(
    name="dataset_id",
    title="Knowledge base id",
    title_zh="知识库 ID",
    help="Dify's id of the knowledge base.",
    columns={**_same("dataset_id", DatasetDay, Retrieval), Dataset: "id"},
    is_label=True,
)
DATASET_NAME = Dimension(
    name="dataset_name",
    title="Knowledge base",
    title_zh="知识库",
    help="The knowledge base's name as it is now.",
    columns={**_same("dataset.name", DatasetDay, Retrieval), Dataset: "name"},
    joins=_DATASET_JOINS,
)
INDEXING_TECHNIQUE = Dimension(
    name="indexing_technique",
    title="Indexing",
    title_zh="索引方式",
    help="high_quality (by an embedding model) or economy (by keywords).",
    columns={**_same("dataset.indexing_technique", DatasetDay, Retrieval), Dataset: "indexing_technique"},
    joins=_DATASET_JOINS,
)
RETRIEVED_FROM = Dimension(
    name="retrieved_from",
    title="Retrieved from",
    title_zh="检索来源",
    help="Who asked the knowledge base: app, or hit_testing in the console.",
    columns={Retrieval: "origin"},
    is_label=True,
)
MODEL_KIND = Dimension(
    name="model_kind",
    title="Kind of model",
    title_zh="模型类型",
    help="llm, text-embedding, rerank, speech2text, tts or moderation.",
    columns={Model: "kind"},
    is_label=True,
)
QUEUE = Dimension(
    name="queue",
    title="Queue",
    title_zh="队列",
    help="Celery's queue, or Dify's waiting list of workspaces; `_OTHER` for those that are none of Dify's.",
    columns={QueueSample: "CASE WHEN kind = 'other' THEN '_OTHER' ELSE queue END"},
    is_label=True,
)
QUEUE_NAME = Dimension(
    name="queue_name",
    title="Queue name",
    title_zh="队列名称",
    help="The queue's name as the broker has it, those that are none of Dify's too.",
    columns={QueueSample: "queue"},
)
QUEUE_KIND = Dimension(
    name="queue_kind",
    title="Kind of queue",
    title_zh="队列类型",
    help="served, unserved (no default worker takes from it), workspace or other.",
    columns={QueueSample: "kind"},
    is_label=True,
)
BROKER = Dimension(
    name="broker",
    title="Broker",
    title_zh="消息代理",
    help="Our name for the broker.",
    columns={QueueSample: "broker"},
    is_label=True,
)
EVENT_TYPE = Dimension(
    name="event_type",
    title="Type of event",
    title_zh="事件类型",
    help="What happened in the portal, as its CloudEvents call it.",
    columns=_same("event_type", PortalEvent, PortalValue),
    is_label=True,
)
EVENT_SOURCE = Dimension(
    name="event_source",
    title="Source of event",
    title_zh="事件来源",
    help="Which program told it: the `source` of its CloudEvent.",
    columns=_same("event_source", PortalEvent, PortalValue),
)
VALUE_NAME = Dimension(
    name="value_name",
    title="Name of value",
    title_zh="数值名称",
    help="Which number of the event's data: lines, files, bytes. Two of them are never added.",
    columns={PortalValue: "name"},
)
IS_DEBUG = Dimension(
    name="is_debug",
    title="Debugging",
    title_zh="调试",
    help="Console test runs: left out of every answer that does not ask for them.",
    columns={
        **_same("is_debug", Run, NodeExecution, ModelCall, Message, Conversation),
        Feedback: "message.is_debug",
    },
    joins={Feedback: (FEEDBACK_MESSAGE,)},
    kind=bool,
)
IS_ESTIMATE = Dimension(
    name="is_estimate",
    title="Estimate",
    title_zh="估算",
    help="Stands for the calls of a run whose nodes told no usage.",
    columns=_same("is_estimate", ModelCall),
    kind=bool,
)
IS_VISION = Dimension(
    name="is_vision",
    title="With image",
    title_zh="视觉调用",
    help="The prompt held an image, null when not told; of models: they can take one.",
    columns=_same("is_vision", ModelCall, Model),
    kind=bool,
)
MODALITY = Dimension(
    name="modality",
    title="Modality",
    title_zh="输入模态",
    help="vision where the prompt held an image, text where it held none; null when not told.",
    columns={ModelCall: "CASE WHEN is_vision THEN 'vision' WHEN NOT is_vision THEN 'text' END"},
    is_label=True,
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
        **({"key": KEY_FINGERPRINT.columns[facts]} if facts is Request else {}),
        "app": APP_ID.columns[facts],
        "workspace": WORKSPACE_ID.columns[facts],
    }
    for facts in _PAYING
}
"""By whom a fact may be paid, the closest first."""

_PAYER_JOINS = {
    facts: (
        *USER_ID.joins.get(facts, ()),
        *_APP_JOINS[facts],
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
    columns = {facts: f"CASE {each} END" for facts, each in cases.items()}
    help = f"{help}, as the payers' file says for that instant; null where it says nothing."
    return Dimension(name=name, title=title, title_zh=title_zh, help=help, columns=columns, joins=_PAYER_JOINS)


PERSON = _paid_by("person", "Person", "人员", "Who uses it")
DEPARTMENT = _paid_by("department", "Department", "部门", "The department that pays")
COST_CENTRE = _paid_by("cost_centre", "Cost centre", "成本中心", "The cost centre that pays")

DIMENSIONS: tuple[Dimension, ...] = tuple(found for found in list(globals().values()) if isinstance(found, Dimension))
"""Every dimension, in the order above."""

ALIASES = {
    "app": "app_id",
    "model": "model_name",
    "provider": "model_provider",
    "workspace": "workspace_id",
    "mode": "app_mode",
    "user": "user_id",
    "session": "session_id",
    "conversation": "conversation_id",
    "run": "run_id",
    "dataset": "dataset_id",
    "cost_center": "cost_centre",
}
"""Short names people may write for a dimension."""


def dimensions_of(facts: Facts) -> tuple[Dimension, ...]:
    """What these facts can be split by."""
    return tuple(dimension for dimension in DIMENSIONS if facts in dimension.columns)
