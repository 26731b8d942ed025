"""Error texts and what they are counted as."""

from __future__ import annotations

import pytest

from collector.failures import ERROR_CLASSES, error_class


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("[openai] Rate Limit Error, 429 Too Many Requests", "rate_limited"),
        ("[openai] Incorrect model credentials provided, please check and try again.", "unauthorized"),
        ("[anthropic] Server Unavailable, overloaded_error", "unavailable"),
        ("Stopped by user.", "cancelled"),
        ("You exceeded your current quota, please check your plan and billing details", "quota_exceeded"),
        ("Error code: 402 - Insufficient Balance", "quota_exceeded"),
        ("错误429错误", "rate_limited"),
        ("请求超时", "timeout"),
        ("余额不足,请充值", "quota_exceeded"),
        ("This model's maximum context length is 8192 tokens", "context_length"),
        ("HTTPSConnectionPool: Read timed out.", "timeout"),
        ("[Errno 111] Connection refused", "connection"),
        ("PluginInvokeError: 503", "unavailable"),
        ("model gpt-9 does not exist", "not_found"),
        ("The response was filtered due to the content filter", "content_filter"),
        ("q is required in input form", "invalid_request"),
        ("14291 rows, 5000 columns", "_OTHER"),
        ("Unknown error", "_OTHER"),
    ],
)
def test_an_error_text_has_one_class(text, wanted):
    assert error_class(text) == wanted


@pytest.mark.parametrize("text", [None, ""])
def test_no_text_is_no_error(text):
    assert error_class(text) is None


def test_every_class_is_on_the_list_once():
    assert len(set(ERROR_CLASSES)) == len(ERROR_CLASSES)
    assert ERROR_CLASSES[-1] == "_OTHER"
