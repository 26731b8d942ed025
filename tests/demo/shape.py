"""Whether two JSON values have the same shape: same keys, same types."""

from __future__ import annotations

from collections.abc import Iterator

FREE = frozenset(
    {"inputs", "graph", "outputs", "process_data", "execution_metadata", "tool_labels", "datasets", "features"}
)
"""Fields whose insides are the user's: only their type is compared."""

NULLABLE = frozenset(
    {
        "account",
        "annotation",
        "content",
        "created_by_account",
        "created_by_end_user",
        "details",
        "embedding_model",
        "embedding_model_provider",
        "error",
        "execution_metadata",
        "feedback",
        "finished_at",
        "from_account",
        "from_account_id",
        "from_account_name",
        "from_end_user_id",
        "from_end_user_session_id",
        "last_used_at",
        "model",
        "model_config",
        "outputs",
        "process_data",
        "read_at",
        "time_to_first_token",
        "time_to_generate",
        "usage",
        "workflow",
        "workflow_run_id",
        "conversation_id",
        "message_id",
        "completed_at",
        "inputs",
        "pre_prompt",
        "sensitive_word_avoidance",
        "user_input_form",
        "agent_mode",
        "opening_statement",
    }
)
"""Fields that are null in some answers and not in others."""

_NUMBERS = (int, float)


def differences(recorded: object, simulated: object, at: str = "$") -> Iterator[str]:
    """What is different, one line each; nothing when the shapes agree."""
    field = at.rsplit(".", 1)[-1].partition("[")[0]
    if recorded is None or simulated is None:
        if recorded is not simulated and not (field in NULLABLE or (recorded is None and field == "$")):
            yield f"{at}: recorded {_name(recorded)}, simulated {_name(simulated)}"
    elif isinstance(recorded, dict) and isinstance(simulated, dict):
        if field not in FREE:
            yield from _of_objects(recorded, simulated, at)
    elif isinstance(recorded, list) and isinstance(simulated, list):
        for place, one in enumerate(simulated if recorded and field not in FREE else []):
            like = min((list(differences(other, one, f"{at}[{place}]")) for other in recorded), key=len)
            yield from like
    elif type(recorded) is not type(simulated):
        yield f"{at}: recorded {_name(recorded)}, simulated {_name(simulated)}"


def _of_objects(recorded: dict[str, object], simulated: dict[str, object], at: str) -> Iterator[str]:
    for name in recorded.keys() - simulated.keys():
        yield f"{at}.{name}: recorded, not simulated"
    for name in simulated.keys() - recorded.keys():
        yield f"{at}.{name}: simulated, not recorded"
    for name in recorded.keys() & simulated.keys():
        yield from differences(recorded[name], simulated[name], f"{at}.{name}")


def _name(value: object) -> str:
    return f"{type(value).__name__} {value!r:.60}"
