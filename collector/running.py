"""Talking to a collector that serves: what a command does when the store is held by the service.

Goes out: questions, facts and the wish for a pull, over REST. Comes back: what the service says, or an error that a
person can act on. Nothing here opens the store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import quote

from collector import wire
from collector.errors import DifyMetricError, QueryError, Unavailable
from collector.records import Record, Stored
from collector.settings.written import Address

if TYPE_CHECKING:
    import httpx

Parameters: TypeAlias = Sequence[tuple[str, str]]

LOOK_EVERY_SECONDS = 1.0

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
        import httpx  # not every command asks somebody, and this takes as long to load as all the rest

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

    def query_file(self, parameters: Parameters) -> bytes:
        """The same in the format that the parameters name."""
        return self._file("/api/v1/query", parameters)

    def history(self, parameters: Parameters) -> bytes:
        """The counters' past as `GET /api/v1/export/openmetrics` gives it."""
        return self._file("/api/v1/export/openmetrics", parameters)

    def _file(self, path: str, parameters: Parameters) -> bytes:
        response = self._response("GET", path, params=list(parameters))
        if not response.is_error:
            return response.content
        try:
            said = response.json()
        except ValueError:
            said = {}
        raise _refused(self.url, response.status_code, said if isinstance(said, dict) else {})

    def reconciliation(self, parameters: Parameters) -> Mapping[str, Any]:
        """A reconciliation as `GET /api/v1/reconciliation` gives it."""
        return self._asked("GET", "/api/v1/reconciliation", params=list(parameters))

    def back_fill(
        self,
        since: datetime,
        only: Sequence[str],
        source: str | None,
        on_progress: Callable[[str, int, int | None], None],
        pause: Callable[[float], None] = sleep,
    ) -> Sequence[Mapping[str, Any]]:
        """Have the service read history, and tell how far it is until it is done. Who interrupts this stops it."""
        state = self._asked(
            "POST", "/api/v1/backfill", json={"since": since.isoformat(), "only": list(only), "source": source}
        )
        try:
            while state["state"] == "running":
                for each in state["progress"]:
                    on_progress(each["stream"], each["done"], each["total"])
                pause(LOOK_EVERY_SECONDS)
                state = self._asked("GET", "/api/v1/backfill")
        except KeyboardInterrupt:
            self._asked("DELETE", "/api/v1/backfill")
            raise
        if state["state"] != "done":
            raise DifyMetricError(
                f"{self.url}: the back-fill was {state['state']}: {state['problem'] or 'by somebody'}"
            )
        pulls: Sequence[Mapping[str, Any]] = state["pulls"]
        return pulls

    def check_rollups(self, *, repair: bool) -> Mapping[str, Any]:
        """What comparing rollups with the facts finds, repaired if wished."""
        if repair:
            return self._asked("POST", "/api/v1/rollups/repair")
        return self._asked("GET", "/api/v1/rollups")

    def backup(self, to: str) -> Mapping[str, Any]:
        """Have the service write a copy of its store, at an absolute path of its machine."""
        return self._asked("POST", "/api/v1/backup", json={"to": to})

    def export_parquet(self, to: str) -> Mapping[str, Any]:
        """Have the service write its tables as Parquet files, into an absolute path of its machine."""
        return self._asked("POST", "/api/v1/export", json={"to": to})

    def payers(self) -> Mapping[str, Any]:
        """How far the service's payers' file reaches."""
        return self._asked("GET", "/api/v1/payers")

    def set_aside(self) -> Sequence[Mapping[str, object]]:
        """The records that could not be read."""
        found: Sequence[Mapping[str, object]] = self._asked("GET", "/api/v1/set-aside")["records"]
        return found

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

    def keys(self) -> Sequence[Mapping[str, Any]]:
        """Every key of the service, as `GET /api/v1/keys` gives them."""
        found: Sequence[Mapping[str, Any]] = self._asked("GET", "/api/v1/keys")["keys"]
        return found

    def create_key(self, wish: Mapping[str, Any]) -> Mapping[str, Any]:
        """Have the service make a key; with its token."""
        return self._asked("POST", "/api/v1/keys", json=dict(wish))

    def revoke_key(self, key_id: str) -> Mapping[str, Any]:
        """Have the service let a key open nothing any more."""
        return self._asked("DELETE", f"/api/v1/keys/{quote(key_id, safe='')}")

    def bill(self, path: str = "", parameters: Parameters = ()) -> Mapping[str, Any]:
        """Billing periods, or what `path` names below them."""
        return self._asked("GET", f"/api/v1/billing/periods{path}", params=list(parameters))

    def budgets(self) -> Sequence[Mapping[str, Any]]:
        """How far each budget has gone this month."""
        found: Sequence[Mapping[str, Any]] = self._asked("GET", "/api/v1/billing/budgets")["budgets"]
        return found

    def bill_change(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """The same, where something is sent along."""
        return self._asked("POST", f"/api/v1/billing/periods{path}", json=dict(body))

    def bill_file(self, period: str, form: str) -> bytes:
        """The lines of a period as a file."""
        return self._file(f"/api/v1/billing/periods/{quote(period, safe='')}/lines", [("format", form)])

    def report(self, path: str, parameters: Parameters) -> bytes:
        """The report that `path` names, in the format that the parameters name."""
        return self._file(f"/api/v1/reports{path}", parameters)

    def pull(self, source: str | None = None) -> Sequence[Mapping[str, Any]]:
        """Ask for a pass over Dify now, by one way in or all, and wait for it."""
        parameters = {"source": source} if source else {}
        pulls: Sequence[Mapping[str, Any]] = self._asked("POST", "/api/v1/pull", params=parameters)["pulls"]
        return pulls

    def _asked(self, method: str, path: str, **request: Any) -> Mapping[str, Any]:
        response = self._response(method, path, **request)
        try:
            said = response.json()
        except ValueError:
            raise Unavailable(
                f"{self.url}{path}: HTTP {response.status_code} without JSON; is it dify-metric?"
            ) from None
        if response.is_error or not isinstance(said, dict):
            raise _refused(self.url, response.status_code, said if isinstance(said, dict) else {})
        return said

    def _response(self, method: str, path: str, **request: Any) -> httpx.Response:
        import httpx

        try:
            return self._client.request(method, path, **request)
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise Unavailable(f"no answer from {self.url} ({str(error) or type(error).__name__})") from None


def _refused(url: str, status: int, problem: Mapping[str, Any]) -> DifyMetricError:
    """What the service refused, as the error it would have been here."""
    detail = str(problem.get("detail") or f"HTTP {status}")
    if status == 400:
        return QueryError(detail, field=problem.get("field"))
    return DifyMetricError(f"{url}: {detail}")
