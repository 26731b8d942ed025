"""How people write the value of a setting, and back: spans, addresses, URLs, time zones, secrets.

Comes in: text from a command line, an environment or a TOML file. Goes out: typed values for `collector.settings`, and
their text again. A value that does not fit raises ValueError that says what is wanted, without quoting the value.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, NamedTuple, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr, StringConstraints

from collector.errors import QueryError
from collector.period import span, zone
from collector.settings.sending import addresses

MASK = "********"


class Address(NamedTuple):
    """Where to listen."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Behind(NamedTuple):
    """One upstream of a tap: its URL, and whose requests it gets: those to a host, or below a prefix that is taken
    off."""

    url: str
    host: str | None = None
    prefix: str = ""

    def __str__(self) -> str:
        place = f"{self.host or ''}{self.prefix}"
        return f"{place}={self.url}" if place else self.url


class Choice(NamedTuple):
    """A name and what was chosen for it."""

    name: str
    values: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name}={'|'.join(self.values)}"


def spelled(value: object) -> str:
    """A setting's value as one would write it; "" for None, a mask for a secret."""
    match value:
        case None:
            return ""
        case SecretStr():
            return MASK
        case bool():
            return str(value).lower()
        case timedelta():
            return _spelled_span(value)
        case float():
            return f"{value:g}"
        case tuple() if not isinstance(value, Address | Behind):
            return ", ".join(str(each) for each in value)
        case _:
            return str(value)


def _spelled_span(value: timedelta) -> str:
    seconds = int(value.total_seconds())
    for letter, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds % size == 0 and seconds >= 2 * size:
            return f"{seconds // size}{letter}"
    return f"{seconds}s"


def _span(value: object) -> object:
    if isinstance(value, timedelta):
        return value
    try:
        return span(value if isinstance(value, str) else "")
    except QueryError:
        raise ValueError("a number and one of s, m, h, d, w") from None


def _address(value: object) -> object:
    if isinstance(value, Address):
        return value
    host, colon, port = value.strip().rpartition(":") if isinstance(value, str) else ("", "", "")
    is_bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if is_bracketed else host
    if not (colon and host and (is_bracketed or ":" not in host)):
        raise ValueError("host:port")
    if not (port.isascii() and port.isdigit() and 0 <= int(port) <= 65535):
        raise ValueError("host:port, the port 0 to 65535")
    return Address(host, int(port))


def _upstreams(value: object) -> object:
    """One text or several, commas between them, each [HOST][/PREFIX]=URL or a URL alone."""
    given = value if isinstance(value, list | tuple) else [value]
    texts = [part for each in given for part in (each.split(",") if isinstance(each, str) else [each])]
    return tuple(each if isinstance(each, Behind) else _upstream(each) for each in texts if each != "")


def _upstream(written: object) -> Behind:
    text = written.strip() if isinstance(written, str) else ""
    place, is_placed, url = text.partition("=")
    if text.startswith(("http://", "https://")) or not is_placed:
        return Behind(_url(text))
    host, slash, path = place.strip().partition("/")
    return Behind(_url(url.strip()), host.lower() or None, _path_prefix(path) if slash else "")


def _choices(value: object) -> object:
    """One text or several, commas between them, each NAME=VALUE or NAME=VALUE|VALUE."""
    given = value if isinstance(value, list | tuple) else [value]
    texts = [part for each in given for part in (each.split(",") if isinstance(each, str) else [each])]
    return tuple(each if isinstance(each, Choice) else _choice(each) for each in texts if each != "")


def _choice(written: object) -> Choice:
    name, _, told = written.partition("=") if isinstance(written, str) else ("", "", "")
    values = tuple(part.strip() for part in told.split("|") if part.strip())
    if not name.strip() or not values:
        raise ValueError("NAME=VALUE, several values with | between them")
    return Choice(name.strip(), values)


def _zone(written: str) -> str:
    try:
        return zone(written).key
    except QueryError:
        raise ValueError("an IANA time zone such as Asia/Shanghai") from None


def _url(written: str) -> str:
    try:
        parts = urlsplit(written)
        is_whole = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        is_whole = False
    if not is_whole:
        raise ValueError("a URL that starts with http:// or https://")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("a URL without user name, password, ? and #")
    return written.rstrip("/")


def _version(written: str) -> str:
    if not re.fullmatch(r"v?\d{1,3}(\.\d{1,3}){1,2}([-+].*)?", written):
        raise ValueError("a version such as 1.11.1")
    return written.removeprefix("v")


def _path_prefix(written: str) -> str:
    inner = written.strip("/ ")
    if "://" in inner or "?" in inner or "#" in inner:
        raise ValueError("a path such as /ai-portal/proxy")
    return f"/{inner}" if inner else ""


def _several_of(there: tuple[str, ...]) -> Callable[[object], object]:
    """One text or several, commas between them, each one of those that are there."""

    def several(value: object) -> object:
        given = value if isinstance(value, list | tuple) else [value]
        texts = [part.strip() for each in given for part in (each.split(",") if isinstance(each, str) else [""])]
        found = tuple(dict.fromkeys(text for text in texts if text or len(texts) > 1))
        if any(text not in there for text in found):
            raise ValueError(f"of {', '.join(there)}, with commas between them")
        return found

    return several


def _mail_addresses(value: object) -> object:
    given = value if isinstance(value, list | tuple) else [value]
    if not all(isinstance(each, str) for each in given):
        raise ValueError("mail addresses with commas between them")
    return addresses(",".join(map(str, given)))


def _time_of_day(written: str) -> str:
    found = re.fullmatch(r"(\d{1,2}):(\d{2})", written, re.ASCII)
    if not found or int(found[1]) > 23 or int(found[2]) > 59:
        raise ValueError("a time of day such as 08:00")
    return f"{int(found[1]):02}:{found[2]}"


Text: TypeAlias = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Span: TypeAlias = Annotated[timedelta, BeforeValidator(_span)]
Listen: TypeAlias = Annotated[Address, BeforeValidator(_address)]
Zone: TypeAlias = Annotated[Text, AfterValidator(_zone)]
Url: TypeAlias = Annotated[Text, AfterValidator(_url)]
Upstreams: TypeAlias = Annotated[tuple[Behind, ...], BeforeValidator(_upstreams)]
Choices: TypeAlias = Annotated[tuple[Choice, ...], BeforeValidator(_choices)]
AccountName: TypeAlias = Annotated[Text, StringConstraints(pattern=r"^[ -~]+$", max_length=100)]
VersionText: TypeAlias = Annotated[Text, AfterValidator(_version)]
PathPrefix: TypeAlias = Annotated[str, AfterValidator(_path_prefix)]
Kinds: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(_several_of(("day", "week", "month")))]
ReportForms: TypeAlias = Annotated[
    tuple[str, ...], BeforeValidator(_several_of(("html", "xlsx", "csv", "pdf", "json")))
]
MailAddresses: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(_mail_addresses)]
TimeOfDay: TypeAlias = Annotated[Text, AfterValidator(_time_of_day)]
