"""A log line has a phrase and fields; secrets and contents are not in it, whoever passes them."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from collector.logs import Masking, set_up_logs

SECRET = "nobody-may-see-this"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    root, named = logging.getLogger(), [logging.getLogger(name) for name in ("httpx", "uvicorn", "uvicorn.error")]
    handlers, level = root.handlers[:], root.level
    levels = [(logger, logger.level, logger.handlers[:], logger.propagate) for logger in named]
    yield
    root.handlers[:], root.level = handlers, level
    for logger, its_level, its_handlers, propagates in levels:
        logger.level, logger.handlers[:], logger.propagate = its_level, its_handlers, propagates
    structlog.reset_defaults()


@pytest.fixture
def written() -> io.StringIO:
    stream = io.StringIO()
    set_up_logs("info", "auto", secrets=[SECRET], stream=stream)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_a_phrase_with_fields(written: io.StringIO):
    structlog.get_logger().info("pull finished", stream="runs", app="shop", records=120, seconds=1.4)
    (line,) = lines(written)
    assert line.pop("at")
    assert line == {
        "event": "pull finished",
        "level": "info",
        "stream": "runs",
        "app": "shop",
        "records": 120,
        "seconds": 1.4,
    }


def test_a_terminal_gets_lines_for_people():
    stream = Terminal()
    set_up_logs(stream=stream)
    structlog.get_logger().warning("pull failed", app="shop")
    assert "pull failed" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


def test_the_format_can_be_chosen():
    stream = io.StringIO()
    set_up_logs(format="console", stream=stream)
    structlog.get_logger().warning("pull failed", app="shop")
    assert "app=shop" in stream.getvalue()


def test_chinese_stays_readable(written: io.StringIO):
    structlog.get_logger().info("pull finished", app="客服")
    assert "客服" in written.getvalue()


def test_less_urgent_lines_than_asked_for_are_left_out(written: io.StringIO):
    structlog.get_logger().debug("page read")
    assert written.getvalue() == ""


def test_other_libraries_write_the_same_lines(written: io.StringIO):
    logging.getLogger("uvicorn.error").info("started on %s", "127.0.0.1")
    (line,) = lines(written)
    assert (line["event"], line["level"]) == ("started on 127.0.0.1", "info")


def test_a_line_per_request_of_httpx_is_left_out(written: io.StringIO):
    logging.getLogger("httpx").info("HTTP Request: GET https://dify")
    assert written.getvalue() == ""


def test_setting_up_twice_does_not_write_twice(written: io.StringIO):
    set_up_logs(stream=written)
    structlog.get_logger().info("started")
    assert len(lines(written)) == 1


def test_a_traceback_comes_along_without_its_secrets(written: io.StringIO):
    try:
        raise ValueError(f"refused with {SECRET}")
    except ValueError:
        structlog.get_logger().exception("pull failed")
    assert "refused with ********" in written.getvalue()
    assert SECRET not in written.getvalue()


def test_other_libraries_give_no_secret_away_either(written: io.StringIO):
    logging.getLogger("somebody").warning("calling with %s", SECRET)
    assert SECRET not in written.getvalue()


@pytest.mark.parametrize(
    "name", ["password", "dify_admin_key", "access_token", "Authorization", "X-CSRF-Token", "Set-Cookie", "api_key"]
)
def test_fields_that_hold_credentials_are_masked(written: io.StringIO, name: str):
    structlog.get_logger().info("signed in", **{name: "hunter2"})
    assert lines(written)[0][name] == "********"


@pytest.mark.parametrize("name", ["prompt", "answer", "inputs", "outputs", "query", "headers", "body"])
def test_fields_that_hold_contents_are_dropped(written: io.StringIO, name: str):
    structlog.get_logger().info("message read", **{name: {"text": "my salary"}})
    assert "my salary" not in written.getvalue()


def test_counts_of_tokens_are_no_secret(written: io.StringIO):
    structlog.get_logger().info("run read", tokens=346, input_tokens=103, key_fingerprint="ab12", token=None)
    line = lines(written)[0]
    assert (line["tokens"], line["input_tokens"], line["key_fingerprint"], line["token"]) == (346, 103, "ab12", None)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("sent Bearer abcdef0123456789", "sent Bearer ********"),
        ("sent authorization: basic YWxhZGRpbjpvcGVuc2VzYW1l", "sent authorization: basic ********"),
        ("redis://default:hunter2@broker:6379/1", "redis://default:********@broker:6379/1"),
        ("key app-AbCdEfGhIjKlMnOpQrStUvWx", "key app-********"),
        ("jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0abc.sig-nature", "jwt ********"),
        (f"with dm_0123abcd_{'k-_' * 14}Z it asked", "with dm_0123abcd_******** it asked"),
        ("an app-run of the app shop", "an app-run of the app shop"),
        ("GET https://dify.example.com/console/api/apps", "GET https://dify.example.com/console/api/apps"),
    ],
)
def test_what_looks_like_a_secret_is_masked_wherever_it_stands(said: str, shown: str):
    masked = Masking()(None, "info", {"event": said, "error": ValueError(said), "deep": {"list": [said]}})
    assert masked == {"event": shown, "error": shown, "deep": {"list": [shown]}}


@given(
    st.text(st.characters(codec="utf-8", exclude_characters="*"), min_size=4, max_size=30),
    st.text(max_size=20),
    st.text(max_size=20),
)
def test_a_known_secret_is_never_written(secret: str, before: str, after: str):
    assert secret not in Masking([secret]).text(f"{before}{secret}{after}").replace("********", "*")
