"""Budgets: worked out by hand in the middle of a month, over REST, as metrics and as news."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from collector.app import Service
from collector.billing.book_file import parse_book
from collector.billing.budgets import BudgetState
from collector.budget_post import BudgetPost
from collector.errors import SettingsError
from collector.faces.budgets import METRICS, Watch
from collector.settings.configuration import load_settings
from tests.billing.world import BOOK, PAYERS, QWEN_MAX, World, asked, at, january
from tests.builders import a_request
from tests.servers.post import DROP, ERROR, OK, Hook, a_hook

BUDGETS = """
[[budget]]
name = "research"
amount = 1.5
currency = "CNY"
department = "Research"

[[budget]]
name = "sales"
amount = 1.36
currency = "CNY"
cost_centre = "CC-2"

[[budget]]
name = "dollars"
amount = 1
currency = "USD"
"""


@pytest.fixture
def world() -> Iterator[World]:
    """15 of 31 days of January have passed."""
    world = World(january(), book=BOOK + BUDGETS)
    world.now = at(1, 16, 0)
    yield world
    world.close()


def seen(state: BudgetState) -> dict[str, Any]:
    return {name: str(getattr(state, name)) for name in ("used_percent", "per_day", "projected", "state")}


def test_three_budgets_in_mid_month(world: World):
    research, sales, dollars = world.bills.budgets()
    assert (research.used.normalize(), research.left.normalize()) == (Decimal("1.4434"), Decimal("0.0566"))
    assert seen(research) == {"used_percent": "96.23", "per_day": "0.10", "projected": "2.98", "state": "at risk"}
    # 15 days × 1.5 ÷ 1.4434, to the second
    assert research.exhausted_at == at(1, 1, 0) + timedelta(seconds=1_346_820)
    assert seen(sales) == {"used_percent": "100.00", "per_day": "0.09", "projected": "2.81", "state": "exhausted"}
    assert (sales.exhausted_at, sales.left) == (at(1, 4, 0), 0)
    assert seen(dollars) == {"used_percent": "1.60", "per_day": "0.00", "projected": "0.03", "state": "within"}
    assert (dollars.exhausted_at, dollars.period) == (None, "2026-01")


@pytest.mark.parametrize(
    ("subject", "used"),
    [
        ('person = "*"', "0.01604075"),
        ('app = "Desk"', "0.0153845"),
        ('app = "desk"', "0.0153845"),
        ('app = "tool"', "0.00065625"),
        ('provider = "anthropic"', "0.009"),
        ('provider = "langgenius/anthropic/*"', "0.009"),
        ('model = "gpt-*"\ndepartment = "Sales"', "0.0028845"),
        ('department = "S?les"', "0.0118845"),
        ('workspace = "nobody"', "0"),
    ],
)
def test_a_budget_is_of_whom_its_texts_fit(subject: str, used: str):
    book = BOOK + f'[[budget]]\nname = "b"\namount = 1\ncurrency = "USD"\n{subject}\n'
    world = World(january(), book=book)
    world.now = at(1, 31)
    (state,) = world.bills.budgets()
    assert f"{state.used.normalize():f}" == used
    world.close()


def test_corrections_are_used_in_the_month_that_bills_them(world: World):
    world.now = at(2, 3)
    world.bills.close("2026-01", "finance")
    world.put(*asked("late", "ana", at(1, 30), QWEN_MAX, input_tokens=500_000))
    research, *_ = world.bills.budgets()
    assert (research.period, research.used.normalize()) == ("2026-02", Decimal("0.875"))


def test_a_month_without_usage_lasts(world: World):
    world.now = at(5, 1, 0)  # not a moment has passed
    assert {(state.state, state.used, state.exhausted_at) for state in world.bills.budgets()} == {("within", 0, None)}


def test_a_book_without_budgets_asks_nothing():
    world = World()
    assert world.bills.budgets() == []
    world.close()


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ('[[budget]]\nname = "b"\ncurrency = "USD"', "line 1: amount: missing"),
        ('[[budget]]\nname = "b"\namount = 0\ncurrency = "USD"', "line 3: amount: wanted more than 0"),
        ('[[budget]]\namount = 1\ncurrency = "USD"', "line 1: name: missing"),
        ('[[budget]]\nname = "b"\namount = 1\ncurrency = "usd"', "line 4: currency: wanted a code"),
        ('[[budget]]\nname = "b"\namount = 1\ncurrency = "USD"\n' * 2, "line 1 and line 5 are both called 'b'"),
        ('[[budget]]\nname = "b"\namount = 1\ncurrency = "USD"\nteam = "x"', "line 5: team: is no field of a budget"),
    ],
)
def test_a_mistake_is_told_with_its_line(written: str, said: str):
    with pytest.raises(SettingsError) as raised:
        parse_book(written)
    assert said in str(raised.value)


def test_news_is_told_once_and_again_when_it_gets_worse(world: World):
    watch = Watch(world.bills.budgets)
    assert [message["id"] for message in watch.refresh()] == ["2026-01/research/at risk", "2026-01/sales/exhausted"]
    assert watch.refresh() == []
    world.put(*asked("more", "ana", at(1, 15), QWEN_MAX, input_tokens=900_000))
    (message,) = watch.refresh()
    assert message["id"] == "2026-01/research/exhausted"
    assert message["text"].startswith("Budget research is used up: ")
    assert "of 1.5 CNY used in 2026-01" in message["text"]


def test_metrics_are_those_of_the_last_look(world: World):
    watch = Watch(world.bills.budgets)
    assert watch.values("dify_budget_used_ratio") == {}
    watch.refresh()
    assert watch.values("dify_budget_used_ratio")["sales", "CNY"] == 1.0
    assert watch.values("dify_budget_projected_ratio")["research", "CNY"] == pytest.approx(1.98666667)
    gone = watch.values("dify_budget_exhausted_timestamp_seconds")
    assert {labels: datetime.fromtimestamp(value, at(1, 1).tzinfo) for labels, value in gone.items()} == {
        ("research", "CNY"): at(1, 1, 0) + timedelta(seconds=1_346_820),
        ("sales", "CNY"): at(1, 4, 0),
    }
    assert set(METRICS) == {
        "dify_budget_used_ratio",
        "dify_budget_projected_ratio",
        "dify_budget_exhausted_timestamp_seconds",
    }


def test_a_book_that_cannot_be_read_leaves_the_last_look(world: World):
    watch = Watch(world.bills.budgets)
    watch.refresh()

    def broken() -> list[BudgetState]:
        raise SettingsError("prices.toml: is no TOML")

    watch._look = broken
    assert watch.refresh() == []
    assert watch.values("dify_budget_used_ratio")["sales", "CNY"] == 1.0


@pytest.fixture
def hook() -> Iterator[Hook]:
    with a_hook() as hook:
        yield hook


NEWS = [{"id": f"2026-01/{name}/exhausted", "text": f"Budget {name} is used up", "used": "1.0"} for name in "ab"]


async def test_news_are_told_until_they_are_taken_with_the_same_key(hook: Hook):
    sent = BudgetPost(f"{hook.url}/secret-path", lambda: at(1, 16, 0))
    hook.behaves = DROP
    with capture_logs() as lines:
        await sent.tell(NEWS[:1])
        hook.behaves = OK
        await sent.tell(NEWS[1:])
        await sent.tell([])
    assert hook.taken == NEWS
    assert len(hook.heard) == 3
    again = BudgetPost(f"{hook.url}/secret-path", lambda: at(1, 17, 0))
    await again.tell(NEWS)
    assert hook.keys[:2] == hook.keys[2:], "told again after a restart, a message has the key it had"
    assert [line["event"] for line in lines] == ["webhook failed"]
    assert "secret-path" not in str(lines)


async def test_a_webhook_that_asks_to_be_left_alone_is(hook: Hook):
    now = at(1, 16, 0)
    sent = BudgetPost(hook.url, lambda: now)
    hook.behaves, hook.status, hook.headers = ERROR, 429, {"Retry-After": "1800"}
    await sent.tell(NEWS)
    assert len(hook.heard) == 1
    hook.behaves = OK
    now += timedelta(minutes=29)
    await sent.tell([])
    assert len(hook.heard) == 1
    now += timedelta(minutes=1)
    await sent.tell([])
    assert hook.taken == NEWS


async def test_a_service_tells_rest_metrics_and_the_webhook(tmp_path: Path, hook: Hook):
    (tmp_path / "prices.toml").write_text(BOOK + BUDGETS)
    (tmp_path / "payers.toml").write_text(PAYERS)
    files = {name: str(tmp_path / f"{name}.toml") for name in ("prices", "payers")}
    told = {"store": str(tmp_path / "t.duckdb"), **files, "budget_webhook": f"{hook.url}/budgets"}
    service = Service(load_settings(told, {}), clock=lambda: at(1, 16, 0))
    hook.behaves = ERROR
    try:
        service.put(january())
        await service.money.resolve_payers()
        await service.money.watch_budgets()
        ids = ["2026-01/research/at risk", "2026-01/sales/exhausted"]
        assert (hook.heard, hook.taken) == (["/budgets"] * 2, [])
        hook.behaves = OK
        await service.money.watch_budgets()
        assert [each["id"] for each in hook.taken] == ids, "what was not taken is told again"
        assert set(hook.taken[0]) == {"id", "text", *BudgetState.__struct_fields__}
        assert len(set(hook.keys)) == 2
        assert len(hook.keys[0] or "") == 16
        await service.money.watch_budgets()
        assert len(hook.heard) == 4, "and nothing twice"
        web = httpx.ASGITransport(service.web())
        async with httpx.AsyncClient(transport=web, base_url="http://collector") as client:
            found = (await client.get("/api/v1/billing/budgets")).json()["budgets"]
            metrics = (await client.get("/metrics")).text
        assert [(each["name"], each["state"]) for each in found] == [
            ("research", "at risk"),
            ("sales", "exhausted"),
            ("dollars", "within"),
        ]
        assert 'dify_budget_used_ratio{budget="sales",currency="CNY"} 1.0' in metrics
    finally:
        await service.close()


KEYED = """
[[budget]]
name = "the shop's key"
amount = 0.003
currency = "USD"
key = "aaaa000000000001"

[[budget]]
name = "any key, cheap models"
amount = 1
currency = "USD"
key = "?*"
model = "gpt-*"
"""


def test_a_budget_of_a_key_counts_what_its_requests_caused():
    """m1 (0.0035 USD) came by one key, m2 (0.0016025) by another; of the rest nobody saw a request."""
    world = World(january(), book=BOOK + KEYED)
    world.now = at(1, 16, 0)
    for message, key, day in (("m1", "aaaa000000000001", 5), ("m2", "bbbb000000000002", 15)):
        world.put(
            a_request(id=f"r-{message}", app_id="desk", message_id=message, key_fingerprint=key, created_at=at(1, day))
        )
    whole = {total.currency: total.amount for total in world.bills.statement("2026-01").totals}
    one, both = world.bills.budgets()
    assert (one.used.normalize(), one.state) == (Decimal("0.0035"), "exhausted")
    assert (one.about, one.exhausted_at) == ({"key": "aaaa000000000001"}, at(1, 5, 0))
    assert (both.used.normalize(), both.state) == (Decimal("0.0051025"), "within")
    assert both.projected == Decimal("0.01"), "31 days of 15, as it is paid"
    assert {total.currency: total.amount for total in world.bills.statement("2026-01").totals} == whole
    assert "key_fingerprint" not in world.bills.lines("2026-01").column_names, "no line changes by it"
    world.close()
