"""Which of Dify's totals are wrong in which versions, why, and what to believe instead: one table, plain data.

What comes in is a version and a total; what goes out are the quirks in force. Measures make their flags of it,
reconciliation its causes. Nothing here reads or counts. Issue numbers are those of langgenius/dify; where a range of
versions is known from reports only, it is the range of the reports.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

Version: TypeAlias = tuple[int, int, int]

FIRST: Version = (0, 6, 0)
"""The oldest version with workflows."""


class Total(StrEnum):
    """A number that Dify reports."""

    NODE = "node total"  # execution_metadata.total_tokens
    RUN = "run total"  # workflow_runs.total_tokens
    MESSAGE = "message total"  # messages.message_tokens + answer_tokens
    RUN_STATISTIC = "run statistic"  # /workflow/statistics/*
    MESSAGE_STATISTIC = "message statistic"  # /statistics/*
    RUN_LIST = "run list"  # /workflow-runs


class Effect(StrEnum):
    """How a quirk changes a total: what reconciliation works out the expected difference from."""

    INNER_MISSING = "inner_missing"  # what ran inside the containers is left out
    INNER_TWICE = "inner_twice"  # what ran inside the containers is counted twice
    ZERO = "zero"  # nothing is counted
    TOO_MUCH = "too_much"  # by an amount that cannot be worked out
    TOO_LITTLE = "too_little"  # by an amount that cannot be worked out
    REPEATED = "repeated"  # what other facts told is added
    LEFT_OUT = "left_out"  # some facts do not count at all
    RENAMED = "renamed"  # the number is right and says something else than it seems


ITERATION, LOOP = "iteration", "loop"
CHATFLOW, WORKFLOW = "advanced-chat", "workflow"


@dataclass(frozen=True, kw_only=True)
class Quirk:
    """One way in which a total is wrong, from `first` to `last` version (both included; None: to this day).

    `modes` and `containers` say where; empty: everywhere. `is_defect`: a fault of these versions, so that every such
    total is in doubt; otherwise it is how Dify counts, and known for each fact.
    """

    name: str
    totals: frozenset[Total]
    effect: Effect
    first: Version = FIRST
    last: Version | None = None
    modes: frozenset[str] = frozenset()
    containers: frozenset[str] = frozenset()
    is_defect: bool = False
    issues: tuple[int, ...] = ()
    title: str
    title_zh: str
    cause: str
    cause_zh: str
    believe: str
    believe_zh: str

    def holds(self, version: Version) -> bool:
        """Whether it is in force in a version."""
        return self.first <= version and (self.last is None or version <= self.last)


_CALLS, _CALLS_ZH = "the sum of the model calls", "各次模型调用之和"
_FLOW_TOTALS = frozenset({Total.RUN, Total.MESSAGE, Total.RUN_STATISTIC, Total.MESSAGE_STATISTIC})

QUIRKS: tuple[Quirk, ...] = (
    Quirk(
        name="iterations_missing",
        totals=_FLOW_TOTALS,
        effect=Effect.INNER_MISSING,
        last=(0, 12, 999),
        containers=frozenset({ITERATION}),
        is_defect=True,
        issues=(5323, 8414, 10655, 11221),
        title="Iterations missing",
        title_zh="迭代节点未计入",
        cause="Dify up to 0.12 leaves what models spend inside iterations out of the run's total.",
        cause_zh="Dify 0.12 及以前的运行总量不含迭代节点内部的模型消耗。",
        believe=_CALLS,
        believe_zh=_CALLS_ZH,
    ),
    Quirk(
        name="iterations_exploded",
        totals=_FLOW_TOTALS,
        effect=Effect.TOO_MUCH,
        first=(0, 15, 0),
        last=(0, 15, 999),
        containers=frozenset({ITERATION}),
        is_defect=True,
        issues=(12801, 14098, 15812),
        title="Parallel iterations multiplied",
        title_zh="并行迭代被重复累加",
        cause="Dify 0.15 adds the running total of all earlier rounds again for each round of a parallel iteration.",
        cause_zh="Dify 0.15 的并行迭代每一轮都会把之前各轮的累计值再加一遍。",
        believe=_CALLS,
        believe_zh=_CALLS_ZH,
    ),
    Quirk(
        name="chatflow_zero",
        totals=_FLOW_TOTALS,
        effect=Effect.ZERO,
        first=(1, 9, 1),
        last=(1, 9, 1),
        modes=frozenset({CHATFLOW}),
        is_defect=True,
        issues=(27590,),
        title="Chatflow totals are zero",
        title_zh="对话流总量为零",
        cause="Dify 1.9.1 writes no tokens into the runs and messages of chatflows.",
        cause_zh="Dify 1.9.1 的对话流运行与消息不记录 Token。",
        believe=_CALLS,
        believe_zh=_CALLS_ZH,
    ),
    Quirk(
        name="containers_twice",
        totals=_FLOW_TOTALS,
        effect=Effect.INNER_TWICE,
        first=(1, 9, 2),
        last=(1, 9, 2),
        containers=frozenset({ITERATION, LOOP}),
        is_defect=True,
        issues=(28405,),
        title="Loops and iterations counted twice",
        title_zh="循环与迭代重复计数",
        cause="Dify 1.9.2 adds the sum of a loop or iteration to the run's total beside the calls inside it.",
        cause_zh="Dify 1.9.2 把循环、迭代节点的合计与其内部调用同时计入运行总量。",
        believe=_CALLS,
        believe_zh=_CALLS_ZH,
    ),
    Quirk(
        name="chatflow_usage_lost",
        totals=_FLOW_TOTALS,
        effect=Effect.ZERO,
        first=(1, 11, 1),
        last=(1, 11, 1),
        modes=frozenset({CHATFLOW}),
        is_defect=True,
        issues=(29600,),
        title="Chatflow totals may be zero",
        title_zh="对话流总量可能为零",
        cause="On some installations Dify 1.11.1 writes no tokens into the runs and messages of chatflows.",
        cause_zh="部分 Dify 1.11.1 部署的对话流运行与消息不记录 Token。",
        believe=_CALLS,
        believe_zh=_CALLS_ZH,
    ),
    Quirk(
        name="last_call_only",
        totals=frozenset({Total.MESSAGE, Total.MESSAGE_STATISTIC}),
        effect=Effect.TOO_LITTLE,
        last=(0, 7, 999),
        modes=frozenset({CHATFLOW}),
        is_defect=True,
        title="Only the last call counted",
        title_zh="仅计最后一次调用",
        cause="Dify 0.6 and 0.7 write the usage of the last model call into a chatflow's message, not that of all.",
        cause_zh="Dify 0.6 与 0.7 的对话流消息只记录最后一次模型调用的用量。",
        believe=_CALLS,
        believe_zh=_CALLS_ZH,
    ),
    Quirk(
        name="fallback_finish",
        totals=_FLOW_TOTALS,
        effect=Effect.ZERO,
        first=(1, 14, 0),
        title="Failed run without a total",
        title_zh="失败运行无总量",
        cause="When a run breaks off, Dify from 1.14 on writes it as failed with no tokens, whatever its nodes spent.",
        cause_zh="自 1.14 起，运行异常中断时 Dify 记为失败且 Token 为零，与节点实际消耗无关。",
        believe=_CALLS,
        believe_zh=_CALLS_ZH,
    ),
    Quirk(
        name="container_repeated",
        totals=frozenset({Total.NODE}),
        effect=Effect.REPEATED,
        containers=frozenset({ITERATION, LOOP}),
        issues=(28405,),
        title="Container repeats its nodes",
        title_zh="容器节点重复内部节点",
        cause="An iteration or loop node carries the sum of the nodes inside it, which are listed too.",
        cause_zh="迭代、循环节点带有其内部节点的合计，而内部节点也单独列出。",
        believe="the nodes that call a model",
        believe_zh="实际调用模型的节点",
    ),
    Quirk(
        name="tool_repeated",
        totals=frozenset({Total.NODE, *_FLOW_TOTALS}),
        effect=Effect.REPEATED,
        first=(1, 10, 0),
        issues=(22717, 22970, 27020),
        title="Workflow as a tool counted again",
        title_zh="工作流工具重复计数",
        cause="A workflow used as a tool is a run of its own, and its tokens are added to its caller's total again.",
        cause_zh="作为工具调用的工作流自身是一次运行，其 Token 又被加进调用方的总量。",
        believe="each run's own model calls",
        believe_zh="各运行自身的模型调用",
    ),
    Quirk(
        name="stopped_run",
        totals=_FLOW_TOTALS,
        effect=Effect.ZERO,
        title="Stopped or cut off",
        title_zh="被中止",
        cause="A run or answer that somebody stopped keeps no tokens, and often stays running in Dify for ever.",
        cause_zh="被中止的运行或回答不记录 Token，且在 Dify 中常一直显示为运行中。",
        believe="the calls that had ended by then",
        believe_zh="中止前已完成的调用",
    ),
    Quirk(
        name="empty_message",
        totals=frozenset({Total.MESSAGE, Total.MESSAGE_STATISTIC}),
        effect=Effect.ZERO,
        issues=(20796, 40752),
        title="Abandoned message",
        title_zh="未完成的消息",
        cause="The caller went away in mid-stream: the message stays empty though its run went on and spent tokens.",
        cause_zh="调用方中途断开：消息保持为空，而其运行继续执行并消耗 Token。",
        believe="the calls of the message's run",
        believe_zh="该消息对应运行的调用",
    ),
    Quirk(
        name="failed_message",
        totals=frozenset({Total.MESSAGE, Total.MESSAGE_STATISTIC}),
        effect=Effect.ZERO,
        title="Failed message",
        title_zh="失败的消息",
        cause="A message that ended in an error keeps no tokens, whatever was spent before the error.",
        cause_zh="出错的消息不记录 Token，与出错前的实际消耗无关。",
        believe="the calls of the message's run",
        believe_zh="该消息对应运行的调用",
    ),
    Quirk(
        name="trigger_left_out",
        totals=frozenset({Total.RUN_STATISTIC, Total.RUN_LIST}),
        effect=Effect.LEFT_OUT,
        first=(1, 10, 0),
        title="Triggered runs left out",
        title_zh="触发器运行未统计",
        cause="Runs started by webhooks, schedules and plugins are in no statistic and no run list of Dify.",
        cause_zh="由 Webhook、定时与插件触发的运行不在 Dify 的任何统计与运行列表中。",
        believe="the app log",
        believe_zh="应用日志",
    ),
    Quirk(
        name="origin_unknown",
        totals=frozenset({Total.MESSAGE_STATISTIC}),
        effect=Effect.LEFT_OUT,
        title="Messages without an origin left out",
        title_zh="来源缺失的消息未统计",
        cause="Messages of old versions have no invoke_from, and Dify's statistics drop them.",
        cause_zh="旧版本的消息没有 invoke_from，Dify 的统计会丢弃它们。",
        believe="all messages that are no tests",
        believe_zh="所有非调试消息",
    ),
    Quirk(
        name="list_of_tests",
        totals=frozenset({Total.RUN_LIST}),
        effect=Effect.LEFT_OUT,
        last=(1, 9, 999),
        title="Only test runs listed",
        title_zh="仅列出调试运行",
        cause="Before 1.10 the list of runs shows test runs of the editor only.",
        cause_zh="1.10 之前的运行列表只显示编辑器中的调试运行。",
        believe="the app log, and the runs that messages name",
        believe_zh="应用日志及消息所指的运行",
    ),
    Quirk(
        name="called_usd",
        totals=frozenset({Total.MESSAGE_STATISTIC}),
        effect=Effect.RENAMED,
        title="Currencies added as USD",
        title_zh="不同币种相加并标为 USD",
        cause="Dify's cost statistic adds prices of all currencies and calls the sum USD.",
        cause_zh="Dify 的费用统计把各币种金额直接相加并标为 USD。",
        believe="the cost of the calls, by currency",
        believe_zh="按币种统计的调用费用",
    ),
)


def quirks(version: Version, total: Total) -> Iterator[Quirk]:
    """What is wrong with a total in a version."""
    return (quirk for quirk in QUIRKS if total in quirk.totals and quirk.holds(version))


def quirk(name: str) -> Quirk:
    """The quirk of that name. Raises KeyError."""
    return _BY_NAME[name]


def number(version: Version) -> int:
    """A version as a number that compares: 1.11.1 -> 1_011_001."""
    major, minor, patch = (min(part, 999) for part in version)
    return (major * 1000 + minor) * 1000 + patch


def version_of(number: int) -> Version:
    """The version that a number stands for."""
    return number // 1_000_000, number // 1000 % 1000, number % 1000


_BY_NAME = {each.name: each for each in QUIRKS}
