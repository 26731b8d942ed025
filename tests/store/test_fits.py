"""What the readers of Dify's JSON let through, the store can keep: one odd value never holds up its batch."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from collector import fields
from collector.errors import ShapeError
from collector.records import Stored
from collector.store import Store
from tests.builders import a_call, a_run


@pytest.mark.parametrize("count", [0, 2**63 - 1, "9223372036854775807"])
def test_the_greatest_count_is_kept(store: Store, count: object):
    read = fields.integer({"tokens": count}, "tokens")

    assert store.put([a_run(reported_tokens=read)]) == Stored(new=1)
    assert store.rows("SELECT reported_tokens FROM run") == [(int(str(count)),)]


@pytest.mark.parametrize("amount", ["999999999", "-999999999", "1e-9", "1e-99"])
def test_the_greatest_amount_is_kept(store: Store, amount: str):
    read = fields.money({"price": amount}, "price")

    assert store.put([a_call(cost=read)]) == Stored(new=1)
    assert store.rows("SELECT cost FROM model_call") == [(read,)]


@pytest.mark.parametrize("count", [2**63, 1e300, -1, 0.5])
def test_a_count_beyond_is_set_aside(count: object):
    with pytest.raises(ShapeError, match="tokens"):
        fields.integer({"tokens": count}, "tokens")


@pytest.mark.parametrize("amount", ["1000000000", "-1e9", "1e400"])
def test_an_amount_beyond_is_set_aside(amount: str):
    with pytest.raises(ShapeError, match="price"):
        fields.money({"price": amount}, "price")


@pytest.mark.parametrize("at", [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)])
def test_the_calendar_has_ends_and_facts_may_stand_there(store: Store, at: datetime):
    for _ in range(2):
        store.put([a_run(created_at=at), a_call(is_estimate=True, created_at=at, finished_at=at)])
    assert store.rows("SELECT count(*) FROM run") == [(1,)]
