"""The heads an upstream sends for one request: bytes in any pieces -> interim heads, the final one, what follows it."""

from __future__ import annotations

from collector.tap.http_head import AnswerHead, BadHead, parse_answer

INTERIM_HEADS = 20
"""More of them before one answer than anybody sends."""


class AnswerHeads:
    """Collects them. After the final one `rest` holds the beginning of the body."""

    __slots__ = ("_held", "_is_to_head", "_left", "_max_bytes", "rest")

    def __init__(self, *, is_to_head: bool, max_bytes: int) -> None:
        self.rest = b""
        self._held = bytearray()
        self._is_to_head = is_to_head
        self._max_bytes = max_bytes
        self._left = INTERIM_HEADS

    @property
    def has_begun(self) -> bool:
        """Whether anything has come that is not yet a head."""
        return bool(self._held)

    def feed(self, piece: bytes) -> list[AnswerHead]:
        """The heads that a piece completed. Raises BadHead."""
        held = self._held
        if not held:
            end = piece.find(b"\r\n\r\n") + 4
            if end >= 4:
                head = parse_answer(piece[:end], is_to_head=self._is_to_head)
                if head.is_final:  # as nearly always
                    self.rest = piece[end:]
                    return [head]
        searched = max(0, len(held) - 3)
        held += piece
        found, start = list[AnswerHead](), 0
        while (end := held.find(b"\r\n\r\n", searched) + 4) >= 4:
            head = parse_answer(bytes(held[start:end]), is_to_head=self._is_to_head)
            found.append(head)
            start = searched = end
            if head.is_final:
                self.rest = bytes(held[end:])
                held.clear()
                return found
            self._left -= 1
            if not self._left:
                raise BadHead(502, "interim heads without end")
        del held[:start]
        if len(held) > self._max_bytes:
            raise BadHead(502, "a head without end")
        return found
