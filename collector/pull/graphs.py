"""Graphs of workflows -> the models their nodes are set up with, for runs whose nodes do not name their model.

Comes in: a run, or what Dify told of one. Goes out: models by node. A graph is asked for once for each version.
"""

from __future__ import annotations

from collector.errors import NotFound, ShapeError
from collector.fields import Json, mapping, text
from collector.ledger import Models, graph_models
from collector.pull import endpoints
from collector.pull.console import Console
from collector.pull.parse import DRAFT
from collector.records import Run


class Graphs:
    """The graphs that one console has told."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._known: dict[tuple[str, str], Models] = {}  # by app and version

    async def of(self, run: Run) -> Models:
        """The models a run's nodes are set up with: asked once for each version of a workflow."""
        app_id = run.app_id or ""
        known = self._known.get((app_id, run.version or ""))
        if known is not None:
            return known
        try:
            return self.keep(app_id, await self._console.get(endpoints.RUN, app_id=app_id, run_id=run.id))
        except NotFound:
            return {}

    def keep(self, app_id: str, raw: Json) -> Models:
        """What a run says of the graph it followed."""
        try:
            models, version = graph_models(mapping(raw, "graph")), text(raw, "version")
        except ShapeError:
            return {}
        if version and version != DRAFT:
            self._known[app_id, version] = models
        return models
