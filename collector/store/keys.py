"""Whose request it was, by its key: the facts of a tap get the app that the stream itself did not name.

A tap knows a key by its fingerprint, a pull knows which app each key belongs to. Before a batch is merged, requests of
known keys get their app, and with them the facts of the same batch that belong to them; when a key becomes known,
the requests that were stored without an app get theirs. What names its app keeps it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
from msgspec.structs import replace

from collector.records import Conversation, Message, ModelCall, NodeExecution, Record, Request, Run
from collector.store.session import Session

Owner: TypeAlias = tuple[str, str | None]
"""An app, and its workspace where that is known."""

OwnersOf: TypeAlias = Callable[[Sequence[str]], Mapping[str, Owner]]
"""Fingerprints -> the owners of those that are known."""

OWNERS = "SELECT fingerprint, app_id, workspace_id FROM api_key WHERE app_id IS NOT NULL AND fingerprint IN ?"

_NAMELESS = """
SELECT request.created_at FROM request JOIN named ON request.key_fingerprint = named.fingerprint
WHERE request.app_id IS NULL
"""
_NAMED = """
UPDATE request SET app_id = named.app_id, workspace_id = coalesce(request.workspace_id, named.workspace_id)
FROM named WHERE request.app_id IS NULL AND request.key_fingerprint = named.fingerprint
"""


def with_apps(records: Iterable[Record], owners_of: OwnersOf) -> Iterable[Record]:
    """The records of a batch, those without an app with that of the key they came by."""
    batch = list(records)
    nameless = [each for each in batch if isinstance(each, Request) and each.app_id is None and each.key_fingerprint]
    fingerprints = sorted({each.key_fingerprint for each in nameless if each.key_fingerprint})
    owners = owners_of(fingerprints) if fingerprints else {}
    if not owners:
        return batch
    known: dict[tuple[str, str], Owner] = {}
    for request in nameless:
        owner = owners.get(request.key_fingerprint or "")
        if owner is not None:
            known |= dict.fromkeys(_links(request), owner)
    for record in batch:
        if isinstance(record, Message) and record.conversation_id and (owner := known.get(("message", record.id))):
            known["conversation", record.conversation_id] = owner
    return [_named(record, known) for record in batch]


def settle(session: Session, keys: pa.Table | None) -> tuple[pa.ChunkedArray, ...]:
    """Give requests stored without an app theirs, where the keys of a batch, already stored, were not known before:
    when those requests began."""
    if keys is None or not len(keys):
        return ()
    named = keys.select(["fingerprint", "app_id", "workspace_id"]).filter(pc.is_valid(keys["app_id"]))
    with session.showing(named=named):
        begun = session.arrow(_NAMELESS)["created_at"]
        if len(begun):
            session.run(_NAMED)
    return (begun,)


def _named(record: Record, known: Mapping[tuple[str, str], Owner]) -> Record:
    if not isinstance(record, _OWNED) or record.app_id is not None:
        return record
    owner = next((known[link] for link in _links(record) if link in known), None)
    if owner is None:
        return record
    return replace(record, app_id=owner[0], workspace_id=record.workspace_id or owner[1])


_OWNED = (Request, Run, NodeExecution, ModelCall, Message, Conversation)


def _links(record: Record) -> Iterator[tuple[str, str]]:
    """What ties a record to others of one call: its run, its message, its conversation, itself."""
    match record:
        case Request():
            yield "request", record.id
        case Run():
            yield "run", record.id
        case Message():
            yield "message", record.id
        case Conversation():
            yield "conversation", record.id
    for link, key in (("run", getattr(record, "run_id", None)), ("message", getattr(record, "message_id", None))):
        if key:
            yield link, key
