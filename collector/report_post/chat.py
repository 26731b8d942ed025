"""A report as a message of each kind of webhook.

What comes in is a parcel; what goes out are JSON values. Nothing here sends, signs or reads an answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from collector.posting import Message
from collector.report_post.parcel import Parcel
from collector.settings.sending import DINGTALK, FEISHU, GENERIC, WECOM

MOST_BYTES = {WECOM: 4096, DINGTALK: 20_000, FEISHU: 20_000}
"""What a message may hold, as the robots' makers say."""

_MARKS = re.compile(r"([\\`*_{}\[\]()#+!|~-])")


def message(kind: str, parcel: Parcel) -> Message:
    """The body to post."""
    return _MESSAGES[kind](parcel)


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


_MESSAGES: Mapping[str, Callable[[Parcel], Message]] = {
    GENERIC: _generic,
    WECOM: _wecom,
    DINGTALK: _dingtalk,
    FEISHU: _feishu,
}
