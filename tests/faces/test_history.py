"""The time before counting began, for Prometheus: what promtool makes of the export adds up to what REST says."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from collector import cli
from collector.errors import QueryError
from collector.faces import history
from collector.measures.query import Query, run
from collector.period import Period
from collector.records import Record
from collector.store import Store, open_store
from tests.builders import a_call, a_message, a_run, an_app
from tests.servers.ports import free_port as any_port
from tests.servers.prometheus import backfilled, configured_prometheus

DAYS = 30
BEGAN = datetime(2026, 11, 1, tzinfo=UTC)
"""When counting began; the month before it is history."""

UTC_ZONE = ZoneInfo("UTC")
FIRST = BEGAN - timedelta(days=DAYS)


def a_month(store: Store) -> None:
    """Every day some runs, calls and messages, more from day to day, at odd times; some fail, one ends after BEGAN."""
    facts: list[Record] = [an_app()]
    for day in range(DAYS):
        for number in range(1 + day % 7):
            ended = FIRST + timedelta(days=day, hours=3 * number, minutes=17 * number + day, seconds=number * 7.3)
            when = {"created_at": ended - timedelta(seconds=90), "finished_at": ended, "seen_at": BEGAN}
            key = f"{day}/{number}"
            failed = {"status": "failed", "error_class": "timeout"} if number == 3 else {}
            facts += [a_run(id=key, **failed, **when), a_call(id=key, run_id=key, **when), a_message(id=key, **when)]
    late = {"created_at": BEGAN - timedelta(seconds=5), "finished_at": BEGAN + timedelta(seconds=5), "seen_at": BEGAN}
    store.put([*facts, a_run(id="late", **late)])


@pytest.fixture
def store() -> Store:
    with closing(open_store(":memory:", now=BEGAN)) as there:
        a_month(there)
        yield there


def exported(store: Store, since: str = "2026-10-02", step: str = "5m") -> str:
    period = history.until(store.counting_since, since, store.rows, BEGAN + timedelta(days=1))
    return "".join(history.openmetrics(store.rows, period, history.step_of(step)))


def test_a_prometheus_with_the_blocks_says_of_each_day_what_rest_says(
    server: Callable[[str], str], store: Store, tmp_path: Path
):
    backfilled(server("promtool"), exported(store, step="12h"), tmp_path)
    month = Period(FIRST, BEGAN, UTC_ZONE)
    names = {"finished_runs": "dify_run_finished_total", "input_tokens": "dify_llm_input_tokens_total"}
    names |= {"messages": "dify_chat_messages_total", "cost_usd": "dify_llm_cost_usd_total"}
    query = Query.of((*names, "failed_runs"), period=month, grain="day", moment="finished", fill="zero")
    said = run(query, store.rows, now=BEGAN).rows
    assert len(said) == DAYS

    kept = "--storage.tsdb.retention.time=10y"
    with configured_prometheus(server("prometheus"), tmp_path, any_port(), "", kept) as there:
        for row in said:
            end = row["time"] + timedelta(days=1)  # type: ignore[operator]
            for measure, family in names.items():
                (found,) = there.query(f"sum(increase({family}[1d]))", end)
                assert float(found["value"][1]) == pytest.approx(float(row[measure]), rel=1e-9), (row["time"], measure)
            (took,) = there.query("sum(increase(dify_run_duration_seconds_count[1d]))", end)
            assert float(took["value"][1]) == pytest.approx(float(row["finished_runs"]))


_LINE = re.compile(r"(\w+)\{(.*)\} (\S+) (\S+)")


def samples(text: str, name: str, **labels: str) -> list[tuple[float, float, str]]:
    """Instant, value and labels of the samples of that name, in the order they stand (prometheus_client's own parser
    takes only the first of several instants of a histogram).
    """
    found = (match for line in text.splitlines() if (match := _LINE.fullmatch(line)) and match[1] == name)
    wanted = [f'{key}="{value}"' for key, value in labels.items()]
    return [(float(m[4]), float(m[3]), m[2]) for m in found if all(each in m[2] for each in wanted)]


def test_it_ends_where_the_live_counters_begin(store: Store):
    runs = samples(exported(store, step="1d"), "dify_run_finished_total", status="succeeded")

    assert runs[0][:2] == (FIRST.timestamp(), 0)
    ended = run(
        Query.of(("succeeded_runs",), period=Period(FIRST, BEGAN, UTC_ZONE), moment="finished"), store.rows, now=BEGAN
    )
    assert runs[-1][:2] == (BEGAN.timestamp(), ended.rows[0]["succeeded_runs"])


def test_a_sample_stands_at_every_step_and_counts_what_had_ended_by_then(store: Store):
    ended = BEGAN - timedelta(minutes=34)  # between the fourth sample and the fifth
    store.put([a_run(id="in time", created_at=ended - timedelta(minutes=1), finished_at=ended, seen_at=BEGAN)])

    text = exported(store, since="2026-10-31T23:00:00Z", step="7m")
    steps = [BEGAN - timedelta(hours=1) + timedelta(minutes=7) * place for place in range(9)]

    assert [at for at, _, _ in samples(text, "dify_run_finished_total", status="succeeded")] == [
        *(step.timestamp() for step in steps),
        BEGAN.timestamp(),
    ]
    assert [value for _, value, _ in samples(text, "dify_run_finished_total", status="succeeded")] == [0] * 4 + [1] * 6


def test_histograms_are_whole(store: Store):
    text, family = exported(store, step="1d"), "dify_run_duration_seconds"
    buckets = [value for at, value, _ in samples(text, f"{family}_bucket") if at == BEGAN.timestamp()]
    count = samples(text, f"{family}_count")[-1][1]
    assert buckets == sorted(buckets)
    assert buckets[-1] == count > 0


@pytest.mark.parametrize(
    ("since", "step", "field"),
    [("2026-11-01", "5m", "since"), ("soon", "5m", "since"), ("30d", "5s", "step"), ("30d", "often", "step")],
)
def test_what_cannot_be_exported_is_told_by_its_field(store: Store, since: str, step: str, field: str):
    with pytest.raises(QueryError) as caught:
        exported(store, since, step)
    assert caught.value.field == field


def test_the_command_writes_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "facts.duckdb"
    with closing(open_store(str(file), now=BEGAN)) as store:
        a_month(store)
        wanted = exported(store, since="all", step="1d")
    to = tmp_path / "history.txt"

    with pytest.raises(SystemExit) as ended:
        cli.main(["export", "openmetrics", "--since", "all", "--step", "1d", "--to", str(to), "--store", str(file)])

    assert not ended.value.code
    assert to.read_text() == wanted
    assert "wrote" in capsys.readouterr().err
