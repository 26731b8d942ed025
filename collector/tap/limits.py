"""How much and how long the relay lets anything be: sizes in bytes, times in seconds. No behaviour here."""

from __future__ import annotations

from dataclasses import dataclass

KIB, MIB = 1024, 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Limits:
    """One worker's limits. None means without limit."""

    head_bytes: int = 64 * KIB  # of a request or an answer, trailers too
    body_bytes: int | None = None  # of a request
    buffer_bytes: int = 128 * KIB  # written and not yet taken, before the other side has to wait
    event_bytes: int = 4 * MIB  # of an event worth reading; longer ones go by unread
    answer_bytes: int = 4 * MIB  # of a JSON answer kept for reading
    unread_bytes: int = 32 * MIB  # waiting to be read, all answers together; what is beyond goes by unread
    reading_seconds: float = 0.0002  # reading at a stretch, before bytes get their turn again

    connect_seconds: float = 10.0
    head_seconds: float = 30.0  # from its first byte to its last
    keep_seconds: float = 75.0  # a caller's connection between two requests
    body_seconds: float = 60.0  # silence in the middle of a request body
    answer_seconds: float = 3600.0  # silence of the upstream: workflows may think long, streams ping every 10 s
    write_seconds: float = 120.0  # a caller that takes nothing of what stands ready
    linger_seconds: float = 2.0  # reading away what a refused caller still sends

    pool_connections: int = 512  # kept open and idle, to one upstream
    pool_seconds: float = 1.5  # gunicorn hangs up after 2 s of silence
    drain_seconds: float = 60.0  # reading on after the caller has gone
    drain_bytes: int = 16 * MIB
    stop_seconds: float = 300.0  # for answers on their way when the relay is told to stop
