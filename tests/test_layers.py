"""Who imports whom: the rooms and what each may know, read from the imports themselves.

Rooms meet in `app.py` through plain callables. An arrow that points back, or sideways, fails here with file and line.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGE = "collector"

FOUNDATION = (
    *("clock", "errors", "period", "failures", "fields", "quirks", "records", "rollups", "wire", "ledger"),
    *("payers", "payer_file", "bill_lines", "deliveries"),
    *("access", "keyring"),
    *("settings", "posting", "logs", "running"),
)
"""Each knows only those before it."""

MAY_KNOW: dict[str, frozenset[str]] = {
    **{room: frozenset(FOUNDATION[:place]) for place, room in enumerate(FOUNDATION)},
    **{room: frozenset(FOUNDATION) for room in ("pull", "tap", "store", "measures", "demo")},
    "billing": frozenset({*FOUNDATION, "measures"}),
    "reconcile": frozenset({*FOUNDATION, "measures"}),
    "reports": frozenset({*FOUNDATION, "measures", "reconcile"}),
    "report_post": frozenset({*FOUNDATION, "measures", "reconcile", "reports"}),
    "faces": frozenset({*FOUNDATION, "measures", "billing", "reconcile", "reports", "report_post"}),
    "ingest": frozenset({*FOUNDATION, "tap"}),
    "tapping": frozenset({*FOUNDATION, "tap"}),
    "companion": frozenset(FOUNDATION),
    "collect": frozenset({*FOUNDATION, "pull", "tap", "store"}),
    "schedule": frozenset({*FOUNDATION, "collect"}),
    "trend": frozenset(FOUNDATION),
    "terminal": frozenset({*FOUNDATION, "trend"}),
    "bill_paper": frozenset({*FOUNDATION, "terminal", "trend"}),
    "bill_post": frozenset(FOUNDATION),
    "budget_post": frozenset(FOUNDATION),
    "paying": frozenset(FOUNDATION),
    "backfill": frozenset(FOUNDATION),
}
"""Room -> the rooms it may know. A new room is a new row here, and in the picture of who imports whom."""

ABOVE_ALL = (
    "sources",
    "checks",
    "standing",
    "health",
    "disk",
    "reporting",
    "retention",
    "web_server",
    "money",
    "itself",
    "app",
    "commands",
    "keys",
    "bills",
    "report_files",
    "copies",
    "demonstration",
    "cli",
    "__main__",
)
"""The places where parts meet: each may know everything before it."""

KEEPERS = {"duckdb": {"store"}, "typer": {"options", "cli_bill", "cli"}, "apscheduler": {"schedule"}}
"""Libraries that one room keeps to itself, so that it can be swapped."""


def modules(root: Path) -> Iterator[tuple[Path, str]]:
    """Every module of the package, with the room it belongs to."""
    for file in sorted((root / PACKAGE).rglob("*.py")):
        room = file.relative_to(root / PACKAGE).parts[0].removesuffix(".py")
        if room != "__init__":
            yield file, room


def imports(file: Path, source: str) -> Iterator[tuple[str, int]]:
    """The dotted names a module imports, at whatever depth, with their lines; relative ones made absolute."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = _absolute(file, node)
            names = [f"{origin}.{alias.name}" for alias in node.names] if origin == PACKAGE else [origin]
            yield from ((name, node.lineno) for name in names)


def _absolute(file: Path, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    around = file.relative_to(ROOT).parts[: -node.level]
    return ".".join([*around, *([node.module] if node.module else [])])


def may_know(room: str) -> frozenset[str]:
    """The rooms that may stand in a room's imports, itself among them."""
    if room in ABOVE_ALL:
        return frozenset({*MAY_KNOW, *ABOVE_ALL[: ABOVE_ALL.index(room) + 1]})
    return MAY_KNOW[room] | {room}


def faults(file: Path, room: str, source: str) -> Iterator[str]:
    """Every import of a module that its room may not have."""
    for name, line in imports(file, source):
        at = f"{file.relative_to(ROOT)}:{line}"
        first, _, rest = name.partition(".")
        known = rest.partition(".")[0]
        if first == PACKAGE and known and not known.startswith("__") and known not in may_know(room):
            yield f"{at}: {room} may not know {known}"
        if first in KEEPERS and room not in KEEPERS[first]:
            yield f"{at}: only {', '.join(KEEPERS[first])} may know {first}"


def test_every_arrow_points_forward():
    found = [fault for file, room in modules(ROOT) for fault in faults(file, room, file.read_text())]
    assert not found, "\n".join(["", *found])


def test_every_room_has_its_row():
    rooms = {room for _, room in modules(ROOT)}
    assert rooms <= {*MAY_KNOW, *ABOVE_ALL}, "a room without a row in MAY_KNOW"


def test_no_room_knows_itself_by_a_detour():
    order = [*FOUNDATION, "pull", "tap", "store", "measures", "demo", "billing", "reconcile"]
    order += ["reports", "report_post", "faces", "ingest"]
    order += [
        "tapping",
        "companion",
        "collect",
        "schedule",
        "trend",
        "terminal",
        "bill_paper",
        "bill_post",
        "budget_post",
        "paying",
        "backfill",
    ]
    assert set(order) == set(MAY_KNOW)
    assert all(MAY_KNOW[room] <= set(order[:place]) for place, room in enumerate(order))
    assert all(may_know(one) < may_know(following) for one, following in pairwise(ABOVE_ALL))


@pytest.mark.parametrize(
    ("room", "source", "fault"),
    [
        ("pull", "from collector.store import Store", "pull may not know store"),
        ("pull", "from collector import store", "pull may not know store"),
        ("pull", "import collector.store.tables", "pull may not know store"),
        ("pull", "from ..store import tables", "pull may not know store"),
        ("pull", "def late():\n    from collector.tap import sse", "pull may not know tap"),
        ("faces", "from collector.store import Store", "faces may not know store"),
        ("errors", "from collector.records import Run", "errors may not know records"),
        ("faces", "import duckdb", "only store may know duckdb"),
        ("collect", "from collector.app import App", "collect may not know app"),
    ],
)
def test_an_arrow_that_points_back_is_seen(room: str, source: str, fault: str):
    (found,) = faults(ROOT / PACKAGE / room / "x.py", room, source)
    assert fault in found


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("faces", "from collector.measures.measure import Measure"),
        ("store", "import duckdb\nfrom . import tables\nfrom collector.records import Run"),
        ("app", "from collector import __version__, faces\nimport collector"),
        ("cli", "from collector import app\nimport typer"),
    ],
)
def test_an_arrow_that_points_forward_is_none_of_its_business(room: str, source: str):
    assert not list(faults(ROOT / PACKAGE / room / "x.py", room, source))
