"""A simulated Dify: a deterministic workspace, its past, its APIs, its traffic.

What comes in are a seed, a clock and HTTP requests; what goes out is what Dify would answer. It serves the demo, the
tests and the benchmarks, and knows nothing of the collector that reads it.

    world, life = make_living_world(days=30, runs_per_day=200, seed=7, now=now)
    app = simulated_dify(world, clock=clock, life=life)
"""

from collector.demo.faults import EVER, Faults
from collector.demo.making import Life, make_living_world, make_world
from collector.demo.plan import Habits
from collector.demo.simulated import simulated_dify
from collector.demo.traffic import Target, targets, traffic
from collector.demo.world import World

__all__ = [
    "EVER",
    "Faults",
    "Habits",
    "Life",
    "Target",
    "World",
    "make_living_world",
    "make_world",
    "simulated_dify",
    "targets",
    "traffic",
]
