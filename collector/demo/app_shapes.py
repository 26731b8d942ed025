"""Apps, their models, tags and sites as Dify's JSON.

What comes in are rows; what goes out are dictionaries as the API of 1.11.1 gives them. Nothing here filters, pages or
changes anything.
"""

from __future__ import annotations

from collector.demo.rows import App, Json, Model, epoch

_ICON: Json = {"icon_type": "emoji", "icon": "🤖", "icon_background": "#FFEAD5", "icon_url": None}

OFF: Json = {"enabled": False}


def model_json(model: Model) -> Json:
    """A model as an app is set up with it."""
    params: Json = {"temperature": 0.7, "stop": []}
    return {"provider": model.provider, "name": model.name, "mode": "chat", "completion_params": params}


def app_item(app: App) -> Json:
    """One item of the app list."""
    return {
        "id": app.id,
        "name": app.name,
        "max_active_requests": app.max_active_requests,
        "description": "",
        "mode": app.mode,
        **_ICON,
        "model_config": _brief_config(app),
        "workflow": _workflow(app),
        "use_icon_as_answer_icon": False,
        **_made(app),
        "tags": tags_json(app),
        "access_mode": None,
        "create_user_name": None,
        "author_name": "owner",
        "has_draft_trigger": False,
    }


def app_detail(app: App, address: str) -> Json:
    """One app with its site."""
    return {
        "id": app.id,
        "name": app.name,
        "description": "",
        "mode": app.mode,
        **_ICON,
        "enable_site": True,
        "enable_api": app.enable_api,
        "model_config": _full_config(app),
        "workflow": _workflow(app),
        "api_base_url": f"{address}/v1",
        "use_icon_as_answer_icon": False,
        "max_active_requests": app.max_active_requests,
        **_made(app),
        "deleted_tools": [],
        "access_mode": None,
        "tags": tags_json(app),
        "site": {
            "access_token": app.id[:16],
            "code": app.id[:16],
            "title": app.name,
            **_ICON,
            "description": None,
            "default_language": "en-US",
            "chat_color_theme": None,
            "chat_color_theme_inverted": False,
            "customize_domain": None,
            "copyright": None,
            "privacy_policy": None,
            "custom_disclaimer": "",
            "customize_token_strategy": "not_allow",
            "prompt_public": False,
            "app_base_url": address,
            "show_workflow_steps": True,
            "use_icon_as_answer_icon": False,
            **_made(app),
        },
    }


def app_brief(app: App) -> Json:
    """An app as other things name it."""
    return {"id": app.id, "name": app.name, "description": "", "mode": app.mode, **_ICON}


def tags_json(app: App) -> list[Json]:
    """The tags of an app."""
    return [{"id": tag_id(name), "name": name, "type": "app"} for name in app.tags]


def tag_id(name: str) -> str:
    """The id of the tag of that name."""
    digits = name.encode().hex().ljust(12, "0")[:12]
    return f"7a9f0000-0000-4000-a000-{digits}"


def parameters_json(app: App) -> Json:
    """What a front end needs to know to show an app."""
    return {
        "opening_statement": "",
        "suggested_questions": [],
        "suggested_questions_after_answer": OFF,
        "speech_to_text": OFF,
        "text_to_speech": {"enabled": False, "voice": "", "language": ""},
        "retriever_resource": {"enabled": True},
        "annotation_reply": OFF,
        "more_like_this": OFF,
        "user_input_form": input_form(app),
        "sensitive_word_avoidance": OFF,
        "file_upload": OFF,
    }


def _made(app: App) -> Json:
    return {
        "created_by": app.created_by,
        "created_at": epoch(app.created_at),
        "updated_by": app.created_by,
        "updated_at": epoch(app.updated_at),
    }


def _workflow(app: App) -> Json | None:
    return {"id": app.workflow_id, **_made(app), "updated_by": None} if app.has_workflow else None


def _brief_config(app: App) -> Json | None:
    if app.model is None:
        return None
    return {"model": model_json(app.model), "pre_prompt": "You are a bot.", **_made(app)}


_UPLOAD: Json = {
    "enabled": False,
    "number_limits": 3,
    "detail": "high",
    "transfer_methods": ["remote_url", "local_file"],
}

AGENT_MODE: Json = {"max_iteration": 10, "enabled": False, "strategy": "function_call", "tools": []}


def input_form(app: App) -> list[Json]:
    """The variables a caller must give."""
    return [{"paragraph": {"label": name, "variable": name, "required": True, "default": ""}} for name in app.inputs]


def _full_config(app: App) -> Json | None:
    if app.model is None:
        return None
    return {
        **parameters_json(app),
        "sensitive_word_avoidance": {"enabled": False, "type": "", "configs": []},
        "external_data_tools": [],
        "model": model_json(app.model),
        "dataset_query_variable": "",
        "pre_prompt": "You are a bot.",
        "agent_mode": AGENT_MODE,
        "prompt_type": "simple",
        "chat_prompt_config": {},
        "completion_prompt_config": {},
        "dataset_configs": {"retrieval_model": "multiple", "top_k": 4, "reranking_enable": False, "datasets": {}},
        "file_upload": {"image": _UPLOAD},
        **_made(app),
    }
