"""`dify-metric tap` as a process of its own: what it starts with, what it says, how it ends, that it starts light."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from collector import wire
from collector.records import Record, Request
from collector.tap.spool_file import SpoolFile
from tests.conftest import ROOT
from tests.servers.ports import free_port as a_port
from tests.servers.process import child, python
from tests.servers.telling import HEADERS, PATHS, SECRETS, found_in, telling
from tests.tapping import TOKEN, a_tap, awaited
from tests.typing_it import typed

HEAVY = {
    *("duckdb", "fastapi", "starlette", "uvicorn", "pyarrow", "httpx", "apscheduler", "prometheus_client", "pytz"),
    *("sqlalchemy", "psycopg", "redis", "jinja2", "collector.app", "collector.commands", "collector.store"),
    *("collector.faces", "collector.measures", "collector.pull", "collector.collect", "collector.demo"),
}
"""What only the collector needs."""


class _Taking(BaseHTTPRequestHandler):
    """A collector that takes everything, while it is open."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, Sink)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        is_open = server.is_open and self.headers["Authorization"] == f"Bearer {TOKEN}"
        if is_open:
            server.records += wire.decode(body)
            server.arrived.set()
        said = b'{"new": 0, "changed": 0, "known": 0}' if is_open else b"{}"
        self.send_response(200 if is_open else 503)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_: object) -> None:
        pass


class Sink(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Taking)
        self.records: list[Record] = []
        self.arrived = threading.Event()
        self.is_open = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def requests(self) -> list[Request]:
        return [record for record in self.records if isinstance(record, Request)]


@pytest.fixture
def sink() -> Iterator[Sink]:
    server = Sink()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    port = a_port()
    with child(python("tests.servers.streaming", str(port))):
        yield f"http://127.0.0.1:{port}"


def test_what_goes_by_is_delivered(tmp_path: Path, upstream: str, sink: Sink):
    with a_tap(tmp_path, upstream, sink.url) as tap:
        assert tap.ask(headers={"Authorization": "Bearer app-0123456789abcdef"}).json()["result"] == "success"
        assert sink.arrived.wait(60)
        assert httpx.get(f"{tap.admin}/health", trust_env=False).text == "ok\n"
        assert tap.end() == 0
    (request,) = sink.requests
    assert (request.route, request.status_code) == ("/v1/parameters", 200)
    assert request.key_fingerprint is not None
    assert [path.name for path in (tmp_path / "spool").iterdir()] == ["spool-0.lock"]


def has_settled(found: dict[str, float]) -> bool:
    """Whether every worker has told of all it was asked, and all of it has arrived."""
    told = found["requests_total"] >= 20 and found["events_total"] >= 20 * 5 and found["overhead_seconds_count"] >= 1
    return told and found["delivered_records_total"] == found["records_total"] >= 20 * 5 and not found["spool_records"]


def test_it_counts_what_it_does(tmp_path: Path, upstream: str, sink: Sink):
    with a_tap(tmp_path, upstream, sink.url, "--workers", "2") as tap:
        for _ in range(20):
            tap.ask("/v1/chat-messages?events=3&rate=500")
        found = awaited(tap.metrics, has_settled)
    assert found["requests_total"] == found["streams_total"] == 20
    assert found["events_total"] == 20 * 5
    assert found["records_total"] == found["delivered_records_total"]
    assert found["streams_open"] == found["spool_records"] == 0
    assert found["response_bytes_total"] > 20 * 500
    assert found['upstream_connects_total{result="connected"}'] >= 1
    assert found["overhead_seconds_count"] >= 1


def test_what_the_collector_does_not_take_waits_for_the_next_start(tmp_path: Path, upstream: str, sink: Sink):
    sink.is_open = False
    with a_tap(tmp_path, upstream, sink.url) as tap:
        assert tap.ask().status_code == 200
        tap.hear("collector takes no records, they stay in the spool")
        assert tap.end() == 0
    sink.is_open = True
    with a_tap(tmp_path, upstream, sink.url) as tap:
        assert sink.arrived.wait(60)
        assert tap.end() == 0
    assert len(sink.requests) == 1


def test_told_to_stop_it_lets_streams_arrive_and_takes_no_more(tmp_path: Path, upstream: str, sink: Sink):
    with a_tap(tmp_path, upstream, sink.url) as tap:
        ask = {"method": "POST", "url": f"{tap.url}/v1/chat-messages?events=30&rate=15", "content": b"{}"}
        with httpx.Client(trust_env=False, timeout=60) as client, client.stream(**ask) as stream:
            chunks = stream.iter_bytes()
            first = next(chunks)
            tap.process.send_signal(signal.SIGTERM)
            tap.hear("tap stops")
            assert httpx.get(f"{tap.admin}/health", trust_env=False).status_code == 503
            with pytest.raises(httpx.ConnectError):
                tap.ask()
            body = first + b"".join(chunks)
        assert b"message_end" in body
        assert tap.end() == 0
    assert [request.interrupted_by for request in sink.requests] == [None]


def test_no_secret_gets_into_spool_log_or_metrics(tmp_path: Path, sink: Sink, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DIFY_METRIC_LOG_LEVEL", "debug")
    sink.is_open = False
    with telling() as upstream, a_tap(tmp_path, upstream, sink.url) as tap:
        for path in PATHS:
            asked = f"{tap.url}{path}?q={SECRETS['query string']}"
            httpx.post(asked, headers=HEADERS, content=SECRETS["prompt"].encode(), trust_env=False)
        awaited(tap.metrics, lambda found: found["requests_total"] == len(PATHS))
        pages = httpx.get(f"{tap.admin}/metrics", trust_env=False).text
        assert tap.end() == 0
    path = tmp_path / "spool" / "spool-0.sqlite"
    with closing(SpoolFile(path, most_bytes=1 << 30)) as file:
        spooled = b"".join(batch.body for batch in file.oldest(10**6, 1 << 30))
    assert b"/v1/chat-messages" in spooled
    assert found_in(spooled, path.read_bytes(), pages, json.dumps(tap.words)) == []


def test_on_a_full_disk_traffic_goes_on_and_nothing_is_lost(tmp_path: Path, upstream: str, sink: Sink):
    """Files of this tap cannot grow beyond some KB: what comes then waits in memory."""
    sink.is_open = False
    with (
        a_tap(tmp_path, upstream, sink.url, limit=60_000) as tap,
        httpx.Client(base_url=tap.url, trust_env=False, timeout=60) as client,
    ):
        asked = 0
        while not tap.metrics()["spool_failures_total"]:
            for _ in range(50):
                assert client.post("/v1/parameters", content=b"{}").status_code == 200
            asked += 50
        for _ in range(50):
            assert client.post("/v1/parameters", content=b"{}").status_code == 200
        sink.is_open = True
        client.close()
        assert tap.end() == 0
    assert [line for line in tap.words if line["event"].startswith("spool cannot be used")]
    assert len({request.id for request in sink.requests}) == asked + 50


class TestWhatCannotWork:
    @pytest.mark.parametrize(
        ("line", "told"),
        [
            ((), "no upstream"),
            (("--upstream", "dify.example"), "--upstream http://dify-api:5001"),
            (("--upstream", "http://x", "--listen", "9000"), "write for example --listen"),
            (("--upstream", "http://x", "--workers", "many"), "workers"),
            (("--upstream", "http://x", "--tls-key", "key.pem"), "tap_tls_key without tap_tls_cert"),
            (("--upstream", "http://x", "--tls-cert", "none.pem"), "certificate none.pem"),
            (("--upstream", "https://x", "--upstream-ca", "none.pem"), "authorities none.pem"),
            (("--upstream", "http://x", "--collector", "https://x", "--collector-ca", "none.pem"), "none.pem"),
            (("--upstream", "http://x", "--spool", "file"), "tap_spool: wanted a folder"),
            (("--upstream", "http://x", "--ingest-token-file", "none"), "ingest_token_file"),
        ],
    )
    def test_costs_one_line(self, tmp_path: Path, line: tuple[str, ...], told: str):
        (tmp_path / "file").write_text("")
        said = typed("tap", *line, at=tmp_path)
        assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
        assert told in said.err

    def test_a_port_in_use_says_whose_it_may_be(self, tmp_path: Path):
        with socket.create_server(("127.0.0.1", 0)) as door:
            taken = f"127.0.0.1:{door.getsockname()[1]}"
            callers = typed("tap", "--upstream", "http://x", "--listen", taken, "--admin", "127.0.0.1:0", at=tmp_path)
            admin = typed("tap", "--upstream", "http://x", "--listen", "127.0.0.1:0", "--admin", taken, at=tmp_path)
        assert (callers.code, admin.code) == (2, 2)
        assert f"cannot listen on {taken}" in callers.err
        assert f"tap_admin: cannot listen on {taken}" in admin.err


class TestCheck:
    def test_all_is_well(self, tmp_path: Path, upstream: str, sink: Sink):
        (tmp_path / "token").write_text(TOKEN)
        line = ("tap", "--check", "--upstream", upstream, "--collector", sink.url, "--ingest-token-file", "token")
        said = typed(*line, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", at=tmp_path)
        assert said.code == 0, said.out
        assert f"{sink.url} takes records" in said.out
        assert sink.records == []

    def test_what_is_not_well_is_a_failure(self, tmp_path: Path, upstream: str, sink: Sink):
        line = ("tap", "--check", "--upstream", f"{upstream},/x=http://127.0.0.1:9", "--collector", sink.url)
        said = typed(*line, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", at=tmp_path)
        assert said.code == 1
        assert f"upstream {upstream}  " in said.out
        assert "Connection refused" in said.out
        assert "HTTP 503" in said.out


def test_it_imports_nothing_that_only_the_collector_needs():
    program = "import sys; sys.argv = ['dify-metric']; import collector.cli, collector.tapping; print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not set(said.stdout.split()) & HEAVY
