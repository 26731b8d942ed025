"""The rows of a real Dify, pulled: numbers counted by hand, and what that Dify itself says of them."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from collector.fields import Json
from collector.ledger import Telling, node_facts, run_fact
from collector.pull.database import Reading
from collector.records import App, Conversation, Feedback, Message, ModelCall, NodeExecution, Record, Run, User
from tests.pull.database.world import AFTERWARDS, World
from tests.servers.postgres import RECORDED

STATISTICS = json.loads((RECORDED / "sample" / "statistics.json").read_text())
ZONE = ZoneInfo(STATISTICS["timezone"])
CHATFLOW = "fd2edf2a-eb47-4368-a0b3-1b986490b90b"


def test_every_run_is_there_whatever_started_it(sample: World):
    told = Counter((run.triggered_from, run.status) for run in sample.all(Run))

    assert told == {
        ("app-run", "succeeded"): 17,
        ("app-run", "failed"): 4,
        ("app-run", "partial-succeeded"): 1,
        ("app-run", "running"): 10,
        ("webhook", "succeeded"): 3,
        ("debugging", "succeeded"): 3,
    }
    assert {run.triggered_from for run in sample.all(Run) if run.is_debug} == {"debugging"}


def test_every_call_is_there_once(sample: World):
    calls = sample.all(ModelCall)

    told = Counter((call.node_type, call.model_name, call.status) for call in calls)
    assert told == {
        ("llm", "gpt-4o-mini", "succeeded"): 29,
        ("llm", "claude-3-5-sonnet", "succeeded"): 5,
        ("llm", "gpt-4o-mini", "failed"): 4,
        ("llm", "claude-3-5-sonnet", "failed"): 3,
        ("message", "gpt-4o-mini", "succeeded"): 13,
        ("message", "gpt-4o-mini", "failed"): 2,
    }
    assert sum(call.tokens or 0 for call in calls) == 4612
    assert sum(call.cost or 0 for call in calls) == Decimal("0.0037162")
    assert {call.currency for call in calls if call.tokens} == {"USD"}


def test_a_run_reports_what_its_calls_spent_except_where_dify_counts_wrong(sample: World):
    spent: Counter[str] = Counter()
    for call in sample.all(ModelCall):
        spent[call.run_id or ""] += call.tokens or 0

    wrong = {run.app_id: (run.reported_tokens, spent[run.id]) for run in sample.all(Run) if _disagrees(run, spent)}

    assert wrong == {}


def _disagrees(run: Run, spent: Counter[str]) -> bool:
    return run.is_final and run.reported_tokens != spent[run.id]


def test_a_chatflow_message_reports_what_its_run_spent(sample: World):
    runs = {run.id: run for run in sample.all(Run)}
    messages = [one for one in sample.all(Message) if one.run_id and one.status == "succeeded" and _tokens(one)]

    assert len(messages) == 9
    for message in messages:
        run = runs[str(message.run_id)]
        assert (run.message_id, run.conversation_id) == (message.id, message.conversation_id)
        assert run.reported_tokens == _tokens(message)


def test_the_calls_of_a_chatflow_know_their_message(sample: World):
    messages = {message.run_id: message for message in sample.all(Message) if message.run_id}

    calls = [call for call in sample.all(ModelCall) if call.app_id == CHATFLOW]

    assert len(calls) == 11
    assert all(call.message_id == messages[call.run_id].id for call in calls)


def test_messages_that_dify_never_filled_are_stale(sample: World):
    stale = [message for message in sample.all(Message) if message.status == "stale"]

    assert len(stale) == 2
    assert all(not one.is_final and one.reported_input_tokens is None and one.reported_cost is None for one in stale)


def test_a_stopped_run_is_running_until_it_is_stale(sample: World, postgres_server: Any, sample_template: str):
    stuck = {run.id for run in sample.all(Run) if run.status == "running"}
    later = World(postgres_server, sample_template)
    later.now = datetime(2026, 11, 23, tzinfo=ZoneInfo("UTC"))
    later.pull()

    assert len(stuck) == 10
    assert {run.id for run in later.all(Run) if run.status == "stale"} == stuck


def test_leaves_are_known_of_final_runs_only(sample: World):
    assert {(run.is_final, run.leaves_known) for run in sample.all(Run)} == {(True, True), (False, None)}


def test_a_single_step_belongs_to_no_run_and_is_a_test(sample: World):
    (step,) = [node for node in sample.all(NodeExecution) if node.run_id is None]

    assert step.is_debug is True
    assert sample.get(ModelCall, step.id).is_debug is True


def test_apps_users_conversations_and_ratings(sample: World):
    apps = {app.name: app for app in sample.all(App)}
    assert len(apps) == 8
    assert apps["wf-llm"].tags == "prod"
    assert (apps["chat-app"].model_provider, apps["chat-app"].model_name) == ("langgenius/openai/openai", "gpt-4o-mini")
    assert Counter(user.kind for user in sample.all(User)) == {"end_user": 24, "account": 4}
    assert len(sample.all(Conversation)) == 27
    assert Counter((one.rating, one.from_source) for one in sample.all(Feedback)) == {
        ("like", "user"): 3,
        ("like", "admin"): 3,
        ("dislike", "user"): 2,
        ("dislike", "admin"): 1,
    }


def test_reading_run_by_run_and_reading_the_table_through_bring_the_same(
    sample: World, postgres_server: Any, sample_template: str
):
    through = World(postgres_server, sample_template)
    through.pull(Reading(runs_by_index=0))

    assert through.facts == sample.facts


def test_no_question_and_no_answer_is_in_any_record(sample: World):
    everything = msgspec.json.encode([record for facts in sample.facts.values() for record in facts.values()])

    assert b"fake model" not in everything
    assert b"You are a helpful" not in everything
    assert b"example.com" not in everything


def recordings(pattern: str) -> list[list[Json]]:
    """Lists that the console of the same Dify answered."""
    paths = sorted((Path(__file__).parents[2] / "recorded").glob(pattern))
    return [json.loads(path.read_text()).get("data", []) for path in paths]


def test_a_node_says_what_the_console_says_of_it(sample: World):
    runs = {node.id: node.run_id for node in sample.all(NodeExecution)}
    compared: Counter[str] = Counter()
    for items in recordings("node_executions_*.json"):
        run = next((runs[item["id"]] for item in items if item["id"] in runs), None)
        for item in items if run else []:
            for told in node_facts(item, Telling(source="console", seen_at=AFTERWARDS, run_id=run)):
                if told is not None:
                    _agree(told, sample.get(type(told), told.id))
                    compared[told.table] += 1

    assert compared == {"node_execution": 36, "model_call": 18}


def test_a_run_says_what_the_console_says_of_it(sample: World):
    items = [item for some in recordings("*workflow_runs_*.json") for item in some]
    for item in items:
        run = run_fact(item, Telling(source="console", seen_at=AFTERWARDS))
        _agree(run, sample.get(Run, run.id))

    assert len(items) == 15


def _agree(told: Record, read: Record) -> None:
    """What both know is the same, instants to the second; a console list knows no more than the database."""
    for field in msgspec.structs.fields(told):
        one, other = getattr(told, field.name), getattr(read, field.name)
        if field.name in ("source", "seen_at") or one is None:
            continue
        if isinstance(one, datetime):
            one, other = int(one.timestamp()), int(other.timestamp())
        assert one == other, (field.name, told)


def _tokens(message: Message) -> int:
    return (message.reported_input_tokens or 0) + (message.reported_output_tokens or 0)


def _day(at: datetime | None) -> str:
    assert at is not None
    return f"{at.astimezone(ZONE):%Y-%m-%d}"


def by_day(facts: Iterable[Any]) -> dict[str, list[Any]]:
    """Facts by the local day they began on."""
    days = defaultdict(list)
    for fact in facts:
        days[_day(fact.created_at)].append(fact)
    return dict(sorted(days.items()))


@pytest.mark.parametrize("app", STATISTICS["apps"])
def test_messages_give_difys_own_statistics_digit_for_digit(sample: World, app: str):
    told = STATISTICS["apps"][app]
    days = by_day(one for one in sample.all(Message) if one.app_id == app and one.invoke_from != "debugger")

    assert told["statistics/daily-messages"] == [
        {"date": day, "message_count": len(some)} for day, some in days.items()
    ]
    assert told["statistics/daily-conversations"] == [
        {"date": day, "conversation_count": len({one.conversation_id for one in some})} for day, some in days.items()
    ]
    assert told["statistics/daily-end-users"] == [
        {"date": day, "terminal_count": len({one.user_id for one in some if one.user_kind == "end_user"})}
        for day, some in days.items()
    ]
    assert told["statistics/token-costs"] == [
        {"date": day, "token_count": sum(map(_tokens, some)), "total_price": _price(some), "currency": "USD"}
        for day, some in days.items()
    ]
    assert told["statistics/tokens-per-second"] == [{"date": day, "tps": _speed(some)} for day, some in days.items()]
    assert told["statistics/user-satisfaction-rate"] == [
        {"date": day, "rate": _likes(sample, some)} for day, some in days.items()
    ]
    if told["statistics/average-response-time"] != 404:
        assert told["statistics/average-response-time"] == [
            {"date": day, "latency": round(sum(one.latency_seconds or 0 for one in some) / len(some) * 1000, 4)}
            for day, some in days.items()
        ]


@pytest.mark.parametrize("app", STATISTICS["apps"])
def test_conversations_give_difys_own_statistics_digit_for_digit(sample: World, app: str):
    told = STATISTICS["apps"][app]["statistics/average-session-interactions"]
    if told == 404:
        return
    sizes = Counter(
        one.conversation_id for one in sample.all(Message) if one.app_id == app and one.invoke_from != "debugger"
    )
    days = by_day(one for one in sample.all(Conversation) if sizes[one.id])

    assert told == [{"date": day, "interactions": _mean(sizes[one.id] for one in some)} for day, some in days.items()]


@pytest.mark.parametrize("app", STATISTICS["apps"])
def test_runs_give_difys_own_statistics_digit_for_digit(sample: World, app: str):
    told = STATISTICS["apps"][app]
    days = by_day(run for run in sample.all(Run) if run.app_id == app and run.triggered_from == "app-run")

    assert told["workflow/statistics/daily-conversations"] == [
        {"date": day, "runs": len(some)} for day, some in days.items()
    ]
    assert told["workflow/statistics/daily-terminals"] == [
        {"date": day, "terminal_count": len({run.user_id for run in some})} for day, some in days.items()
    ]
    assert told["workflow/statistics/token-costs"] == [
        {"date": day, "token_count": str(sum(run.reported_tokens or 0 for run in some))} for day, some in days.items()
    ]
    if told["workflow/statistics/average-app-interactions"] != 404:
        assert told["workflow/statistics/average-app-interactions"] == [
            {"date": day, "interactions": _mean(Counter(run.user_id for run in some).values())}
            for day, some in days.items()
        ]


def _price(messages: list[Message]) -> str:
    return str(sum((one.reported_cost or Decimal(0) for one in messages), Decimal(0)).quantize(Decimal("1e-7")))


def _speed(messages: list[Message]) -> float:
    took = sum(one.latency_seconds or 0 for one in messages)
    return round(sum(one.reported_output_tokens or 0 for one in messages) / took, 4) if took else 0.0


def _likes(sample: World, messages: list[Message]) -> float:
    likes = Counter(one.message_id for one in sample.all(Feedback) if one.rating == "like")
    rows = sum(max(likes[one.id], 1) for one in messages)
    return round(1000 * sum(likes[one.id] for one in messages) / rows, 2)


def _mean(values: Iterable[int]) -> float:
    numbers = list(values)
    mean = Decimal(sum(numbers)) / len(numbers)
    return float(mean.quantize(Decimal("0.01"), rounding=ROUND_HALF_EVEN))
