"""The processes of a tap: one or several relays on one port, started, told to stop, and started again when they die.

In comes a Plan and a way to open a sink in each worker; `run` returns when all have ended. Workers share their port
(SO_REUSEPORT) and tell each other the stop requests they see, since the stream that is stopped may be anyone's. No
request is looked at here.
"""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import signal
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import structlog
import uvloop

from collector.errors import SettingsError
from collector.settings.written import Address, Behind
from collector.tap.limits import Limits
from collector.tap.parent import end_with
from collector.tap.relay import Relay
from collector.tap.tls import client_context, load, server_context
from collector.tap.upstream import Directory, Place, Upstream
from collector.tap.watch import Sink

OpenSink: TypeAlias = Callable[[int], AbstractAsyncContextManager[Sink]]
"""The sink of a worker, by its number; opened and closed in the worker's own loop."""

Beside: TypeAlias = Callable[[int, Relay], AbstractAsyncContextManager[None]]
"""What accompanies a worker's relay, from before it listens until it has stopped."""

BACKLOG = 2048
_MAIL_BYTES = 256
_HEARD = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_SHORTEST_LIFE_SECONDS = 1.0

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything a tap is started with."""

    listen: Address
    upstreams: tuple[Behind, ...]
    workers: int = 1
    limits: Limits = field(default_factory=Limits)
    keeps_host: bool = True  # upstreams are told the Host that callers asked for
    certificate: Path | None = None  # callers come by TLS
    key: Path | None = None
    authorities: Path | None = None  # of upstreams


@dataclass(frozen=True)
class Mail:
    """How a worker hears of stop requests, and tells the others."""

    inbox: socket.socket
    others: tuple[socket.socket, ...]

    def tell(self, task_id: str) -> None:
        """Never waits: a stop that is not told costs one stream its status."""
        for other in self.others:
            with suppress(OSError):
                other.send(task_id.encode()[:_MAIL_BYTES])


def alone(_number: int, _relay: Relay) -> AbstractAsyncContextManager[None]:
    """Nothing accompanies the relay."""
    return nullcontext()


def run(
    plan: Plan,
    open_sink: OpenSink,
    ready: Callable[[Address], None] | None = None,
    beside: Beside = alone,
) -> None:
    """Serve until SIGTERM or SIGINT, then until what is on its way has arrived. Raises SettingsError.

    `ready` is told where the tap listens. SIGHUP reads the certificate again.
    """
    check(plan)
    _raise_file_limit()
    bound = listeners(plan.listen, plan.workers)
    host, port = bound[0].getsockname()[:2]
    if ready is not None:
        ready(Address(host, port))
    mails = _mails(plan.workers)
    if plan.workers == 1:
        uvloop.run(serve(plan, 0, bound[0], mails[0], open_sink, beside))
        return
    _Workers(
        lambda number: uvloop.run(serve(plan, number, bound[number], mails[number], open_sink, beside)), bound
    ).run()


def check(plan: Plan) -> None:
    """Raises SettingsError for what would fail later: files, URLs, no upstream for anyone."""
    directory(plan)
    if not plan.upstreams:
        raise SettingsError("no upstream; give the address of Dify's API")
    if plan.certificate:
        server_context(plan.certificate, plan.key)


def directory(plan: Plan, clock: Callable[[], float] = time.monotonic) -> Directory:
    """The upstreams of a plan."""
    tls = client_context(plan.authorities)
    places = [
        Place(
            Upstream(behind.url, limits=plan.limits, clock=clock, tls=tls, keeps_host=plan.keeps_host),
            behind.host.lower().encode() if behind.host else None,
            behind.prefix.rstrip("/").encode(),
        )
        for behind in plan.upstreams
    ]
    return Directory(places)


def listeners(listen: Address, count: int) -> list[socket.socket]:
    """Sockets on one port. Raises SettingsError."""
    bound: list[socket.socket] = []
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    try:
        for _ in range(count):
            port = bound[0].getsockname()[1] if bound else listen.port
            bound.append(
                socket.create_server((listen.host, port), family=family, backlog=BACKLOG, reuse_port=count > 1)
            )
    except OSError as error:
        for one in bound:
            one.close()
        raise SettingsError(f"cannot listen on {listen}: {error.strerror}; is another tap running there?") from None
    return bound


async def serve(
    plan: Plan, number: int, bound: socket.socket, mail: Mail, open_sink: OpenSink, beside: Beside = alone
) -> None:
    """One worker, until it is told to stop."""
    loop = asyncio.get_running_loop()
    tls = server_context(plan.certificate, plan.key) if plan.certificate else None
    stopping = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stopping.set)
    async with open_sink(number) as sink:
        relay = Relay(directory(plan), sink, limits=plan.limits, tell_stop=mail.tell)
        loop.add_reader(mail.inbox, _read_mail, mail.inbox, relay)
        loop.add_signal_handler(signal.SIGHUP, _reload, tls, plan)
        async with beside(number, relay):
            await relay.listen([bound], tls)
            _calm_collector()
            log.info("tap listens", worker=number, port=bound.getsockname()[1])
            await stopping.wait()
            log.info("tap stops", worker=number, on_their_way=len(relay.callers))
            await relay.stop()
        loop.remove_reader(mail.inbox)


def _read_mail(inbox: socket.socket, relay: Relay) -> None:
    with suppress(OSError):
        while True:
            relay.watch.stop(inbox.recv(_MAIL_BYTES).decode("utf-8", "replace"))


def _reload(tls: ssl.SSLContext | None, plan: Plan) -> None:
    if tls is None or plan.certificate is None:
        return
    try:
        load(tls, plan.certificate, plan.key)
        log.info("certificate read again")
    except SettingsError as error:
        log.error("certificate not read, the old one stays", reason=str(error))


def _mails(count: int) -> list[Mail]:
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(count)]
    for pair in pairs:
        for end in pair:
            end.setblocking(False)
    return [
        Mail(pairs[number][0], tuple(pair[1] for place, pair in enumerate(pairs) if place != number))
        for number in range(count)
    ]


def _raise_file_limit() -> None:
    """Two connections a stream: the usual 1024 files are soon used up."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _calm_collector() -> None:
    """What stands now stays; looking through it again and again would make streams wait."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


class _Workers:
    """The parent of several workers."""

    def __init__(self, work: Callable[[int], None], bound: Iterable[socket.socket]) -> None:
        self._work = work
        self._bound = list(bound)
        self._numbers: dict[int, int] = {}  # process id -> number
        self._started: dict[int, float] = {}
        self._is_stopping = False

    def run(self) -> None:
        """Returns when all have ended after a signal to stop."""
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda received, _: self._stop(received))
        signal.signal(signal.SIGHUP, lambda received, _: self._tell(received))
        for number in range(len(self._bound)):
            self._start(number)
        while self._numbers:
            pid, status = os.wait()
            if pid not in self._numbers:
                continue
            number = self._numbers.pop(pid)
            if self._is_stopping:
                continue
            log.error("a worker died, another takes its place", worker=number, exit=os.waitstatus_to_exitcode(status))
            if time.monotonic() - self._started[number] < _SHORTEST_LIFE_SECONDS:
                time.sleep(_SHORTEST_LIFE_SECONDS)
            if not self._is_stopping:
                self._start(number)

    def _start(self, number: int) -> None:
        self._started[number] = time.monotonic()
        parent = os.getpid()
        signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)  # a signal in between would be heard by the wrong one
        pid = os.fork()
        if pid:
            self._numbers[pid] = number
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _HEARD)
            if self._is_stopping:
                os.kill(pid, signal.SIGTERM)
            return
        code = 1
        try:
            for name in _HEARD:
                signal.signal(name, signal.SIG_DFL)
            end_with(parent)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _HEARD)
            for place, each in enumerate(self._bound):
                if place != number:
                    each.close()
            self._work(number)
            code = 0
        except Exception as error:
            log.error("worker failed", worker=number, error=type(error).__name__)
        finally:
            os._exit(code)

    def _stop(self, _received: int) -> None:
        self._is_stopping = True
        for each in self._bound:
            each.close()
        self._tell(signal.SIGTERM)

    def _tell(self, name: int) -> None:
        for pid in list(self._numbers):
            with suppress(ProcessLookupError):
                os.kill(pid, name)
