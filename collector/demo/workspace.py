"""The rest of the simulated console: the workspace, its people, its models and its knowledge.

What comes in is an `Ask`; what goes out becomes JSON. Datasets cap their pages at 100 without a word, and call a page
cut that way the last one. ROUTES and OPEN_ROUTES (no sign-in) are the tables.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from collector.demo import app_shapes
from collector.demo.asking import Ask, Endpoint, Refusal
from collector.demo.cast import EMBEDDING, MODELS
from collector.demo.rows import NO_ID, Account, Dataset, Document, Json, Model, Retrieval, epoch

_Row = TypeVar("_Row")


# Workspace


def profile(ask: Ask) -> object:
    """GET /account/profile: the time zone here is that of every statistic."""
    me = _me(ask)
    return {
        "id": me.id,
        "name": me.name,
        "avatar": None,
        "avatar_url": None,
        "email": me.email,
        "is_password_set": True,
        "interface_language": "en-US",
        "interface_theme": "light",
        "timezone": me.timezone,
        "last_login_at": epoch(ask.now),
        "last_login_ip": "127.0.0.1",
        "created_at": epoch(me.created_at),
    }


def workspaces(ask: Ask) -> object:
    """GET /workspaces."""
    return {"workspaces": [{**_workspace(ask, "sandbox"), "current": True}]}


def current_workspace(ask: Ask) -> object:
    """POST /workspaces/current: it is read with POST, GET is refused."""
    nothing = dict.fromkeys(("in_trial", "trial_end_reason", "custom_config"))
    return {**_workspace(ask, "basic"), "role": _me(ask).role, **nothing}


def all_workspaces(ask: Ask) -> object:
    """GET /all-workspaces."""
    brief = {name: value for name, value in _workspace(ask, "").items() if name != "plan"}
    return {"data": [brief], "has_more": False, "limit": 20, "page": 1, "total": 1}


def members(ask: Ask) -> object:
    """GET /workspaces/current/members."""
    return {
        "accounts": [
            {
                "id": account.id,
                "name": account.name,
                "avatar": None,
                "avatar_url": None,
                "email": account.email,
                "last_login_at": None,
                "last_active_at": epoch(account.created_at),
                "created_at": epoch(account.created_at),
                "role": account.role,
                "status": "active",
            }
            for account in ask.world.accounts
        ]
    }


def tags(ask: Ask) -> object:
    """GET /tags?type=app."""
    if ask.query.get("type") != "app":
        return []
    names = sorted({name for app in ask.world.apps.values() for name in app.tags})
    return [
        {
            "id": app_shapes.tag_id(name),
            "name": name,
            "type": "app",
            "binding_count": str(sum(name in app.tags for app in ask.world.apps.values())),
        }
        for name in names
    ]


# Models


def models(ask: Ask) -> object:
    """GET /workspaces/current/models/model-types/{kind}."""
    kind = ask.path_values["kind"]
    found: Sequence[Model] = MODELS if kind == "llm" else (EMBEDDING,) if kind == "text-embedding" else ()
    providers = dict.fromkeys(model.provider for model in found)
    return {
        "data": [
            {
                "tenant_id": ask.world.workspace_id,
                **_provider_head(provider),
                "status": "active",
                "models": [_model(model, kind) for model in found if model.provider == provider],
            }
            for provider in providers
        ]
    }


def default_model(ask: Ask) -> object:
    """GET /workspaces/current/default-model."""
    model, kind = MODELS[0], ask.query.get("model_type", "llm")
    provider: Json = {
        **_provider_head(model.provider),
        "supported_model_types": ["llm"],
        "models": [],
        "tenant_id": ask.world.workspace_id,
    }
    return {"data": {"model": model.name, "model_type": kind, "provider": provider}}


# Knowledge


def datasets(ask: Ask) -> object:
    """GET /datasets."""
    found = sorted(ask.world.datasets.values(), key=lambda row: row.created_at, reverse=True)
    more: Json = {"partial_member_list": []} if ask.account else {}  # the service API leaves it out
    return capped_page(ask, found, lambda row: {**dataset_json(ask, row), **more})


def dataset(ask: Ask) -> object:
    """GET /datasets/{id}."""
    return dataset_json(ask, ask.dataset)


def documents(ask: Ask) -> object:
    """GET /datasets/{id}/documents: newest first, or by hits."""
    rows = list(reversed(ask.dataset.documents))
    sort = ask.query.get("sort", "")
    if sort.lstrip("-") == "hit_count":
        rows.sort(key=lambda row: row.hit_count, reverse=sort.startswith("-"))
    return capped_page(ask, rows, lambda row: document_json(ask, row))


def indexing_status(ask: Ask) -> object:
    """GET /datasets/{id}/indexing-status: every document."""
    return {"data": [_indexing(row) for row in ask.dataset.documents]}


def error_docs(ask: Ask) -> object:
    """GET /datasets/{id}/error-docs."""
    found = [_indexing(row) for row in ask.dataset.documents if row.error]
    return {"data": found, "total": len(found)}


def related_apps(ask: Ask) -> object:
    """GET /datasets/{id}/related-apps."""
    found = [app_shapes.app_brief(app) for app in ask.world.apps.values() if app.dataset == ask.dataset.name]
    return {"data": found, "total": len(found)}


def queries(ask: Ask) -> object:
    """GET /datasets/{id}/queries: newest first."""
    return capped_page(ask, ask.dataset.retrievals[::-1], _query)


def capped_page(ask: Ask, rows: Sequence[_Row], item: Callable[[_Row], Json]) -> Json:
    """A page of knowledge: at most 100 rows, more is promised whenever it is as long as was asked."""
    page, limit = int(ask.query.get("page", "1")), int(ask.query.get("limit", "20"))
    size = min(limit, 100)
    shown = rows[(page - 1) * size : page * size]
    return {
        "data": [item(row) for row in shown],
        "has_more": len(shown) == limit,
        "limit": limit,
        "total": len(rows),
        "page": page,
    }


# Without signing in


def setup(_: Ask) -> object:
    """GET /setup."""
    return {"step": "finished", "setup_at": "2026-01-01T00:00:00"}


def ping(_: Ask) -> object:
    """GET /ping."""
    return {"result": "pong"}


_DATASET = "/datasets/{dataset_id:uuid}"

ROUTES: tuple[tuple[str, str, Endpoint], ...] = (
    ("GET", "/account/profile", profile),
    ("GET", "/workspaces", workspaces),
    ("POST", "/workspaces/current", current_workspace),
    ("GET", "/workspaces/current/members", members),
    ("GET", "/tags", tags),
    ("GET", "/workspaces/current/models/model-types/{kind}", models),
    ("GET", "/workspaces/current/default-model", default_model),
    ("GET", "/datasets", datasets),
    ("GET", _DATASET, dataset),
    ("GET", _DATASET + "/documents", documents),
    ("GET", _DATASET + "/indexing-status", indexing_status),
    ("GET", _DATASET + "/error-docs", error_docs),
    ("GET", _DATASET + "/related-apps", related_apps),
    ("GET", _DATASET + "/queries", queries),
)

OPEN_ROUTES: tuple[tuple[str, str, Endpoint], ...] = (("GET", "/setup", setup), ("GET", "/ping", ping))


def _me(ask: Ask) -> Account:
    if ask.account is None:
        raise Refusal(401, "unauthorized", "Invalid Authorization token.")
    return ask.account


def _workspace(ask: Ask, plan: str) -> Json:
    return {
        "id": ask.world.workspace_id,
        "name": "owner's Workspace",
        "plan": plan,
        "status": "normal",
        "created_at": epoch(ask.world.accounts[0].created_at),
    }


def _provider_head(provider: str) -> Json:
    short = provider.rsplit("/", 1)[-1]
    icons: Json = dict.fromkeys(("icon_small", "icon_small_dark", "icon_large"))
    return {"provider": provider, "label": {"zh_Hans": short, "en_US": short}, **icons}


def _model(model: Model, kind: str) -> Json:
    properties: Json = {"mode": "chat", "context_size": 128000}
    if kind != "llm":
        properties = {"context_size": 8191, "max_chunks": 32}
    return {
        "model": model.name,
        "label": {"zh_Hans": model.name, "en_US": model.name},
        "model_type": kind,
        "features": ["tool-call", *(["vision"] if model.has_vision else [])] if kind == "llm" else None,
        "fetch_from": "predefined-model",
        "model_properties": properties,
        "deprecated": False,
        "status": "active",
        "load_balancing_enabled": False,
        "has_invalid_load_balancing_configs": False,
    }


def dataset_json(ask: Ask, row: Dataset) -> Json:
    """One dataset."""
    available = sum(document.indexing_status == "completed" for document in row.documents)
    owner, embedding = ask.world.accounts[0], row.embedding_model
    reranking: Json = {"reranking_provider_name": "", "reranking_model_name": ""}
    return {
        "id": row.id,
        "name": row.name,
        "description": "",
        "provider": "vendor",
        "permission": "all_team_members",
        "data_source_type": "upload_file",
        "indexing_technique": row.indexing_technique,
        "app_count": sum(app.dataset == row.name for app in ask.world.apps.values()),
        "document_count": len(row.documents),
        "word_count": sum(document.word_count for document in row.documents),
        "created_by": owner.id,
        "author_name": owner.name,
        "created_at": epoch(row.created_at),
        "updated_by": owner.id,
        "updated_at": epoch(row.created_at),
        "embedding_model": embedding.name if embedding else None,
        "embedding_model_provider": embedding.provider if embedding else None,
        "embedding_available": True,
        "retrieval_model_dict": {
            "search_method": "semantic_search",
            "reranking_enable": False,
            "reranking_mode": None,
            "reranking_model": reranking,
            "weights": None,
            "top_k": 2,
            "score_threshold_enabled": False,
            "score_threshold": None,
        },
        "tags": [],
        "doc_form": "text_model",
        "external_knowledge_info": dict.fromkeys(f"external_knowledge_{name}" for name in _EXTERNAL),
        "external_retrieval_model": {"top_k": 2, "score_threshold": 0.0, "score_threshold_enabled": None},
        "doc_metadata": [],
        "built_in_field_enabled": False,
        "pipeline_id": None,
        "runtime_mode": "general",
        "chunk_structure": None,
        "icon_info": dict.fromkeys(("icon_type", "icon", "icon_background", "icon_url")),
        "is_published": False,
        "total_documents": len(row.documents),
        "total_available_documents": available,
        "enable_api": True,
        "is_multimodal": False,
    }


_EXTERNAL = ("id", "api_id", "api_name", "api_endpoint")


def document_json(ask: Ask, row: Document) -> Json:
    """One document."""
    owner = ask.world.accounts[0].id
    upload: Json = {
        "id": row.id,
        "name": row.name,
        "size": row.word_count,
        "extension": "md",
        "mime_type": "text/markdown",
        "created_by": owner,
        "created_at": row.created_at.timestamp() + 0.5,
    }
    shown = {"completed": "available", "error": "error"}.get(row.indexing_status, row.indexing_status)
    return {
        "id": row.id,
        "position": row.position,
        "data_source_type": "upload_file",
        "data_source_info": {"upload_file_id": row.id},
        "data_source_detail_dict": {"upload_file": upload},
        "dataset_process_rule_id": NO_ID,
        "name": row.name,
        "created_from": "api",
        "created_by": owner,
        "created_at": epoch(row.created_at),
        "tokens": row.tokens,
        "indexing_status": row.indexing_status,
        "error": row.error,
        "enabled": True,
        "disabled_at": None,
        "disabled_by": None,
        "archived": False,
        "display_status": shown,
        "word_count": row.word_count,
        "hit_count": row.hit_count,
        "doc_form": "text_model",
        "doc_metadata": None,
    }


def _indexing(row: Document) -> Json:
    at, is_done = epoch(row.created_at), row.indexing_status == "completed"
    return {
        "id": row.id,
        "indexing_status": row.indexing_status,
        "processing_started_at": at,
        "parsing_completed_at": at,
        "cleaning_completed_at": at,
        "splitting_completed_at": at,
        "completed_at": at if is_done else None,
        "paused_at": None,
        "error": row.error,
        "stopped_at": None,
        "completed_segments": row.segments if is_done else 0,
        "total_segments": row.segments,
    }


def _query(row: Retrieval) -> Json:
    return {
        "id": row.id,
        "queries": [{"content_type": "text_query", "content": row.query, "file_info": None}],
        "source": "app",
        "source_app_id": row.source_app_id,
        "created_by_role": "account" if isinstance(row.created_by, Account) else "end_user",
        "created_by": row.created_by.id,
        "created_at": epoch(row.created_at),
    }
