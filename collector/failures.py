"""Why something failed: an error text in, one class of a closed list out. The text itself is kept nowhere.

The texts are those that Dify, its plugins and the model providers write, in English and Chinese.
"""

from __future__ import annotations

import re

_PATTERNS = tuple(
    (name, re.compile(pattern))
    for name, pattern in (
        ("quota_exceeded", r"quota|insufficient.balance|credits?\b|arrearage|欠费|余额不足"),
        ("rate_limited", r"rate.?limit|too many requests|(?<!\d)429(?!\d)|throttl|限流"),
        (
            "unauthorized",
            r"unauthori|authenticat|api.?key|credential|(?<!\d)40[13](?!\d)|forbidden|permission|not authori",
        ),
        ("context_length", r"context.?(length|window)|maximum context|too long|max_tokens|exceeds? the maximum"),
        ("content_filter", r"content.?filter|moderation|sensitive|inappropriate|data.inspection|敏感"),
        ("timeout", r"time.?out|timed out|deadline|超时"),
        ("connection", r"connection|connect error|network|\bdns\b|\bssl\b|refused|reset by peer"),
        ("unavailable", r"unavailable|overload|bad gateway|server error|(?<!\d)50[0234](?!\d)|(?<!\d)529(?!\d)"),
        ("not_found", r"not found|not exist|(?<!\d)404(?!\d)"),
        ("cancelled", r"abort|cancel|stopped"),
        ("invalid_request", r"invalid|bad.?request|validation|required|must be|(?<!\d)400(?!\d)"),
    )
)
"""Looked at in this order; the first that is found names the class."""

ERROR_CLASSES = (*(name for name, _ in _PATTERNS), "_OTHER")
"""The closed list of `error_class`; `_OTHER` is what no pattern knows."""

_LOOKED_AT = 4000
"""Characters of an error text: some carry a whole request."""


def error_class(message: str | None) -> str | None:
    """An error text -> one of ERROR_CLASSES; None when there is no text. The text itself is kept nowhere."""
    if not message:
        return None
    lowered = message[:_LOOKED_AT].lower()
    return next((name for name, pattern in _PATTERNS if pattern.search(lowered)), ERROR_CLASSES[-1])
