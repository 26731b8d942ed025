"""deploy/sources.md cannot lie: its rights are made, its settings, commands and endpoints are those of the code."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator

import pytest
import typer

from collector.cli import cli
from collector.pull import endpoints
from collector.pull.database.rights import role_sql
from collector.pull.redis_link import READ_ONLY_USER
from collector.settings import FIELDS, SECRETS
from collector.settings.source import DifySource
from tests.conftest import ROOT

PAGE = (ROOT / "deploy" / "sources.md").read_text()
BLOCKS = re.findall(r"(?ms)^```(\w+)\n(.*?)^```$", PAGE)
NAMED = set(re.findall(r"`([^`\n]+)`", re.sub(r"(?ms)^```.*?^```$", "", PAGE)))
OURS = ("dify_", "database_", "broker_", "pull_", "node_", "reconcile_", "read_")


def blocks(kind: str) -> list[str]:
    return [text for found, text in BLOCKS if found == kind]


def test_the_rights_are_those_that_are_tested():
    assert blocks("sql") == [role_sql()]
    assert blocks("redis") == [READ_ONLY_USER + "\n"]


def test_every_setting_it_names_exists():
    known = {*FIELDS, *DifySource.model_fields, *(f"{name}_file" for name in SECRETS)}
    named = {name for name in NAMED if name.startswith(OURS) and not name.startswith("dify_metric_")}
    for text in blocks("toml"):
        named |= set(tomllib.loads(text))

    assert len(named) > 15
    assert named <= known


def test_every_setting_of_a_source_is_named():
    wanted = {name for name in FIELDS if name.startswith(("dify_", "database_", "broker_"))}

    assert wanted <= NAMED


@pytest.mark.parametrize("name", ["pull_interval", "pull_concurrency", "node_budget", "database_statement_seconds"])
def test_a_default_it_names_is_the_one_in_force(name: str):
    (told,) = set(re.findall(rf"`{name}` \((\d+)", PAGE))
    default = FIELDS[name].default

    assert float(told) == (default.total_seconds() if hasattr(default, "total_seconds") else default)


def lines() -> Iterator[str]:
    yield from (line for text in blocks("sh") for line in text.splitlines())
    yield from (name for name in NAMED if name.startswith("dify-metric "))


@pytest.mark.parametrize("line", sorted(set(lines())))
def test_every_command_it_names_can_be_typed(line: str):
    program, verb, *rest = line.split()
    command = typer.main.get_command(cli).commands[verb]  # type: ignore[attr-defined]
    options = {name for parameter in command.params for name in parameter.opts}

    assert program == "dify-metric"
    assert {word for word in rest if word.startswith("--")} <= options


def test_options_it_names_are_those_of_ingest():
    command = typer.main.get_command(cli).commands["ingest"]  # type: ignore[attr-defined]
    options = {name for parameter in command.params for name in parameter.opts}

    assert {name for name in NAMED if name.startswith("--")} <= options


OF_NO_ROLE = {"/console/api", "/v1", "/metrics", "/api/v1/set-aside", endpoints.SERVICE_FEEDBACK}


def test_it_says_which_role_each_endpoint_takes():
    paths = {each.path for each in vars(endpoints).values() if isinstance(each, endpoints.Endpoint)}
    paths |= {each for name, each in vars(endpoints).items() if name.isupper() and str(each).startswith("/")}
    paths |= {each.path for each in (*endpoints.MODELS, endpoints.retrievals_of("x"))}
    wanted = {re.sub(r"(?<=model-types/).*", "{kind}", path) for path in paths}
    told = {name for name in NAMED if name.startswith("/") and "…" not in name and name not in OF_NO_ROLE}

    assert told == wanted - OF_NO_ROLE | {"/account/profile"}
    assert endpoints.SERVICE_FEEDBACK in NAMED


def test_the_readme_leads_here():
    assert "(deploy/sources.md)" in (ROOT / "README.md").read_text()


def test_it_says_what_cannot_be_read():
    assert re.search(r"MySQL.*are not read", PAGE)
