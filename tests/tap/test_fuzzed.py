"""The properties that fuzzing tries on any bytes, here on a few: junk, words of both formats, cut up recordings."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.properties import PROPERTIES
from tests.fuzz.seeds import WORDS, said, seeds

JUNK = st.binary(max_size=300)
WRITTEN = st.lists(st.one_of(st.sampled_from(WORDS), st.binary(max_size=3)), max_size=20).map(b"".join)
TURNS = st.lists(st.builds(said, st.sampled_from([0, 0x80]), WRITTEN), max_size=8).map(b"".join)


def changed(seed: bytes) -> st.SearchStrategy[bytes]:
    """A seed with something else in some place."""
    places = st.integers(0, len(seed))
    return st.builds(
        lambda start, end, word: seed[: min(start, end)] + word + seed[max(start, end) :],
        places,
        places,
        st.one_of(st.sampled_from(WORDS), JUNK),
    )


@pytest.mark.parametrize("name", PROPERTIES)
@settings(max_examples=60)
@given(data=st.data())
def test_it_holds(name: str, data: st.DataObject):
    beginnings = [changed(seed) for seed in seeds(name)]
    PROPERTIES[name](data.draw(st.one_of(JUNK, WRITTEN, *([TURNS] if name == "relay" else []), *beginnings)))


@pytest.mark.parametrize("name", PROPERTIES)
def test_it_holds_for_every_beginning(name: str):
    for seed in [b"", *seeds(name)]:
        PROPERTIES[name](seed)
