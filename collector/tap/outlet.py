"""Where a worker's records go: a spool of its own, and the delivery that empties it.

In come a folder, a bound and a collector; out goes a sink for the relay. At the end what came last is written, and
delivered if the collector takes it at once; the rest waits on disk for the next start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from collector.records import Record
from collector.tap.delivery import Delivery
from collector.tap.figures import KINDS, REASONS
from collector.tap.post import Post
from collector.tap.spool import Spool
from collector.tap.spool_folder import Folder

_REQUEST_SECONDS = 30.0
"""The longest wait for the collector's answer."""

DESK = "/api/v1/taps"
"""Where the collector hears which taps there are."""

_DESK_SECONDS = 5.0
_LAST_SECONDS = 5.0
"""For delivering what is left when the worker ends."""


@dataclass(frozen=True, kw_only=True)
class Destination:
    """A collector, and the spool that stands in until it has the records."""

    url: str
    folder: Path
    most_bytes: int  # of one worker's spool
    token: str | None = None
    authorities: Path | None = None

    def post(self) -> Post:
        """A way to the collector. Raises SettingsError."""
        return Post(self.url, token=self.token, authorities=self.authorities, timeout_seconds=_REQUEST_SECONDS)

    def desk(self) -> Post:
        """The way to where taps tell of themselves."""
        return Post(self.url, path=DESK, token=self.token, authorities=self.authorities, timeout_seconds=_DESK_SECONDS)


class Outlet:
    """One worker's. `put` takes records and returns at once; `figures` and `close` may wait for a disk."""

    def __init__(self, destination: Destination) -> None:
        """Raises SettingsError, or OSError when the folder cannot be used."""
        self._destination = destination
        self._folder = Folder(destination.folder)
        self._spool = Spool(self._folder.claim(), most_bytes=destination.most_bytes)
        self._post = destination.post()
        self._delivery = Delivery(self._spool, self._post.send, adopt=self._left_over)

    def start(self) -> None:
        """Begin to write and to deliver."""
        self._spool.start()
        self._delivery.start()

    def put(self, records: list[Record]) -> None:
        """The sink."""
        self._spool.put(records)

    def close(self) -> None:
        """Write what came, deliver what can be, let go."""
        has_ended = self._delivery.stop(_LAST_SECONDS)
        self._spool.commit()
        if has_ended:
            self._delivery.finish(_LAST_SECONDS)
            self._post.close()
        self._spool.close()

    def figures(self) -> Mapping[tuple[str, str], float]:
        """What the tap's board shows of it. Called once a second, so the spool is kept in shape by the way."""
        self._spool.tidy()
        state, counts, sent = self._spool.state(), self._spool.counts, self._delivery.counts
        return {
            ("dify_metric_tap_delivered_records_total", ""): sent.delivered,
            **{("dify_metric_tap_dropped_records_total", kind): self._spool.dropped(kind) for kind in KINDS},
            **{("dify_metric_tap_refused_records_total", kind): sent.refused[kind] for kind in KINDS},
            **{("dify_metric_tap_delivery_failures_total", reason): sent.failures[reason] for reason in REASONS},
            ("dify_metric_tap_spool_failures_total", ""): counts.file_failures + counts.damaged_files,
            ("dify_metric_tap_spool_records", ""): state.records,
            ("dify_metric_tap_spool_bytes", ""): state.bytes,
            ("dify_metric_tap_spool_oldest_timestamp_seconds", ""): state.oldest_at or 0.0,
        }

    def _left_over(self) -> Spool | None:
        """The spool of a worker that died, where records wait."""
        for claim in self._folder.left_over():
            spool = Spool(claim, most_bytes=self._destination.most_bytes)
            if spool.take(1, 1):
                return spool
            spool.close()
        return None
