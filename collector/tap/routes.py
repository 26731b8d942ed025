"""A path of Dify -> its template, and what is worth hearing there. The closed list of `Request.route`.

Ids in a path become names in braces. A path that is in no row belongs to the row of its first folder, so the number
of routes is bounded whatever callers ask for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal["answer", "stop", "other"]


@dataclass(frozen=True)
class Route:
    """One template. `mode`, `invoke_from` and `is_debug` are what it says of the run behind it."""

    template: str
    kind: Kind = "other"
    mode: str | None = None
    invoke_from: str | None = None
    is_debug: bool | None = None


@dataclass(frozen=True)
class Matched:
    """A route, and the ids that stood in the path."""

    route: Route
    app_id: str | None = None
    task_id: str | None = None


def _asking(base: str, invoke_from: str) -> list[Route]:
    """Where answers come from, and where they are stopped: the same under every door but the console's."""
    chat = {"invoke_from": invoke_from, "is_debug": False}
    return [
        Route(f"{base}/chat-messages", "answer", **chat),  # type: ignore[arg-type]
        Route(f"{base}/completion-messages", "answer", "completion", **chat),  # type: ignore[arg-type]
        Route(f"{base}/workflows/run", "answer", "workflow", **chat),  # type: ignore[arg-type]
        Route(f"{base}/workflows/{{workflow_id}}/run", "answer", "workflow", **chat),  # type: ignore[arg-type]
        Route(f"{base}/workflow/{{task_id}}/events", "answer", **chat),  # type: ignore[arg-type]
        Route(f"{base}/chat-messages/{{task_id}}/stop", "stop"),
        Route(f"{base}/completion-messages/{{task_id}}/stop", "stop"),
        Route(f"{base}/workflows/tasks/{{task_id}}/stop", "stop"),
    ]


_APP = "/console/api/apps/{app_id}"
_DEBUG = {"invoke_from": "debugger", "is_debug": True}

ROUTES = (
    *_asking("/v1", "service-api"),
    *_asking("/api", "web-app"),
    *_asking("/console/api/installed-apps/{installed_app_id}", "explore"),
    Route(f"{_APP}/chat-messages", "answer", **_DEBUG),  # type: ignore[arg-type]
    Route(f"{_APP}/completion-messages", "answer", "completion", **_DEBUG),  # type: ignore[arg-type]
    Route(f"{_APP}/workflows/draft/run", "answer", "workflow", **_DEBUG),  # type: ignore[arg-type]
    Route(f"{_APP}/advanced-chat/workflows/draft/run", "answer", "advanced-chat", **_DEBUG),  # type: ignore[arg-type]
    Route(f"{_APP}/chat-messages/{{task_id}}/stop", "stop"),
    Route(f"{_APP}/completion-messages/{{task_id}}/stop", "stop"),
    Route(f"{_APP}/workflow-runs/tasks/{{task_id}}/stop", "stop"),
    *(
        Route(f"/v1{path}")
        for path in (
            *("/info", "/parameters", "/meta", "/site", "/messages", "/app/feedbacks", "/conversations"),
            *("/messages/{message_id}/feedbacks", "/messages/{message_id}/suggested"),
            *("/conversations/{conversation_id}", "/conversations/{conversation_id}/name"),
            "/conversations/{conversation_id}/variables",
            "/conversations/{conversation_id}/variables/{variable_id}",
            *("/files/upload", "/files/{file_id}/preview", "/audio-to-text", "/text-to-audio"),
            *("/workflows/logs", "/workflows/run/{run_id}", "/form/human_input/{token}", "/end-users/{user_id}"),
            *("/apps/annotations", "/apps/annotations/{annotation_id}", "/apps/annotation-reply/{action}"),
            "/apps/annotation-reply/{action}/status/{job_id}",
            *("/datasets", "/datasets/tags", "/datasets/tags/binding", "/datasets/tags/unbinding"),
            *("/datasets/pipeline/file-upload", "/datasets/{dataset_id}", "/datasets/{dataset_id}/retrieve"),
            *("/datasets/{dataset_id}/hit-testing", "/datasets/{dataset_id}/tags", "/datasets/{dataset_id}/metadata"),
            "/datasets/{dataset_id}/metadata/built-in",
            "/datasets/{dataset_id}/metadata/built-in/{action}",
            "/datasets/{dataset_id}/metadata/{metadata_id}",
            *(
                f"/datasets/{{dataset_id}}/document/create{dash}by{dash}{what}"
                for dash in "-_"
                for what in ("text", "file")
            ),
            *("/datasets/{dataset_id}/documents", "/datasets/{dataset_id}/documents/metadata"),
            "/datasets/{dataset_id}/documents/status/{action}",
            "/datasets/{dataset_id}/documents/{document_id}",
            "/datasets/{dataset_id}/documents/{batch}/indexing-status",
            "/datasets/{dataset_id}/documents/{document_id}/upload-file",
            *(
                f"/datasets/{{dataset_id}}/documents/{{document_id}}/update{dash}by{dash}{what}"
                for dash in "-_"
                for what in ("text", "file")
            ),
            "/datasets/{dataset_id}/documents/{document_id}/segments",
            "/datasets/{dataset_id}/documents/{document_id}/segments/{segment_id}",
            "/datasets/{dataset_id}/documents/{document_id}/segments/{segment_id}/child_chunks",
            "/datasets/{dataset_id}/documents/{document_id}/segments/{segment_id}/child_chunks/{chunk_id}",
            "/datasets/{dataset_id}/pipeline/run",
            "/workspaces/current/models/model-types/{model_type}",
        )
    ),
)
"""In their order: a word of its own before a name in braces."""

FOLDERS = {name: Route(f"/{name}/…") for name in ("v1", "api", "console", "files", "mcp", "triggers", "health")}
ELSEWHERE = Route("/…")

_PLAIN = {
    route.template.encode() + end: Matched(route)
    for end in (b"", b"/")
    for route in ROUTES
    if "{" not in route.template
}
_BY_LENGTH: dict[int, list[tuple[re.Pattern[str], Route]]] = {}
for _route in ROUTES:
    if "{" in _route.template:
        _pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(_route.template))
        _BY_LENGTH.setdefault(_route.template.count("/"), []).append((re.compile(_pattern), _route))


def match(asked: bytes) -> Matched:
    """The route of a path without its query."""
    if plain := _PLAIN.get(asked):
        return plain
    path = asked.rstrip(b"/").decode("latin-1")
    for pattern, route in _BY_LENGTH.get(path.count("/"), ()):
        if found := pattern.fullmatch(path):
            ids = found.groupdict()
            return Matched(route, ids.get("app_id"), ids.get("task_id"))
    return Matched(FOLDERS.get(path[1:].partition("/")[0], ELSEWHERE))
