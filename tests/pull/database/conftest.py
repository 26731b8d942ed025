"""A real PostgreSQL with Dify's tables, and somewhere to put what is read from it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from collector.pull.database.schema import TABLES
from tests.pull.database.world import World
from tests.servers.postgres import Postgres, dify_template, postgres_server, sample_template

__all__ = ["dify_template", "postgres_server", "sample_template"]


@pytest.fixture(scope="session")
def shared_database(postgres_server: Postgres, dify_template: str) -> str:
    """A database that the tests use one after another."""
    return postgres_server.database(dify_template)


@pytest.fixture
def world(postgres_server: Postgres, shared_database: str) -> World:
    """An empty Dify. Its tables stay as they are."""
    world = World(postgres_server, shared_database)
    world.execute(*(f"DELETE FROM {table}" for table in TABLES))
    return world


@pytest.fixture
def own_world(postgres_server: Postgres, dify_template: str) -> Iterator[World]:
    """An empty Dify whose tables the test may change."""
    database = postgres_server.database(dify_template)
    yield World(postgres_server, database)
    postgres_server.drop(database)


@pytest.fixture(scope="session")
def sample(postgres_server: Postgres, sample_template: str) -> World:
    """The recorded Dify, pulled once. Not to be written to."""
    world = World(postgres_server, sample_template)
    world.pull()
    return world
