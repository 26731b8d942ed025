"""Knowledge bases: what is in them, who asks them, what waits to be indexed. A table and nothing else."""

from __future__ import annotations

from collector.faces.grafana.panel import IN_EVENT_TIME, UNWANTED, Asked, Board, Live, Panel, stat
from collector.faces.promql import OF_DATASET, biggest, grown, grown_in_all, leading, rate, selected, summed

_OF = (("workspace_id", "workspace"), ("dataset_id", "dataset"))
_OTHERS = (
    "Knowledge bases beyond those that have a series of their own are `_OTHER`.",
    "没有单独序列的知识库合并为 `_OTHER`。",
)

KNOWLEDGE = Board(
    name="knowledge",
    title=("Dify: knowledge", "Dify：知识库"),
    about=(
        "What is in the knowledge bases and who asks them. Written by `dify-metric generate`; change it there.",
        "知识库的内容与检索情况。由 `dify-metric generate` 生成，请在其中修改。",
    ),
    since="now-7d",
    refresh="5m",
    rows=(
        (
            ("Now", "当前"),
            (
                stat(
                    ("Documents", "文档数"),
                    "short",
                    "knowledge_documents",
                    Live("", summed("dify_knowledge_documents", where=OF_DATASET)),
                ),
                stat(
                    ("Segments", "分段数"),
                    "short",
                    "knowledge_segments",
                    Live("", summed("dify_knowledge_segments", where=OF_DATASET)),
                ),
                stat(
                    ("Retrievals", "检索次数"),
                    "short",
                    "retrievals",
                    Live("", grown("dify_knowledge_retrievals_total", where=OF_DATASET)),
                    note=("In the time shown.", "所示时段内。"),
                ),
                Panel(
                    title=("Documents on their way", "处理中的文档"),
                    unit="short",
                    measure="knowledge_waiting_documents",
                    kind="stat",
                    width=12,
                    height=4,
                    thresholds=UNWANTED,
                    targets=(
                        Asked(
                            measures=(
                                *("knowledge_waiting_documents", "knowledge_indexing_documents"),
                                "knowledge_failed_documents",
                            ),
                            of=_OF,
                        ),
                    ),
                ),
            ),
        ),
        (
            ("Over time", "随时间变化"),
            (
                Panel(
                    title=("Retrievals by knowledge base", "各知识库检索次数"),
                    unit="suffix: /s",
                    measure="retrievals",
                    targets=(
                        Live(
                            "{{dataset_id}}",
                            leading(
                                10,
                                rate("dify_knowledge_retrievals_total", "dataset_id", OF_DATASET),
                                "dataset_id",
                                grown_in_all("dify_knowledge_retrievals_total", "dataset_id", OF_DATASET),
                            ),
                        ),
                    ),
                    is_stacked=True,
                    width=12,
                    note=_OTHERS,
                ),
                Panel(
                    title=("Segments by knowledge base", "各知识库分段数"),
                    unit="short",
                    measure="knowledge_segments",
                    targets=(Live("{{dataset_id}}", biggest(10, selected("dify_knowledge_segments", OF_DATASET))),),
                    width=12,
                    note=_OTHERS,
                ),
            ),
        ),
        (
            ("Metering", "计量"),
            (
                Panel(
                    title=("Knowledge bases", "知识库"),
                    unit="short",
                    kind="table",
                    width=24,
                    height=12,
                    measure="retrievals",
                    targets=(
                        Asked(
                            path="metering/datasets",
                            of=_OF,
                            shown=(
                                *("knowledge_documents", "knowledge_available_documents"),
                                *("knowledge_waiting_documents", "knowledge_failed_documents", "knowledge_segments"),
                                *("knowledge_characters", "knowledge_tokens", "knowledge_hits", "knowledge_apps"),
                                "retrievals",
                            ),
                        ),
                    ),
                    note=IN_EVENT_TIME,
                ),
            ),
        ),
    ),
)
