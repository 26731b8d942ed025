"""Bodies in any pieces: the same content, the same end, and framing that is valid again."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.tap.framing import BadFraming, Chunked, Sized

CONTENTS = st.lists(st.binary(min_size=1, max_size=400), max_size=6)
CUTS = st.lists(st.integers(0, 3000), max_size=12)


def chunked(parts: list[bytes], extension: bytes = b"", trailers: bytes = b"") -> bytes:
    body = b"".join(b"%x%b\r\n%b\r\n" % (len(part), extension, part) for part in parts)
    return body + b"0\r\n" + trailers + b"\r\n"


def pieces(whole: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    return [whole[start:end] for start, end in pairwise(places)]


def fed(body: Chunked, given: list[bytes]) -> tuple[bytes, bytes]:
    wire, content = b"", b""
    for piece in given:
        if body.is_done:
            body.excess += piece
        else:
            more, inner = body.feed(piece)
            wire, content = wire + more, content + inner
    return wire, content


@given(
    CONTENTS,
    CUTS,
    st.sampled_from([b"", b";a=b", b" ; q"]),
    st.sampled_from([b"", b"X-Sum: 1\r\n"]),
    st.binary(max_size=9),
)
def test_any_pieces_hold_the_same_content(parts, cuts, extension, trailers, behind):
    whole = chunked(parts, extension, trailers)
    body = Chunked(keeps_trailers=True)
    wire, content = fed(body, pieces(whole + behind, cuts))
    assert (content, body.is_done, body.excess) == (b"".join(parts), True, behind)
    again = Chunked(keeps_trailers=True)
    assert fed(again, [wire]) == (wire, content)
    assert again.is_done
    assert wire == chunked(parts, trailers=trailers)


@given(CONTENTS, CUTS)
def test_what_has_come_of_a_chunk_goes_on_at_once(parts, cuts):
    body, content, due = Chunked(keeps_trailers=True), b"", 0
    whole = chunked(parts)
    for piece in pieces(whole, cuts):
        content += body.feed(piece)[1]
        due += len(piece)
        assert content == read_so_far(whole[:due])


def read_so_far(whole: bytes) -> bytes:
    """The content in the beginning of a chunked body, read the plain way."""
    found = b""
    while b"\r\n" in whole:
        size, _, rest = whole.partition(b"\r\n")
        found += rest[: int(size, 16)]
        whole = rest[int(size, 16) + 2 :]
        if not int(size, 16):
            break
    return found


@pytest.mark.parametrize(
    "body",
    [
        *(b"g\r\n", b"-1\r\n", b"+1\r\nx\r\n", b"0x1\r\nx\r\n", b" 1\r\nx\r\n", b"1 \r\nx\r\n", b"1_0\r\n", b"\r\n"),
        *(
            b"1\nx\r\n",
            b"1\r\nxy\r\n",
            b"1\r\nx\n0\r\n\r\n",
            b"1\r\nx\r0\r\n\r\n",
            b"1;a\x00\r\nx\r\n",
            b"1" * 16 + b"\r\n",
        ),
        *(
            b"0\r\nX\r\n\r\n",
            b"0\r\nX : y\r\n\r\n",
            b"0\r\n X: y\r\n\r\n",
            b"0\r\nX: y\n\r\n",
            b"0\r\n\n",
            b"0\r\nX: y\x00\r\n\r\n",
        ),
        *(b"1;" + b"a" * 5000, b"0\r\nX: " + b"y" * 9000, b"0\r\n" + b"X: y\r\n" * 2000),
    ],
)
@pytest.mark.parametrize("size", [1, 10_000])
def test_what_nobody_can_be_sure_of_is_refused(body: bytes, size: int):
    with pytest.raises(BadFraming):
        fed(Chunked(keeps_trailers=True), [body[place : place + size] for place in range(0, len(body), size)])


def test_trailers_that_would_change_the_head_are_left_out():
    trailers = b"X-Sum: 1\r\nContent-Length: 9\r\nTransfer-Encoding: x\r\nHost: y\r\n"
    assert fed(Chunked(keeps_trailers=True), [chunked([], trailers=trailers)])[0] == b"0\r\nX-Sum: 1\r\n\r\n"
    assert fed(Chunked(keeps_trailers=False), [chunked([], trailers=trailers)])[0] == b"0\r\n\r\n"


def test_a_sized_body_ends_where_it_said():
    body = Sized(5)
    assert body.feed(b"hel") == (b"hel", b"hel")
    assert not body.is_done
    assert body.feed(b"lo!!") == (b"lo", b"lo")
    assert (body.is_done, body.excess) == (True, b"!!")


@given(st.binary(max_size=200), CUTS)
def test_whatever_comes_is_a_body_or_refused(junk, cuts):
    outcomes = []
    for given_pieces in ([junk], pieces(junk, cuts)):
        body = Chunked(keeps_trailers=False)
        try:
            outcomes.append((fed(body, given_pieces), body.is_done))
        except BadFraming:
            outcomes.append(None)
    assert outcomes[0] == outcomes[1]
