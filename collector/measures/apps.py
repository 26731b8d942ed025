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

MEASURES = (APPS,)
