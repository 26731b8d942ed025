"""How far a period's zone is from UTC: what lets a database cut days without knowing a time zone."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.period import Grain, Period, floor, zone

ZONES = ("UTC", "Asia/Shanghai", "Asia/Kathmandu", "Europe/Berlin", "America/Havana", "Australia/Lord_Howe")


def test_a_period_over_a_clock_change_has_two_offsets():
    october = Period(datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC), zone("Europe/Berlin"))

    assert october.offsets() == (
        (october.start, timedelta(hours=2)),
        (datetime(2026, 10, 25, 1, tzinfo=UTC), timedelta(hours=1)),
    )


def test_an_empty_period_has_an_offset_too():
    noon = datetime(2026, 11, 20, 12, tzinfo=UTC)

    assert Period(noon, noon, zone("Asia/Kathmandu")).offsets() == ((noon, timedelta(hours=5, minutes=45)),)


@given(
    start=st.datetimes(datetime(2015, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)),
    length=st.timedeltas(timedelta(0), timedelta(days=800)),
    part=st.floats(0, 1, exclude_max=True),
    tz=st.sampled_from(ZONES),
)
def test_at_any_instant_the_offset_is_the_zone_s(start, length, part, tz):
    period = Period(start, start + length, zone(tz))
    at = start + length * part

    *_, ahead = (ahead for since, ahead in period.offsets() if since <= at)

    assert ahead == at.astimezone(period.zone).utcoffset()


@pytest.mark.parametrize("tz", [*ZONES, "America/Santiago"])
@given(at=st.datetimes(datetime(2015, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)))
def test_a_day_starts_where_the_grain_says(tz, at):
    period = Period(at, at, zone(tz))

    assert period.day_start(at.astimezone(period.zone).date()) == floor(at, Grain.DAY, period.zone)


def test_the_hour_that_happens_twice_is_two_hours():
    october = Period(datetime(2026, 10, 25, tzinfo=UTC), datetime(2026, 10, 26, tzinfo=UTC), zone("Europe/Berlin"))

    first, second = (october.local(datetime(2026, 10, 25, hour, tzinfo=UTC)) for hour in (0, 1))

    assert first < second
    assert [first.isoformat(), second.isoformat()] == ["2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00"]


def test_where_midnight_happens_twice_the_day_starts_at_the_first():
    havana = Period(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 2, tzinfo=UTC), zone("America/Havana"))

    assert havana.day_start(date(2026, 11, 1)) == datetime(2026, 11, 1, 4, tzinfo=UTC)
