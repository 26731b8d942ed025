"""How many series Prometheus may get, and by which labels."""

from __future__ import annotations

from collector.settings.group import Group, field
from collector.settings.written import Choices


class Series(Group):
    """Bounds of families and their labels."""

    most_series: int = field(
        10_000,
        "series",
        "Series that one Prometheus family may have; the others are counted together, their labels `_OTHER`. "
        "GET /api/v1/cardinality says how many there are.",
        ge=1,
    )
    series_limits: Choices = field(
        (),
        "choices",
        "Series that some families may have, where that is not most_series: FAMILY=NUMBER, several with commas. "
        "dify_llm_cost_*_total stands for every currency.",
        example="dify_llm_calls_total=2000",
    )
    label_values: Choices = field(
        (),
        "choices",
        "The only values that a label of Prometheus may have, the others being `_OTHER`: LABEL=VALUE|VALUE, several "
        "with commas.",
        example="model_name=gpt-4o|qwen-max",
    )
    more_labels: Choices = field(
        (),
        "choices",
        "Labels that counters have as well: FAMILY=LABEL|LABEL, several with commas; user_id, user_kind, user_name, "
        "session_id, key_fingerprint, person, department, cost_centre. They are counted from facts: not for long where "
        "`keep_` lets those go.",
        example="dify_llm_input_tokens_total=user_id",
    )
    most_label_values: int = field(
        20,
        "values",
        "Values that a label of more_labels may have, the biggest first; who has a series keeps it, the others are "
        "`_OTHER`.",
        ge=1,
    )
    top_users: int = field(
        0,
        "users",
        "So many users, those who spent most tokens in 24 hours, are in dify_top_user_tokens, keys by requests in "
        "dify_top_key_requests; 0: neither is there.",
        ge=0,
        le=1000,
    )
