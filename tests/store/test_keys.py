"""A request gets its app by its key, whichever of the two is known first."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from collector.records import CONSOLE, TAP, ApiKey, Request
from collector.store import Store
from tests.builders import NOON, a_call, a_conversation, a_message, a_node, a_run


def a_key(**fields: Any) -> ApiKey:
    told = {"source": CONSOLE, "seen_at": NOON, "id": "k1", "app_id": "shop", "workspace_id": "w1", "fingerprint": "f1"}
    return ApiKey(**(told | fields))


def a_request(**fields: Any) -> Request:
    told = {"source": TAP, "seen_at": NOON, "id": "q1", "method": "POST", "route": "/v1/chat-messages"}
    return Request(**(told | {"created_at": NOON, "key_fingerprint": "f1", "status_code": 200} | fields))


def owners(store: Store, table: str) -> list[tuple[object, ...]]:
    return store.rows(f"SELECT app_id, workspace_id FROM {table} ORDER BY id")


@pytest.mark.parametrize("order", list(permutations(("key", "request", "request"))))
def test_in_any_order(store: Store, order: tuple[str, ...]):
    for each in order:
        store.put([a_key() if each == "key" else a_request()])
    assert owners(store, "request") == [("shop", "w1")]


def test_what_a_request_did_is_its_apps_too(store: Store):
    store.put([a_key()])
    told = {"source": TAP, "app_id": None}
    store.put(
        [
            a_run(**told),
            a_node(**told),
            a_call(**told),
            a_message(**told),
            a_call(id="m1", run_id=None, message_id="m1", **told),
            a_conversation(**told),
            a_request(run_id="r1", message_id="m1"),
            a_run(id="of another", **told),
        ]
    )
    for table, expected in {"node_execution": 1, "model_call": 2, "message": 1, "conversation": 1}.items():
        assert owners(store, table) == [("shop", "w1")] * expected
    assert owners(store, "run") == [(None, None), ("shop", "w1")]


def test_what_names_its_app_keeps_it(store: Store):
    store.put([a_key()])
    store.put([a_request(app_id="helpdesk", run_id="r1"), a_run(app_id="helpdesk")])
    store.put([a_request(id="q2", run_id="r2"), a_run(id="r2", app_id="helpdesk")])
    assert owners(store, "request") == [("helpdesk", None), ("shop", "w1")]
    assert owners(store, "run") == [("helpdesk", None)] * 2


def test_keys_nobody_knows_and_requests_without_one_stay_nameless(store: Store):
    store.put([a_key(fingerprint="f2"), a_key(id="k3", fingerprint="f3", app_id=None)])
    store.put([a_request(), a_request(id="q2", key_fingerprint=None), a_request(id="q3", key_fingerprint="f3")])
    assert owners(store, "request") == [(None, None)] * 3


def test_a_deleted_key_still_tells_whose_it_was(store: Store):
    store.put([a_key(deleted_at=NOON)])
    store.put([a_request()])
    assert owners(store, "request") == [("shop", "w1")]


def test_told_again_it_is_no_news(store: Store):
    store.put([a_key()])
    store.put([a_request()])
    assert store.put([a_request()]).known == 1
    assert owners(store, "request") == [("shop", "w1")]


def test_a_request_that_gets_its_app_later_moves_in_its_rollup(store: Store):
    store.put([a_request(), a_request(id="q2", key_fingerprint="f2")])
    store.settle_rollups(everything=True)

    store.put([a_key()])
    store.settle_rollups(everything=True)

    rolled = "SELECT app_id, workspace_id, facts FROM request_by_quarter ORDER BY app_id NULLS LAST"
    assert store.rows(rolled) == [("shop", "w1", 1), (None, None, 1)]
    assert store.check_rollups() == []
