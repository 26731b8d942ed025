"""Whatever is written into a URL: an answer or a problem, never a broken service."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector.faces.rest import application
from collector.faces.rest_models import Asked
from collector.measures.catalogue import CATALOGUE
from tests.builders import NOON, a_call, a_message, a_run

NAMES = [*(measure.name for measure in CATALOGUE), *(dimension.name for dimension in CATALOGUE.dimensions), "time"]
WRITTEN = ["", "1", "-1", "7d", "now", "2026-11", "day", "hour", "zero", "true", "csv", "Asia/Kathmandu", "app:shop"]
written = st.one_of(
    st.sampled_from(WRITTEN),
    st.sampled_from(NAMES),
    st.builds("{}:{}".format, st.sampled_from(NAMES), st.sampled_from(WRITTEN)),
    st.builds("!{}:{}".format, st.sampled_from(NAMES), st.text(max_size=5)),
    st.text(max_size=20),
)
questions = st.lists(st.tuples(st.sampled_from([*Asked.model_fields]), written), max_size=4)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(measure=st.sampled_from([measure.name for measure in CATALOGUE]), parts=questions)
def test_any_question_has_an_answer_or_a_problem(facts, app, measure, parts):
    facts.clear()
    facts.put(a_run(), a_call(), a_message())

    answer = asyncio.run(get(app, [("measure", measure), *parts]))

    assert answer.status_code in (200, 400), answer.text
    if answer.status_code == 400:
        assert answer.json()["field"] in Asked.model_fields


@pytest.fixture
def app(facts):
    """Made once for all questions: it takes longer than most of them."""
    return application(facts.rows, lambda: NOON + timedelta(hours=1))


async def get(app, params):
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://collector") as client:
        return await client.get("/api/v1/query", params=httpx.QueryParams(params))
