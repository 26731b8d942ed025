"""What is in the spool arrives once the collector takes it, and one bad record holds up no other."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector import wire
from collector.errors import SettingsError, Unavailable
from collector.records import Record
from collector.tap import delivery
from collector.tap.delivery import Delivery
from collector.tap.post import Answer, Post
from collector.tap.spool import Spool
from collector.tap.spool_folder import Folder
from tests.builders import a_call, a_run

LARGE = 1 << 30
STORED = Answer(200, is_stored=True)
UNFIT = Answer(400, is_its_own=True, detail="run[0]: tokens do not fit")
FAULT = Answer(500, is_its_own=True, detail="OverflowError; the log of this collector says more")


class Collector:
    """Takes batches; `says` may answer something else, by the ids in the batch."""

    def __init__(self) -> None:
        self.stored: list[str] = []
        self.asked: list[int] = []
        self.says: Callable[[list[str]], Answer | None] = lambda _: None

    def __call__(self, body: bytes) -> Answer:
        ids = [record.id for record in wire.decode(body)]  # type: ignore[attr-defined]
        self.asked.append(len(ids))
        answer = self.says(ids)
        if answer is not None:
            return answer
        self.stored += ids
        return STORED


class Scene:
    """A spool, its delivery, and a collector."""

    def __init__(self, folder: Folder, *, draw: float = 1.0) -> None:
        self.folder = folder
        self.spool = Spool(folder.claim(), most_bytes=LARGE, busy_seconds=0.01)
        self.collector = Collector()
        self.seconds = 0.0
        self.delivery = Delivery(
            self.spool, self.collector, adopt=self.adopt, clock=lambda: self.seconds, draw=lambda: draw
        )

    def adopt(self) -> Spool | None:
        claim = next(self.folder.left_over(), None)
        return Spool(claim, most_bytes=LARGE) if claim else None

    def hold(self, *names: str) -> None:
        self.spool.put([a_run(id=name) for name in names])
        self.spool.commit()

    @property
    def refused(self) -> list[tuple[str, str, bytes]]:
        return self.spool._file.refused if self.spool._file else []

    @property
    def left(self) -> list[str]:
        found: list[Record] = []
        for batch in self.spool.take(10**9, LARGE):
            found += wire.decode(batch.body)
        return [record.id for record in found]  # type: ignore[attr-defined]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(Folder(tmp_path / "spool"))
    yield scene
    scene.spool.close()


class TestAnsweredWell:
    def test_it_is_stored_and_gone_from_the_spool(self, scene: Scene):
        scene.hold("r1", "r2")
        scene.hold("r3")
        assert scene.delivery.turn() == delivery.LINGER_SECONDS
        assert (scene.collector.stored, scene.left, scene.collector.asked) == (["r1", "r2", "r3"], [], [3])
        assert scene.delivery.counts.delivered == 3

    def test_while_there_is_more_it_goes_on_at_once(self, scene: Scene, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(delivery, "MOST_RECORDS", 2)
        for number in range(5):
            scene.hold(f"r{number}")
        assert [scene.delivery.turn() for _ in range(4)] == [0, 0, delivery.LINGER_SECONDS, delivery.LINGER_SECONDS]
        assert scene.collector.asked == [2, 2, 1]

    def test_an_empty_spool_asks_nobody(self, scene: Scene):
        assert scene.delivery.turn() == delivery.LINGER_SECONDS
        assert scene.collector.asked == []

    def test_a_thread_of_its_own_delivers(self, scene: Scene):
        arrived = threading.Event()
        scene.collector.says = lambda ids: arrived.set()
        scene.hold("r1")
        scene.delivery.start()
        assert arrived.wait(60)
        assert scene.delivery.stop(60)
        assert scene.left == []

    def test_at_the_end_what_is_left_is_delivered_for_a_while(self, scene: Scene, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(delivery, "MOST_RECORDS", 1)
        for number in range(5):
            scene.hold(f"r{number}")
        assert scene.delivery.finish(60)
        assert len(scene.collector.stored) == 5
        scene.hold("r5")
        scene.collector.says = lambda ids: Answer(503)
        assert not scene.delivery.finish(60)
        assert scene.left == ["r5"]


class TestWaiting:
    @pytest.mark.parametrize(
        ("answer", "reason"),
        [
            (Answer(503), "unavailable"),
            (Answer(401, is_its_own=True), "unauthorized"),
            (Answer(429), "busy"),
            (Answer(404), "misdirected"),
            (Answer(400), "misdirected"),  # a proxy's: it cannot mean the records
            (Answer(200), "misdirected"),  # a page of somebody else
            (FAULT, "fault"),
        ],
    )
    def test_nothing_is_given_up(self, scene: Scene, answer: Answer, reason: str):
        scene.hold("r1")
        scene.collector.says = lambda ids: answer
        pauses = [scene.delivery.turn() for _ in range(12)]
        assert scene.left == ["r1"]
        assert pauses == [0.5, 1, 2, 4, 8, 16, 32, *[60] * 5]
        assert scene.delivery.counts.failures == {reason: 12}
        scene.collector.says = lambda ids: None
        scene.delivery.turn()
        assert (scene.left, scene.collector.stored) == ([], ["r1"])

    def test_nor_when_nobody_answers(self, scene: Scene):
        def gone(_: list[str]) -> Answer:
            raise Unavailable("Connection refused")

        scene.hold("r1")
        scene.collector.says = gone
        assert scene.delivery.turn() == 0.5
        assert scene.delivery.counts.failures == {"connection": 1}
        assert scene.left == ["r1"]

    def test_a_wish_to_be_asked_later_is_granted_within_reason(self, scene: Scene):
        scene.hold("r1")
        for wish, pause in ((30.0, 30.0), (1e9, delivery.LONGEST_WISH_SECONDS)):
            scene.collector.says = lambda ids, wish=wish: Answer(429, retry_after_seconds=wish)
            assert scene.delivery.turn() == pause

    def test_pauses_differ_so_that_not_all_come_at_once(self, tmp_path: Path):
        scene = Scene(Folder(tmp_path / "spool"), draw=0.0)
        scene.hold("r1")
        scene.collector.says = lambda ids: Answer(503)
        assert [scene.delivery.turn() for _ in range(3)] == [0.25, 0.5, 1.0]
        scene.spool.close()

    def test_a_day_without_a_collector_arrives_afterwards(self, scene: Scene):
        scene.collector.says = lambda ids: Answer(503)
        for number in range(240):
            scene.hold(*(f"r{number}-{each}" for each in range(50)))
            scene.delivery.turn()
        scene.collector.says = lambda ids: None
        while scene.left:
            scene.delivery.turn()
        assert len(scene.collector.stored) == len(set(scene.collector.stored)) == 240 * 50


class TestPoison:
    def test_the_record_at_fault_is_found_and_kept_and_the_others_arrive(self, scene: Scene):
        names = [f"r{number}" for number in range(100)]
        scene.hold(*names)
        scene.collector.says = lambda ids: UNFIT if {"r37", "r38"} & set(ids) else None
        scene.delivery.turn()
        assert sorted(scene.collector.stored) == sorted(set(names) - {"r37", "r38"})
        assert scene.left == []
        assert [(kind, reason) for kind, reason, _ in scene.refused] == [("run", UNFIT.detail)] * 2
        assert b'"r37"' in scene.refused[0][2]
        assert scene.delivery.counts.refused == {"run": 2}
        assert scene.delivery.counts.delivered == 98
        assert len(scene.collector.asked) < 30

    @given(bad=st.sets(st.integers(0, 39)), size=st.integers(1, 40))
    def test_whichever_they_are(self, bad: set[int], size: int, tmp_path_factory: pytest.TempPathFactory):
        scene = Scene(Folder(tmp_path_factory.mktemp("spool")))
        names = [f"r{number}" for number in range(size)]
        poison = {f"r{number}" for number in bad}
        scene.hold(*names)
        scene.collector.says = lambda ids: UNFIT if poison & set(ids) else None
        scene.delivery.turn()
        assert sorted(scene.collector.stored) == sorted(set(names) - poison)
        assert len(scene.refused) == len(poison & set(names))
        assert scene.left == []
        scene.spool.close()

    def test_a_request_too_large_for_somebody_is_sent_in_parts_from_then_on(self, scene: Scene):
        for start in range(0, 400, 20):
            scene.hold(*(f"r{number}" for number in range(start, start + 20)))
        scene.collector.says = lambda ids: Answer(413) if len(ids) > 50 else None
        for _ in range(20):
            scene.delivery.turn()
        assert len(set(scene.collector.stored)) == 400
        assert scene.refused == []
        assert scene.left == []

    def test_a_record_that_makes_the_collector_fail_is_found_in_the_end(self, scene: Scene):
        scene.hold(*(f"r{number}" for number in range(30)))
        scene.collector.says = lambda ids: FAULT if "r7" in ids else None
        for _ in range(delivery.PATIENCE):
            scene.delivery.turn()
            assert len(scene.left) == 30
        scene.delivery.turn()
        assert (scene.left, len(scene.collector.stored)) == ([], 29)
        assert [reason for _, reason, _ in scene.refused] == [FAULT.detail]

    def test_a_collector_that_fails_with_everything_costs_no_record(self, scene: Scene):
        scene.hold(*(f"r{number}" for number in range(30)))
        scene.collector.says = lambda ids: FAULT
        for _ in range(20):
            scene.delivery.turn()
        assert len(scene.left) == 30
        assert scene.refused == []

    def test_a_batch_the_disk_has_damaged_is_set_aside(self, scene: Scene):
        scene.hold("r1")
        assert scene.spool._file is not None
        scene.spool._file._link.execute("UPDATE batch SET body = x'00'")
        scene.hold("r2")
        scene.delivery.turn()
        assert (scene.collector.stored, scene.left) == (["r2"], [])
        assert scene.delivery.counts.refused == {"run": 1}


class TestLeftOvers:
    def test_what_a_dead_sibling_left_arrives_when_there_is_time(self, scene: Scene):
        other = Spool(scene.folder.claim(), most_bytes=LARGE)
        other.put([a_call(id="c1")])
        other.commit()
        other._claim.release()  # it was killed
        scene.hold("r1")
        scene.delivery.turn()
        assert scene.collector.stored == ["r1"]
        for _ in range(2):
            scene.delivery.turn()
        assert scene.collector.stored == ["r1", "c1"]
        scene.seconds += delivery.ADOPT_SECONDS
        scene.delivery.turn()
        assert not (scene.folder.path / "spool-1.sqlite").exists()


class _Spoken(BaseHTTPRequestHandler):
    """Answers with what its server holds, and keeps what it was asked."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, _Server)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server.asked.append((self.path, dict(self.headers), body))
        status, headers, content = server.answers[min(len(server.asked), len(server.answers)) - 1]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    def __init__(self, *answers: tuple[int, dict[str, str], bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Spoken)
        self.answers = answers
        self.asked: list[tuple[str, dict[str, str], bytes]] = []

    @property
    def port(self) -> int:
        return int(self.server_address[1])


@contextmanager
def answering(*answers: tuple[int, dict[str, str], bytes], tls: ssl.SSLContext | None = None) -> Iterator[_Server]:
    server = _Server(*answers)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


PROBLEM = {"Content-Type": "application/problem+json"}


class TestThePost:
    def test_shows_the_token_and_keeps_its_connection(self):
        with answering((200, {}, b'{"new": 1, "changed": 0, "known": 0}')) as server:
            post = Post(f"http://127.0.0.1:{server.port}/behind/", token="a-token")
            assert [post.send(b"{}"), post.send(b"{}")] == [STORED, STORED]
            post.close()
        path, headers, body = server.asked[0]
        assert (path, headers["Authorization"], body) == ("/behind/api/v1/ingest", "Bearer a-token", b"{}")

    def test_reads_what_was_said(self):
        answers = (
            (400, PROBLEM, b'{"detail": "run[3]: no such field"}'),
            (429, {"Retry-After": "17"}, b"busy"),
            (200, {}, b"<p>Log in</p>"),
            (413, {"Retry-After": "Fri, 1 Jan"}, b""),
        )
        with answering(*answers) as server:
            post = Post(f"http://127.0.0.1:{server.port}")
            said = [post.send(b"{}") for _ in answers]
            post.close()
        assert said[0] == Answer(400, is_its_own=True, detail="run[3]: no such field")
        assert said[1] == Answer(429, retry_after_seconds=17.0)
        assert said[2:] == [Answer(200), Answer(413)]

    def test_a_connection_that_was_closed_meanwhile_is_made_again(self):
        with answering((200, {"Connection": "close"}, b'{"new": 1, "changed": 0, "known": 0}')) as server:
            post = Post(f"http://127.0.0.1:{server.port}")
            assert [post.send(b"{}").is_stored for _ in range(3)] == [True] * 3
            post.close()

    def test_nobody_there_is_unavailable_and_tells_no_token(self, free_port: int):
        with pytest.raises(Unavailable, match="Connection refused") as failed:
            Post(f"http://127.0.0.1:{free_port}", token="a-token").send(b"{}")
        assert "a-token" not in str(failed.value)

    def test_silence_and_noise_are_no_acknowledgement(self):
        for answer in (b"", b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"):
            with socket.create_server(("127.0.0.1", 0)) as door:

                def serve(door: socket.socket = door, answer: bytes = answer) -> None:
                    connected, _ = door.accept()
                    with connected, connected.makefile("rb") as asked:
                        # to its end: closing with bytes unread resets the connection, which is another story
                        while asked.readline() != b"\r\n":
                            pass
                        asked.read(len(b"{}"))
                        connected.sendall(answer)

                thread = threading.Thread(target=serve)
                thread.start()
                post = Post(f"http://127.0.0.1:{door.getsockname()[1]}")
                if answer.endswith(b"{"):  # cut off: nobody knows whether it is stored
                    assert not post.send(b"{}").is_stored
                else:
                    with pytest.raises(Unavailable):
                        post.send(b"{}")
                post.close()
                thread.join()

    @pytest.mark.parametrize("url", ["collector:9180", "ftp://x", "http://"])
    def test_a_place_that_is_none_is_said_at_once(self, url: str):
        with pytest.raises(SettingsError, match="tap_collector"):
            Post(url)

    def test_certificates_are_checked_against_an_authority_of_ones_own(
        self, tmp_path: Path, server: Callable[[str], str]
    ):
        certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
        line = [server("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=x"]
        line += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
        subprocess.run(line, check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        with answering((200, {}, b'{"new": 1, "changed": 0, "known": 0}'), tls=context) as running:
            url = f"https://127.0.0.1:{running.port}"
            post = Post(url, authorities=certificate)
            assert post.send(b"{}").is_stored
            post.close()
            with pytest.raises(Unavailable, match="certificate"):
                Post(url).send(b"{}")
