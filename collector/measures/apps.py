"""Measures of apps: what exists in Dify now."""

from __future__ import annotations

from collector.measures.measure import Kind, Measure
from collector.records import App

APPS = Measure(
    name="apps",
    kind=Kind.COUNT,
    record=App,
    where="deleted_at IS NULL",
    at=None,
    unit="apps",
    title="Apps",
    title_zh="应用数",
    help="Apps that exist in Dify; of now, whatever the period.",
)

MISSING_RUNS = Measure(
    name="missing_runs",
    kind=Kind.TOTAL,
    record=App,
    column="missing_runs",
    at=None,
    unit="runs",
    title="Missing runs",
    title_zh="缺少的运行",
    help="Runs that Dify counts and no listing, log or message brought, as of the last comparison of each app; of now, "
    "whatever the period.",
)

MEASURES = (APPS, MISSING_RUNS)
