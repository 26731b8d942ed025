"""Talking to a collector that serves: what a command does when the store is held by the service.

Goes out: questions, facts and the wish for a pull, over REST. Comes back: what the service says, or an error that a
person can act on. It never opens the store.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import httpx

from collector import wire
from collector.errors import DifyMetricError, Unavailable
from collector.records import Record, Stored
from collector.settings.written import Address

Parameters: TypeAlias = Sequence[tuple[str, str]]

BATCH = 5_000
"""Facts sent in one request."""


class Running:
    """The service that listens at an address. `with` closes the connection."""

    def __init__(
        self, listen: Address, *, token: str | None = None, transport: httpx.BaseTransport | None = None
    ) -> None:
        self.url = f"http://{_reachable(listen)}"
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        timeout = httpx.Timeout(600.0, connect=5.0)
        self._client = httpx.Client(base_url=self.url, headers=headers, timeout=timeout, transport=transport)

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def check(self, store: str) -> None:
        """Make sure that this service holds that store. Raises Unavailable saying whose store it holds."""
        held = str(self._asked("GET", "/api/v1/service").get("store"))
        if Path(held) != Path(store).resolve():
            raise Unavailable(f"the collector at {self.url} serves {held}, not {Path(store).resolve()}; name its store")

    def query(self, parameters: Parameters) -> Mapping[str, Any]:
        """An answer as `GET /api/v1/query` gives it."""
        return self._asked("GET", "/api/v1/query", params=list(parameters))

    def reconciliation(self, parameters: Parameters) -> Mapping[str, Any]:
        """A reconciliation as `GET /api/v1/reconciliation` gives it."""
        return self._asked("GET", "/api/v1/reconciliation", params=list(parameters))

    def put(self, records: Iterable[Record]) -> Stored:
        """Send facts; what became of them. Sending again changes nothing."""
        waiting, total = list(records), Stored()
        for start in range(0, len(waiting), BATCH):
            body = wire.encode(waiting[start : start + BATCH])
            said = self._asked("POST", "/api/v1/ingest", content=body)
            total = Stored(
                new=total.new + said["new"], changed=total.changed + said["changed"], known=total.known + said["known"]
            )
        return total

    def pull(self) -> Sequence[Mapping[str, Any]]:
        """Ask for a pass over Dify now and wait for it."""
        pulls: Sequence[Mapping[str, Any]] = self._asked("POST", "/api/v1/pull")["pulls"]
        return pulls

    def _asked(self, method: str, path: str, **request: Any) -> Mapping[str, Any]:
        try:
            response = self._client.request(method, path, **request)
            said = response.json()
        except httpx.TransportError as error:
            raise Unavailable(
                f"{self.url}: {type(error).__name__}; the store is held by a process that does not answer there: "
                "set `listen` to the service's address, or stop that process"
            ) from None
        except ValueError:
            raise Unavailable(
                f"{self.url}{path}: HTTP {response.status_code} without JSON; is it dify-metric?"
            ) from None
        if response.is_error or not isinstance(said, dict):
            detail = said.get("detail") if isinstance(said, dict) else None
            raise DifyMetricError(f"{self.url}: {detail or f'HTTP {response.status_code}'}")
        return said


def _reachable(listen: Address) -> Address:
    """An address to connect to: one that listens everywhere is reached on loopback."""
    here = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
    return Address(here.get(listen.host, listen.host), listen.port)
