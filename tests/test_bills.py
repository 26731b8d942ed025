"""Bills as people get them: typed on a terminal, asked over REST, and the same from both."""

from __future__ import annotations

import csv
import io
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, cast

import httpx
import pyarrow.parquet as pq
import pytest

from collector.access import EVERYTHING, Scope, Sight
from collector.app import Service
from collector.faces.readings import AT_ZERO
from collector.settings import Settings
from collector.settings.configuration import load_settings
from collector.store import open_store
from tests.billing.world import BOOK, GPT, PAYERS, asked, at, january
from tests.demo.conftest import Clock
from tests.typing_it import Command

CHEAPER = BOOK.replace("input = 2.50", "input = 1.50")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store with January, a price book and a payers' file."""
    (tmp_path / "prices.toml").write_text(BOOK)
    (tmp_path / "cheaper.toml").write_text(CHEAPER)
    (tmp_path / "payers.toml").write_text(PAYERS)
    (tmp_path / "dify-metric.toml").write_text('prices = "prices.toml"\npayers = "payers.toml"\nstore = "t.duckdb"\n')
    with closing(open_store(tmp_path / "t.duckdb")) as store:
        store.put(january())
    return tmp_path


@pytest.fixture
def dify_metric(capsys: pytest.CaptureFixture[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.chdir(folder)
    return Command(capsys)


@pytest.fixture
def meter() -> Iterator[tuple[str, list[bytes]]]:
    """Something that takes events on loopback: its URL, and what it took."""
    taken: list[bytes] = []

    class Taker(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taken.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return None

    with HTTPServer(("127.0.0.1", 0), Taker) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/api/v1/events", taken
        finally:
            server.shutdown()
            thread.join()


class TestTyped:
    def test_a_month_is_shown_to_the_digit(self, dify_metric: Command):
        said = dify_metric("bill", "show", "2026-01")
        assert said.code == 0
        rows = [line.split() for line in said.out.splitlines()]
        assert ["Research", "CC-1", "CNY", "1.4434", "1.44"] in rows
        assert ["Sales", "CC-2", "USD", "0.0118845", "0.01"] in rows
        assert ["USD", "0.0166345", "0.01604075", "0.00", "0.01604075", "0.02"] in rows
        assert ["mystery", "input", "123"] in rows
        assert "2026-01 (Asia/Shanghai) is settling; 19 lines" in said.err

    def test_a_month_is_asked_for_by_measure(self, dify_metric: Command):
        asked = (
            "rated_cost_usd",
            "unrated_tokens",
            "--by",
            "app_name,model",
            "--since",
            "2026-01",
            "--tz",
            "Asia/Shanghai",
        )
        found = {
            (row["app_name"], row["model_name"]): row for row in dify_metric("query", *asked, "--json").json["rows"]
        }
        assert Decimal(found["Desk", "claude-sonnet-4"]["rated_cost_usd"]) == Decimal("0.009")
        assert Decimal(found["Tool", "gpt-4o"]["rated_cost_usd"]) == Decimal("0.00065625")
        assert found["Desk", "mystery"]["unrated_tokens"] == 168
        (whole,) = dify_metric("query", "rated_cost_usd", "--since", "2026-01", "--tz", "Asia/Shanghai", "--json").json[
            "rows"
        ]
        assert Decimal(whole["rated_cost_usd"]) == Decimal("0.01604075"), "what the bill says"

    def test_without_a_price_book_the_measure_says_how_to_name_one(self, dify_metric: Command, folder: Path):
        (folder / "dify-metric.toml").write_text('store = "t.duckdb"\n')
        said = dify_metric("query", "rated_cost", "--by", "currency")
        assert (said.code, "nothing is rated: prices: no price book" in said.err) == (2, True)

    def test_json_says_the_same(self, dify_metric: Command):
        found = dify_metric("bill", "show", "2026-01", "--by", "model_name,kind", "--json").json
        assert {each["currency"]: each["amount"].rstrip("0") for each in found["totals"]} == {
            "CNY": "2.8034",
            "USD": "0.01604075",
        }
        assert {"model_name": "claude-sonnet-4", "kind": "output"} in [each["by"] for each in found["groups"]]

    def test_a_month_in_one_currency(self, dify_metric: Command, folder: Path):
        assert "no rate from USD to CNY" in dify_metric("bill", "show", "2026-01", "--in", "CNY").err
        with (folder / "prices.toml").open("a") as book:
            book.write('[[rate]]\ncurrency = "USD"\nin = "CNY"\nrate = 7.1234\non = 2026-01-31\n')
        rows = [line.split() for line in dify_metric("bill", "show", "2026-01", "--in", "CNY").out.splitlines()]
        assert ["USD", "0.01604075", "7.1234", "2026-01-31", "0.11"] in rows
        assert ["all,", "for", "reading", "2.91"] in rows
        found = dify_metric("bill", "show", "2026-01", "--in", "CNY", "--json").json
        assert found["converted"]["total"] == "2.91"

    def test_budgets_are_shown(self, dify_metric: Command, folder: Path):
        assert "the price book has no [[budget]]" in dify_metric("bill", "budgets").err
        with (folder / "prices.toml").open("a") as book:
            book.write('[[budget]]\nname = "all"\namount = 500\ncurrency = "USD"\n')
        assert dify_metric("bill", "budgets").out.split()[-9:-4] == ["all", "within", "USD", "500.00", "0.00"]

    def test_a_month_is_closed_once_and_compared_after(self, dify_metric: Command, folder: Path):
        first = dify_metric("bill", "close", "2026-01", "--by", "finance", "--json").json
        again = dify_metric("bill", "close", "2026-01", "--by", "me")
        assert f"digest {first['digest']}" in again.err
        assert "by finance: 19 lines" in again.err
        periods = dify_metric("bill", "show", "--json").json["periods"]
        assert [(each["period"], each["state"]) for each in periods][:2] == [
            ("2026-01", "closed"),
            ("2026-02", "settling"),
        ]
        same = dify_metric("bill", "diff", "2026-01")
        assert (same.code, same.err.strip()) == (0, "2026-01 is closed: nothing differs")

        with closing(open_store(folder / "t.duckdb")) as store:
            store.put(asked("late", "bo", at(1, 20), GPT, input_tokens=50))
        late = dify_metric("bill", "diff", "2026-01")
        assert (late.code, "1 lines differ" in late.err) == (0, True)
        with closing(open_store(folder / "t.duckdb")) as store:
            store._writer.run("UPDATE bill_line SET amount = 0 WHERE kind = 'output'")  # type: ignore[attr-defined]
        touched = dify_metric("bill", "diff", "2026-01")
        assert (touched.code, "NOT those it was closed with" in touched.err) == (1, True)

    def test_another_book_is_compared_line_by_line(self, dify_metric: Command):
        said = dify_metric("bill", "diff", "2026-01", "--book", "cheaper.toml")
        rows = [line.split() for line in said.out.splitlines()]
        assert [
            "2026-01-15",
            "Sales",
            "gpt-4o",
            "input",
            "USD",
            "2.50",
            "per",
            "1,000,000",
            "-333",
            "-0.0008325",
        ] in rows
        assert [
            "2026-01-15",
            "Sales",
            "gpt-4o",
            "input",
            "USD",
            "1.50",
            "per",
            "1,000,000",
            "+333",
            "0.0004995",
        ] in rows
        assert "6 lines differ" in said.err

    def test_a_month_is_exported(self, dify_metric: Command, folder: Path):
        said = dify_metric("bill", "export", "2026-01")
        rows = list(csv.DictReader(io.StringIO(said.out)))
        assert len(rows) == 19, "two of them without a price"
        assert rows[0]["InvoiceIssuerName"] == "Dify"
        assert dify_metric("bill", "export", "2026-01", "--format", "parquet", "-o", "b.parquet").code == 0
        assert len(pq.read_table(folder / "b.parquet")) == 19

    def test_a_closed_month_is_sent(self, dify_metric: Command, folder: Path, meter: tuple[str, list[bytes]]):
        url, taken = meter
        early = dify_metric("bill", "send", "2026-01", "--to", url)
        assert (early.code, "close it first" in early.err, taken) == (2, True, [])
        (folder / "token").write_text("s3cret\n")
        dify_metric("bill", "close", "2026-01", "--by", "finance")
        said = dify_metric("bill", "send", "2026-01", "--to", url, "--token-file", "token", "--json")
        assert (said.code, said.json) == (0, {"sent": 19})
        (batch,) = map(json.loads, taken)
        assert [event["id"] for event in batch] == [
            json.loads(line)["id"]
            for line in dify_metric("bill", "export", "2026-01", "--format", "cloudevents").out.splitlines()
        ]
        wrong = dify_metric("bill", "send", "2026-01", "--to", url, "--as", "csv")
        assert (wrong.code, "--as: wanted cloudevents or lago" in wrong.err) == (2, True)

    def test_a_payers_file_changed_since_counts(self, dify_metric: Command, folder: Path):
        (folder / "payers.toml").write_text(PAYERS.replace("Sales", "Support"))
        found = dify_metric("bill", "show", "2026-01", "--by", "department", "--json").json
        assert {each["by"]["department"] for each in found["groups"]} == {"Research", "Support"}

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (("show", "January"), "wanted a month such as 2026-01"),
            (("show", "2026-01", "--by", "moon"), "by: no 'moon'; there are department"),
            (("close", "2026-03", "--by", ""), "by: wanted who closes it"),
            (("export", "2026-01", "--format", "doc"), "format: no 'doc'; there are csv"),
            (("diff", "2026-01", "--book", "none.toml"), "none.toml: cannot be read"),
            (("show", "2026-01", "--prices", "payers.toml"), "payer: wanted timezone, as_of, [fallback], and entries"),
        ],
    )
    def test_a_mistake_costs_one_line(self, dify_metric: Command, arguments: tuple[str, ...], said: str):
        found = dify_metric("bill", *arguments)
        assert (found.code, said in found.err, len(found.err.splitlines())) == (2, True, 1)

    def test_without_a_price_book_it_says_how_to_name_one(self, dify_metric: Command, folder: Path):
        (folder / "dify-metric.toml").write_text('store = "t.duckdb"\n')
        found = dify_metric("bill", "show", "2026-01")
        assert (found.code, "prices: no price book; set it to the path" in found.err) == (2, True)

    def test_check_reads_the_book(self, dify_metric: Command, folder: Path):
        assert "4 prices" in dify_metric("check").out
        (folder / "prices.toml").write_text(BOOK.replace('"USD"', '"dollars"'))
        said = dify_metric("check")
        assert (said.code, "line 6: currency: wanted a code of ISO 4217" in said.out) == (1, True)


@asynccontextmanager
async def served(folder: Path, **more: object) -> AsyncIterator[tuple[Service, httpx.AsyncClient]]:
    files = {name: str(folder / f"{name}.toml") for name in ("prices", "payers")}
    given: dict[str, object] = {"store": str(folder / "t.duckdb"), "listen": "0.0.0.0:9180", **files, **more}
    settings: Settings = load_settings({name: value for name, value in given.items() if value}, {})
    service = Service(settings, clock=Clock(at(2, 3)))
    web = httpx.ASGITransport(service.web(), raise_app_exceptions=False)
    try:
        async with httpx.AsyncClient(transport=web, base_url="http://collector") as client:
            yield service, client
    finally:
        await service.close()


def key(service: Service, scope: Scope, sight: Sight = EVERYTHING) -> dict[str, str]:
    made, token = service.keyring.create("controller", [scope], now=at(2, 3), sight=sight)
    assert made.state(at(2, 3)) == "active"
    return {"Authorization": f"Bearer {token}"}


MONTH = "/api/v1/billing/periods/2026-01"


class TestOverRest:
    async def test_a_month_from_settling_to_corrected(self, folder: Path):
        async with served(folder) as (service, client):
            reader, admin = key(service, Scope.READ), key(service, Scope.ADMIN)
            before = (await client.get(MONTH, headers=reader)).json()
            assert (before["state"], before["lines"], before["digest"]) == ("settling", 19, None)
            assert (await client.post(f"{MONTH}/close", json={}, headers=reader)).status_code == 403
            closed = (await client.post(f"{MONTH}/close", json={}, headers=admin)).json()
            assert (closed["closed_by"], closed["lines"]) == ("controller", 19)
            again = (await client.post(f"{MONTH}/close", json={"by": "other"}, headers=admin)).json()
            assert again == closed

            service.put(asked("late", "bo", at(1, 20), GPT, input_tokens=50))
            changed = (await client.get(f"{MONTH}/difference", headers=reader)).json()
            assert changed["is_intact"] is True
            assert [(line["kind"], line["quantity"], line["amount"]) for line in changed["lines"]] == [
                ("input", 50, "0.0001000000000000")
            ]
            february = (await client.get("/api/v1/billing/periods/2026-02", headers=reader)).json()
            (total,) = february["totals"]
            assert (total["corrections"], total["usage"]) == ("0.0001000000000000", "0.0020000000000000")
            periods = (await client.get("/api/v1/billing/periods", headers=reader)).json()["periods"]
            assert [each["digest"] for each in periods] == [closed["digest"], None]

    async def test_another_book_is_sent_and_nothing_changes(self, folder: Path):
        async with served(folder) as (service, client):
            reader = key(service, Scope.READ)
            found = (await client.post(f"{MONTH}/difference", json={"book": CHEAPER}, headers=reader)).json()
            assert len(found["lines"]) == 6
            wrong = await client.post(f"{MONTH}/difference", json={"book": "[[price]]"}, headers=reader)
            assert (wrong.status_code, wrong.json()["field"]) == (400, "book")
            assert service.store.rows("SELECT count(*) FROM bill_line") == [(0,)]

    async def test_lines_are_files(self, folder: Path):
        async with served(folder) as (service, client):
            reader = key(service, Scope.READ)
            for form, kind in (("csv", "text/csv"), ("focus-parquet", "application/vnd.apache.parquet")):
                found = await client.get(f"{MONTH}/lines", params={"format": form}, headers=reader)
                assert found.headers["content-type"].startswith(kind)
                assert f"bill-2026-01-{form}." in found.headers["content-disposition"]

    async def test_rated_cost_over_rest_and_as_metrics(self, folder: Path):
        with closing(open_store(folder / "t.duckdb")) as store:
            store._writer.run("UPDATE milestone SET reached_at = '2026-01-01'")  # type: ignore[attr-defined]
        async with served(folder) as (service, client):
            reader, bound = key(service, Scope.READ), key(service, Scope.READ, Sight(apps=("tool",)))
            asked = {"measure": "rated_cost,cost", "by": "currency", "since": "2026-01", "tz": "Asia/Shanghai"}
            rows = (await client.get("/api/v1/query", params=asked, headers=reader)).json()["rows"]
            told = {row["currency"]: Decimal(row["rated_cost"]) for row in rows if row["currency"]}
            assert told == {"CNY": Decimal("2.8034"), "USD": Decimal("0.01604075")}
            rows = (await client.get("/api/v1/query", params=asked, headers=bound)).json()["rows"]
            told = {row["currency"]: Decimal(row["rated_cost"]) for row in rows if row["currency"]}
            assert told == {"USD": Decimal("0.00065625")}

            scraper = key(service, Scope.METRICS)
            (await client.get("/metrics", headers=scraper)).raise_for_status()  # a new series says 0 at first
            cast(Clock, service.clock).now += AT_ZERO
            metrics = (await client.get("/metrics", headers=scraper)).text.splitlines()
            found = {
                line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
                for line in metrics
                if "rated" in line and line[0] != "#"
            }
            in_cny = [value for name, value in found.items() if name.startswith("dify_llm_rated_cost_cny_total{")]
            assert in_cny == [pytest.approx(2.8034)]
            in_usd = [value for name, value in found.items() if name.startswith("dify_llm_rated_cost_usd_total{")]
            assert sum(in_usd) == pytest.approx(0.01804075), "February too"
            unrated = {
                name: value for name, value in found.items() if name.startswith("dify_llm_unrated_tokens_total{")
            }
            assert {name: value for name, value in unrated.items() if value} == {
                f'dify_llm_unrated_tokens_total{{model_name="mystery",model_provider="{GPT[0]}"}}': 168
            }
            assert found["dify_metric_rated_timestamp_seconds"] == at(2, 3).timestamp()

    async def test_the_service_rates_from_time_to_time(self, folder: Path):
        async with served(folder) as (service, _):
            await service.money.rate()
            first = service.money.rated.looked_at
            assert service.store.rows("SELECT count(*) FROM rated_line WHERE amount > 0") == [(18,)]
            (folder / "prices.toml").write_text("not = a book")
            service.money.rated.looked_at = None
            await service.money.rate()
            assert (first, service.money.rated.looked_at) == (at(2, 3), None), (
                "a wrong book costs no line that was rated"
            )
            assert service.store.rows("SELECT count(*) FROM rated_line WHERE amount > 0") == [(18,)]

    async def test_a_key_bound_to_an_app_gets_its_part_of_the_bill(self, folder: Path):
        async with served(folder) as (service, client):
            bound = key(service, Scope.READ, Sight(apps=("tool",)))
            for _ in ("settling", "closed"):
                found = (await client.get(MONTH, params={"by": "app_name"}, headers=bound)).json()
                assert [(each["by"]["app_name"], each["amount"]) for each in found["groups"]] == [
                    ("Tool", "0.0006562500000000")
                ]
                assert [(each["currency"], each["amount"]) for each in found["totals"]] == [
                    ("USD", "0.0006562500000000")
                ]
                assert (found["is_part"], found["lines"], found["calls"]) == (True, 2, 1)
                assert (found["unpriced"], found["digest"]) == ([], None)
                lines = await client.get(f"{MONTH}/lines", params={"format": "csv"}, headers=bound)
                assert {row["app_id"] for row in csv.DictReader(io.StringIO(lines.text))} == {"tool"}
                periods = (await client.get("/api/v1/billing/periods", headers=bound)).json()["periods"]
                assert {(each["lines"], each["digest"]) for each in periods} == {(None, None)}
                service.money.bills.close("2026-01", "finance")

    @pytest.mark.parametrize("path", ["periods/2026-01/difference", "budgets"])
    async def test_what_is_of_all_together_is_not_for_a_key_bound_to_an_app(self, folder: Path, path: str):
        async with served(folder) as (service, client):
            bound = key(service, Scope.READ, Sight(apps=("desk",)))
            answer = await client.get(f"/api/v1/billing/{path}", headers=bound)
            assert (answer.status_code, answer.headers["content-type"]) == (403, "application/problem+json")

    async def test_a_service_without_a_book_says_so(self, folder: Path):
        async with served(folder, prices=None) as (service, client):
            answer = await client.get(MONTH, headers=key(service, Scope.READ))
            assert (answer.status_code, "set it to the path" in answer.json()["detail"]) == (409, True)

    @pytest.mark.parametrize(("path", "field"), [("/2026-13", "period"), ("/now", "period"), ("/2026-01?by=x", "by")])
    async def test_a_wrong_question_names_its_field(self, folder: Path, path: str, field: str):
        async with served(folder) as (service, client):
            answer: Any = await client.get(f"/api/v1/billing/periods{path}", headers=key(service, Scope.READ))
            assert (answer.status_code, answer.json()["field"]) == (400, field)

    async def test_a_book_that_changed_is_read_again(self, folder: Path):
        async with served(folder) as (service, client):
            reader = key(service, Scope.READ)
            (folder / "prices.toml").write_text(BOOK + '[[price]]\nmodel = "mystery"\ncurrency = "JPY"\nrequest = 2\n')
            found = (await client.get(MONTH, headers=reader)).json()
            assert [each["currency"] for each in found["totals"]] == ["CNY", "JPY", "USD"]
            (folder / "prices.toml").write_text("not = a book")
            wrong = await client.get(MONTH, headers=reader)
            assert (wrong.status_code, "prices.toml" in wrong.json()["detail"]) == (409, True)
