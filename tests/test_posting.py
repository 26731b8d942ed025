"""One message, posted once: signed as the robot's maker says, taken or refused with a reason that names no place."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from collector.errors import Unavailable
from collector.posting import MOST_BYTES, fingerprint, patience, post, refusal, signed
from collector.settings.sending import DINGTALK, FEISHU, GENERIC, WECOM, Webhook

AT = datetime(2026, 11, 16, 0, 0, 1, 250_000, tzinfo=UTC)
SECRET = "a-key-nobody-may-see"


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


def posted(answer: Callable[[httpx.Request], httpx.Response], kind: str = GENERIC, seconds: float = 5) -> None:
    hook = Webhook("ops", kind, f"http://hooks.example.com/{SECRET}?key={SECRET}")
    post(hook, {"name": "预算"}, "k1", AT, seconds=seconds, transport=httpx.MockTransport(answer))


def answering(status: int = 200, **told: object) -> Callable[[httpx.Request], httpx.Response]:
    return lambda _: httpx.Response(status, **told)  # type: ignore[arg-type]


def test_what_is_sent():
    heard: list[httpx.Request] = []
    posted(lambda request: heard.append(request) or httpx.Response(204))
    (request,) = heard
    assert json.loads(request.content) == {"name": "预算"}
    assert request.headers["idempotency-key"] == "k1"
    assert request.headers["content-type"] == "application/json; charset=utf-8"


@pytest.mark.parametrize("status", [301, 302, 307, 308, 401, 404, 429, 500])
def test_what_is_not_taken_says_why_and_not_where(status: int):
    heard: list[str] = []

    def elsewhere(request: httpx.Request) -> httpx.Response:
        heard.append(str(request.url))
        return httpx.Response(status, headers={"Location": f"http://elsewhere.example.com/{SECRET}"}, text=SECRET)

    with pytest.raises(Unavailable) as refused:
        posted(elsewhere)
    assert str(refused.value) == f"HTTP {status}"
    assert len(heard) == 1, "no redirect is followed"


def test_who_gives_no_answer_is_not_named():
    def gone(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError(f"no route to {request.url}", request=request)

    with pytest.raises(Unavailable) as refused:
        posted(gone)
    assert str(refused.value) == "no answer (ConnectError)"
    assert refused.value.__cause__ is None


def test_an_answer_is_read_so_far_and_no_further():
    read: list[int] = []

    def endless() -> Iterator[bytes]:
        while True:
            read.append(1)
            yield b" " * 4096

    with pytest.raises(Unavailable, match="no code that says it was taken"):
        posted(lambda _: httpx.Response(200, content=endless()), WECOM)
    assert len(read) <= MOST_BYTES // 4096 + 1
    read.clear()
    posted(lambda _: httpx.Response(200, content=endless()))
    assert read == [], "of a plain webhook nothing is read at all"


def test_an_answer_that_trickles_is_not_waited_for():
    def trickle() -> Iterator[bytes]:
        while True:
            yield b" "

    with pytest.raises(Unavailable, match="its answer does not end"):
        posted(lambda _: httpx.Response(200, content=trickle()), DINGTALK, seconds=0.0)


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ("", None),
        ("soon", None),
        ("-5", None),
        ("90", 90.0),
        ("9" * 400, 3600.0),
        ("Mon, 16 Nov 2026 00:10:01 GMT", 599.75),
        ("Sun, 15 Nov 2026 00:10:01 GMT", 0.0),
        ("Mon, 16 Nov 2099 00:10:01 GMT", 3600.0),
        ("Mon, 16 Nov 99999999999999 00:10:01 GMT", None),
    ],
)
def test_how_long_to_leave_it_alone(told: str, seconds: float | None):
    assert patience(told, AT) == seconds
    with pytest.raises(Unavailable) as refused:
        posted(answering(503, headers={"Retry-After": told}))
    assert refused.value.retry_after_seconds == seconds


@pytest.mark.parametrize("kind", [WECOM, DINGTALK, FEISHU])
def test_a_robots_code_counts(kind: str):
    posted(answering(json={"errcode": 0, "code": 0}), kind)
    with pytest.raises(Unavailable, match="it answers code 93000"):
        posted(answering(json={"errcode": 93000, "code": 93000, "errmsg": SECRET}), kind)


def test_a_fingerprint_tells_apart_and_no_more():
    assert fingerprint("a", "b") == fingerprint("a", "b") != fingerprint("ab")
    assert len(fingerprint(SECRET)) == 16
