"""`serve --tap`: a tap beside the service, with the service's numbers, kept alive, and ended before it."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from collector.companion import environment
from collector.records import FACTS
from collector.settings.configuration import load_settings
from collector.store import open_store
from tests.servers.ports import free_port as a_port
from tests.servers.process import child, python
from tests.servers.telling import HEADERS, PATHS, SECRETS, found_in, telling
from tests.serving import ADMIN_KEY, Serving, a_service
from tests.tapping import awaited, numbers
from tests.typing_it import typed

TOKEN = "an-ingest-token-nobody-may-see"


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    port = a_port()
    with child(python("tests.servers.streaming", str(port))):
        yield f"http://127.0.0.1:{port}"


class Beside:
    """A service with a tap."""

    def __init__(self, serving: Serving, port: int) -> None:
        self.serving, self.url = serving, f"http://127.0.0.1:{port}"

    def ask(self, path: str = "/v1/parameters", **how: object) -> httpx.Response:
        given = {"content": b"{}", "timeout": 60, "trust_env": False} | how
        return httpx.post(f"{self.url}{path}", **given)  # type: ignore[arg-type]

    def metrics(self) -> dict[str, float]:
        said = self.serving.ask("/metrics", self.serving.env.get("DIFY_METRIC_METRICS_TOKEN"))
        assert said.status_code == 200, said.text
        return numbers(said.text)

    def until(self, is_so: Callable[[dict[str, float]], bool]) -> dict[str, float]:
        return awaited(self.metrics, is_so)

    @property
    def pid(self) -> int:
        """The tap's process."""
        children = Path(f"/proc/{self.serving.process.pid}/task/{self.serving.process.pid}/children").read_text()
        (found,) = children.split()
        return int(found)


@pytest.fixture
def beside(tmp_path: Path, free_port: int, upstream: str) -> Iterator[Beside]:
    port = a_port()
    env = {"DIFY_METRIC_TAP": f"127.0.0.1:{port}", "DIFY_METRIC_TAP_UPSTREAM": upstream}
    with a_service(tmp_path, free_port, **env) as serving:
        yield Beside(serving, port)


def test_what_its_callers_ask_is_in_the_store_and_its_numbers_are_in_metrics(beside: Beside):
    assert beside.ask("/v1/chat-messages?events=3&rate=500").status_code == 200
    found = beside.until(
        lambda found: found.get("delivered_records_total", 0) >= 5 and found["overhead_seconds_count"] >= 1
    )
    assert found["up"] == 1
    assert found["streams_total"] == 1
    assert beside.serving.typed("query", "requests,messages,tokens", "--json").json["rows"] == [
        {"requests": 1, "messages": 1, "tokens": 13}
    ]
    assert beside.serving.end(signal.SIGTERM) == 0


def test_a_tap_that_dies_is_replaced(beside: Beside):
    beside.ask()
    dead = beside.pid
    os.kill(dead, signal.SIGKILL)
    for _ in range(600):
        try:
            if beside.ask().status_code == 200:
                break
        except httpx.TransportError:
            time.sleep(0.1)
    assert beside.pid != dead
    assert beside.until(lambda found: found["up"] == 1)
    assert beside.serving.end(signal.SIGTERM) == 0
    assert [line["exit"] for line in beside.serving.lines if line["event"].startswith("tap died")] == [-9]


def test_a_stream_on_its_way_arrives_and_is_stored_though_the_service_is_told_to_stop(beside: Beside, tmp_path: Path):
    ask = {"method": "POST", "url": f"{beside.url}/v1/chat-messages?events=20&rate=10", "content": b"{}"}
    with httpx.Client(trust_env=False, timeout=60) as client, client.stream(**ask) as stream:
        chunks = stream.iter_bytes()
        first = next(chunks)
        beside.serving.process.send_signal(signal.SIGTERM)
        body = first + b"".join(chunks)
    assert b"message_end" in body
    assert beside.serving.end(0) == 0
    said = typed("query", "messages,tokens", "--json", at=tmp_path)
    assert said.json["rows"] == [{"messages": 1, "tokens": 30}]


def test_a_service_that_is_killed_takes_its_tap_along_and_loses_nothing(tmp_path: Path, free_port: int, upstream: str):
    port = a_port()
    env = {"DIFY_METRIC_TAP": f"127.0.0.1:{port}", "DIFY_METRIC_TAP_UPSTREAM": upstream}
    for _ in range(2):
        with a_service(tmp_path, free_port, **env) as serving:
            beside = Beside(serving, port)
            beside.ask("/v1/chat-messages?events=3&rate=500")
            assert serving.end(signal.SIGKILL) == -signal.SIGKILL  # the tap writes to the same pipe: it has ended too
            with pytest.raises(httpx.ConnectError):
                beside.ask()
    with a_service(tmp_path, free_port, **env) as serving:
        for _ in range(600):
            if serving.typed("query", "messages", "--json").json["rows"] == [{"messages": 2}]:
                break
            time.sleep(0.1)
        else:
            pytest.fail("a stream is missing")
        assert serving.end(signal.SIGTERM) == 0


def test_a_tap_that_cannot_start_stops_the_service(tmp_path: Path, free_port: int):
    with socket.create_server(("127.0.0.1", 0)) as door:
        taken = f"127.0.0.1:{door.getsockname()[1]}"
        said = typed(
            *("serve", "--tap", taken, "--listen", f"127.0.0.1:{free_port}"),
            at=tmp_path,
            DIFY_METRIC_TAP_UPSTREAM="http://127.0.0.1:9",
        )
    assert said.code == 2
    assert f"cannot listen on {taken}" in said.err
    assert "Traceback" not in said.err
    assert typed("serve", "--tap", taken, at=tmp_path).err.startswith("dify-metric: tap without an upstream")


def test_it_gets_what_concerns_it_and_no_credential_of_dify():
    given = {"dify_url": "https://dify", "dify_admin_key": ADMIN_KEY, "dify_workspace_id": "w"}
    given |= {"tap": "0.0.0.0:80", "listen": "0.0.0.0:9180", "ingest_token": TOKEN, "tap_workers": 3}
    env = environment(load_settings(given, {}), "an-inner-token")
    assert ADMIN_KEY not in str(env)
    assert TOKEN not in str(env)
    settings = load_settings({}, {name: value for name, value in env.items() if name.startswith("DIFY_METRIC_")})
    assert (settings.tap_workers, str(settings.tap_listen)) == (3, "0.0.0.0:80")
    assert settings.tap_collector == "http://127.0.0.1:9180"
    assert [str(each) for each in settings.upstreams] == ["https://dify"]


def test_it_may_come_in_where_others_need_a_token(tmp_path: Path, free_port: int, upstream: str):
    port = a_port()
    env = {"DIFY_METRIC_TAP": f"127.0.0.1:{port}", "DIFY_METRIC_TAP_UPSTREAM": upstream}
    env |= {"DIFY_METRIC_LISTEN": f"0.0.0.0:{free_port}", "DIFY_METRIC_METRICS_TOKEN": TOKEN}
    with a_service(tmp_path, free_port, **env) as serving:
        beside = Beside(serving, port)
        beside.ask()
        beside.until(lambda found: found.get("delivered_records_total", 0) >= 1)
        stranger = httpx.post(f"{serving.url}/api/v1/ingest", content=b"{}", trust_env=False)
        assert stranger.status_code == 401
        assert serving.end(signal.SIGTERM) == 0


def test_no_secret_gets_into_store_log_or_metrics(tmp_path: Path, free_port: int):
    port = a_port()
    with telling() as upstream:
        env = {"DIFY_METRIC_TAP": f"127.0.0.1:{port}", "DIFY_METRIC_TAP_UPSTREAM": upstream}
        with a_service(tmp_path, free_port, DIFY_METRIC_LOG_LEVEL="debug", **env) as serving:
            beside = Beside(serving, port)
            for path in PATHS:
                beside.ask(f"{path}?q={SECRETS['query string']}", headers=HEADERS, content=SECRETS["prompt"].encode())
            beside.until(lambda found: found["requests_total"] == len(PATHS))
            beside.until(lambda found: found["spool_records"] == 0)
            pages = serving.ask("/metrics").text
            assert serving.end(signal.SIGTERM) == 0
    with closing(open_store(serving.store, read_only=True)) as store:
        rows = [row for fact in FACTS for row in store.rows(f"SELECT * FROM {fact.table}")]
        assert store.rows("SELECT count(*) FROM request") == [(len(PATHS),)]
        assert store.rows("SELECT tokens FROM model_call WHERE id = 'n1'") == [(10,)]
    assert found_in(str(rows), pages, serving.words, serving.store.read_bytes()) == []
