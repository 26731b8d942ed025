"""The models that nodes are set up with, for calls that failed before they could tell theirs.

What comes in are calls; what goes out are the same calls with provider and name from the graph their run ran. A
published version's graph never changes and is read once; a draft's is read for each run. Keeps models, not graphs.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeAlias

import msgspec

from collector.errors import ShapeError
from collector.ledger import Models, graph_models, provider_name
from collector.pull.database.connection import Look
from collector.pull.database.values import loose_json
from collector.records import ModelCall, NodeExecution

_VERSIONS_SQL = """
SELECT r.id::text, r.workflow_id::text, r.version FROM workflow_runs r WHERE r.id = ANY(%(ids)s::uuid[])
"""
_GRAPHS_SQL = "SELECT r.id::text, r.graph FROM workflow_runs r WHERE r.id = ANY(%(ids)s::uuid[])"
_GRAPHS_AT_ONCE, _KEPT = 50, 5000

_Version: TypeAlias = tuple[str, str]


class Graphs:
    """Looks models up, and remembers those of published versions."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self._known: OrderedDict[_Version, Models] = OrderedDict()

    def complete(self, records: list[NodeExecution | ModelCall]) -> None:
        """Fill in, in place, the model of calls that tell none."""
        calls = [
            (place, record)
            for place, record in enumerate(records)
            if isinstance(record, ModelCall) and record.model_name is None and record.run_id
        ]
        models = self._models_of({call.run_id for _, call in calls if call.run_id}) if calls else {}
        for place, call in calls:
            provider, name = models.get(call.run_id or "", {}).get(call.node_id or "", (None, None))
            records[place] = msgspec.structs.replace(
                call, model_provider=call.model_provider or provider_name(provider), model_name=name
            )

    def _models_of(self, runs: set[str]) -> dict[str, Models]:
        versions: dict[str, _Version] = {
            run: (run, "draft") if version == "draft" else (workflow, version)
            for run, workflow, version in self._look.rows(_VERSIONS_SQL, {"ids": sorted(runs)})
        }
        unknown = {version: run for run, version in versions.items() if version not in self._known}
        wanted = sorted(unknown.values())
        for start in range(0, len(wanted), _GRAPHS_AT_ONCE):
            ids = wanted[start : start + _GRAPHS_AT_ONCE]
            for run, graph in self._look.rows(_GRAPHS_SQL, {"ids": ids}):
                self._known[versions[run]] = _models(graph)
        found = {run: self._known[version] for run, version in versions.items()}
        while len(self._known) > _KEPT:
            self._known.popitem(last=False)
        return found


def _models(graph: str | None) -> Models:
    try:
        return graph_models(loose_json(graph))
    except ShapeError:
        return {}
