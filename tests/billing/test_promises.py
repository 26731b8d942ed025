"""What finance may rely on, whatever happened: every sum is that of the facts, closing is final, nothing is a float."""

from __future__ import annotations

import ast
import hashlib
import io
import os
import random
import subprocess
import sys
import types
import typing
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import collector.billing
from collector import bill_lines
from collector.bill_lines import KEY, LINES, ClosedPeriod
from collector.billing import rating
from collector.billing.bills import Bills
from collector.billing.book_file import parse_book
from collector.billing.exports import Billed, Form, written
from collector.errors import QueryError
from collector.period import Period, zone
from collector.records import ModelCall, Record
from collector.store import open_store
from collector.store.tables import table_of
from tests.billing import test_storage
from tests.billing.world import BOOK, GPT, MYSTERY, PAYERS, QWEN_MAX, SONNET, World, asked, at, january, told
from tests.builders import an_app
from tests.conftest import ROOT, examples

BOOKS = [
    BOOK,
    BOOK.replace("input = 2.00", "input = 1.99"),
    BOOK.replace("above = 1_000_000", "above = 5_000"),
    BOOK.replace("percent = 12.5", "percent = 33.33") + '[[price]]\nmodel = "*"\ncurrency = "EUR"\nrequest = 0.07\n',
]

calls = st.lists(
    st.tuples(
        st.sampled_from(["ana", "bo", "cy"]),
        st.sampled_from([GPT, QWEN_MAX, SONNET, MYSTERY]),
        st.integers(0, 58),  # the day, from 1 January on
        st.integers(0, 20_000) | st.integers(0, 10**12),
        st.integers(0, 3_000) | st.integers(0, 10**12),
        st.one_of(st.none(), st.integers(0, 9_000)),
    ),
    max_size=12,
)
changes = st.lists(
    st.tuples(
        calls,  # that arrive
        st.integers(0, 3),  # calls that go
        st.sampled_from(range(len(BOOKS))),  # the book from then on
        st.booleans(),  # Bo moves from Sales to Support
        st.booleans(),  # the next period is closed then, where it can be
    ),
    min_size=1,
    max_size=4,
)


def made(drawn: Iterable[tuple[Any, ...]], names: Iterator[int]) -> Iterator[Record]:
    for user, model, day, in_, out, cached in drawn:
        when = at(1, 1) + timedelta(days=day, seconds=next(names))
        tokens = {"input_tokens": in_, "output_tokens": out, "cached_input_tokens": cached}
        yield from asked(f"k{next(names)}", user, when, model, **tokens)


def sums(lines: pa.Table) -> dict[tuple[Any, ...], tuple[int, Decimal, Decimal]]:
    """Key -> quantity and amounts, of what is not nothing."""
    found: dict[tuple[Any, ...], list[Any]] = {}
    columns = [lines[name].to_pylist() for name in (*KEY, "quantity", "list_amount", "amount")]
    for row in zip(*columns, strict=True):
        each = found.setdefault(row[: len(KEY)], [0, Decimal(0), Decimal(0)])
        for place, value in enumerate(row[len(KEY) :]):
            each[place] += value
    return {key: tuple(each) for key, each in found.items() if any(each)}  # type: ignore[misc]


def month(name: str) -> Period:
    return Period.parse(since=name, tz="Asia/Shanghai", now=at(6, 1))


@given(changes)
@examples(0.15)
def test_what_was_billed_and_corrected_is_what_the_facts_are_worth(story: Sequence[tuple[Any, ...]]):
    names = iter(range(1_000_000))
    with closing(World(january())) as world:
        world.now = at(4, 2)
        months = iter(["2026-01", "2026-02", "2026-03"])
        closed, last = [], None
        for drawn, gone, book, is_moved, is_closed in story:
            world.put(*made(drawn, names))
            for (id_,) in world.store.rows(f"SELECT id FROM model_call ORDER BY id LIMIT {gone}"):
                world.forget(str(id_))
            world.book = parse_book(BOOKS[book])
            world.pay('[[payer]]\nuser_id = "bo"\ndepartment = "Support"\n' if is_moved else PAY)
            for name in ("2026-02", "2026-03"):  # what is remembered must not outlive what it is made of
                world.bills.lines(name)
            if is_closed and (last := next(months, None)):
                world.bills.close(last, "finance")
                closed.append(last)
        heir = next(months, None) if closed else None
        billed = [world.bills.lines(name) for name in (*closed, *([heir] if heir else []))]
        if not heir:
            return
        for name in (*closed, heir):
            of_name = [lines.filter(pa.array(_is_of(lines, name), pa.bool_())) for lines in billed]
            assert sums(pa.concat_tables(of_name)) == sums(
                rating.rated(world.store.arrow, world.book, month(name), name)
            )
        for lines in billed:
            assert_arithmetic(lines)


PAY = '[[payer]]\nuser_id = "ana"\ndepartment = "Research"\n[[payer]]\nuser_id = "bo"\ndepartment = "Sales"\n'


def _is_of(lines: pa.Table, name: str) -> list[bool]:
    """Which lines are about the usage of a period."""
    pairs = zip(lines["period"].to_pylist(), lines["corrects"].to_pylist(), strict=True)
    return [(corrects or period) == name for period, corrects in pairs]


def assert_arithmetic(lines: pa.Table) -> None:
    """Every line is its quantity times its price, less its discount; no id stands twice."""
    for row in lines.to_pylist():
        unit, share = row["unit_price"] or Decimal(0), row["discount"] or Decimal(0)
        assert row["list_amount"] == row["quantity"] * unit
        assert row["amount"] == row["quantity"] * (unit * (1 - share))
        assert (row["unit_price"] is None) == (row["currency"] is None)
    assert len(set(lines["id"].to_pylist())) == len(lines)


def test_a_closed_month_is_rated_anew_only_where_something_changed():
    with closing(World(january())) as world:
        asked_for: list[str] = []

        def arrow(sql: str, parameters: Mapping[str, object]) -> pa.Table:
            asked_for.append("corrections" if "billed AS" in sql else "other")
            return world.store.arrow(sql, parameters)

        bills = Bills(world.store.rows, arrow, world.store.close_period, lambda: world.book, lambda: world.now)
        bills.close("2026-01", "finance")

        def is_rated_anew() -> bool:
            asked_for.clear()
            found = sums(bills.lines("2026-02"))
            is_anew = "corrections" in asked_for
            assert found == sums(world.bills.lines("2026-02"))
            return is_anew

        assert [is_rated_anew(), is_rated_anew()] == [True, False]
        world.put(*asked("of february", "bo", at(2, 2), GPT, input_tokens=3))
        assert is_rated_anew(), "it has a message, which may say whose an older call is"
        assert not is_rated_anew()
        for change in (
            lambda: world.put(*asked("late", "bo", at(1, 20), GPT, input_tokens=50)),
            lambda: world.forget("c1"),
            lambda: world.pay(PAY),
            lambda: world.price("# another text"),
            lambda: world.put(an_app(id="desk", name="Desk 2", seen_at=at(12, 31))),
            lambda: world.store._writer.run("UPDATE bill_line SET department = 'x' WHERE kind = 'output'"),  # type: ignore[attr-defined]
        ):
            change()
            assert is_rated_anew()
            assert not is_rated_anew()


@given(calls, st.randoms(use_true_random=False))
@examples(0.1)
def test_splitting_payers_never_changes_the_sum(drawn: list[tuple[Any, ...]], draw: random.Random):
    book = BOOKS[2].replace("[[discount]]", "").replace('department = "Research"\npercent = 12.5', "")
    with closing(World(january(), book=book)) as world:
        world.put(*made(drawn, iter(range(1_000_000))))
        whole = by_model(world.bills.lines("2026-01"))
        entry = '[[payer]]\nuser_id = "{}"\nperson = "p{}"\nfrom = 2026-01-{:02}\n'
        entries = [entry.format(user, draw.randint(0, 2), draw.randint(1, 28)) for user in ("ana", "bo", "cy")]
        world.pay("".join(entries) + '[[payer]]\napp = "desk"\ndepartment = "D"\n')
        assert by_model(world.bills.lines("2026-01")) == whole


def by_model(lines: pa.Table) -> Counter[tuple[Any, ...]]:
    found: Counter[tuple[Any, ...]] = Counter()
    names = ("model_name", "kind", "currency", "unit_price", "quantity", "amount")
    for *key, quantity, amount in zip(*(lines[name].to_pylist() for name in names), strict=True):
        found[(*key, "quantity")] += quantity
        found[(*key, "amount")] += amount
    return found


@given(st.permutations(range(11)))
@examples(0.05)
def test_the_order_in_which_facts_arrive_changes_nothing(order: list[int]):
    records = list(january())
    with closing(World(records)) as one, closing(World()) as other:
        for place in order:
            other.put(*records[place::11])
        other.pay(PAYERS)
        assert one.bills.close("2026-01", "a").digest == other.bills.close("2026-01", "b").digest


def test_a_closed_period_is_the_same_from_a_backup_elsewhere(tmp_path: Path):
    with closing(World(january())) as world:
        closed = world.bills.close("2026-01", "finance")
        world.put(*asked("late", "bo", at(1, 20), GPT, input_tokens=50))
        world.store.backup(tmp_path / "copy.duckdb")
        kept = told(world.bills.lines("2026-01"), *LINES.names)
    with closing(open_store(tmp_path / "copy.duckdb")) as copy:
        bills = Bills(copy.rows, copy.arrow, copy.close_period, lambda: parse_book(BOOK), lambda: at(5, 1))
        assert told(bills.lines("2026-01"), *LINES.names) == kept
        assert bills.is_intact("2026-01")
        assert bills.statement("2026-01").digest == closed.digest


def test_whoever_has_the_file_can_work_out_the_digest_from_what_the_page_says():
    book = BOOK + '[[knowledge]]\ncurrency = "CNY"\ntokens = 0.1\n'
    with closing(World([*january(), *test_storage.shelves()], book=book)) as world:
        closed = world.bills.close("2026-01", "finance")
        period, is_closed = world.bills.bounds("2026-01")
        exported = written(Billed(world.bills.lines("2026-01"), period, "x", is_closed), Form.PARQUET)
    rows = pq.read_table(io.BytesIO(exported)).to_pylist()
    text = "2025-12-31T16:00:00+00:00\x1f2026-01-31T16:00:00+00:00"
    later = ("dataset_id", "dataset_name")
    for row in sorted(rows, key=lambda row: row["id"]):
        told = {name: f"{cell:f}" if isinstance(cell, Decimal) else cell for name, cell in row.items()}
        cells = ["\x1e" if cell is None else str(cell) for name, cell in told.items() if name not in later]
        cells += [f"{name}={told[name]}" for name in later if told[name] is not None]
        text += "\n" + "\x1f".join(cells)
    assert hashlib.sha256(text.encode()).hexdigest() == closed.digest


def test_a_month_closed_before_there_were_knowledge_bases_has_the_digest_it_had():
    """Worked out by the release whose lines ended with `amount`."""
    with closing(World(january())) as world:
        closed = world.bills.close("2026-01", "finance")
        ids = sorted(world.bills.lines("2026-01")["id"].to_pylist())
    assert closed.digest == "4116fa5441ee2899fffc68947d9e7327cda9f50775c1004b8d44cc15c42c3d2b"
    assert ids[0] == "239c1a6f04cea06b890b4144c5439cae"


ELSEWHERE = """
import sys, time
from datetime import datetime, timezone
from pathlib import Path
from collector.billing.bills import Bills
from collector.billing.book_file import read_book
from collector.store import open_store

store = open_store(sys.argv[1], threads=3)
book = read_book(Path(sys.argv[2]))
clock = lambda: datetime(2027, 5, 1, tzinfo=timezone.utc)
bills = Bills(store.rows, store.arrow, store.close_period, lambda: book, clock)
print(time.tzname[0], bills.statement("2026-01").digest, bills.is_intact("2026-01"), bills.is_intact("2026-02"))
print(len(bills.difference("2026-01").lines), bills.close("2026-03", "audit").digest)
"""


@pytest.mark.parametrize("timezone", ["America/St_Johns", "Pacific/Kiritimati"])
def test_a_backup_proves_the_same_in_another_process_and_another_zone(tmp_path: Path, timezone: str):
    with closing(World(january())) as world:
        world.put(*asked("march", "ana", at(3, 31, 23, 59, 59), GPT, input_tokens=10))
        world.now = at(4, 2)
        first = world.bills.close("2026-01", "finance")
        world.put(*asked("late", "bo", at(1, 20), GPT, input_tokens=50))
        world.bills.close("2026-02", "finance")
        world.store.backup(tmp_path / "copy.duckdb")
        march = world.bills.close("2026-03", "finance")
    (tmp_path / "prices.toml").write_text(BOOK)
    command = [sys.executable, "-c", ELSEWHERE, str(tmp_path / "copy.duckdb"), str(tmp_path / "prices.toml")]
    around = {**os.environ, "TZ": timezone, "LC_ALL": "C", "PYTHONHASHSEED": "7", "PYTHONPATH": str(ROOT)}
    said = subprocess.run(command, env=around, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True)
    (zone_there, digest, *intact), (differing, rated_there) = (line.split() for line in said.stdout.splitlines())
    assert zone_there not in ("UTC", "CST"), "the other process is elsewhere"
    assert (digest, intact) == (first.digest, ["True", "True"])
    assert (differing, rated_there) == ("0", march.digest), "what is rated anew there is what was rated here"


def test_the_same_facts_rated_anew_elsewhere_have_the_same_digest(tmp_path: Path):
    with closing(World(january())) as world:
        world.store.backup(tmp_path / "copy.duckdb")
        closed = world.bills.close("2026-01", "finance")
    with closing(open_store(tmp_path / "copy.duckdb", threads=1)) as copy:
        bills = Bills(copy.rows, copy.arrow, copy.close_period, lambda: parse_book(BOOK), lambda: at(5, 1))
        again = bills.close("2026-01", "audit")
    assert (again.digest, again.lines, again.book) == (closed.digest, closed.lines, closed.book)
    assert again.seal != closed.seal, "who closed it, and when, is sealed too"


@pytest.mark.parametrize(
    ("tampering", "moves_money"),
    [
        (
            "UPDATE bill_line SET amount = amount + 0.0000000000000001 WHERE kind = 'output' AND day = '2026-01-03'",
            True,
        ),
        ("UPDATE bill_line SET quantity = quantity - 1 WHERE kind = 'output' AND day = '2026-01-03'", True),
        ("UPDATE bill_line SET department = 'Sales' WHERE department = 'Research'", True),
        ("DELETE FROM bill_line WHERE day = '2026-01-08'", True),
        ("INSERT INTO bill_line SELECT * FROM bill_line WHERE day = '2026-01-03' LIMIT 1", True),
        ("UPDATE bill_line SET app_name = 'Other' WHERE period = '2026-01'", False),
        ("UPDATE bill_period SET closed_by = 'nobody' WHERE period = '2026-01'", False),
        ("UPDATE bill_period SET closed_at = closed_at + INTERVAL 1 SECOND WHERE period = '2026-01'", False),
        ("UPDATE bill_period SET book = 'other' WHERE period = '2026-01'", False),
        ("UPDATE bill_period SET digest = 'x' WHERE period = '2026-01'", False),
        ("UPDATE bill_period SET lines = lines + 1 WHERE period = '2026-01'", False),
    ],
)
def test_any_tampering_shows(tampering: str, moves_money: bool):
    with closing(World(january())) as world:
        world.bills.close("2026-01", "finance")
        world.now = at(3, 2)
        world.bills.close("2026-02", "finance")
        before = world.bills.difference("2026-01")
        assert (before.is_intact, len(before.lines)) == (True, 0)
        world.store._writer.run(tampering)  # type: ignore[attr-defined]
        found = world.bills.difference("2026-01")
        assert found.is_intact is False
        assert (len(found.lines) > 0) is moves_money
        assert world.bills.is_intact("2026-02") is False, "what was closed later is sealed with what was closed before"


def _other(kind: str) -> str:
    """A value that no line has."""
    if kind == "VARCHAR":
        return "'other'"
    if kind == "DATE":
        return "DATE '1999-01-01'"
    if kind.startswith("TIMESTAMP"):
        return "TIMESTAMPTZ '1999-01-01'"
    return "12345" if kind == "BIGINT" else "0.0421"


def test_no_column_of_a_line_or_a_closing_can_be_changed_unseen():
    """Each of them, in one row of each kind: usage, a correction, one without a price."""
    with closing(World(january())) as world:
        world.bills.close("2026-01", "finance")
        world.put(*asked("late", "bo", at(1, 20), GPT, input_tokens=50))
        world.now = at(3, 2)
        world.bills.close("2026-02", "finance")
        run = world.store._writer.run  # type: ignore[attr-defined]
        columns = run(
            "SELECT table_name, column_name, data_type FROM duckdb_columns() "
            "WHERE table_name IN ('bill_line', 'bill_period') ORDER BY ALL"
        )
        for table in ("bill_line", "bill_period"):
            run(f"CREATE TEMP TABLE kept_{table} AS FROM {table}")
        places = {
            "bill_line": ["corrects IS NOT NULL", "currency IS NULL", "corrects IS NULL AND currency IS NOT NULL"],
            "bill_period": ["period = '2026-01'", "period = '2026-02'"],
        }
        unseen = []
        for table, column, kind in columns:
            for place in places[table]:
                one = f"(SELECT rowid FROM {table} WHERE {place} ORDER BY rowid LIMIT 1)"
                run(f"UPDATE {table} SET {column} = {_other(kind)} WHERE rowid IN {one}")
                unseen += [f"{table}.{column} where {place}"] if _seems_intact(world) else []
                run(f"DELETE FROM {table}")
                run(f"INSERT INTO {table} FROM kept_{table}")
                assert _seems_intact(world), "put back as it was"
        assert unseen == []
        assert len(columns) == len(LINES) + len(ClosedPeriod.__struct_fields__)


def _seems_intact(world: World) -> bool:
    try:
        return world.bills.is_intact("2026-02")
    except QueryError:
        return False


def retired(world: World, ages: dict[str, timedelta]) -> None:
    """Facts go by their age, as a service lets them."""
    world.store.settle_rollups(everything=True)
    gone = world.store.retire(ages, at(12, 30))
    assert sum(gone.values()) > 0


@pytest.mark.parametrize("facts", ["model_call", "run", "message"])
def test_facts_that_are_gone_are_no_refund(facts: str):
    with closing(World(january(), is_lasting=True)) as world:
        closed = world.bills.close("2026-01", "finance")
        before = told(world.bills.lines("2026-02"))
        retired(world, {facts: timedelta(days=340)})  # the first days of January
        assert told(world.bills.lines("2026-02")) == before
        assert told(world.bills.lines("2026-01"))
        found = world.bills.difference("2026-01")
        assert (found.is_intact, len(found.lines), found.days_gone > 0) == (True, 0, True)
        with pytest.raises(QueryError, match="cannot be rated anew"):
            world.bills.difference("2026-01", world.book)
        assert world.bills.close("2026-01", "again") == closed


def test_a_month_that_lost_facts_is_not_closed_as_if_it_were_whole():
    with closing(World(january(), is_lasting=True)) as world:
        retired(world, {"model_call": timedelta(days=340)})
        with pytest.raises(QueryError, match=r"cannot be closed: .* of its days have lost facts to their age"):
            world.bills.close("2026-01", "finance")
        (warning,) = world.bills.statement("2026-01").warnings
        assert "have lost facts to their age: the bill is too small" in warning


def modules() -> list[types.ModuleType]:
    names = [each.name for each in iter_modules(collector.billing.__path__, "collector.billing.")]
    return [bill_lines, *map(import_module, names)]


def _in_type(hint: object) -> Iterator[object]:
    yield hint
    for part in typing.get_args(hint):
        if isinstance(part, list):
            for each in part:
                yield from _in_type(each)
        else:
            yield from _in_type(part)


def test_no_type_near_money_is_a_float():
    seen = 0
    for module in modules():
        for thing in vars(module).values():
            if getattr(thing, "__module__", None) != module.__name__:
                continue
            things = [thing, *vars(thing).values()] if isinstance(thing, type) else [thing]
            for each in things:
                if isinstance(each, type | types.FunctionType):
                    for name, hint in typing.get_type_hints(each).items():
                        seen += 1
                        assert float not in set(map(id_or_self, _in_type(hint))), f"{module.__name__}: {each} {name}"
    assert seen > 100, "too few types were read to mean anything"


def id_or_self(hint: object) -> object:
    return hint if isinstance(hint, type) else id(hint)


def test_no_line_of_billing_writes_a_float():
    for file in sorted((ROOT / "collector" / "billing").glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            at_ = f"{file.name}:{getattr(node, 'lineno', 0)}"
            assert not (isinstance(node, ast.Constant) and isinstance(node.value, float)), at_
            assert not (isinstance(node, ast.Name) and node.id == "float"), at_
            assert not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)), f"{at_}: a quotient is rounded"
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not {"DOUBLE", "FLOAT", "REAL"} & set(node.value.replace("(", " ").split()), at_


def test_no_column_near_money_is_a_float():
    with closing(open_store(":memory:")) as store:
        columns = store.rows("SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE NOT internal")
    ours = {(table, column): kind for table, column, kind in columns if str(table).startswith("bill_")}
    assert ours["bill_line", "amount"] == "DECIMAL(38,16)"
    assert not [place for place, kind in ours.items() if kind in ("DOUBLE", "FLOAT", "REAL")]
    assert not [field for field in LINES if pa.types.is_floating(field.type)]
    assert {field.name for field in table_of(ModelCall).arrow_schema if pa.types.is_decimal(field.type)} == {"cost"}
    with closing(World(january())) as world:
        lines = world.bills.lines("2026-01")
        assert lines.schema == LINES
        values = [value for row in lines.to_pylist() for value in row.values()]
        values += [value for each in world.bills.statement("2026-01").totals for value in msgspec.structs.astuple(each)]
    assert {type(value) for value in values if value is not None} == {int, str, Decimal, type(at(1, 1).date())}


def test_days_are_those_of_the_books_zone_when_clocks_change():
    book = BOOK.replace("Asia/Shanghai", "America/New_York")
    with closing(World(book=book)) as world:
        world.now = datetime(2026, 12, 1, tzinfo=zone("UTC"))
        for number, when in enumerate(
            ["2026-11-01T03:59:59", "2026-11-01T04:00:00", "2026-11-02T04:59:59", "2026-11-02T05:00:00"]
        ):
            moment = datetime.fromisoformat(when).replace(tzinfo=zone("UTC"))
            world.put(*asked(f"w{number}", "bo", moment, GPT, input_tokens=10**number))
        assert told(world.bills.lines("2026-10"), "day", "quantity") == [("2026-10-31", 1)]
        assert told(world.bills.lines("2026-11"), "day", "quantity") == [("2026-11-01", 110), ("2026-11-02", 1000)]
