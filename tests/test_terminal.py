"""What people see in a terminal: numbers under each other, nothing cut, nothing folded that is read as one."""

from __future__ import annotations

import io
import json
import re
import sys
from typing import Any

import pytest
from rich.cells import cell_len

from collector import terminal
from collector.errors import SettingsError

ID = "153e7c2a-26a2-40bd-ab12-87fff52ddf5d"
PERIOD = {"since": "2026-11-19T16:00:00+00:00", "until": "2026-11-20T16:00:00+00:00"}


class Tty(io.StringIO):
    """A stdout that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def at_width(monkeypatch: pytest.MonkeyPatch):
    """Shows an answer in a terminal of that width; the lines it draws."""

    def shown(width: int, answer: dict[str, Any]) -> list[str]:
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setattr(sys, "stdout", out := Tty())
        terminal.show_answer(answer)
        return [line.rstrip() for line in re.sub(r"\x1b\[\d*m", "", out.getvalue()).splitlines()]

    return shown


def an_answer(*rows: dict[str, Any], units: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    units = units or {"tokens": "tokens"}
    told = {"rows": rows, "period": PERIOD, "timezone": "Asia/Shanghai", "watermark": None, "flags": {}}
    return {**told, "units": units, **more}


def test_numbers_stand_under_each_other(at_width):
    units = {"tokens": "tokens", "cost": "currency", "mean_seconds": "seconds", "satisfaction": "ratio"}
    lines = at_width(
        80,
        an_answer(
            {"currency": "CNY", "tokens": 1234567, "cost": "12.500000000", "mean_seconds": 0.25, "satisfaction": 1.0},
            {"currency": "USD", "tokens": 5, "cost": "0.002130000", "mean_seconds": 1200.1, "satisfaction": None},
            units=units,
        ),
    )
    assert lines == [
        "                                             satisfaction",
        "currency     tokens      cost  mean_seconds         ratio",
        "CNY       1,234,567  12.50000          0.25             1",
        "USD               5   0.00213      1,200.10             –",
    ]


def test_chinese_names_take_the_room_they_take(at_width):
    lines = at_width(80, an_answer({"app_name": "客服助手", "tokens": 7}, {"app_name": "shop", "tokens": 12}))
    assert lines == ["app_name  tokens", "客服助手       7", "shop          12"]


def test_an_id_is_never_folded(at_width):
    row = {"app_id": ID, "app_name": "A research assistant with a name that goes on and on and on", "tokens": 123}
    for width in (60, 80, 140):
        lines = at_width(width, an_answer(row))
        assert any(ID in line for line in lines)
        assert all(cell_len(line) <= width for line in lines)


def test_what_does_not_fit_becomes_records_and_no_number_is_cut(at_width):
    row = {"app_id": ID, "run_id": ID, "model_name": "claude-3-5-sonnet", "tokens": 123456789}
    lines = at_width(80, an_answer(row, {**row, "model_name": None}))

    assert lines[:4] == [
        f"app_id      {ID}",
        f"run_id      {ID}",
        "model_name  claude-3-5-sonnet",
        "tokens      123,456,789",
    ]
    assert lines[4] == ""
    assert "model_name  –" in lines


def test_a_pipe_gets_everything_in_one_line(capsys: pytest.CaptureFixture[str]):
    row = {f"column_{number}": ID for number in range(20)}
    terminal.show_answer(an_answer({**row, "tokens": 1}))
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_no_rows_still_show_what_was_asked(capsys: pytest.CaptureFixture[str]):
    terminal.show_answer(an_answer())
    said = capsys.readouterr()
    assert (said.out, said.err.splitlines()[0]) == (
        "tokens\n",
        "0 rows · 2026-11-20 00:00 to 2026-11-21 00:00 · Asia/Shanghai",
    )


def test_instants_are_short_and_in_the_tables_zone(capsys: pytest.CaptureFixture[str]):
    days = [{"time": f"2026-11-{day}T00:00:00+08:00", "tokens": day} for day in (19, 20)]
    hours = [{"time": f"2026-11-20T{hour:02}:00:00+08:00", "last_complete_pull": PERIOD["since"]} for hour in (0, 1)]
    terminal.show_answer(an_answer(*days, watermark=PERIOD["until"]))
    terminal.show_answer(an_answer(*hours, units={"last_complete_pull": "instant"}))
    said = capsys.readouterr()

    assert said.out.splitlines() == [
        "time        tokens",
        "2026-11-19      19",
        "2026-11-20      20",
        "time              last_complete_pull",
        "2026-11-20 00:00  2026-11-20 00:00",
        "2026-11-20 01:00  2026-11-20 00:00",
    ]
    assert "complete until 2026-11-21 00:00" in said.err


def test_the_hour_that_comes_twice_is_told_apart(capsys: pytest.CaptureFixture[str]):
    steps = [{"time": f"2026-10-25T02:00:00+0{offset}:00", "tokens": 1} for offset in (2, 1)]
    terminal.show_answer(an_answer(*steps, timezone="Europe/Berlin"))
    assert [line.split("  ")[0] for line in capsys.readouterr().out.splitlines()[1:]] == [
        "2026-10-25 02:00 +0200",
        "2026-10-25 02:00 +0100",
    ]


def test_a_name_cannot_move_the_cursor(capsys: pytest.CaptureFixture[str]):
    terminal.show_answer(an_answer({"app_name": "\x1b[2J\x1b[31mshop\r\n[bold]x", "tokens": 1}))
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "[bold]x" in out
    assert len(out.splitlines()) == 2


def test_flags_are_told(capsys: pytest.CaptureFixture[str]):
    terminal.show_answer(an_answer({"tokens": 1}, flags={"unpriced": 1200, "usage_unknown": 0}))
    assert "flags: unpriced 1,200\n" in capsys.readouterr().err


def test_pulls_are_one_line_per_stream_and_fault(capsys: pytest.CaptureFixture[str]):
    pull = {"stream": "runs", "records": 1200, "parse_failures": 0, "error_class": None}
    terminal.show_pulls([pull, pull, {**pull, "records": 0, "error_class": "forbidden"}])
    assert capsys.readouterr().out.splitlines() == [
        "stream  apps  records  set aside  error",
        "runs       2    2,400          0",
        "runs       1        0          0  forbidden",
    ]


def test_json_is_for_people_on_a_terminal_and_one_line_elsewhere(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    terminal.show_json({"rows": [1]})
    assert capsys.readouterr().out == '{"rows": [1]}\n'
    monkeypatch.setattr(sys, "stdout", out := Tty())
    terminal.show_json({"rows": [1]})
    assert json.loads(out.getvalue()) == {"rows": [1]}
    assert out.getvalue().count("\n") > 1


def test_bars_are_drawn_on_a_terminal_only(capsys: pytest.CaptureFixture[str]):
    with terminal.progress() as tell:
        tell("runs", 1, 10)
    assert capsys.readouterr().err == ""


def test_the_rest_and_the_whole_stand_below(capsys: pytest.CaptureFixture[str]):
    rows = [{"time": f"2026-11-{day}T00:00:00+08:00", "app_id": "shop", "tokens": day} for day in (19, 20)]
    other = [{"time": "2026-11-20T00:00:00+08:00", "app_id": None, "tokens": 5}]
    totals = [{"time": None, "app_id": None, "tokens": 44}]
    terminal.show_answer(an_answer(*rows, other=other, totals=totals))
    said = capsys.readouterr()

    assert said.out.splitlines() == [
        "time        app_id  tokens",
        "2026-11-19  shop        19",
        "2026-11-20  shop        20",
        "2026-11-20  other        5",
        "total       –           44",
    ]
    assert "tokens shop  ██  19 to 20, last 20\n" in said.err


def test_a_comparison_says_with_what(capsys: pytest.CaptureFixture[str]):
    compared = {"since": PERIOD["since"], "until": PERIOD["until"], "flags": {"steps_left_out": 1}}
    terminal.show_answer(an_answer({"tokens": 1, "tokens_before": 2}, compared=compared, next_cursor="abc"))
    said = capsys.readouterr().err.splitlines()

    assert said[-3:] == [
        "compared with 2026-11-20 00:00 to 2026-11-21 00:00",
        "1 steps of that have no counterpart",
        "next page: --cursor abc",
    ]


def test_of_many_groups_no_trend_is_drawn(capsys: pytest.CaptureFixture[str]):
    days = [f"2026-11-{day}T00:00:00+08:00" for day in (19, 20)]
    terminal.show_answer(an_answer(*({"time": day, "app_id": f"a{n}", "tokens": n} for day in days for n in range(13))))
    assert "▁" not in capsys.readouterr().err


def test_a_file_format_is_not_written_onto_a_terminal(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stdout", Tty())
    with pytest.raises(SettingsError, match="--output"):
        terminal.write(b"PAR1\0", None)
