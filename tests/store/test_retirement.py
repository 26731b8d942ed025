"""Facts go by age and their rollups stay: no answer that rollups can give changes, and no counter falls."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from collector.errors import StoreError
from collector.faces.prometheus import Exposition
from collector.faces.readings import Readings
from collector.measures.query import Query, run
from collector.period import Period, zone
from collector.records import Record
from collector.store import Store, open_store
from tests.builders import NOON, a_call, a_message, a_run, an_app

BEGAN = NOON + timedelta(minutes=7)
LATER = NOON + timedelta(days=60)
AGES = dict.fromkeys(("run", "model_call", "message"), timedelta(days=30))


def days_of_facts(**told: Any) -> list[Record]:
    """Two facts of each kind on each of five days, the first of them just after counting began."""
    facts: list[Record] = []
    for day in range(5):
        for n, minutes in enumerate((8, 90)):
            at = NOON + timedelta(days=day, minutes=minutes)
            common = {"created_at": at, "finished_at": at + timedelta(seconds=3), **told}
            facts.append(a_run(id=f"r{day}/{n}", user_id=f"u{n}", **common))
            facts.append(a_call(id=f"n{day}/{n}", run_id=f"r{day}/{n}", **common))
            facts.append(a_message(id=f"m{day}/{n}", user_id=f"u{day}", **common))
    return facts


@pytest.fixture
def filled(tmp_path: Path) -> Any:
    with closing(open_store(tmp_path / "t.duckdb", now=BEGAN)) as store:
        store.put([an_app(), *days_of_facts()])
        store.settle_rollups(everything=True)
        yield store


def number(store: Store, table: str = "run") -> object:
    return store.rows(f"SELECT count(*) FROM {table}")[0][0]


def asked(store: Store, measures: str, **parts: Any) -> tuple[list[dict[str, object]], dict[str, int]]:
    period = Period(NOON.replace(hour=0), NOON.replace(hour=0) + timedelta(days=5), zone("Asia/Kathmandu"))
    answer = run(Query.of(measures, **{"period": period} | parts), store.rows)
    return answer.rows, answer.flags


def test_old_facts_go_and_the_day_in_which_counting_began_stays(filled):
    assert filled.retire(AGES, LATER) == {"run": 8, "model_call": 8, "message": 8}

    assert filled.rows("SELECT id FROM run ORDER BY id") == [("r0/0",), ("r0/1",)]
    assert filled.retire(AGES, LATER) == {}


def test_young_facts_stay(filled):
    assert filled.retire({"run": timedelta(days=58)}, LATER) == {"run": 2}
    assert number(filled) == 8
    assert number(filled, "message") == 10


def test_no_answer_that_rollups_give_changes(filled):
    wanted = [
        ("runs,tokens,messages,run_elapsed_mean,active_users", {"grain": "day"}),
        ("tokens,failed_model_calls", {"grain": "hour", "by": "app,model"}),
        ("active_users,conversations", {}),
    ]
    before = [asked(filled, names, **parts) for names, parts in wanted]

    filled.retire(AGES, LATER)

    assert [asked(filled, names, **parts) for names, parts in wanted] == before
    assert filled.check_rollups() == []


def test_an_answer_says_when_it_misses_facts(filled):
    before, flags = asked(filled, "run_elapsed_p95")
    assert flags == {}
    filled.retire(AGES, LATER)

    rows, flags = asked(filled, "run_elapsed_p95")
    assert flags == {"facts_removed": 8}
    assert rows == before  # of those that stay

    _, flags = asked(filled, "runs", by="user")
    assert flags == {"facts_removed": 16}  # a chatflow's user stands at the message


def test_facts_that_come_again_are_known(filled):
    filled.retire(AGES, LATER)

    stored = filled.put(days_of_facts(seen_at=LATER))

    assert (stored.new, stored.known) == (0, 30)
    assert number(filled) == 2
    filled.settle_rollups(everything=True)
    assert asked(filled, "runs")[0] == [{"runs": 10}]


def test_the_store_remembers_which_days_went(tmp_path: Path):
    with closing(open_store(tmp_path / "t.duckdb", now=BEGAN)) as store:
        store.put(days_of_facts())
        store.settle_rollups(everything=True)
        store.retire(AGES, LATER)
    with closing(open_store(tmp_path / "t.duckdb")) as store:
        assert store.put(days_of_facts()).new == 0


def test_a_day_that_is_being_told_of_stays(filled):
    at = NOON + timedelta(days=1)
    filled.put([a_run(id="late", created_at=at, finished_at=at, seen_at=LATER - timedelta(days=6))])
    filled.settle_rollups(everything=True)

    assert filled.retire({"run": timedelta(days=30)}, LATER) == {"run": 6}
    assert filled.retire({"run": timedelta(days=30)}, LATER + timedelta(days=2)) == {"run": 3}


def test_a_day_whose_rollups_wait_stays(filled):
    at = NOON + timedelta(days=1)
    filled.put([a_run(id="late", created_at=at, finished_at=at)])

    assert filled.retire({"run": timedelta(days=30)}, LATER) == {"run": 6}
    filled.settle_rollups(everything=True)
    assert filled.retire({"run": timedelta(days=30)}, LATER) == {"run": 3}


def test_history_may_still_be_read_behind_what_went(filled):
    filled.retire(AGES, LATER)
    old = NOON - timedelta(days=100)

    assert filled.put([a_run(id="old", created_at=old, finished_at=old)]).new == 1


def test_what_has_no_rollup_cannot_go(filled):
    with pytest.raises(StoreError, match="app cannot be kept by age; there are run, node_execution"):
        filled.retire({"app": timedelta(days=1)}, LATER)


def test_counters_never_fall(filled):
    clock = datetime(2027, 2, 1, tzinfo=UTC)

    def counters() -> dict[str, float]:
        text, _ = Exposition(
            filled.rows, clock=lambda: clock, counting_since=filled.counting_since, readings=Readings()
        ).text("")
        lines = [line for line in text.decode().splitlines() if not line.startswith("#")]
        return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines}

    before = counters()
    assert before['dify_chat_response_duration_seconds_count{app_id="helpdesk",workspace_id=""}'] == 10

    filled.retire(AGES, LATER)

    assert counters() == before


def test_longer_steps_that_were_not_kept_before_are_made_of_quarter_hours(tmp_path: Path):
    def daily(store: Store) -> list[object]:
        period = Period(BEGAN.replace(hour=16, minute=0) - timedelta(days=1), LATER, zone("Asia/Shanghai"))
        query = Query.of("runs,run_elapsed_mean,active_users,tokens", period=period, grain="day", by="app")
        return run(query, store.rows).rows

    with closing(open_store(tmp_path / "t.duckdb", now=BEGAN)) as store:
        store.put([an_app(), *days_of_facts()])
        store.settle_rollups(everything=True)
        before = daily(store)
        store.retire(AGES, LATER)
        kept = store.rows("FROM run_by_shift ORDER BY ALL"), store.rows("FROM run_user_by_shift ORDER BY ALL")
        for table in ("run_by_shift", "run_user_by_shift", "model_call_by_shift", "message_user_by_shift"):
            store.rows(f"DROP TABLE {table}")
        store.rows("UPDATE rollup_kept SET digest = 'of another version'")
    with closing(open_store(tmp_path / "t.duckdb")) as store:
        store.settle_rollups(everything=True)
        made = store.rows("FROM run_by_shift ORDER BY ALL"), store.rows("FROM run_user_by_shift ORDER BY ALL")
        assert made == kept
        assert daily(store) == before
        assert len(before) >= 5
