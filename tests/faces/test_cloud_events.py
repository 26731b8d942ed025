"""CloudEvents as they come: three modes, what is kept of one, and what is said of one that does not fit."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.faces.cloud_events import (
    BATCH,
    FIELDS,
    JSON,
    MOST_CHARACTERS,
    MOST_EVENT_BYTES,
    MOST_EVENTS,
    MOST_VALUES,
    SINGLE,
    Heard,
    NoCloudEvent,
    key_of,
    read,
)
from collector.records import PortalEvent, PortalValue
from tests.builders import NOON


def an_event(**fields: Any) -> dict[str, Any]:
    """Twelve lines accepted in shop."""
    default = {
        "specversion": "1.0",
        "id": "e1",
        "source": "/ide",
        "type": "code.accepted",
        "time": "2026-11-20T20:00:00+08:00",
        "data": {"app_id": "shop", "user": "li.lei", "lines": 12},
    }
    return {name: value for name, value in (default | fields).items() if value is not ...}


def heard(message: object, kind: str = SINGLE, **headers: str) -> Heard:
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    return read({"content-type": kind, **headers}, body, NOON + timedelta(hours=1))


def the_event(message: object, kind: str = SINGLE, **headers: str) -> PortalEvent:
    found = heard(message, kind, **headers)
    assert found.misfits == []
    (event,) = [fact for fact in found.facts if isinstance(fact, PortalEvent)]
    return event


def values(found: Heard) -> dict[str, float]:
    return {fact.name: fact.number for fact in found.facts if isinstance(fact, PortalValue)}


def test_what_is_kept_of_one():
    found = heard(an_event())
    event, value = found.facts
    assert isinstance(event, PortalEvent)
    assert isinstance(value, PortalValue)
    assert (event.event_type, event.event_source, event.event_id) == ("code.accepted", "/ide", "e1")
    assert (event.app_id, event.session_id, event.user_id) == ("shop", "li.lei", None)
    assert (event.created_at, event.created_at.tzinfo) == (NOON, UTC)
    assert (value.name, value.number, value.app_id, value.created_at) == ("lines", 12.0, "shop", NOON)
    assert value.id == f"{event.id}/lines"


def test_the_modes_say_the_same():
    whole = an_event()
    data = json.dumps(whole["data"]).encode()
    attributes = {f"ce-{name}": str(value) for name, value in whole.items() if name != "data"}
    told = [
        heard(whole),
        heard([whole], BATCH),
        heard(whole, f"{SINGLE}; charset=utf-8"),
        heard(whole, JSON),
        heard([whole], JSON),
        heard(whole, ""),
        heard(data, JSON, **attributes),
        heard(data, "application/vnd.portal+json", **attributes),
    ]
    assert all(each == told[0] for each in told)


def test_binary_mode_spells_what_a_header_cannot_hold():
    attributes = {"ce-specversion": "1.0", "ce-id": "a%20b", "ce-source": "/%E9%97%A8%E6%88%B7", "ce-type": "t"}
    event = the_event(b"some text nobody keeps", "text/plain", **attributes, **{"ce-appid": "shop"})
    assert (event.event_id, event.event_source, event.app_id) == ("a b", "/门户", "shop")


def test_whose_it_is_may_stand_in_the_data_or_beside_it():
    event = the_event(an_event(data={"app_id": "shop", "user_id": 7}, appid="desk", workspaceid="w", sessionid="s"))
    assert (event.app_id, event.workspace_id, event.user_id, event.session_id) == ("shop", "w", "7", "s")
    nobody = the_event(an_event(data=...))
    assert (nobody.app_id, nobody.user_id, nobody.session_id) == (None, None, None)


def test_numbers_at_the_top_are_kept_and_nothing_else():
    data = {
        "lines": 12,
        "share": 0.5,
        "行数": 3,
        "lost": -1,
        "prompt": "who killed Roger Ackroyd?",
        "is_good": True,
        "nothing": None,
        "deep": {"tokens": 5},
        "list": [1],
        "text_number": "12",
        "user_id": 9,
    }
    found = heard(an_event(data=data))
    assert values(found) == {"lines": 12.0, "share": 0.5, "行数": 3.0, "lost": -1.0}
    assert "Ackroyd" not in str(found)


def test_without_a_time_it_happened_now():
    assert the_event(an_event(time=...)).created_at == NOON + timedelta(hours=1)


@pytest.mark.parametrize("data", [..., None, "text", [1, 2], 7])
def test_data_that_is_no_object_has_no_numbers(data: object):
    assert values(heard(an_event(data=data))) == {}


@pytest.mark.parametrize(
    ("wrong", "field", "remedy"),
    [
        ({"id": ...}, "id", "as every CloudEvent has"),
        ({"source": ...}, "source", "as every CloudEvent has"),
        ({"type": ""}, "type", "a text that is not empty"),
        ({"type": 7}, "type", "a text that is not empty"),
        ({"type": "x" * (MOST_CHARACTERS + 1)}, "type", "an id, not a text"),
        ({"specversion": "0.3"}, "specversion", "wanted 1.0"),
        ({"specversion": ...}, "specversion", "wanted 1.0"),
        ({"time": "yesterday"}, "time", "such as 2026-11-20T12:00:00Z"),
        ({"time": "2026-11-20T12:00:00"}, "time", "with its time zone"),
        ({"time": "2026-11-23T12:00:00Z"}, "time", "not to come"),
        ({"time": "1970-01-01T00:00:00Z"}, "time", "from 2000 on"),
        ({"time": 1700000000}, "time", "such as 2026-11-20T12:00:00Z"),
        ({"data": {"app_id": {"a": 1}}}, "app", "a text"),
        ({"data": {"user": "a\nb"}}, "user", "printable"),
        ({"data": {"user": "x" * 300}}, "user", "an id, not a text"),
        ({"data": {"what is it?": 1}}, "data", "names of numbers like"),
        ({"data": {"lines": 1e300}}, "data", "data.lines: wanted a number of at most"),
        ({"data": {f"n{n}": n for n in range(MOST_VALUES + 1)}}, "data", "at most 50 numbers"),
        ({"padding": "x" * MOST_EVENT_BYTES}, "body", "65536 bytes"),
    ],
)
def test_one_that_does_not_fit_says_which_field_and_what_to_write(wrong: dict[str, Any], field: str, remedy: str):
    found = heard([an_event(**wrong), an_event(id="e2")], BATCH)

    (misfit,) = found.misfits
    expected = {"user": "session"}.get(field, field)
    assert (misfit.place, misfit.field) == (0, expected)
    assert remedy in misfit.detail
    assert found.events == 1
    assert [fact.event_id for fact in found.facts if isinstance(fact, PortalEvent)] == ["e2"]
    assert misfit.field in FIELDS


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("text/plain", b"{}", 415),
        ("multipart/form-data; boundary=x", b"{}", 415),
        (BATCH, b"{}", 400),
        (BATCH, b"no json", 400),
        (BATCH, b"[" * 100_000, 400),
        (BATCH, b"[\xff]", 400),
        (BATCH, b"[" + b",".join([b"1"] * (MOST_EVENTS + 1)) + b"]", 413),
    ],
)
def test_a_message_that_is_none_is_refused_whole(kind: str, body: bytes, status: int):
    with pytest.raises(NoCloudEvent) as refused:
        heard(body, kind)
    assert refused.value.status == status


@pytest.mark.parametrize("body", [b"", b"null", b"7", b"no json", b"[1", b"[[[]]]", b"{" * 5000, b"\xff", b"[]"])
@pytest.mark.parametrize("kind", [SINGLE, BATCH, JSON])
def test_whatever_comes_is_told_and_nothing_breaks(kind: str, body: bytes):
    with suppress(NoCloudEvent):
        assert heard(body, kind).facts == []


def test_binary_data_that_is_no_json_is_its_event_s_fault():
    found = heard(b"no json", JSON, **{"ce-specversion": "1.0", "ce-id": "1", "ce-source": "s", "ce-type": "t"})
    assert [misfit.field for misfit in found.misfits] == ["data"]


names = st.text(st.characters(codec="utf-8", categories=("L", "N", "P")), min_size=1, max_size=9)


@given(names, names, names, names)
def test_two_events_have_one_key_only_if_source_and_id_are_the_same(one: str, two: str, three: str, four: str):
    assert (key_of(one, two) == key_of(three, four)) == ((one, two) == (three, four))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*an_event(), "appid", "subject"]), json_values))
def test_any_object_is_an_event_or_is_told_why_not(fields: dict[str, Any]):
    found = heard(an_event(**fields))
    assert found.events + len(found.misfits) == 1
    for fact in found.facts:
        assert isinstance(fact, PortalEvent | PortalValue)
        assert all(len(value) <= 2 * MOST_CHARACTERS for value in vars_of(fact) if isinstance(value, str))


def vars_of(fact: PortalEvent | PortalValue) -> list[object]:
    return [getattr(fact, name) for name in fact.__struct_fields__]


def test_a_time_far_from_utc_is_the_same_instant():
    event = the_event(an_event(time="2026-11-20T17:45:00+05:45"))
    assert event.created_at == datetime(2026, 11, 20, 12, tzinfo=UTC)
