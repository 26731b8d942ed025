"""How our own reading went: passes, how far each stream is complete, and what could not be read."""

from __future__ import annotations

from typing import ClassVar, TypeAlias

import msgspec

from collector.records.record import Instant, Record


class Pull(Record, frozen=True, kw_only=True):
    """One pass of our own over one stream of one app: how freshness and failures come out of the same faces.

    Source: collector.collect
    """

    table: ClassVar[str] = "pull"
    id: str
    stream: str  # runs, app-logs, node-executions, conversations, messages, feedback, apps
    app_id: str | None = None  # None for streams of the whole workspace
    created_at: Instant  # UTC; start of the pass
    seconds: float
    requests: int
    pages: int
    records: int
    parse_failures: int  # records set aside
    error_class: str | None = None  # unauthorized, forbidden, not_found, unavailable, store, _OTHER
    is_complete: bool  # the walk reached the watermark, and nothing is known to be missing
    origin: str | None = None  # our name for the Dify it asked; None: read before there was more than one


class Watermark(msgspec.Struct, frozen=True, kw_only=True):
    """Everything of `stream` in `app_id` created before `complete_until` is stored (promise 7)."""

    table: ClassVar[str] = "watermark"
    source: str
    stream: str
    app_id: str  # "" for streams of the whole workspace
    complete_until: Instant  # UTC
    origin: str = ""  # our name for the Dify, where `app_id` is ""; an app's id is no other Dify's


class Reach(msgspec.Struct, frozen=True, kw_only=True):
    """Everything of `stream` in `app_id` created from `complete_from` until `complete_until` is stored.

    How far a back-fill has come: it goes back in time, and the next one goes on at `complete_from`.
    """

    table: ClassVar[str] = "reach"
    source: str
    stream: str
    app_id: str  # "" for streams of the whole workspace
    complete_from: Instant  # UTC
    complete_until: Instant  # UTC
    origin: str = ""  # our name for the Dify, where `app_id` is ""


class SetAside(msgspec.Struct, frozen=True, kw_only=True):
    """One record of Dify that could not be read: which it is and why, nothing of what it says.

    Kept with its batch, so that no watermark hides it. It goes once the record was read: `problem` None.
    """

    table: ClassVar[str] = "set_aside"
    source: str
    origin: str  # our name for the Dify
    stream: str
    app_id: str  # "" for streams of the whole workspace
    key: str  # Dify's id of it; "" where even that cannot be read
    problem: str | None = None  # the field and what was wanted there
    tried_by: str = ""  # the versions of dify-metric and of Dify that met
    seen_at: Instant  # UTC; when it was last tried


MOST_SET_ASIDE = 1000
"""Records set aside that are remembered; of more, the latest."""

Mark: TypeAlias = Watermark | Reach | SetAside
"""What is stored with a batch about its being complete."""


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a batch: how many facts were new, told us more, or were known already."""

    new: int = 0
    changed: int = 0
    known: int = 0
