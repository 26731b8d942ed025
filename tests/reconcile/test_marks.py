"""Up to when an app's facts are known: by its console or by its own Dify's database, whichever is further."""

from __future__ import annotations

from datetime import datetime, timedelta

from collector.reconcile.site import Marks
from collector.records import CONSOLE, DATABASE, Watermark
from tests.builders import NOON, an_app
from tests.measures.facts import Facts

STREAMS = ("runs", "app-logs", "node-executions")


def read_by_database(origin: str, at: datetime) -> list[Watermark]:
    place = {"source": DATABASE, "app_id": "", "origin": origin}
    return [Watermark(stream=stream, complete_until=at, **place) for stream in STREAMS if stream != "app-logs"]


def test_the_database_has_all_runs_in_one_stream(facts: Facts) -> None:
    facts.put(an_app(origin="main"), *read_by_database("main", NOON))

    assert Marks(facts.rows).facts("shop", STREAMS) == NOON


def test_each_dify_has_its_own(facts: Facts) -> None:
    facts.put(an_app(origin="main"), an_app(id="helpdesk", origin="lab"), *read_by_database("main", NOON))
    facts.put(*read_by_database("lab", NOON - timedelta(days=1)))
    marks = Marks(facts.rows)

    assert (marks.facts("shop", STREAMS), marks.facts("helpdesk", STREAMS)) == (NOON, NOON - timedelta(days=1))


def test_who_is_further_counts(facts: Facts) -> None:
    facts.put(an_app(origin="main"), *read_by_database("main", NOON - timedelta(days=1)))
    facts.put(*(Watermark(source=CONSOLE, stream=each, app_id="shop", complete_until=NOON) for each in STREAMS))

    assert Marks(facts.rows).facts("shop", STREAMS) == NOON
