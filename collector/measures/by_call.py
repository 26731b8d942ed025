"""Dimensions of what was called and what came of it: model, node, status, trigger, request."""

from __future__ import annotations

from collector.bill_lines import RatedLine
from collector.measures.dimension import Dimension, same
from collector.measures.joins import CALL_MESSAGE, CALL_RUN, FEEDBACK_MESSAGE, MESSAGE_RUN, NODE_RUN, RUN_MESSAGE
from collector.records import Conversation, Feedback, Message, Model, ModelCall, NodeExecution, Pull, Request, Run

MODEL_PROVIDER = Dimension(
    name="model_provider",
    title="Model provider",
    title_zh="模型供应商",
    help="Provider of the model, as organisation/plugin/name.",
    columns=same("model_provider", ModelCall, Model, RatedLine),
    is_label=True,
)
MODEL_NAME = Dimension(
    name="model_name",
    title="Model",
    title_zh="模型",
    help="Name of the model; null where Dify does not tell it.",
    columns=same("model_name", ModelCall, Model, RatedLine),
    is_label=True,
)
NODE_TYPE = Dimension(
    name="node_type",
    title="Node type",
    title_zh="节点类型",
    help="Kind of workflow node; `message` for calls of apps without nodes.",
    columns=same("node_type", NodeExecution, ModelCall),
    is_label=True,
)
STATUS = Dimension(
    name="status",
    title="Status",
    title_zh="状态",
    help="succeeded, failed, stopped, partial-succeeded; or not yet: running, paused, open; or never told: stale.",
    columns=same("status", Run, NodeExecution, ModelCall, Message),
    is_label=True,
)
TRIGGERED_FROM = Dimension(
    name="triggered_from",
    title="Triggered from",
    title_zh="触发方式",
    help="What started the run: app-run, webhook, schedule, plugin, debugging.",
    columns={Run: "triggered_from", **same("run.triggered_from", ModelCall, NodeExecution, Message)},
    joins={ModelCall: (CALL_RUN,), NodeExecution: (NODE_RUN,), Message: (MESSAGE_RUN,)},
    is_label=True,
)
INVOKE_FROM = Dimension(
    name="invoke_from",
    title="Invoked from",
    title_zh="调用来源",
    help="Where the message came from: service-api, web-app, explore, trigger, debugger.",
    columns={Message: "invoke_from", **same("message.invoke_from", Run, NodeExecution, ModelCall, Feedback)},
    joins={
        Run: (RUN_MESSAGE,),
        NodeExecution: (NODE_RUN, RUN_MESSAGE),
        ModelCall: (CALL_MESSAGE,),
        Feedback: (FEEDBACK_MESSAGE,),
    },
    is_label=True,
)
ERROR_CLASS = Dimension(
    name="error_class",
    title="Class of error",
    title_zh="错误类别",
    help="Kind of failure, from a closed list; null when nothing failed.",
    columns=same("error_class", Run, NodeExecution, ModelCall, Message, Request, Pull),
    is_label=True,
)
CURRENCY = Dimension(
    name="currency",
    title="Currency",
    title_zh="币种",
    help="Currency of the cost, as Dify or the price book says it. Two currencies are never added.",
    columns=same("currency", ModelCall, RatedLine),
)
RUN_ID = Dimension(
    name="run_id",
    title="Run id",
    title_zh="运行 ID",
    help="Dify's id of the workflow run.",
    columns={**same("run_id", NodeExecution, ModelCall, Message, Request), Run: "id"},
)
ROUTE = Dimension(
    name="route",
    title="Route",
    title_zh="接口",
    help="Path template of the request, without ids.",
    columns=same("route", Request),
    is_label=True,
)
STATUS_CODE = Dimension(
    name="status_code",
    title="HTTP status",
    title_zh="HTTP 状态码",
    help="Status Dify answered with; null when it never answered.",
    columns=same("status_code", Request),
    kind=int,
    is_label=True,
)
INTERRUPTED_BY = Dimension(
    name="interrupted_by",
    title="Interrupted by",
    title_zh="中断方",
    help="client or upstream; null when the answer ended well.",
    columns=same("interrupted_by", Request),
)
IS_DEBUG = Dimension(
    name="is_debug",
    title="Debugging",
    title_zh="调试",
    help="Console test runs: left out of every answer that does not ask for them.",
    columns={
        **same("is_debug", Run, NodeExecution, ModelCall, Message, Conversation),
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
    columns=same("is_estimate", ModelCall),
    kind=bool,
)
IS_VISION = Dimension(
    name="is_vision",
    title="With image",
    title_zh="视觉调用",
    help="The prompt held an image, null when not told; of models: they can take one.",
    columns=same("is_vision", ModelCall, Model),
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
MODEL_KIND = Dimension(
    name="model_kind",
    title="Kind of model",
    title_zh="模型类型",
    help="llm, text-embedding, rerank, speech2text, tts or moderation.",
    columns={Model: "kind"},
    is_label=True,
)

DIMENSIONS = (
    MODEL_PROVIDER,
    MODEL_NAME,
    NODE_TYPE,
    STATUS,
    TRIGGERED_FROM,
    INVOKE_FROM,
    ERROR_CLASS,
    CURRENCY,
    RUN_ID,
    ROUTE,
    STATUS_CODE,
    INTERRUPTED_BY,
    IS_DEBUG,
    IS_ESTIMATE,
    IS_VISION,
    MODALITY,
    MODEL_KIND,
)
