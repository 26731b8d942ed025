"""Rows that cannot be read: named with table, id, field and remedy until they were read or are gone, never quoted."""

from __future__ import annotations

from datetime import timedelta

from collector.pull.database.aside import MOST_NAMED
from collector.records import Message, NodeExecution, Run, SetAside
from tests.pull.database.world import World, key


def test_what_was_set_aside_is_named_until_it_is_read(world: World):
    """A run, a node and a message that stay behind the watermark, and come at the next start once they are mended."""
    world.has_a_run("good")
    world.has_a_node("bad node", run="good", execution_metadata='{"total_tokens": -1}')
    world.has_a_run("bad", total_tokens=-5, error="what somebody said")
    world.has_a_message("bad message", provider_response_latency=-9.0)
    places = {
        ("runs", key("bad")): "workflow_runs.total_tokens: wanted ",
        ("node-executions", key("bad node")): "workflow_node_executions.",
        ("messages", key("bad message")): "messages.",
    }

    world.pull()

    assert set(world.aside) == set(places)
    for place, mark in world.aside.items():
        assert mark.problem
        assert mark.problem.startswith(places[place])
        assert mark.problem.endswith(
            "; mend the row in Dify or update dify-metric; it is tried again at the next start"
        )
        assert (mark.source, mark.app_id) == ("database", key("app"))
        assert not any(value in mark.problem for value in ("-5", "-1", "-9")), "no value is told"
        assert "somebody" not in repr(mark)
    before = dict(world.aside)
    world.batches.clear()
    world.now += timedelta(days=2)
    world.pull()
    world.execute(
        "UPDATE workflow_runs SET total_tokens = 5 WHERE total_tokens = -5",
        "UPDATE messages SET provider_response_latency = 1.5",
        """UPDATE workflow_node_executions SET execution_metadata = '{"total_tokens": 100}'""",
    )
    world.pull()
    assert world.aside == before, "so far behind the watermark nothing is read"
    assert not any(isinstance(mark, SetAside) for _, marks in world.batches for mark in marks)
    world.starts = True
    world.pull()
    assert world.aside == {}
    assert {run.id for run in world.all(Run)} == {key("good"), key("bad")}
    assert world.get(Run, "good").leaves_known
    assert world.get(NodeExecution, "bad node").reported_tokens == 100
    assert world.get(Message, "bad message")


def test_what_was_set_aside_and_is_gone_is_named_no_longer(world: World):
    world.has_a_run("bad", total_tokens=-5)
    world.has_a_message("bad message", provider_response_latency=-9.0)
    world.pull()
    assert len(world.aside) == 2
    world.execute("DELETE FROM workflow_runs", "DELETE FROM messages")
    world.now += timedelta(days=2)
    world.starts = True
    world.pull()
    assert world.aside == {}


def test_what_is_read_whole_is_tried_again_in_every_pass(world: World):
    settings = {"id": key("settings"), "app_id": key("bad"), "model": '{"provider": ["what", "ever"]}'}
    world.insert("app_model_configs", settings)
    world.has_an_app("bad", mode="chat", app_model_config_id=key("settings"))
    assert world.pull()["apps"].parse_failures == 1
    (mark,) = world.aside.values()
    assert (mark.stream, mark.key) == ("apps", key("bad"))
    assert (
        mark.problem
        == "apps.provider: wanted text; mend the row in Dify or update dify-metric; it is tried again in every pass"
    )
    world.pull()
    assert list(world.aside.values()) == [mark]
    world.execute("DELETE FROM apps")
    world.pull()
    assert world.aside == {}


def test_of_very_many_some_are_named_and_all_are_counted(world: World):
    for number in range(MOST_NAMED + 20):
        world.has_a_message(f"m{number}", provider_response_latency=-9.0)
    pulls = world.pull()
    assert pulls["messages"].parse_failures == MOST_NAMED + 20
    assert len(world.aside) == MOST_NAMED
    world.pull()
    assert len(world.aside) == MOST_NAMED
