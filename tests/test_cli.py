"""The command as a new user meets it: what it says where, how it ends, and that a mistake costs one line."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import closing
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from collector.records import CONSOLE, SetAside
from collector.store import open_store
from tests.builders import NOON, a_call, a_run
from tests.typing_it import CAPTURED, PROGRAM, Command, environment, typed

STREAM, NODES = CAPTURED / "chat-messages.sse", CAPTURED / "node-executions.json"
FULL = Path("/dev/full")


@pytest.fixture
def dify_metric(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command, in an empty directory."""
    monkeypatch.chdir(tmp_path)
    return Command(capsys)


class TestIngest:
    def test_a_captured_stream_is_one_run_four_nodes_and_one_call(self, dify_metric: Command):
        said = dify_metric("ingest", STREAM, "--store", "t.duckdb", "--json")
        assert (said.code, said.json["changed"], said.json["known"], said.json["failures"]) == (0, 0, 0, {})

        with closing(open_store("t.duckdb", read_only=True)) as store:
            assert store.rows("SELECT status, elapsed_seconds, steps FROM run") == [("succeeded", 4.586759, 4)]
            assert store.rows("SELECT count(*) FROM node_execution") == [(4,)]
            assert store.rows(
                "SELECT model_name, model_provider, input_tokens, output_tokens, time_to_first_token_seconds, "
                "latency_seconds FROM model_call"
            ) == [("qwen2.5:14b", "langgenius/ollama/ollama", 103, 243, 0.297, 3.909)]

    def test_reading_it_again_changes_nothing(self, dify_metric: Command):
        first = dify_metric("ingest", STREAM, "--store", "t.duckdb", "--json").json
        assert dify_metric("ingest", STREAM, STREAM, "--store", "t.duckdb", "--json").json == {
            **first,
            "new": 0,
            "known": first["new"],
        }
        assert "known" in dify_metric("ingest", STREAM, "--store", "t.duckdb").out

    def test_a_node_list_is_one_call_of_a_model_not_known(self, dify_metric: Command):
        given = ("--run-id", "r1", "--app-id", "shop", "--store", "t.duckdb")
        assert dify_metric("ingest", NODES, *given).code == 0

        with closing(open_store("t.duckdb", read_only=True)) as store:
            assert store.rows(
                "SELECT input_tokens, output_tokens, round(latency_seconds, 3), model_name, run_id, app_id "
                "FROM model_call"
            ) == [(1671, 25, 2.388, None, "r1", "shop")]

    def test_a_wrong_file_among_good_ones_stores_nothing(self, dify_metric: Command, tmp_path: Path):
        said = dify_metric("ingest", STREAM, "nofile", "--store", "t.duckdb")
        assert said.code == 2
        assert not (tmp_path / "t.duckdb").exists()

    def test_what_could_not_be_read_is_named_and_is_a_failure(self, dify_metric: Command, tmp_path: Path):
        runs = [{"id": name, "status": "succeeded", "elapsed_time": 1, "total_tokens": 1} for name in ("a", "b")]
        runs[1]["elapsed_time"] = "soon"
        (tmp_path / "runs.json").write_text(json.dumps({"data": runs}))
        said = dify_metric("ingest", "runs.json", "--app-id", "shop", "--json")

        assert (said.code, said.json["new"], said.json["failures"]) == (1, 1, {"elapsed_time": 1})
        assert said.err == "set aside: elapsed_time (1 times)\n"


class TestQuery:
    @pytest.fixture(autouse=True)
    def _a_store(self, dify_metric: Command) -> None:
        assert dify_metric("ingest", STREAM, "--store", "t.duckdb").code == 0

    def test_an_answer_as_json(self, dify_metric: Command):
        said = dify_metric("query", "tokens", "--by", "model_name", "--json", "--store", "t.duckdb")
        assert said.code == 0
        assert said.json["rows"] == [{"model_name": "qwen2.5:14b", "tokens": 346}]
        assert {"period", "timezone", "grain", "watermark", "flags", "units"} <= set(said.json)

    def test_an_answer_for_people_and_the_words_beside_it(self, dify_metric: Command):
        said = dify_metric("query", "tokens", "--by", "model_name", "--tz", "Asia/Shanghai", "--store", "t.duckdb")
        assert said.out == "model_name   tokens\nqwen2.5:14b     346\n"
        assert said.err.startswith("1 row · 2026-05-08 14:01 to ")

    def test_several_measures_filters_and_steps(self, dify_metric: Command):
        line = ("query", "runs,failed_runs", "--where", "status:succeeded", "--grain", "day", "--since", "2026-05")
        said = dify_metric(*line, "--until", "2026-05", "--store", "t.duckdb", "--json")
        assert said.json["rows"] == [{"time": "2026-05-08T00:00:00+00:00", "runs": 1, "failed_runs": 0}]

    def test_a_comparison_the_rest_the_whole_and_how_it_went(self, dify_metric: Command):
        line = ("query", "tokens", "--by", "model", "--grain", "day", "--since", "2026-05", "--until", "2026-05")
        more = ("--compare", "last_year", "--top", "1", "--other", "--totals", "--fill", "zero", "--store", "t.duckdb")
        said = dify_metric(*line, *more)

        assert said.code == 0
        assert said.out.splitlines()[-1].split() == ["total", "–", "346", "0", "–"]
        assert "compared with 2025-05-01 00:00 to 2025-06-01 00:00\n" in said.err
        assert "tokens qwen2.5:14b  ▁▁▁▁▁▁▁█▁" in said.err

    def test_pages(self, dify_metric: Command):
        line = ("query", "node_executions", "--by", "node_type", "--limit", "2", "--json", "--store", "t.duckdb")
        first = dify_metric(*line).json
        second = dify_metric(*line, "--cursor", first["next_cursor"]).json

        assert [row["node_type"] for row in first["rows"] + second["rows"]] == [
            "answer",
            "knowledge-retrieval",
            "llm",
            "start",
        ]

    @pytest.mark.parametrize("form", ["csv", "parquet", "arrow", "json"])
    def test_a_file_in_every_format(self, dify_metric: Command, tmp_path: Path, form: str):
        line = ("query", "tokens", "--by", "model", "--store", "t.duckdb", "--format", form)
        assert dify_metric(*line, "--output", "answer").err == "wrote answer\n"
        content = (tmp_path / "answer").read_bytes()

        match form:
            case "csv":
                assert content == b"model_name,tokens\r\nqwen2.5:14b,346\r\n"
            case "json":
                assert json.loads(content)["rows"] == [{"model_name": "qwen2.5:14b", "tokens": 346}]
            case "parquet":
                assert pq.read_table(tmp_path / "answer").to_pylist() == [{"model_name": "qwen2.5:14b", "tokens": 346}]
            case _:
                assert pa.ipc.open_stream(content).read_all().num_rows == 1

    @pytest.mark.parametrize(
        ("line", "told"),
        [
            (("tokens", "--compare", "never"), "previous, last_week"),
            (("tokens", "--cursor", "x"), "no cursor"),
            (("tokens", "--other"), "needs top"),
            (("tokens", "--format", "xml"), "format"),
            (("token",), "no measure 'token'; did you mean 'tokens'?"),
            (("tokens", "--by", "modle"), "no dimension 'modle'"),
            (("tokens", "--since", "yesterdya"), "yesterdya"),
            (("tokens", "--tz", "Mars/Base"), "Mars/Base"),
            (("tokens", "--grain", "fortnight"), "fortnight"),
            (("tokens", "--limit", "0"), "limit"),
            (("tokens", "--top", "many"), "invalid value for '--top'"),
            (("tokens", "--stor", "t"), "no such option: --stor"),
        ],
    )
    def test_a_question_that_is_none_is_misuse(self, dify_metric: Command, line: tuple[str, ...], told: str):
        said = dify_metric("query", *line, "--store", "t.duckdb")
        assert (said.code, said.out) == (2, "")
        assert_one_line(said.err, told)


def assert_one_line(words: str, told: str) -> None:
    """Whatever went wrong costs one line, which says what."""
    assert told in words
    assert words.startswith("dify-metric: ")
    assert words.count("\n") == 1


class TestMistakes:
    @pytest.mark.parametrize(
        ("line", "code", "told"),
        [
            (("qurey",), 2, "no such command 'qurey'. Did you mean 'query'?"),
            (("ingest",), 2, "missing argument 'FILE…'"),
            (("ingest", "nofile"), 2, "nofile: cannot be read: No such file or directory"),
            (("ingest", "."), 2, "cannot be read: Is a directory"),
            (("ingest", NODES), 2, "node-executions.json: a list of node executions does not say its run_id"),
            (("query", "tokens", "--store", "none.duckdb"), 1, "none.duckdb: there is no such file to read"),
            (("query", "tokens", "--store", "no/where.duckdb"), 1, "there is no directory no"),
            (("query", "tokens", "--store", "notes.txt"), 1, "it is no DuckDB database"),
            (("query", "tokens", "--at", "127.0.0.1:9"), 1, "no answer from http://127.0.0.1:9"),
            (("query", "tokens", "--at", "nonsense port"), 1, "no answer from http://nonsense port"),
            (("ingest", "notes.txt"), 1, "notes.txt: body: wanted JSON"),
            (("ingest", "cut.json"), 1, "cut.json: body: wanted JSON"),
            (("pull",), 2, "no Dify to pull from: set dify_url"),
            (("pull", "--dify-url", "dify"), 2, "dify_url: wanted a URL that starts with http"),
            (("serve", "--listen", "9180"), 2, "listen: wanted host:port, got '9180' from command line --listen"),
            (("check", "--config", "none.toml"), 2, "none.toml: cannot be read"),
            (("demo", "--for", "soon"), 2, "soon"),
            (("demo", "--days", "0"), 2, "--days"),
            (("demo", "--dify-listen", "9182"), 2, "--dify-listen: wanted host:port"),
        ],
        ids=lambda part: " ".join(map(str, part)) if isinstance(part, tuple) else None,
    )
    def test_costs_one_line(self, dify_metric: Command, tmp_path: Path, line: tuple[object, ...], code: int, told: str):
        (tmp_path / "notes.txt").write_text("notes\n" * 1000)
        (tmp_path / "cut.json").write_bytes(NODES.read_bytes()[:500])
        said = dify_metric(*line)

        assert (said.code, said.out) == (code, "")
        assert_one_line(said.err, told)

    def test_a_wrong_setting_names_its_place(self, dify_metric: Command, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("DIFY_METRIC_RETRIES", "many")
        said = dify_metric("check")
        assert said.code == 2
        assert_one_line(said.err, "environment variable DIFY_METRIC_RETRIES; write for example DIFY_METRIC_RETRIES=4")

    def test_a_store_of_a_newer_version_is_refused(self, dify_metric: Command):
        with closing(open_store("t.duckdb")) as store:
            store.rows("INSERT INTO schema_version VALUES (999, 'the future', now())")
        for line in (("query", "tokens"), ("ingest", STREAM)):
            said = dify_metric(*line, "--store", "t.duckdb")
            assert said.code == 1
            assert_one_line(said.err, "of a newer dify-metric")

    def test_a_store_held_by_something_else_says_by_whom(self, tmp_path: Path, free_port: int):
        path = tmp_path / "t.duckdb"
        open_store(path).close()
        with duckdb.connect(str(path)):
            said = typed("query", "tokens", "--store", path, "--listen", f"127.0.0.1:{free_port}", at=tmp_path)
        assert said.code == 1
        assert_one_line(said.err, f"process {os.getpid()} holds the file")
        assert f"no answer from http://127.0.0.1:{free_port}" in said.err


class TestAsAProcess:
    def test_help_names_every_command(self, tmp_path: Path):
        said = typed("--help", at=tmp_path)
        assert (said.code, said.err) == (0, "")
        for command in ("serve", "pull", "ingest", "query", "check", "generate", "demo"):
            assert f" {command} " in said.out

    def test_its_version(self, tmp_path: Path):
        said = typed("--version", at=tmp_path)
        assert (said.code, said.out.split()[0]) == (0, "dify-metric")

    def test_without_arguments_it_shows_its_help(self, tmp_path: Path):
        said = typed(at=tmp_path)
        assert said.code == 2
        assert "Usage: dify-metric" in said.out + said.err

    def test_a_reader_who_has_read_enough_is_no_error(self, tmp_path: Path):
        with closing(open_store(tmp_path / "t.duckdb")) as store:
            store.put([a_run()])
            store.put([a_call(id=f"n{number}", run_id=f"a-long-run-id-{number}") for number in range(4000)])
        line = [*PROGRAM, "query", "tokens", "--by", "run_id", "--store", "t.duckdb"]
        process = subprocess.Popen(
            line, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        with process:
            assert process.stdout is not None
            assert process.stderr is not None
            assert "run_id" in process.stdout.readline()
            process.stdout.close()
            assert "Traceback" not in process.stderr.read()
        assert process.returncode == 0

    @pytest.mark.skipif(not FULL.exists(), reason="no /dev/full here")
    def test_a_full_disk_is_one_line(self, tmp_path: Path):
        with closing(open_store(tmp_path / "t.duckdb")) as store:
            store.put([a_run()])
        line = [*PROGRAM, "query", "tokens", "--json", "--store", "t.duckdb"]
        with FULL.open("w") as full:
            ended = subprocess.run(
                line, cwd=tmp_path, env=environment(), stdout=full, stderr=subprocess.PIPE, text=True, timeout=60
            )
        assert ended.returncode == 1
        assert_one_line(ended.stderr, "No space left on device")


class TestCheck:
    def test_what_could_not_be_read_is_told(self, dify_metric: Command):
        told = {"source": CONSOLE, "origin": "dify", "app_id": "shop", "problem": "id: wanted text", "seen_at": NOON}
        with closing(open_store("t.duckdb")) as store:
            store.put([], [SetAside(stream=s, key=k, **told) for s, k in (("runs", "r1"), ("runs", "r2"))])

        said = dify_metric("check", "--store", "t.duckdb", "--json")

        (check,) = [each for each in said.json["checks"] if each["check"] == "set aside"]
        assert check["is_well"]
        assert check["result"].startswith("2 of runs could not be read, lastly runs r1: id: wanted text")

    def test_shows_what_is_in_force_and_no_secret(self, dify_metric: Command, tmp_path: Path):
        (tmp_path / "dify-metric.toml").write_text('ingest_token = "s3cr3t-token"\nretries = 2\nstore = "t.duckdb"\n')
        for line in (("check",), ("check", "--json")):
            said = dify_metric(*line)
            assert said.code == 0
            assert "s3cr3t" not in said.out + said.err
        told = {each["name"]: each for each in said.json["settings"]}
        assert (told["retries"]["value"], told["retries"]["source"]) == ("2", "dify-metric.toml line 2")
        assert told["ingest_token"]["value"] == "********"

    def test_a_store_that_is_not_there_yet_is_well(self, dify_metric: Command, tmp_path: Path):
        said = dify_metric("check", "--json")
        assert said.code == 0
        assert said.json["checks"][0]["result"] == "not there yet; the first facts make it"
        assert list(tmp_path.iterdir()) == []

    def test_says_what_the_store_holds(self, dify_metric: Command):
        dify_metric("ingest", STREAM)
        (store, dify) = dify_metric("check", "--json").json["checks"]
        assert store["result"] == "1 run, 1 message, 1 model call, 346 tokens"
        assert (dify["is_well"], dify["result"]) == (True, "not set: nothing is pulled")

    def test_what_is_not_well_is_a_failure(self, dify_metric: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("DIFY_METRIC_DIFY_TOKEN", "s3cr3t-token")
        monkeypatch.setenv("DIFY_METRIC_RETRIES", "0")
        (tmp_path / "notes.duckdb").write_text("notes\n" * 1000)
        said = dify_metric("check", "--dify-url", "http://127.0.0.1:9", "--store", "notes.duckdb", "--json")

        assert said.code == 1
        assert [each["is_well"] for each in said.json["checks"]] == [False, False]
        assert "s3cr3t" not in said.out + said.err


def test_generate_writes_what_it_says(dify_metric: Command, tmp_path: Path):
    said = dify_metric("generate", "--to", "made")
    assert said.code == 0
    written = {line.removeprefix("wrote ") for line in said.err.splitlines()}
    assert written == {str(path.relative_to(tmp_path)) for path in (tmp_path / "made").rglob("*") if path.is_file()}
    assert "made/measures.md" in written
