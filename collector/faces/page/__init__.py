"""The web page at /: the files of this folder come in, HTTP answers go out. No fact of Dify is in them.

The page asks the same REST as everyone, with the key its reader shows. Everything but its first file stands below a
path that holds the digest of all files, so that a browser keeps them for good and never mixes two versions. No build
step, no script and no style from elsewhere or within the HTML: the content policy forbids them.
"""

from __future__ import annotations

import gzip
import mimetypes
from functools import cache
from hashlib import sha256
from pathlib import Path

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response

from collector.access import Scope
from collector.faces.guard import open_to_all, visitor

FOLDER = Path(__file__).parent

CONTENT_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)

_TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
_GUARDED = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
_FOR_GOOD = "public, max-age=31536000, immutable"
_FIRST, _EARLY = "index.html", "js/early.js"

LANGUAGES = ("en", "zh")


@cache
def files() -> dict[str, bytes]:
    """Path below this folder -> what is served there."""
    kinds = {*_TYPES, ".html"}
    found = {path.relative_to(FOLDER).as_posix(): path for path in sorted(FOLDER.rglob("*")) if path.suffix in kinds}
    return {name: path.read_bytes() for name, path in found.items()}


@cache
def digest() -> str:
    """Of all files: another one when any of them changes."""
    told = sha256()
    for name, content in files().items():
        told.update(f"{name} {len(content)}\n".encode() + content)
    return told.hexdigest()[:16]


@cache
def first(language: str, timezone: str, door: str) -> bytes:
    """The page itself: it names the place of everything else, the zone it begins with, and whether it needs a key."""
    base = f"page/{digest()}"
    ahead = "\n".join(
        f'<link rel="modulepreload" href="{base}/{name}">'
        for name in files()
        if name.startswith("js/") and name != _EARLY
    )
    text = files()[_FIRST].decode()
    for name, told in {"base": base, "language": language, "zone": timezone, "door": door, "ahead": ahead}.items():
        text = text.replace(f"{{{name}}}", told)
    return text.encode()


def spoken(accepted: str) -> str:
    """The language that an Accept-Language likes best of ours; English where it likes none."""
    wishes = []
    for place, wish in enumerate(accepted.lower().split(",")):
        name, *parameters = (part.strip() for part in wish.split(";"))
        liking = next((each[2:] for each in parameters if each.startswith("q=")), "1")
        try:
            wishes.append((-float(liking), place, name.partition("-")[0]))
        except ValueError:
            continue
    return next((name for liking, _, name in sorted(wishes) if name in LANGUAGES and liking), LANGUAGES[0])


def router(timezone: str) -> APIRouter:
    """The routes. `timezone`: whose days the page shows until its reader chooses."""
    routes = APIRouter(include_in_schema=False, dependencies=[open_to_all()])

    @routes.get("/", dependencies=[open_to_all()])
    async def page(request: Request) -> Response:
        language = spoken(request.headers.get("accept-language", ""))
        headers = {"Content-Security-Policy": CONTENT_POLICY, "Cache-Control": "no-cache"}
        headers |= {"Vary": "Accept-Language, Accept-Encoding, Authorization"}
        door = "open" if visitor().may(Scope.READ) else "closed"
        return _told(first(language, timezone, door), "text/html; charset=utf-8", request, headers)

    @routes.get("/page/{version}/{path:path}", dependencies=[open_to_all()])
    async def part(version: str, path: str, request: Request) -> Response:
        content = files().get(path) if version == digest() and path != _FIRST else None
        if content is None:
            raise HTTPException(404, "no such file of this page's version; load the page anew")
        kind = _TYPES.get(Path(path).suffix) or mimetypes.guess_type(path)[0] or "application/octet-stream"
        return _told(content, kind, request, {"Cache-Control": _FOR_GOOD, "Vary": "Accept-Encoding"})

    return routes


def _told(content: bytes, kind: str, request: Request, headers: dict[str, str]) -> Response:
    """The content as the reader takes it, or 304 for who has it."""
    tag, packed = f'"{sha256(content).hexdigest()[:32]}"', _packed(content)
    headers = {**headers, **_GUARDED, "ETag": tag}
    known = (each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(","))
    if tag in known:
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", "") and len(packed) < len(content):
        return Response(packed, media_type=kind, headers={**headers, "Content-Encoding": "gzip", "ETag": f"W/{tag}"})
    return Response(content, media_type=kind, headers=headers)


@cache
def _packed(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)
