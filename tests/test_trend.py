from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from collector.trend import WIDEST, spark, trends

numbers = st.none() | st.floats(-1e12, 1e12) | st.integers(-(10**9), 10**9)


def test_the_highest_is_full_and_zero_is_flat():
    assert spark([0, 1, 2, 4, 8]) == "▁▂▃▅█"
    assert spark([0, 0]) == "▁▁"
    assert spark([]) == ""


def test_what_is_not_known_is_a_gap():
    assert spark([1, None, 1]) == "█ █"


def test_below_zero_the_lowest_is_flat():
    assert spark([-1, 0, 1]) == "▁▅█"


def test_more_than_fits_is_put_together():
    assert spark([1.0] * 1000 + [2.0] * 1000) == "▅" * (WIDEST // 2) + "█" * (WIDEST // 2)


@given(st.lists(numbers, max_size=200))
def test_any_numbers_make_a_line_that_fits(values):
    line = spark(values)

    assert len(line) == min(len(values), WIDEST)
    assert set(line) <= set("▁▂▃▄▅▆▇█ ")


def test_every_group_has_its_line_over_the_same_instants():
    rows = [
        {"time": "2026-11-19", "app": "shop", "runs": 4, "cost": "0.5"},
        {"time": "2026-11-20", "app": "shop", "runs": 8, "cost": "1.0"},
        {"time": "2026-11-21", "app": None, "runs": 1, "cost": None},
        {"time": "2026-11-20", "app": None, "runs": 2, "cost": None},
    ]

    found = {each.name: each for each in trends(rows, ["runs", "cost"], ["app"])}

    assert {name: each.line for name, each in found.items()} == {
        "runs shop": "▅█ ",
        "cost shop": "▅█ ",
        "runs –": " █▅",
    }
    assert (found["runs –"].lowest, found["runs –"].highest, found["runs –"].last) == (1.0, 2.0, 1.0)
