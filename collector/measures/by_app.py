"""Dimensions of where something happened: app, workspace, Dify, and who told us."""

from __future__ import annotations

from collector.bill_lines import RatedLine
from collector.measures.dimension import Dimension, same
from collector.measures.fragments import Facts
from collector.measures.joins import APP_JOINS, APP_TAGS, DATASET_JOINS, OF_APPS, TAG_JOINS
from collector.records import App, Dataset, DatasetDay, Model, Pull, QueueSample, Retrieval, Watermark


def _workspace(facts: Facts) -> str:
    return "app.workspace_id" if facts in (Pull, Watermark) else "coalesce(workspace_id, app.workspace_id)"


APP_ID = Dimension(
    name="app_id",
    title="App id",
    title_zh="应用 ID",
    help="Dify's id of the app.",
    columns={
        **same("app_id", *(facts for facts in OF_APPS if facts is not Watermark)),
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
    columns={**same("app.name", *OF_APPS), App: "name"},
    joins=APP_JOINS,
)
APP_MODE = Dimension(
    name="app_mode",
    title="App mode",
    title_zh="应用类型",
    help="workflow, advanced-chat, chat, completion or agent-chat.",
    columns={**same("app.mode", *OF_APPS), App: "mode"},
    joins=APP_JOINS,
    is_label=True,
)
APP_TAG = Dimension(
    name="app_tag",
    title="App tag",
    title_zh="应用标签",
    help="A tag of the app as it is now. An app with two tags counts under both, so tags sum to more than the whole.",
    columns=same("app_tag.value", *APP_TAGS.owners),
    joins=TAG_JOINS,
    members=APP_TAGS,
)
IS_PUBLISHED = Dimension(
    name="is_published",
    title="Published",
    title_zh="已发布",
    help="The app can be used by others, as it is now; null when not told.",
    columns={App: "is_published"},
    kind=bool,
)
IS_DELETED = Dimension(
    name="is_deleted",
    title="Deleted",
    title_zh="已删除",
    help="The app is gone from Dify by now.",
    columns={**same("(app.deleted_at IS NOT NULL)", *OF_APPS), App: "(deleted_at IS NOT NULL)"},
    joins=APP_JOINS,
    kind=bool,
)
WORKSPACE_ID = Dimension(
    name="workspace_id",
    title="Workspace id",
    title_zh="工作空间 ID",
    help="Dify's id of the workspace (tenant).",
    columns={
        **{facts: _workspace(facts) for facts in OF_APPS},
        **same("workspace_id", App, Dataset, DatasetDay, Model),
    },
    joins=APP_JOINS,
    is_label=True,
)
ORIGIN = Dimension(
    name="origin",
    title="Dify",
    title_zh="Dify 实例",
    help="Our name for the Dify it happened in, as the settings say; null for what was read before there were names.",
    columns={
        **same("app.origin", *(facts for facts in OF_APPS if facts not in (Pull, RatedLine, Retrieval, Watermark))),
        **same("dataset.origin", DatasetDay, Retrieval),
        RatedLine: "coalesce(app.origin, dataset.origin)",
        **same("origin", App, Dataset, Pull),
        Watermark: "coalesce(nullif(origin, ''), app.origin)",
    },
    joins={
        **{facts: joins for facts, joins in (APP_JOINS | DATASET_JOINS).items() if facts is not Pull},
        RatedLine: (*APP_JOINS[RatedLine], *DATASET_JOINS[RatedLine]),
    },
    is_label=True,
)
SOURCE = Dimension(
    name="source",
    title="Source",
    title_zh="数据来源",
    help="Who told us: console, database, tap, file, broker or portal.",
    columns=same(
        "source", *(facts for facts in OF_APPS if facts is not RatedLine), App, Dataset, DatasetDay, Model, QueueSample
    ),
    is_label=True,
)
STREAM = Dimension(
    name="stream",
    title="Stream",
    title_zh="数据流",
    help="Kind of record a pull reads: runs, messages, feedback, ...",
    columns=same("stream", Pull, Watermark),
    is_label=True,
)

DIMENSIONS = (
    APP_ID,
    APP_NAME,
    APP_MODE,
    APP_TAG,
    IS_PUBLISHED,
    IS_DELETED,
    WORKSPACE_ID,
    ORIGIN,
    SOURCE,
    STREAM,
)
