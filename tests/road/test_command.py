"""`dify-metric pull` as somebody types it: what it prints where, how it exits, and what it leaves behind."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from collector.app import utc_now
from collector.demo import EVER
from collector.records import Run
from collector.store import open_store
from tests.collect.shelf import Shelf
from tests.road.way import a_past
from tests.road.wire import Site, a_site

ESCAPE = "\x1b"


@pytest.fixture(scope="module")
def dify(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    world = a_past(now=utc_now() - timedelta(hours=1), days=1, runs_per_day=25, seed=14)
    with a_site(world, tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.fixture
def site(dify: Site, tmp_path: Path) -> Site:
    """That Dify, well again, and an empty folder."""
    dify.faults.clear()
    dify.gate.open()
    return Site(dify.world, dify.gate, dify.faults, dify.url, tmp_path)


def test_a_pull_prints_a_table_and_nothing_that_moves(site: Site):
    code, out, err = site.run("pull", "--store", "t.duckdb")

    assert code == 0
    assert out.splitlines()[0].split() == ["stream", "apps", "records", "set", "aside", "error"]
    rows = {line.split()[0]: [int(number) for number in line.split()[1:4]] for line in out.splitlines()[1:]}
    assert {"apps", "runs", "app-logs", "conversations", "messages", "node-executions", "feedback"} <= set(rows)
    assert rows["apps"] == [1, len(site.world.apps), 0]
    assert ESCAPE not in out + err
    assert "█" not in err
    with closing(open_store(site.folder / "t.duckdb")) as store:
        assert len(Shelf(store).of(Run)) >= sum(len(logs) for logs in site.world.logs_of.values()) > 0


def test_a_pull_prints_json_when_asked(site: Site):
    code, out, _ = site.run("pull", "--store", "t.duckdb", "--json")

    told = json.loads(out)
    assert code == 0
    assert {pull["error_class"] for pull in told["pulls"]} == {None}
    assert set(told["pulls"][0]) == {
        *("origin", "stream", "app_id", "records", "parse_failures", "error_class", "is_complete")
    }


def test_what_was_pulled_can_be_asked_for(site: Site):
    site.run("pull", "--store", "t.duckdb")

    code, out, _ = site.run("query", "runs,tokens", "--by", "app", "--json", "--store", "t.duckdb")

    assert code == 0
    assert sum(row["runs"] for row in json.loads(out)["rows"]) > 0


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({"DIFY_METRIC_DIFY_URL": "http://127.0.0.1:9"}, r"no answer from http://127\.0\.0\.1:9 .+ is Dify up"),
        ({"DIFY_METRIC_DIFY_ADMIN_KEY": "wrong-key"}, r"GET /apps: 401: the key, token or session is not accepted"),
    ],
    ids=["unreachable", "401"],
)
def test_a_dify_that_does_not_answer_is_exit_1(site: Site, env: dict[str, str], says: str):
    code, out, err = site.run("pull", "--store", "t.duckdb", **env)

    assert code == 1
    assert re.search(says, err)
    assert "Traceback" not in err
    assert "wrong-key" not in out + err
    assert out.splitlines()[1].split()[0] == "apps"


def test_one_closed_endpoint_is_exit_1_and_the_rest_is_there(site: Site):
    site.faults.refuse("chat-conversations", 403, "forbidden", times=EVER)

    code, out, err = site.run("pull", "--store", "t.duckdb")

    assert code == 1
    assert re.search(r"conversations +\d+ +\d+ +0 +forbidden", out)
    assert "the account's role may not read this" in err
    with closing(open_store(site.folder / "t.duckdb")) as store:
        assert Shelf(store).of(Run)


def test_no_dify_is_exit_2_and_says_what_to_set(site: Site):
    none = dict.fromkeys(("DIFY_METRIC_DIFY_URL", "DIFY_METRIC_DIFY_ADMIN_KEY", "DIFY_METRIC_DIFY_WORKSPACE_ID"), "")

    code, out, err = site.run("pull", "--store", "t.duckdb", **none)

    assert (code, out) == (2, "")
    assert "set dify_url and a way to sign in" in err


@pytest.mark.parametrize(
    ("arguments", "env", "says"),
    [
        (("pull", "--store", "t.duckdb"), {"DIFY_METRIC_RETRIES": "many"}, "DIFY_METRIC_RETRIES"),
        (("pull", "--stoer", "t.duckdb"), {}, "--stoer"),
        (("pull", "--config", "nowhere.toml"), {}, "nowhere.toml"),
    ],
    ids=["setting", "option", "file"],
)
def test_a_misuse_is_exit_2(site: Site, arguments: tuple[str, ...], env: dict[str, str], says: str):
    code, out, err = site.run(*arguments, **env)

    assert (code, out) == (2, "")
    assert says in err
    assert "Traceback" not in err


def test_a_bar_moves_on_a_terminal_and_leaves_stdout_alone(site: Site):
    ours, theirs = pty.openpty()
    with site.begin("pull", "--store", "t.duckdb", "--json", stderr=theirs, env={"TERM": "xterm"}) as command:
        os.close(theirs)
        drawn = _all_of(ours)
        assert command.stdout is not None
        out = command.stdout.read()

    assert command.returncode == 0
    assert json.loads(out)["pulls"]
    assert ESCAPE in drawn
    assert re.search(r"node-executions.*\d+/\d+", drawn)


def test_ctrl_c_leaves_a_store_that_goes_on(site: Site):
    site.gate.shut_after(40)
    with site.begin("pull", "--store", "t.duckdb") as command:
        assert site.gate.reached.wait(60)
        command.send_signal(signal.SIGINT)
        _, err = command.communicate(timeout=60)
    site.gate.open()

    assert command.returncode in (1, 130)
    assert "Traceback" not in err
    assert site.run("pull", "--store", "t.duckdb")[0] == 0
    with closing(open_store(site.folder / "t.duckdb")) as store:
        wanted = {run.id for run in site.world.runs.values() if run.triggered_from != "debugging"}
        assert wanted <= set(Shelf(store).of(Run))


def _all_of(terminal: int) -> str:
    """Everything written to a terminal until nobody writes any more."""
    parts = []
    try:
        while part := os.read(terminal, 4096):
            parts.append(part)
    except OSError:  # Linux says so when the other end is closed
        pass
    os.close(terminal)
    return b"".join(parts).decode()
