"""Knowledge bases, models, accounts and keys, as a real Dify tells them, become records without anything private."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from collector.errors import ShapeError
from collector.pull.knowledge import dataset_fact, day_fact, is_settled, retrieval_fact, total_segments
from collector.pull.parse import app_fact
from collector.pull.workspace import fingerprint, key_facts, member_facts, model_facts
from collector.records import App
from tests.pull.recordings import SEEN, recorded, told

DATASET = "2b3de7da-7f8b-4589-bac8-6e0ce1b8f511"


def test_a_knowledge_base():
    (raw,) = recorded("datasets")["data"]

    fact = dataset_fact(raw, told(app_id=None), "dify")

    assert (fact.id, fact.name, fact.indexing_technique, fact.embedding_model) == (
        DATASET,
        "kb-economy",
        "economy",
        None,
    )
    assert (fact.workspace_id, fact.origin) == ("w1", "dify")


def test_what_it_holds_is_counted_from_its_documents():
    (raw,), documents = recorded("datasets")["data"], recorded("dataset_documents")["data"]

    day = day_fact(raw, documents, 4, told())

    assert (day.documents, day.available_documents, day.failed_documents, day.indexing_documents) == (2, 2, 0, 0)
    assert (day.words, day.tokens, day.hits, day.segments, day.apps) == (13 + 708, 0, 1, 4, 1)
    assert (day.id, day.created_at) == (f"{DATASET}/2026-11-21", SEEN)


@pytest.mark.parametrize(
    ("status", "counted"),
    [
        ("waiting", {"waiting_documents": 1}),
        ("parsing", {"indexing_documents": 1}),
        ("splitting", {"indexing_documents": 1}),
        ("error", {"failed_documents": 1}),
        ("paused", {}),
    ],
)
def test_a_document_that_is_not_indexed_says_where_it_stands(status: str, counted: dict[str, int]):
    document = recorded("dataset_documents")["data"][0] | {"indexing_status": status, "display_status": status}

    day = day_fact(recorded("datasets")["data"][0], [document], None, told())

    names = ("waiting_documents", "indexing_documents", "failed_documents", "available_documents")
    assert {name: number for name in names if (number := getattr(day, name))} == counted
    assert is_settled(document) is (status == "error")


@pytest.mark.parametrize(("change", "available"), [({}, 1), ({"enabled": False}, 0), ({"archived": True}, 0)])
def test_versions_that_show_no_status_have_documents_available_all_the_same(change: dict[str, bool], available: int):
    document = recorded("dataset_documents")["data"][0] | change
    del document["display_status"]

    assert day_fact(recorded("datasets")["data"][0], [document], None, told()).available_documents == available


def test_segments_come_from_the_indexing_status():
    assert total_segments(recorded("dataset_indexing_status")["data"]) == 6


def test_a_question_is_kept_without_its_text():
    raws = recorded("dataset_queries")["data"]

    facts = [retrieval_fact(raw, told(app_id=None), DATASET) for raw in raws]

    assert {(fact.origin, fact.user_kind, fact.dataset_id) for fact in facts} == {("app", "end_user", DATASET)}
    assert facts[0].created_at == datetime.fromtimestamp(1795216536, UTC)
    assert b"turn" not in msgspec.json.encode(facts)


def test_models_come_by_provider_with_what_they_can():
    raws = recorded("models_llm")["data"]
    raws[0]["models"][0]["features"].append("vision")

    models = [model for raw in raws for model in model_facts(raw, told(), "llm")]

    assert [model.is_vision for model in models] == [True, False, False]
    assert models[0].id == "w1/langgenius/openai/openai/gpt-4o-mini/llm"
    assert models[0].features == "agent-thought,multi-tool-call,tool-call,vision"
    assert models[0].status == "active"


def test_models_without_features_can_nothing_special():
    (raw,) = recorded("models_text_embedding")["data"]

    (model,) = model_facts(raw, told(), "text-embedding")

    assert (model.features, model.is_vision, model.kind) == ("", False, "text-embedding")


def test_an_account_is_kept_without_its_address():
    facts = [fact for raw in recorded("workspace_members")["accounts"] for fact in member_facts(raw, told())]

    assert [(fact.name, fact.kind) for fact in facts] == [(n, "account") for n in ("normal", "admin", "editor")]
    assert b"example.com" not in msgspec.json.encode(facts)


def test_a_key_is_kept_as_its_fingerprint():
    (raw,) = recorded("app_api_keys")["data"]

    (fact,) = key_facts(raw, told())

    assert (fact.app_id, fact.fingerprint) == ("shop", fingerprint(raw["token"]))
    assert len(fact.fingerprint) == 16
    assert raw["token"].encode() not in msgspec.json.encode(fact)


def test_a_key_that_cannot_be_read_is_not_quoted():
    with pytest.raises(ShapeError) as caught:
        key_facts({"id": "k", "token": ["app-secret"]}, told())

    assert "secret" not in str(caught.value)


def published(mode: str, **fields: object) -> bool | None:
    fact = app_fact({"id": "a", "name": "A", "mode": mode, **fields}, told())
    assert isinstance(fact, App)
    return fact.is_published


def test_the_list_says_which_apps_are_published():
    listed = {raw["mode"]: app_fact(raw, told()).is_published for raw in recorded("apps_page1")["data"]}

    assert listed == {"completion": True, "agent-chat": True, "workflow": True}
    assert published("workflow", workflow=None, model_config=None) is False
    assert published("chat", workflow=None, model_config=None) is False


def test_tags_are_sorted_names():
    (raw,) = recorded("apps_tag")["data"]

    assert app_fact(raw, told()).tags == "prod"
