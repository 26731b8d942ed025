"""Facts survive the wire, and a batch that does not fit is refused by name."""

from __future__ import annotations

import pytest

from collector import wire
from collector.errors import ShapeError
from tests.builders import a_call, a_feedback, a_message, a_node, a_run, an_app


def test_every_fact_comes_back_as_it_went() -> None:
    facts = [an_app(), a_run(), a_node(), a_call(), a_call(id="n2"), a_message(), a_feedback()]

    assert sorted(wire.decode(wire.encode(facts)), key=repr) == sorted(facts, key=repr)


def test_no_facts_are_an_empty_batch() -> None:
    assert wire.decode(wire.encode([])) == []


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"not json", "body"),
        (b"[]", "body"),
        (b'{"runs": []}', "runs"),
        (b'{"run": [{"id": "r1"}]}', r"run\[0\]"),
        (b'{"app": [{"id": "a", "source": "tap", "seen_at": "yesterday"}]}', r"app\[0\].*seen_at"),
        (b'{"app": [{"id": "a", "source": "tap", "seen_at": "2026-11-20T12:00:00"}]}', r"app\[0\].*seen_at"),
    ],
)
def test_what_does_not_fit_is_named(body: bytes, named: str) -> None:
    with pytest.raises(ShapeError, match=named):
        wire.decode(body)


def test_rows_come_apart_and_together_unread():
    records = [an_app(), a_run(), a_run(id="r2"), a_call()]
    apart = wire.parts(wire.encode(records))
    assert [table for table, _ in apart] == ["app", "run", "run", "model_call"]
    assert wire.decode(wire.join(apart)) == records
    assert wire.decode(wire.join(apart[1:2])) == records[1:2]
    assert wire.parts(wire.join([])) == []
    with pytest.raises(ShapeError, match="body"):
        wire.parts(b"[]")
