"""Bytes of a text/event-stream -> the data of the events worth decoding. Feed it chunks as they come; no I/O here.

Nearly all events of a Dify stream are pieces of the answer. They are known by their first bytes, counted and dropped
undecoded; what tells of runs, nodes, messages and usage comes out whole, once. Work is linear in the bytes fed,
however small the chunks, and no event is held beyond `max_event_bytes`. The content of an answer is never looked at.
"""

from __future__ import annotations

import re

MAX_EVENT_BYTES = 16 * 1024 * 1024
"""Longer events are counted and skipped. Dify cuts each variable of a node at 1 MB by default."""

PIECES = {"message": b"answer", "agent_message": b"answer", "text_chunk": b"text"}
"""Events that carry a piece of the answer, and where."""

WORTH = frozenset(
    {
        "workflow_started",
        "workflow_finished",
        "workflow_paused",
        "node_started",
        "node_finished",
        "node_retry",
        "iteration_started",
        "iteration_completed",
        "loop_started",
        "loop_completed",
        "message_end",
        "error",
    }
)
"""Events that tell facts."""


_NAME = re.compile(rb'data: ?\{\s*"event":( ?)"(\w+)"')
_EMPTY_PIECE = re.compile(rb'[{,] ?"(?:answer|text)": ?""')
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_NEWLINE = 10
_MANY = 20
_NEVER = b"\n\n\n"


class Events:
    """Reads one stream.

    `pieces` counts the non-empty answer pieces that went by: compare it before and after `feed` to time them.
    `oversized` counts events dropped for their length.
    """

    __slots__ = (
        *("_data", "_has_agent_pieces", "_has_begun", "_held", "_is_idle", "_is_skipping", "_limit", "_quick_empty"),
        *("_quick_start", "_tail", "oversized", "pieces"),
    )

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self.pieces = 0
        self.oversized = 0
        self._limit = max_event_bytes
        self._tail: list[bytes] = []  # of a line whose end has not come
        self._data: list[bytes] = []  # of an event whose blank line has not come
        self._held = 0  # bytes in both
        self._is_idle = False  # between two events: nothing held, nothing being skipped
        self._is_skipping = False  # to the end of this event
        self._has_begun = False
        self._has_agent_pieces = False
        self._quick_start = _NEVER  # how the last answer piece began, and how it would look with nothing in it:
        self._quick_empty = _NEVER  # most chunks are one more of the same, and are known by these alone

    def passes(self, chunk: bytes) -> bool:
        """Whether a chunk is pieces of the answer like the last one: they are counted, and there is no more to it.

        Most chunks are.
        """
        if not self._is_idle or not chunk.startswith(self._quick_start) or chunk[-1] != _NEWLINE:
            return False
        if chunk.find(b"\n") == len(chunk) - 2:
            self.pieces += chunk.find(self._quick_empty) < 0
            return True
        return self._several_pass(chunk)

    def _several_pass(self, chunk: bytes) -> bool:
        ends = chunk.count(b"\n\n")
        if (
            chunk.count(b"\n\n" + self._quick_start) != ends - 1
            or chunk.count(b"\n") != 2 * ends
            or chunk[-2] != _NEWLINE
            or chunk.find(self._quick_empty) >= 0
        ):
            return False
        self.pieces += ends
        return True

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take bytes as they came; return the data of every event worth decoding that they completed."""
        if self._is_idle and self.passes(chunk):
            return []
        if b"\n" not in chunk:
            self._hold_tail(chunk)
            return []
        lines = chunk.split(b"\n")
        if self._tail:
            self._tail.append(lines[0])
            if self._take_parts():
                del lines[0]
            else:
                lines[0] = b"".join(self._tail)
                self._held -= len(lines[0]) - len(self._tail[-1])
            self._tail = []
        tail = lines.pop()
        found = self._read(lines)
        if tail:
            self._hold_tail(tail)
        self._is_idle = not (self._tail or self._data or self._is_skipping)
        return found

    def close(self) -> list[bytes]:
        """The stream has ended: return the last event, if its blank line is missing."""
        return self.feed(b"\n\n")

    def count_piece(self, name: str) -> None:
        """A non-empty answer piece went by: for those the caller had to decode to see that."""
        if name == "message" and self._has_agent_pieces:
            return  # agents of 1.16 repeat the whole answer as one `message` at the end
        self._has_agent_pieces = self._has_agent_pieces or name == "agent_message"
        self.pieces += 1

    def _hold_tail(self, part: bytes) -> None:
        self._is_idle = False
        if self._is_skipping and self._tail and self._tail != [b"\r"]:
            return  # the line's beginning is kept, so that it is not taken for a blank one
        self._tail.append(part)
        self._held += len(part)
        if self._held > self._limit and self._tail != [b"\r"]:  # it may be the blank line that ends an event
            self._skip_oversized()
            self._tail = [b":"]
            self._held = 1

    def _skip_oversized(self) -> None:
        if not self._is_skipping:
            self.oversized += 1
        self._is_skipping = True
        self._data = []
        self._held = 0

    def _read(self, lines: list[bytes]) -> list[bytes]:
        found = []
        if not self._has_begun and lines:
            self._has_begun = True
            lines[0] = lines[0].removeprefix(_BYTE_ORDER_MARK)
        for line in lines:
            if not line or line == b"\r":
                if self._data:
                    found.append(self._data[0] if len(self._data) == 1 else b"\n".join(self._data))
                    self._data = []
                    self._held = 0
                self._is_skipping = False
            elif self._is_skipping:
                continue
            elif self._held + len(line) > self._limit:
                self._skip_oversized()
            elif line.startswith(b"data:"):
                self._take(line)
        return found

    def _take(self, line: bytes) -> None:
        """One `data:` line: skip the event it starts, or keep it."""
        if not self._data and (named := _NAME.match(line)) and (name := named[2].decode()) not in WORTH:
            self._is_skipping = True
            if name in PIECES and not _EMPTY_PIECE.search(line):
                self._take_piece(name, named)
            return
        value = line[6 if line.startswith(b"data: ") else 5 :].removesuffix(b"\r")
        if not value:
            return
        self._data.append(value)
        self._held += len(line)

    def _take_parts(self) -> bool:
        """A `data:` line of many parts that begins a fact: its value is joined alone, which saves copying it again."""
        parts, length = self._tail, self._held + len(self._tail[-1])
        if len(parts) < _MANY or self._data or self._is_skipping or length > self._limit:
            return False
        named = _NAME.match(parts[0])
        if named is None or named[2].decode() not in WORTH:
            return False
        start = 6 if parts[0].startswith(b"data: ") else 5
        self._data.append(b"".join([parts[0][start:], *parts[1:]]).removesuffix(b"\r"))
        self._held = length
        self._has_begun = True
        return True

    def _take_piece(self, name: str, named: re.Match[bytes]) -> None:
        before = self.pieces
        self.count_piece(name)
        if self.pieces != before:
            self._quick_start, self._quick_empty = named[0], b'"%b":%b""' % (PIECES[name], named[1])
