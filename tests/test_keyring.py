"""Keys: what is kept of them, who is let in by one, and that they are there again after a restart."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.access import EVERYTHING, Scope, Sight, Visitor, digest, is_of, key_id_of, mint
from collector.errors import QueryError
from collector.keyring import KEPT_REVOKED, USED_EVERY, Keyring
from collector.store import Store, open_store
from tests.builders import NOON

SOON = timedelta(days=1)


def a_keyring(store: Store) -> Keyring:
    return Keyring(store.rows, store.set_keys)


@pytest.fixture
def store(tmp_path: Path):
    with closing(open_store(tmp_path / "t.duckdb", now=NOON)) as store:
        yield store


def test_a_key_opens_by_its_token_and_by_no_other(store: Store):
    keyring = a_keyring(store)
    key, token = keyring.create("grafana", ["read"], now=NOON)
    other, _ = keyring.create("prometheus", ["metrics"], now=NOON)

    assert keyring.holder(token, NOON).id == key.id
    assert key_id_of(token) == key.id
    swapped = token.replace(key.id, other.id)
    for wrong in (
        "",
        "dm_",
        token[:-1],
        f"{token}A",
        token[:-1] + ("B" if token[-1] == "A" else "A"),
        swapped,
        "ä\udc80",
    ):
        assert keyring.holder(wrong, NOON) is None


def test_no_token_is_kept_and_none_is_like_another(tmp_path: Path):
    path = tmp_path / "t.duckdb"
    with closing(open_store(path, now=NOON)) as store:
        tokens = [a_keyring(store).create("x", ["read"], now=NOON)[1] for _ in range(3)]
        kept = str(store.rows("SELECT * FROM access_key"))
    for token in tokens:
        assert token.rpartition("_")[-1] not in kept
        assert token.encode() not in path.read_bytes()
    assert len({token[12:] for token in tokens}) == 3


def test_keys_are_there_again_with_all_they_say(tmp_path: Path):
    sight = Sight(("a", "b'"), ("w",), ("lab",))
    with closing(open_store(tmp_path / "t.duckdb", now=NOON)) as store:
        keyring = a_keyring(store)
        key, token = keyring.create("团队", ["read"], now=NOON, sight=sight, expires_at=NOON + SOON)
        keyring.holder(token, NOON)
        keyring.flush()
    with closing(open_store(tmp_path / "t.duckdb")) as store:
        again = a_keyring(store)
        (kept,) = again
        assert again.holder(token, NOON) is not None
    assert (kept.id, kept.name, kept.scopes, kept.sight) == (key.id, "团队", (Scope.READ,), sight)
    assert (kept.expires_at, kept.last_used_at) == (NOON + SOON, NOON)


def test_a_revoked_key_and_an_expired_one_say_so(store: Store):
    keyring = a_keyring(store)
    key, token = keyring.create("x", ["read"], now=NOON, expires_at=NOON + SOON)

    assert keyring.holder(token, NOON).state(NOON) == "active"
    assert keyring.holder(token, NOON + SOON).state(NOON + SOON) == "expired"
    first = keyring.revoke(key.id, NOON)
    assert keyring.revoke(key.id, NOON + SOON) == first
    assert keyring.holder(token, NOON).state(NOON) == "revoked"
    with pytest.raises(QueryError, match="no key 'other'"):
        keyring.revoke("other", NOON)


def test_what_is_long_over_goes_when_another_is_made(store: Store):
    keyring = a_keyring(store)
    old, _ = keyring.create("old", ["read"], now=NOON)
    keyring.revoke(old.id, NOON)
    keyring.create("new", ["read"], now=NOON + KEPT_REVOKED)
    assert [key.name for key in keyring] == ["old", "new"]
    keyring.create("newer", ["read"], now=NOON + KEPT_REVOKED + SOON)
    assert [key.name for key in keyring] == ["new", "newer"]


def test_when_it_was_used_is_written_now_and_then(store: Store):
    written: list[datetime | None] = []
    keyring = Keyring(store.rows, lambda keys: written.append(next(iter(keys)).last_used_at))
    _, token = keyring.create("x", ["read"], now=NOON)
    for second in (0, 1, 59, 60):
        keyring.holder(token, NOON + timedelta(seconds=second))
        keyring.flush()

    assert timedelta(seconds=60) == USED_EVERY
    assert written == [None, NOON, NOON + USED_EVERY]


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ({"name": " "}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["reed"]}, "scopes"),
        ({"scopes": ["read", "ingest"], "sight": Sight(apps=("a",))}, "scopes"),
        ({"scopes": ["metrics"], "sight": Sight(origins=("a",))}, "scopes"),
        ({"sight": Sight(apps=("",))}, "apps"),
        ({"sight": Sight(workspaces=("w",) * 1001)}, "workspaces"),
        ({"expires_at": NOON}, "expires_at"),
        ({"expires_at": datetime(2099, 1, 1)}, "expires_at"),
    ],
)
def test_a_wish_that_cannot_be_is_refused_by_name(wish: dict, field: str):
    with pytest.raises(QueryError) as refused:
        mint(**{"name": "x", "scopes": ["read"], "now": NOON, **wish})
    assert refused.value.field == field


def test_admin_may_everything_and_nobody_else_more_than_said():
    admin, reader = (Visitor(name="x", scopes=frozenset({scope})) for scope in (Scope.ADMIN, Scope.READ))
    assert all(admin.may(scope) for scope in Scope)
    assert [scope for scope in Scope if reader.may(scope)] == [Scope.READ]
    assert reader.may(Scope.ADMIN, Scope.READ)
    assert not Visitor(name="x").may(*Scope)
    assert Visitor(name="x").sight == EVERYTHING


@given(st.text(), st.text())
def test_only_the_same_text_has_the_same_digest(one: str, other: str):
    assert is_of(one, digest(other)) == (one == other)
