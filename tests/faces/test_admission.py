"""Who is let in: by key, by a token of the settings, by nothing; and what somebody costs who tries keys out."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from contextlib import closing
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.access import Scope, Sight, mint
from collector.faces.admission import MOST_ADDRESSES, MOST_TRIES, TRIES_SECONDS, Admission, Refusal, shown
from collector.keyring import Keyring
from collector.store import open_store
from tests.builders import NOON
from tests.conftest import examples

HERE, THERE = "192.0.2.1", "192.0.2.2"
TOKEN = "s3cret"


class Gate:
    """An admission with a keyring, and a clock that can be set."""

    def __init__(self, *, is_open: bool = False, tokens: Mapping[Scope, str] | None = None) -> None:
        self.now: datetime = NOON
        with closing(open_store(":memory:")) as store:
            self.keyring = Keyring(store.rows, lambda keys: None)
        self.rule = Admission(self.keyring, is_open=is_open, tokens=tokens, clock=lambda: self.now)

    def refusal(
        self, authorization: str | None, *scopes: Scope, address: str = HERE, is_whole: bool = False
    ) -> Refusal:
        with pytest.raises(Refusal) as refused:
            self.rule.require(self.rule.visitor(authorization, address), *scopes, is_whole=is_whole)
        return refused.value

    def is_let_in(self, authorization: str | None, *scopes: Scope, address: str = HERE) -> bool:
        try:
            self.rule.require(self.rule.visitor(authorization, address), *scopes, is_whole=False)
        except Refusal:
            return False
        return True

    def key(self, *scopes: str, **wish: object) -> str:
        return f"Bearer {self.keyring.create('x', scopes, now=self.now, **wish)[1]}"


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_where_keys_are_asked_for_nobody_else_may_anything():
    gate = Gate()
    assert not any(gate.is_let_in(None, scope) for scope in Scope)
    assert gate.is_let_in(None)  # what takes no key

    refused = gate.refusal(None, Scope.READ)
    assert (refused.status, refused.reason) == (401, "missing")
    assert [challenge.split()[0] for challenge in refused.challenges] == ["Bearer", "Basic"]
    assert "dify-metric key create --scope read" in refused.detail


def test_a_key_opens_what_it_is_for():
    gate = Gate()
    token = gate.key("metrics", "ingest")

    assert [scope for scope in Scope if gate.is_let_in(token, scope)] == [Scope.INGEST, Scope.METRICS]
    refused = gate.refusal(token, Scope.ADMIN)
    assert (refused.status, refused.reason) == (403, "scope")
    assert refused.challenges == ('Bearer realm="dify-metric", error="insufficient_scope", scope="admin"',)
    assert all(gate.is_let_in(gate.key("admin"), scope) for scope in Scope)


def test_a_bound_key_is_refused_what_is_about_all():
    gate = Gate()
    token = gate.key("read", sight=Sight(apps=("shop",)))

    assert gate.is_let_in(token, Scope.READ)
    assert gate.refusal(token, Scope.READ, is_whole=True).reason == "sight"


def test_an_expired_key_and_a_revoked_one_are_told_so():
    gate = Gate()
    soon, gone = gate.key("read", expires_at=NOON + timedelta(days=1)), gate.key("read")
    gate.keyring.revoke(gone.split("_")[1], NOON)
    gate.now += timedelta(days=1)

    for token, reason in ((soon, "expired"), (gone, "revoked")):
        refused = gate.refusal(token, Scope.READ)
        assert (refused.status, refused.reason) == (401, reason)
        assert 'error="invalid_token"' in refused.challenges[0]


def test_here_everyone_may_all_that_no_token_guards():
    assert all(Gate(is_open=True).is_let_in(None, scope) for scope in Scope)
    gate = Gate(is_open=True, tokens={Scope.INGEST: TOKEN})
    assert [scope for scope in Scope if gate.is_let_in(None, scope)] == [Scope.READ, Scope.METRICS]
    assert gate.is_let_in(f"Bearer {TOKEN}", Scope.INGEST)
    assert not gate.is_let_in("Bearer wrong", Scope.INGEST)


def test_here_a_bound_key_binds_who_shows_it():
    gate = Gate(is_open=True)
    sight = Sight(apps=("shop",))
    assert gate.rule.visitor(gate.key("read", sight=sight), HERE).sight == sight
    assert gate.refusal(mint("x", ["read"], now=NOON)[1].join(("Bearer ", "")), Scope.READ).reason == "unknown"


def test_here_the_password_of_a_proxy_in_front_is_none_of_our_business():
    assert Gate(is_open=True).is_let_in(basic("operator", "the proxy's"), Scope.READ)


@pytest.mark.parametrize("scope", list(Scope))
def test_a_token_of_the_settings_is_a_key_with_that_scope(scope: Scope):
    gate = Gate(tokens={scope: TOKEN})
    let_in = [each for each in Scope if gate.is_let_in(f"Bearer {TOKEN}", each)]
    assert let_in == (list(Scope) if scope is Scope.ADMIN else [scope])


def test_one_token_may_stand_for_several_scopes():
    gate = Gate(tokens={Scope.READ: TOKEN, Scope.METRICS: TOKEN})
    assert [scope for scope in Scope if gate.is_let_in(f"Bearer {TOKEN}", scope)] == [Scope.READ, Scope.METRICS]


@pytest.mark.parametrize(
    ("authorization", "token"),
    [
        ("Bearer abc", "abc"),
        ("bearer  abc ", "abc"),
        (basic("anyone", "abc"), "abc"),
        (basic("abc", ""), "abc"),
        (basic("a", "b:c"), "b:c"),
        ("Bearer", None),
        ("Basic !!!", None),
        ("Basic /w==", None),
        ("Basic äöü", None),
        ("Digest abc", None),
        ("abc", None),
    ],
)
def test_how_a_token_is_shown(authorization: str, token: str | None):
    assert shown(authorization) == token


@given(st.text())
@examples(0.3)
def test_whatever_is_shown_is_let_in_or_refused(authorization: str):
    gate = Gate(tokens={Scope.READ: TOKEN})
    assert gate.is_let_in(authorization, Scope.READ) == (shown(authorization) == TOKEN)


class TestTryingKeysOut:
    def test_after_some_wrong_ones_even_the_right_token_has_to_wait(self):
        gate = Gate(tokens={Scope.READ: TOKEN})
        reasons = [gate.refusal(f"Bearer {number}", Scope.READ).reason for number in range(MOST_TRIES + 5)]
        assert reasons == ["unknown"] * MOST_TRIES + ["limited"] * 5

        refused = gate.refusal(f"Bearer {TOKEN}", Scope.READ)
        assert refused.status == 429
        gate.now += timedelta(seconds=refused.retry_after_seconds or 0)
        assert gate.is_let_in(f"Bearer {TOKEN}", Scope.READ)

    def test_a_key_of_ours_is_let_in_all_the_same(self):
        gate = Gate(tokens={Scope.READ: TOKEN})
        token = gate.key("read")
        for number in range(MOST_TRIES + 5):
            gate.refusal(f"Bearer {number}", Scope.READ)
        assert gate.is_let_in(token, Scope.READ)

    def test_others_do_not_have_to_wait(self):
        gate = Gate(tokens={Scope.READ: TOKEN})
        for _ in range(MOST_TRIES + 1):
            gate.refusal("Bearer wrong", Scope.READ)
        assert gate.is_let_in(f"Bearer {TOKEN}", Scope.READ, address=THERE)

    def test_the_addresses_of_one_network_are_one_caller(self):
        gate = Gate()
        for number in range(MOST_TRIES):
            gate.refusal("Bearer wrong", Scope.READ, address=f"2001:db8::{number:x}")
        assert gate.refusal("Bearer wrong", Scope.READ, address="2001:db8::ffff").reason == "limited"
        assert gate.refusal("Bearer wrong", Scope.READ, address="2001:db8:0:1::1").reason == "unknown"

    def test_tries_are_forgotten_one_by_one(self):
        gate = Gate()
        for _ in range(MOST_TRIES):
            gate.refusal("Bearer wrong", Scope.READ)
        gate.now += timedelta(seconds=TRIES_SECONDS / MOST_TRIES)
        assert [gate.refusal("Bearer wrong", Scope.READ).reason for _ in range(2)] == ["unknown", "limited"]

    def test_who_tries_from_everywhere_does_not_fill_the_memory(self):
        gate = Gate()
        for number in range(MOST_ADDRESSES + 10):
            gate.refusal("Bearer wrong", Scope.READ, address=f"host {number}")
        assert len(gate.rule._tries) <= MOST_ADDRESSES

    def test_what_was_refused_is_counted(self):
        gate = Gate()
        gate.refusal(None, Scope.READ)
        gate.refusal("Bearer wrong", Scope.READ)
        assert gate.rule.refused == {"missing": 1, "unknown": 1}
