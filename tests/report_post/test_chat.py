"""Messages as each robot wants them, harmless whatever an app is called."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from collector.report_post.chat import MOST_BYTES, message, plain
from collector.report_post.parcel import Parcel
from collector.settings.sending import DINGTALK, FEISHU, GENERIC, KINDS, WECOM
from tests.reports.world import a_report, a_site

HOSTILE = ("[click](http://evil)", "<@all> hi", "@everyone", "# big\n**bold**", "`x`", "=1+1", "last")


@pytest.fixture(scope="module")
def parcel() -> Iterator[Parcel]:
    with a_site(HOSTILE, most=8) as store:
        yield Parcel(a_report(store), "zh", ())


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_says_the_headline_numbers(parcel: Parcel, kind: str):
    said = json.dumps(message(kind, parcel), ensure_ascii=False, default=str)
    for _, value, _ in parcel.figures:
        assert value in said
    if kind in MOST_BYTES:
        assert len(said.encode()) < MOST_BYTES[kind]


def test_the_forms(parcel: Parcel):
    wecom, dingtalk, feishu, generic = (message(kind, parcel) for kind in (WECOM, DINGTALK, FEISHU, GENERIC))
    assert wecom["msgtype"] == dingtalk["msgtype"] == "markdown"
    assert wecom["markdown"]["content"].startswith("### 运营周报")
    assert dingtalk["markdown"]["title"] == parcel.title
    assert feishu["msg_type"] == "interactive"
    assert feishu["card"]["header"]["title"]["content"].startswith("运营周报")
    assert generic["report"]["report"] == generic["id"] == "week 2026-W46"


@pytest.mark.parametrize("kind", [WECOM, DINGTALK, FEISHU])
def test_a_name_calls_nobody_and_links_nowhere(parcel: Parcel, kind: str):
    said = json.dumps(message(kind, parcel), ensure_ascii=False)
    assert "@all" not in said
    assert "@everyone" not in said
    assert "](http" not in said.replace("\\", "") or "\\\\]\\\\(" in said
    assert "<" not in said


def test_a_plain_name_has_no_marks():
    assert plain("[a](b) *c* <d> @e\n# f") == "\\[a\\]\\(b\\) \\*c\\* ‹d› ＠e \\# f"
