"""The Chinese definitions of measures, dimensions and flags, by name; a mean and its percentiles share their family's.

The English ones stand beside the entries as `help`. A test holds that no entry is without one.
"""

from __future__ import annotations

from collections.abc import Mapping

from collector.measures.dimension import Dimension
from collector.measures.flags import Flag
from collector.measures.measure import Measure

_APPS = {
    "apps": "Dify 中现存的应用；为当前值，与统计区间无关。",
    "published_apps": "现存且已发布、可供他人使用的应用；为当前值，与统计区间无关。",
    "apps_seen": "曾采集到的全部应用，包括之后已删除的；为当前值，与统计区间无关。",
    "active_apps": "区间内至少有一次运行或一条消息的不同应用；按用户拆分时即该用户使用过的应用。各日不可相加。",
    "idle_apps": "当前存在、但区间内既无运行也无消息的应用；控制台调试不算使用。",
    "new_apps": "按创建时间统计的应用，包括之后已删除的。",
    "deleted_apps": "按发现其已删除的时间统计的应用。",
    "app_created": "应用的创建时间；多个应用取最早者。",
    "app_updated": "应用的最近修改时间；多个应用取最新者。",
    "missing_runs": "Dify 计入总数、但列表、日志与消息均未提供的运行，按各应用最近一次核对；为当前值，与统计区间无关。",
    "invocations": "工作流运行，加上无运行记录的应用的消息；凡已发起的均计入。",
    "succeeded_invocations": "得到回答的应用调用；部分成功的运行也计入。",
    "failed_invocations": "以错误结束的应用调用。",
    "stopped_invocations": "被人为中止的应用调用。",
    "open_invocations": "尚未结束、或结果永远无从得知的应用调用。",
    "invocation_failure_ratio": "失败的应用调用 ÷ 应用调用，取值 0 到 1。",
    "active_users": "区间内至少有一次运行或一条消息的不同用户，含终端用户与控制台账号。各应用、各日不可相加。",
    "active_days": "按所选时区的日历，至少有一次运行或一条消息的不同日期数。",
    "first_seen": "区间内第一次运行或第一条消息的发起时间。",
    "last_seen": "区间内最后一次运行或最后一条消息的发起时间。",
}
_RUNS = {
    "runs": "已发起的工作流运行，无论结果如何。",
    "finished_runs": "已结束的工作流运行：成功、部分成功、失败或中止。",
    "succeeded_runs": "所有节点均正常结束的工作流运行。",
    "partly_succeeded_runs": "有节点失败但仍继续执行完毕的工作流运行。",
    "failed_runs": "以错误结束的工作流运行。",
    "stopped_runs": "被人为中止的工作流运行。",
    "running_runs": "尚未结束的工作流运行。",
    "oldest_running_run": "运行时间最长的未结束运行的开始时间。",
    "paused_runs": "等待人工处理的工作流运行。",
    "stale_runs": "打开时间超过上限的工作流运行；Dify 不会再告知其结果。",
    "run_failure_ratio": "失败运行 ÷ 已结束运行，取值 0 到 1。",
    "run_elapsed": "已结束工作流运行的总耗时，以 Dify 的计时为准：即工作流应用的响应时间。",
    "node_executions": "执行过的工作流节点；重试的节点只算一次。",
    "failed_node_executions": "以错误结束的工作流节点，包括运行仍继续的情况。",
    "node_elapsed": "已结束工作流节点的耗时。",
}
_CALLS = {
    "model_calls": "对模型的调用，含失败的。无论 Dify 在多少处重复记录，每次调用只计一次。",
    "failed_model_calls": "以错误结束的模型调用。",
    "model_call_failure_ratio": "失败的模型调用 ÷ 模型调用，取值 0 到 1。",
    "tokens": "全部模型调用的输入与输出 Token 之和。",
    "input_tokens": "提示词 Token；是否包含缓存命中部分由供应商决定。",
    "output_tokens": "模型输出的 Token，含推理部分。",
    "cached_input_tokens": "供应商从缓存读取的提示词 Token（供应商告知时）。",
    "reasoning_output_tokens": "用于推理的输出 Token（供应商告知时）；是输出 Token 的一部分。",
    "rated_cost": "按价目表计算的用量费用（已扣除折扣），始终按币种分开，与账单一致：已关账月份为封存值，"
    "更正计入开具它的月份。没有价格的用量不计入，并以标记提示。",
    "rated_list_cost": "同上，未扣除折扣。",
    "unrated_tokens": "价目表中没有价格的 Token；按模型与计费项拆分即为未定价清单。",
    "cost": "Dify 报告的调用费用，始终按币种分开。没有价格的调用不计入，并以标记提示。",
    "unpriced_tokens": "Dify 没有价格或价格为零的 Token。",
    "model_call_latency": "工作流节点发起的成功调用从请求到最后一个 Token 的时间。"
    "聊天、文本生成与 Agent 应用的单次调用 Dify 不单独"
    "计时，请看 response_time。",
    "time_to_first_token": "从请求模型到收到第一段回答的时间；仅限流式调用。",
    "generation_seconds": "模型从第一个到最后一个 Token 所用的时间，仅统计两者都已知的调用。",
    "generated_tokens": "generation_seconds 所统计的那些调用的输出 Token。",
    "token_time": "从第一个到最后一个 Token 的时间 ÷ 输出 Token，逐次调用计算，仅统计两者都已知的调用。",
    "output_speed": "输出 Token ÷ 从第一个到最后一个 Token 的时间，仅统计两者都已知的调用。",
    "timed_output_tokens": "call_seconds 所统计的那些调用的输出 Token。",
    "call_seconds": "输出 Token 与耗时均已知的调用的全部耗时。",
    "output_speed_dify": "输出 Token ÷ 全部耗时（含等待首 Token 的时间），与 Dify 自身统计的算法相同。",
}
_MESSAGES = {
    "messages": "用户的提问，含失败的，与 Dify 的计法相同。",
    "failed_messages": "以错误结束的提问。",
    "conversations": "区间内至少有一条消息的会话。持续两天的会话在两天各计一次，总数只计一次。",
    "conversations_started": "按开始时间统计的会话。",
    "messages_per_conversation": "消息数 ÷ 有消息的会话数。",
    "response_time": "用户等到完整回答所用的时间，仅限得到回答的消息。工作流应用请看 run_elapsed。",
    "message_time_to_first_token": "从提问到收到第一段回答的时间；仅限流式消息。",
    "likes": "按评价时间统计的点赞。",
    "dislikes": "按评价时间统计的点踩。",
    "ratings": "用户与管理员的点赞和点踩。已撤回的评价不计。",
    "satisfaction": "点赞 ÷ 评价，取值 0 到 1。（Dify 自身的统计为每千条消息的点赞数。）",
}
_REQUESTS = {
    "requests": "对 Dify 的请求：旁路观测到的请求，加上旁路未观测到的运行及无运行应用的消息。",
    "request_rate": "请求数 ÷ 该时间步在区间内的秒数。",
    "request_rate_peak": "同一秒内发起的最多请求数。Dify 的时间精确到秒。",
    "failed_requests": "旁路观测到的失败请求：被拒绝、无回应、被 Dify 中断，或流中出现错误。",
    "interrupted_requests": "回答结束前调用方已离开的请求。",
    "request_failure_ratio": "失败请求 ÷ 请求，均以旁路观测为准，取值 0 到 1。",
    "request_duration": "旁路测得的从请求到最后一个字节的时间。",
    "request_time_to_first_token": "旁路测得的从请求到第一段回答的时间。",
}
_PULLS = {
    "pulls": "对某应用某数据流的采集次数。",
    "pull_failures": "以错误结束的采集；下一次从上次完整采集处继续。",
    "pull_seconds": "采集耗时之和。",
    "pull_duration": "单次采集的耗时。",
    "pull_requests": "采集向 Dify 发出的请求数。",
    "pull_records": "采集读到的记录数，含已知记录。",
    "parse_failures": "无法读取的记录；其他各项数字均不含它们。",
    "last_complete_pull": "最近一次到达水位线的采集的开始时间。",
    "complete_until": "在此时刻之前于 Dify 产生的一切均已入库（所有数据流）；为当前值，与统计区间无关。",
}
_DIFY = {
    "dify_messages": "Dify 的 daily-messages：除调试外的每条消息，含失败和空消息。",
    "dify_conversations": "Dify 的 daily-conversations：会话在有消息的每一天各计一次。",
    "dify_end_users": "Dify 的 daily-end-users：有消息的终端用户；控制台账号不计。",
    "dify_tokens": "Dify 的 token-costs：写在消息上的 Token。对话流的 Token 与其运行重复。",
    "dify_cost": "Dify 的 token-costs：各币种价格直接相加并称为美元。控制台接口只告知对话流消息的价格。",
    "dify_session_interactions": "Dify 的 average-session-interactions（聊天、Agent、"
    "对话流应用）：按会话开始之日统计的每会话累计消息数。",
    "dify_satisfaction": "Dify 的 user-satisfaction-rate：每千条消息的点赞数；双方都点赞的消息计两次。",
    "dify_response_time_ms": "Dify 的 average-response-time（文本生成应用）：失败消息按 0 毫秒计。",
    "dify_tokens_per_second": "Dify 的 tokens-per-second：回答 Token ÷ 回答的全部时间，含思考与等待。",
    "dify_runs": "Dify 的工作流 daily-conversations：各种状态的运行，触发器发起的除外。",
    "dify_run_users": "Dify 的工作流 daily-terminals：发起过运行的终端用户和账号。",
    "dify_run_tokens": "Dify 的工作流 token-costs：写在运行上的总数；"
    "被当作工具调用的运行在调用方处会再计一次。Dify 以文本返回该数。",
    "dify_app_interactions": "Dify 的 average-app-interactions（工作流应用）：当日每用户的运行次数。",
}
_LOOK = "取每个时间步内最后一次观测；各知识库可相加，各日不可相加。"
_SAMPLE = "取每个时间步内最后一次采样；各队列可相加，各次采样不可相加。"
_KNOWLEDGE = {
    "knowledge_documents": f"知识库中的文档。{_LOOK}",
    "knowledge_available_documents": f"已索引、已启用且未归档的文档。{_LOOK}",
    "knowledge_waiting_documents": f"尚未被处理的文档。{_LOOK}",
    "knowledge_indexing_documents": f"正在解析、清洗、分段或索引的文档。{_LOOK}",
    "knowledge_failed_documents": f"索引失败的文档。{_LOOK}",
    "knowledge_segments": f"文档切分出的分段。{_LOOK}",
    "knowledge_characters": f"Dify 称为字数的文档字符数。{_LOOK}",
    "knowledge_tokens": f"文档向量化所用的 Token；不属于任何模型调用。{_LOOK}",
    "knowledge_apps": f"使用知识库的应用；使用两个知识库的应用计两次。{_LOOK}",
    "knowledge_hits": f"检索命中的分段次数；随分段存续而增长。{_LOOK}",
    "retrievals": "对知识库的检索；同时检索三个知识库计三次。",
    "datasets": "现存的知识库；为当前值，与统计区间无关。",
    "models": "已配置且可用的模型；为当前值，与统计区间无关。",
    "api_keys": "应用现有的密钥；为当前值，与统计区间无关。",
    "queue_messages": f"等待中或执行中的任务。{_SAMPLE}",
    "queue_ready": f"尚无工作进程领取的任务。{_SAMPLE}",
    "queue_unacked": f"已被领取但尚未完成的任务。{_SAMPLE}",
    "queue_workspaces": f"等待列表中的工作空间。{_SAMPLE}",
    "queue_oldest_message": f"队首任务至少从何时起在等待。{_SAMPLE}",
    "queue_oldest_taken": f"执行时间最长的任务的领取时间。{_SAMPLE}",
}
_DIMENSIONS = {
    "app_id": "Dify 的应用 ID。",
    "app_name": "应用当前的名称；名称可能更改或重复，ID 不会。",
    "app_mode": "workflow、advanced-chat、chat、completion 或 agent-chat。",
    "app_tag": "应用当前的标签。有两个标签的应用在两处都计，因此各标签之和大于总数。",
    "is_published": "应用当前是否可供他人使用；未告知为空。",
    "is_deleted": "应用现已从 Dify 中删除。",
    "workspace_id": "Dify 的工作空间（租户）ID。",
    "origin": "设置中给该 Dify 实例起的名称；有名称之前采集的为空。",
    "source": "数据由谁告知：console、database、tap、file 或 broker。",
    "stream": "采集读取的记录种类：runs、messages、feedback 等。",
    "model_provider": "模型供应商，形如 组织/插件/名称。",
    "model_name": "模型名称；Dify 未告知时为空。",
    "node_type": "工作流节点的种类；无节点应用的调用为 `message`。",
    "status": "succeeded、failed、stopped、partial-succeeded；未结束：running、paused、open；无从得知：stale。",
    "triggered_from": "运行由什么发起：app-run、webhook、schedule、plugin、debugging。",
    "invoke_from": "消息的来源：service-api、web-app、explore、trigger、debugger。",
    "error_class": "失败的种类，取自固定列表；未失败为空。",
    "charge_kind": "input、cached_input、output、reasoning_output、request、image；知识库为 stored_documents 等；"
    "tokens：仅知总数；reported：按 Dify 自身的价格计。",
    "corrects": "被更正的已关账月份；空为当月用量。",
    "currency": "费用币种，由 Dify 或价目表给出。不同币种从不相加。",
    "run_id": "Dify 的工作流运行 ID。",
    "route": "请求的路径模板，不含 ID。",
    "status_code": "Dify 回应的状态码；无回应为空。",
    "interrupted_by": "client 或 upstream；正常结束为空。",
    "is_debug": "控制台调试；未特别要求时不计入任何结果。",
    "is_estimate": "节点未告知用量时，代表该次运行全部调用的估算。",
    "is_vision": "提示词中含图片，未告知为空；对模型而言：可接收图片。",
    "modality": "提示词含图片为 vision，不含为 text；未告知为空。",
    "model_kind": "llm、text-embedding、rerank、speech2text、tts 或 moderation。",
    "user_id": "Dify 的终端用户或账号 ID。同一人在每个应用有各自的终端用户 ID。",
    "user_kind": "end_user（终端用户）或 account（控制台账号）。",
    "session_id": "接口调用方以 `user` 传入的标识。",
    "user_name": "账号的名称；终端用户则为接口调用方以 `user` 传入的标识。",
    "key_fingerprint": "应用密钥 SHA-256 的前 16 位十六进制；密钥本身不存储。运行、"
    "消息和调用取旁路观测到的发起请求的密钥；未观测到为空。",
    "conversation_id": "Dify 的会话 ID。",
    "rating": "like（赞）或 dislike（踩）。",
    "from_source": "user（用户）或 admin（管理员）。",
    "person": "按付费文件在该时刻的说明，由谁使用；未说明为空。",
    "department": "按付费文件在该时刻的说明，由哪个部门付费；未说明为空。",
    "cost_centre": "按付费文件在该时刻的说明，计入哪个成本中心；未说明为空。",
    "dataset_id": "Dify 的知识库 ID。",
    "dataset_name": "知识库当前的名称。",
    "indexing_technique": "high_quality（向量模型）或 economy（关键词）。",
    "retrieved_from": "谁检索了知识库：app（应用）或 hit_testing（控制台命中测试）。",
    "queue": "Celery 队列，或 Dify 的工作空间等待列表；不属于 Dify 的为 `_OTHER`。",
    "queue_name": "队列在消息代理中的名称，不属于 Dify 的也包括。",
    "queue_kind": "served、unserved（没有默认工作进程处理）、workspace 或 other。",
    "broker": "我们给消息代理起的名称。",
    "event_type": "门户中发生的事件，名称取自其 CloudEvents 的 type。",
    "event_source": "由哪个程序上报：CloudEvent 的 `source`。",
    "value_name": "事件数据中的哪个数值：行数、文件数、字节数等。不同数值从不相加。",
}

_EVENTS = {
    "portal_events": "在 Dify 之前的门户中发生的事件：复制、下载、采纳等，由门户上报。",
    "portal_users": "有门户事件的不同用户。",
    "portal_value": "门户事件所带数值之和，各名称分开统计。",
    "portal_values": "门户事件所带数值的个数；按 `value_name` 即有多少事件带有该数值。",
    "portal_value_mean": "门户事件数值之和 ÷ 带有该数值的事件数，各名称分开统计。",
}

_HELP: Mapping[str, str] = {
    **_APPS,
    **_RUNS,
    **_CALLS,
    **_MESSAGES,
    **_REQUESTS,
    **_PULLS,
    **_DIFY,
    **_KNOWLEDGE,
    **_EVENTS,
    **_DIMENSIONS,
}


_FLAGS = {
    "stale": "超过允许时长仍未结束、且结果无从得知的记录。",
    "runs_missing": "Dify 计数多于列表所示的应用的运行：同一时刻创建的运行无法全部列出。",
    "estimated": "因节点未报告用量，以一条估算代表整次运行全部调用的记录。",
    "debug_unknown": "来自 Dify 控制台、其 API 未说明是否为调试的对话，均已计入；Dify 数据库可以判断，"
    "对账会指出 Dify 自身的口径。",
    "usage_unknown": "无人报告 Token 数的调用；它们未计入合计，而不是按零计算。",
    "unrated": "账单中没有金额的明细，因为价目表没有给出价格。",
    "unpriced": "消耗了 Token、但 Dify 没有单价或单价为零的调用。",
    "iterations_missing": "Dify 0.12 及更早版本未将迭代内的模型消耗计入运行总量。以模型调用之和为准。",
    "iterations_exploded": "Dify 0.15 在并行迭代的每一轮重复累加之前各轮的总量。以模型调用之和为准。",
    "chatflow_zero": "Dify 1.9.1 未在对话流的运行与消息中写入 Token。以模型调用之和为准。",
    "containers_twice": "Dify 1.9.2 在循环或迭代内的调用之外，又将其合计加入运行总量。以模型调用之和为准。",
    "chatflow_usage_lost": "部分环境下 Dify 1.11.1 未在对话流的运行与消息中写入 Token。以模型调用之和为准。",
    "last_call_only": "Dify 0.6 与 0.7 仅将最后一次模型调用的用量写入对话流消息。以模型调用之和为准。",
}


def help_zh(entry: Measure | Dimension | Flag) -> str | None:
    """The Chinese definition; None where nobody has written one."""
    if isinstance(entry, Flag):
        return _FLAGS.get(entry.name)
    if isinstance(entry, Measure) and entry.currency:
        return _HELP.get(entry.name.rpartition("_")[0])
    return _HELP.get(entry.family or entry.name if isinstance(entry, Measure) else entry.name)
