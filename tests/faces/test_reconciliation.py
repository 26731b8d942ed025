"""Reconciliation over REST, as CSV and as a metric."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from collector.faces import reconciliation
from collector.faces.reconciliation import Watch
from collector.faces.reference import reference
from collector.faces.rest import application
from collector.settings import Settings, describe
from tests.builders import NOON, a_call, a_message, a_node, a_run, an_app
from tests.measures.facts import Facts
from tests.reconcile.test_reasons import READ, a_statistic, all_read

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
PATH = "/api/v1/reconciliation"


@pytest.fixture
async def client(facts: Facts) -> AsyncIterator[httpx.AsyncClient]:
    app = application(facts.rows, lambda: NOW)
    app.include_router(reconciliation.router(facts.rows, lambda: NOW))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://collector") as client:
        yield client


@pytest.fixture
def tool(facts: Facts) -> None:
    """A run that repeats 30 tokens of a tool, and one whose total is 7 too high."""
    facts.put(an_app(workspace_id="w1"), *all_read())
    facts.put(a_run(reported_tokens=130, **READ), a_call(), a_node(reported_tokens=100))
    facts.put(a_node(id="t1", node_type="tool", reported_tokens=30))
    facts.put(a_run(id="r2", reported_tokens=107, **READ), a_call(id="n2", run_id="r2"))
    facts.put(a_node(id="n2", run_id="r2", reported_tokens=100))


async def asked(client: httpx.AsyncClient, query: str = "") -> Any:
    answer = await client.get(f"{PATH}?{query}")
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.usefixtures("tool")
async def test_a_difference_says_how_much_and_why(client: httpx.AsyncClient) -> None:
    told = await asked(client, "since=2026-11-20&kind=run_tokens")

    assert told["rows"] == [
        {
            "day": "2026-11-20",
            "app_id": "shop",
            "app_name": "Shop",
            "workspace_id": "w1",
            "timezone": "UTC",
            "kind": "run_tokens",
            "unit": "tokens",
            "ours": 200,
            "theirs": 237,
            "difference": 37,
            "share": 0.185,
            "unexplained": 7,
            "state": "open",
            "is_complete": True,
            "reasons": [
                {"cause": "tool_repeated", "amount": 30, "facts": 1},
                {"cause": "unexplained", "amount": 7, "facts": 1},
            ],
        }
    ]
    assert told["states"] == {"equal": 0, "explained": 0, "open": 1}
    assert told["period"] == {"since": "2026-11-20T00:00:00+00:00", "until": "2026-11-21T00:00:00+00:00"}
    causes = {cause["name"]: cause for cause in told["causes"]}
    assert causes["tool_repeated"]["issues"] == [22717, 22970, 27020]
    assert causes["tool_repeated"]["believe"] == "each run's own model calls"
    assert causes["unexplained"]["is_settled"] is False
    reconciliation.ReconciliationBody.model_validate(told, strict=False, extra="forbid")


@pytest.mark.usefixtures("tool")
async def test_only_what_is_open_explained_or_of_an_app(client: httpx.AsyncClient) -> None:
    open_, explained, whole = [await asked(client, f"only={only}") for only in ("open", "explained", "all")]

    assert [row["kind"] for row in open_["rows"]] == ["run_tokens"]
    assert [row["kind"] for row in explained["rows"]] == ["node_tokens"]
    assert len(whole["rows"]) == 2
    assert open_["states"] == whole["states"]
    assert not (await asked(client, "app=another"))["rows"]
    assert len((await asked(client, "app=another&app=shop"))["rows"]) == 2


@pytest.mark.usefixtures("tool")
async def test_csv_has_one_line_per_row(client: httpx.AsyncClient, facts: Facts) -> None:
    facts.put(an_app(id="evil", name="=1+1"), a_run(id="r3", app_id="evil", reported_tokens=5, **READ))

    answer = await client.get(f"{PATH}?kind=run_tokens", headers={"Accept": "text/csv"})

    lines = list(csv.DictReader(io.StringIO(answer.text)))
    assert answer.headers["content-type"].startswith("text/csv")
    assert {line["app_name"]: (line["difference"], line["reasons"]) for line in lines} == {
        "Shop": ("37", "tool_repeated=30 unexplained=7"),
        "'=1+1": ("5", "unexplained=5"),
    }


@pytest.mark.parametrize("wrong", ["only=some", "since=yesterday", "kind=money", "colour=red"])
async def test_a_wrong_question_is_told_what_is_wrong(client: httpx.AsyncClient, wrong: str) -> None:
    answer = await client.get(f"{PATH}?{wrong}")

    assert answer.status_code == 400
    assert answer.json()["field"] == wrong.partition("=")[0]


async def test_an_empty_store_has_nothing_to_reconcile(client: httpx.AsyncClient) -> None:
    assert (await asked(client, "since=all"))["rows"] == []


async def test_the_document_has_it(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()

    parameters = {each["name"] for each in document["paths"][PATH]["get"]["parameters"]}
    assert parameters == {"since", "until", "app", "kind", "only", "format"}


# The metric


def watched(facts: Facts, clock: Any) -> Watch:
    return Watch(facts.rows, clock=clock, every=timedelta(hours=1))


TOKENS, MONEY, COUNTS = (f"dify_metric_reconciliation_difference_{unit}" for unit in ("tokens", "usd", "facts"))


@pytest.mark.usefixtures("tool")
def test_the_metric_has_signs_but_what_is_unexplained_cannot_cancel(facts: Facts) -> None:
    facts.put(a_run(id="r3", reported_tokens=93, created_at=NOON - timedelta(days=1), **READ))
    facts.put(a_call(id="n3", run_id="r3", created_at=NOON - timedelta(days=1)))
    facts.put(a_node(id="n3", run_id="r3", reported_tokens=100))

    assert watched(facts, lambda: NOW).values(TOKENS) == {
        ("w1", "node_tokens", "unexplained"): 0.0,
        ("w1", "node_tokens", "tool_repeated"): 30.0,
        ("w1", "run_tokens", "unexplained"): 14.0,
        ("w1", "run_tokens", "tool_repeated"): 30.0,
    }


def test_days_that_are_not_complete_do_not_count(facts: Facts) -> None:
    facts.put(an_app(), a_run(reported_tokens=107, **READ), a_call())

    assert watched(facts, lambda: NOW).values(TOKENS) == {}


def test_it_is_worked_out_once_an_hour(facts: Facts) -> None:
    at = NOW
    watch = watched(facts, lambda: at)
    assert watch.values(TOKENS) == {}
    facts.put(an_app(), a_statistic("run_tokens", 5, day=date(2026, 11, 20)), *all_read())

    assert watch.values(TOKENS) == {}
    at += timedelta(hours=1)
    assert watch.values(TOKENS) == {("", "run_statistic", "unexplained"): 5.0}


def test_money_and_counts_have_metrics_of_their_own(facts: Facts) -> None:
    facts.put(an_app(id="helpdesk", mode="chat"), *all_read("helpdesk"), a_message())
    facts.put(a_call(id="m1", message_id="m1", run_id=None, app_id="helpdesk", cost=None, currency=None))
    for name, number in (("messages", 1), ("conversations", 2), ("end_users", 1)):
        facts.put(a_statistic(name, number, "helpdesk"))
    facts.put(a_statistic("message_cost", 0, "helpdesk", number=None, amount=Decimal("0.25")))
    watch = watched(facts, lambda: NOW)

    assert watch.values(MONEY) == {
        ("", "message_cost", "unexplained"): 0.0,
        ("", "message_cost", "price_untold"): 0.25,
    }
    assert watch.values(COUNTS) == {
        ("", "messages", "unexplained"): 0.0,
        ("", "conversations", "unexplained"): 1.0,
        ("", "end_users", "unexplained"): 0.0,
    }


def test_the_reference_lists_the_quirks() -> None:
    text = reference(describe(Settings()))

    assert "| `containers_twice` | 1.9.2 – 1.9.2 |" in text
    assert "| `tool_repeated` | from 1.10 |" in text
    assert "#28405" in text
