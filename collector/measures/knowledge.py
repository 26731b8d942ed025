"""Measures of knowledge and of what a workspace has set up: knowledge bases, retrievals, models, keys.

What a knowledge base holds is looked at again and again: the last look of a step counts, and looks at different
knowledge bases are added. Each UTC day keeps its last look, so steps shorter than a day have nothing but at midnight.
"""

from __future__ import annotations

from collector.measures.measure import Kind, Measure, count, snapshot
from collector.records import ApiKey, Dataset, DatasetDay, Model, Retrieval

_LOOK = "As of the last look in each step; knowledge bases add up, days do not."


def _held(name: str, column: str, unit: str, title: str, title_zh: str, what: str) -> Measure:
    return snapshot(
        f"knowledge_{name}",
        DatasetDay,
        column,
        key="dataset_id",
        unit=unit,
        title=title,
        title_zh=title_zh,
        help=f"{what} {_LOOK}",
    )


def _existing(name: str, record: type[Dataset | Model | ApiKey], where: str, title: str, zh: str, help: str) -> Measure:
    return Measure(
        name=name,
        kind=Kind.COUNT,
        record=record,
        where=where,
        at=None,
        unit=name.replace("_", " "),
        title=title,
        title_zh=zh,
        help=f"{help}; of now, whatever the period.",
    )


HELD = (
    _held("documents", "documents", "documents", "Documents", "文档数", "Documents in knowledge bases."),
    _held(
        "available_documents",
        "available_documents",
        "documents",
        "Documents available",
        "可用文档数",
        "Documents that are indexed, enabled and not archived.",
    ),
    _held(
        "waiting_documents",
        "waiting_documents",
        "documents",
        "Documents waiting",
        "等待索引的文档数",
        "Documents that no worker has taken up yet.",
    ),
    _held(
        "indexing_documents",
        "indexing_documents",
        "documents",
        "Documents being indexed",
        "索引中的文档数",
        "Documents being parsed, cleaned, split or indexed.",
    ),
    _held(
        "failed_documents",
        "failed_documents",
        "documents",
        "Documents failed",
        "索引失败的文档数",
        "Documents whose indexing failed.",
    ),
    _held("segments", "segments", "segments", "Segments", "分段数", "Pieces that documents were split into."),
    _held(
        "characters", "words", "characters", "Characters", "字符数", "What Dify calls words: characters of documents."
    ),
    _held(
        "tokens",
        "tokens",
        "tokens",
        "Tokens indexed",
        "索引 Token 数",
        "Tokens that embedding the documents took; they are in no model call.",
    ),
    _held(
        "apps", "apps", "apps", "Apps", "关联应用数", "Apps that use a knowledge base; one that uses two counts twice."
    ),
    _held("hits", "hits", "hits", "Hits", "命中次数", "Segments found by retrievals; grows while the segments live."),
)
RETRIEVALS = count(
    "retrievals",
    Retrieval,
    unit="retrievals",
    title="Retrievals",
    title_zh="检索次数",
    help="Questions put to a knowledge base; one that goes to three knowledge bases counts three times.",
)
DATASETS = _existing(
    "datasets", Dataset, "deleted_at IS NULL", "Knowledge bases", "知识库数", "Knowledge bases there are"
)
MODELS = _existing(
    "models", Model, "coalesce(status, 'active') = 'active'", "Models", "模型数", "Models that are set up and ready"
)
KEYS = _existing("api_keys", ApiKey, "deleted_at IS NULL", "API keys", "API 密钥数", "Keys of apps there are")

MEASURES = (*HELD, RETRIEVALS, DATASETS, MODELS, KEYS)
