from __future__ import annotations

import csv
import io
import re
from datetime import timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from collector.errors import StoreError
from collector.faces import rest_models as models
from collector.faces.rest import application
from collector.measures.catalogue import CATALOGUE
from collector.quirks import QUIRKS
from collector.records import Pull, Watermark
from tests.builders import NOON, a_call, a_run, an_app
from tests.faces.served import NOW, asked, served


async def test_a_question_is_answered_with_what_it_covers(client, facts):
    facts.put(a_run(), a_run(id="r2", status="failed", app_id="helpdesk"))
    facts.put(Watermark(source="console", stream="runs", app_id="shop", complete_until=NOON))

    answer = await asked(client, "/api/v1/query?measure=runs,failed_runs&by=app&since=2026-11-20&tz=Asia/Shanghai")

    assert answer == {
        "rows": [
            {"app_id": "helpdesk", "runs": 1, "failed_runs": 1},
            {"app_id": "shop", "runs": 1, "failed_runs": 0},
        ],
        "period": {"since": "2026-11-19T16:00:00+00:00", "until": "2026-11-20T16:00:00+00:00"},
        "timezone": "Asia/Shanghai",
        "grain": "none",
        "watermark": "2026-11-20T12:00:00+00:00",
        "flags": {},
        "units": {"runs": "runs", "failed_runs": "runs"},
        "from": "facts",
    }


async def test_every_answer_has_the_shape_the_document_says(client, facts):
    facts.put(an_app(), a_run(), a_call(), a_call(id="n2", model_name=None, cost=None, currency=None))

    told = await asked(client, "/api/v1/query?measure=cost,tokens,output_speed&by=model,is_debug&grain=hour&fill=zero")

    answer = models.AnswerBody.model_validate(told, strict=False, extra="forbid")
    assert {type(row["tokens"]) for row in answer.rows} == {int}
    models.Listing.model_validate(await asked(client, "/api/v1/measures"), extra="forbid")
    models.Ready.model_validate(await asked(client, "/readyz"), extra="forbid")
    models.Alive.model_validate(await asked(client, "/healthz"), extra="forbid")


async def test_names_may_be_repeated_or_have_commas(client, facts):
    facts.put(a_run())

    repeated = await asked(client, "/api/v1/query?measure=runs&measure=messages&by=app&by=app_mode")
    with_commas = await asked(client, "/api/v1/query?measure=runs,messages&by=app,mode")

    assert repeated == with_commas


async def test_money_is_text_with_every_digit(client, facts):
    facts.put(a_call(cost=Decimal("12345678.000000001")), a_call(id="n2", cost=Decimal("0E-9")))

    answer = await asked(client, "/api/v1/query?measure=cost")

    assert answer["rows"] == [{"currency": "USD", "cost": "12345678.000000001"}]
    assert answer["flags"] == {"unpriced": 1}


async def test_filters_may_be_repeated(client, facts):
    facts.put(a_run(app_id="a"), a_run(id="r2", app_id="b"), a_run(id="r3", app_id="c"))

    answer = await asked(client, "/api/v1/query?measure=runs&where=app:a&where=app:b&where=!status:failed")

    assert answer["rows"] == [{"runs": 2}]


async def test_the_period_defaults_to_all_there_is_in_our_zone(facts):
    facts.put(a_run(created_at=NOON - timedelta(days=400)))
    async with served(facts.rows, timezone="Asia/Shanghai") as client:
        answer = await asked(client, "/api/v1/query?measure=runs")

    assert answer["timezone"] == "Asia/Shanghai"
    assert answer["period"] == {"since": "2025-10-16T12:00:00+00:00", "until": "2026-11-20T13:00:00+00:00"}
    assert answer["rows"] == [{"runs": 1}]


async def test_filled_steps_end_now(client):
    answer = await asked(client, "/api/v1/query?measure=runs&grain=hour&since=2026-11-20&fill=zero")

    assert answer["rows"][-1] == {"time": "2026-11-20T12:00:00+00:00", "runs": 0}


@pytest.mark.parametrize("how", [{"params": {"format": "csv"}}, {"headers": {"Accept": "text/csv"}}])
async def test_csv_for_who_asks_for_it(client, facts, how):
    facts.put(an_app(name='Shop, "big"'), a_run(), a_call(), a_call(id="n2", cost=None, currency=None))
    params = {"measure": "cost", "by": "app_name", "since": "2026-11-20"} | how.get("params", {})

    answer = await client.get("/api/v1/query", params=params, headers=how.get("headers"))

    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert [*csv.reader(io.StringIO(answer.text))] == [
        ["app_name", "currency", "cost"],
        ['Shop, "big"', "USD", "0.000100000"],
        ['Shop, "big"', "", ""],
    ]
    assert answer.headers["x-period"] == "2026-11-20T00:00:00+00:00/2026-11-21T00:00:00+00:00"
    assert answer.headers["x-flags"] == "unpriced=1"
    assert answer.headers["x-watermark"] == ""


async def test_csv_without_rows_has_its_head(client):
    answer = await client.get("/api/v1/query?measure=runs&by=app&grain=day&format=csv")

    assert answer.text == "time,app_id,runs\r\n"


async def test_a_name_is_no_formula(client, facts):
    facts.put(a_run(session_id="=HYPERLINK(1)"))

    answer = await client.get("/api/v1/query?measure=runs&by=session&format=csv")

    assert answer.text.splitlines()[1] == "'=HYPERLINK(1),1"


@pytest.mark.parametrize(
    ("question", "field", "words"),
    [
        ("measure=failed_run", "measure", "did you mean 'failed_runs'"),
        ("measure=runs&by=colour", "by", "no dimension 'colour'"),
        ("measure=runs&where=colour:red", "where", "no dimension 'colour'"),
        ("measure=runs&by=rating", "by", "runs cannot be split by rating"),
        ("measure=cost,runs", "measure", "which cost needs"),
        ("measure=runs&grain=fortnight", "grain", "there are none, minute"),
        ("measure=runs&since=yesterday", "since", "no time 'yesterday'"),
        ("measure=runs&since=2026-12&until=2026-10", "since", "after its end"),
        ("measure=runs&since=1971&until=2999&grain=day", "since", "a hundred years"),
        ("measure=runs&tz=Mars/Olympus", "tz", "no time zone 'Mars/Olympus'"),
        ("measure=runs&order=-tokens", "order", "no column 'tokens'"),
        ("measure=runs&fill=one", "fill", "there are none, zero"),
        ("measure=runs&limit=0", "limit", "greater than or equal to 1"),
        ("measure=runs&limit=many", "limit", "valid integer"),
        ("measure=runs&format=xml", "format", "'csv', 'parquet' or 'arrow'"),
        ("measure=runs&wher=app:a", "wher", "no parameter 'wher'"),
        ("measure=", "measure", "needs a measure"),
        ("", "measure", "required"),
    ],
)
async def test_a_wrong_question_is_told_what_was_wrong(client, question, field, words):
    answer = await client.get(f"/api/v1/query?{question}")

    problem = answer.json()
    assert answer.status_code == problem["status"] == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["field"] == field
    assert words in problem["detail"]


async def test_a_misspelt_measure_is_given_choices(client):
    problem = (await client.get("/api/v1/query?measure=tokns")).json()

    assert problem["choices"][0] == "tokens"


async def test_an_unknown_path_is_a_problem_too(client):
    answer = await client.get("/api/v2/query")

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


async def test_only_reading_is_allowed(client):
    answer = await client.post("/api/v1/query")

    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET"


async def test_the_catalogue_is_listed(client):
    listing = await asked(client, "/api/v1/measures")

    by_name = {measure["name"]: measure for measure in listing["measures"]}
    assert len(by_name) == len(CATALOGUE)
    assert by_name["cost"]["always_by"] == ["currency"]
    assert by_name["active_users"]["adds_up"] is False
    assert by_name["response_time_p95"]["family"] == "response_time"
    dimensions = {dimension["name"]: dimension for dimension in listing["dimensions"]}
    assert dimensions["model_name"]["aliases"] == ["model"]
    assert dimensions["status_code"]["kind"] == "int"
    doubts = {quirk.name for quirk in QUIRKS if quirk.is_defect}
    ours = {"stale", "estimated", "usage_unknown", "unpriced", "unrated", "runs_missing", "debug_unknown"}
    assert {flag["name"] for flag in listing["flags"]} == ours | doubts


async def test_ready_says_what_was_pulled(client, facts):
    told = {"source": "console", "seen_at": NOON, "requests": 1, "pages": 1, "records": 1, "parse_failures": 0}
    facts.put(Pull(id="p1", stream="runs", created_at=NOON, seconds=1.0, is_complete=True, **told))
    facts.put(Pull(id="p2", stream="runs", created_at=NOW, seconds=1, is_complete=False, error_class="store", **told))
    facts.put(
        Pull(id="p3", stream="feedback", created_at=NOON, seconds=1.0, is_complete=False, error_class="other", **told)
    )

    assert (await asked(client, "/readyz"))["pulls"] == [
        {"stream": "feedback", "last_complete_pull": None, "pulls": 1, "pull_failures": 1},
        {"stream": "runs", "last_complete_pull": "2026-11-20T12:00:00+00:00", "pulls": 1, "pull_failures": 0},
    ]


async def test_without_a_store_we_are_alive_and_not_ready():
    def broken(sql: str, parameters: object = ()) -> list[tuple[object, ...]]:
        raise StoreError("the file is locked")

    async with served(broken) as client:
        alive, ready, query = [await client.get(path) for path in ("/healthz", "/readyz", "/api/v1/query?measure=runs")]

    assert alive.json()["status"] == "alive"
    assert (ready.status_code, query.status_code) == (503, 503)
    assert ready.json()["detail"] == "the file is locked"


async def test_the_document_describes_every_answer(client):
    document = await asked(client, "/openapi.json")

    query = document["paths"]["/api/v1/query"]["get"]
    assert [each["name"] for each in query["parameters"]][:3] == ["measure", "by", "grain"]
    assert all(each["description"] for each in query["parameters"])
    assert set(query["responses"]) == {"200", "304", "4XX", "5XX"}
    assert set(query["responses"]["200"]["content"]) == {
        *("application/json", "text/csv", "application/vnd.apache.parquet", "application/vnd.apache.arrow.stream")
    }
    assert all(re.search("[一-鿿]", operation["get"]["summary"]) for operation in document["paths"].values())


async def test_the_page_names_every_measure_and_asks_no_other_server(client):
    answer = await client.get("/docs")

    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert all(f"<code>{measure.name}</code>" in answer.text for measure in CATALOGUE)
    assert "http://" not in answer.text
    assert "https://" not in answer.text
    assert "<script" not in answer.text


async def test_the_page_s_form_can_be_sent_as_it_stands(client):
    await asked(client, "/api/v1/query?measure=runs&by=&grain=none&since=7d&tz=UTC")


async def test_a_fault_of_ours_is_a_problem_too_and_tells_no_more_than_its_kind():
    def rows(*_: object) -> Any:
        raise RuntimeError("something about somebody")

    app = application(rows, lambda: NOW)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://collector") as client:
        answer = await client.get("/api/v1/query?measure=runs&since=2026-11-20")

    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert "RuntimeError" in answer.json()["detail"]
    assert "somebody" not in answer.text
