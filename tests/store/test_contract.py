"""What every engine promises: one suite, run on each of them."""

from __future__ import annotations

import zlib
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec
import pyarrow as pa
import pytest

from collector.errors import StoreError
from collector.records import (
    BROKER,
    CONSOLE,
    DATABASE,
    FACTS,
    MOST_SET_ASIDE,
    PORTAL,
    TAP,
    ApiKey,
    Dataset,
    DatasetDay,
    Model,
    PortalEvent,
    PortalValue,
    Pull,
    QueueSample,
    Record,
    Release,
    Request,
    Retrieval,
    Run,
    SetAside,
    Statistic,
    Stored,
    User,
    Watermark,
)
from collector.store import Store
from tests.builders import (
    NOON,
    a_call,
    a_conversation,
    a_feedback,
    a_message,
    a_node,
    a_run,
    an_app,
)

LATER = NOON + timedelta(hours=1)
RUNNING = {"status": "running", "is_final": False, "finished_at": None, "elapsed_seconds": None, "steps": None}


def a_user(**fields: object) -> User:
    return User(**({"source": CONSOLE, "seen_at": NOON, "id": "u1", "kind": "end_user"} | fields))


def a_request(**fields: object) -> Request:
    told = {"source": TAP, "seen_at": NOON, "id": "q1", "method": "POST", "route": "/v1/chat-messages"}
    return Request(**(told | {"created_at": NOON, "status_code": 200} | fields))


def a_pull(**fields: object) -> Pull:
    counts = {"seconds": 1.5, "requests": 3, "pages": 2, "records": 40, "parse_failures": 0}
    told = {"source": CONSOLE, "seen_at": NOON, "id": "p1", "stream": "runs", "created_at": NOON, "is_complete": True}
    return Pull(**(told | counts | fields))


def told_by(source: str, kind: type[Record], /, **fields: object) -> Record:
    return kind(source=source, seen_at=NOON, **fields)


COPIED = {"event_source": "/chat", "event_type": "answer.copied", "app_id": "shop", "created_at": NOON}

ONE_OF_EACH: tuple[Record, ...] = (
    an_app(),
    a_run(),
    a_node(),
    a_call(),
    a_message(reported_cost=Decimal("0.000000001"), currency="CNY"),
    a_conversation(messages=2),
    a_feedback(),
    a_user(),
    a_request(),
    a_pull(),
    told_by(BROKER, QueueSample, id="b/q/1", broker="b", queue="q", kind="served", created_at=NOON, ready=3),
    told_by(CONSOLE, Dataset, id="d1", name="Manuals", created_at=NOON),
    told_by(CONSOLE, DatasetDay, id="d1/2026-11-20", dataset_id="d1", created_at=NOON, documents=2),
    told_by(CONSOLE, Retrieval, id="q1", dataset_id="d1", origin="app", created_at=NOON),
    told_by(CONSOLE, Model, id="m", model_provider="o/p/n", model_name="gpt", kind="llm", is_vision=True),
    told_by(CONSOLE, ApiKey, id="k1", app_id="shop", fingerprint="0123456789abcdef"),
    told_by(
        CONSOLE,
        Statistic,
        id="s",
        app_id="shop",
        name="runs",
        day="2026-11-20",
        timezone="UTC",
        created_at=NOON,
        number=3,
    ),
    told_by(CONSOLE, Release, id="console//1", version="1.11.1", number=1_011_001, created_at=NOON),
    told_by(PORTAL, PortalEvent, **COPIED, id="e1", event_id="1", session_id="mei"),
    told_by(PORTAL, PortalValue, **COPIED, id="e1/lines", name="lines", number=12.0),
)


def the(store: Store, column: str, table: str = "run") -> object:
    """The one value of a column of the one row there is."""
    ((value,),) = store.rows(f"SELECT {column} FROM {table}")
    return value


def until(at: datetime, **fields: str) -> Watermark:
    return Watermark(**({"source": CONSOLE, "stream": "runs", "app_id": "shop"} | fields), complete_until=at)


@pytest.mark.parametrize("fact", ONE_OF_EACH, ids=lambda fact: fact.table)
def test_every_kind_of_fact_comes_back_as_it_was_told(store: Store, fact: Record):
    store.put([fact])

    columns = fact.__struct_fields__
    (row,) = store.rows(f"SELECT {', '.join(columns)} FROM {fact.table}")
    assert type(fact)(**dict(zip(columns, row, strict=True))) == fact


def test_the_list_above_has_every_kind_of_fact():
    assert {type(fact) for fact in ONE_OF_EACH} == set(FACTS)


def test_a_batch_counts_facts_new_changed_and_known(store: Store):
    assert store.put([a_run(), a_run(id="r2")]) == Stored(new=2)
    assert store.put([a_run(), a_run(id="r2", session_id="s"), a_run(id="r3")]) == Stored(new=1, changed=1, known=1)


def test_putting_a_batch_twice_changes_nothing(store: Store):
    store.put(ONE_OF_EACH)
    before = [store.rows(f"SELECT * FROM {fact.table}") for fact in ONE_OF_EACH]

    again = store.put([msgspec.structs.replace(fact, seen_at=LATER) for fact in ONE_OF_EACH])

    assert again == Stored(known=len(ONE_OF_EACH))
    assert [store.rows(f"SELECT * FROM {fact.table}") for fact in ONE_OF_EACH] == before


def test_a_run_seen_twice_is_one_run(store: Store):
    store.put([a_run(**RUNNING)])
    store.put([a_run(), a_run(id="r2", status="failed")])

    assert store.rows("SELECT id, status FROM run ORDER BY id") == [("r1", "succeeded"), ("r2", "failed")]


def test_tellings_of_one_fact_in_one_batch_are_one_row(store: Store):
    stored = store.put([a_run(**RUNNING, session_id="s"), a_run(), a_run(**RUNNING), a_run(user_id=None)])

    assert stored == Stored(new=1)
    assert store.rows("SELECT status, session_id, user_id FROM run") == [("succeeded", "s", "u1")]


@pytest.mark.parametrize("seconds", [1, -1])
def test_what_cannot_change_stays_as_it_was_told_first(store: Store, seconds: int):
    first = told_by(PORTAL, PortalEvent, **COPIED, id="e1", event_id="1")
    another = {"created_at": LATER, "seen_at": NOON + timedelta(seconds=seconds), "session_id": "mei"}
    tellings = [first, msgspec.structs.replace(first, **another)]
    for telling in tellings:
        store.put([telling])

    assert the(store, "created_at", "portal_event") == min(tellings, key=lambda telling: telling.seen_at).created_at
    assert the(store, "session_id", "portal_event") == "mei"


def test_an_unfinished_telling_never_replaces_a_final_one(store: Store):
    store.put([a_run(source=TAP)])
    store.put([a_run(**RUNNING, source=DATABASE, seen_at=LATER, user_id="other")])

    assert store.rows("SELECT status, user_id, source FROM run") == [("succeeded", "u1", TAP)]


def test_an_unfinished_telling_fills_what_a_final_one_left_blank(store: Store):
    store.put([a_run(user_id=None)])

    assert store.put([a_run(**RUNNING, user_id="u7")]) == Stored(changed=1)
    assert store.rows("SELECT status, user_id FROM run") == [("succeeded", "u7")]


def test_a_blank_never_replaces_a_value(store: Store):
    store.put([a_run(source=TAP, reported_tokens=0)])
    store.put([a_run(source=DATABASE, seen_at=LATER, reported_tokens=None, user_id=None)])

    assert store.rows("SELECT reported_tokens, user_id, source FROM run") == [(0, "u1", DATABASE)]


def test_the_better_source_is_believed_whenever_it_comes(store: Store):
    store.put([a_run(source=DATABASE, reported_tokens=100)])
    store.put([a_run(source=TAP, reported_tokens=90, seen_at=LATER)])
    store.put([a_run(source=CONSOLE, reported_tokens=95, seen_at=LATER)])

    assert the(store, "reported_tokens") == 100


def test_a_better_source_that_says_the_same_is_remembered(store: Store):
    store.put([a_run(source=TAP)])
    assert store.put([a_run(source=DATABASE)]) == Stored(known=1)
    store.put([a_run(source=CONSOLE, steps=4, seen_at=LATER)])

    assert store.rows("SELECT steps, source FROM run") == [(3, DATABASE)]


def test_a_value_filled_by_one_source_gives_way_to_a_better_one(store: Store):
    store.put([a_run(source=TAP, user_id=None)])
    store.put([a_run(**RUNNING, source=CONSOLE, user_id="told by the console")])
    store.put([a_run(**RUNNING, source=DATABASE, user_id="told by the database")])
    store.put([a_run(**RUNNING, source=CONSOLE, user_id="told by the console", seen_at=LATER)])

    assert store.rows("SELECT status, user_id FROM run") == [("succeeded", "told by the database")]


def test_one_source_corrects_itself(store: Store):
    store.put([a_run(seen_at=LATER, reported_tokens=120)])
    store.put([a_run(reported_tokens=100)])

    assert the(store, "reported_tokens") == 120


def test_a_stale_run_that_finishes_after_all_is_final(store: Store):
    store.put([a_run(**RUNNING | {"status": "stale"}, seen_at=LATER)])
    store.put([a_run(source=TAP)])

    assert the(store, "status") == "succeeded"


def test_a_rating_changes_as_its_user_changes_it(store: Store):
    store.put([a_feedback(source=DATABASE)])
    store.put([a_feedback(source=CONSOLE, rating="withdrawn", seen_at=LATER)])
    store.put([a_feedback(source=DATABASE, rating="dislike", seen_at=NOON)])

    assert the(store, "rating", "feedback") == "withdrawn"


def test_an_app_takes_its_newest_name(store: Store):
    store.put([an_app(tags="prod")])
    store.put([an_app(name="Store", tags=None, seen_at=LATER)])

    assert store.rows("SELECT name, tags FROM app") == [("Store", "prod")]


def test_sources_may_tell_the_instant_of_a_fact_in_different_precision(store: Store):
    store.put([a_message(created_at=NOON)])
    store.put([a_message(source=DATABASE, created_at=NOON + timedelta(microseconds=734_000))])

    assert the(store, "created_at", "message") == NOON + timedelta(microseconds=734_000)


def test_a_fact_is_found_again_whichever_telling_lacks_its_instant(store: Store):
    store.put([a_run(created_at=None), a_run(id="r2")])
    store.put([a_run(), a_run(id="r2", created_at=None, session_id="s")])

    assert store.rows("SELECT id, created_at, session_id FROM run ORDER BY id") == [
        ("r1", NOON, None),
        ("r2", NOON, "s"),
    ]


def test_facts_of_years_apart_share_a_batch(store: Store):
    old = [a_run(id=f"r{year}", created_at=datetime(year, 2, 1, tzinfo=UTC)) for year in (2023, 2026)]
    store.put(old)

    assert store.put([*old, a_run()]) == Stored(new=1, known=2)


def test_keys_with_one_checksum_are_two_facts(store: Store):
    alike = [a_run(id=key) for key in ("plumless", "buckeroo")]
    assert zlib.crc32(b"plumless") == zlib.crc32(b"buckeroo")

    assert store.put(alike[:1]) == Stored(new=1)
    assert store.put(alike) == Stored(new=1, known=1)


def test_history_does_not_shrink_when_less_is_told(store: Store):
    store.put([a_run(id=f"r{n}") for n in range(5)])
    store.put([a_run(id="r0")])

    assert the(store, "count(*)") == 5


def test_facts_of_a_batch_lie_in_the_order_of_time(store: Store):
    store.put([a_run(id=f"r{n}", created_at=NOON + timedelta(minutes=(7 * n) % 10)) for n in range(10)])

    kept = [at for (at,) in store.rows("SELECT created_at FROM run")]
    assert kept == sorted(kept)


def test_records_and_watermarks_are_one_transaction(store: Store):
    store.put([a_run()], [until(NOON)])
    with pytest.raises(StoreError, match=r"run\.reported_tokens"):
        store.put([a_run(id="r2"), a_run(id="r3", reported_tokens=2**70)], [until(LATER)])

    assert the(store, "id") == "r1"
    assert store.watermark(CONSOLE, "runs", "shop") == NOON


def test_a_watermark_that_fails_takes_its_records_with_it(store: Store):
    with pytest.raises(StoreError):
        store.put([a_run()], [until("yesterday evening")])  # type: ignore[arg-type]

    assert store.rows("SELECT * FROM run") == []
    assert store.put([a_run()]) == Stored(new=1)


def test_a_watermark_never_retreats(store: Store):
    for at in (NOON, LATER, NOON):
        store.put([], [until(at)])
    store.put([], [until(LATER, app_id="other"), until(NOON, app_id="other")])

    assert store.watermark(CONSOLE, "runs", "shop") == LATER
    assert store.watermark(CONSOLE, "runs", "other") == LATER
    assert store.watermark(TAP, "runs", "shop") is None


def test_nothing_put_is_nothing_stored(store: Store):
    assert store.put([]) == Stored()


def test_what_is_no_fact_is_refused(store: Store):
    with pytest.raises(StoreError, match="no kind of fact"):
        store.put([until(NOON)])  # type: ignore[list-item]


@pytest.mark.parametrize(
    "wrong", [{"created_at": datetime(2026, 11, 20)}, {"session_id": "\ud800"}, {"steps": "three"}, {"user_id": 7}]
)
def test_a_value_that_fits_no_column_is_named_and_not_shown(store: Store, wrong: dict[str, object]):
    (column,) = wrong
    with pytest.raises(StoreError, match=rf"run\.{column}: a value does not fit"):
        store.put([a_run(**wrong)])


def test_columns_come_in_bulk(store: Store):
    columns = {
        "id": ["r1", "r2", "r1"],
        "source": [DATABASE] * 3,
        "seen_at": [NOON] * 3,
        "status": ["running", "failed", "succeeded"],
        "is_final": [False, True, True],
        "created_at": [NOON, LATER, NOON],
    }

    assert store.put_columns({Run: pa.table(columns)}, [until(NOON)]) == Stored(new=2)
    assert store.rows("SELECT id, status, user_id FROM run ORDER BY id") == [
        ("r1", "succeeded", None),
        ("r2", "failed", None),
    ]
    assert store.watermark(CONSOLE, "runs", "shop") == NOON


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"id": ["r1"], "prompt": ["hello"]}, "no column prompt"),
        ({"id": ["r1"], "source": [None], "seen_at": [NOON], "is_final": [True]}, "source is blank"),
        ({"id": ["r1"], "reported_tokens": ["many"]}, r"run\.reported_tokens"),
    ],
)
def test_columns_that_are_not_the_facts_are_refused(store: Store, columns: dict[str, list[object]], said: str):
    with pytest.raises(StoreError, match=said):
        store.put_columns({Run: pa.table(columns)})


def test_rows_take_parameters_by_place_and_by_name(store: Store):
    store.put([a_run(), a_run(id="r2", app_id="other")])

    assert store.rows("SELECT id FROM run WHERE app_id = ?", ["other"]) == [("r2",)]
    assert store.rows("SELECT id FROM run WHERE app_id = $app", {"app": "other"}) == [("r2",)]
    assert store.arrow("SELECT id FROM run WHERE app_id = $app", {"app": "shop"}).to_pylist() == [{"id": "r1"}]


def test_instants_come_back_aware_in_utc(store: Store):
    shanghai = datetime.fromisoformat("2026-11-20T20:00:00+08:00")
    store.put([a_run(created_at=shanghai)])

    at = the(store, "created_at")
    assert isinstance(at, datetime)
    assert at.isoformat() == "2026-11-20T12:00:00+00:00"
    assert the(store, "date_trunc('day', created_at)") == datetime(2026, 11, 20, tzinfo=UTC)
    assert str(store.arrow("SELECT created_at FROM run").schema.field(0).type) == "timestamp[us, tz=UTC]"


def test_a_question_that_makes_no_sense_is_a_store_error(store: Store):
    with pytest.raises(StoreError, match="nowhere"):
        store.rows("SELECT * FROM nowhere")


def test_python_variables_are_no_tables(store: Store):
    rows = pa.table({"a": [1]})
    with pytest.raises(StoreError, match="rows"):
        store.rows("SELECT * FROM rows")
    assert len(rows) == 1


def test_a_store_counts_from_its_first_opening(store: Store):
    assert store.counting_since == NOON


def test_what_counters_said_is_kept_and_replaced(store: Store):
    store.keep_readings({("tokens", '["shop"]'): 5.0, ("tokens", '["模型"]'): 1.5})
    store.keep_readings({("tokens", '["shop"]'): 6.0})
    store.keep_readings({})

    assert store.readings() == {("tokens", '["shop"]'): 6.0, ("tokens", '["模型"]'): 1.5}


def test_a_closed_store_says_so(store: Store):
    store.close()
    with pytest.raises(StoreError):
        store.put([a_run()])
    with pytest.raises(StoreError):
        store.rows("SELECT 1")


def aside(key: str, **fields: object) -> SetAside:
    told = {"source": CONSOLE, "origin": "dify", "stream": "runs", "app_id": "shop", "key": key, "seen_at": NOON}
    return SetAside(**(told | {"problem": "status: wanted text", "tried_by": "1 1.11.1"} | fields))


def test_what_was_set_aside_is_remembered_until_it_was_read(store: Store):
    store.put([], [aside("r1"), aside("r2"), aside("r1", problem="id: wanted text", seen_at=LATER)])
    assert store.rows("SELECT key, problem, seen_at FROM set_aside ORDER BY key") == [
        ("r1", "id: wanted text", LATER),
        ("r2", "status: wanted text", NOON),
    ]

    store.put([a_run()], [aside("r1", problem=None)])

    assert store.rows("SELECT key FROM set_aside") == [("r2",)]


def test_of_what_was_set_aside_the_latest_are_remembered(store: Store):
    store.put([], [aside(str(n), seen_at=NOON + timedelta(seconds=n)) for n in range(MOST_SET_ASIDE + 3)])

    assert store.rows("SELECT count(*), min(seen_at) FROM set_aside") == [(MOST_SET_ASIDE, NOON + timedelta(seconds=3))]
