"""Each statistic against numbers worked out by hand (`worked_out.py`), and what a request for one may add."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from collector.faces.formats import Format
from collector.faces.statistics.table import STATISTICS
from tests.builders import a_call, a_run, an_app
from tests.faces.served import asked
from tests.faces.worked_out import (
    AT,
    DAYS,
    LISTS,
    LONG_AGO,
    NEW_YORK,
    ONE_DAY,
    SERIES,
    SHANGHAI,
    put_early,
    put_late,
)

OF_APPS = [statistic.path for statistic in STATISTICS if statistic.is_of_app]
PATHS = [statistic.path.replace("{id}", "shop") for statistic in STATISTICS]


def test_every_statistic_is_worked_out_here():
    worked_out = {path.replace("/shop", "/{id}").replace("/chat", "/{id}") for path in (*SERIES, *LISTS)}

    assert worked_out == {statistic.path for statistic in STATISTICS}
    assert len(STATISTICS) == 22


@pytest.mark.parametrize("tz", [SHANGHAI, NEW_YORK])
@pytest.mark.parametrize("path", SERIES)
async def test_day_by_day(client, facts, path, tz):
    put_early(facts)
    before = await asked(client, f"/api/v1/{path}", tz=tz, **DAYS)
    put_late(facts)
    answer = await asked(client, f"/api/v1/{path}", tz=tz, **DAYS)

    truth = SERIES[path][tz]
    assert [row["time"][:10] for row in answer["rows"]] == ["2026-10-31", "2026-11-01", "2026-11-02"]
    for column, values in truth.items():
        assert [row[column] for row in answer["rows"]] == [_near(value) for value in values], column
    if (path, tz) != ("tasks/queue-backlog", NEW_YORK):  # there a later sample of the day was in already
        assert before["rows"] != answer["rows"]  # what came late counts where it happened


@pytest.mark.parametrize("tz", [SHANGHAI, NEW_YORK])
@pytest.mark.parametrize("path", LISTS)
async def test_on_the_day_the_clocks_changed(client, facts, path, tz):
    put_early(facts)
    before = await asked(client, f"/api/v1/{path}", tz=tz, **ONE_DAY)
    put_late(facts)
    answer = await asked(client, f"/api/v1/{path}", tz=tz, **ONE_DAY)

    truth = LISTS[path][tz]
    told = [{name: row[name] for name in each} for row, each in zip(answer["rows"], truth, strict=True)]
    assert told == [{name: _near(value) for name, value in each.items()} for each in truth]
    assert before["rows"] != answer["rows"]


@pytest.mark.parametrize("path", PATHS)
async def test_an_empty_period_has_nothing_in_it(client, facts, path):
    put_early(facts)
    put_late(facts)

    answer = await asked(client, f"/api/v1/{path}", since="2020-01-01", until="2020-01-02")

    of_now = {"apps", "published_apps", "idle_apps", "app_created", "app_updated", "datasets", "rank"}
    for row in answer["rows"]:
        assert not any(row.get(name) for name in answer["units"] if name not in of_now), row
    assert answer["period"]["since"] == "2020-01-01T00:00:00+00:00"


@pytest.mark.parametrize("path", OF_APPS)
async def test_an_app_nobody_saw_is_not_found(client, facts, path):
    facts.put(an_app())

    for unknown in ("nowhere", "%20", "shop%20", "x'%20OR%20'a'='a", "%E5%BA%97", "x" * 1500):
        answer = await client.get(f"/api/v1/{path.replace('{id}', unknown)}")
        assert answer.headers["content-type"] == "application/problem+json"
        if len(unknown) < 1000:
            assert (answer.status_code, answer.json()["field"]) == (404, "id")
            assert "/api/v1/apps" in answer.json()["remedy"]


async def test_an_app_that_is_deleted_or_known_by_its_facts_alone_is_found(client, facts):
    facts.put(an_app(id="gone", deleted_at=AT["F"]), a_run(app_id="untold"), a_call(app_id="called", is_debug=True))

    for app in ("gone", "untold", "called"):
        assert (await client.get(f"/api/v1/apps/{app}/calls")).status_code == 200


# -- what a request may add


async def test_the_rest_of_a_dashboard_comes_with_it(client, facts):
    put_early(facts)
    put_late(facts)

    business = await asked(client, "/api/v1/business", tz=SHANGHAI, **ONE_DAY)
    backlog = await asked(client, "/api/v1/tasks/queue-backlog", tz=SHANGHAI, **ONE_DAY)
    status = await asked(client, "/api/v1/operations/app-status", tz=NEW_YORK, **{**DAYS, "grain": "none"})

    assert [(row["user_name"], row["invocations"], row["invocations_before"]) for row in business["top_users"]] == [
        ("alice", 4, 2),
        ("bob", 2, 0),
    ]
    assert [row["app_name"] for row in business["top_apps"]] == ["Chat", "Shop"]
    assert [row["model_name"] for row in business["top_models"]] == ["qwen", "gpt"]
    assert [(row["time"][:10], row["tokens"]) for row in business["trend"]] == [("2026-11-01", 154)]
    assert [(row["queue"], row["queue_messages"]) for row in backlog["now"]] == [("dataset", 8)]
    assert backlog["runs"][0]["running_runs"] == 0
    assert [row["deleted_apps"] for row in status["trend"]] == [0, 1, 0]
    assert status["totals"][0]["apps"] == 3


async def test_a_filter_that_does_not_fit_a_part_leaves_it_out(client, facts):
    put_early(facts)

    backlog = await asked(client, "/api/v1/tasks/queue-backlog", where="queue:dataset", since="2026-10-31")

    assert "now" in backlog
    assert "documents" not in backlog


async def test_lists_are_searched_sorted_and_paged(client, facts):
    facts.put(*(an_app(id=f"a{n}", name=f"Helper {n}", created_at=LONG_AGO + timedelta(days=n)) for n in range(60)))
    facts.put(an_app(id="shop", name="商店 HELPER"), an_app(id="other", name="Other"))

    first = await asked(client, "/api/v1/apps", search="helper")
    second = await asked(client, "/api/v1/apps", search="helper", cursor=first["next_cursor"])
    newest = await asked(client, "/api/v1/apps", order="-app_created", limit=2)

    assert (len(first["rows"]), len(second["rows"]), "next_cursor" in second) == (50, 11, False)
    assert "other" not in {row["app_id"] for row in first["rows"] + second["rows"]}
    assert newest["rows"][0]["app_id"] in ("shop", "other")


async def test_ranks_go_on_over_pages(client, facts):
    facts.put(*(a_run(id=f"r{n}", user_id=f"u{n}", created_at=AT["A"]) for n in range(5)))
    path = "/api/v1/business/users"

    first = await asked(client, path, since="2026-10-31", limit=2)
    second = await asked(client, path, since="2026-10-31", limit=2, cursor=first["next_cursor"])

    assert [row["rank"] for row in first["rows"] + second["rows"]] == [1, 2, 3, 4]


async def test_a_request_may_split_further(client, facts):
    put_early(facts)
    put_late(facts)

    tokens = await asked(
        client, "/api/v1/apps/shop/tokens", by="model,user_name", tz=SHANGHAI, grain="none", since="2026"
    )

    rows = {(row["model_name"], row["user_name"]): row["tokens"] for row in tokens["rows"]}
    assert rows == {("gpt", "alice"): 55, ("gpt", "carol"): 176, ("qwen", "alice"): 22, ("qwen", "bob"): 440}


async def test_over_time_what_is_of_now_is_left_out(client, facts):
    put_early(facts)

    answer = await asked(client, "/api/v1/operations/app-status", **DAYS)

    assert "idle_apps" not in answer["units"]
    assert "new_apps" in answer["units"]


async def test_without_since_the_first_step_is_whole(client):
    days = await asked(client, "/api/v1/resources/tokens", tz=SHANGHAI)
    hours = await asked(client, "/api/v1/tasks/request-rate")
    weeks = await asked(client, "/api/v1/resources/tokens", tz=SHANGHAI, grain="week")
    spoken = await asked(client, "/api/v1/resources/tokens", since="30d")

    assert days["period"]["since"] == "2026-10-20T16:00:00+00:00"
    assert hours["period"]["since"] == "2026-11-19T13:00:00+00:00"
    assert weeks["period"]["since"] == "2026-10-18T16:00:00+00:00"  # a Monday
    assert spoken["period"]["since"] == "2026-10-21T13:00:00+00:00"


@pytest.mark.parametrize("statistic", STATISTICS, ids=lambda statistic: statistic.path)
async def test_every_example_is_answered_in_every_format(client, facts, statistic):
    put_early(facts)
    put_late(facts)
    url = f"/api/v1/{statistic.path.replace('{id}', 'shop')}?{statistic.example}"

    for form in Format:
        answer = await client.get(f"{url.replace('&format=csv', '')}&format={form}")
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].split(";")[0] == form.media_type


@pytest.mark.parametrize(
    ("question", "field"),
    [
        ("apps/shop/tokens?search=a", "search"),
        ("apps/shop/tokens?measure=runs", "measure"),
        ("apps?limit=0", "limit"),
        ("apps?order=-colour", "order"),
        ("apps?by=rating", "by"),
        ("metering/models?compare=never", "compare"),
        ("business?grain=fortnight", "grain"),
        ("business/users?cursor=x", "cursor"),
        ("tasks/request-rate?since=2000&grain=minute&fill=zero", "fill"),
    ],
)
async def test_a_wrong_request_is_told_what_was_wrong(client, facts, question, field):
    facts.put(an_app())

    answer = await client.get(f"/api/v1/{question}")

    assert (answer.status_code, answer.json()["field"]) == (400, field)


def _near(value: Any) -> Any:
    return pytest.approx(value) if isinstance(value, float) else value


@pytest.mark.parametrize("written", ["'; DROP TABLE run; --", "$since", "x' OR 'a'='a", "run.id) FROM run --"])
async def test_nothing_that_is_written_into_a_request_is_run(client, facts, written):
    put_early(facts)
    names = ("by", "grain", "since", "until", "tz", "where", "fill", "order", "compare", "cursor", "format", "search")
    values = {name: f"app_name:{written}" if name == "where" else written for name in names}

    for name, value in values.items():
        answer = await client.get("/api/v1/metering/apps", params={name: value})
        assert answer.status_code == (200 if name in ("where", "search") else 400), (name, answer.text)
    assert (await asked(client, "/api/v1/query?measure=runs&since=all"))["rows"] == [{"runs": 4}]
