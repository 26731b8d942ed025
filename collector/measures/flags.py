"""Flags: what a reader of an answer should know about the facts behind it. Plain data; nothing here runs a query."""

from __future__ import annotations

from dataclasses import dataclass

from collector.measures.fragments import Facts, qualify
from collector.records import Message, ModelCall, Run


@dataclass(frozen=True, kw_only=True, eq=False)
class Flag:
    """Something a reader should know about an answer: how many of its rows are `where`.

    `versions`: only rows that were made by a Dify from the first to the last of these (as numbers) can be.
    """

    name: str
    record: Facts
    where: str
    title: str
    title_zh: str
    help: str
    versions: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "where", qualify(self.where, self.record))


ESTIMATED = Flag(
    name="estimated",
    record=ModelCall,
    where="is_estimate",
    title="Estimated calls",
    title_zh="估算的调用",
    help="Calls that stand for all calls of a run, because its nodes told no usage.",
)
USAGE_UNKNOWN = Flag(
    name="usage_unknown",
    record=ModelCall,
    where="tokens IS NULL",
    title="Calls without usage",
    title_zh="用量未知的调用",
    help="Calls whose tokens nobody told; they are missing from the sum, not counted as zero.",
)
UNPRICED = Flag(
    name="unpriced",
    record=ModelCall,
    where="tokens > 0 AND coalesce(cost, 0) = 0",
    title="Calls without a price",
    title_zh="未定价的调用",
    help="Calls that spent tokens for which Dify has no price, or a price of zero.",
)
STALE_RUNS = Flag(
    name="stale",
    record=Run,
    where="status = 'stale'",
    title="Stale",
    title_zh="长期未结束",
    help="Facts that stayed open longer than they may, and whose end is not known.",
)
STALE_MESSAGES = Flag(
    name="stale",
    record=Message,
    where="status = 'stale'",
    title=STALE_RUNS.title,
    title_zh=STALE_RUNS.title_zh,
    help=STALE_RUNS.help,
)
DEBUG_UNKNOWN_MESSAGES = Flag(
    name="debug_unknown",
    record=Message,
    where="is_debug IS NULL",
    title="Test or not is not known",
    title_zh="无法判断是否调试",
    help="Chats from Dify's console, of which its API does not say whether they were tests; they are counted. Dify's "
    "database knows, and reconciliation tells where Dify's own count settles it.",
)
DEBUG_UNKNOWN_CALLS = Flag(
    name="debug_unknown",
    record=ModelCall,
    where="is_debug IS NULL",
    title=DEBUG_UNKNOWN_MESSAGES.title,
    title_zh=DEBUG_UNKNOWN_MESSAGES.title_zh,
    help=DEBUG_UNKNOWN_MESSAGES.help,
)
RUNS_MISSING = Flag(
    name="runs_missing",
    record=Run,
    where="run.app_id IN (SELECT app.id FROM app WHERE app.missing_runs > 0)",
    title="Runs missing",
    title_zh="缺少运行记录",
    help="Runs of apps of which Dify counts more runs than it lists: runs created at one instant cannot all be listed.",
)
