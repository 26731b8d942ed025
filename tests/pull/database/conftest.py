"""A real PostgreSQL with Dify's tables, and somewhere to put what is read from it."""

from __future__ import annotations

import pytest

from tests.pull.database.world import World
from tests.servers.postgres import Postgres, dify_template, postgres_server, sample_template

__all__ = ["dify_template", "postgres_server", "sample_template"]


@pytest.fixture
def world(postgres_server: Postgres, dify_template: str) -> World:
    """An empty Dify of the test's own."""
    return World(postgres_server, postgres_server.database(dify_template))


@pytest.fixture(scope="session")
def sample(postgres_server: Postgres, sample_template: str) -> World:
    """The recorded Dify, pulled once. Not to be written to."""
    world = World(postgres_server, sample_template)
    world.pull()
    return world
