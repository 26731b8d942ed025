"""Dify's console JSON about knowledge -> records: knowledge bases, what they hold today, what was asked of them.

What comes in are decoded items of listings and a Telling; what goes out are records. Raises ShapeError naming the
field. The text of questions and the names of documents are left behind here. Nothing here asks or remembers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime

from collector.fields import Json, boolean, instant, integer, required_text, text
from collector.ledger import Telling, provider_name
from collector.records import Dataset, DatasetDay, Retrieval

DONE, FAILED, WAITING = "completed", "error", "waiting"
SETTLED = frozenset({DONE, FAILED})
"""Indexing statuses that change no more by themselves. (`paused` waits for a person.)"""


def dataset_fact(raw: Json, telling: Telling, origin: str | None = None) -> Dataset:
    """One item of the list of knowledge bases -> Dataset."""
    return Dataset(
        source=telling.source,
        seen_at=telling.seen_at,
        id=required_text(raw, "id"),
        workspace_id=telling.workspace_id,
        name=text(raw, "name"),
        indexing_technique=text(raw, "indexing_technique"),
        embedding_provider=provider_name(text(raw, "embedding_model_provider")),
        embedding_model=text(raw, "embedding_model"),
        created_at=instant(raw, "created_at"),
        updated_at=instant(raw, "updated_at"),
        origin=origin,
    )


def day_fact(raw: Json, documents: Iterable[Json], segments: int | None, telling: Telling) -> DatasetDay:
    """A knowledge base's list item and all its documents -> what it holds today.

    Versions that tell no display status have a document available once it is indexed, enabled and not archived.
    """
    states: Counter[str] = Counter()
    totals: Counter[str] = Counter()
    for document in documents:
        states[required_text(document, "indexing_status")] += 1
        states["available"] += _is_available(document)
        states["documents"] += 1
        for name in ("tokens", "hit_count", "word_count"):
            totals[name] += integer(document, name) or 0
    number, dataset_id = states["documents"], required_text(raw, "id")
    today = telling.seen_at.replace(hour=0, minute=0, second=0, microsecond=0)
    return DatasetDay(
        source=telling.source,
        seen_at=telling.seen_at,
        id=day_key(dataset_id, today),
        dataset_id=dataset_id,
        workspace_id=telling.workspace_id,
        created_at=today,
        documents=number,
        available_documents=states["available"],
        waiting_documents=states[WAITING],
        indexing_documents=number - sum(states[each] for each in (DONE, FAILED, WAITING, "paused")),
        failed_documents=states[FAILED],
        segments=segments,
        words=totals["word_count"],
        tokens=totals["tokens"],
        hits=totals["hit_count"],
        apps=integer(raw, "app_count"),
    )


def day_key(dataset_id: str, today: datetime) -> str:
    """The id of what a knowledge base held on the UTC day that began then."""
    return f"{dataset_id}/{today:%Y-%m-%d}"


def is_settled(document: Json) -> bool:
    """Whether a document is indexed, or failed for good."""
    return text(document, "indexing_status") in SETTLED


def total_segments(raws: Iterable[Json]) -> int:
    """The answer of indexing-status, one item per document -> segments of them all."""
    return sum(integer(raw, "total_segments") or 0 for raw in raws)


def retrieval_fact(raw: Json, telling: Telling, dataset_id: str) -> Retrieval:
    """One item of a knowledge base's questions -> Retrieval."""
    role = text(raw, "created_by_role")
    return Retrieval(
        source=telling.source,
        seen_at=telling.seen_at,
        id=required_text(raw, "id"),
        dataset_id=dataset_id,
        workspace_id=telling.workspace_id,
        origin=text(raw, "source"),
        app_id=text(raw, "source_app_id"),
        user_id=text(raw, "created_by"),
        user_kind=role if role in ("account", "end_user") else None,
        created_at=instant(raw, "created_at"),
    )


def _is_available(document: Json) -> bool:
    shown = text(document, "display_status")
    if shown is not None:
        return shown == "available"
    is_on = boolean(document, "enabled") is not False and not boolean(document, "archived")
    return is_on and text(document, "indexing_status") == DONE
