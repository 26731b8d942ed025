"""Reading Dify's JSON liberally, and naming what cannot be read."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector import fields
from collector.errors import ShapeError

READERS = [
    fields.text,
    fields.boolean,
    fields.integer,
    fields.seconds,
    fields.money,
    fields.instant,
    fields.mapping,
    fields.maybe_mapping,
    fields.items,
]

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["1e999999999", "NaN", "-1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


def complaint(read, *given) -> ShapeError | None:
    """What a reader says of what it cannot read."""
    try:
        read(*given)
    except ShapeError as error:
        return error
    return None


@given(ANYTHING, st.sampled_from(READERS))
def test_a_reader_reads_or_names_the_field(value, read):
    error = complaint(read, {"cost": value}, "cost")

    assert error is None or error.field.startswith("cost")


@pytest.mark.parametrize("read", READERS)
def test_absent_and_null_are_not_known(read):
    assert not read({}, "x")
    assert not read({"x": None}, "x")


@pytest.mark.parametrize(("value", "wanted"), [(3, 3), ("3", 3), (3.0, 3), (" 3 ", 3), (0, 0), (float("nan"), None)])
def test_counts_are_read_from_numbers_and_digits(value, wanted):
    assert fields.integer({"n": value}, "n") == wanted


@pytest.mark.parametrize("value", [-1, 1.5, "three", True, [], 2**63, "1e400000000"])
def test_what_is_no_count_is_named(value):
    with pytest.raises(ShapeError, match="n: wanted a whole number"):
        fields.integer({"n": value}, "n")


@pytest.mark.parametrize(
    ("value", "wanted"),
    [("0E-7", "0"), ("0.0000194", "0.0000194"), (2.378, "2.378"), ("1.2e-5", "0.000012"), (3, "3")],
)
def test_money_is_exact_in_any_spelling(value, wanted):
    assert fields.money({"p": value}, "p") == Decimal(wanted)


@pytest.mark.parametrize("value", ["999999999.9999999999", 10**9, "1e30", "10E999999", "free"])
def test_money_that_no_column_holds_is_named(value):
    with pytest.raises(ShapeError, match="p: wanted an amount"):
        fields.money({"p": value}, "p")


def test_durations_a_little_below_zero_are_zero():
    assert fields.seconds({"s": -0.004}, "s") == 0.0


@pytest.mark.parametrize("value", [-5, "1e99", 10**11])
def test_what_is_no_duration_is_named(value):
    with pytest.raises(ShapeError, match="s: wanted seconds"):
        fields.seconds({"s": value}, "s")


@pytest.mark.parametrize(
    "value",
    [1721272660, "1721272660", "2024-07-18T03:17:40", "2024-07-18 11:17:40+08:00", "Thu, 18 Jul 2024 03:17:40 -0000"],
)
def test_one_instant_in_all_its_spellings(value):
    assert fields.instant({"at": value}, "at") == datetime(2024, 7, 18, 3, 17, 40, tzinfo=UTC)


@pytest.mark.parametrize("value", ["yesterday", "Thu, 18 Jul", 10**18, True, []])
def test_what_is_no_instant_is_named(value):
    with pytest.raises(ShapeError, match="at: wanted seconds since 1970"):
        fields.instant({"at": value}, "at")


def test_half_an_emoji_becomes_text_that_can_be_stored():
    (title,) = fields.decode(b'["\\ud83d!"]')

    assert fields.text({"title": title}, "title") == "?!"


def test_bare_nan_of_old_versions_is_taken():
    assert fields.seconds(fields.decode(b'{"s": NaN}'), "s") is None


@given(st.binary(max_size=60))
def test_what_is_no_json_is_named_and_not_quoted(body):
    error = complaint(fields.decode, body)

    assert error is None or (error.field == "body" and f"text of {len(body)} characters" in str(error))


def test_json_nested_beyond_reason_is_named():
    with pytest.raises(ShapeError, match="body: wanted JSON"):
        fields.decode("[" * 100_000)


@given(st.recursive(st.none() | st.text(), lambda inner: st.lists(inner)))
def test_json_is_decoded_as_json(value):
    assert fields.decode(json.dumps(value)) == value
