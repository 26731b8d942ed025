"""Which queues Dify has, and how Celery keeps them."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.errors import ShapeError
from collector.pull.queues import (
    OTHER,
    QUEUES,
    SERVED,
    UNSERVED,
    WORKSPACE,
    expected_queues,
    kind_of,
    lists_of,
    queue_taken_from,
    routes_of,
)

SEPARATOR = "\x06\x16"
WORKER_OF_1_11_1 = (
    "dataset,priority_dataset,priority_pipeline,pipeline,mail,ops_trace,app_deletion,plugin,workflow_storage,"
    "conversation,workflow,schedule_poller,schedule_executor,triggered_workflow_dispatcher,trigger_refresh_executor,"
    "retention"
)
UNSEEN_IN_1_11_1 = "trigger_refresh_publisher,monitor,workflow_draft_var"
"""Published to, and in no default worker's list."""


def test_the_queues_of_1_11_1_are_those_its_worker_takes_and_those_nobody_takes() -> None:
    expected = set(expected_queues("1.11.1"))

    assert {queue for queue in expected if kind_of(queue) == SERVED} == set(WORKER_OF_1_11_1.split(","))
    assert {queue for queue in expected if kind_of(queue) == UNSERVED} == set(UNSEEN_IN_1_11_1.split(","))


def test_an_old_dify_has_the_queue_of_its_chats_and_none_of_the_later_ones() -> None:
    assert set(expected_queues("0.15.3")) == {"dataset", "generation", "mail", "ops_trace", "app_deletion"}


def test_streamed_runs_wait_in_a_queue_of_their_own_from_1_13_on() -> None:
    assert "workflow_based_app_execution" in expected_queues("1.13.3")
    assert "workflow_based_app_execution" not in expected_queues("1.12.0")


@pytest.mark.parametrize("version", [None, "", "main"])
def test_without_a_version_the_newest_is_meant(version: str | None) -> None:
    assert set(expected_queues(version)) == set(expected_queues("99.0"))


def test_no_queue_stands_in_the_table_twice() -> None:
    assert len({queue.name for queue in QUEUES}) == len(QUEUES)


def test_a_name_that_dify_does_not_have_is_marked() -> None:
    assert kind_of("workflow_team") == SERVED
    assert kind_of("tenant_self_pipeline_task_queue") == WORKSPACE
    assert kind_of("customer-4711") == OTHER


def test_a_queue_is_ten_lists() -> None:
    assert lists_of("mail")[:2] == ("mail", f"mail{SEPARATOR}1")
    assert len(set(lists_of("mail"))) == 10


def test_a_binding_leads_from_exchange_and_routing_key_to_the_queue() -> None:
    members = [f"urgent{SEPARATOR}{SEPARATOR}priority_dataset", f"dataset{SEPARATOR}{SEPARATOR}dataset"]

    assert routes_of("dataset", members) == {
        ("dataset", "urgent"): "priority_dataset",
        ("dataset", "dataset"): "dataset",
    }


@pytest.mark.parametrize("exchange", ["celery.pidbox", "reply.celery.pidbox", "celeryev"])
def test_what_workers_tell_each_other_is_no_queue(exchange: str) -> None:
    assert routes_of(exchange, [f"{SEPARATOR}{SEPARATOR}celery@host.celery.pidbox"]) == {}


def test_a_taken_message_belongs_to_the_queue_its_binding_names() -> None:
    taken = json.dumps([{"body": "…"}, "dataset", "urgent"]).encode()

    assert queue_taken_from(taken, {("dataset", "urgent"): "priority_dataset"}) == "priority_dataset"
    assert queue_taken_from(taken, {}) == "urgent"


@given(
    st.binary() | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(lambda v: json.dumps(v).encode())
)
def test_whatever_stands_among_the_taken_is_a_queue_or_a_named_error(raw: bytes) -> None:
    with suppress(ShapeError):
        assert queue_taken_from(raw, {})


@given(st.text(), st.lists(st.text(alphabet="ab\x06\x16")))
def test_any_bindings_give_names(exchange: str, members: list[str]) -> None:
    assert all(routes_of(exchange, members).values())
