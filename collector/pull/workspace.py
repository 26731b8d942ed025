"""Dify's console JSON about a workspace -> records: its models, its accounts, the keys of its apps.

What comes in are decoded items of listings and a Telling; what goes out are records. Raises ShapeError naming the
field. A key becomes its fingerprint here and goes no further; e-mail addresses are left behind. Nothing here asks.
"""

from __future__ import annotations

import hashlib

from collector.errors import ShapeError
from collector.fields import Json, instant, items, required_text, sequence, text
from collector.ledger import Telling, provider_name
from collector.records import ApiKey, Model, Record, User

VISION = "vision"

KINDS = ("llm", "text-embedding", "rerank", "speech2text", "tts", "moderation")
"""The kinds of model Dify knows; each has a list of its own."""


def model_facts(raw: Json, telling: Telling, kind: str) -> list[Record]:
    """One provider of a list of models -> its models, each with what it can do."""
    provider = provider_name(required_text(raw, "provider")) or ""
    return [_model(given, telling, provider, kind) for given in items(raw, "models")]


def member_facts(raw: Json, telling: Telling) -> list[Record]:
    """One account of the workspace -> User, without its e-mail address."""
    key = required_text(raw, "id")
    return [
        User(
            source=telling.source,
            seen_at=telling.seen_at,
            id=key,
            kind="account",
            workspace_id=telling.workspace_id,
            name=text(raw, "name"),
        )
    ]


def key_facts(raw: Json, telling: Telling) -> list[Record]:
    """One key of an app -> ApiKey."""
    token = raw.get("token")
    if not isinstance(token, str) or not token:
        raise ShapeError("token", "a key", "something else")  # never quoted
    return [
        ApiKey(
            source=telling.source,
            seen_at=telling.seen_at,
            id=required_text(raw, "id"),
            app_id=telling.app_id,
            workspace_id=telling.workspace_id,
            fingerprint=fingerprint(token),
            created_at=instant(raw, "created_at"),
            last_used_at=instant(raw, "last_used_at"),
        )
    ]


def fingerprint(key: str) -> str:
    """By what a key is known: the first 16 hex digits of its SHA-256."""
    return hashlib.sha256(key.encode()).hexdigest()[:16]


def _model(raw: Json, telling: Telling, provider: str, kind: str) -> Model:
    name = required_text(raw, "model")
    features = sorted(str(feature) for feature in sequence(raw, "features"))
    return Model(
        source=telling.source,
        seen_at=telling.seen_at,
        id=f"{telling.workspace_id or ''}/{provider}/{name}/{kind}",
        workspace_id=telling.workspace_id,
        model_provider=provider,
        model_name=name,
        kind=kind,
        features=",".join(features),
        is_vision=VISION in features,
        status=text(raw, "status"),
    )
