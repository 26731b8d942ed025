"""Whatever fits the OpenAPI document is answered as the document says: no fault of ours, no status it does not name."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import checks, openapi

from collector.faces.rest import application
from tests.faces.served import NOW
from tests.faces.worked_out import put_early, put_late
from tests.measures.facts import Facts

CHECKS = [
    checks.not_a_server_error,
    openapi.checks.status_code_conformance,
    openapi.checks.content_type_conformance,
    openapi.checks.response_headers_conformance,
    openapi.checks.response_schema_conformance,
]


@pytest.fixture(scope="module")
def document(database: Facts):
    """The document of a collector that has facts in it."""
    database.clear()
    put_early(database)
    put_late(database)
    yield openapi.from_asgi("/openapi.json", application(database.rows, lambda: NOW))
    database.clear()


schema = schemathesis.pytest.from_fixture("document")


@schema.parametrize()
@settings(
    max_examples=12,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[*HealthCheck],
)
def test_the_document_keeps_its_word(case):
    case.call_and_validate(checks=CHECKS)
