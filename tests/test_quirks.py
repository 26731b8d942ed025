"""What is wrong with which of Dify's totals in which version."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.quirks import FIRST, QUIRKS, Total, number, quirk, quirks, version_of


def names(version: tuple[int, int, int], total: Total, *, defects: bool = True) -> set[str]:
    return {each.name for each in quirks(version, total) if each.is_defect is defects}


@pytest.mark.parametrize(
    ("version", "wrong"),
    [
        ((0, 12, 1), {"iterations_missing"}),
        ((0, 14, 2), set()),
        ((0, 15, 3), {"iterations_exploded"}),
        ((1, 8, 0), set()),
        ((1, 9, 1), {"chatflow_zero"}),
        ((1, 9, 2), {"containers_twice"}),
        ((1, 10, 0), set()),
        ((1, 11, 1), {"chatflow_usage_lost"}),
        ((1, 13, 0), set()),
    ],
)
def test_run_totals_are_wrong_in_these_versions(version, wrong):
    assert names(version, Total.RUN) == wrong


def test_a_workflow_as_a_tool_is_counted_again_since_its_tokens_are_told():
    assert "tool_repeated" not in names((1, 9, 2), Total.RUN, defects=False)
    assert "tool_repeated" in names((1, 16, 0), Total.RUN, defects=False)


def test_a_chatflow_of_old_shows_its_last_call_only():
    assert names((0, 7, 3), Total.MESSAGE) == {"iterations_missing", "last_call_only"}


@pytest.mark.parametrize("each", QUIRKS, ids=lambda each: each.name)
def test_every_quirk_says_why_and_what_to_believe_in_two_languages(each):
    assert quirk(each.name) is each
    assert each.cause.endswith(".")
    assert each.cause_zh.endswith("。")
    assert each.believe
    for chinese in (each.title_zh, each.cause_zh, each.believe_zh):
        assert re.search("[一-鿿]", chinese)
    assert each.first >= FIRST
    assert each.last is None or each.last >= each.first


def test_a_name_stands_once():
    assert len({each.name for each in QUIRKS}) == len(QUIRKS)


_VERSIONS = st.tuples(*[st.integers(0, 999)] * 3)


@given(_VERSIONS, _VERSIONS)
def test_numbers_of_versions_compare_like_versions(one, other):
    assert (number(one) < number(other)) == (one < other)
    assert version_of(number(one)) == one
