"""One connection of the relay, as both of its sides are: written at once where the kernel takes it, paused and resumed.

Bytes in, bytes out; what they mean is known by those who inherit. An event loop gathers what is written and sends it
after everything else it has to do; here it goes out before the next connection is looked at.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import sys
from typing import cast

_FLUSH_LOOK_SECONDS = 0.02
_FLUSH_LOOKS = 250
_TIOCOUTQ = 0x5411


class Side(asyncio.Protocol):
    """A connection. `is_full`: more was written than the other end takes."""

    __slots__ = ("_fd", "_is_paused", "buffer_bytes", "is_deaf", "is_full", "is_lost", "transport")

    transport: asyncio.Transport

    def __init__(self, buffer_bytes: int) -> None:
        self.buffer_bytes = buffer_bytes
        self.is_full = False
        self.is_lost = False
        self.is_deaf = False  # the other end reads no more
        self._is_paused = False
        self._fd = -1  # where writing directly is possible

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=self.buffer_bytes)
        if transport.get_extra_info("sslcontext") is None:
            connected = transport.get_extra_info("socket")
            self._fd = connected.fileno()
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        self._fd = -1

    def send(self, piece: bytes) -> None:
        """Write, at once if nothing waits before it."""
        transport = self.transport
        if self.is_deaf or transport.is_closing():
            return
        if self._fd >= 0 and not transport.get_write_buffer_size():
            try:
                sent = os.write(self._fd, piece)
            except BlockingIOError:
                sent = 0
            except OSError:
                self.is_deaf = True
                self.refused()
                return
            if sent == len(piece):
                return
            piece = piece[sent:]
        transport.write(piece)

    def refused(self) -> None:
        """The other end takes no more bytes."""
        self.transport.abort()

    def pause_writing(self) -> None:
        self.is_full = True

    def resume_writing(self) -> None:
        self.is_full = False

    def pause(self) -> None:
        """Let the other end wait: read nothing from it."""
        if not self._is_paused and not self.transport.is_closing():
            self._is_paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        """Read from the other end again."""
        if self._is_paused and not self.transport.is_closing():
            self._is_paused = False
            self.transport.resume_reading()

    def close(self) -> None:
        """Close when everything written has been sent."""
        if not self.is_lost:
            self.transport.close()

    def abort(self) -> None:
        """Close now."""
        if not self.is_lost:
            self.transport.abort()

    def reset(self, looks: int = _FLUSH_LOOKS) -> None:
        """Break the connection, so that the other end cannot take it for an end; what was written arrives before."""
        if self.is_lost or self.transport.is_closing():
            return
        if looks and self._unsent_bytes():
            asyncio.get_running_loop().call_later(_FLUSH_LOOK_SECONDS, self.reset, looks - 1)
            return
        connected = self.transport.get_extra_info("socket")
        if connected is not None:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def _unsent_bytes(self) -> int:
        """What the other end has not acknowledged, as far as that can be known."""
        waiting = self.transport.get_write_buffer_size()
        if waiting or self._fd < 0 or not sys.platform.startswith("linux"):
            return waiting
        import fcntl

        return int(struct.unpack("i", fcntl.ioctl(self._fd, _TIOCOUTQ, b"\0\0\0\0"))[0])
