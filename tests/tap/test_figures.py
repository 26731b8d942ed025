"""The tap's own numbers: added up over its workers, kept over their deaths, read at a door of their own."""

from __future__ import annotations

import asyncio
import os

import pytest
from prometheus_client.parser import text_string_to_metric_families

from collector.tap.admin import Admin
from collector.tap.figures import FIGURES, OVERHEAD, OVERHEAD_BOUNDS, OVERHEAD_BUCKETS, Board
from collector.tap.pulse import Pulse
from tests.tap.world import run, until

REQUESTS = ("dify_metric_tap_requests_total", "")
OPEN = ("dify_metric_tap_streams_open", "")
OLDEST = ("dify_metric_tap_spool_oldest_timestamp_seconds", "")


def shown(board: Board) -> dict[str, float]:
    """Sample, with its labels -> value, read as Prometheus reads it."""
    families = list(text_string_to_metric_families(board.text()))
    return {sample.name + "".join(sample.labels.values()): sample.value for each in families for sample in each.samples}


class TestTheBoard:
    def test_adds_up_what_workers_show(self):
        board = Board(2)
        first, second = board.line(0), board.line(1)
        first.show({REQUESTS: 3, OPEN: 1, OLDEST: 0})
        second.show({REQUESTS: 4, OPEN: 2, OLDEST: 1_700_000_000.5})
        found = shown(board)
        assert (found[REQUESTS[0]], found[OPEN[0]], found[OLDEST[0]]) == (7, 3, 1_700_000_000.5)

    def test_counters_go_on_after_a_worker_died_and_gauges_do_not(self):
        board = Board(1)
        board.line(0).show({REQUESTS: 3, OPEN: 5})
        board.line(0).show({REQUESTS: 1, OPEN: 2})
        assert (shown(board)[REQUESTS[0]], shown(board)[OPEN[0]]) == (4, 2)

    def test_is_shared_with_processes_that_are_forked(self):
        board = Board(2)
        pid = os.fork()
        if not pid:
            board.line(1).show({REQUESTS: 7})
            os._exit(0)
        os.waitpid(pid, 0)
        assert shown(board)[REQUESTS[0]] == 7

    def test_every_figure_is_there_from_the_start(self):
        found = {family.name for family in text_string_to_metric_families(Board(1).text())}
        assert found == {figure.name.removesuffix("_total") for figure in FIGURES}

    def test_counters_and_nothing_else_end_in_total(self):
        for figure in FIGURES:
            assert figure.name.endswith("_total") == (figure.kind == "counter")
            assert figure.help.endswith(".")

    def test_a_histogram_is_cumulative(self):
        board, pulse = Board(1), Pulse(OVERHEAD_BUCKETS)
        for seconds in (0.0001, 0.0002, 0.003, 5.0):
            pulse.note(seconds)
        numbers = zip(OVERHEAD_BOUNDS, pulse.counts, strict=True)
        board.line(0).show({(OVERHEAD, bound): number for bound, number in numbers})
        board.line(0).show({(OVERHEAD, "sum"): pulse.sum_seconds})
        found = shown(board)
        counts = [found[f"{OVERHEAD}_bucket{bound}"] for bound in ("0.0001", "0.00025", "0.005", "1.0", "+Inf")]
        assert counts == [1, 2, 3, 3, 4]
        assert found[f"{OVERHEAD}_count"] == 4
        assert found[f"{OVERHEAD}_sum"] == pytest.approx(5.0033)


def test_the_pulse_feels_how_long_the_loop_was_held_up():
    async def story() -> list[int]:
        pulse = Pulse((0.0, 1.0), clock=iter([0.0, 0.5, 10.0, 12.0]).__next__)
        pulse.start()
        await until(lambda: sum(pulse.counts) == 2)
        pulse.stop()
        return pulse.counts

    assert run(story()) == [0, 1, 1]


class TestTheDoor:
    def answer(self, request: bytes, *, is_well: bool = True) -> tuple[bytes, bytes]:
        async def story() -> bytes:
            loop = asyncio.get_running_loop()
            server = await loop.create_server(lambda: Admin(lambda: "a 1\n", lambda: is_well), "127.0.0.1", 0)
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
            for place in range(0, len(request), 1000):
                writer.write(request[place : place + 1000])
            found = await reader.read()
            writer.close()
            server.close()
            return found

        head, _, body = run(story()).partition(b"\r\n\r\n")
        return head.split(b"\r\n")[0], body

    @pytest.mark.parametrize(
        ("request_", "status", "body"),
        [
            (b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", b"200 OK", b"a 1\n"),
            (b"HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n", b"200 OK", b""),
            (b"GET /health?x HTTP/1.0\r\n\r\n", b"200 OK", b"ok\n"),
            (b"POST /metrics HTTP/1.1\r\n\r\n", b"405 Method Not Allowed", b"GET only\n"),
            (b"GET /secrets HTTP/1.1\r\n\r\n", b"404 Not Found", b"there are /metrics and /health\n"),
            (b"\x16\x03\x01\r\n\r\n", b"400 Bad Request", b"no request\n"),
            (b"GET / HTTP/1.1\r\nX: " + b"x" * 9000, b"431 Request Header Fields Too Large", b"too long\n"),
        ],
    )
    def test_answers_two_questions(self, request_: bytes, status: bytes, body: bytes):
        assert self.answer(request_) == (b"HTTP/1.1 " + status, body)

    def test_says_that_it_is_about_to_end(self):
        head, body = self.answer(b"GET /health HTTP/1.1\r\n\r\n", is_well=False)
        assert (head, body) == (b"HTTP/1.1 503 Service Unavailable", b"stopping\n")
