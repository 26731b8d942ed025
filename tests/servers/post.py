"""Real servers on loopback that take mail and webhooks, and fail as they are told to: answer an error, hang, break off.

What they acknowledged is in `taken`, what they heard and did not acknowledge only in `heard`.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.servers.ports import free_port

OK, ERROR, HANG, DROP = "ok", "error", "hang", "drop"


@dataclass
class Hook:
    """A webhook and how it behaves. `answer` is what it says when it takes something."""

    behaves: str = OK
    status: int = 500
    answer: Any = field(default_factory=lambda: {"errcode": 0, "code": 0})
    headers: dict[str, str] = field(default_factory=dict)
    heard: list[str] = field(default_factory=list)  # paths with their query
    taken: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)  # what tells one delivery from another
    url: str = ""
    over: threading.Event = field(default_factory=threading.Event)


@contextmanager
def a_hook(**told: Any) -> Iterator[Hook]:
    """A webhook that listens."""
    hook = Hook(**told)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["content-length"]))
            hook.heard.append(self.path)
            behaves = hook.behaves
            if behaves == HANG:
                hook.over.wait(60)
                self.close_connection = True
                return
            if behaves == DROP:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            said = json.dumps(hook.answer).encode() if behaves == OK else b"<html>sorry</html>"
            if behaves == OK:
                hook.taken.append(json.loads(content))
                hook.keys.append(self.headers["idempotency-key"])
            self.send_response(200 if behaves == OK else hook.status)
            for name, value in ({} if behaves == OK else hook.headers).items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hook.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hook
    finally:
        hook.over.set()
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Post:
    """A mail server and how it behaves."""

    behaves: str = OK
    refuses: tuple[str, ...] = ()  # recipients
    heard: int = 0
    taken: list[EmailMessage] = field(default_factory=list)
    to: list[list[str]] = field(default_factory=list)
    users: list[str] = field(default_factory=list)
    port: int = 0
    USER: ClassVar[str] = "reports"
    PASSWORD: ClassVar[str] = "a password that nobody may see"

    async def handle_RCPT(  # noqa: N802
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if address in self.refuses:
            return f"550 no {address} here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        self.heard += 1
        if self.behaves == ERROR:
            return "451 try again later"
        if self.behaves == DROP:
            server.transport.abort()
            return "451 gone"
        found = message_from_bytes(envelope.content or b"", policy=policy.default)
        assert isinstance(found, EmailMessage)
        self.taken.append(found)
        self.to.append(list(envelope.rcpt_tos))
        return "250 OK"


@contextmanager
def a_post(*, tls: Any = None, wants_sign_in: bool = False, **told: Any) -> Iterator[Post]:
    """A mail server that listens; `tls` is an SSLContext for STARTTLS."""
    post = Post(**told)

    def signed_in(_server: SMTP, _session: Session, _envelope: Envelope, _how: str, told: object) -> AuthResult:
        assert isinstance(told, LoginPassword)
        post.users.append(told.login.decode())
        is_right = (told.login.decode(), told.password.decode()) == (post.USER, post.PASSWORD)
        return AuthResult(success=is_right, handled=False)

    options: dict[str, Any] = {"authenticator": signed_in, "auth_require_tls": tls is not None}
    if tls is not None:
        options |= {"tls_context": tls, "auth_required": wants_sign_in}
    post.port = free_port()
    controller = Controller(post, hostname="127.0.0.1", port=post.port, ready_timeout=30, **options)
    controller.start()
    try:
        yield post
    finally:
        controller.stop()


@contextmanager
def silence() -> Iterator[int]:
    """A port where somebody takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        yield door.getsockname()[1]
