"""Periods are half-open, steps touch without a gap, and only a time zone's calendar decides where a day begins."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from collector.errors import QueryError
from collector.period import Grain, Period, after, floor, span, zone

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
CALENDAR = (Grain.DAY, Grain.WEEK, Grain.MONTH, Grain.YEAR)
ZONES = sorted(available_timezones())

instants = st.datetimes(datetime(1990, 1, 1), datetime(2060, 1, 1), timezones=st.just(UTC))
zones = st.sampled_from(ZONES).map(ZoneInfo)
grains = st.sampled_from([grain for grain in Grain if grain is not Grain.NONE])


def utc(written: str) -> datetime:
    return datetime.fromisoformat(written).replace(tzinfo=UTC)


def period(since: str, until: str | None = None, tz: str = "UTC") -> Period:
    return Period.parse(since=since, until=until, tz=tz, now=NOW)


def bounds(since: str, until: str | None = None, tz: str = "UTC") -> tuple[datetime, datetime]:
    found = period(since, until, tz)
    return found.start, found.end


class TestWhatPeopleWrite:
    def test_a_span_lasts_until_now(self):
        assert bounds("7d") == (NOW - timedelta(days=7), NOW)
        assert bounds("90m") == (NOW - timedelta(minutes=90), NOW)

    def test_nothing_means_the_default(self):
        assert Period.parse(now=NOW, default="1h").start == NOW - timedelta(hours=1)
        assert Period.parse(since="", until="", now=NOW, default="1h").start == NOW - timedelta(hours=1)

    @pytest.mark.parametrize(
        ("written", "start", "end"),
        [
            ("2025", "2025-01-01", "2026-01-01"),
            ("2025-06", "2025-06-01", "2025-07-01"),
            ("2025-12", "2025-12-01", "2026-01-01"),
            ("2025-W01", "2024-12-30", "2025-01-06"),
            ("2025-06-03", "2025-06-03", "2025-06-04"),
            ("20250603", "2025-06-03", "2025-06-04"),
        ],
    )
    def test_a_calendar_word_means_the_whole_of_it(self, written: str, start: str, end: str):
        assert bounds(written) == (utc(start), utc(end))

    def test_an_instant_lasts_until_now(self):
        assert bounds("2026-11-20T10:00") == (utc("2026-11-20T10:00"), NOW)
        assert bounds("2026-11-20T10:00+08:00") == (utc("2026-11-20T02:00"), NOW)
        assert bounds("2026-11-20 10:00", tz="Asia/Shanghai") == (utc("2026-11-20T02:00"), NOW)

    def test_an_instant_to_come_is_an_empty_period(self):
        assert period("2027-01-01T00:00").seconds == 0
        assert period("now").seconds == 0

    def test_until_is_meant_whole(self):
        assert bounds("2025-06", "2025-07") == (utc("2025-06-01"), utc("2025-08-01"))
        assert bounds("2025-06-03", "2025-06-03") == (utc("2025-06-03"), utc("2025-06-04"))
        assert bounds("2025", "now") == (utc("2025-01-01"), NOW)
        assert bounds("2025-06-03", "2025-06-03T10:00") == (utc("2025-06-03"), utc("2025-06-03T10:00"))

    def test_a_span_counts_back_from_until(self):
        assert bounds("7d", "2025-06") == (utc("2025-06-24"), utc("2025-07-01"))
        assert bounds("24h", "2025-06-03T10:00") == (utc("2025-06-02T10:00"), utc("2025-06-03T10:00"))

    def test_seven_days_before_a_midnight_is_a_midnight_also_over_a_clock_change(self):
        berlin = bounds("7d", "2025-03-30", tz="Europe/Berlin")
        assert berlin == (utc("2025-03-23T23:00"), utc("2025-03-30T22:00"))

    def test_hours_are_hours_also_over_a_clock_change(self):
        assert period("24h", "2025-03-30", tz="Europe/Berlin").seconds == 24 * 3600

    def test_days_and_months_begin_where_the_zone_says(self):
        assert bounds("2025-06", tz="Asia/Kathmandu") == (utc("2025-05-31T18:15"), utc("2025-06-30T18:15"))
        assert bounds("2025-06-03", tz="America/New_York") == (utc("2025-06-03T04:00"), utc("2025-06-04T04:00"))

    @pytest.mark.parametrize(
        "nonsense",
        [
            "yesterday",
            "2025-13",
            "2025-6",
            "25",
            "0d",
            "-7d",
            "7",
            "7y",
            "1.5h",
            "0000",
            "2025-02-30",
            "2025-W60",
            "٧d",
        ],
    )
    def test_nonsense_is_refused_by_the_name_of_its_field(self, nonsense: str):
        with pytest.raises(QueryError, match=r"no (time|span)") as refused:
            period(nonsense)
        assert refused.value.field == "since"

    @pytest.mark.parametrize("far", ["999999w", "30000d", "0001", "9999", "9999-12-31T23:59", "1969"])
    def test_times_beyond_the_calendar_are_refused(self, far: str):
        with pytest.raises(QueryError):
            period(far, tz="Asia/Shanghai")

    def test_until_is_no_span_and_says_so(self):
        with pytest.raises(QueryError, match=r"until: no time '7d'; wanted a year") as refused:
            period("2025-06", "7d")
        assert refused.value.field == "until"

    def test_a_period_does_not_run_backwards(self):
        with pytest.raises(QueryError, match="after its end"):
            period("2025-07", "2025-06")

    def test_utc_as_grafana_writes_it_is_utc(self):
        assert zone("utc") == ZoneInfo("UTC")

    @pytest.mark.parametrize("name", ["", "Mars/Base", "Asia", "../../etc/passwd", "Asia/Shanghai\0", "UTC+8"])
    def test_a_zone_that_is_none_is_refused(self, name: str):
        with pytest.raises(QueryError, match="no time zone") as refused:
            zone(name)
        assert refused.value.field == "tz"

    @pytest.mark.parametrize("written", ["1s", "2m", "3h", "4d", "5w", " 7d "])
    def test_a_span_has_one_number_and_one_letter(self, written: str):
        assert span(written) > timedelta(0)

    @given(st.text(max_size=30), st.none() | st.text(max_size=30))
    @example("2025-06-03T24:00", "9999-12-31")
    def test_any_text_is_a_period_or_a_query_error(self, since: str, until: str | None):
        try:
            found = Period.parse(since=since, until=until, tz="Pacific/Kiritimati", now=NOW)
        except QueryError:
            return
        assert found.start <= found.end

    def test_a_grain_that_is_none_lists_the_grains(self):
        assert Grain.named("15m") is Grain.QUARTER_HOUR
        with pytest.raises(QueryError, match="no grain 'fortnight'; there are none, minute, 15m, hour, day") as refused:
            Grain.named("fortnight")
        assert refused.value.field == "grain"


class TestAPeriod:
    def test_holds_its_start_and_not_its_end(self):
        june = period("2025-06")
        assert june.start in june
        assert june.end not in june

    def test_needs_instants_that_know_their_zone(self):
        with pytest.raises(QueryError, match="time zone"):
            Period(datetime(2025, 6, 1), utc("2025-07-01"), ZoneInfo("UTC"))

    def test_keeps_its_instants_in_utc(self):
        shanghai = ZoneInfo("Asia/Shanghai")
        day = Period(datetime(2025, 6, 1, tzinfo=shanghai), datetime(2025, 6, 2, tzinfo=shanghai), shanghai)
        assert (day.start, day.start.tzinfo) == (utc("2025-05-31T16:00"), UTC)

    @pytest.mark.parametrize(
        ("since", "until", "tz", "start"),
        [
            ("2025-03", None, "UTC", "2025-02-01"),
            ("2025", None, "UTC", "2024-01-01"),
            ("2025-01", "2025-03", "UTC", "2024-10-01"),
            ("2025-W01", None, "UTC", "2024-12-23"),
            ("2025-03-31", None, "Europe/Berlin", "2025-03-29T23:00"),  # the 30th had 23 hours
            ("2025-04", None, "Europe/Berlin", "2025-02-28T23:00"),
            ("2018-11-04", None, "America/Sao_Paulo", "2018-11-03T03:00"),  # began at 01:00
            ("2018-11-05", None, "America/Sao_Paulo", "2018-11-04T03:00"),
            ("2017-10", None, "America/Asuncion", "2017-09-01T04:00"),  # October began at 01:00
            ("2025-06-03T10:00", "2025-06-03T12:30", "UTC", "2025-06-03T07:30"),
        ],
    )
    def test_has_a_forerunner_of_its_own_kind(self, since: str, until: str | None, tz: str, start: str):
        found = period(since, until, tz)
        before = found.previous()
        assert (before.start, before.end) == (utc(start), found.start)

    def test_that_is_empty_has_an_empty_forerunner(self):
        assert period("now").previous().seconds == 0

    @given(instants, st.integers(1, 40), st.sampled_from([Grain.DAY, Grain.MONTH]), zones)
    def test_of_whole_steps_is_preceded_by_as_many(self, at: datetime, count: int, grain: Grain, place: ZoneInfo):
        start = end = floor(at, grain, place)
        for _ in range(count):
            end = after(end, grain, place)
        before = Period(start, end, place).previous()
        assert before.end == start
        if grain is Grain.MONTH:
            assert len(before.steps(grain)) == count


class TestSteps:
    def test_below_a_day_are_cut_in_utc(self):
        kathmandu = ZoneInfo("Asia/Kathmandu")
        assert floor(utc("2025-06-03T10:20"), Grain.HOUR, kathmandu) == utc("2025-06-03T10:00")
        assert floor(utc("2025-06-03T10:20:59"), Grain.MINUTE, kathmandu) == utc("2025-06-03T10:20")
        assert floor(utc("2025-06-03T10:20"), Grain.QUARTER_HOUR, kathmandu) == utc("2025-06-03T10:15")

    def test_from_a_day_on_follow_the_calendar(self):
        kathmandu = ZoneInfo("Asia/Kathmandu")
        assert floor(utc("2025-06-03T18:14"), Grain.DAY, kathmandu) == utc("2025-06-02T18:15")
        assert floor(utc("2025-06-03T18:15"), Grain.DAY, kathmandu) == utc("2025-06-03T18:15")
        assert floor(utc("2025-06-08T18:14"), Grain.WEEK, kathmandu) == utc("2025-06-01T18:15")
        assert floor(utc("2025-06-30T18:15"), Grain.MONTH, kathmandu) == utc("2025-06-30T18:15")
        assert floor(utc("2025-12-31T18:14"), Grain.YEAR, kathmandu) == utc("2024-12-31T18:15")

    def test_a_day_can_have_23_or_25_hours(self):
        month = period("2025-03", tz="Europe/Berlin")
        assert hours(month) == [24] * 29 + [23] + [24]
        assert hours(period("2025-10", tz="Europe/Berlin")) == [24] * 25 + [25] + [24] * 5

    @pytest.mark.parametrize(
        ("tz", "day", "begins", "lasts"),
        [
            ("America/Sao_Paulo", "2018-11-04", "2018-11-04T03:00", 23),  # 00:00 -> 01:00
            ("Asia/Beirut", "2022-03-27", "2022-03-26T22:00", 23),  # 00:00 -> 01:00
            ("Asia/Beirut", "2022-10-29", "2022-10-28T21:00", 25),  # 24:00 -> 23:00
            ("America/Havana", "2022-11-06", "2022-11-06T04:00", 25),  # 01:00 -> 00:00, midnight twice
            ("Australia/Lord_Howe", "2022-10-02", "2022-10-01T13:30", 23.5),  # half an hour
            ("Pacific/Apia", "2011-12-29", "2011-12-29T10:00", 24),  # the 30th never was
            ("Pacific/Apia", "2011-12-30", "2011-12-30T10:00", 0),
        ],
    )
    def test_a_day_begins_where_its_midnight_was_skipped_or_doubled(self, tz: str, day: str, begins: str, lasts: float):
        found = period(day, tz=tz)
        assert (found.start, found.seconds / 3600) == (utc(begins), lasts)

    def test_every_step_that_is_touched_is_there(self):
        found = period("2025-06-03T10:20", "2025-06-03T12:00")
        assert found.steps(Grain.HOUR) == [utc("2025-06-03T10:00"), utc("2025-06-03T11:00")]
        assert found.steps(Grain.MONTH) == [utc("2025-06-01")]
        assert found.steps(Grain.NONE) == []

    def test_an_empty_period_touches_none(self):
        assert period("now").steps(Grain.HOUR) == []

    @given(instants, grains, zones)
    @example(utc("2010-11-07T03:00"), Grain.DAY, ZoneInfo("America/St_Johns"))  # 00:01 -> 23:01 the day before
    @example(utc("2009-11-01T03:00"), Grain.MONTH, ZoneInfo("America/St_Johns"))
    @example(utc("2011-12-30T09:59"), Grain.DAY, ZoneInfo("Pacific/Apia"))
    def test_every_instant_is_in_the_step_it_is_put_into(self, at: datetime, grain: Grain, place: ZoneInfo):
        start = floor(at, grain, place)
        assert start <= at < after(start, grain, place)
        assert floor(start, grain, place) == start

    @given(instants, st.timedeltas(timedelta(0), timedelta(days=800)), st.sampled_from(CALENDAR), zones)
    def test_steps_touch_without_gap_or_overlap(
        self, start: datetime, length: timedelta, grain: Grain, place: ZoneInfo
    ):
        steps = Period(start, start + length, place).steps(grain)
        assert all(after(one, grain, place) == following for one, following in pairwise(steps))
        assert all(one < following for one, following in pairwise(steps))

    @given(st.integers(1990, 2060), st.integers(1, 12), zones)
    def test_days_add_up_to_the_month_and_months_to_the_year(self, year: int, month: int, place: ZoneInfo):
        whole = period(f"{year}-{month:02}", tz=place.key)
        assert sum(hours(whole)) * 3600 == whole.seconds
        assert set(period(str(year), tz=place.key).steps(Grain.MONTH)) <= set(
            period(str(year), tz=place.key).steps(Grain.DAY)
        )


def hours(whole: Period) -> list[float]:
    """How long each day of it was."""
    edges = [*whole.steps(Grain.DAY), whole.end]
    return [(end - start).total_seconds() / 3600 for start, end in pairwise(edges)]
