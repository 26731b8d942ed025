"""One workspace of several in one database: nothing of the others is read, and nothing of them is taken for gone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from collector.pull.database import Reading
from collector.records import (
    App,
    Conversation,
    Dataset,
    Feedback,
    Message,
    NodeExecution,
    Record,
    Retrieval,
    Run,
    User,
)
from tests.pull.database.world import TENANT, World, key

OTHER = key("another tenant")
OURS = Reading(workspace_id=TENANT)


@pytest.fixture
def both(world: World) -> Iterator[World]:
    """The same facts in two workspaces."""
    for tenant, name in ((TENANT, "ours"), (OTHER, "theirs")):
        world.insert("tenants", {"id": tenant, "name": name})
        world.has_an_app(name, mode="chat", tenant_id=tenant)
        place = {"tenant_id": tenant, "app_id": key(name), "workflow_id": key(f"flow of {name}")}
        world.has_a_run(f"run of {name}", **place)
        world.has_a_node(f"node of {name}", run=f"run of {name}", **place)
        flow = {"type": "workflow", "version": "draft", "graph": "{}", "features": "{}", "created_by": key("owner")}
        told = {"tenant_id": tenant, "app_id": key(name), "updated_at": "2026-01-01"}
        world.insert("workflows", {"id": key(f"flow of {name}"), **told, **flow})
        world.has_a_node(f"step of {name}", run=None, **place)
        talk = key(f"talk of {name}")
        world.has_a_message(f"message of {name}", app_id=key(name), conversation_id=talk)
        chat = {"mode": "chat", "name": "", "inputs": "{}", "status": "normal", "from_source": "api"}
        world.insert("conversations", {"id": talk, "app_id": key(name), **chat})
        world.has_a_rating(f"rating of {name}", message=f"message of {name}", app_id=key(name))
        world.insert("end_users", {"id": key(f"user of {name}"), "tenant_id": tenant, "type": "x", "session_id": name})
        world.insert("accounts", {"id": key(f"account of {name}"), "name": name, "email": "x@example.com"})
        world.insert("tenant_account_joins", {"tenant_id": tenant, "account_id": key(f"account of {name}")})
        kb = key(f"kb of {name}")
        world.insert("datasets", {"id": kb, "tenant_id": tenant, "name": name, "created_by": key("owner")})
        asked = {"content": "?", "source": "app", "created_by_role": "end_user", "created_by": key("user")}
        world.insert("dataset_queries", {"dataset_id": kb, **asked})
    return world


KINDS: tuple[tuple[type[Record], int], ...] = (
    *((App, 1), (Run, 1), (NodeExecution, 2), (Message, 1), (Conversation, 1), (Feedback, 1)),
    *((User, 2), (Dataset, 1), (Retrieval, 1)),
)


@pytest.mark.parametrize("runs_by_index", [0, 100])
def test_only_one_is_read_where_one_is_named(both: World, runs_by_index: int):
    pulls = both.pull(Reading(workspace_id=TENANT, runs_by_index=runs_by_index))

    assert all(pull.is_complete for pull in pulls.values())
    assert {kind: len(both.all(kind)) for kind, _ in KINDS} == dict(KINDS)
    assert {user.name for user in both.all(User) if user.kind == "account"} == {"ours"}
    assert {user.workspace_id for user in both.all(User)} == {TENANT}


def test_all_are_read_where_none_is(both: World):
    both.pull()

    assert {kind: len(both.all(kind)) for kind, _ in KINDS} == {kind: 2 * number for kind, number in KINDS}


def test_what_was_read_of_the_others_before_is_not_taken_for_gone(both: World):
    both.pull()
    both.now += timedelta(hours=2)

    both.pull(OURS)

    assert not [app for app in both.all(App) if app.deleted_at]
    assert not [dataset for dataset in both.all(Dataset) if dataset.deleted_at]
    assert {rating.rating for rating in both.all(Feedback)} == {"like"}


def test_accounts_are_left_out_where_dify_does_not_say_whose_they_are(own_world: World):
    own_world.insert("accounts", {"id": key("a"), "name": "a", "email": "x@example.com"})
    own_world.execute("DROP TABLE tenant_account_joins")

    own_world.pull(OURS)
    assert not own_world.all(User)

    own_world.pull()
    assert [user.name for user in own_world.all(User)] == ["a"]
