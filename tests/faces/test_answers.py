"""One answer in every format: the same rows, and the same words about them."""

from __future__ import annotations

import csv
import io
import json
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from collector.faces.answers import accepted
from collector.faces.formats import MEDIA_TYPES, Format, as_table, written
from collector.measures.catalogue import CATALOGUE
from collector.records import Watermark
from tests.builders import NOON, a_call, a_feedback, a_message, a_request, a_run, an_app

QUERY = "/api/v1/query"
SHANGHAI = ZoneInfo("Asia/Shanghai")
ASKED: dict[str, Any] = {
    "measure": "cost",
    "by": "app_name,is_estimate",
    "grain": "day",
    "since": "2026-11-20",
    "until": "2026-11-20",
    "tz": "Asia/Shanghai",
}


def put(facts) -> None:
    facts.put(an_app(name="客服, „help“"), a_call(), a_call(id="n2", cost=None, currency=None, app_id=None))
    facts.put(Watermark(source="console", stream="runs", app_id="shop", complete_until=NOON))


async def got(client: httpx.AsyncClient, form: str, **asked: Any) -> httpx.Response:
    answer = await client.get(QUERY, params={**ASKED, **asked, "format": form})
    assert answer.status_code == 200, answer.text
    return answer


def table_of(answer: httpx.Response) -> pa.Table:
    if "parquet" in answer.headers["content-type"]:
        return pq.read_table(io.BytesIO(answer.content))
    return pa.ipc.open_stream(answer.content).read_all()


@pytest.mark.parametrize("form", ["parquet", "arrow"])
async def test_tables_have_types_units_and_what_they_are(client, facts, form):
    put(facts)

    answer = await got(client, form)

    table = table_of(answer)
    day = datetime(2026, 11, 20, tzinfo=SHANGHAI)
    assert table.to_pylist() == [
        {"time": day, "app_name": "客服, „help“", "is_estimate": False, "currency": "USD", "cost": Decimal("0.0001")},
        {"time": day, "app_name": None, "is_estimate": False, "currency": None, "cost": None},
    ]
    assert table.schema.field("time").type == pa.timestamp("us", tz="Asia/Shanghai")
    assert table.schema.field("is_estimate").type == pa.bool_()
    assert table.schema.field("cost").metadata == {b"unit": b"currency"}
    told = {name.decode(): value.decode() for name, value in table.schema.metadata.items()}
    assert json.loads(told["period"])["since"] == "2026-11-19T16:00:00+00:00"
    assert json.loads(told["flags"]) == {"unpriced": 1}
    assert (told["timezone"], told["watermark"], told["grain"]) == ("Asia/Shanghai", NOON.isoformat(), "day")


@pytest.mark.parametrize("form", Format)
async def test_every_format_says_in_its_headers_what_it_covers(client, facts, form):
    put(facts)

    answer = await got(client, form, compare="previous")

    assert answer.headers["content-type"].split(";")[0] == MEDIA_TYPES[form]
    assert answer.headers["x-period"] == "2026-11-19T16:00:00+00:00/2026-11-20T16:00:00+00:00"
    assert answer.headers["x-compared"] == "2026-11-18T16:00:00+00:00/2026-11-19T13:00:00+00:00"
    assert answer.headers["x-time-zone"] == "Asia/Shanghai"
    assert answer.headers["x-watermark"] == "2026-11-20T12:00:00+00:00"
    assert answer.headers["x-flags"] == "unpriced=1"
    assert answer.headers["vary"] == "Accept"


async def test_the_rest_and_the_whole_are_told_apart(client, facts):
    facts.put(a_run(), a_run(id="r2"), a_run(id="r3", app_id="b"), a_run(id="r4", app_id="c"))
    asked = {"measure": "runs", "by": "app", "grain": "none", "top": 1, "other": True, "totals": True}

    as_csv = [*csv.reader(io.StringIO((await got(client, "csv", **asked)).text))]
    table = table_of(await got(client, "parquet", **asked))

    assert as_csv == [["part", "app_id", "runs"], ["row", "shop", "2"], ["other", "", "2"], ["total", "", "4"]]
    assert table.column("part").to_pylist() == ["row", "other", "total"]
    assert table.column("runs").to_pylist() == [2, 2, 4]


async def test_an_empty_table_has_its_columns(client):
    assert table_of(await got(client, "arrow", measure="runs", by="app")).schema.names == ["time", "app_id", "runs"]


@pytest.mark.parametrize("measure", [*CATALOGUE], ids=lambda measure: measure.name)
def test_every_measure_fits_into_every_format(facts, measure):
    facts.put(an_app(), a_run(), a_call(), a_message(), a_feedback(), a_request(duration_seconds=1.0))
    grain = "day" if measure.at else "none"

    for by in ("", *(dimension.name for dimension in measure.by[:1])):
        answer = facts.ask(measure.name, by=by, grain=grain, fill="zero", compare="previous", totals=True)
        table = as_table(answer)
        assert table.num_rows == len(answer.rows) + len(answer.totals or [])
        assert all(written(answer, form) for form in Format)


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", Format.JSON),
        ("*/*", Format.JSON),
        ("text/csv", Format.CSV),
        ("text/*", Format.CSV),
        ("TEXT/CSV; header=present", Format.CSV),
        ("application/vnd.apache.parquet", Format.PARQUET),
        ("application/json;q=0.1, application/vnd.apache.arrow.stream", Format.ARROW),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Format.JSON),
        ("text/csv;q=0.5, application/json;q=0.5", Format.CSV),
        ("application/json;q=0, text/csv;q=0.1", Format.CSV),
    ],
)
def test_accept_chooses_the_format(accept, form):
    assert accepted(accept) is form


@pytest.mark.parametrize("accept", ["image/png", "application/json;q=0", "text/csv;q=0, text/*"])
async def test_a_format_there_is_not_is_refused_naming_those_there_are(client, accept):
    answer = await client.get(f"{QUERY}?measure=runs", headers={"Accept": accept})

    assert (answer.status_code, answer.headers["content-type"]) == (406, "application/problem+json")
    assert "application/vnd.apache.parquet" in answer.json()["detail"]


async def test_who_has_the_answer_is_told_so(client, facts):
    facts.put(a_run())
    url = f"{QUERY}?measure=runs&since=2026-11-19&until=2026-11-19"
    first = await client.get(url)
    tag = first.headers["etag"]

    for known in (tag, f'"x", W/{tag}', "*"):
        again = await client.get(url, headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert (await client.get(url, headers={"If-None-Match": '"x"'})).status_code == 200
    facts.put(a_run(id="late", created_at=NOON.replace(day=19)))
    assert (await client.get(url, headers={"If-None-Match": tag})).json()["rows"] == [{"runs": 1}]


async def test_formats_have_tags_of_their_own(client):
    tags = {(await got(client, form)).headers["etag"] for form in Format}

    assert len(tags) == len(Format)


async def test_a_page_links_to_the_next_one(client, facts):
    facts.put(*(a_run(id=f"r{n}", app_id=f"app {n}&é") for n in range(5)))
    url, seen = f"{QUERY}?measure=runs&by=app&since=7d&limit=2", []
    while url:
        answer = await client.get(url)
        seen += [row["app_id"] for row in answer.json()["rows"]]
        url = f"{QUERY}{answer.links['next']['url']}" if "next" in answer.links else ""

    assert seen == [f"app {n}&é" for n in range(5)]


@pytest.mark.parametrize(
    ("question", "field", "words"),
    [
        ("measure=runs&compare=never", "compare", "there are previous, last_week"),
        ("measure=runs&other=true", "other", "needs top"),
        ("measure=runs&cursor=abc", "cursor", "no cursor"),
        ("measure=runs&where=app=shop", "where", "where wants dimension:value"),
        ("measure=runs&since=2020&grain=minute&fill=zero", "fill", "more than 200,000 rows"),
        ("measure=runs&by=app,app_name,mode,workspace,user,run,status,source,origin,person,key", "by", "at most 10"),
        ("measure=runs&tz=Mars", "tz", "no time zone"),
    ],
)
async def test_what_is_refused_comes_with_a_remedy(client, question, field, words):
    answer = await client.get(f"{QUERY}?{question}")

    problem = answer.json()
    assert (answer.status_code, problem["field"]) == (400, field)
    assert words in problem["detail"]
    assert problem.get("remedy") or problem.get("choices") or field == "by"
