"""A small world whose bill can be worked out with pencil and paper, and the ways to look at it.

Days are Shanghai's. Ana is of Research (12.5 % off), Bo of Sales. January 2026 has:

    m1     5 Jan          Ana  gpt-4o    1,000 in (400 of them cached), 200 out
    m2    15 Jan 23:59:59 Bo   gpt-4o      333 in, 77 out
    m3    16 Jan 00:00:00 Bo   gpt-4o      333 in, 77 out; dearer prices ended with the 15th
    q1     3 Jan          Ana  qwen-max    600,000 in, 1,000 out
    q2     4 Jan          Bo   qwen-max    600,000 in
    q3     7 Jan          Ana  qwen-max    100,000 in; above a million, input is cheaper
    c1     8 Jan          Bo   claude    1,000 in, 5,000 cached beside them, 300 out
    x1     9 Jan          Ana  mystery     123 in, 45 out; nobody knows what it costs
    n1    10 Jan          Ana  gpt-4o      100 in, 50 out, in a workflow that is a tool of another workflow
    d1    11 Jan          Ana  gpt-4o    9,999 in, in a console test run
    f1     1 Feb 00:30    Bo   gpt-4o    1,000 in; in UTC it is January still
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa

from collector.billing.bills import Bills
from collector.billing.book import Book
from collector.billing.book_file import parse_book
from collector.billing.rated import Rated
from collector.billing.statement import totals
from collector.faces.asking import Asker
from collector.faces.rest_models import Asked
from collector.measures.answer import Answer
from collector.payer_file import parse_toml
from collector.records import App, ModelCall, Record
from collector.store import Store, open_store
from tests.builders import a_call, a_message, a_node, a_run, a_user, an_app

SHANGHAI = ZoneInfo("Asia/Shanghai")
OPENAI, QWEN, CLAUDE = (f"langgenius/{name}/{name}" for name in ("openai", "tongyi", "anthropic"))

BOOK = """
timezone = "Asia/Shanghai"

[[price]]
model = "gpt-4o"
currency = "USD"
per = "1M"
input = 2.50
cached_input = 1.25
output = 10.00

[[price]]
model = "gpt-4o"
currency = "USD"
per = "1M"
input = 2.00
cached_input = 1.00
output = 8.00
from = 2026-01-16

[[price]]
provider = "tongyi"
model = "qwen-*"
currency = "CNY"
per = "1k"
input = 0.0024
output = 0.0096
tiers = [{ above = 1_000_000, input = 0.0020 }]

[[price]]
provider = "anthropic"
model = "claude-*"
currency = "USD"
per = "1M"
input = 3.00
cached_input = 0.30
output = 15.00

[[discount]]
department = "Research"
percent = 12.5
"""

PAYERS = """
[[payer]]
user_id = "ana"
department = "Research"
cost_centre = "CC-1"

[[payer]]
user_id = "bo"
department = "Sales"
cost_centre = "CC-2"
"""


def at(month: int, day: int, hour: int = 12, minute: int = 0, second: int = 0) -> datetime:
    """An instant on Shanghai's clocks."""
    return datetime(2026, month, day, hour, minute, second, tzinfo=SHANGHAI).astimezone(UTC)


def asked(id: str, user: str, when: datetime, model: tuple[str, str], **tokens: Any) -> Iterable[Record]:
    """A question of a chat app and the call that answered it."""
    own = {"app_id": "desk", "created_at": when, "finished_at": when + timedelta(seconds=1), "is_debug": False}
    told = {"input_tokens": 0, "output_tokens": 0, "cost": None, "currency": None, **tokens}
    told["tokens"] = told["input_tokens"] + told["output_tokens"] if told["input_tokens"] is not None else None
    provider, name = model
    yield a_message(**own, id=id, user_id=user)
    place = {"id": id, "message_id": id, "run_id": None, "node_id": None, "node_type": "message"}
    yield a_call(**{**own, **place, "model_provider": provider, "model_name": name, **told})


def nested() -> Iterable[Record]:
    """A workflow that calls another one as a tool: its tokens are told four times, and called once."""
    when = at(1, 10)
    own = {"created_at": when, "user_id": "ana", "user_kind": "end_user"}
    yield a_run(**own, id="parent", app_id="flow", reported_tokens=150)
    yield a_run(**own, id="child", app_id="tool", reported_tokens=150)
    yield a_node(id="t1", run_id="parent", app_id="flow", node_type="tool", reported_tokens=150, created_at=when)
    yield a_node(id="n1", run_id="child", app_id="tool", node_type="llm", reported_tokens=150, created_at=when)
    yield a_call(
        id="n1",
        run_id="child",
        app_id="tool",
        created_at=when,
        cost=None,
        currency=None,
        model_provider=OPENAI,
        model_name="gpt-4o",
        tokens=150,
        input_tokens=100,
        output_tokens=50,
    )


GPT, QWEN_MAX, SONNET, MYSTERY = (
    (OPENAI, "gpt-4o"),
    (QWEN, "qwen-max"),
    (CLAUDE, "claude-sonnet-4"),
    (OPENAI, "mystery"),
)


def january() -> Iterable[Record]:
    """Everything above."""
    yield from (an_app(id=id, name=id.title(), mode="chat") for id in ("desk", "flow", "tool"))
    yield from (a_user(id=id, session_id=id) for id in ("ana", "bo"))
    yield from asked("m1", "ana", at(1, 5), GPT, input_tokens=1000, cached_input_tokens=400, output_tokens=200)
    yield from asked("m2", "bo", at(1, 15, 23, 59, 59), GPT, input_tokens=333, output_tokens=77)
    yield from asked("m3", "bo", at(1, 16, 0), GPT, input_tokens=333, output_tokens=77)
    yield from asked("q1", "ana", at(1, 3), QWEN_MAX, input_tokens=600_000, output_tokens=1000)
    yield from asked("q2", "bo", at(1, 4), QWEN_MAX, input_tokens=600_000)
    yield from asked("q3", "ana", at(1, 7), QWEN_MAX, input_tokens=100_000)
    yield from asked("c1", "bo", at(1, 8), SONNET, input_tokens=1000, cached_input_tokens=5000, output_tokens=300)
    yield from asked("x1", "ana", at(1, 9), MYSTERY, input_tokens=123, output_tokens=45)
    yield from nested()
    yield from asked("d1", "ana", at(1, 11), GPT, input_tokens=9999, is_debug=True)
    yield from asked("f1", "bo", at(2, 1, 0, 30), GPT, input_tokens=1000)


SPARE: list[Store] = []
"""Stores that were emptied: making one takes longer than most tests."""

FILLED = (
    *("app", "run", "node_execution", "model_call", "message", "end_user", "request"),
    *("payer_span", "bill_period", "bill_line", "rated_line", "rated_period", "dataset", "dataset_day"),
)


class World:
    """A store with its bills; the book, the payers and the clock can change."""

    def __init__(
        self, records: Iterable[Record] = (), book: str = BOOK, payers: str = PAYERS, *, is_lasting: bool = False
    ) -> None:
        """`is_lasting`: the store is this world's alone, and ends with it."""
        self._is_lasting = is_lasting
        self.store: Store = SPARE.pop() if SPARE and not is_lasting else open_store(":memory:")
        self.now = at(2, 3)
        self.book: Book = parse_book(book)
        self.bills = Bills(
            self.store.rows, self.store.arrow, self.store.close_period, lambda: self.book, lambda: self.now
        )
        self.rated = Rated(self.bills, self.store.rows, self.store.keep_rated, lambda: self.now)
        self.put(*records)
        self.pay(payers)

    def asked(self, *measures: str, by: Sequence[str] = (), since: str = "all", **more: Any) -> Answer:
        """The answer of the catalogue, on Shanghai's calendar."""
        question = Asked(measure=[*measures], by=[*by], since=since, **more)
        return Asker(self.rated.rows, self.now, "Asia/Shanghai").answered(question)

    def put(self, *records: Record) -> None:
        if records:
            self.store.put(records)

    def pay(self, written: str) -> None:
        users = [a_user(id=id, session_id=id) for (id,) in self.store.rows("SELECT id FROM end_user")]
        apps = [App(**(vars_of(an_app(id=id)))) for (id,) in self.store.rows("SELECT id FROM app")]
        keys = [str(key) for (key,) in self.store.rows("SELECT DISTINCT key_fingerprint FROM request")]
        workspaces = [str(id) for (id,) in self.store.rows("SELECT DISTINCT workspace_id FROM dataset")]
        found = parse_toml(written).resolve(users, apps=apps, keys=keys, workspaces=workspaces)
        self.store.set_payers(found)

    def price(self, *more: str, instead: tuple[str, str] = ("", "")) -> None:
        self.book = parse_book(BOOK.replace(*instead) + "\n".join(more))

    def forget(self, call: str) -> None:
        """A call that is no more, as an estimate is once the real calls are known."""
        self.store._writer.run("DELETE FROM model_call WHERE id = ?", [call])  # type: ignore[attr-defined]

    def close(self) -> None:
        if self._is_lasting:
            self.store.close()
            return
        for table in FILLED:
            self.store._writer.run(f"DELETE FROM {table}")  # type: ignore[attr-defined]
        SPARE.append(self.store)


def vars_of(record: App | ModelCall) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__struct_fields__}


COLUMNS = ("day", "department", "model_name", "kind", "quantity", "unit_price", "amount")


def told(lines: pa.Table, *columns: str) -> list[tuple[Any, ...]]:
    """Some columns of lines, in order, as a person would write them: days and decimals as text, without zeros."""
    names = columns or COLUMNS
    rows = zip(*(lines[name].to_pylist() for name in names), strict=True)
    return sorted((tuple(map(plain, row)) for row in rows), key=str)


def plain(value: object) -> object:
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    return value if value is None or isinstance(value, int) else str(value)


def money(lines: pa.Table) -> dict[str, str]:
    """Currency -> the exact sum."""
    return {total.currency: f"{total.amount.normalize():f}" for total in totals(lines)}
