"""A plan as a row of moments: when each of its rows appears and ends.

What comes in is a plan; what goes out are moments in their order, each with what it does to the world. The passing
clock lets them happen; a stream tells its reader of each as it goes by. Nothing here sleeps.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

import msgspec

from collector.demo.plan import CONTAINERS, Plan
from collector.demo.rows import Node
from collector.demo.world import World


class Moment(msgspec.Struct, frozen=True):
    """Something that happens at an instant."""

    at: datetime
    kind: str  # begun, node_started, node_finished, ended, stopped
    happen: Callable[[], None]
    node: Node | None = None


def timeline(world: World, plan: Plan) -> list[Moment]:
    """The moments of a plan, as its fate has it."""
    moments = [Moment(plan.at, "begun", partial(world.begin, plan)), *_node_moments(world, plan)]
    if plan.fate == "stopped":
        moments = [moment for moment in moments if moment.at <= plan.stops_at]
        seconds = (plan.stops_at - plan.at).total_seconds()
        moments.append(Moment(plan.stops_at, "stopped", partial(world.stop, plan, plan.partial_answer, seconds)))
    else:
        moments.append(Moment(plan.at + timedelta(seconds=plan.seconds), "ended", partial(world.close, plan)))
    return moments


def _node_moments(world: World, plan: Plan) -> list[Moment]:
    """Starts and ends of the nodes: inner nodes stand between those of their container."""
    found: list[Moment] = []
    open_container: Node | None = None
    for node in plan.nodes:
        if open_container and node.stage.inside != open_container.stage.id:
            found.append(_end(world, plan, open_container))
            open_container = None
        found.append(Moment(node.created_at, "node_started", partial(world.start_node, plan, node), node))
        if node.stage.type in CONTAINERS:
            open_container = node
        else:
            found.append(_end(world, plan, node))
    if open_container:
        found.append(_end(world, plan, open_container))
    return found


def _end(world: World, plan: Plan, node: Node) -> Moment:
    at = node.finished_at or node.created_at
    return Moment(at, "node_finished", partial(world.finish_node, plan, node), node)
