"""One message to one webhook: posted once, and taken or not.

What comes in are a webhook, a JSON value and what tells this message from others; what goes out is one POST, signed
where the robot wants that. WeCom, DingTalk and Feishu answer 200 also to what they refuse: their own code in the answer
counts. An address holds its key: no error says more than why. Redirects are not followed, and nothing here tries again.

Sources: developer.work.weixin.qq.com/document/path/91770, open.dingtalk.com/document/robots/custom-robot-access,
open.feishu.cn/document/client-docs/bot-v3/add-custom-bot
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import quote_plus

from collector.errors import Unavailable
from collector.settings.sending import DINGTALK, FEISHU, GENERIC, Webhook

if TYPE_CHECKING:
    import httpx

Message: TypeAlias = dict[str, Any]

SECONDS = 30.0
"""How long one step may take: to connect, to send, to begin to answer, to answer whole."""
MOST_BYTES = 65_536
"""Of an answer, more is not read."""
LONGEST_WISH_SECONDS = 3600.0
"""Who wants to be left alone for longer is asked again after that."""
UTF8_JSON = "application/json; charset=utf-8"


def fingerprint(*parts: str) -> str:
    """What tells one thing from another without telling what it is."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def post(
    webhook: Webhook,
    body: Message,
    key: str,
    now: datetime,
    *,
    content_type: str = UTF8_JSON,
    seconds: float = SECONDS,
    transport: httpx.BaseTransport | None = None,
) -> None:
    """Post it; `key` is the same should it be posted again. Blocks.

    Raises Unavailable, which says why and not where, and how long to leave the webhook alone if it said so.
    """
    import httpx

    url, body = signed(webhook.kind, webhook.url, body, webhook.sign_with, now)
    content = json.dumps(body, ensure_ascii=False, separators=(",", ":"), default=str).encode()
    headers = {"Content-Type": content_type, "Idempotency-Key": key}
    try:
        with (
            httpx.Client(transport=transport, timeout=seconds) as client,
            client.stream("POST", url, content=content, headers=headers) as answer,
        ):
            if not answer.is_success:
                wish = patience(answer.headers.get("retry-after", ""), now)
                raise Unavailable(f"HTTP {answer.status_code}", retry_after_seconds=wish)
            said = b"" if webhook.kind == GENERIC else _read(answer, seconds)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Unavailable(f"no answer ({type(error).__name__})") from None
    if problem := refusal(webhook.kind, _json(said)):
        raise Unavailable(problem)


def signed(kind: str, url: str, body: Message, secret: str | None, now: datetime) -> tuple[str, Message]:
    """URL and body with the signature that DingTalk and Feishu want where a secret was set."""
    if secret is None or kind not in (DINGTALK, FEISHU):
        return url, body
    if kind == DINGTALK:
        at = round(now.timestamp() * 1000)
        sign = quote_plus(_hmac(secret.encode(), f"{at}\n{secret}".encode()))
        return f"{url}{'&' if '?' in url else '?'}timestamp={at}&sign={sign}", body
    at = int(now.timestamp())
    return url, {"timestamp": str(at), "sign": _hmac(f"{at}\n{secret}".encode(), b""), **body}


def refusal(kind: str, answer: object) -> str | None:
    """Why a robot did not take it, as its answer says; None: it did."""
    if kind == GENERIC:
        return None
    told = answer if isinstance(answer, Mapping) else {}
    names = ("code", "StatusCode") if kind == FEISHU else ("errcode",)
    codes = [told[name] for name in names if name in told]
    if not codes:
        return "its answer has no code that says it was taken"
    return None if codes[0] == 0 else f"it answers code {str(codes[0])[:20]}"


def patience(told: str, now: datetime) -> float | None:
    """Seconds that a Retry-After wants, an hour at most; None where it cannot be read."""
    if told.isascii() and told.isdigit():
        return min(float(told), LONGEST_WISH_SECONDS)
    try:
        at = parsedate_to_datetime(told)
    except (ValueError, OverflowError):
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return min(max((at - now).total_seconds(), 0.0), LONGEST_WISH_SECONDS)


def _read(answer: httpx.Response, seconds: float) -> bytes:
    found, until = b"", time.monotonic() + seconds
    for piece in answer.iter_bytes():
        found += piece
        if len(found) > MOST_BYTES:
            break
        if time.monotonic() > until:
            raise Unavailable("its answer does not end")
    return found


def _json(said: bytes) -> object:
    try:
        return json.loads(said)
    except ValueError:
        return None


def _hmac(key: bytes, told: bytes) -> str:
    return base64.b64encode(hmac.new(key, told, hashlib.sha256).digest()).decode()
