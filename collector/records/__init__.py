"""The facts: one frozen struct per kind of thing that happened in Dify.

Pull, tap, database and files all make these; the store keeps them; measures count them. Nothing here reads or writes.

Rules every record follows (they are what lets two sources describe one fact):

* `None` means "not known"; zero means zero. An unfinished fact leaves out what only its end decides.
* Instants are aware, in UTC. Durations are seconds. Money is Decimal beside its currency, as Dify reports it.
* `source` says who told us, `seen_at` when. They decide between two tellings, and are no part of the fact.
* Contents (prompts, answers, credentials) have no field.

Each class names its `table` and, for the store, what settles a conflict between two tellings of one fact:
see `collector.store.tables`.
"""

from __future__ import annotations

from collector.records.reading import MOST_SET_ASIDE, Mark, Pull, Reach, SetAside, Stored, Watermark
from collector.records.record import BROKER, CONSOLE, DATABASE, FILE, PORTAL, SOURCE_RANK, STALE, TAP, Instant, Record
from collector.records.running import FINAL_NODE_STATUSES, FINAL_RUN_STATUSES, ModelCall, NodeExecution, Run
from collector.records.seen import PortalEvent, PortalValue, QueueSample, Request
from collector.records.talking import Conversation, Feedback, Message, User
from collector.records.workspace import ApiKey, App, Dataset, DatasetDay, Model, Release, Retrieval, Statistic

__all__ = [
    "BROKER",
    "CONSOLE",
    "DATABASE",
    "FACTS",
    "FILE",
    "FINAL_NODE_STATUSES",
    "FINAL_RUN_STATUSES",
    "MOST_SET_ASIDE",
    "PORTAL",
    "SOURCE_RANK",
    "STALE",
    "TAP",
    "ApiKey",
    "App",
    "Conversation",
    "Dataset",
    "DatasetDay",
    "Feedback",
    "Instant",
    "Mark",
    "Message",
    "Model",
    "ModelCall",
    "NodeExecution",
    "PortalEvent",
    "PortalValue",
    "Pull",
    "QueueSample",
    "Reach",
    "Record",
    "Release",
    "Request",
    "Retrieval",
    "Run",
    "SetAside",
    "Statistic",
    "Stored",
    "User",
    "Watermark",
]

FACTS: tuple[type[Record], ...] = (
    App,
    Run,
    NodeExecution,
    ModelCall,
    Message,
    Conversation,
    Feedback,
    User,
    Request,
    Pull,
    QueueSample,
    Dataset,
    DatasetDay,
    Retrieval,
    Model,
    ApiKey,
    Statistic,
    Release,
    PortalEvent,
    PortalValue,
)
"""Every kind of record, in the order their tables are made."""
