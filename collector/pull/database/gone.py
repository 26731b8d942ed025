"""Records of what Dify no longer has: an absence leaves no row to read, so these are made from what the store knew.

What comes in are ids and an instant; what goes out are records that say only what the absence proves. Nothing that was
stored is taken back by them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from collector.ledger import Telling
from collector.pull.knowledge import day_fact
from collector.records import DATABASE, STALE, App, Dataset, DatasetDay, Feedback, Message, Run


def deleted_app(app: str, now: datetime) -> App:
    """An app that is no longer listed."""
    return App(source=DATABASE, seen_at=now, id=app, deleted_at=now)


def deleted_dataset(dataset: str, workspace: str | None, now: datetime) -> tuple[Dataset, DatasetDay]:
    """A knowledge base that is no longer listed. The last look at it must not be the last word: it holds nothing."""
    telling = Telling(source=DATABASE, seen_at=now, workspace_id=workspace)
    nothing = day_fact({"id": dataset, "app_count": 0}, (), 0, telling)
    return Dataset(source=DATABASE, seen_at=now, id=dataset, deleted_at=now), nothing


def stale_runs(missing: Mapping[str, datetime], before: datetime, now: datetime) -> list[Run]:
    """Open runs (id -> created_at) that are gone and began before the instant: nobody will tell their end."""
    return [
        Run(source=DATABASE, seen_at=now, id=run, status=STALE, is_final=False)
        for run, created_at in missing.items()
        if created_at < before
    ]


def stale_messages(missing: Mapping[str, datetime], before: datetime, now: datetime) -> list[Message]:
    """The same of messages."""
    return [
        Message(source=DATABASE, seen_at=now, id=message, status=STALE, is_final=False)
        for message, created_at in missing.items()
        if created_at < before
    ]


def message_of(rating: str) -> str:
    """The message a rating's id names."""
    return rating.rsplit("/", 1)[0]


def withdrawn(rating: str, now: datetime) -> Feedback:
    """A rating that is gone while its message still stands."""
    message, from_source = rating.rsplit("/", 1)
    return Feedback(
        source=DATABASE,
        seen_at=now,
        id=rating,
        message_id=message,
        from_source=from_source,
        rating="withdrawn",
        updated_at=now,
    )
