"""The demo as a new user meets it: numbers within seconds, of every statistic, growing, and a clean end."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
from pathlib import Path

import httpx
import pytest

from collector.faces.statistics.table import STATISTICS as ALL
from tests.servers.ports import free_port
from tests.typing_it import PROGRAM, environment, typed

STATISTICS = [statistic.path for statistic in ALL]


@pytest.fixture
def ports() -> tuple[str, str]:
    """Two addresses that nobody listens on."""
    return f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"


def line_of(ports: tuple[str, str], *more: str) -> list[str]:
    return [
        "demo",
        "--days",
        "1",
        "--listen",
        ports[0],
        "--dify-listen",
        ports[1],
        "--tap-listen",
        "127.0.0.1:0",
        *more,
    ]


def has_numbers(base: str, path: str) -> bool:
    """Whether a statistic has any; of one app, for any of the apps."""
    apps = [row["app_id"] for row in httpx.get(f"{base}apps", params={"since": "3d"}, timeout=60).json()["rows"]]
    for place in (path.replace("{id}", app) for app in apps) if "{id}" in path else [path]:
        answer = httpx.get(base + place, params={"since": "3d"}, timeout=60).json()
        if any(row[name] for row in answer["rows"] for name in answer["units"]):
            return True
    return False


def test_it_ends_by_itself_and_says_what_it_counted(tmp_path: Path, ports: tuple[str, str]):
    said = typed(*line_of(ports, "--for", "4s", "--store", "kept.duckdb"), at=tmp_path)

    assert (said.code, said.out) == (0, "")
    *_, last = lines = said.err.splitlines()
    assert lines[0] == f"simulated Dify   http://{ports[1]}   1 day of past, and traffic that goes on"
    assert f"http://{ports[0]}/ " in lines[1]
    assert f"http://{ports[0]}/docs" in lines[2]
    assert int(re.fullmatch(r"in the end  ([\d,]+) runs, .* tokens", last)[1].replace(",", "")) > 0
    assert not re.search("(?i)warning|error|traceback", said.err)
    assert (tmp_path / "kept.duckdb").exists()


def test_numbers_grow_and_ctrl_c_ends_it(tmp_path: Path, ports: tuple[str, str]):
    process = subprocess.Popen(
        [*PROGRAM, *line_of(ports)],
        cwd=tmp_path,
        env=environment(TMPDIR=str(tmp_path)),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    counted = []
    for line in process.stderr:
        if line.startswith("after"):
            counted.append([int(number.replace(",", "")) for number in re.findall(r" ([\d,]+) [a-z]", line)])
        if len(counted) == 2:
            break
    asked = typed("query", "runs", "--json", "--at", ports[0], at=tmp_path)
    without_numbers = [path for path in STATISTICS if not has_numbers(f"http://{ports[0]}/api/v1/", path)]
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=60)

    assert len(counted[0]) == 4
    assert sum(counted[0]) < sum(counted[1])
    assert asked.json["rows"][0]["runs"] > 0
    assert process.returncode == 0
    assert without_numbers == []
    assert "in the end" in rest
    assert "Traceback" not in rest
    assert list(tmp_path.iterdir()) == []


def test_a_port_in_use_is_one_line(tmp_path: Path, ports: tuple[str, str]):
    host, _, port = ports[1].partition(":")
    with socket.create_server((host, int(port))):
        said = typed(*line_of(ports), at=tmp_path)
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert f"--dify-listen: cannot listen on {ports[1]}" in said.err


def test_a_port_of_the_tap_in_use_is_said_and_ends_it(tmp_path: Path, ports: tuple[str, str]):
    with socket.create_server(("127.0.0.1", 0)) as door:
        taken = f"127.0.0.1:{door.getsockname()[1]}"
        said = typed(*line_of(ports, "--tap-listen", taken), at=tmp_path)
    assert said.code == 2
    assert f"cannot listen on {taken}" in said.err
    assert "Traceback" not in said.err
