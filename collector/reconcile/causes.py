"""Why two totals differ: every known cause with its words in English and Chinese.

What comes in is the table of quirks; what goes out are causes by name: Dify's quirks, what is not known yet, what Dify
has forgotten, and `unexplained`. Nothing here counts.
"""

from __future__ import annotations

from dataclasses import dataclass

from collector.quirks import QUIRKS, Effect

TRIGGER_LEFT_OUT, ORIGIN_UNKNOWN = "trigger_left_out", "origin_unknown"
LATE, OPEN, UNREAD = "late", "open", "calls_unread"
ESTIMATED, UNTOLD = "estimated", "node_total_untold"
MESSAGE_MISSING, COMPLETIONS_UNREAD = "message_missing", "completions_unread"
CONSOLE_TEST, DEBUG_UNKNOWN = "console_test", "debug_unknown"
PRICE_UNTOLD, UNPRICED_CALLS, ROUNDED = "price_untold", "unpriced_calls", "rounded"
USER_UNKNOWN = "user_unknown"
CLEANED, APP_DELETED = "cleaned_history", "app_deleted"
UNEXPLAINED = "unexplained"


@dataclass(frozen=True)
class Cause:
    """One reason, what to believe instead, and Dify's `issues` about it. `is_settled`: nothing is left to look into."""

    name: str
    title: str
    title_zh: str
    help: str
    help_zh: str
    issues: tuple[int, ...] = ()
    believe: str = "our tokens"
    believe_zh: str = "本系统的 Token"
    is_settled: bool = True


_OWN = (
    Cause(
        LATE,
        "Not complete yet",
        "尚未完整",
        "The day is not over, or not everything of it was read on both sides; it settles with later pulls.",
        "当天未结束，或两侧数据尚未全部读取；后续采集后会补齐。",
        believe="neither, until the day is complete",
        believe_zh="当天完整之前均不可信",
    ),
    Cause(
        OPEN,
        "Still running",
        "仍在运行",
        "It had not ended when it was last read: Dify writes its total at the end.",
        "最近一次读取时尚未结束：Dify 在结束时才写入总量。",
        believe="neither, until it has ended",
        believe_zh="结束之前均不可信",
    ),
    Cause(
        UNREAD,
        "Calls not read yet",
        "调用明细尚未读取",
        "The node executions of these runs are still to be read, so their calls are not known.",
        "这些运行的节点执行尚未读取，其模型调用未知。",
        believe="Dify's total, until the calls are read",
        believe_zh="调用读取之前以 Dify 总量为准",
    ),
    Cause(
        ESTIMATED,
        "Estimated calls",
        "估算的调用",
        "These calls stand for those of a run whose nodes told no usage; no node repeats them.",
        "这些调用代表节点未给出用量的运行，没有节点记录它们。",
    ),
    Cause(
        UNTOLD,
        "Node without a total",
        "节点无总量",
        "The node tells its usage in another place than its total (versions differ in where).",
        "节点的用量记录在总量以外的位置（各版本不同）。",
    ),
    Cause(
        MESSAGE_MISSING,
        "Message gone",
        "消息不存在",
        "The run has no message: its conversation was deleted or cleaned away, and the run stayed.",
        "该运行没有对应消息：会话已删除或被清理，运行仍保留。",
    ),
    Cause(
        COMPLETIONS_UNREAD,
        "Completions not read",
        "补全消息未读取",
        "Messages of completion apps are read only where read_completions says so: Dify marks them as read by that.",
        "仅在开启 read_completions 时读取文本生成应用的消息，因为读取会在 Dify 中将其标为已读。",
        believe="Dify's statistic",
        believe_zh="Dify 的统计",
    ),
    Cause(
        CONSOLE_TEST,
        "Test chats of the console",
        "控制台调试会话",
        "Chats from the console whose origin the API hides; Dify counts none of that day's, so they were tests.",
        "接口未说明来源的控制台会话；Dify 当天一条都未计入，因此它们是调试。",
    ),
    Cause(
        DEBUG_UNKNOWN,
        "Test or real is not known",
        "无法判断是否调试",
        "Chats from the console whose origin the API hides; Dify counts some of that day's, and not which.",
        "接口未说明来源的控制台会话；Dify 当天只计入其中一部分，无法判断是哪些。",
        believe="neither to the last token",
        believe_zh="均不完全准确",
        is_settled=False,
    ),
    Cause(
        PRICE_UNTOLD,
        "Price not told",
        "价格未提供",
        "The console API tells no prices of chat, agent and completion messages; Dify's database and the tap do.",
        "控制台接口不提供聊天、智能体与文本生成消息的价格；Dify 数据库与旁路采集提供。",
        believe="Dify's statistic",
        believe_zh="Dify 的统计",
    ),
    Cause(
        UNPRICED_CALLS,
        "Calls without a price",
        "调用缺少价格",
        "Dify has a price for the message and none for some of its calls: they are estimates, or totals only.",
        "Dify 有消息价格，但部分调用没有：它们是估算或仅有总量。",
        believe="Dify's total",
        believe_zh="Dify 总量",
    ),
    Cause(
        ROUNDED,
        "Rounded",
        "四舍五入",
        "Dify keeps the price of a message to seven decimals.",
        "Dify 的消息价格保留七位小数。",
    ),
    Cause(
        USER_UNKNOWN,
        "User not told",
        "用户未提供",
        "Dify's run list does not say who ran it, and neither an app log nor a message names them.",
        "Dify 的运行列表不含用户，日志与消息中也没有。",
        believe="Dify's statistic",
        believe_zh="Dify 的统计",
    ),
    Cause(
        CLEANED,
        "Cleaned away in Dify",
        "Dify 已清理",
        "Dify had deleted its history of this day when its statistics were read; ours is kept.",
        "读取统计时 Dify 已删除当天历史；本系统仍保留。",
    ),
    Cause(
        APP_DELETED,
        "App deleted",
        "应用已删除",
        "The app is gone from Dify, and its requests with it.",
        "应用已从 Dify 删除，其请求记录随之消失。",
    ),
    Cause(
        UNEXPLAINED,
        "Unexplained",
        "原因不明",
        "No known cause makes up for this difference; somebody should look into it.",
        "没有已知原因能解释该差异，需要人工核查。",
        believe="neither, until somebody has looked",
        believe_zh="核查之前均不可信",
        is_settled=False,
    ),
)

CAUSES: dict[str, Cause] = {
    cause.name: cause
    for cause in (
        *(
            Cause(
                quirk.name,
                quirk.title,
                quirk.title_zh,
                quirk.cause,
                quirk.cause_zh,
                quirk.issues,
                quirk.believe,
                quirk.believe_zh,
            )
            for quirk in QUIRKS
            if quirk.effect is not Effect.RENAMED
        ),
        *_OWN,
    )
}
"""Every cause by its name."""
