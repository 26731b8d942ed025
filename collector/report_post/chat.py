"""A report as a message of each kind of webhook, signed where the robot wants that, and what its answer means.

What comes in is a parcel; what goes out are JSON values. WeCom, DingTalk and Feishu answer 200 also to what they
refuse: their own code in the answer counts. Nothing here sends.

Sources: developer.work.weixin.qq.com/document/path/91770, open.dingtalk.com/document/robots/custom-robot-access,
open.feishu.cn/document/client-docs/bot-v3/add-custom-bot
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeAlias
from urllib.parse import quote_plus

from collector.report_post.parcel import Parcel
from collector.settings.sending import DINGTALK, FEISHU, GENERIC, WECOM

Message: TypeAlias = dict[str, Any]

MOST_BYTES = {WECOM: 4096, DINGTALK: 20_000, FEISHU: 20_000}
"""What a message may hold, as the robots' makers say."""

_MARKS = re.compile(r"([\\`*_{}\[\]()#+!|~-])")


def message(kind: str, parcel: Parcel) -> Message:
    """The body to post."""
    return _MESSAGES[kind](parcel)


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


def plain(name: str) -> str:
    """A name that can be no mark-up, no link and calls nobody."""
    name = name.replace("<", "‹").replace(">", "›").replace("@", "＠").replace("\n", " ").replace("\r", " ")
    return _MARKS.sub(r"\\\1", name)


def markdown(parcel: Parcel, most_bytes: int, mark: Callable[[str], str] = plain) -> str:
    """Headline numbers and most used apps; lines at the end go where they are too many."""
    spelling = parcel.spelling
    lines = [f"### {mark(parcel.title)}"]
    lines += [f"> {mark(note)}" for note in parcel.notes]
    lines += [f"- {mark(name)}: **{value}**{f' ({grown})' if grown else ''}" for name, value, grown in parcel.figures]
    if parcel.apps:
        lines.append(f"**{spelling.word('mail.top_apps')}**")
        lines += [f"{place}. {mark(name)}: {calls}" for place, (name, calls) in enumerate(parcel.apps, 1)]
    while len("\n\n".join(lines).encode()) > most_bytes and len(lines) > 1:
        lines.pop()
    return "\n\n".join(lines)


def _generic(parcel: Parcel) -> Message:
    told = parcel.report.plain()
    return {"id": told["report"], "language": parcel.language, "text": parcel.text, "report": told}


def _wecom(parcel: Parcel) -> Message:
    content = markdown(parcel, MOST_BYTES[WECOM], _unmarked).replace("\n\n", "\n")
    return {"msgtype": "markdown", "markdown": {"content": content}}


def _dingtalk(parcel: Parcel) -> Message:
    return {
        "msgtype": "markdown",
        "markdown": {"title": parcel.title, "text": markdown(parcel, MOST_BYTES[DINGTALK])},
        "at": {"isAtAll": False},
    }


def _feishu(parcel: Parcel) -> Message:
    first, *rest = markdown(parcel, MOST_BYTES[FEISHU], _unmarked).split("\n\n")
    return {
        "msg_type": "interactive",
        "card": {
            "config": {"wide_screen_mode": True},
            "header": {"template": "blue", "title": {"tag": "plain_text", "content": first.removeprefix("### ")}},
            "elements": [{"tag": "div", "text": {"tag": "lark_md", "content": "\n".join(rest)}}],
        },
    }


def _unmarked(name: str) -> str:
    """The same for robots that know no backslash."""
    return re.sub(r"[`*_\[\]()#~]", " ", plain(name).replace("\\", "")).strip()


def _hmac(key: bytes, told: bytes) -> str:
    return base64.b64encode(hmac.new(key, told, hashlib.sha256).digest()).decode()


_MESSAGES: Mapping[str, Callable[[Parcel], Message]] = {
    GENERIC: _generic,
    WECOM: _wecom,
    DINGTALK: _dingtalk,
    FEISHU: _feishu,
}
