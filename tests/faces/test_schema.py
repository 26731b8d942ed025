"""Whatever fits the OpenAPI document is answered as the document says: no fault of ours, no status it does not name."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode, checks, openapi

from collector.faces.rest import application
from collector.faces.statistics.table import STATISTICS
from tests.faces.served import NOW
from tests.faces.worked_out import put_early, put_late
from tests.measures.facts import Facts

CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
STORES: list[Facts] = []
"""What is asked: a database of facts, while a test runs."""

DOCUMENT = openapi.from_asgi("/openapi.json", application(lambda *asked: STORES[-1].rows(*asked), lambda: NOW))
OPERATIONS = [found.ok() for found in DOCUMENT.get_all_operations()]

SENSE = st.none() | st.fixed_dictionaries(
    {"measure": st.sampled_from(["runs,messages", "cost", "active_users", "response_time", "knowledge_documents"])},
    optional={
        "since": st.sampled_from(["2026-10-31", "30d", "all", "2026-11"]),
        "until": st.sampled_from(["2026-11-02", "now"]),
        "tz": st.sampled_from(["Asia/Shanghai", "America/New_York"]),
        "grain": st.sampled_from(["none", "hour", "day", "month"]),
        "by": st.sampled_from(["app", "source", "app_mode,workspace"]),
        "where": st.sampled_from(["app:shop", "!app:chat", "app_name~a", "app^s", "source:console"]),
        "fill": st.sampled_from(["zero", "null"]),
        "order": st.sampled_from(["-runs", "tokens", "-time", "app"]),
        "top": st.integers(1, 3),
        "limit": st.integers(1, 5),
        "other": st.booleans(),
        "totals": st.booleans(),
        "compare": st.sampled_from(["previous", "last_month"]),
        "search": st.sampled_from(["a", "客"]),
        "format": st.sampled_from(["json", "csv", "parquet", "arrow"]),
    },
)
"""Questions that have answers, most of them; else what the document lets one write."""

ASKED = [
    *((operation, GenerationMode.POSITIVE) for operation in OPERATIONS),
    *((operation, GenerationMode.NEGATIVE) for operation in OPERATIONS if [*operation.query]),
]
"""Every operation as it should be asked, and, where it has parameters, as it should not be."""


@pytest.fixture(scope="module")
def _a_store(database: Facts):
    database.clear()
    put_early(database)
    put_late(database)
    STORES.append(database)
    yield
    STORES.clear()
    database.clear()


@pytest.mark.usefixtures("_a_store")
@pytest.mark.parametrize(("operation", "mode"), ASKED, ids=lambda each: getattr(each, "label", None) or each.value)
def test_the_document_keeps_its_word(operation: Any, mode: GenerationMode):
    names = {parameter.name for parameter in operation.query}

    @settings(max_examples=15, deadline=None, suppress_health_check=[*HealthCheck])
    @given(
        case=operation.as_strategy(generation_mode=mode), app=st.sampled_from(["shop", "chat", "nowhere"]), sense=SENSE
    )
    def keeps_its_word(case: Any, app: str, sense: dict[str, object] | None) -> None:
        if mode is GenerationMode.POSITIVE and case.path_parameters:
            case.path_parameters["id"] = app
        if mode is GenerationMode.POSITIVE and sense is not None:
            case.query = {name: value for name, value in sense.items() if name in names}
        case.call_and_validate(checks=CHECKS)

    keeps_its_word()


def test_every_statistic_is_in_the_document():
    paths = {operation.path for operation in OPERATIONS}

    assert {f"/api/v1/{statistic.path}" for statistic in STATISTICS} <= paths
