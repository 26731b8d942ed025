"""Dimensions of knowledge bases and of Dify's task queues."""

from __future__ import annotations

from collector.bill_lines import RatedLine
from collector.measures.dimension import Dimension, same
from collector.measures.joins import DATASET_JOINS
from collector.records import Dataset, DatasetDay, QueueSample, Retrieval

DATASET_ID = Dimension(
    name="dataset_id",
    title="Knowledge base id",
    title_zh="知识库 ID",
    help="Dify's id of the knowledge base.",
    columns={**same("dataset_id", DatasetDay, Retrieval, RatedLine), Dataset: "id"},
    is_label=True,
)
DATASET_NAME = Dimension(
    name="dataset_name",
    title="Knowledge base",
    title_zh="知识库",
    help="The knowledge base's name as it is now.",
    columns={**same("dataset.name", DatasetDay, Retrieval, RatedLine), Dataset: "name"},
    joins=DATASET_JOINS,
)
INDEXING_TECHNIQUE = Dimension(
    name="indexing_technique",
    title="Indexing",
    title_zh="索引方式",
    help="high_quality (by an embedding model) or economy (by keywords).",
    columns={**same("dataset.indexing_technique", DatasetDay, Retrieval, RatedLine), Dataset: "indexing_technique"},
    joins=DATASET_JOINS,
)
RETRIEVED_FROM = Dimension(
    name="retrieved_from",
    title="Retrieved from",
    title_zh="检索来源",
    help="Who asked the knowledge base: app, or hit_testing in the console.",
    columns={Retrieval: "origin"},
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

DIMENSIONS = (
    DATASET_ID,
    DATASET_NAME,
    INDEXING_TECHNIQUE,
    RETRIEVED_FROM,
    QUEUE,
    QUEUE_NAME,
    QUEUE_KIND,
    BROKER,
)
