"""A site of three weeks to report about, the same each time: apps, models, users, prices in two currencies.

It is Saturday, 21 November 2026, and the report is about the week before (2026-W46), in Shanghai.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

from collector.measures.query import Query, run
from collector.payers import PayerSpan
from collector.records import CONSOLE, Dataset, DatasetDay, Pull, Record, Retrieval, Watermark
from collector.reporting import report_of
from collector.reports.report import Report
from collector.reports.spans import span_of
from collector.store import Store, open_store
from tests.builders import a_call, a_conversation, a_feedback, a_message, a_run, a_user, an_app

NOW = datetime(2026, 11, 21, 2, 0, tzinfo=UTC)
TZ = "Asia/Shanghai"
BEGAN = datetime(2026, 10, 31, 16, 0, tzinfo=UTC)
WEEK = "2026-W46"

NAMES = (
    *("客服助手", "知识问答", "HR helpdesk", "Research assistant", "营销文案", "Translate", "合同审核", "数据分析"),
    *("Code review", "会议纪要", "Weekly digest", "简历筛选"),
)
MODELS = (
    ("langgenius/openai/openai", "gpt-4o-mini", "USD"),
    ("langgenius/tongyi/tongyi", "qwen-max", "CNY"),
    ("langgenius/deepseek/deepseek", "deepseek-chat", "CNY"),
)
PEOPLE = ("alice", "王伟", "李娜", "bob", "carol", "张敏", "dave", "erin", "刘洋", "frank", "陈静", "grace")
DEPARTMENTS = {"研发部": (0, 1, 2), "Sales": (3, 4, 5, 6), "市场部": (7, 8)}
"""Of the first nine people; nobody has said who pays for the others."""

ERRORS = ("timeout", "rate_limited", "quota_exceeded", "_OTHER")

TOLD: dict[str, Any] = {"source": CONSOLE, "seen_at": NOW}


def app_id(number: int) -> str:
    return f"app-{number:04}"


def apps(names: Sequence[str] = NAMES) -> Iterator[Record]:
    """Even ones are chat apps, odd ones workflows; the last but one is new, the last was never used."""
    for number, name in enumerate(names):
        made = datetime(2026, 11, 11, 3, tzinfo=UTC) if number == len(names) - 2 else datetime(2026, 3, 1, tzinfo=UTC)
        mode = "workflow" if number % 2 else "chat"
        yield an_app(**TOLD, id=app_id(number), name=name, mode=mode, created_at=made, is_published=True)


def traffic(names: Sequence[str] = NAMES, days: int = 21, most: int = 40) -> Iterator[Record]:
    """Each app but the last a little less used than the one before it, and a little more every day."""
    chance = Random(7)
    for number in range(len(names) - 1):
        for day in range(days):
            often = max(1, round(most / (number + 1) * (1 + day / 30)))
            for place in range(often):
                at = BEGAN + timedelta(days=day, seconds=chance.randrange(86_400))
                yield from _asked(number, f"{number}-{day}-{place}", at, chance)


def _asked(number: int, key: str, at: datetime, chance: Random) -> Iterator[Record]:
    person, seconds = chance.randrange(len(PEOPLE)), round(chance.lognormvariate(1 + number % 12 / 15, 0.6), 3)
    provider, model, currency = MODELS[(number + person) % len(MODELS)]
    failed = chance.random() < 0.02 + number % 12 / 200
    user = {"user_id": f"u{person}", "user_kind": "end_user", "session_id": PEOPLE[person]}
    ended: dict[str, Any] = {
        "status": "failed" if failed else "succeeded",
        "error_class": chance.choice(ERRORS) if failed else None,
        "created_at": at,
        "finished_at": at + timedelta(seconds=seconds),
    }
    asked: dict[str, Any]
    if number % 2:
        asked = {"run_id": f"r{key}"}
        yield a_run(id=f"r{key}", app_id=app_id(number), elapsed_seconds=seconds, **user, **ended)
    else:
        talk = f"c{number}-{person}-{at:%j}"
        asked = {"run_id": None, "message_id": f"m{key}"}
        yield a_message(
            id=f"m{key}", app_id=app_id(number), conversation_id=talk, latency_seconds=seconds, **user, **ended
        )
        yield a_conversation(id=talk, app_id=app_id(number), created_at=at, **user)
        if chance.random() < 0.2:
            rating = "like" if chance.random() < 0.8 else "dislike"
            yield a_feedback(
                id=f"m{key}/user", message_id=f"m{key}", app_id=app_id(number), rating=rating, created_at=at
            )
    tokens = (chance.randrange(200, 3000), chance.randrange(50, 900))
    price = Decimal(sum(tokens)) * (Decimal("0.0000021") if currency == "USD" else Decimal("0.000012"))
    yield a_call(
        id=f"k{key}",
        app_id=app_id(number),
        model_provider=provider,
        model_name=model,
        input_tokens=tokens[0],
        output_tokens=tokens[1],
        tokens=sum(tokens),
        cost=price.quantize(Decimal("0.000000001")),
        currency=currency,
        latency_seconds=seconds * 0.8,
        **asked,
        **ended,
    )


def knowledge() -> Iterator[Record]:
    """Two knowledge bases, one of them used."""
    for number, name in enumerate(("产品手册", "Staff handbook")):
        yield Dataset(**TOLD, id=f"d{number}", name=name, origin="dify", created_at=BEGAN)
        for day in range(21):
            at = (BEGAN + timedelta(days=day)).replace(hour=0)
            yield DatasetDay(
                **TOLD,
                id=f"d{number}/{day}",
                dataset_id=f"d{number}",
                created_at=at,
                documents=40 + number,
                segments=900 + day,
                apps=2 - number,
            )
    for number in range(60):
        yield Retrieval(
            **TOLD,
            id=f"q{number}",
            dataset_id="d0",
            app_id=app_id(0),
            origin="app",
            created_at=BEGAN + timedelta(hours=8 * number),
        )


def pulls() -> Iterator[Record]:
    """One each day, of which two failed."""
    for day in range(21):
        yield Pull(
            **TOLD,
            id=f"p{day}",
            stream="runs",
            created_at=BEGAN + timedelta(days=day),
            seconds=1.5,
            requests=4,
            pages=2,
            records=100,
            parse_failures=0,
            error_class="unavailable" if day in (9, 12) else None,
            is_complete=day not in (9, 12),
            origin="dify",
        )


def watermarks(names: Sequence[str] = NAMES) -> Iterator[Watermark]:
    """Everything was read until an hour ago; of very many apps nobody says so, as each takes a statement."""
    if len(names) > 100:
        return
    for stream in ("runs", "app-logs", "node-executions", "conversations", "messages", "feedback"):
        for number in range(len(names)):
            yield Watermark(
                source=CONSOLE, stream=stream, app_id=app_id(number), complete_until=NOW - timedelta(hours=1), origin=""
            )


def users() -> Iterable[Record]:
    return [a_user(**TOLD, id=f"u{place}", session_id=name) for place, name in enumerate(PEOPLE)]


def payers() -> Iterator[PayerSpan]:
    for department, people in DEPARTMENTS.items():
        for person in people:
            yield PayerSpan(
                kind="user",
                value=f"u{person}",
                start=None,
                end=None,
                person=PEOPLE[person],
                department=department,
                cost_centre=None,
                place="line 1",
            )


@contextmanager
def a_site(
    names: Sequence[str] = NAMES, *, most: int = 40, days: int = 21, path: str = ":memory:", is_read: bool = True
) -> Iterator[Store]:
    """The whole site in a store; `is_read`: it says how far everything was read."""
    with closing(open_store(path, now=BEGAN)) as store:
        records = [*apps(names), *users(), *traffic(names, days, most), *knowledge(), *pulls()]
        store.put(records, watermarks(names) if is_read else ())
        store.set_payers(payers())
        store.settle_rollups(everything=True)
        yield store


def a_filled_store(folder: Path) -> Path:
    """A store of a smaller site, closed: to be copied by whoever writes into it."""
    path = folder / "facts.duckdb"
    with a_site(most=8, path=str(path)):
        return path


def a_report(store: Store, name: str = WEEK, *, tz: str = TZ, now: datetime = NOW, **asked: Any) -> Report:
    """A report of it."""
    top = asked.pop("top", 10)
    return report_of(span_of(name, tz=tz, now=now, **asked), store.snapshot, now, top=top)


def answered(store: Store, report: Report, measures: str, **asked: Any) -> list[dict[str, object]]:
    """What REST's own question says of the report's period."""
    return run(Query.of(measures, period=report.period, **asked), store.rows, now=report.made_at).rows
