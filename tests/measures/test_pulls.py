from __future__ import annotations

from datetime import timedelta

import pytest

from collector.errors import QueryError
from collector.records import Pull, Watermark
from tests.builders import NOON, an_app


def a_pull(**fields):
    default = {"id": "p1", "source": "console", "seen_at": NOON, "stream": "runs", "app_id": "shop", "created_at": NOON}
    counted = {"seconds": 1.5, "requests": 3, "pages": 2, "records": 120, "parse_failures": 0, "is_complete": True}
    return Pull(**(default | counted | fields))


def a_watermark(**fields):
    default = {"source": "console", "stream": "runs", "app_id": "shop", "complete_until": NOON}
    return Watermark(**(default | fields))


def test_pulls_count_with_their_failures(facts):
    facts.put(
        a_pull(), a_pull(id="p2", error_class="unavailable", is_complete=False, created_at=NOON + timedelta(hours=1))
    )

    (row,) = facts.ask("pulls,pull_failures,pull_seconds,pull_records,last_complete_pull").rows

    assert row == {
        "pulls": 2,
        "pull_failures": 1,
        "pull_seconds": 3.0,
        "pull_records": 240,
        "last_complete_pull": NOON,
    }


def test_an_answer_is_complete_until_its_slowest_stream_is(facts):
    facts.put(a_watermark(), a_watermark(stream="app-logs", complete_until=NOON - timedelta(hours=1)))
    facts.put(a_watermark(stream="feedback", complete_until=NOON - timedelta(days=9)))

    assert facts.ask("runs").watermark == NOON - timedelta(hours=1)
    assert facts.ask("likes").watermark == NOON - timedelta(days=9)
    assert facts.ask("requests").watermark == NOON - timedelta(hours=1)


def test_an_answer_about_one_app_is_complete_when_that_app_is(facts):
    facts.put(a_watermark(), a_watermark(app_id="helpdesk", complete_until=NOON - timedelta(days=1)))

    assert facts.ask("runs", where=["app:shop"]).watermark == NOON
    assert facts.ask("runs", where=["!app:shop"]).watermark == NOON - timedelta(days=1)


def test_a_deleted_app_holds_no_answer_back(facts):
    facts.put(an_app(id="gone", deleted_at=NOON), a_watermark(app_id="gone", complete_until=NOON - timedelta(days=99)))
    facts.put(a_watermark())

    assert facts.ask("runs").watermark == NOON
    assert facts.value("complete_until") == NOON


def test_a_stream_is_as_complete_as_its_best_source(facts):
    facts.put(a_watermark(source="database", complete_until=NOON - timedelta(days=30)), a_watermark())

    assert facts.ask("runs").watermark == NOON


class TestTwoWaysIn:
    """Whoever turns from the console API to the database, or back, leaves marks behind that stand still."""

    OLD = NOON - timedelta(days=30)

    def marks(self, source, at, *streams):
        place = {"app_id": "shop"} if source == "console" else {"app_id": "", "origin": "main"}
        return [a_watermark(source=source, stream=stream, complete_until=at, **place) for stream in streams]

    @pytest.mark.parametrize("now", ["console", "database"])
    def test_what_one_tells_is_complete_by_the_other(self, facts, now):
        streams = {"console": ("runs", "app-logs", "messages"), "database": ("runs", "messages", "users")}
        (other,) = {"console", "database"} - {now}
        facts.put(an_app(origin="main"), *self.marks(now, NOON, *streams[now]))
        facts.put(*self.marks(other, self.OLD, *(each for each in streams[other] if each != "users")))

        assert facts.ask("runs").watermark == NOON
        assert facts.ask("runs", where=["app:shop"]).watermark == NOON
        assert facts.value("complete_until") == NOON
        assert set(facts.by("stream", "complete_until").values()) == {NOON}

    def test_what_only_one_tells_holds_back_all_the_same(self, facts):
        facts.put(an_app(origin="main"), *self.marks("database", NOON, "runs"))
        facts.put(*self.marks("console", self.OLD, "runs", "api-keys"))

        assert facts.by("stream", "complete_until") == {"runs": NOON, "api-keys": self.OLD}

    def test_another_dify_is_no_help(self, facts):
        facts.put(an_app(origin="lab"), *self.marks("database", NOON, "runs"), *self.marks("console", self.OLD, "runs"))

        assert facts.ask("runs").watermark == self.OLD


def test_without_a_pull_nothing_is_complete(facts):
    assert facts.ask("runs").watermark is None
    assert facts.value("complete_until") is None


def test_the_watermark_by_stream(facts):
    facts.put(a_watermark(app_id=""), a_watermark(stream="messages", complete_until=NOON - timedelta(hours=2)))

    assert facts.by("stream", "complete_until") == {"runs": NOON, "messages": NOON - timedelta(hours=2)}


def test_the_watermark_has_no_steps(facts):
    with pytest.raises(QueryError, match="complete_until is of now"):
        facts.ask("complete_until", grain="day")
