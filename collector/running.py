"""Talking to a collector that serves: what a command does when the store is held by the service.

Goes out: questions, facts and the wish for a pull, over REST. Comes back: what the service says, or an error that a
person can act on. Nothing here opens the store.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import httpx

from collector import wire
from collector.errors import DifyMetricError, QueryError, Unavailable
from collector.records import Record, Stored
from collector.settings.written import Address

Parameters: TypeAlias = Sequence[tuple[str, str]]

BATCH = 5_000
"""Facts sent in one request."""


def whereabouts(store: str) -> str:
    """A store's name as every process on this machine understands it: the absolute path of its file."""
    return str(Path(store.removeprefix("duckdb://")).resolve())


def url_of(listen: Address) -> str:
    """Where a service that listens there can be asked from here: one that listens everywhere is on loopback too."""
    here = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
    return f"http://{Address(here.get(listen.host, listen.host), listen.port)}"


class Running:
    """The service at a URL. `with` closes the connection."""

    def __init__(self, url: str, *, token: str | None = None, transport: httpx.BaseTransport | None = None) -> None:
        self.url = url.rstrip("/")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        timeout = httpx.Timeout(600.0, connect=5.0)
        # A proxy of the environment stands between us and the world, not between us and our own service.
        self._client = httpx.Client(
            base_url=self.url, headers=headers, timeout=timeout, transport=transport, trust_env=False
        )

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def check(self, store: str) -> None:
        """Make sure that this service holds that store. Raises Unavailable saying whose store it holds."""
        held, wanted = self._asked("GET", "/api/v1/service").get("store"), whereabouts(store)
        if held != wanted:
            raise Unavailable(
                f"the collector at {self.url} serves {held or 'no store'}, not {wanted}, which another process holds: "
                "set `listen` to the address of the service that holds it, or name the other store"
            )

    def query(self, parameters: Parameters) -> Mapping[str, Any]:
        """An answer as `GET /api/v1/query` gives it."""
        return self._asked("GET", "/api/v1/query", params=list(parameters))

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
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise Unavailable(f"no answer from {self.url} ({str(error) or type(error).__name__})") from None
        except ValueError:
            raise Unavailable(
                f"{self.url}{path}: HTTP {response.status_code} without JSON; is it dify-metric?"
            ) from None
        if response.is_error or not isinstance(said, dict):
            raise _refused(self.url, response.status_code, said if isinstance(said, dict) else {})
        return said


def _refused(url: str, status: int, problem: Mapping[str, Any]) -> DifyMetricError:
    """What the service refused, as the error it would have been here."""
    detail = str(problem.get("detail") or f"HTTP {status}")
    if status == 400:
        return QueryError(detail, field=problem.get("field"))
    return DifyMetricError(f"{url}: {detail}")
