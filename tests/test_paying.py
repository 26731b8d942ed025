"""Who pays: from a file kept by people to the rows of a report, with dates, and a list of whom it forgot."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog

from collector import commands
from collector.app import Service
from collector.errors import SettingsError
from collector.paying import Paying
from collector.records import CONSOLE, User
from collector.settings import Settings
from collector.store import Store, open_store
from tests.builders import NOON, a_call, a_message, a_run, an_app

FILE = """
timezone = "UTC"
[[payer]]
session_id = "anna"
person = "Anna"
department = "sales"
until = 2026-11-20T12:00:00Z
[[payer]]
session_id = "anna"
person = "Anna"
department = "law"
from = 2026-11-20T12:00:00Z
[[payer]]
app = "Shop"
department = "it"
cost_centre = "4711"
"""


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with structlog.testing.capture_logs():
        yield


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "payers.toml"
    path.write_text(FILE)
    return path


@pytest.fixture
def store() -> Iterator[Store]:
    with closing(open_store(":memory:")) as store:
        yield store


def a_user(key: str = "u1", session: str | None = "anna", **fields: Any) -> User:
    default = {"source": CONSOLE, "seen_at": NOON, "id": key, "kind": "end_user", "session_id": session}
    return User(**(default | fields))


def asked(settings: Settings, *measures: str, by: str) -> dict[object, object]:
    found = commands.query(settings, {"measure": list(measures), "by": [by]})
    return {row[by]: row[measures[0]] for row in found["rows"]}


def facts() -> list[Any]:
    before = NOON - timedelta(hours=1)
    return [
        *(an_app(), an_app(id="helpdesk", name="Helpdesk"), a_user(), a_user("u2", "ben")),
        *(a_run(id="r1", created_at=before), a_run(id="r2"), a_run(id="r3", user_id="u2")),
        *(a_call(id="n1", run_id="r1", created_at=before), a_call(id="n2", run_id="r2", tokens=7)),
        *(a_call(id="n3", run_id="r3", tokens=1), a_message(user_id="u2")),
    ]


def test_tokens_runs_and_messages_by_department_change_hands_at_the_date(tmp_path: Path, file: Path):
    settings = Settings(store=str(tmp_path / "t.duckdb"), payers=str(file))
    service = Service(settings, clock=lambda: NOON)
    service.put(facts())
    service.money.paying.refresh()  # type: ignore[union-attr]
    service.store.close()

    assert asked(settings, "tokens", by="department") == {"sales": 100, "law": 7, "it": 1}
    assert asked(settings, "runs", by="department") == {"sales": 1, "law": 1, "it": 1}
    assert asked(settings, "messages", by="department") == {None: 1}
    assert asked(settings, "tokens", by="cost_centre") == {"4711": 1, None: 107}
    assert asked(settings, "tokens", by="person") == {"Anna": 107, None: 1}


def spans(store: Store) -> set[tuple[object, ...]]:
    return set(store.rows("SELECT kind, subject, department FROM payer_span"))


def test_somebody_new_is_resolved_when_known(store: Store, file: Path):
    paying = Paying(file, store.rows, store.set_payers)

    assert paying.refresh()
    assert not paying.refresh()
    store.put([a_user()])
    assert paying.refresh()

    assert spans(store) == {("user", "u1", "sales"), ("user", "u1", "law")}


def test_a_changed_file_counts_from_the_next_look_on(store: Store, file: Path):
    store.put([a_user()])
    paying = Paying(file, store.rows, store.set_payers)
    paying.refresh()

    write_later(file, '[[payer]]\nuser_id = "u1"\ndepartment = "board"\n')

    assert paying.refresh()
    assert spans(store) == {("user", "u1", "board")}


def test_a_file_that_became_wrong_changes_nothing(store: Store, file: Path):
    store.put([a_user()])
    paying = Paying(file, store.rows, store.set_payers)
    paying.refresh()

    with structlog.testing.capture_logs() as lines:
        write_later(file, "[[payer]]\n")
        paying.refresh()
        paying.refresh()

    assert len(spans(store)) == 2
    assert [line["event"] for line in lines] == ["payers not read"]


def write_later(file: Path, written: str) -> None:
    file.write_text(written)
    os.utime(file, (NOON.timestamp(), NOON.timestamp()))


def test_a_wrong_file_stops_the_service_at_start_and_lets_go_of_the_store(tmp_path: Path, file: Path):
    file.write_text("[[payer]]\nperson = 'nobody'\n")
    settings = Settings(store=str(tmp_path / "t.duckdb"), payers=str(file))

    with pytest.raises(SettingsError, match="line 1: wanted one of user_id"):
        Service(settings, clock=lambda: NOON)

    open_store(settings.store).close()


def test_ingesting_a_file_resolves_too(tmp_path: Path, file: Path):
    settings = Settings(store=str(tmp_path / "t.duckdb"), payers=str(file))
    with closing(open_store(settings.store)) as store:
        store.put([an_app(), a_user()])

    commands.ingest(settings, [], {}, lambda *_: None)

    with closing(open_store(settings.store)) as store:
        assert ("app", "shop", "it") in spans(store)


class TestTheReport:
    def test_lists_who_is_not_named_those_who_ask_most_first(self, tmp_path: Path, file: Path):
        settings = Settings(store=str(tmp_path / "t.duckdb"), payers=str(file))
        with closing(open_store(settings.store)) as store:
            store.put([*facts(), a_user("u3", None, kind="account", name="root")])

        found = commands.payers(settings)

        assert (found["entries"], found["users"]) == (3, 3)
        assert [(each["session_id"], each["name"], each["requests"]) for each in found["unmapped"]] == [
            ("ben", None, 2),
            (None, "root", 0),
        ]

    def test_needs_a_file(self, tmp_path: Path):
        with pytest.raises(SettingsError, match="payers: no file to look into"):
            commands.payers(Settings(store=str(tmp_path / "t.duckdb")))

    @pytest.mark.parametrize("is_set", [True, False])
    async def test_comes_over_rest(self, tmp_path: Path, file: Path, is_set: bool):
        settings = Settings(store=str(tmp_path / "t.duckdb"), payers=str(file) if is_set else None)
        service = Service(settings, clock=lambda: NOON)
        service.put(facts())
        web = httpx.ASGITransport(service.web())
        async with httpx.AsyncClient(transport=web, base_url="http://collector") as client:
            answer = await client.get("/api/v1/payers")
        await service.close()

        assert answer.status_code == (200 if is_set else 409)
        assert not is_set or [each["id"] for each in answer.json()["unmapped"]] == ["u2"]


async def test_check_counts_the_entries(tmp_path: Path, file: Path):
    report = await commands.check(Settings(store=str(tmp_path / "t.duckdb"), payers=str(file)))

    assert {"check": "payers", "is_well": True, "result": "3 entries"} in report["checks"]
