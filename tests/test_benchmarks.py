"""A figure is the line it is printed as, and what one run measured stays beside what it was measured with."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.benchmarks import __main__ as runner
from tests.benchmarks.figure import Figure, interleaved, parse
from tests.benchmarks.table import BEGIN, END, table, with_table
from tests.conftest import ROOT

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "figure",
    [
        Figure("sse.events_ratio", 8.4, "x", "httpx-sse + json"),
        Figure("tap.kb_per_stream", 5.25, "KB"),
        Figure("store.load_ratio", 221000, "rows/s", "DuckDB Parquet COPY of the same rows"),
        Figure("tiny", 1e-07),
    ],
)
def test_a_figure_is_read_back_from_its_line(figure: Figure):
    assert parse(f"{figure}\n") == figure


@pytest.mark.parametrize(
    "line", ["", "round 3: 8.4", "figure a b x beside c", "figure a 1 x", "a figure a 1 x beside c"]
)
def test_any_other_line_is_no_figure(line: str):
    assert parse(line) is None


def test_sides_take_turns_and_their_medians_count():
    order: list[str] = []
    values = {"ours": iter([1.0, 9.0, 2.0]), "theirs": iter([4.0, 4.0, 5.0])}

    def side(name: str):
        def measure() -> float:
            order.append(name)
            return next(values[name])

        return measure

    assert interleaved([side("ours"), side("theirs")], rounds=3) == [2.0, 4.0]
    assert order == ["ours", "theirs"] * 3


def test_one_room_is_chosen_by_module_or_by_figure():
    kept = {"sse_reading": runner.entry([Figure("sse.events_ratio", 8)], NOON)}
    kept["relay"] = runner.entry([Figure("tap.added_p99_ratio", 1.1)], NOON)
    names = ["relay", "sse_reading", "store_load"]
    assert runner.chosen(names, "", kept) == names
    assert runner.chosen(names, "store", kept) == ["store_load"]
    assert runner.chosen(names, "tap", kept) == ["relay"]
    assert runner.chosen(names, "nothing", kept) == []


def test_figures_are_kept_with_what_they_were_measured_with():
    kept = runner.entry([Figure("sse.events_ratio", 8.4)], NOON)
    assert kept["date"] == "2026-11-20"
    assert kept["cores"] >= 1
    assert kept["versions"]["duckdb"]
    assert kept["figures"] == [{"name": "sse.events_ratio", "value": 8.4, "unit": "x", "peer": "–"}]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of benchmarks of our own, run as the real ones are."""
    package = tmp_path / "trials" / "speed"
    package.mkdir(parents=True)
    for around in (package, package.parent):
        (around / "__init__.py").touch()
    return package


def test_a_benchmark_that_fails_keeps_its_older_figures(folder: Path, capfd: pytest.CaptureFixture[str]):
    (folder / "good.py").write_text("print('figure a.b 2 x beside c')")
    (folder / "bad.py").write_text("print('figure d.e 3 x beside c')")
    assert runner.main("", folder) == 0
    (folder / "good.py").write_text("print('figure a.b 4 x beside a new peer')")
    (folder / "bad.py").write_text("print('figure d.e 9 x beside c')\nraise SystemExit(3)")
    assert runner.main("", folder) == 1
    kept = json.loads((folder / "results.json").read_text())
    assert [kept[name]["figures"][0]["value"] for name in ("good", "bad")] == [4, 3]
    assert "failed: bad (exit 3, 1 figures)" in capfd.readouterr().err


def test_a_benchmark_that_tells_no_figure_has_failed(folder: Path):
    (folder / "silent.py").write_text("print('all is well')")
    assert runner.main("", folder) == 1


def test_a_benchmark_that_is_not_there_is_named_with_those_that_are(folder: Path, capfd: pytest.CaptureFixture[str]):
    (folder / "good.py").write_text("")
    assert runner.main("speed", folder) == 1
    assert "no benchmark 'speed'; there are good" in capfd.readouterr().err


def test_the_table_of_the_readme_is_that_of_the_last_run():
    kept = json.loads((runner.HERE / "results.json").read_text())
    page = (ROOT / "README.md").read_text()
    assert with_table(page, kept) == page
    assert table(kept).count("\n") > 8


def test_a_row_says_what_was_measured_beside_what():
    kept = {
        "a": runner.entry(
            [Figure("tap.kb_per_stream", 5.25, "KB"), Figure("store.load_ratio", 0.97, "x", "COPY")], NOON
        )
    }
    *_, memory, load = table(kept).splitlines()
    assert memory.startswith("| the tap: memory of an open stream | – | 5.25 KB | less | 2026-11-20, ")
    assert "| COPY | 0.97× | more |" in load
    assert with_table(f"x {BEGIN} old {END} y", kept) == f"x {BEGIN}\n{table(kept)}\n{END} y"
    with pytest.raises(ValueError, match="measured"):
        with_table("a page", kept)
