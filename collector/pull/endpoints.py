"""The table of console endpoints we read: where, with which parameters, paged how, and what their items become.

Nothing here asks: `walk.py` follows the pages, `reader.py` puts both together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from functools import partial
from typing import TypeAlias

from collector.fields import Json
from collector.ledger import Telling
from collector.pull.knowledge import dataset_fact, retrieval_fact
from collector.pull.parse import CHATFLOW, app_fact, conversation_facts, log_facts, run_facts
from collector.pull.workspace import KINDS, key_facts, member_facts, model_facts
from collector.records import Record

Parse: TypeAlias = Callable[[Json, Telling], list[Record]]


class Paging(Enum):
    """How an endpoint gives more than one page."""

    NUMBERED = "page, limit"
    CURSOR = "last_id"
    WHOLE = "one answer"


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One listing. `every` is how often it is read (None: in each pass), `items` the field its answer has them in.
    `sorted_by` is the instant its newest-first order goes by; `filtered_by` the parameter, where there
    is one, that leaves out what is older, `ended_by` the one that leaves out what is younger."""

    stream: str
    path: str
    paging: Paging
    parse: Parse
    params: Mapping[str, str] = field(default_factory=dict)
    sorted_by: str = "created_at"
    filtered_by: str | None = None
    ended_by: str | None = None
    every: timedelta | None = None
    items: str = "data"


def _app_runs(stream: str, path: str, triggered_from: str) -> Endpoint:
    return Endpoint(
        stream=stream,
        path=path,
        params={"triggered_from": triggered_from},  # Dify's default lists test runs only
        paging=Paging.CURSOR,
        parse=partial(run_facts, triggered_from=triggered_from),
    )


APPS = Endpoint(
    stream="apps",
    path="/apps",
    paging=Paging.NUMBERED,
    parse=lambda raw, telling: [app_fact(raw, telling)],
)
APP_RUN = "app-run"
RUNS = _app_runs("runs", "/apps/{app_id}/workflow-runs", APP_RUN)
DEBUG_RUNS = _app_runs("debug-runs", "/apps/{app_id}/workflow-runs", "debugging")
# These name conversation and message too.
CHATFLOW_RUNS = _app_runs("runs", "/apps/{app_id}/advanced-chat/workflow-runs", APP_RUN)
CHATFLOW_DEBUG_RUNS = _app_runs("debug-runs", "/apps/{app_id}/advanced-chat/workflow-runs", "debugging")
APP_LOGS = Endpoint(
    stream="app-logs",  # the only listing of runs started by webhook, schedule or plugin
    path="/apps/{app_id}/workflow-app-logs",
    paging=Paging.NUMBERED,
    filtered_by="created_at__after",
    ended_by="created_at__before",
    parse=log_facts,
)
CONVERSATIONS = Endpoint(
    stream="conversations",
    path="/apps/{app_id}/chat-conversations",
    params={"sort_by": "-updated_at"},
    sorted_by="updated_at",  # a new message in an old conversation brings it to the top
    paging=Paging.NUMBERED,
    parse=partial(conversation_facts, mode="chat"),
)
CHATFLOW_CONVERSATIONS = Endpoint(
    stream="conversations",
    path="/apps/{app_id}/chat-conversations",
    params={"sort_by": "-updated_at"},
    sorted_by="updated_at",
    paging=Paging.NUMBERED,
    parse=partial(conversation_facts, mode=CHATFLOW),
)
COMPLETIONS = Endpoint(
    stream="conversations",
    path="/apps/{app_id}/completion-conversations",
    paging=Paging.NUMBERED,
    parse=partial(conversation_facts, mode="completion"),
)

STREAMS: Mapping[str, tuple[Endpoint, ...]] = {
    "workflow": (RUNS, APP_LOGS),
    CHATFLOW: (CHATFLOW_RUNS, CHATFLOW_CONVERSATIONS),
    "chat": (CONVERSATIONS,),
    "agent-chat": (CONVERSATIONS,),
    "completion": (COMPLETIONS,),
}
"""The listings of an app, by its mode. Modes that later versions add have none until we know them."""

DEBUG_STREAMS: Mapping[str, tuple[Endpoint, ...]] = {"workflow": (DEBUG_RUNS,), CHATFLOW: (CHATFLOW_DEBUG_RUNS,)}
"""The listings of console test runs, read on request only."""

# What changes slowly, of the whole workspace. Dify cuts pages of knowledge at 100 and calls them the last: ask for 100.
DATASETS = Endpoint(
    stream="datasets",
    path="/datasets",
    params={"include_all": "true"},
    paging=Paging.NUMBERED,
    parse=lambda raw, telling: [dataset_fact(raw, telling)],
    every=timedelta(minutes=15),
)
DOCUMENTS = Endpoint(
    stream="documents",  # only their number and size become facts: what a knowledge base holds
    path="/datasets/{dataset_id}/documents",
    paging=Paging.NUMBERED,
    parse=lambda raw, telling: [],
    every=timedelta(hours=1),
)
MEMBERS = Endpoint(
    stream="members",
    path="/workspaces/current/members",
    paging=Paging.WHOLE,
    parse=member_facts,
    every=timedelta(hours=1),
    items="accounts",
)
API_KEYS = Endpoint(
    stream="api-keys",
    path="/apps/{app_id}/api-keys",
    paging=Paging.WHOLE,
    parse=key_facts,
    every=timedelta(hours=1),
)
MODELS = tuple(
    Endpoint(
        stream="models",
        path=f"/workspaces/current/models/model-types/{kind}",
        paging=Paging.WHOLE,
        parse=partial(model_facts, kind=kind),
        every=timedelta(hours=1),
    )
    for kind in KINDS
)


def retrievals_of(dataset_id: str) -> Endpoint:
    """The questions put to one knowledge base."""
    return Endpoint(
        stream="retrievals",
        path="/datasets/{dataset_id}/queries",
        paging=Paging.NUMBERED,
        parse=lambda raw, telling: [retrieval_fact(raw, telling, dataset_id)],
        every=timedelta(minutes=15),
    )


FLOW_MODES = frozenset({"workflow", CHATFLOW})
"""Modes whose apps have runs."""

TALKING_MODES = frozenset({CHATFLOW, "chat", "agent-chat", "completion"})
"""Modes whose apps have messages and ratings."""

APP = "/apps/{app_id}"
DATASET = "/datasets/{dataset_id}"
INDEXING = "/datasets/{dataset_id}/indexing-status"
RUN = "/apps/{app_id}/workflow-runs/{run_id}"
RUN_COUNT = "/apps/{app_id}/workflow-runs/count"
NODES = "/apps/{app_id}/workflow-runs/{run_id}/node-executions"
MESSAGES = "/apps/{app_id}/chat-messages"
MESSAGE = "/apps/{app_id}/messages/{message_id}"
COMPLETION = "/apps/{app_id}/completion-conversations/{conversation_id}"
FEEDBACK = "/apps/{app_id}/feedbacks/export"
SERVICE_FEEDBACK = "/app/feedbacks"  # of the service API, whose keys say which app
"""What is asked about one thing at a time. `chat-conversations/{id}` is not among them: reading it changes it."""

MOST_RATINGS = 100
"""Ratings on a page of the service API."""
