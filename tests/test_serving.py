"""The service as a process of its own: commands beside it, signals, secrets, and what stays when it ends."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from collector import wire
from collector.store import open_store
from tests.builders import a_run, an_app
from tests.servers.ports import free_port as another_port
from tests.serving import ADMIN_KEY, Dify, Serving, a_dify, a_service
from tests.typing_it import CAPTURED, typed

STREAM = CAPTURED / "chat-messages.sse"
TOKEN = "an-ingest-token-nobody-may-see"


@pytest.fixture(scope="module")
def dify() -> Iterator[Dify]:
    with a_dify() as dify:
        yield dify


@pytest.fixture
def quiet(tmp_path: Path, free_port: int) -> Iterator[Serving]:
    """A service that pulls from nobody."""
    with a_service(tmp_path, free_port) as serving:
        yield serving


class TestCommandsBesideIt:
    def test_ingest_and_query_say_the_same_as_without_it(self, quiet: Serving):
        period = ("--since", "2026-05-08", "--until", "2026-05-08", "--tz", "Asia/Shanghai", "--json")
        asked = ("query", "tokens,model_calls,model_call_latency_mean", "--by", "model_name", *period)
        first, again = (quiet.typed("ingest", STREAM, "--json") for _ in range(2))
        there = quiet.typed(*asked)
        assert quiet.end(signal.SIGTERM) == 0
        here = quiet.typed(*asked)

        assert (first.code, first.json["new"], again.json["new"]) == (0, 9, 0)
        assert there.json["rows"][0]["tokens"] == 346
        assert (there.out, there.code, there.err) == (here.out, here.code, here.err)

    def test_check_and_a_question_that_is_none(self, quiet: Serving):
        quiet.typed("ingest", STREAM)
        checked, asked, pulled = (quiet.typed(*line) for line in (("check", "--json"), ("query", "token"), ("pull",)))
        assert checked.json["checks"][0]["result"].endswith(f"346 tokens, held by the service at {quiet.url}")
        assert (asked.code, asked.err.count("\n")) == (2, 1)
        assert "no measure 'token'; did you mean 'tokens'" in asked.err
        assert (pulled.code, pulled.err.count("\n")) == (2, 1)

    def test_a_service_of_another_store_is_not_believed(self, quiet: Serving, tmp_path: Path):
        other = tmp_path / "other.duckdb"
        with closing(open_store(other)):
            said = quiet.typed("query", "tokens", "--store", other)
        assert (said.code, said.out, said.err.count("\n")) == (1, "", 1)
        assert f"serves {quiet.store}, not {other}" in said.err
        assert quiet.typed("query", "tokens", "--json", "--at", f"127.0.0.1:{quiet.port}").code == 0

    def test_a_port_in_use_is_one_line(self, quiet: Serving):
        for line in (("serve", "--store", "b.duckdb"), ("demo", "--listen", f"127.0.0.1:{quiet.port}")):
            said = quiet.typed(*line)
            assert said.code == 2
            assert f"cannot listen on 127.0.0.1:{quiet.port} (Address already in use); name another" in said.err
            assert "Traceback" not in said.err

    def test_a_second_service_leaves_the_store_to_the_first(self, quiet: Serving):
        said = quiet.typed("serve", DIFY_METRIC_LISTEN=f"127.0.0.1:{another_port()}")
        assert said.code == 1
        assert f"process {quiet.process.pid} holds the file" in said.err


class TestPulling:
    def test_check_asks_dify_and_believes_nobody_else(self, tmp_path: Path, dify: Dify):
        well = typed("check", "--json", at=tmp_path, **dify.settings)
        wrong = {**dify.settings, "DIFY_METRIC_DIFY_ADMIN_KEY": "another-key"}
        refused = typed("check", "--json", at=tmp_path, **wrong)
        away = {**dify.settings, "DIFY_METRIC_DIFY_URL": "http://127.0.0.1:9", "DIFY_METRIC_RETRIES": "0"}
        gone = typed("check", "--json", at=tmp_path, **away)

        assert [said.code for said in (well, refused, gone)] == [0, 1, 1]
        assert well.json["checks"][1]["result"].startswith("signed in to Dify 1.")
        assert well.json["checks"][1]["result"].endswith(f"{len(dify.world.apps)} apps")
        assert "another-key" not in refused.out + refused.err
        assert "127.0.0.1:9" in gone.json["checks"][1]["result"]

    def test_a_pull_by_the_service_and_one_beside_it(self, tmp_path: Path, free_port: int, dify: Dify):
        with a_service(tmp_path, free_port, **dify.settings) as serving:
            pulled = serving.typed("pull", "--json")
            ready = serving.ask("/readyz").json()
            counted = serving.typed("query", "runs,messages", "--json").json["rows"]
            assert serving.end(signal.SIGTERM) == 0
        alone = tmp_path / "alone"
        alone.mkdir()
        here = Serving(serving.process, alone, free_port, serving.env).typed("pull", "--json")

        assert (pulled.code, here.code) == (0, 0)
        assert {pull["stream"] for pull in pulled.json["pulls"]} <= {pull["stream"] for pull in here.json["pulls"]}
        assert {"runs", "messages", "apps"} <= {line["stream"] for line in ready["pulls"]}
        assert counted[0]["runs"] > 0
        assert (
            counted
            == serving.typed("query", "runs,messages", "--json", "--store", alone / "dify-metric.duckdb").json["rows"]
        )

    def test_it_ends_in_time_with_a_pass_and_a_request_under_way(self, tmp_path: Path, free_port: int, dify: Dify):
        dify.faults.stall("/console/api/apps", times=99)
        with a_service(tmp_path, free_port, **dify.settings) as serving:
            serving.ask("/healthz")
            with socket.create_connection(("127.0.0.1", free_port)) as slow:
                slow.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n")
                began = time.monotonic()
                assert serving.end(signal.SIGTERM) == 0
        dify.faults.release()

        assert time.monotonic() - began < 30  # its grace, twice over: the machine may be busy
        assert [line["event"] for line in serving.lines if line["event"] in ("pass ended early", "ended")][
            -1
        ] == "ended"
        with closing(open_store(serving.store, read_only=True)) as store:
            assert store.rows("SELECT count(*) FROM run") == [(0,)]


class TestWhoMaySend:
    def test_with_a_token_commands_send_it_and_strangers_are_refused(self, tmp_path: Path, free_port: int):
        with a_service(tmp_path, free_port, DIFY_METRIC_INGEST_TOKEN=TOKEN) as serving:
            body = wire.encode([an_app(), a_run()])
            refused = httpx.post(f"{serving.url}/api/v1/ingest", content=body, trust_env=False)
            wrong = serving.typed("ingest", STREAM, DIFY_METRIC_INGEST_TOKEN="another")
            right = serving.typed("ingest", STREAM)
            assert serving.typed("query", "tokens", "--json", DIFY_METRIC_INGEST_TOKEN="").json["rows"] == [
                {"tokens": 346}
            ]

        assert (refused.status_code, wrong.code, right.code) == (401, 1, 0)
        assert "ingest_token" in refused.json()["detail"]
        assert "ingest_token" in wrong.err
        assert wrong.err.count("\n") == 1
        assert TOKEN not in refused.text + wrong.err

    def test_open_to_the_network_it_answers_who_shows_a_key(self, tmp_path: Path, free_port: int):
        made = typed("key", "create", "--name", "me", "--scope", "admin", at=tmp_path)
        assert (made.code, made.out.startswith("dm_"), made.out.strip() in made.err) == (0, True, False)
        me = {"DIFY_METRIC_ADMIN_TOKEN": made.out.strip()}
        with a_service(tmp_path, free_port, DIFY_METRIC_LISTEN=f"0.0.0.0:{free_port}") as serving:
            strangers = [serving.typed(*line) for line in (("ingest", STREAM), ("query", "tokens"), ("key", "list"))]
            stranger = serving.ask("/metrics")
            sent, asked = serving.typed("ingest", STREAM, **me), serving.typed("query", "tokens", "--json", **me)
            assert serving.end(signal.SIGTERM) == 0

        assert [said.code for said in strangers] == [1, 1, 1]
        assert all(said.err.count("\n") == 1 and "dify-metric key create" in said.err for said in strangers)
        assert (stranger.status_code, sent.code, asked.json["rows"]) == (401, 0, [{"tokens": 346}])

    def test_keys_are_made_and_revoked_beside_it_and_without_it(self, tmp_path: Path, free_port: int):
        with a_service(tmp_path, free_port, DIFY_METRIC_ADMIN_TOKEN=TOKEN, DIFY_METRIC_ACCESS="keys") as serving:
            serving.typed("ingest", STREAM)
            app = serving.typed("query", "tokens", "--by", "app", "--json").json["rows"][0]["app_id"]
            bound = ("--name", "team", "--app", app, "--expires", "90d")
            made = serving.typed("key", "create", *bound, "--json")
            team = {"DIFY_METRIC_READ_TOKEN": made.json["token"]}
            mine = serving.typed("query", "tokens", "--json", "--at", serving.url, **team)
            listed = serving.typed("key", "list")
            revoked = serving.typed("key", "revoke", made.json["id"])
            refused = serving.typed("query", "tokens", "--at", serving.url, **team)
            assert serving.end(signal.SIGTERM) == 0
        (after,) = serving.typed("key", "list", "--json").json["keys"]
        wrong = serving.typed("key", "revoke", "nobody")

        assert (made.json["apps"], made.json["scopes"], mine.json["rows"]) == ([app], ["read"], [{"tokens": 346}])
        assert f"read of app {app}" in listed.out
        assert (revoked.code, "is revoked" in revoked.err, refused.code) == (0, True, 1)
        assert "is revoked" in refused.err
        assert (after["state"], after["last_used_at"] is not None) == ("revoked", True)
        assert (wrong.code, "dify-metric key list" in wrong.err) == (2, True)

    def test_where_nobody_could_ask_it_says_what_to_do(self, tmp_path: Path, free_port: int):
        with a_service(tmp_path, free_port, DIFY_METRIC_ACCESS="keys") as serving:
            health = serving.ask("/healthz").status_code
            assert serving.end(signal.SIGTERM) == 0
        (warned,) = [line for line in serving.lines if line["event"].startswith("nobody can ask")]
        assert health == 200
        assert "dify-metric key create" in warned["next"]

    @pytest.mark.parametrize(
        ("line", "told"),
        [
            (("--name", "x", "--scope", "reed"), "no scope 'reed'; there are read, ingest, metrics, admin"),
            (("--name", "x", "--scope", "ingest", "--app", "a"), "can only read"),
            (("--name", "x", "--expires", "soon"), "expires: wanted a span such as 90d"),
            (("--name", "x", "--expires", "2020"), "expires_at: wanted an instant to come"),
        ],
    )
    def test_a_key_that_cannot_be_is_one_line(self, tmp_path: Path, line: tuple[str, ...], told: str):
        said = typed("key", "create", *line, at=tmp_path)
        assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
        assert told in said.err


def test_no_secret_gets_anywhere(tmp_path: Path, free_port: int):
    with a_dify() as dify:
        dify.faults.answer("/console/api/apps", 500, f"<p>Bearer {ADMIN_KEY}</p>".encode(), times=2)
        with a_service(tmp_path, free_port, DIFY_METRIC_INGEST_TOKEN=TOKEN, **dify.settings) as serving:
            pulled = [serving.typed("pull"), serving.typed("check"), serving.typed("query", "nothing")]
            pages = [
                serving.ask(path).text
                for path in ("/metrics", "/readyz", "/docs", "/api/v1/query?measure=pulls&by=error_class")
            ]
            assert serving.end(signal.SIGINT) == 0

    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    told = "".join([*pages, serving.words, *(said.out + said.err for said in pulled)])
    for one in (ADMIN_KEY, TOKEN):
        assert one not in told
        assert one.encode() not in kept
    assert all(isinstance(line["event"], str) for line in serving.lines)  # each line is one JSON object
