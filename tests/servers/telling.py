"""An upstream in a thread whose answers hold secrets, as Dify's do: what a tap must keep to itself."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.tap.streams import llm, message_end, piece, started, usage, wire

KEY = "app-0123456789abcdefKEY"
SECRETS = {
    "key": KEY,
    "query string": "query-string-nobody-may-see",
    "path": "path-nobody-may-see",
    "cookie": "cookie-nobody-may-see",
    "prompt": "prompt-nobody-may-see",
    "answer": "answer-nobody-may-see",
    "error": "error-nobody-may-see",
}
HEADERS = {"Authorization": f"Bearer {KEY}", "Cookie": f"session={SECRETS['cookie']}"}
PATHS = ("/v1/chat-messages", "/v1/workflows/run", "/v1/nowhere", f"/v1/{SECRETS['path']}")
"""A stream that ends well, one with an error, an error as JSON, a path that is none."""


def _stream() -> bytes:
    told = {"prompts": [{"role": "user", "text": SECRETS["prompt"]}], "usage": usage(7, 3), "model_name": "m"}
    call = llm("n1", 7, 3, process_data=told, outputs={"text": SECRETS["answer"]}, inputs={"q": SECRETS["prompt"]})
    begun = started(message="m1", inputs={"sys.query": SECRETS["prompt"], "sys.user_id": "anna"})
    return wire([begun, piece(SECRETS["answer"]), call, message_end(usage(7, 3), run="r1")])


def _broken() -> bytes:
    failed = llm("n2", 7, 0, status="failed", error=f"rate limit: {SECRETS['error']}")
    return wire([started(run="r2"), failed, {"event": "error", "message": SECRETS["error"], "status": 429}])


class _Telling(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        path = self.path.partition("?")[0]
        streams = {PATHS[0]: _stream, PATHS[1]: _broken}
        body = streams[path]() if path in streams else b'{"code": "x", "message": "%b"}' % SECRETS["error"].encode()
        self.send_response(200 if path in streams else 404)
        self.send_header("Content-Type", "text/event-stream" if path in streams else "application/json")
        self.send_header("Set-Cookie", f"session={SECRETS['cookie']}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def telling() -> Iterator[str]:
    """Its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Telling)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def found_in(*told: str | bytes) -> list[str]:
    """The secrets that stand in what was told."""
    texts = [each.decode("latin-1") if isinstance(each, bytes) else each for each in told]
    return [name for name, secret in SECRETS.items() if any(secret in text for text in texts)]
