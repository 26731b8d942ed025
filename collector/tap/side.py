"""One connection of the relay, as both of its sides are: written at once where the kernel takes it, paused and resumed.

Bytes in, bytes out; what they mean is known by those who inherit. An event loop gathers what is written and sends it
after everything else it has to do; here it goes out before the next connection is looked at.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import struct
import sys
import termios
from typing import cast

_FLUSH_LOOK_SECONDS = 0.02
_FLUSH_LOOKS = 250


class Side(asyncio.Protocol):
    """A connection. `is_full`: more was written than the other end takes."""

    __slots__ = ("_fd", "_is_flushed", "_is_paused", "buffer_bytes", "is_deaf", "is_full", "is_lost", "transport")

    transport: asyncio.Transport

    def __init__(self, buffer_bytes: int) -> None:
        self.buffer_bytes = buffer_bytes
        self.is_full = False
        self.is_lost = False
        self.is_deaf = False  # the other end reads no more
        self._is_paused = False
        self._is_flushed = True  # nothing was left to the transport that it may not have sent yet
        self._fd = -1  # where writing directly is possible: until anyone has asked for the end

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
        if self._fd >= 0 and (self._is_flushed or not transport.get_write_buffer_size()):
            self._is_flushed = True
            try:
                sent = os.write(self._fd, piece)
            except BlockingIOError:
                sent = 0
            except OSError:
                self._fd = -1
                self.is_deaf = True
                self.refused()
                return
            if sent == len(piece):
                return
            piece = piece[sent:]
            self._is_flushed = False
        if not self.is_deaf and not transport.is_closing():
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

    def end_writing(self) -> bool:
        """Send an end behind what was written, and go on reading; whether this connection can."""
        if self.is_lost or self.transport.is_closing() or not self.transport.can_write_eof():
            return False
        self._fd = -1
        self.transport.write_eof()
        return True

    def close(self) -> None:
        """Close when everything written has been sent."""
        self._fd = -1
        if not self.is_lost:
            self.transport.close()

    def abort(self) -> None:
        """Close now."""
        self._fd = -1
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
        self.abort()

    def _unsent_bytes(self) -> int:
        """What the other end has not acknowledged, as far as that can be known."""
        waiting = self.transport.get_write_buffer_size()
        connected = self.transport.get_extra_info("socket")
        if waiting or connected is None or not sys.platform.startswith("linux"):
            return waiting
        return int(struct.unpack("i", fcntl.ioctl(connected.fileno(), termios.TIOCOUTQ, b"\0\0\0\0"))[0])
