"""Which days are meant, what the report of them is called, and when it is due."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from collector.errors import QueryError
from collector.period import Grain
from collector.reports.spans import Span, due_at, last_whole, span_of

NOW = datetime(2026, 11, 21, 2, 0, tzinfo=UTC)  # Saturday, 10:00 in Shanghai


def spanned(name: str, tz: str = "Asia/Shanghai", **asked: str) -> Span:
    return span_of(name, tz=tz, now=NOW, **asked)


@pytest.mark.parametrize(
    ("name", "called", "since", "until"),
    [
        ("day", "day 2026-11-20", "2026-11-19T16:00", "2026-11-20T16:00"),
        ("week", "week 2026-W46", "2026-11-08T16:00", "2026-11-15T16:00"),
        ("month", "month 2026-10", "2026-09-30T16:00", "2026-10-31T16:00"),
        ("2026-11-20", "day 2026-11-20", "2026-11-19T16:00", "2026-11-20T16:00"),
        ("2026-W46", "week 2026-W46", "2026-11-08T16:00", "2026-11-15T16:00"),
        ("2026W46", "week 2026-W46", "2026-11-08T16:00", "2026-11-15T16:00"),
        ("2026-11", "month 2026-11", "2026-10-31T16:00", "2026-11-30T16:00"),
        ("2027-W01", "week 2027-W01", "2027-01-03T16:00", "2027-01-10T16:00"),
        ("2026-W53", "week 2026-W53", "2026-12-27T16:00", "2027-01-03T16:00"),
    ],
)
def test_a_name_means_whole_days_of_the_zone(name: str, called: str, since: str, until: str):
    span = spanned(name)
    assert span.name == called
    assert (f"{span.period.start:%Y-%m-%dT%H:%M}", f"{span.period.end:%Y-%m-%dT%H:%M}") == (since, until)


def test_a_span_is_called_by_its_first_and_last_day():
    assert spanned("span", since="2026-11-01", until="2026-11-15").name == "span 2026-11-01--2026-11-15"
    assert spanned("", since="2026-11-01", until="2026-11-15") == spanned(
        "span", since="2026-11-01", until="2026-11-15"
    )


@pytest.mark.parametrize(
    ("name", "asked", "field"),
    [
        ("fortnight", {}, "period"),
        ("2026-13", {}, "period"),
        ("2026-W60", {}, "period"),
        ("week", {"since": "2026-11-01"}, "period"),
        ("span", {"until": "2026-11-01"}, "since"),
        ("span", {}, "period"),
        ("span", {"since": "yesterday"}, "since"),
    ],
)
def test_what_means_nothing_is_refused_with_the_field(name: str, asked: dict[str, str], field: str):
    with pytest.raises(QueryError) as refused:
        spanned(name, **asked)
    assert refused.value.field == field


def test_the_last_whole_one_ends_at_the_very_midnight():
    midnight = datetime(2026, 11, 15, 16, 0, tzinfo=UTC)
    assert last_whole("week", "Asia/Shanghai", midnight).label == "2026-W46"
    assert last_whole("week", "Asia/Shanghai", midnight.replace(minute=0, hour=15)).label == "2026-W45"
    assert last_whole("week", "UTC", midnight).label == "2026-W45"


def test_a_chart_has_whole_steps_and_not_too_many():
    assert spanned("day").grain is Grain.HOUR
    assert spanned("week").grain is spanned("month").grain is Grain.DAY
    assert spanned("span", since="2026-01-01", until="2026-11-15").grain is Grain.WEEK
    assert spanned("span", since="2023-01-01", until="2026-11-15").grain is Grain.MONTH


@pytest.mark.parametrize(
    ("kind", "tz", "at", "due"),
    [
        ("week", "Asia/Shanghai", "08:00", "2026-11-16T00:00"),
        ("day", "UTC", "00:00", "2026-11-21T00:00"),
        ("month", "America/New_York", "08:30", "2026-11-01T13:30"),  # the clocks went back at two that night
    ],
)
def test_it_is_due_at_that_time_of_the_next_day(kind: str, tz: str, at: str, due: str):
    assert f"{due_at(last_whole(kind, tz, NOW), at):%Y-%m-%dT%H:%M}" == due
