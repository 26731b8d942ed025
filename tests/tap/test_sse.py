"""Reading bytes: every event once, whatever the chunks."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.tap.sse import Events
from tests.tap.streams import RECORDED_STREAMS, cut, finished, llm, message_end, piece, started, wire

FINISHED = wire([finished(10)])
FINISHED_DATA = FINISHED.removeprefix(b"data: ").removesuffix(b"\n\n")


def read(body: bytes, events: Events | None = None, size: int | None = None) -> list[bytes]:
    """Everything a stream gives, end included."""
    events = events or Events()
    found = [data for chunk in (cut(body, size) if size else [body]) for data in events.feed(chunk)]
    return found + events.close()


def pieces(body: bytes, size: int | None = None) -> int:
    events = Events()
    read(body, events, size)
    return events.pieces


@pytest.mark.parametrize("path", RECORDED_STREAMS, ids=lambda path: path.stem)
@given(data=st.data())
def test_recorded_streams_give_the_same_events_in_any_chunking(path, data):
    body = path.read_bytes()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=40)))
    chunks = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    at_once, in_parts = Events(), Events()

    found = [event for chunk in chunks for event in in_parts.feed(chunk)] + in_parts.close()

    assert found == read(body, at_once)
    assert in_parts.pieces == at_once.pieces


@pytest.mark.parametrize("path", RECORDED_STREAMS, ids=lambda path: path.stem)
def test_what_comes_out_of_a_recorded_stream_is_what_stands_in_it(path):
    told = [json.loads(line[6:]) for line in path.read_bytes().split(b"\n") if line.startswith(b"data: ")]
    skipped = ("message", "agent_message", "text_chunk", "agent_thought", "iteration_next", "tts_message")

    assert [json.loads(event) for event in read(path.read_bytes())] == [
        event for event in told if not event["event"].startswith(skipped) or event["event"] == "message_end"
    ]


EMPTY_OR_ODD = [b"", b"", b": comment", b"event: ping", b"id: 7", b"retry: 5", b"data: {", b"data:", b"nonsense"]
LINES = st.sampled_from(
    [
        *EMPTY_OR_ODD,
        b"data: " + FINISHED_DATA,
        b"data:" + FINISHED_DATA,
        b'data: {"event":"message","answer":"a"}',
        b'data: {"event": "message", "answer": ""}',
        b'data: {"event": "ping"}',
    ]
)


@given(st.lists(LINES), st.sampled_from([b"\n", b"\r\n"]), st.integers(1, 50), st.integers(100, 2000))
def test_any_lines_in_any_chunks_give_the_same(lines, end, size, limit):
    at_once, in_chunks = Events(limit), Events(limit)
    body = b"".join(line + end for line in lines)

    assert read(body, in_chunks, size) == read(body, at_once)
    assert (in_chunks.pieces, in_chunks.oversized) == (at_once.pieces, at_once.oversized)


@given(st.lists(LINES))
def test_both_line_ends_give_the_same(lines):
    assert read(b"".join(line + b"\r\n" for line in lines)) == read(b"".join(line + b"\n" for line in lines))


def test_pieces_of_the_answer_are_counted_and_left_out():
    body = wire([piece("Hel"), piece("lo"), message_end(None)])

    assert [json.loads(event)["event"] for event in read(body)] == ["message_end"]
    assert pieces(body) == 2


@pytest.mark.parametrize("spaced", [False, True])
@pytest.mark.parametrize("size", [None, 1, 7])
def test_empty_pieces_do_not_count(spaced, size):
    chunk = {"event": "text_chunk", "data": {"text": "", "from_variable_selector": ["llm", "text"]}}
    quote = piece('he said "answer":""')

    body = wire([piece(""), piece("a"), piece(""), quote, chunk, {**chunk, "data": {"text": "b"}}], spaced=spaced)

    assert pieces(body, size) == 3
    assert pieces(b"".join(wire([piece(""), piece("a")], spaced=spaced) for _ in range(3)), size) == 3


def test_one_event_per_chunk_counts_as_many_pieces_as_any_other_chunking():
    answer = [piece("a"), piece("b"), piece(""), piece("c")]
    events = Events()

    for sent in answer:
        assert events.feed(wire([sent])) == []

    assert events.pieces == 3 == pieces(wire(answer))


@pytest.mark.parametrize("name", ["message", "agent_message"])
def test_several_pieces_in_one_chunk_pass_at_once(name):
    events = Events()
    events.feed(wire([piece("a", name=name)]))

    assert events.passes(wire([piece(text, name=name) for text in ("b", "c\n\n", "d")]))
    assert events.pieces == 4
    assert not events.passes(wire([piece("e", name=name), piece("", name=name)]))
    assert not events.passes(wire([piece("e", name=name), message_end(None)]))
    assert not events.passes(wire([piece("e", name=name)] * 2)[:-1])
    assert not events.passes(wire([piece("e", name=name)] * 2) + b"\n")
    assert events.pieces == 4


def test_a_whole_answer_after_its_pieces_is_no_piece():
    agent = [piece("a", name="agent_message"), piece("b", name="agent_message"), piece("ab"), message_end(None)]
    events = Events()

    for sent in [*agent, piece("c", name="agent_message")]:
        events.feed(wire([sent]))

    assert events.pieces == 3
    assert pieces(wire(agent)) == 2
    assert pieces(wire([piece("ab")])) == 1


def test_other_deltas_are_skipped_undecoded():
    skipped = [{"event": name, "audio": "x" * 99} for name in ("tts_message", "ping", "reasoning_chunk", "to_come")]

    assert read(wire([*skipped, finished(1)])) == [wire([finished(1)])[6:-2]]


def test_an_event_whose_name_is_not_first_is_given_to_be_decoded():
    body = b'data: {"task_id":"t","event":"message","answer":"a"}\n\n'

    assert read(body) == [b'{"task_id":"t","event":"message","answer":"a"}']
    assert pieces(body) == 0


@pytest.mark.parametrize("end", [b"\n\n", b"\n", b""])
def test_the_last_event_may_lack_its_blank_line(end):
    assert read(FINISHED.rstrip() + end) == [FINISHED_DATA]


def test_a_byte_order_mark_is_no_part_of_the_first_event():
    assert read(b"\xef\xbb\xbf" + FINISHED, size=1) == [FINISHED_DATA]


def test_comments_names_ids_and_pings_give_nothing():
    assert read(b": hi\n\nevent: ping\n\nid: 1\nretry: 10\n\n" + FINISHED) == [FINISHED_DATA]


def test_data_in_several_lines_is_one_event():
    assert read(b'data: {"event":\ndata: "error",\ndata: "code":"x"}\n\n') == [b'{"event":\n"error",\n"code":"x"}']


def test_the_rest_of_a_skipped_event_is_skipped_too():
    assert read(b'data: {"event":"message",\ndata: "answer":"a"}\n\n' + FINISHED) == [FINISHED_DATA]


@pytest.mark.parametrize("size", [None, 1, 100])
def test_an_event_too_long_is_counted_and_the_stream_goes_on(size):
    events = Events(max_event_bytes=2000)
    body = wire([started(), llm("n1", 1, 2, inputs="x" * 5000), finished(3)])

    found = [json.loads(event)["event"] for event in read(body, events, size)]

    assert found == ["workflow_started", "workflow_finished"]
    assert events.oversized == 1


@pytest.mark.parametrize("size", [None, 1, 2, 3])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_an_event_as_long_as_may_be_is_read_in_any_chunking(size, end):
    line = b"data: " + b"x" * (2000 - 6 - len(end) + 1)
    events = Events(max_event_bytes=2000)

    assert read(line + end + end, events, size) == [line[6:]]
    assert events.oversized == 0


@pytest.mark.parametrize("size", [None, 1, 2])
def test_a_line_that_only_begins_like_a_blank_one_ends_no_event(size):
    body = b'data: {"event":"ping"}\n\r x\ndata: more of it\n\n'

    assert read(body + FINISHED, size=size) == [FINISHED_DATA]


def test_no_more_than_one_event_is_held():
    events = Events(max_event_bytes=1000)

    for _ in range(100):
        events.feed(b"x" * 400)

    assert sum(len(part) for part in events._tail) <= 1000
    assert events.oversized == 1
