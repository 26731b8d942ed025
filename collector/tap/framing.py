"""Bytes of a body as they come over the wire -> what is sent on, and what is in it. No I/O.

`feed` takes a piece of any size and gives at once what may be sent on of it; nothing is held back but the few bytes of
an unfinished chunk size or trailer. After the end `is_done` is set and `excess` holds what came behind it. Chunk sizes
are read strictly; chunk extensions are dropped, as everybody may.
"""

from __future__ import annotations

import re
from typing import Protocol

from collector.tap.http_head import CHUNKED, NOT_IN_TRAILERS, UNTIL_CLOSE

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})\r\n")
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[^\x00-\x08\x0a-\x1f\x7f]*)?\r\n")
_TRAILER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[^\x00-\x08\x0a-\x1f\x7f]*\r\n")
_MAX_SIZE_LINE = 4096
_USUAL = {b"%x\r\n" % size: size for size in range(1, 2048)}
_SIZES, _BYTES, _END_OF_CHUNK, _TRAILERS = range(4)


class BadFraming(Exception):
    """A body whose end nobody can be sure of."""


class Body(Protocol):
    """One body on its way."""

    is_done: bool
    excess: bytes

    def feed(self, piece: bytes) -> tuple[bytes, bytes]:
        """The bytes to send on, and the content in them. Raises BadFraming."""


class Sized:
    """A body of a known number of bytes."""

    __slots__ = ("excess", "is_done", "left")

    def __init__(self, length: int) -> None:
        self.left = length
        self.is_done = length == 0
        self.excess = b""

    def feed(self, piece: bytes) -> tuple[bytes, bytes]:
        size = len(piece)
        if size > self.left:
            piece, self.excess = piece[: self.left], piece[self.left :]
            size = self.left
        self.left -= size
        self.is_done = self.left == 0
        return piece, piece


NOTHING = Sized(0)
"""No body, or none that is still to come: it is never fed."""


class UntilClose:
    """A body that ends with its connection."""

    __slots__ = ("excess", "is_done")

    def __init__(self) -> None:
        self.is_done = False
        self.excess = b""

    def feed(self, piece: bytes) -> tuple[bytes, bytes]:
        return piece, piece


class Chunked:
    """A body in chunks. `max_trailer_bytes` bounds what comes behind the last one."""

    __slots__ = (
        "_held",
        "_keeps_trailers",
        "_left",
        "_max_trailer_bytes",
        "_state",
        "_trailer_bytes",
        "excess",
        "is_done",
    )

    def __init__(self, *, keeps_trailers: bool, max_trailer_bytes: int = 8192) -> None:
        self.is_done = False
        self.excess = b""
        self._state = _SIZES
        self._held = bytearray()  # of a line whose end has not come
        self._left = 0  # of the chunk's content
        self._keeps_trailers = keeps_trailers
        self._max_trailer_bytes = max_trailer_bytes
        self._trailer_bytes = 0

    def feed(self, piece: bytes) -> tuple[bytes, bytes]:
        if self._state == _SIZES and not self._held:
            start = piece.find(b"\n", 0, 8) + 1
            length = _USUAL.get(piece[:start])
            if length is not None and len(piece) == start + length + 2 and piece.endswith(b"\r\n"):
                return piece, piece[start:-2]  # one whole chunk, as nearly always
            content = _of_whole_chunks(piece)
            if content is not None:
                return piece, content
        return self._feed_slowly(piece)

    def _feed_slowly(self, piece: bytes) -> tuple[bytes, bytes]:
        if self._held:
            self._held += piece
            if b"\n" not in piece and self._state != _END_OF_CHUNK:
                self._check_length(len(self._held))
                return b"", b""
            piece = bytes(self._held)
            self._held.clear()
        wire: list[bytes] = []
        content: list[bytes] = []
        place = 0
        while place < len(piece) and not self.is_done:
            if self._state == _BYTES:
                part = piece[place : place + self._left]
                place += len(part)
                self._left -= len(part)
                wire.append(part)
                content.append(part)
                if not self._left:
                    self._state = _END_OF_CHUNK
                continue
            end = self._line_end(piece, place)
            if end < 0:
                self._held += piece[place:]
                place = len(piece)
                break
            wire.append(self._take_line(piece, place, end))
            place = end
        if self.is_done:
            self.excess = piece[place:]
        return b"".join(wire), b"".join(content)

    def _line_end(self, piece: bytes, place: int) -> int:
        """Where the line that starts at `place` ends; -1 while its end has not come."""
        end = piece.find(b"\n", place) + 1
        length = (end or len(piece)) - place
        if self._state == _END_OF_CHUNK and not b"\r\n".startswith(piece[place : place + min(length, 2)]):
            raise BadFraming("a chunk that is longer than its size")
        self._check_length(length)
        return end or -1

    def _check_length(self, length: int) -> None:
        """Of a line, whole or not."""
        if length > (_MAX_SIZE_LINE if self._state == _SIZES else self._max_trailer_bytes):
            raise BadFraming("a line without an end")

    def _take_line(self, piece: bytes, place: int, end: int) -> bytes:
        if self._state == _END_OF_CHUNK:
            self._state = _SIZES
            return b"\r\n"
        if self._state == _SIZES:
            size = _SIZE_LINE.fullmatch(piece, place, end)
            if not size:
                raise BadFraming("a chunk size that is none")
            self._left = int(size[1], 16)
            self._state = _BYTES if self._left else _TRAILERS
            return size[1] + b"\r\n"
        if end - place == 2 and piece[place] == 13:
            self.is_done = True
            return b"\r\n"
        return self._take_trailer(piece[place:end])

    def _take_trailer(self, line: bytes) -> bytes:
        self._trailer_bytes += len(line)
        trailer = _TRAILER.fullmatch(line)
        if not trailer or self._trailer_bytes > self._max_trailer_bytes:
            raise BadFraming("a trailer that is none")
        return line if self._keeps_trailers and trailer[1].lower() not in NOT_IN_TRAILERS else b""


def _of_whole_chunks(piece: bytes) -> bytes | None:
    """The content of a piece that is chunks from its first byte to its last, as on busy connections; else None."""
    parts: list[bytes] = []
    place, length = 0, len(piece)
    while place < length:
        start = piece.find(b"\n", place, place + 16) + 1
        size = _USUAL.get(piece[place:start]) or _size_of(piece[place:start])
        place = start + size + 2
        if not size or piece[place - 2 : place] != b"\r\n":
            return None
        parts.append(piece[start : place - 2])
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _size_of(line: bytes) -> int:
    """A chunk's size; 0 for the last one's, and for what is no size that can be told at a glance."""
    size = _SIZE.fullmatch(line)
    return int(size[1], 16) if size else 0


def body_of(length: int, *, keeps_trailers: bool) -> Body:
    """The body that a head announces."""
    if not length:
        return NOTHING
    if length == CHUNKED:
        return Chunked(keeps_trailers=keeps_trailers)
    return UntilClose() if length == UNTIL_CLOSE else Sized(length)
