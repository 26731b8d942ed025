"""Reports as people get them: over REST, typed on a terminal, from a service that sends them by itself."""

from __future__ import annotations

import asyncio
import io
import json
import re
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import openpyxl
import pytest
from fastapi import FastAPI
from msgspec.structs import replace

from collector.access import Scope, Sight
from collector.app import Service
from collector.errors import SettingsError
from collector.faces.reports import ReportBody
from collector.report_post.rounds import listed
from collector.settings import Settings
from collector.settings.configuration import load_settings
from collector.store import open_store
from tests.builders import a_message
from tests.reports.reading import Page, bundled
from tests.reports.world import NOW, WEEK, a_filled_store, a_site, app_id
from tests.servers.post import ERROR, OK, a_hook
from tests.serving import a_service
from tests.typing_it import Command

QUERY = "since=2026-W46&tz=Asia/Shanghai"
HEADLINE = "invocations,messages,active_users,tokens,runs,response_time_p95,satisfaction"


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_filled_store(tmp_path_factory.mktemp("filled"))


@pytest.fixture
def folder(filled: Path, tmp_path: Path) -> Path:
    """A folder with a store of one's own and settings that name it."""
    shutil.copy(filled, tmp_path / "dify-metric.duckdb")
    (tmp_path / "dify-metric.toml").write_text('report_timezone = "Asia/Shanghai"\nreport_language = "zh"\n')
    return tmp_path


def settings_of(folder: Path, **more: object) -> Settings:
    told = {"store": str(folder / "dify-metric.duckdb"), "report_timezone": "Asia/Shanghai", **more}
    return load_settings(told, {})


@asynccontextmanager
async def served(settings: Settings) -> AsyncIterator[tuple[Service, httpx.AsyncClient]]:
    service = Service(settings, clock=lambda: NOW)
    web = httpx.ASGITransport(service.web(), raise_app_exceptions=False)
    try:
        async with httpx.AsyncClient(transport=web, base_url="http://collector", timeout=60) as client:
            yield service, client
    finally:
        await service.close()


@pytest.fixture(scope="module")
def web(filled: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    """One service for all who only ask."""
    folder = tmp_path_factory.mktemp("open")
    shutil.copy(filled, folder / "dify-metric.duckdb")
    service = Service(settings_of(folder), clock=lambda: NOW)
    try:
        yield service.web()
    finally:
        asyncio.run(service.close())


@pytest.fixture
async def client(web: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(web, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://collector", timeout=60) as client:
        yield client


class TestOverRest:
    async def test_numbers_are_those_of_a_question(self, client: httpx.AsyncClient):
        asked = (await client.get(f"/api/v1/query?measure={HEADLINE}&compare=previous&{QUERY}")).json()
        told = (await client.get(f"/api/v1/reports/{WEEK}")).json()
        figures = {each["name"]: each for each in told["sections"][0]["figures"]}
        for name in HEADLINE.split(","):
            assert figures[name]["value"] == asked["rows"][0][name]
            assert figures[name]["before"] == asked["rows"][0][f"{name}_before"]
        assert told["complete_until"] == asked["watermark"]
        apps = (await client.get(f"/api/v1/query?measure=invocations,cost_cny&by=app_name&top=10&{QUERY}")).json()
        table = next(each for each in told["sections"] if each["name"] == "apps")["tables"][0]
        assert [(row["app_name"], row["invocations"], row["cost_cny"]) for row in table["rows"]] == [
            (row["app_name"], row["invocations"], row["cost_cny"]) for row in apps["rows"]
        ]
        assert Decimal(table["rows"][0]["cost_cny"]) > 0

    @pytest.mark.parametrize(
        ("accept", "kind", "begins"),
        [
            ("application/json", "application/json", b'{"report":"week 2026-W46"'),
            ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html; charset=utf-8", b"<!doctype html>"),
            ("application/pdf", "application/pdf", b"%PDF-"),
            ("text/csv", "application/zip", b"PK"),
            ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", None, b"PK"),
            ("*/*", "application/json", b"{"),
        ],
    )
    async def test_it_comes_in_the_form_that_is_wished(
        self, client: httpx.AsyncClient, accept: str, kind: str | None, begins: bytes
    ):
        answer = await client.get("/api/v1/reports/week?lang=en", headers={"Accept": accept})
        assert answer.status_code == 200
        assert answer.headers["content-type"] == (kind or accept)
        assert answer.content.lstrip().startswith(begins)
        assert answer.headers["content-language"] == "en"
        assert "dify-report-week-2026-W46-en." in answer.headers["content-disposition"]

    async def test_a_page_may_run_nothing(self, client: httpx.AsyncClient):
        answer = await client.get("/api/v1/reports/week?format=html&lang=zh")
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "运营周报" in answer.text

    @pytest.mark.parametrize(
        ("path", "status", "field"),
        [
            ("fortnight", 400, "period"),
            ("2026-13", 400, "period"),
            ("week?lang=fr", 400, "lang"),
            ("week?tz=Mars/Phobos", 400, "tz"),
            ("week?since=2026-11-01", 400, "period"),
            ("span", 400, "period"),
            ("week?top=0", 400, "top"),
            ("week?format=docx", 400, "format"),
            ("week?colour=blue", 400, "colour"),
        ],
    )
    async def test_what_is_wrong_is_named(self, client: httpx.AsyncClient, path: str, status: int, field: str):
        answer = await client.get(f"/api/v1/reports/{path}")
        assert (answer.status_code, answer.json()["field"]) == (status, field)

    async def test_a_form_that_nobody_has_is_406(self, client: httpx.AsyncClient):
        assert (await client.get("/api/v1/reports/week", headers={"Accept": "image/png"})).status_code == 406

    async def test_pdf_without_its_library_says_what_to_install(
        self, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setitem(sys.modules, "weasyprint", None)
        answer = await client.get("/api/v1/reports/week?format=pdf")
        assert answer.status_code == 501
        assert "pip install dify-metric[pdf]" in answer.json()["detail"]

    async def test_json_is_as_the_document_says(self, client: httpx.AsyncClient):
        told = (await client.get(f"/api/v1/reports/{WEEK}")).json()
        assert ReportBody.model_validate(told, extra="forbid").model_dump(mode="json").keys() == told.keys()

    async def test_a_span_of_any_days(self, client: httpx.AsyncClient):
        told = (await client.get("/api/v1/reports/span?since=2026-11-02&until=2026-11-04")).json()
        assert told["period"] == {"since": "2026-11-01T16:00:00+00:00", "until": "2026-11-04T16:00:00+00:00"}
        assert told["report"] == "span 2026-11-02--2026-11-04"

    async def test_a_key_that_is_bound_gets_its_own(self, folder: Path):
        async with served(settings_of(folder, listen="0.0.0.0:9180")) as (service, client):
            sight = Sight(apps=(app_id(2),))
            token = service.keyring.create("hr", [Scope.READ], now=NOW, sight=sight)[1]
            bound = {"Authorization": f"Bearer {token}"}
            told = (await client.get("/api/v1/reports/week", headers=bound)).json()
            query = f"/api/v1/query?measure=invocations,active_users&{QUERY}"
            asked = (await client.get(query, headers=bound)).json()["rows"][0]
            deliveries = await client.get("/api/v1/reports/deliveries", headers=bound)
            assert (await client.get("/api/v1/reports/week")).status_code == 401
        figures = {each["name"]: each["value"] for each in told["sections"][0]["figures"]}
        assert figures["invocations"] == asked["invocations"] > 0
        tables = {table["name"]: table for section in told["sections"] for table in section["tables"]}
        assert [row["app_name"] for row in tables["top_apps"]["rows"]] == ["HR helpdesk"]
        assert "客服助手" not in json.dumps(told, ensure_ascii=False)
        assert deliveries.json() == {"deliveries": []}

    async def test_a_report_is_of_one_moment(self, folder: Path):
        """What is stored while it is made is in none of its numbers."""
        async with served(settings_of(folder)) as (service, client):
            before = (await client.get(f"/api/v1/reports/{WEEK}")).json()
            with service.store.snapshot() as rows:
                ((first,),) = rows("SELECT count(*) FROM message", ())
                await asyncio.to_thread(_empty, service)
                ((second,),) = rows("SELECT count(*) FROM message", ())
            after = (await client.get(f"/api/v1/reports/{WEEK}")).json()
        assert first == second
        assert before["sections"] != after["sections"]


def _empty(service: Service) -> None:
    at = datetime.fromisoformat("2026-11-10T00:00:00+00:00")
    service.put([a_message(id="new", app_id=app_id(0), created_at=at)])


class TestOnATerminal:
    @pytest.fixture
    def dify_metric(self, capsys: pytest.CaptureFixture[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
        monkeypatch.chdir(folder)
        return Command(capsys)

    def test_files_are_written(self, dify_metric: Command, folder: Path):
        said = dify_metric("report", WEEK, "--to", "out", "--format", "html,xlsx,csv,json")
        assert said.code == 0
        names = sorted(path.name for path in (folder / "out").iterdir())
        assert names == [f"dify-report-week-2026-W46-zh.{form}" for form in ("html", "json", "xlsx", "zip")]
        assert [line.removeprefix("wrote out/") for line in said.err.splitlines()] == [
            f"dify-report-week-2026-W46-zh.{form}" for form in ("html", "xlsx", "zip", "json")
        ]
        assert "运营周报" in (folder / "out" / names[0]).read_text()

    def test_by_default_it_is_last_week_as_page_and_workbook(self, dify_metric: Command, folder: Path):
        assert dify_metric("report", "--lang", "en").code == 0
        assert {path.suffix for path in folder.glob("dify-report-week-*-en.*")} == {".html", ".xlsx"}

    def test_json_goes_to_stdout(self, dify_metric: Command):
        told = dify_metric("report", "--since", "2026-11-09", "--until", "2026-11-15", "--json").json
        assert told["report"] == "span 2026-11-09--2026-11-15"
        assert told["timezone"] == "Asia/Shanghai"

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["fortnight"], "period: no 'fortnight'"),
            (["week", "--format", "docx"], "format: no 'docx'; there are json, html, xlsx, csv, pdf"),
            (["week", "--lang", "fr"], "lang: no 'fr'"),
            (["--until", "2026-11-01"], "since: wanted beside until"),
        ],
    )
    def test_what_is_wrong_is_named(self, dify_metric: Command, arguments: list[str], said: str):
        answer = dify_metric("report", *arguments)
        assert answer.code == 2
        assert said in answer.err

    def test_pdf_without_its_library_says_what_to_install(self, dify_metric: Command, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setitem(sys.modules, "weasyprint", None)
        answer = dify_metric("report", WEEK, "--format", "pdf")
        assert answer.code == 2
        assert "pip install dify-metric[pdf]" in answer.err


class TestAService:
    def test_says_what_the_command_says_and_sends_by_itself(self, tmp_path: Path, free_port: int):
        """Both in one process of its own, which is killed and started again meanwhile. Its clock is the machine's."""
        folder = tmp_path
        with a_site(most=3, path=str(folder / "dify-metric.duckdb"), is_read=False):
            (folder / "dify-metric.toml").write_text('report_timezone = "Asia/Shanghai"\nreport_language = "zh"\n')
        with a_hook(behaves=ERROR, status=503) as hook:
            env = {
                "DIFY_METRIC_REPORT_SCHEDULE": "week",
                "DIFY_METRIC_REPORT_AT": "00:00",
                "DIFY_METRIC_REPORT_FOLDER": str(folder / "sent"),
                "DIFY_METRIC_REPORT_WEBHOOKS": f"ops={hook.url}/hook?key=hidden",
            }
            with a_service(folder, free_port, **env) as serving:
                found = self._until(serving, {"folder": "delivered", "ops": "waiting"})
                mine = serving.typed("report", WEEK, "--to", "typed", "--format", "json,csv,html,xlsx")
                assert mine.code == 0, mine.err
                there = serving.ask(f"/api/v1/reports/{WEEK}?lang=zh&format=json").json()
                serving.end(signal.SIGKILL)
            assert found["ops"]["tries"] == 1
            typed = json.loads((folder / "typed" / "dify-report-week-2026-W46-zh.json").read_text())
            assert typed["sections"] == there["sections"]
            html = (folder / "typed" / "dify-report-week-2026-W46-zh.html").read_text()
            assert Page(html).figures
            assert bundled((folder / "typed" / "dify-report-week-2026-W46-zh.zip").read_bytes())["figures.csv"]
            xlsx = (folder / "typed" / "dify-report-week-2026-W46-zh.xlsx").read_bytes()
            assert openpyxl.load_workbook(io.BytesIO(xlsx)).sheetnames[:2] == ["总览", "趋势"]

            hook.behaves = OK
            sent = {path.name: path.stat().st_mtime_ns for path in (folder / "sent").iterdir()}
            with closing(open_store(folder / "dify-metric.duckdb")) as store:
                waiting = next(each for each in listed(store.rows) if each.state == "waiting")
                store.keep_delivery(replace(waiting, next_at=waiting.created_at))
            with a_service(folder, free_port, **env) as serving:
                self._until(serving, {"folder": "delivered", "ops": "delivered"})
                assert serving.end(signal.SIGTERM) == 0
            assert [each["id"] for each in hook.taken] == [waiting.report]
            assert {path.name: path.stat().st_mtime_ns for path in (folder / "sent").iterdir()} == sent
            assert "hidden" not in serving.words

    @staticmethod
    def _until(serving: Any, wanted: dict[str, str]) -> dict[str, Any]:
        for _ in range(600):
            found = serving.ask("/api/v1/reports/deliveries").json()["deliveries"]
            by_name = {each["destination"]: each for each in found}
            if {name: each["state"] for name, each in by_name.items()} == wanted:
                return by_name
            time.sleep(0.1)
        raise AssertionError(found)


class TestSettings:
    @pytest.mark.parametrize(
        ("told", "said"),
        [
            ({"report_schedule": "fortnight"}, "report_schedule"),
            ({"report_schedule": "week"}, "report_schedule without a destination"),
            ({"report_at": "8 o'clock"}, "a time of day such as 08:00"),
            ({"report_at": "24:00"}, "a time of day such as 08:00"),
            ({"report_formats": "docx"}, "of html, xlsx, csv, pdf, json"),
            ({"report_recipients": "a@example.com"}, "set smtp_url and report_from"),
            ({"report_recipients": "nobody"}, "mail addresses with commas"),
            ({"smtp_url": "https://mail.example.com/a-secret"}, "smtp://user:password@host:587"),
            ({"report_webhooks": "ftp://a-secret"}, "webhooks such as"),
            ({"report_webhooks": "a=https://x/a-secret,a=https://y/a-secret"}, "webhooks with different names"),
        ],
    )
    def test_what_cannot_work_is_named_without_a_secret(self, told: dict[str, str], said: str):
        with pytest.raises(SettingsError, match=re.escape(said)) as refused:
            load_settings(told, {})
        assert "a-secret" not in str(refused.value)

    def test_a_folder_of_templates_that_is_missing_is_named_at_start(self, folder: Path):
        with pytest.raises(SettingsError, match="report_templates: there is no folder"):
            Service(settings_of(folder, report_templates=str(folder / "none")))

    def test_pdf_on_a_schedule_is_tried_at_start(self, folder: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setitem(sys.modules, "weasyprint", None)
        with pytest.raises(SettingsError, match=re.escape("pip install dify-metric[pdf]")):
            Service(
                settings_of(folder, report_schedule="week", report_formats="pdf", report_folder=str(folder / "out"))
            )
