"""Knowledge bases of a real Dify: what its database says is what its console says."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from collector.ledger import Telling
from collector.pull.knowledge import dataset_fact, day_fact, retrieval_fact
from collector.records import Dataset, DatasetDay, Retrieval
from tests.pull.database.world import AFTERWARDS, TENANT, World, key

RECORDED = Path(__file__).parents[2] / "recorded"
TELLING = Telling(source="database", seen_at=AFTERWARDS)


def recorded(name: str) -> list[Any]:
    found: list[Any] = json.loads((RECORDED / f"{name}.json").read_text())["data"]
    return found


def test_knowledge_bases_and_questions_are_those_of_the_console(sample: World):
    datasets = [dataset_fact(raw, TELLING) for raw in recorded("datasets")]
    known = {dataset.id for dataset in sample.all(Dataset)}
    compared = [told for told in datasets if told.id in known]
    assert compared
    for told in compared:
        agree(told, sample.get(Dataset, told.id))

    questions = {raw["id"] for raw in recorded("dataset_queries")} & set(sample.facts[Retrieval])
    for raw in recorded("dataset_queries"):
        if raw["id"] in questions:
            told = retrieval_fact(raw, TELLING, sample.get(Retrieval, raw["id"]).dataset_id)
            agree(told, sample.get(Retrieval, told.id))
    assert questions
    assert len(sample.all(Retrieval)) == 10
    assert {found.origin for found in sample.all(Retrieval)} == {"app", "hit_testing"}


def agree(told: Any, read: Any) -> None:
    """What both know is the same, instants to the second."""
    for field in msgspec.structs.fields(told):
        one, other = getattr(told, field.name), getattr(read, field.name)
        if one is not None and field.name != "seen_at":
            assert str(one)[:19] == str(other)[:19], field.name


@pytest.fixture
def library(world: World) -> World:
    """A knowledge base with a document in every state."""
    world.has_a_workspace()
    world.insert("datasets", {"id": key("kb"), "tenant_id": TENANT, "name": "kb", "created_by": key("owner")})
    states = [
        ("completed", True, False),
        ("completed", False, False),
        ("completed", True, True),
        ("waiting", True, False),
        ("splitting", True, False),
        ("error", True, False),
        ("paused", True, False),
    ]
    for number, (status, enabled, archived) in enumerate(states):
        told = {"indexing_status": status, "enabled": enabled, "archived": archived, "word_count": 10, "tokens": 3}
        must = {"data_source_type": "upload_file", "batch": "1", "name": "secret", "created_from": "web"}
        place = {"id": key(f"doc {number}"), "tenant_id": TENANT, "dataset_id": key("kb"), "position": number}
        world.insert("documents", {**place, **told, **must, "created_by": key("owner")})
    for number, status in enumerate(("completed", "completed", "re_segment")):
        told = {"status": status, "hit_count": 5, "word_count": 1, "tokens": 1, "content": "secret"}
        place = {"tenant_id": TENANT, "dataset_id": key("kb"), "document_id": key("doc 0"), "position": number}
        world.insert("document_segments", {**place, **told, "created_by": key("owner")})
    world.has_an_app()
    world.insert("app_dataset_joins", *({"app_id": key(app), "dataset_id": key("kb")} for app in ("app", "gone")))
    return world


def test_what_it_holds_is_counted_as_the_console_counts(library: World):
    library.pull()

    (day,) = library.all(DatasetDay)
    documents = [
        {"indexing_status": status, "display_status": shown, "word_count": 10, "tokens": 3, "hit_count": hits}
        for status, shown, hits in [
            ("completed", "available", 15),
            ("completed", "disabled", 0),
            ("completed", "archived", 0),
            ("waiting", "queuing", 0),
            ("splitting", "indexing", 0),
            ("error", "error", 0),
            ("paused", "paused", 0),
        ]
    ]
    telling = msgspec.structs.replace(TELLING, workspace_id=TENANT)
    assert day == day_fact({"id": key("kb"), "app_count": 1}, documents, 2, telling)


def test_which_apps_use_it_is_not_known_where_dify_does_not_say(own_world: World):
    own_world.execute("DROP TABLE app_dataset_joins")
    own_world.insert("datasets", {"id": key("kb"), "tenant_id": TENANT, "name": "kb", "created_by": key("owner")})

    own_world.pull()

    (day,) = own_world.all(DatasetDay)
    assert (day.documents, day.segments, day.apps) == (0, 0, None)


def test_one_that_is_gone_is_deleted_and_holds_nothing(library: World):
    library.pull()
    library.execute("DELETE FROM datasets")
    library.now += timedelta(hours=2)

    library.pull()

    assert library.get(Dataset, "kb").deleted_at == library.now
    assert [day.documents for day in library.all(DatasetDay)] == [0]


def test_no_word_of_a_document_or_question_is_in_any_record(library: World):
    asked = {"content": "secret", "source": "app", "source_app_id": key("app"), "created_by_role": "end_user"}
    library.insert("dataset_queries", {"dataset_id": key("kb"), "created_by": key("user"), **asked})

    library.pull()

    assert len(library.all(Retrieval)) == 1
    everything = [record for facts in library.facts.values() for record in facts.values()]
    assert b"secret" not in msgspec.json.encode(everything)
