"""`dify-metric check --reconcile`: a table for people, JSON for machines, and an exit code for scripts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from collector.cli import cli
from collector.store import open_store
from tests.builders import a_call, a_node, a_run, an_app
from tests.reconcile.test_reasons import READ, all_read


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    return str(tmp_path / "facts.duckdb")


def put(path: str, total: int) -> None:
    store = open_store(path)
    store.put([an_app(), a_run(reported_tokens=total, **READ), a_call(), a_node(reported_tokens=100)], all_read())
    store.put([a_node(id="t1", node_type="tool", reported_tokens=30)])
    store.close()


def check(path: str, *options: str) -> tuple[int, str]:
    told = CliRunner().invoke(cli, ["check", "--reconcile", "--since", "2026-11", "--store", path, *options])
    return told.exit_code, told.stdout


def test_known_causes_are_no_failure(path: str) -> None:
    put(path, 130)

    code, text = check(path)

    assert code == 0
    assert "Workflow as a tool counted again" in text
    assert "+30 tokens" in text
    assert "open" not in text


def test_a_difference_nobody_can_explain_is_shown_and_fails(path: str) -> None:
    put(path, 137)

    code, text = check(path)

    assert code == 1
    assert all(word in text for word in ("2026-11-20", "Shop", "run_tokens", "137", "Unexplained +7"))


def test_json_has_every_row(path: str) -> None:
    put(path, 137)

    code, text = check(path, "--json")

    assert code == 1
    assert json.loads(text)["states"] == {"equal": 0, "explained": 1, "open": 1}


def test_some_apps_only(path: str) -> None:
    put(path, 137)

    assert check(path, "--app", "another")[0] == 0
