"""The body of a request, up to a limit: what comes in is a request, what goes out are its bytes."""

from __future__ import annotations

from fastapi import HTTPException, Request


async def body_of(request: Request, most: int) -> bytes:
    """All of it. Raises HTTPException (413) for more than `most` bytes, whether it was announced or not."""
    told = request.headers.get("content-length", "0")
    if told.isdigit() and int(told) > most:
        raise _too_large(most)
    parts, length = [], 0
    async for part in request.stream():
        length += len(part)
        if length > most:
            raise _too_large(most)
        parts.append(part)
    return b"".join(parts)


def _too_large(most: int) -> HTTPException:
    return HTTPException(413, f"a body may have {most} bytes; send it in parts")
