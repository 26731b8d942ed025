"""Messages as each robot wants them, signed as its maker says, harmless whatever an app is called."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest

from collector.report_post.chat import MOST_BYTES, message, plain, refusal, signed
from collector.report_post.parcel import Parcel
from collector.settings.sending import DINGTALK, FEISHU, GENERIC, KINDS, WECOM
from tests.reports.world import a_report, a_site

AT = datetime(2026, 11, 16, 0, 0, 1, 250_000, tzinfo=UTC)
HOSTILE = ("[click](http://evil)", "<@all> hi", "@everyone", "# big\n**bold**", "`x`", "=1+1", "last")


@pytest.fixture(scope="module")
def parcel() -> Iterator[Parcel]:
    with a_site(HOSTILE, most=8) as store:
        yield Parcel(a_report(store), "zh", ())


class TestSigning:
    def test_dingtalk_signs_the_url(self):
        """timestamp + newline + secret, by HMAC-SHA256 with the secret, as base64, in the query."""
        url, body = signed(DINGTALK, "https://oapi.dingtalk.com/robot/send?access_token=t", {"a": 1}, "SECx", AT)
        told = parse_qs(urlsplit(url).query)
        assert told["timestamp"] == ["1794787201250"]
        wanted = hmac.new(b"SECx", b"1794787201250\nSECx", hashlib.sha256).digest()
        assert base64.b64decode(told["sign"][0]) == wanted
        assert told["access_token"] == ["t"]
        assert body == {"a": 1}

    def test_feishu_signs_the_body(self):
        """Nothing, by HMAC-SHA256 with timestamp + newline + secret, as base64."""
        url, body = signed(FEISHU, "https://open.feishu.cn/x", {"a": 1}, "sec", AT)
        wanted = base64.b64encode(hmac.new(b"1794787201\nsec", b"", hashlib.sha256).digest()).decode()
        assert (url, body) == ("https://open.feishu.cn/x", {"timestamp": "1794787201", "sign": wanted, "a": 1})

    @pytest.mark.parametrize("kind", [GENERIC, WECOM])
    def test_others_are_not_signed(self, kind: str):
        assert signed(kind, "https://x", {"a": 1}, "sec", AT) == ("https://x", {"a": 1})


@pytest.mark.parametrize(
    ("kind", "answer", "problem"),
    [
        (GENERIC, None, None),
        (WECOM, {"errcode": 0, "errmsg": "ok"}, None),
        (WECOM, {"errcode": 93000, "errmsg": "invalid webhook url, key=abc"}, "it answers code 93000"),
        (DINGTALK, {"errcode": 310000}, "it answers code 310000"),
        (FEISHU, {"code": 0, "msg": "success"}, None),
        (FEISHU, {"StatusCode": 0, "StatusMessage": "success"}, None),
        (FEISHU, {"code": 19021}, "it answers code 19021"),
        (WECOM, None, "its answer has no code that says it was taken"),
        (FEISHU, ["?"], "its answer has no code that says it was taken"),
    ],
)
def test_what_an_answer_means(kind: str, answer: object, problem: str | None):
    assert refusal(kind, answer) == problem


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
