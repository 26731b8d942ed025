"""An answer over HTTP: in the format that was asked for, with what it covers in the headers, and nothing twice.

What comes in are an Answer and the request; what goes out is a response with an ETag, or 304 for who has it already.
An answer up to now changes with every second and so does its tag: ask for whole days to be spared the same one again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from typing import Any, Protocol, TypeVar
from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from collector.faces.formats import MEDIA_TYPES, Format, written
from collector.measures.answer import Answer, plain
from collector.period import Period

_BY_NAME = {"*/*": Format.JSON, "application/*": Format.JSON, "text/*": Format.CSV} | {
    media_type: form for form, media_type in MEDIA_TYPES.items()
}

ANSWER_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "headers": {
            name: {"description": description, "schema": {"type": "string"}}
            for name, description in {
                "ETag": "Send it back as If-None-Match to be told whether anything changed · 内容标识",
                "X-Period": "The period covered, [since, until) · 统计区间",
                "X-Time-Zone": "The IANA zone that days were cut in · 时区",
                "X-Watermark": "Everything created before this is in; empty before the first pull · 数据完整截至",
                "X-Flags": "What to know about the facts, as name=count · 质量标记",
                "Link": "The next page, rel=next, where there is one · 下一页",
            }.items()
        },
        "content": {
            MEDIA_TYPES[Format.CSV]: {"schema": {"type": "string"}},
            MEDIA_TYPES[Format.PARQUET]: {"schema": {"type": "string", "format": "binary"}},
            MEDIA_TYPES[Format.ARROW]: {"schema": {"type": "string", "format": "binary"}},
        },
    },
    304: {"description": "What you have is what there is · 未变化"},
}
"""What an endpoint that answers so tells OpenAPI beside its model."""


def respond(answer: Answer, request: Request, named: str, as_json: Callable[[], bytes] | None = None) -> Response:
    """The answer in the format named, else in the one that Accept prefers. `as_json` gives JSON that says more than it.

    Raises HTTPException (406) where Accept takes none of them.
    """
    form = Format(named) if named else accepted(request.headers.get("accept", ""))
    content = as_json() if as_json and form is Format.JSON else written(answer, form)
    headers = {**_about(answer), **_next(answer, request), "ETag": f'"{sha256(content).hexdigest()[:32]}"'}
    headers |= {"Vary": "Accept", "Cache-Control": "no-cache"}
    if _is_known(headers["ETag"], request.headers.get("if-none-match", "")):
        return Response(status_code=304, headers=headers)
    media_type = form.media_type + ("; charset=utf-8" if form is Format.CSV else "")
    return Response(content, media_type=media_type, headers=headers)


def tagged(content: bytes, request: Request) -> Response:
    """JSON that seldom changes: 304 for who has it already."""
    headers = {"ETag": f'"{sha256(content).hexdigest()[:32]}"', "Cache-Control": "no-cache"}
    if _is_known(headers["ETag"], request.headers.get("if-none-match", "")):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type="application/json", headers=headers)


class Named(Protocol):
    """A format that is known by its media type."""

    @property
    def media_type(self) -> str: ...


Wished = TypeVar("Wished", bound=Named)


def accepted(accept: str, known: Mapping[str, Wished] = _BY_NAME) -> Wished:  # type: ignore[assignment]
    """The format that a client likes best; that of */* (JSON) where it does not mind. Raises HTTPException (406)."""
    wishes = sorted(_wishes(accept), key=lambda wish: -wish[1]) or [("*/*", 1.0)]
    refused = {name for name, liking in wishes if not liking}
    for name, _ in wishes:
        form = known.get(name)
        if form and not {name, form.media_type} & refused:
            return form
    there = ", ".join(name for name in known if "*" not in name)
    raise HTTPException(406, f"no such format; there are {there}")


def _wishes(accept: str) -> Iterator[tuple[str, float]]:
    for wish in accept.lower().split(","):
        name, *parameters = (part.strip() for part in wish.split(";"))
        if name:
            yield name, next((_liking(each[2:]) for each in parameters if each.startswith("q=")), 1.0)


def _liking(written: str) -> float:
    try:
        return float(written)
    except ValueError:
        return 0.0


def _is_known(tag: str, known: str) -> bool:
    tags = [each.strip().removeprefix("W/") for each in known.split(",")]
    return tag in tags or "*" in tags


def _about(answer: Answer) -> dict[str, str]:
    headers = {
        "X-Period": _span(answer.period),
        "X-Time-Zone": answer.timezone,
        "X-Watermark": str(plain(answer.watermark) or ""),
        "X-Flags": _flags(answer.flags),
    }
    if answer.compared:
        headers |= {"X-Compared": _span(answer.compared.period), "X-Compared-Flags": _flags(answer.compared.flags)}
    return headers


def _next(answer: Answer, request: Request) -> dict[str, str]:
    if answer.next_cursor is None:
        return {}
    asked = [(name, value) for name, value in request.query_params.multi_items() if name != "cursor"]
    return {
        "X-Next-Cursor": answer.next_cursor,
        "Link": f'<?{urlencode([*asked, ("cursor", answer.next_cursor)])}>; rel="next"',
    }


def _span(period: Period) -> str:
    return f"{period.start.isoformat()}/{period.end.isoformat()}"


def _flags(flags: dict[str, int]) -> str:
    return ",".join(f"{name}={how_many}" for name, how_many in flags.items())
