"""Where reports are sent, as people write it: a mail server and webhooks of chat programs.

Comes in: the text of a secret setting. Goes out: what to connect to. An address of a webhook is a secret as a whole,
since whoever has it may write there. A value that does not fit raises ValueError that says what is wanted, without
quoting it.

    smtp://reports:password@mail.example.com:587          TLS where the server offers it; a password never goes without
    smtps://…:465, smtp+starttls://…:587                  TLS from the first byte; TLS, or no mail
    https://hooks.example.com/reports                     JSON
    ops=https://oapi.dingtalk.com/robot/send?access_token=…#SEC…     a name of its own; # the secret to sign with
    team=feishu+https://gateway.example.com/hook          what kind it is, where its host does not say so
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.utils import parseaddr
from urllib.parse import unquote, urlsplit

GENERIC, WECOM, DINGTALK, FEISHU = "json", "wecom", "dingtalk", "feishu"

KINDS = (GENERIC, WECOM, DINGTALK, FEISHU)
_HOSTS = {
    "qyapi.weixin.qq.com": WECOM,
    "oapi.dingtalk.com": DINGTALK,
    "api.dingtalk.com": DINGTALK,
    "open.feishu.cn": FEISHU,
    "open.larksuite.com": FEISHU,
}
_PORTS = {"smtp": 25, "smtps": 465, "smtp+starttls": 587}
_NAME = re.compile(r"([A-Za-z0-9][\w.-]{0,39})=(?=\S)", re.ASCII)


@dataclass(frozen=True)
class MailServer:
    """Who takes mail."""

    host: str
    port: int
    security: str  # smtp: TLS where it is offered; smtps: from the first byte; smtp+starttls: always
    user: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Webhook:
    """Where a message is posted."""

    name: str
    kind: str  # of KINDS
    url: str = field(repr=False)
    sign_with: str | None = field(default=None, repr=False)  # the secret of DingTalk and Feishu


def mail_server(written: str) -> MailServer:
    """The server of a URL. Raises ValueError."""
    try:
        parts = urlsplit(written.strip())
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in _PORTS or not parts.hostname or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("smtp://user:password@host:587, smtps://… or smtp+starttls://…")
    user, password = (unquote(each) if each else None for each in (parts.username, parts.password))
    return MailServer(parts.hostname, port or _PORTS[parts.scheme], parts.scheme, user, password)


def webhooks(written: str) -> tuple[Webhook, ...]:
    """Those of a text, with commas or lines between them. Raises ValueError."""
    found = tuple(_webhook(each) for each in re.split(r"[\s,]+", written.strip()) if each)
    return tuple(_named_apart(found))


def addresses(written: str) -> tuple[str, ...]:
    """Mail addresses, with commas between them. Raises ValueError."""
    found = tuple(each.strip() for each in re.split(r"[,;\n]", written) if each.strip())
    for each in found:
        address = parseaddr(each)[1]
        if not re.fullmatch(r"[^@\s<>\"]+@[^@\s<>\"]+", address) or re.search(r"[\r\n]", each):
            raise ValueError("mail addresses with commas between them, such as lead@example.com, Bo <bo@example.com>")
    return tuple(dict.fromkeys(found))


def _webhook(written: str) -> Webhook:
    named = _NAME.match(written)
    name, rest = (named[1], written[named.end() :]) if named else ("", written)
    kind, _, address = rest.partition("+") if rest.partition("+")[0] in KINDS else ("", "", rest)
    address, _, sign_with = address.partition("#")
    try:
        parts = urlsplit(address)
        is_whole = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        is_whole = False
    if not is_whole:
        raise ValueError(
            "webhooks such as https://…, ops=https://…?access_token=…#SEC… or team=feishu+https://…, of the kinds "
            + ", ".join(KINDS)
        )
    kind = kind or _HOSTS.get(parts.hostname or "", GENERIC)
    return Webhook(name or kind, kind, address, sign_with or None)


def _named_apart(found: tuple[Webhook, ...]) -> Iterator[Webhook]:
    """Those without a name of their own are numbered where there are several. Raises ValueError."""
    often, seen = Counter(each.name for each in found), Counter[str]()
    for each in found:
        seen[each.name] += 1
        if often[each.name] == 1:
            yield each
        elif each.name in KINDS:
            yield Webhook(f"{each.name}-{seen[each.name]}", each.kind, each.url, each.sign_with)
        else:
            raise ValueError(f"webhooks with different names; {each.name} stands there twice")
