"""What is still to be read is worked out from the facts alone."""

from __future__ import annotations

from datetime import timedelta

import pytest

from collector.collect.backlog import Backlog
from collector.records import TAP
from tests.builders import NOON, a_conversation, a_feedback, a_message, a_run, an_app
from tests.collect.shelf import Shelf

OPEN = {"status": "running", "is_final": False}


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def backlog(shelf: Shelf) -> Backlog:
    return Backlog(shelf.rows)


def test_open_runs_are_those_neither_final_nor_stale(shelf, backlog):
    shelf.put(
        [
            a_run(id="running", **OPEN),
            a_run(id="paused", status="paused", is_final=False, created_at=NOON - timedelta(hours=1)),
            a_run(id="stale", status="stale", is_final=False),
            a_run(id="done"),
            a_run(id="elsewhere", app_id="other", **OPEN),
        ]
    )

    assert [run.id for run in backlog.open_runs(["shop"])] == ["paused", "running"]
    assert backlog.open_runs([]) == []


def test_unread_runs_come_newest_first_and_whoever_told_of_them(shelf, backlog):
    shelf.put(
        [
            a_run(id="old", created_at=NOON - timedelta(days=1)),
            a_run(id="tapped", source=TAP, leaves_known=False),
            a_run(id="read", leaves_known=True),
            a_run(id="running", **OPEN),
            a_run(id="stale", status="stale", is_final=False, created_at=NOON - timedelta(days=2)),
            a_run(id="timeless", created_at=None),
        ]
    )

    assert [run.id for run in backlog.unread_runs(["shop"], 9)] == ["tapped", "old", "stale", "timeless"]
    assert [run.id for run in backlog.unread_runs(["shop"], 1)] == ["tapped"]
    assert backlog.unread_run_counts(["shop", "other"]) == {"shop": 4}


def test_a_run_is_asked_about_with_what_is_known_of_it(shelf, backlog):
    shelf.put([a_run(is_debug=True, conversation_id="c1", version="v7")])

    (run,) = backlog.unread_runs(["shop"], 9)

    assert (run.created_at, run.is_debug, run.conversation_id, run.version) == (NOON, True, "c1", "v7")
    assert run.user_id is None  # not asked for, so not told again


def test_messages_name_runs_that_no_listing_brought(shelf, backlog):
    shelf.put(
        [
            a_run(id="known"),
            a_message(id="m1", run_id="known"),
            a_message(id="m2", run_id="lost"),
            a_message(id="m3", run_id="ancient", created_at=NOON - timedelta(days=9)),
            a_message(id="m4"),
        ]
    )

    assert [m.run_id for m in backlog.mentioned_runs(["helpdesk"], None)] == ["lost", "ancient"]
    assert [m.run_id for m in backlog.mentioned_runs(["helpdesk"], NOON - timedelta(days=1))] == ["lost"]


def test_an_open_message_comes_with_its_conversation(shelf, backlog):
    shelf.put(
        [
            a_conversation(session_id="me"),
            a_message(id="m1", status="open", is_final=False),
            a_message(id="m2", status="open", is_final=False, conversation_id="unknown"),
            a_message(id="m3", status="stale", is_final=False),
        ]
    )

    found = {message.id: talk.session_id if talk else None for message, talk in backlog.open_messages(["helpdesk"])}

    assert found == {"m1": "me", "m2": None}


def test_a_conversation_is_unread_while_dify_counts_more_than_we_have(shelf, backlog):
    shelf.put(
        [
            a_conversation(id="c1", messages=2, updated_at=NOON),
            a_conversation(id="c2", messages=1),
            a_conversation(id="c3", messages=3, updated_at=NOON + timedelta(hours=1)),
            a_conversation(id="c4"),
            a_message(id="m1", conversation_id="c1"),
            a_message(id="m2", conversation_id="c2"),
        ]
    )

    found = [(one.conversation.id, one.newest) for one in backlog.unread_conversations(["helpdesk"], 9)]

    assert found == [("c3", None), ("c1", NOON)]
    assert backlog.unread_conversation_counts(["helpdesk"]) == {"helpdesk": 2}


def test_only_ratings_still_given_are_looked_for(shelf, backlog):
    shelf.put([a_feedback(), a_feedback(id="m2/user", message_id="m2", rating="withdrawn")])

    assert [rating.id for rating in backlog.ratings("helpdesk")] == ["m1/user"]


def test_live_apps_are_those_of_the_workspace_not_seen_to_go(shelf, backlog):
    shelf.put(
        [
            an_app(id="here", workspace_id="w1"),
            an_app(id="gone", workspace_id="w1", deleted_at=NOON),
            an_app(id="elsewhere", workspace_id="w2"),
            an_app(id="nowhere"),
        ]
    )

    assert [app.id for app in backlog.live_apps("w1", "dify")] == ["here"]
    assert [app.id for app in backlog.live_apps(None, "dify")] == ["nowhere"]


def test_where_no_workspace_is_told_apps_of_another_dify_are_none_of_ours(shelf, backlog):
    shelf.put([an_app(id="ours", origin="dify"), an_app(id="theirs", origin="lab"), an_app(id="old")])

    assert {app.id for app in backlog.live_apps(None, "dify")} == {"ours", "old"}
